"""Merging what branches gave: by a function, or by a step (a prompt that writes one report, say)."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fanfold.calls.estimates import NO_CALLS, NOT_KNOWN, UNSEEN, Estimate, Outlook
from fanfold.errors import UsageError
from fanfold.steps.functions import calls_nothing, check_gives_one
from fanfold.steps.running import follow
from fanfold.steps.step import Function, Step
from fanfold.steps.templates import check_fields, fields_of, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MERGE = "merge"
"""The name of a merge's place and update."""

RESERVED = frozenset({"input", "parts", MERGE})
"""Names that a merge's template has for itself."""

_READS_NAMES = (all, any, frozenset, list, max, min, set, sorted, sum, tuple)
"""Functions of Python's own that read of a mapping its names alone."""


class Merge:
    """How a pattern's parts become one value.

    A step gets a mapping: the original input's own names, every branch by its name (one that is missing says
    so), ``input``, and ``parts``, all branches under headings. A function of one parameter gets the mapping of the
    branches that answered; one of several is filled by name, from the branches (None where missing) and ``input``.
    A parameter that has a default and is no branch is left alone.
    """

    def __init__(self, by: Step[Any, Any] | Callable[..., Any]) -> None:
        self.by = by
        self.names = {} if isinstance(by, Step) else _parameters(by)
        self.needed = [name for name, needed in self.names.items() if needed]

    @property
    def seconds(self) -> float | None:
        """What it may take: 0 for a function, a step's own timeout, or None where that has none."""
        return self.by.timeout if isinstance(self.by, Step) else 0.0

    def check(self, branches: Mapping[str, object]) -> None:
        """Refuse a merge that could never be filled from these branches."""
        if [*branches] == [str(number) for number in range(len(branches))]:
            _check_reads_values(self.by)
        taken = RESERVED & set(branches)
        if taken:
            raise UsageError(f"a branch cannot be called {min(taken)!r} where there is a merge, which uses it")
        unknown = [name for name in self.needed if name != "input" and name not in branches]
        if len(self.needed) > 1 and unknown:
            raise UsageError(
                f"merge has the parameters {unknown}, which are no branches (branches: {', '.join(branches)}; "
                "'input' is the original input; a function of one parameter gets all branches as a mapping)"
            )
        if not isinstance(self.by, Step) and self._bound({**branches, "input": None}) is self.by:
            check_takes_parts(self.by, "mapping of the branches", "one parameter, or several that are named as these")

    def check_fields(self, given: Any, branches: Iterable[str]) -> None:
        """Before anything is sent: a merge by a prompt finds all its fields."""
        if isinstance(self.by, Step):
            check_fields(MERGE, self.by.needs, [*fields_of(given), *branches, "parts"])

    def foresee(self, outlook: Outlook) -> Estimate:
        """A merge's input is what the branches give."""
        if isinstance(self.by, Step):
            return outlook.foresee(self.by, UNSEEN)
        return NO_CALLS if calls_nothing(self.by) else NOT_KNOWN

    async def __call__(self, given: Any, values: Mapping[str, Any], missing: Mapping[str, str]) -> Any:
        """Merge `values`; the merge's text is the pattern's text."""
        if isinstance(self.by, Step):
            return await follow(self.by, filling(given, values, missing), name=MERGE, tail=True)
        bound = self._bound({**dict.fromkeys(missing), **values, "input": given})
        return await follow(Function(bound, MERGE, thread=False), values, name=MERGE, tail=True)

    def _bound(self, there: Mapping[str, Any]) -> Callable[[Any], Any]:
        function: Callable[..., Any] = self.by  # the other kind is handled before
        arguments = {name: there[name] for name in self.names if name in there}
        if len(arguments) < 2 or any(name not in arguments for name in self.needed):
            return function
        return lambda _: function(**arguments)


def filling(given: Any, values: Mapping[str, Any], missing: Mapping[str, str]) -> dict[str, Any]:
    """What a merging step gets as its input."""
    absent = {name: f"({name} is missing: {reason})" for name, reason in missing.items()}
    parts = "\n\n".join(f"## {name}\n{render(value)}" for name, value in {**values, **absent}.items())
    return {**fields_of(given), **values, **absent, "input": given, "parts": parts}


def as_merge(merge: Any) -> Merge | None:
    """A `Merge` for what the user gave, or None."""
    if merge is None:
        return None
    if not isinstance(merge, Step) and not callable(merge):
        raise UsageError(f"merge={merge!r} is neither a step nor a function")
    if not isinstance(merge, Step):
        check_gives_one(merge, getattr(merge, "__name__", MERGE))
    elif merge.kind == "prompt" and not merge.needs:
        raise UsageError("merge= is a prompt that names no field, so it would see nothing of the parts: add {parts}")
    return Merge(merge)


def check_takes_parts(function: Callable[..., Any], parts: str, instead: str) -> None:
    """Refuse a function that cannot be called with its `parts` alone, and say what it may be `instead`."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # one of Python's own, which does not tell
    try:
        signature.bind({})
    except TypeError as error:
        raise UsageError(f"merge= cannot be called with the {parts} ({error}): give it {instead}") from None


def _check_reads_values(function: Any) -> None:
    """Refuse what would make its one answer of the branches' numbers: who writes ``merge=list`` wants the values."""
    text = getattr(function, "__self__", None)
    joins = isinstance(text, str)
    if not joins and all(function is not reader for reader in _READS_NAMES):
        return
    name = getattr(function, "__name__", MERGE)
    called = f"{text!r}.{name}" if joins else name
    raise UsageError(
        f"merge={name} would get a mapping of the branches by their numbers, and read only these: give it their "
        f"values, as in merge=lambda parts: {called}(parts.values())"
    )


def _parameters(function: Callable[..., Any]) -> dict[str, bool]:
    """The parameters that can be filled by name, and whether each has to be."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    named = [p for p in parameters if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}]
    return {p.name: p.default is p.empty for p in named}
