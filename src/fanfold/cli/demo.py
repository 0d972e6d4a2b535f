"""`fanfold demo` on the screen: the passes as they run, the table, one vote in full, one sectioned review."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Self

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fanfold.cli.measuring import Answered, Measured, Progress, Row, measure
from fanfold.runs.run import Run
from fanfold.session import Session
from fanfold.steps.prompt import prompt
from fanfold.steps.sections import sections
from fanfold.testing.server import ModelServer

QUICK = 10
"""`--quick` takes every tenth question."""

WIDTH = 118
"""Characters a line where no terminal says its own."""

CODE = """def get_user(id):
    return db.query(f"SELECT * FROM users WHERE id={id}")
"""

REVIEW = sections(
    {
        "security": prompt("Review this code for security issues only:\n\n{input}", name="security"),
        "performance": prompt("Review this code for performance issues only:\n\n{input}", name="performance"),
        "style": prompt("Review this code for style only:\n\n{input}", name="style"),
    },
    merge=prompt("Write one review of:\n{input}\n\n{security}\n{performance}\n{style}"),
    name="review",
)


def show_demo(*, quick: bool, speed: float, seed: int, as_json: bool) -> int:
    """Run the demo and print it; gives the exit code."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    found, review = asyncio.run(_run(console, every=QUICK if quick else 1, speed=speed, seed=seed, quiet=as_json))
    if as_json:
        sys.stdout.buffer.write(_document(found, review, speed))
        return 0
    _print_table(console, found, speed)
    _print_vote(console, found.example)
    _print_review(console, review)
    console.print(f"\nAll of it took {found.seconds:.1f} s.")
    return 0


async def _run(console: Console, *, every: int, speed: float, seed: int, quiet: bool) -> tuple[Measured, Run[Any]]:
    async with ModelServer("recorded", latency="recorded", speed=speed, seed=seed) as server:
        if not quiet:
            console.print(
                f"Recorded answers of real models, served at {server.url} with real recorded latencies divided by "
                f"{speed:g}.\n"
            )
        with _Passes(console, quiet=quiet) as passes:
            found = await measure(server.url, passes.tell, every=every)
    async with Session("fake:") as session:
        review = await REVIEW.run(CODE, session=session)
    return found, review


class _Passes:
    """The passes as they run: a live table on a terminal, else a line for each pass that is done."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet
        self.seen: list[Progress] = []
        live = console.is_terminal and not quiet
        self.live = Live(console=console, get_renderable=self.draw, refresh_per_second=8) if live else None

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def tell(self, progress: Progress) -> None:
        """Take note of a pass; the same object comes again as it goes on."""
        if not any(progress is one for one in self.seen):
            self.seen.append(progress)
        if progress.done == progress.total and self.live is None and not self.quiet:
            self.console.print(_line(progress))

    def draw(self) -> Table:
        """All passes so far."""
        table = Table("pass", "questions", "right", "calls sent", "saved")
        for one in self.seen:
            right = f"{one.right / one.done:.1%}" if one.done else "-"
            table.add_row(one.title, f"{one.done}/{one.total}", right, str(one.sent), str(one.saved))
        return table


def _line(progress: Progress) -> str:
    share = progress.right / max(1, progress.done)
    return f"{progress.title}: {progress.done} questions, {share:.1%} right, {progress.sent} calls sent"


# -- the table --------------------------------------------------------------------------------------------------


def _saved(row: Row) -> str:
    """Cancelled under way, and never sent."""
    return f"{row.cancelled} + {row.unsent}" if row.wall is not None else "-"


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("accuracy", lambda row: f"{row.accuracy:.1%}"),
    ("calls", lambda row: str(row.answered + row.cancelled)),
    ("saved", _saved),
    ("tokens", lambda row: f"{row.tokens:,}"),
    ("list price", lambda row: "unknown" if row.cost is None else f"${row.cost:.2f}"),
    ("wall", lambda row: "-" if row.wall is None else f"{row.wall:.1f} s"),
    ("in turn", lambda row: f"{row.sequential:.0f} s"),
)


def _gain(row: Row) -> str:
    if row.gain is None or row.low is None or row.high is None:
        return ""
    verdict = "which may be chance" if row.low <= 0 <= row.high else "more than chance"
    return (
        f"{row.title} against one call of {row.against}: {100 * row.gain:+.1f} points, "
        f"95 % interval {100 * row.low:+.1f} to {100 * row.high:+.1f} ({verdict})"
    )


def _print_table(console: Console, found: Measured, speed: float) -> None:
    table = Table(title="Measured in this run", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("way", overflow="fold")
    for heading, _ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.rows:
        table.add_row(row.title, *(cell(row) for _, cell in COLUMNS))
    console.print(table)
    for line in filter(None, map(_gain, found.rows)):
        console.print(line)
    console.print(
        "\n'calls' were sent; 'saved' were cancelled under way + never sent, because the vote was decided. "
        "'in turn' is the time of the same calls one after another. "
        f"Votes: all {found.questions} recorded questions of gpt-35-turbo; panel: all {found.panel_questions} of the "
        "nine models. Single calls are counted over a pass in which every voter was heard, with the same draws; an "
        "answer that could not be read counts as wrong. Intervals: paired over questions, normal approximation. "
        f"Early decision gave the winner of the full pass in {found.same_winners} of {found.questions} votes. "
        "Prices are list prices of answered calls (nothing was paid; a provider may bill cancelled calls too). "
        f"Latencies are recorded ones divided by {speed:g}, and so are both times."
    )


def _print_vote(console: Console, one: Answered) -> None:
    detail = one.detail
    console.print("\n[bold]One vote in full[/bold] (the first on which the voters did not agree)")
    console.print(Text(one.recording.question.strip()))
    for ballot in detail.ballots:
        last = (ballot.text or "").strip().splitlines()[-1:] or [""]
        said = ballot.value if ballot.kind == "valid" else f"{ballot.kind} ({ballot.reason})"
        console.print(Text(f"  voter {ballot.voter}: {said}   … {last[0].strip()[-90:]}"))
    tally = ", ".join(f"{value} {count}" for value, count in detail.tally.items())
    share = "" if detail.share is None else f", share {detail.share:.0%}"
    console.print(Text(f"  tally: {tally}{share}; {detail.why}"))
    verdict = "right" if one.right else f"wrong, the recorded answer is {one.recording.gold}"
    console.print(Text(f"  winner: {one.run.output} ({verdict}); {one.run.summary()}"))


def _print_review(console: Console, review: Run[Any]) -> None:
    console.print("\n[bold]One sectioned review[/bold], by the made-up model: its words mean nothing")
    for name, value in review.detail.values.items():
        console.print(Text(f"  {name}: {value}"))
    console.print(Text(f"  merged: {review.output}"))
    console.print(Text(f"  {review.summary()}"))


def _document(found: Measured, review: Run[Any], speed: float) -> bytes:
    body = {
        "latency_factor": speed,
        "questions": found.questions,
        "panel_questions": found.panel_questions,
        "same_winners": found.same_winners,
        "rows": found.rows,
        "review": {"output": review.output, "made_up": review.made_up},
        "seconds": round(found.seconds, 3),
    }
    return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"
