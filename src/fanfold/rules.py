"""The tally rules and stops that votes take: values, made by functions, that say what they are.

A rule sees the valid ballots. A voter abstains where its reply cannot be read (or its value is None), and
an error is no ballot at all; both are counted apart. Values are compared as people would read them: case,
Markdown and punctuation around a string do not tell two answers apart.

How many ballots must be valid is the vote's `quorum=`: 1, if nothing is said, and all of them under
`at_least`, `any_of` and `all_of`, where it binds the negative outcome only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from fanfold.errors import UsageError
from fanfold.folds.counting import Elects, MayElect, Rule
from fanfold.folds.fields import Fields
from fanfold.folds.numeric import Mean, Median
from fanfold.folds.plurality import Majority, Plurality, Weighted
from fanfold.folds.stops import DECIDED, Stop
from fanfold.folds.thresholds import Threshold

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction

__all__ = [
    "Elects",
    "MayElect",
    "Rule",
    "Stop",
    "all_of",
    "any_of",
    "at_least",
    "decided",
    "fields",
    "majority",
    "mean",
    "median",
    "plurality",
    "weighted",
]

T = TypeVar("T")


def plurality() -> Elects:
    """The value with the most valid ballots wins; what a shared first place gives is the vote's `ties=`.

    Over samples of one prompt this is self-consistency (Wang et al. 2023, arXiv:2203.11171).
    """
    return Plurality()


def majority() -> MayElect:
    """The value with more than half of the valid ballots wins, else the winner is None. It cannot tie."""
    return Majority()


def at_least(k: int, value: T) -> Rule[T, bool]:
    """True once `k` voters say `value`, whatever the others do.

    False needs the quorum (all voters, unless the vote says otherwise), so that an error never passes for a
    no: below it the vote raises `QuorumError`. Raises `UsageError` where `k` is below 1 or above the number
    of voters.
    """
    return Threshold("at_least", k, value)


def any_of(value: T) -> Rule[T, bool]:
    """True once one voter says `value`: `at_least(1, value)`."""
    return Threshold("any_of", 1, value)


def all_of(value: T) -> Rule[T, bool]:
    """True once every voter says `value`: `at_least(n, value)` of n voters, so no other may abstain."""
    return Threshold("all_of", None, value)


def weighted(weights: Mapping[str, float | Decimal | Fraction]) -> MayElect:
    """The value with the most weight wins; `weights` maps every voter to its own, 0 or more.

    Weights are summed exactly as they are written: 0.1 and 0.2 tie with 0.3. A voter of weight 0 is tallied
    and counts towards the quorum, but has no say; where only such ballots are valid the winner is None.
    Raises `UsageError` for weights that are negative, not finite or all 0, or do not match the voters.
    """
    if not isinstance(weights, Mapping):
        raise UsageError(f"weighted() takes a mapping of voter to weight, not {weights!r:.60}")
    return Weighted(dict(weights))


def mean() -> Rule[float, float]:
    """The arithmetic mean of the valid ballots. It waits for all voters; what is no number abstains."""
    return Mean()


def median() -> Rule[float, float]:
    """The middle of the valid ballots in order, of an even number the mean of the middle two.

    It is decided once it is the same with all outstanding ballots at either extreme. What is no number
    abstains.
    """
    return Median()


def fields(by: Mapping[str, Rule[Any, Any]] | None = None, *, of: type | None = None) -> Elects:
    """Each field of a record is tallied by its type, and the winners make a record: the default for records.

    Choices (`Literal`, Enum, bool) and texts go by plurality; `float` by `median()`; `int` and `Decimal` by the
    median, too, of an even number the lower of the middle two, which is a number that a voter gave; lists and sets
    have what is in more than half of the valid ballots' lists, in voter order; records inside are tallied in turn;
    anything else counts as a whole, by plurality. Where a field may be None, that is one more choice, or, for numbers,
    lists and records, wins with more than half of the valid ballots, and else those decide who gave a value.

    `by` has other rules for some fields, as ``{"price": rules.mean()}`` (rounded, half to even, for whole numbers), or
    ``{"address": rules.fields({...})}`` for a record inside. `of` is the record type, where the voters do not
    declare one by `returns=`.

    A ballot counts in every field or, with one that cannot be counted, in none. The record is checked by its own type
    (`RecordError` where that refuses it): it may be nobody's ballot. `ties=` is every field's own: "abstain" needs
    fields that may be None, and a step cannot decide. Raises `UsageError` for what does not fit.
    """
    return Fields(dict(by or {}), of)


def decided() -> Stop:
    """The default stop: the vote ends exactly when nothing outstanding can change its outcome.

    Each voter still out may bring any value (any declared choice, where the choices are declared), abstain
    or fail; the outcome is the winner, that there is none, a tie, or a missed quorum.
    """
    return DECIDED
