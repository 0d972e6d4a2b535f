"""`fanfold map`: a step over a table, on the screen while it runs, and what is said at its end."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import Any

from fanfold.cli import reports
from fanfold.cli.ending import DONE, FAILED, INTERRUPTED, USAGE, StepThreads, say
from fanfold.cli.map_screen import map_screen
from fanfold.cli.places import raised_at
from fanfold.cli.running import limited
from fanfold.cli.visible import lines_of
from fanfold.core.clock import sleep
from fanfold.core.numbers import counted
from fanfold.core.tasks import begin_task
from fanfold.data.projecting import project
from fanfold.data.table import Plan, Standing, Table
from fanfold.errors import BudgetError, FanfoldError, RowError, UsageError, noted
from fanfold.session import Session

LOADED = 1.0
"""Seconds after which a map has loaded all that it needs, and the collector may leave that alone."""


def make_table(build: Callable[[], Plan], options: Mapping[str, Any], *, dry_run: bool, json: bool, quiet: bool) -> int:
    """Make the table of the plan and say what came of it; gives the exit code.

    A table in which every row failed is a failure. With `dry_run` nothing is sent, and what it would take is printed.
    Raises `UsageError` where it comes to nothing before anything is made.
    """
    options = limited(**options)
    if dry_run:
        return _foretell(build, options, json=json)
    job = _Job(options, json=json, quiet=quiet)
    try:
        # Standard output is for the document: what a file of the user's prints goes beside it.
        with redirect_stdout(sys.stderr):
            standing = asyncio.run(job.make(build()))
    except (Exception, KeyboardInterrupt) as error:
        if job.table is None or job.table.files is None:
            if job.table is not None and _is_disk(error):
                raise UsageError(_why(error, job.table)) from error
            raise
        return job.failed(job.table, error)
    job.done(standing)
    return FAILED if standing.failed and not standing.done else DONE


def _foretell(build: Callable[[], Plan], options: Mapping[str, Any], *, json: bool) -> int:
    """Print what it would take, and whether the budget covers that."""
    with redirect_stdout(sys.stderr):
        plan = build()
        # A budget gives prompts without max_tokens a ceiling, and so the whole an upper bound.
        found = project(plan, Session(**{**options, "budget": plan.budget}))
    if json:
        sys.stdout.buffer.write(reports.estimate_document(found.estimate, plan.budget, found.rows, found.sampled))
        return DONE
    of = "" if found.sampled == found.rows else f", by {found.sampled:,} of them"
    lines = [f"{counted(found.rows, 'row')}{of}:", *reports.estimate_lines(found.estimate, plan.budget)]
    sys.stdout.write(lines_of(lines))
    return DONE


class _Job:
    """One making of a table by the command."""

    def __init__(self, options: Mapping[str, Any], *, json: bool, quiet: bool) -> None:
        self.options = options
        self.json = json
        self.quiet = quiet
        self.table: Table | None = None

    async def make(self, plan: Plan) -> Standing:
        """Make it, with a screen."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(StepThreads())
        loop.call_later(LOADED, _spare_the_collector)
        title = f"{plan.step.name}: {plan.source} > {plan.out}"
        with map_screen(sys.stderr, title, quiet=self.quiet or self.json) as screen:
            table = self.table = Table(plan, lambda journal: Session(**self.options, journal=journal))

            async def tell() -> None:
                while True:
                    await sleep(screen.every)
                    traffic = table.traffic()
                    if traffic is not None:
                        screen.show(table.standing(), traffic)

            telling = begin_task(tell())
            try:
                return await table.make()
            finally:
                telling.cancel()

    def done(self, standing: Standing) -> None:
        """It is whole."""
        table = self._made()
        if self.json:
            sys.stdout.buffer.write(reports.encoded(_document(table, standing)))
        elif not self.quiet:
            sys.stderr.write(lines_of(_told(table, standing)))

    def failed(self, table: Table, error: BaseException) -> int:
        """Say what went wrong, what was done before, and how it goes on; gives the exit code."""
        standing = table.standing()
        told = _why(error, table) + _earlier(table, error)
        if self.json:
            document = _document(table, standing)
            document["error"] = {"type": type(error).__name__, "message": told}
            sys.stdout.buffer.write(reports.encoded(document))
        say(told)
        rows = standing.done + standing.failed
        if not self.json and not self.quiet and (rows or standing.spent.calls):
            kept = f"{counted(rows, 'row is', 'rows are')} kept in {table.places.log}"
            sys.stderr.write(f"{kept}; the same command{_but(table.plan, error, standing.failed)} goes on from there\n")
            sys.stderr.write(f"{_summary(standing)}\n")
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        cause = error.__cause__ if isinstance(error, RowError) else error
        return USAGE if isinstance(reports.root(cause or error), UsageError) else FAILED

    def _made(self) -> Table:
        if self.table is None:
            raise AssertionError("it was made")
        return self.table


def _spare_the_collector() -> None:
    """Let the garbage collector look at what is new only: all that is loaded, again and again, is a part of the CPU.

    `benchmarks/table.py` shows it. This process is the command's own, and does nothing but this map.
    """
    gc.collect()
    gc.freeze()


def _is_disk(error: BaseException) -> bool:
    """Whether a file could not be written; an error of the library's own is never that."""
    return isinstance(error, OSError) and not isinstance(error, FanfoldError)


def _why(error: BaseException, table: Table) -> str:
    if _is_disk(error):
        return (
            f"{table.plan.out} and the files beside it cannot be written: {getattr(error, 'strerror', None) or error}"
        )
    if isinstance(error, RowError):
        cause = error.__cause__
        at = raised_at(cause) if isinstance(cause, Exception) and not isinstance(cause, FanfoldError) else ""
        told = "; ".join([f"{error} ({at})" if at else str(error), *noted(error)])
        return f"{told} (--on-error skip would leave it out)" if "max_failures" not in told else told
    return reports.reason(error)


def _earlier(table: Table, error: BaseException) -> str:
    """What a budget was before earlier runs took of it: its error knows only what they left."""
    budget, before = table.plan.budget, 0.0 if table.files is None else table.files.earlier_tab
    if not isinstance(error, BudgetError) or budget is None or budget.usd is None or not before:
        return ""
    return f" (of --budget {budget.usd:g} earlier runs may have cost ${before:.6f})"


def _but(plan: Plan, error: BaseException, failed: int) -> str:
    """How the command that goes on differs from this one."""
    parts = [" without --restart, which would forget them,"] if plan.restart else []
    parts += [" with a larger --budget"] if isinstance(error, BudgetError) else []
    many = plan.max_failures is not None and failed > plan.max_failures
    parts += [" with a larger --max-failures"] if many else []
    return "".join(parts)


def _told(table: Table, standing: Standing) -> list[str]:
    again = "--reuse-unchanged asks the failed rows again" if standing.failed and table.plan.journal else ""
    if table.files is None:
        anew = f"{again}, --restart all" if again else "--restart makes it anew"
        return [f"{table.plan.out} is done: {_rows(table, standing)}; {anew}"]
    before = f", {standing.before:,} of them before" if standing.before else ""
    ended = f"; {again}" if again else ""
    return [f"{table.plan.out}: {_rows(table, standing)}{before}{ended}", _summary(standing)]


def _rows(table: Table, standing: Standing) -> str:
    failed = f", {counted(standing.failed, 'failed row')} in {table.places.failed}" if standing.failed else ""
    return f"{counted(standing.done, 'row')}{failed}"


def _summary(standing: Standing) -> str:
    spent = standing.spent
    found = f" and {spent.replayed:,} from the journal" if spent.replayed else ""
    tokens = f"{spent.usage.input_tokens:,} + {spent.usage.output_tokens:,} tokens"
    now = f" ({spent.paid} of it now)" if spent.replayed else ""
    parts = [f"{counted(spent.calls, 'call')}{found}", tokens]
    parts.append("made up, nothing was paid" if spent.free else f"cost {spent.cost}{now}{' + made up' * spent.made_up}")
    if standing.spent_before.calls and not (spent.free or standing.spent_before.free):
        parts.append(f"{standing.spent_before.cost} before")
    if spent.throttled:
        parts.append(f"{spent.throttled:,} × 429")
    return ", ".join([*parts, f"{standing.seconds:.1f} s, {standing.rate:.1f} rows/s"])


def _document(table: Table, standing: Standing) -> dict[str, Any]:
    spent, before = standing.spent, standing.spent_before
    all_cost = spent.cost + before.cost
    return {
        "output": str(table.plan.out),
        "failed_output": str(table.places.failed) if standing.failed else None,
        "rows": standing.done,
        "failed": standing.failed,
        "before": standing.before,
        "calls": spent.calls,
        "replayed": spent.replayed,
        "throttled": spent.throttled,
        "usage": spent.usage,
        "cost": {"usd": spent.cost.usd, "at_least": spent.cost.at_least, "at_most": spent.cost.at_most},
        "paid": {"usd": spent.paid.usd, "at_least": spent.paid.at_least, "at_most": spent.paid.at_most},
        "cost_with_earlier_runs": {"at_least": all_cost.at_least, "at_most": all_cost.at_most},
        "wall": round(standing.seconds, 6),
        "made_up": spent.made_up or before.made_up,
    }
