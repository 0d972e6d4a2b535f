"""Races and fallbacks: several ways to one answer, of which the first success counts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

import msgspec

from fanfold.calls.estimates import Estimate, Outlook, least_of
from fanfold.core.fan import fan
from fanfold.core.records import Branch
from fanfold.core.scope import current
from fanfold.core.timeouts import check_seconds
from fanfold.errors import UsageError
from fanfold.folds.first import First
from fanfold.steps.affording import Limits, affording, limited
from fanfold.steps.step import Bounded, Step, as_step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import IfUnaffordable

In = TypeVar("In")
Out = TypeVar("Out")


class Raced(msgspec.Struct, frozen=True):
    """Which branch gave the answer, and why those before it failed, by name."""

    winner: str
    failed: dict[str, str]

    def __bool__(self) -> bool:
        raise TypeError("Raced is a record, not a truth value: look at .winner")


class RaceStep(Step[In, Out]):
    """Several steps on one input, the first success wins; see `race` and `fallback`."""

    kind = "race"
    fans = True
    together: int | None = None

    def __init__(self, steps: Sequence[Step[In, Out]], stagger: float | None, name: str, timeout: float | None) -> None:
        super().__init__(name, timeout)
        self.steps = named_apart(steps)
        self.stagger = stagger

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """One of them, or all."""
        return least_of([outlook.foresee(step, given) for step in self.steps.values()])

    async def execute(self, given: In) -> Out:
        """Launch them, hold back what each says, release the winner's."""
        branches = [
            Branch(name, partial(step.timed, given), held=True, tail=True, spare=self.together is not None and at > 0)
            for at, (name, step) in enumerate(self.steps.items())
        ]
        fold = First[Out](self.together, self.timeout)
        sizes = [(step, given) for step in self.steps.values() if self.together is None]
        async with affording(self, sizes, self.timeout) as money:
            won = await fan(money.paid(branches), fold, timeout=money.seconds, stagger=self.stagger)
        scope = current()
        if scope is not None:
            scope.detail = Raced(won.name, won.failed)
        return won.value


class FallbackStep(RaceStep[In, Out]):
    """A race in which one runs at a time, so that each is paid when it comes to that."""

    kind = "fallback"
    together = 1


@overload
def race(
    *steps: Callable[[In], Awaitable[Out]], stagger: float | None = ..., **limits: Unpack[Limits]
) -> Step[In, Out]: ...
@overload
def race(*steps: Callable[[In], Any], stagger: float | None = ..., **limits: Unpack[Limits]) -> Step[In, Any]: ...
def race(
    *steps: Step[Any, Any] | Callable[[Any], Any],
    stagger: float | None = None,
    name: str = "race",
    timeout: float | None = None,
    budget: Budget | None = None,
    if_unaffordable: IfUnaffordable = "refuse",
) -> Step[Any, Any]:
    """Run `steps` on one input at the same time; the first success is the output, and the others are cancelled.

    With `stagger` (seconds) each starts that much after the one before it, or at once when one fails. The text of
    each is held back until it has won. `timeout` (seconds) is for the whole race. `run.detail` is the `Raced`.
    `budget` and `if_unaffordable` are as in `sections`.

    Raises `QuorumError` when all have failed, `StepTimeout` when none succeeded in time.
    """
    check_seconds(stagger, "stagger")
    return limited(RaceStep(_several(steps, "race"), stagger, name, timeout), budget, if_unaffordable)


@overload
def fallback(*steps: Callable[[In], Awaitable[Out]], **limits: Unpack[Bounded]) -> Step[In, Out]: ...
@overload
def fallback(*steps: Callable[[In], Any], **limits: Unpack[Bounded]) -> Step[In, Any]: ...
def fallback(
    *steps: Step[Any, Any] | Callable[[Any], Any],
    name: str = "fallback",
    timeout: float | None = None,
    budget: Budget | None = None,
) -> Step[Any, Any]:
    """Try `steps` one after another on the same input: the next only when one fails.

    The text of each is held back until it has succeeded. A fatal error (a wrong key, no credit) ends the run. `timeout`
    (seconds) is for all of them, and all of them spend at most `budget`. Raises `QuorumError` when all have failed.
    """
    return limited(FallbackStep(_several(steps, "fallback"), None, name, timeout), budget)


def named_apart(steps: Sequence[Step[In, Out]]) -> dict[str, Step[In, Out]]:
    """Steps by their names where these differ, else by number."""
    names = [step.name for step in steps]
    if len(set(names)) < len(names):
        names = [str(number) for number in range(len(steps))]
    return dict(zip(names, steps, strict=True))


def _several(steps: Sequence[Any], what: str) -> list[Step[Any, Any]]:
    if not steps:
        raise UsageError(f"a {what} needs at least one step")
    return [as_step(step) for step in steps]
