"""What a step can never give, by the type that it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_origin

from fanfold.errors import UsageError
from fanfold.folds.canonical import ballot_key
from fanfold.folds.shapes import record_in
from fanfold.folds.thresholds import Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.steps.step import Step

PLAIN = ((bool, True, "True or False"), (int, 0, "numbers"), (float, 0, "numbers"), (str, "", "text"))
"""Each plain type, one of its values, and its name in errors."""


def gives_instead(step: Step[Any, Any], value: object) -> str | None:
    """What `step` gives, in words, where its type says that it never gives such a thing as `value`; else None."""
    returns = step.returns.__origin__ if get_origin(step.returns) is Annotated else step.returns
    for plain, one, words in PLAIN:
        if returns is plain:
            return None if _kind(value) == _kind(one) else words
    record = None if returns is None else record_in(returns)
    return None if record is None or _kind(value) == _kind({}) else f"records of {record.__name__}"


def advice(given: str, wanted: object) -> str:
    """What to write where a step gives `given`, and a `wanted` is looked for."""
    if given.startswith("records"):
        return "take what counts of one, as in prompt(...) | (lambda record: record.field)"
    if isinstance(wanted, bool):
        return "give its prompt returns=bool"
    return f"say which of them, not {wanted!r}" if given == "True or False" else "give its prompt the type of that"


def check_threshold(rule: object, voters: Sequence[Step[Any, Any]]) -> None:
    """Refuse a threshold on what no voter gives: it would be a silent no. Of a key by `same=` nobody knows that."""
    if not isinstance(rule, Threshold):
        return
    given = [gives_instead(voter, rule.value) for voter in voters]
    if given and given[0] is not None and None not in given:
        raise UsageError(
            f"{rule!r} counts what no voter gives; {voters[0].name!r} gives {given[0]}: {advice(given[0], rule.value)}"
        )


def _kind(value: object) -> object:
    key = ballot_key(value)
    return key[0] if isinstance(key, tuple) else key
