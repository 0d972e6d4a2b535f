"""Where the rows of a map run: in this process, or by workers on other machines."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

from fanfold.core.clock import now
from fanfold.core.scope import current
from fanfold.errors import UsageError
from fanfold.runs.run import Run, ended, finished
from fanfold.runs.state import RunState
from fanfold.steps.row import Row, record_of
from fanfold.steps.running import run_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanfold.calls.budget import Till
    from fanfold.core.journaling import RowKey
    from fanfold.session import Session, SessionStatistics
    from fanfold.steps.row import Terms
    from fanfold.steps.step import Step


class Outcome:
    """What became of one row: its record, and what it took beside what a journal kept, should nobody get it."""

    __slots__ = ("row", "unkept")

    def __init__(self, row: Row[Any], unkept: Callable[[Row[Any]], Row[Any]]) -> None:
        self.row = row
        self.unkept = unkept
        """From the row's whole record, its record without the calls that the journal gives again."""


class Runner(Protocol):
    """Runs rows; what becomes of each is its outcome, an error or a cancellation, too.

    So that all slots are taken there have to be `ahead` times as many rows.
    """

    ahead: int

    async def open(self) -> None:
        """Be ready for rows; what was opened is closed, even where this fails."""
        ...

    async def run(self, number: int, key: RowKey | None, given: Any) -> Outcome:
        """Run one row, on what is `given` to the step."""
        ...

    async def close(self) -> None:
        """No row runs any more: leave nothing behind."""
        ...

    def traffic(self) -> SessionStatistics | None:
        """The calls under way, where the session does not know them."""
        ...


class Here:
    """Runs rows in this process."""

    ahead = 1

    def __init__(self, step: Step[Any, Any], session: Session, terms: Terms, purse: Till | None) -> None:
        self.step = step
        self.session = session
        self.terms = terms
        self.purse = purse
        self.journaled = session.journal is not None and session.journal.mode == "resume"

    async def open(self) -> None:
        """Nothing is to open."""

    async def run(self, number: int, key: RowKey | None, given: Any) -> Outcome:
        """Run one row."""
        run, error = await row_run(self.step, self.session, given, self.terms.timeout, key, self.purse)
        return Outcome(
            record_of(0, "", None, run, error),
            lambda row: record_of(row.number, row.key, row.input, unkept(run, journaled=self.journaled), error),
        )

    async def close(self) -> None:
        """Nothing is to close."""

    def traffic(self) -> SessionStatistics | None:
        """The session knows."""
        return None


def runner_for(step: Step[Any, Any], session: Session, terms: Terms, purse: Till | None) -> Runner:
    """What runs the rows of a map on these terms; raises `UsageError` where the engine cannot."""
    if terms.engine == "local":
        return Here(step, session, terms, purse)
    if current() is not None:
        raise UsageError(f"engine={terms.engine!r} inside a step: begin a map over workers outside of all steps")
    from fanfold.steps.workers.crew import Crew  # loads what one process does without
    from fanfold.steps.workers.ray_cluster import RayCluster

    return Crew(step, session, terms, purse, RayCluster(terms.engine, terms.workers))


async def row_run(
    step: Step[Any, Any],
    session: Session,
    given: Any,
    timeout: float | None,
    key: RowKey | str | None,
    purse: Till | None,
) -> tuple[Run[Any], BaseException | None]:
    """One row as a run of its own, and the error that it ended with."""
    state = RunState(session, step.name, session.on_event)
    try:
        return ended(state, await run_alone(state, step, given, timeout, key=key, purse=purse)), None
    except BaseException as error:  # noqa: BLE001  # an outcome is any error, a cancellation too
        return finished(state, now() - state.began, None, None, error), error


def unkept(run: Run[Any], *, journaled: bool) -> Run[Any]:
    """A run without the calls that a journal kept, for whoever runs the row again finds those there."""
    if not journaled:
        return run
    return dataclasses.replace(run, calls=tuple(call for call in run.calls if call.state != "ok"))
