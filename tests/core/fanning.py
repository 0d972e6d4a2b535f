"""What the tests of the fan share: branches by delay, a fold that follows a script, and a look at the events."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

from fanfold.core import scope as scopes
from fanfold.core.clock import now, sleep
from fanfold.core.fan import fan
from fanfold.core.records import WAIT, Arrival, Branch, Go, Why
from fanfold.runs.state import RunState
from fanfold.testing import no_leaks, run_virtual


class Script:
    """A fold that answers arrivals as it was told, by their names, and remembers what it saw."""

    def __init__(self, first: Go | None = None, on: Mapping[str, Go | BaseException] | None = None) -> None:
        self.first = first
        self.on = on or {}
        self.arrivals: list[Arrival[Any]] = []
        self.flying: list[int] = []
        self.why: Why | None = None

    def begin(self, names: Sequence[str]) -> Go:
        return Go(more=len(names)) if self.first is None else self.first

    def add(self, arrival: Arrival[Any], flying: int) -> Go:
        self.arrivals.append(arrival)
        self.flying.append(flying)
        answer = self.on.get(arrival.name, WAIT)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self, why: Why) -> list[str]:
        self.why = why
        return self.names

    @property
    def names(self) -> list[str]:
        return [arrival.name for arrival in self.arrivals]


class Diary:
    """What branches did, as ``name verb`` lines with their times."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, float]] = []

    def write(self, line: str) -> None:
        self.lines.append((line, round(now(), 3)))

    def __contains__(self, line: str) -> bool:
        return any(line == written for written, _ in self.lines)

    def at(self, line: str) -> float:
        return next(when for written, when in self.lines if line == written)


def branch(name: str, seconds: float = 0.0, outcome: Any = None, **options: Any) -> Branch[Any]:
    """A branch that waits, then gives `outcome`, or raises it if it is an error."""

    async def start() -> Any:
        if seconds:
            await sleep(seconds)
        if isinstance(outcome, BaseException):
            raise outcome
        return name if outcome is None else outcome

    return Branch(name, start, **options)


def tidy(name: str, diary: Diary, *, seconds: float = 9.0, cleanup: float = 0.0) -> Branch[Any]:
    """A branch that writes down that it started and that it has gone, after a clean-up that takes its time."""

    async def start() -> str:
        diary.write(f"{name} started")
        try:
            await sleep(seconds)
        finally:
            if cleanup:
                await sleep(cleanup)
            diary.write(f"{name} gone")
        return name

    return Branch(name, start)


def resisting(name: str, seconds: float, outcome: Any = None) -> Branch[Any]:
    """A branch that swallows every cancellation and goes on for `seconds` after the first."""

    async def start() -> Any:
        try:
            await sleep(1e6)
        except asyncio.CancelledError:
            until = now() + seconds
            while now() < until:
                try:
                    await sleep(until - now())
                except asyncio.CancelledError:
                    continue
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return Branch(name, start)


class Outcome:
    """What came of a block: the value that it leaves in `came`, or whatever it raised."""

    came: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.came = self.came if error is None else error
        return True


def in_run(work: Callable[[], Awaitable[Any]]) -> tuple[Any, RunState]:
    """Do `work` inside a run, in virtual time; gives its value (or error) and the run's state. Nothing is left."""

    async def main() -> tuple[Any, RunState]:
        state = RunState(None, "run", None)
        before = scopes.enter(scopes.Scope(state, "run"))
        with Outcome() as outcome:
            async with no_leaks():
                outcome.came = await work()
        scopes.enter(before)
        return outcome.came, state

    return run_virtual(main())


def fanned(branches: Sequence[Branch[Any]], fold: Any, **options: Any) -> tuple[Any, RunState]:
    """Fan `branches` inside a run, in virtual time."""
    return in_run(lambda: fan(branches, fold, **options))


def said(state: RunState, *kinds: str) -> list[str]:
    """The events of these kinds as ``kind name``, in order."""
    return [f"{event.kind} {event.place.rpartition('/')[2]}" for event in state.events if event.kind in kinds]


def ending(state: RunState) -> Any:
    """The value of the one ``fan.ended`` event."""
    (event,) = [event for event in state.events if event.kind == "fan.ended"]
    return event.value
