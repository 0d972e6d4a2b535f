"""The live screen of the command: a run's branches, states, tally, tokens, cost and time while they happen.

On a terminal it redraws a table; without one it writes a plain line for each branch that ends.
"""

from __future__ import annotations

import os
import threading
from asyncio import CancelledError
from collections import Counter
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Self

import msgspec

from fanfold.core.clock import now
from fanfold.core.records import Call, Cost, Event, Usage
from fanfold.errors import UsageError, words_of
from fanfold.runs.run import may_cost

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
    from rich.table import Table

ROWS = 16
"""Branches shown one by one, on a terminal that has the lines; more are counted."""

AROUND = 8
"""Lines of the screen that are no branch: title, heading, borders, footer, and some room."""

LONGEST = 60
"""Characters of an answer that are shown."""


class _Row(msgspec.Struct):
    """One outermost branch, or one step outside any branch."""

    name: str
    since: float
    until: float | None = None
    end: str = ""
    value: str = ""
    queued: int = 0
    flying: int = 0
    calls: int = 0
    tokens: int = 0

    @property
    def state(self) -> str:
        """How it ended; until then, whether it only waits for a slot."""
        if self.until is not None:
            return self.end
        return "queued" if self.queued and not self.flying else "running"


class Progress:
    """What a run looks like now, made from its events; the thing that the screens draw."""

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {}
        self.usage = Usage()
        self.cost = Cost()
        self.calls: Counter[str] = Counter()
        self.tally: Counter[str] = Counter()
        self.made_up = self.real = False
        self.title = ""
        self.ended: float | None = None
        self._voting = False

    def take(self, event: Event) -> _Row | None:
        """Take one event; gives the row that it ended, if it did."""
        if event.kind == "run.started":
            name = _readable(event.place)
            self.title = name if name == event.value else f"{event.value} {name}"
            self._voting = event.value == "vote"
        elif event.kind == "run.ended":
            self.ended = event.at
            self._leave_open(event.at)
        elif event.kind in {"branch.started", "step.started"}:
            self._open(event)
        elif event.kind in {"branch.ended", "branch.late", "branch.cancelled", "step.ended"}:
            return self._close(event)
        elif event.call is not None:
            self._follow(event.kind, event.call)
        return None

    def _open(self, event: Event) -> None:
        name = _name(event.place)
        row = self.rows.get(name)
        if row is not None:
            row.since, row.until = event.at, None  # the same step once more
        elif self._row(event.place) is None:
            self.rows[name] = _Row(_readable(name), event.at)

    def _close(self, event: Event) -> _Row | None:
        row = self.rows.get(_name(event.place))
        if row is None:
            return None
        row.until = event.at
        row.end = _ending(event)
        row.value = _short(getattr(event.value, "value", event.value) if event.error is None else words_of(event.error))
        if self._voting and event.kind == "branch.ended" and event.error is None:
            self.tally[row.value] += 1
        return row

    def _leave_open(self, at: float) -> None:
        """The run is over: of what never said its end, that was held back."""
        for row in self.rows.values():
            if row.until is None:
                row.until, row.end = at, "held"

    def _follow(self, kind: str, call: Call) -> None:
        """A call has moved on: it waits, it is on the wire, it is over."""
        row = self._row(call.place) or _Row("", 0.0)  # a call outside every branch has no row to show
        if kind == "call.queued":
            self.calls["queued"] += 1
            row.queued += 1
        elif kind == "call.sent":
            self._leave("queued", row)
            self.calls["running"] += 1
            row.flying += 1
        elif kind == "call.ended":
            self._leave("queued" if call.sent is None else "running", row)
            self._pay(call, row)

    def _leave(self, state: str, row: _Row) -> None:
        self.calls[state] -= 1
        if state == "queued":
            row.queued -= 1
        else:
            row.flying -= 1

    def _pay(self, call: Call, row: _Row) -> None:
        self.calls[call.state] += 1
        self.cost += call.cost
        self.made_up = self.made_up or call.made_up
        self.real = self.real or may_cost(call)
        row.calls += 1
        if call.usage is not None:
            self.usage += call.usage
            row.tokens += call.usage.total_tokens

    def _row(self, place: str) -> _Row | None:
        """The row that a place belongs to: itself, or the nearest one above it."""
        name = _name(place)
        while name:
            if name in self.rows:
                return self.rows[name]
            name = name.rpartition("/")[0]
        return None

    def footer(self, seconds: float) -> str:
        """One line: the tally, calls by state, tokens, cost, time."""
        tally = ", ".join(f"{value} {count}" for value, count in self.tally.most_common(6))
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.calls.items()) if count)
        parts = [f"tally: {tally}"] if tally else []
        parts.append(f"calls: {counts or 'none yet'}")
        if self.usage.total_tokens:
            parts.append(f"{self.usage.input_tokens} + {self.usage.output_tokens} tokens")
        if self.made_up and not self.real:
            parts.append("made up")
        elif any(count for state, count in self.calls.items() if state not in {"queued", "running"}):
            parts.append(f"cost {self.cost}{' + made up' * self.made_up}")
        return " · ".join([*parts, f"{seconds:.1f} s"])

    def shown(self, most: int) -> list[_Row]:
        """At most this many rows, in their order; those that go on before those that have ended."""
        going = [name for name, row in self.rows.items() if row.until is None]
        ended = [name for name, row in self.rows.items() if row.until is not None]
        chosen = set([*going, *ended][:most])
        return [row for name, row in self.rows.items() if name in chosen]

    def others(self, shown: list[_Row]) -> list[str]:
        """One line that counts the rows that are not among these, if there are any."""
        states = Counter(row.state for row in self.rows.values())
        states.subtract(row.state for row in shown)
        counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
        return [f"… {states.total()} more: {counts}"] if counts else []


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
        """Write the line of a row that has ended; a mistake of the program's is told once, at the end."""
        row = self.progress.take(event)
        if row is not None and row.until is not None and not isinstance(event.error, UsageError):
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
        self._live = Live(self, console=Console(file=out), refresh_per_second=8)

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
            if event.kind == "run.started":
                self._began = now() - event.at
            self.progress.take(event)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        with self._lock:
            ended = self.progress.ended
            seconds = now() - self._began if ended is None else ended
            rows = self.progress.shown(max(1, min(ROWS, console.height - AROUND)))
            table = self._table(rows, seconds)
            footer = "\n".join([*self.progress.others(rows), self.progress.footer(seconds)])
        yield table
        yield Text(footer)

    def _table(self, rows: list[_Row], seconds: float) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.progress.title), title_justify="left")
        for heading in ("branch", "state", "seconds", "calls", "tokens", "answer"):
            justify: JustifyMethod = "right" if heading in {"seconds", "calls", "tokens"} else "left"
            table.add_column(heading, justify=justify, min_width=9 if heading == "state" else None)
        for row in rows:
            took = max(0.0, (seconds if row.until is None else row.until) - row.since)
            cells = (row.name, row.state, f"{took:.1f}", str(row.calls), str(row.tokens), row.value)
            # A line each: one that wrapped would make the table jump.
            table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
        return table


def screen_for(out: IO[str], *, quiet: bool) -> Screen:
    """The screen that fits: none when quiet, live on a terminal that can redraw, else lines."""
    if quiet:
        return Screen()
    redraws = out.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}
    return LiveScreen(out) if redraws else LineScreen(out)


def _name(place: str) -> str:
    """The place without the run's own name."""
    return place.partition("/")[2]


def _ending(event: Event) -> str:
    if event.error is not None:
        stopped = event.kind == "step.ended" and isinstance(event.error, CancelledError)
        return "cancelled" if stopped else "failed"
    return {"branch.late": "late", "branch.cancelled": "cancelled"}.get(event.kind, "done")


def _readable(place: str) -> str:
    """A place as a person reads it."""
    return _line(place.replace("%2F", "/"))


def _line(text: str) -> str:
    """A text in one line, without what would move a terminal's cursor."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _short(value: object) -> str:
    """A value in one short line."""
    if value is None:
        return ""
    text = _line(str(value)[: 10 * LONGEST])
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
