"""`fanfold compare`: the steps as they run, then their figures side by side, as text or as one JSON document."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from fanfold.cli import reports
from fanfold.cli.ending import DONE, FAILED, INTERRUPTED, USAGE, StepThreads, say
from fanfold.cli.figures import Gain
from fanfold.cli.running import limited
from fanfold.cli.tables import Page, cell, print_figures, print_gains, print_reading, table
from fanfold.cli.visible import flat
from fanfold.core.clock import now
from fanfold.core.numbers import counted
from fanfold.data.compare import Comparison, Gold, Way, compare
from fanfold.errors import FanfoldError, UsageError
from fanfold.session import Session
from fanfold.steps.step import Step
from fanfold.steps.templates import told

EVERY = 5.0
"""Seconds between two lines of progress."""

SHOWN = 300
"""Characters of a row or an answer that are shown."""

FIGURES = ("right", "calls", "tokens", "cost", "a row", "wall")


def show_comparison(
    build: Callable[[], tuple[Mapping[str, Step[Any, Any]], Gold]],
    options: Mapping[str, Any],
    *,
    show: int,
    json: bool,
    quiet: bool,
) -> int:
    """Compare, and print what came of it; gives the exit code: a step of which every row failed is a failure."""
    progress, ways = _Progress(quiet=quiet or json), list[Way]()
    try:
        with redirect_stdout(sys.stderr):
            found = asyncio.run(_compare(*build(), Session(**limited(**options)), progress.tell, ways))
    except (FanfoldError, KeyboardInterrupt) as error:
        if isinstance(error, UsageError) and not ways:
            raise
        return _broken_off(error, ways, json=json, quiet=quiet)
    code = FAILED if any(way.failed == len(found.items) for way in found.ways) else DONE
    if json:
        sys.stdout.buffer.write(reports.encoded(_document(found, show)))
        return code
    console = Page()
    _print_ways(console, found)
    if len(found.ways) > 1:
        _print_against(console, found)
    _print_disagreements(console, found, show)
    if not quiet:
        _print_reading(console)
    return code


async def _compare(
    steps: Mapping[str, Step[Any, Any]],
    gold: Gold,
    session: Session,
    tell: Callable[[str, int, int], None],
    ways: list[Way],
) -> Comparison:
    asyncio.get_running_loop().set_default_executor(StepThreads())
    async with session:
        return await compare(steps, gold, session, tell, ways)


def _broken_off(error: BaseException, ways: Sequence[Way], *, json: bool, quiet: bool) -> int:
    """Say what ended it, and what the steps that were done by then had come to; gives the exit code."""
    told = reports.reason(error)
    if json:
        failed = {"type": type(error).__name__, "message": told}
        sys.stdout.buffer.write(reports.encoded({"steps": [_way(way) for way in ways], "error": failed}))
    say(told)
    for way in () if json or quiet else ways:
        cost = _money(way, way.spent.cost.usd)
        sys.stderr.write(
            f"{way.name} was done: {way.accuracy:.1%} right, {counted(way.spent.calls, 'call')}, cost {cost}\n"
        )
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return USAGE if isinstance(error, UsageError) else FAILED


class _Progress:
    """A line every few seconds, and one for each step that is done."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.told = now()

    def tell(self, name: str, done: int, total: int) -> None:
        """Some more rows are done."""
        if not self.quiet and (done == total or now() - self.told > EVERY):
            self.told = now()
            sys.stderr.write(f"{name}: {done:,} of {total:,} rows\n")


def _print_ways(console: Console, found: Comparison) -> None:
    made = table(f"On {counted(len(found.items), 'row')}", ("step",), FIGURES)
    for way in found.ways:
        cost = way.spent.cost.usd
        made.add_row(
            cell(way.name),
            f"{way.accuracy:.1%}",
            f"{way.spent.calls:,}",
            f"{way.spent.usage.total_tokens:,}",
            _money(way, cost),
            _money(way, None if cost is None else cost / len(found.items), 6),
            f"{way.wall:.1f} s",
        )
    print_figures(console, made)
    for way in found.ways:
        if (why := _first_failure(found, way)) is not None:
            count = "counts" if way.failed == 1 else "count"
            failed = f"{counted(way.failed, 'row')} of {way.name} failed"
            console.print(Text(f"{failed}, and {count} as wrong; the first, {why}"))


def _first_failure(found: Comparison, way: Way) -> str | None:
    """The first row of a step that failed, and why."""
    at = way.first_failed
    return None if at is None else f"row {found.items[at].number}: {flat(way.said[at], SHOWN)}"


def _money(way: Way, usd: float | None, digits: int = 4) -> str:
    if way.spent.free:
        return "made up"
    return "unknown" if usd is None else f"${usd:.{digits}f}"


def _print_against(console: Console, found: Comparison) -> None:
    first = found.ways[0].name
    gains = [Gain(one.name, first, one.gain, one.low, one.high) for one in found.against()]
    print_gains(console, "More often right, in percentage points", {"": gains})
    for one in found.against():
        console.print(Text(f"{one.name}: {_price(one.more_right, one.more_cost, one.per_right, first)}"))


def _price(more: int, cost: float | None, per_right: float | None, first: str) -> str:
    if cost is None:
        price = "at a price that is not known"
    else:
        price = f"for ${cost:.4f} more" if cost >= 0 else f"and saves ${-cost:.4f}"
    if more <= 0:
        fewer = f"{counted(-more, 'right answer')} fewer than" if more else "as many right as"
        return f"{fewer} {first}, {price}"
    each = "" if per_right is None else f": ${per_right:.6f} for each of them"
    return f"{counted(more, 'right answer')} more than {first}, {price}{each}"


def _print_disagreements(console: Console, found: Comparison, show: int) -> None:
    rows = found.disagreements()
    for at in rows[:show]:
        item = found.items[at]
        console.print(Text(f"\nrow {item.number}: {flat(told(dict(item.row)), SHOWN)}"))
        for way in found.ways:
            mark = "right" if way.right[at] else "wrong"
            console.print(cell(f"  {mark} {way.name}: {flat(way.said[at], SHOWN)}"))
    if show and len(rows) > show:
        console.print(f"\n{counted(len(rows) - show, 'more row')} that some got right and others wrong.")


def _print_reading(console: Console) -> None:
    entries = {
        "right": "The share of rows whose answer is the right one, compared as ballots of a vote are; a failed row is "
        "wrong.",
        "cost": "List price of all calls that were sent.",
        "wall": "Each step ran over all rows by itself, with as many calls at once as --max-in-flight allows.",
        "interval": "Paired over the rows, adjusted (Bonett and Price).",
    }
    console.print()
    print_reading(console, entries)


def _document(found: Comparison, show: int) -> dict[str, Any]:
    shown = found.disagreements()
    return {
        "rows": len(found.items),
        "steps": [{**_way(way), "first_failure": _first_failure(found, way)} for way in found.ways],
        "against_first": found.against(),
        "disagreements": len(shown),
        "shown": [
            {
                "row": found.items[at].number,
                "input": found.items[at].row,
                "said": {way.name: way.said[at] for way in found.ways},
                "right": {way.name: way.right[at] for way in found.ways},
            }
            for at in shown[:show]
        ],
    }


def _way(way: Way) -> dict[str, Any]:
    low, high = way.interval
    spent = msgspec.structs.asdict(way.spent)
    cost = way.spent.cost
    spent["cost"] = {"usd": cost.usd, "at_least": cost.at_least, "at_most": cost.at_most}
    return {
        "name": way.name,
        "right": way.count,
        "accuracy": way.accuracy,
        "low": low,
        "high": high,
        "failed": way.failed,
        "wall": round(way.wall, 6),
        **spent,
    }
