"""Running one step from the command: the live screen, the end, the exit code."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from fanfold.cli import reports
from fanfold.core.clock import now
from fanfold.errors import FanfoldError, UsageError
from fanfold.runs.console import screen_for
from fanfold.runs.run import Run, finished
from fanfold.session import Session
from fanfold.steps.running import new_state, run_alone
from fanfold.steps.templates import render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fanfold.runs.state import RunState
    from fanfold.steps.step import Step

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def execute(
    build: Callable[[], tuple[Step[Any, Any], Any]],
    options: Mapping[str, Any],
    *,
    timeout: float | None,
    json: bool,
    quiet: bool,
) -> NoReturn:
    """Build the step and its input, run it, print what came of it, and exit with its code."""
    job = _Job(options, timeout, json=json, quiet=quiet)
    try:
        code = asyncio.run(job.run(*build()))
    except UsageError as error:
        _say(f"fanfold: {error}")
        code = USAGE
    except KeyboardInterrupt:
        code = job.interrupted()
    sys.exit(code)


class _Job:
    """One run of the command; it knows its run's state, so that an interrupt can still tell what was finished."""

    def __init__(self, options: Mapping[str, Any], timeout: float | None, *, json: bool, quiet: bool) -> None:
        self.options = options
        self.timeout = timeout
        self.json = json
        self.quiet = quiet
        self.state: RunState | None = None

    async def run(self, step: Step[Any, Any], given: Any) -> int:
        """Run the step under a session of the options; gives the exit code."""
        with screen_for(sys.stderr, quiet=self.quiet or self.json) as screen:
            async with Session(**self.options, on_event=screen.on_event) as session:
                self.state = await new_state(step, session)
                try:
                    run = await run_alone(self.state, step, given, self.timeout)
                except UsageError:
                    raise
                except FanfoldError as error:
                    failed: Run[Any] = error.run or self._so_far(error)
                    return self._fail(failed, f"fanfold: {type(error).__name__}: {error}", FAILED)
        self._print(run)
        return DONE

    def interrupted(self) -> int:
        """After Ctrl-C: what was finished, and what it cost."""
        if self.state is None:
            return INTERRUPTED
        return self._fail(self._so_far(KeyboardInterrupt("interrupted")), "fanfold: interrupted", INTERRUPTED)

    def _so_far(self, error: BaseException) -> Run[Any]:
        if self.state is None:
            raise error
        wall = max((event.at for event in self.state.events), default=now() - self.state.began)
        return finished(self.state, wall, None, None, error)

    def _print(self, run: Run[Any]) -> None:
        if self.json:
            sys.stdout.buffer.write(reports.document(run) + b"\n")
            return
        sys.stdout.write((reports.headline(run) if not self.quiet else render(run.output)) + "\n")
        if not self.quiet:
            _say(run.summary())

    def _fail(self, run: Run[Any], what: str, code: int) -> int:
        if self.json:
            sys.stdout.buffer.write(reports.document(run) + b"\n")
        else:
            _say(reports.failure(run, what))
        return code


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
