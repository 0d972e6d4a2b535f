"""Routing: a step says which one path the input takes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

import msgspec

from fanfold.calls.estimates import Estimate, Outlook, one_of
from fanfold.core.scope import current
from fanfold.errors import RouteError, UsageError
from fanfold.folds.canonical import ballot_key
from fanfold.steps.affording import limited
from fanfold.steps.running import follow
from fanfold.steps.step import Bounded, Step, as_step
from fanfold.steps.templates import check_fields, fields_of, render

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from fanfold.calls.amounts import Budget

In = TypeVar("In")
Out = TypeVar("Out")


class Routed(msgspec.Struct, frozen=True):
    """Which path an input took: its label (None for `otherwise`), what the deciding step said, the path's detail."""

    label: str | None
    said: Any
    detail: Any = None

    def __bool__(self) -> bool:
        raise TypeError("Routed is a record, not a truth value: look at .label")


class Route(Step[In, Out]):
    """One of several paths; see `route`."""

    kind = "route"

    def __init__(
        self,
        by: Step[In, Any],
        paths: Mapping[str, Step[In, Out]],
        otherwise: Step[In, Out] | None,
        name: str,
        timeout: float | None,
    ) -> None:
        super().__init__(name, timeout)
        self.by = by
        self.paths = paths
        self.otherwise = otherwise
        self._labels = {ballot_key(label): label for label in paths}

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """The decision, and one of the paths."""
        paths = [*self.paths.values(), *([] if self.otherwise is None else [self.otherwise])]
        return outlook.foresee(self.by, given) + one_of([outlook.foresee(path, given) for path in paths])

    async def execute(self, given: In) -> Out:
        """Decide, then take the path; its text is the route's text."""
        if isinstance(given, str):  # of a record, each path may want other fields
            for name, step in self.paths.items():
                check_fields(f"path {name!r}", step.needs, fields_of(given))
        said = await follow(self.by, given, name="by")
        label = self._label(label_text(said))
        path = self.otherwise if label is None else self.paths[label]
        if path is None:
            raise RouteError(
                f"{self.by.name!r} said {said!r:.80}, for which there is no path (paths: {', '.join(self.paths)}); "
                "add one, or give otherwise=",
                label=said,
                known=tuple(self.paths),
            )
        value = await follow(path, given, name=label or "otherwise", tail=True)
        scope = current()
        if scope is not None:
            scope.detail = Routed(label, said, scope.detail)
        return value

    def _label(self, said: str) -> str | None:
        found = self._labels.get(ballot_key(said))
        return found or next((label for label in self.paths if _key(label) == _key(said)), None)


@overload
def route(
    by: Callable[[In], Any],
    paths: Mapping[Any, Step[In, Out]],
    *,
    otherwise: Step[In, Out] | None = ...,
    **limits: Unpack[Bounded],
) -> Step[In, Out]: ...
@overload
def route(
    by: Callable[[In], Any],
    paths: Mapping[Any, Callable[[Any], Any]],
    *,
    otherwise: Callable[[Any], Any] | None = ...,
    **limits: Unpack[Bounded],
) -> Step[In, Any]: ...
def route(
    by: Callable[[Any], Any],
    paths: Mapping[Any, Callable[[Any], Any]],
    *,
    otherwise: Callable[[Any], Any] | None = None,
    name: str = "route",
    timeout: float | None = None,
    budget: Budget | None = None,
) -> Step[Any, Any]:
    """Let the step `by` say which path the input takes; the chosen path gets the input and gives the output.

    What `by` gives is compared with the labels as ballots are: case, markdown and punctuation do not matter; True and
    False are the labels "true" and "false", and an Enum's member is the label that is its value. A label without a path
    goes to `otherwise`, or raises `RouteError`. Where `by` declares its choices, each must have a path. `run.detail` is
    the `Routed`. `timeout` (seconds) covers all, and all of it spends at most `budget`.
    """
    if not paths:
        raise UsageError("a route needs at least one path: {label: step}")
    if not isinstance(paths, Mapping):
        raise UsageError(f"a route's paths are a mapping of label to step, not {paths!r:.60}")
    decider = as_step(by)
    named = {label_text(key) if isinstance(key, Enum) else str(key): as_step(path) for key, path in paths.items()}
    known: dict[Hashable, str] = {}
    for label in named:
        if known.setdefault(_key(label), label) != label:
            raise UsageError(f"the paths {known[_key(label)]!r} and {label!r} cannot be told apart: rename one")
    if decider.choices is not None:
        _check_labels([label_text(choice) for choice in decider.choices], named, whole=otherwise is not None)
    elif decider.returns is bool:
        _check_labels(["true", "false"], named, whole=True)  # one of them may be an error
    return limited(Route(decider, named, None if otherwise is None else as_step(otherwise), name, timeout), budget)


def label_text(said: Any) -> str:
    """What a deciding step said, as a label."""
    return str(said).lower() if isinstance(said, bool) else render(said)


def _key(label: str) -> Hashable:
    """What a label is compared by; a member of an Enum that is a text, too, counts as that."""
    return ballot_key(label.value if isinstance(label, Enum) else label)


def _check_labels(declared: Iterable[str], named: Iterable[str], *, whole: bool) -> None:
    choices = {_key(label): label for label in declared}
    paths = {_key(label): label for label in named}
    unheard = sorted(label for key, label in paths.items() if key not in choices)
    if unheard:
        known = ", ".join(sorted(choices.values()))
        raise UsageError(f"the path {unheard[0]!r} can never be taken: the choices are {known}")
    pathless = sorted(label for key, label in choices.items() if key not in paths)
    if pathless and not whole:
        raise UsageError(f"the choice {pathless[0]!r} has no path: add one, or give otherwise=")
