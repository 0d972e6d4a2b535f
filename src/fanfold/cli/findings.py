"""What `fanfold demo` found, as text for people and as one JSON document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from fanfold.cli.figures import Answered, Row
from fanfold.cli.measuring import FIRST, TOGETHER, VOTES, Measured
from fanfold.cli.reports import detail_fields, encoded
from fanfold.cli.tables import cell, print_figures, print_gains, print_reading, table
from fanfold.runs.run import Run

COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("right", lambda row: f"{row.accuracy:.1%}"),
    ("calls", lambda row: f"{row.sent:,}"),
    ("saved", lambda row: "-" if row.wall is None else f"{row.cancelled}+{row.unsent}"),
    ("tokens", lambda row: f"{row.tokens / 1000:,.0f}k"),
    ("price", lambda row: "unknown" if row.cost is None else f"${row.cost:.2f}"),
    ("wall", lambda row: "-" if row.wall is None else f"{row.wall:.1f} s"),
    ("in turn", lambda row: f"{row.sequential:.0f} s"),
)


def print_findings(console: Console, found: Measured, review: Run[Any], speed: float, *, every: int) -> None:
    """The table, what it says of gains, how to read it, one vote in full, one sectioned review."""
    print_rows(console, found.rows)
    print_gains(console, "More often right than one call, in percentage points", {"": found.gains})
    _print_reading(console, found, speed, every)
    _print_vote(console, found.example)
    _print_review(console, review)


def document(found: Measured, review: Run[Any], speed: float) -> bytes:
    """The figures as one JSON document."""
    example = found.example
    body = {
        "latency_factor": speed,
        "questions": found.questions,
        "panel_questions": found.panel_questions,
        "same_winners": found.same_winners,
        "rows": found.rows,
        "gains": found.gains,
        "example": {"question": example.recording.question, "vote": detail_fields(example.detail)},
        "review": {"output": review.output, "made_up": review.made_up},
        "seconds": round(found.seconds, 3),
    }
    return encoded(body)


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """What each way of answering got right, and what it took."""
    made = table("Measured in this run", ("way",), [heading for heading, _ in COLUMNS])
    for group, members in groupby(rows, lambda row: row.group):
        made.add_row(cell(group, style="italic"))
        for row in members:
            made.add_row(cell(f"  {row.title}"), *(figure(row) for _, figure in COLUMNS))
    print_figures(console, made)


def _print_reading(console: Console, found: Measured, speed: float, every: int) -> None:
    asked = "Every recorded question" if every == 1 else f"Every {every}th of the recorded questions"
    failed = sum(row.failed for row in found.rows)
    entries = {
        "way": "A model's name stands for one call of it a question.",
        "right": f"{asked} is asked; the winner is compared with the exam's own answer. A ballot that cannot be read "
        "counts as wrong. Single calls are counted over a pass in which every voter was heard, with the same "
        f"draws as the votes; of one model's {VOTES} draws it is their mean.",
        "calls": f"Sent, at most {TOGETHER} at once; the cancelled ones are among them."
        + (f" {failed} failed." if failed else ""),
        "saved": "By early decision: cancelled under way + never sent. It gave the winner of the full pass in "
        f"{found.same_winners} of {found.questions} votes. A vote of {FIRST} to {VOTES} asks {FIRST}, and the others "
        "while it is open.",
        "price": "List price of the answered calls. Nothing was paid; a provider may bill cancelled calls, too.",
        "in turn": "The time of the same calls one after another; wall is the time they took together. Both are made "
        f"of recorded latencies divided by {speed:g}.",
        "interval": "Paired over questions, adjusted (Bonett and Price).",
    }
    print_reading(console, entries)


def _print_vote(console: Console, one: Answered) -> None:
    detail = one.detail
    chosen = "torn, and yet decided early" if detail.outstanding else "torn"
    console.print(f"\n[bold]One vote in full[/bold] (the first that was {chosen})")
    console.print(Text(one.recording.question.strip()))
    for ballot in detail.ballots:
        last = (ballot.text or "").strip().splitlines()[-1:] or [""]
        said = ballot.value if ballot.kind == "valid" else f"{ballot.kind} ({ballot.reason})"
        console.print(cell(f"  voter {ballot.voter}: {said}   … {last[0].strip()}"))
    if detail.outstanding:
        console.print(f"  not waited for: {detail.outstanding} of {detail.n}")
    tally = ", ".join(f"{value} {count}" for value, count in detail.tally.items())
    share = "" if detail.share is None else f", share {detail.share:.0%}"
    console.print(Text(f"  tally: {tally}{share}; {detail.why}"))
    verdict = "right" if one.right else f"wrong, the exam's answer is {one.recording.gold}"
    console.print(Text(f"  winner: {one.run.output} ({verdict})"))
    console.print(Text(f"  {one.run.summary()}"))


def _print_review(console: Console, review: Run[Any]) -> None:
    console.print("\n[bold]One sectioned review[/bold], by the made-up model: its words mean nothing")
    for name, value in review.detail.values.items():
        console.print(Text(f"  {name}: {value}"))
    console.print(Text(f"  merged: {review.output}"))
    console.print(Text(f"  {review.summary()}"))
