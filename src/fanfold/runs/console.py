"""The live screen of the command: a run's branches, states, tokens and time while they happen.

On a terminal it redraws a table; without one it writes a plain line for each branch that ends.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Self

import msgspec

from fanfold.core.clock import now
from fanfold.core.records import Call, Cost, Event, Usage

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import RenderableType

ROWS = 16
"""Branches shown one by one; more are counted."""


class _Row(msgspec.Struct):
    """One outermost branch, or one step outside any branch."""

    name: str
    since: float
    state: str = "running"
    until: float | None = None
    value: str = ""
    calls: int = 0
    tokens: int = 0


class Progress:
    """What a run looks like now, made from its events; the thing that the screens draw."""

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {}
        self.usage = Usage()
        self.cost = Cost()
        self.calls: Counter[str] = Counter()
        self.tally: Counter[str] = Counter()
        self.made_up = False
        self.title = ""
        self.ended: float | None = None
        self._voting = False

    def take(self, event: Event) -> _Row | None:
        """Take one event; gives the row that it ended, if it did."""
        if event.kind == "run.started":
            self.title = f"{event.value} {event.place}"
            self._voting = event.value == "vote"
        elif event.kind == "run.ended":
            self.ended = event.at
        elif event.kind in {"branch.started", "step.started"}:
            self._open(event)
        elif event.kind in {"branch.ended", "branch.late", "branch.cancelled", "step.ended"}:
            return self._close(event)
        elif event.kind == "call.ended" and event.call is not None:
            self._pay(event.call)
        return None

    def _open(self, event: Event) -> None:
        name = event.place.partition("/")[2]
        if self._row(event.place) is None:
            self.rows[name] = _Row(name.replace("%2F", "/"), event.at)

    def _close(self, event: Event) -> _Row | None:
        row = self.rows.get(event.place.partition("/")[2])
        if row is None:
            return None
        row.until = event.at
        row.state = _ending(event)
        row.value = _short(event.error if event.error is not None else getattr(event.value, "value", event.value))
        if self._voting and event.kind == "branch.ended" and event.error is None:
            self.tally[row.value] += 1
        return row

    def _pay(self, call: Call) -> None:
        self.calls[call.state] += 1
        self.cost += call.cost
        self.made_up = self.made_up or call.made_up
        row = self._row(call.place)
        if row is not None:
            row.calls += 1
        if call.usage is not None:
            self.usage += call.usage
            if row is not None:
                row.tokens += call.usage.total_tokens

    def _row(self, place: str) -> _Row | None:
        """The row that a place belongs to: itself, or the nearest one above it."""
        name = place.partition("/")[2]
        while name:
            if name in self.rows:
                return self.rows[name]
            name = name.rpartition("/")[0]
        return None

    def footer(self, seconds: float) -> str:
        """One line: calls by state, tokens, cost, time."""
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.calls.items())) or "no calls yet"
        money = "made up" if self.made_up else str(self.cost)
        tally = f" · tally: {', '.join(f'{v} {c}' for v, c in self.tally.most_common(6))}" if self.tally else ""
        tokens = f"{self.usage.input_tokens} + {self.usage.output_tokens} tokens"
        return f"calls: {counts} · {tokens} · {money} · {seconds:.1f} s{tally}"


class Screen(AbstractContextManager["Screen"]):
    """A screen that shows nothing; the others override what they show."""

    def on_event(self, event: Event) -> None:
        """Take one event of the run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LineScreen(Screen):
    """A line for every outermost branch that ends."""

    def __init__(self, out: IO[str]) -> None:
        self.out = out
        self.progress = Progress()

    def on_event(self, event: Event) -> None:
        """Write the line of a row that has ended."""
        row = self.progress.take(event)
        if row is not None and row.until is not None:
            value = f": {row.value}" if row.value else ""
            self.out.write(f"{row.state:9} {row.name} ({row.until - row.since:.2f} s){value}\n")


class LiveScreen(Screen):
    """A table that is redrawn several times a second, by rich's own thread."""

    def __init__(self, out: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self.progress = Progress()
        self._lock = threading.Lock()
        self._began = now()
        self._live = Live(
            console=Console(file=out), get_renderable=self.draw, refresh_per_second=8, redirect_stdout=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def on_event(self, event: Event) -> None:
        """Take one event; the next redraw shows it."""
        with self._lock:
            self.progress.take(event)

    def draw(self) -> RenderableType:
        """The table as it is now."""
        from rich.table import Table
        from rich.text import Text

        progress = self.progress
        with self._lock:
            seconds = progress.ended if progress.ended is not None else now() - self._began
            table = Table(title=progress.title, caption=progress.footer(seconds), caption_justify="left")
            for heading in ("branch", "state", "seconds", "calls", "tokens", "answer"):
                table.add_column(heading, justify="right" if heading in {"seconds", "calls", "tokens"} else "left")
            rows = list(progress.rows.values())
            for row in rows[:ROWS]:
                took = (seconds if row.until is None else row.until) - row.since
                cells = (row.name, row.state, f"{took:.1f}", str(row.calls), str(row.tokens), row.value)
                table.add_row(*(Text(cell) for cell in cells))
            if len(rows) > ROWS:
                states = Counter(row.state for row in rows[ROWS:])
                table.add_row(
                    Text(f"… {len(rows) - ROWS} more"), Text(", ".join(f"{c} {s}" for s, c in states.items()))
                )
        return table


def screen_for(out: IO[str], *, quiet: bool) -> Screen:
    """The screen that fits: none when quiet, live on a terminal, else lines."""
    if quiet:
        return Screen()
    return LiveScreen(out) if out.isatty() else LineScreen(out)


def _ending(event: Event) -> str:
    if event.error is not None:
        return "failed"
    return {"branch.late": "late", "branch.cancelled": "cancelled"}.get(event.kind, "done")


def _short(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= 60 else text[:59] + "…"
