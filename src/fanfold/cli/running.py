"""Running one step from the command: the live screen, the end, the exit code."""

from __future__ import annotations

import asyncio
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanfold.calls.allowance import RateLimit
from fanfold.calls.amounts import Budget
from fanfold.cli import reports
from fanfold.cli.drawing import drew, picture_path
from fanfold.cli.ending import DONE, FAILED, INTERRUPTED, USAGE, StepThreads, say
from fanfold.cli.visible import lines_of, visible
from fanfold.core.timeouts import check_seconds
from fanfold.errors import FanfoldError, UsageError
from fanfold.runs.console import screen_for
from fanfold.runs.run import Run, ended, finished
from fanfold.session import Session
from fanfold.steps.running import new_state, run_alone
from fanfold.steps.templates import told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fanfold.runs.state import RunState
    from fanfold.steps.step import Step


def execute(
    build: Callable[[], tuple[Step[Any, Any], Any]],
    options: Mapping[str, Any],
    *,
    models: Sequence[str | None] = (),
    timeout: float | None,
    timeline: str | None = None,
    json: bool,
    quiet: bool,
    dry_run: bool = False,
) -> int:
    """Build the step and its input, run it, print what came of it; gives the exit code.

    `options` are those of a session; its budget is in dollars, and `rates` are the requests and tokens that each model
    grants a minute. `models` must be there before anything is sent. The picture of the run goes to `timeline`. With
    `dry_run` nothing is sent, and what it would take is printed. Raises `UsageError` where it comes to nothing before
    the run.
    """
    check_seconds(timeout)
    target = None if timeline is None else picture_path(timeline)
    options = {**limited(**options), "journal": _journal(options)}
    if dry_run:
        return _foretell(build, options, json=json)
    job = _Job(options, models, timeout, target, json=json, quiet=quiet)
    try:
        # Only the answer goes to standard output: what a file of the user's prints goes beside it.
        with redirect_stdout(sys.stderr):
            run = asyncio.run(job.run(*build()))
    except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:  # the last is a step's own doing
        if job.state is not None:
            return job.failed(job.state, error)
        if isinstance(error, UsageError) or not isinstance(error, FanfoldError):
            raise
        return _not_begun(error, json=json)
    drawn = drew(run, job.timeline)
    job.print(run)
    return DONE if drawn else FAILED


def _not_begun(error: FanfoldError, *, json: bool) -> int:
    """Say what kept a run from its beginning, as a journal that another process has; gives the exit code."""
    told = reports.reason(error)
    if json:
        sys.stdout.buffer.write(reports.encoded({"error": {"type": type(error).__name__, "message": told}}))
    say(told)
    return FAILED


def limited(
    budget: float | None = None, rates: tuple[float | None, float | None] = (None, None), **options: Any
) -> dict[str, Any]:
    """The options of a session, with what bounds it as records; raises `UsageError`."""
    options["budget"] = None if budget is None else Budget(usd=budget)
    if rates != (None, None):
        options["rate_limits"] = RateLimit(requests=rates[0], tokens=rates[1])
    return options


def _foretell(build: Callable[[], tuple[Step[Any, Any], Any]], options: Mapping[str, Any], *, json: bool) -> int:
    """Print what it would take, and whether the budget covers that."""
    session = Session(**options)
    with redirect_stdout(sys.stderr):
        step, given = build()
        estimate = step.estimate(given, session=session)
    if json:
        sys.stdout.buffer.write(reports.estimate_document(estimate, options["budget"]))
    else:
        sys.stdout.write(lines_of(reports.estimate_lines(estimate, options["budget"])))
    return DONE


def _journal(options: Mapping[str, Any]) -> Any:
    """The journal of a command's session; None where there is to be none.

    A mode without a file is refused: what was to be replayed would be asked, and paid.
    """
    given: tuple[str | None, Any] = options.get("journal") or (None, "off")
    path, mode = given
    if path is None:
        if mode in {"record", "cache", "replay"}:
            raise UsageError(f"--journal-mode {mode} is for a journal: give --journal PATH, or set FANFOLD_JOURNAL")
        return None
    from fanfold.journal import Journal  # loads SQLite

    return Journal(path, mode=mode)


class _Job:
    """One run of the command; it knows its run's state, so that an interrupt can still tell what was finished."""

    def __init__(
        self,
        options: Mapping[str, Any],
        models: Sequence[str | None],
        timeout: float | None,
        timeline: Path | None,
        *,
        json: bool,
        quiet: bool,
    ) -> None:
        self.screen = screen_for(sys.stderr, quiet=quiet or json)
        self.session = Session(**options, on_event=self.screen.on_event)
        self.models = models
        self.timeout = timeout
        self.timeline = timeline
        self.json = json
        self.quiet = quiet
        self.state: RunState | None = None

    async def run(self, step: Step[Any, Any], given: Any) -> Run[Any]:
        """Run the step under a session of the options."""
        asyncio.get_running_loop().set_default_executor(StepThreads())
        async with self.session:
            for model in self.models:
                self.session.line(model)
            self.state = new_state(step, self.session)
            with self.screen:
                return ended(self.state, await run_alone(self.state, step, given, self.timeout))

    def print(self, run: Run[Any]) -> None:
        """The answer to standard output; what else there is to say beside it."""
        if self.json:
            sys.stdout.buffer.write(reports.document(run))
            return
        answer = told(run.output)
        sys.stdout.write((visible(answer) if sys.stdout.isatty() else answer) + "\n")
        if not self.quiet:
            sys.stderr.write(lines_of([*reports.notes(run), run.summary()]))

    def failed(self, state: RunState, error: BaseException) -> int:
        """Say what went wrong, what was finished before, and what it cost; gives the exit code."""
        run = _so_far(state, error)
        drew(run, self.timeline)
        wrong = isinstance(reports.root(error), UsageError)
        if self.json and (run.calls or not wrong):
            sys.stdout.buffer.write(reports.document(run))
        say(reports.reason(error))
        if not self.json and not self.quiet:
            sys.stderr.write(lines_of(reports.so_far(run)))
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        return USAGE if wrong else FAILED


def _so_far(state: RunState, error: BaseException) -> Run[Any]:
    if isinstance(error, FanfoldError) and isinstance(error.run, Run):
        return error.run
    return finished(state, max((event.at for event in state.events), default=0.0), None, None, error)
