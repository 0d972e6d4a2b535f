"""How the demos print what they found: tables that keep their figures whole, and how to read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fanfold.cli.figures import Gain

WIDTH = 100
"""Characters a line where no terminal says its own."""

ENDLESS = 10_000
"""More characters than any table has in a line."""

SHORTEST = 4
"""Characters of a name that are left where it is cut."""


class Page(Console):
    """Standard output for tables; a reader that has gone is an error as it is anywhere, and no exit code of its own."""

    def __init__(self, width: int | None = None) -> None:
        told = sys.stdout.isatty() or "COLUMNS" in os.environ
        super().__init__(highlight=False, width=width if told or width else WIDTH)

    def on_broken_pipe(self) -> None:
        """Let the error be what it is."""
        raise BrokenPipeError


def table(title: str, names: Sequence[str], figures: Sequence[str]) -> Table:
    """An empty table: columns of names on the left, columns of figures on the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.pad_edge = False
    for heading in names:
        made.add_column(heading)
    for heading in figures:
        made.add_column(heading, justify="right", no_wrap=True)
    return made


def cell(text: str, style: str = "") -> Text:
    """A name in one line: on a narrow terminal it is cut, and the figures stay whole."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def print_figures(console: Console, made: Table) -> None:
    """Print a table, its figures whole: where these and the names, cut, are too wide for a terminal, that wraps."""
    endless, least = console.options.update(width=ENDLESS), 1
    for column in made.columns:
        whole = max(console.measure(text, options=endless).maximum for text in (column.header, *column.cells))
        column.min_width = whole if column.justify == "right" else min(whole, SHORTEST)
        least += column.min_width + 2  # the padding, and the edge
    (console if console.width >= least else Page(least)).print(made)


def print_gains(console: Console, title: str, groups: Mapping[str, Iterable[Gain]]) -> None:
    """Paired differences with their intervals, in percentage points; a group without a name has no heading."""
    gains = table(title, ("way", "over"), ("points", "95 % interval", ""))
    for group, members in groups.items():
        if group:
            gains.add_row(cell(group, style="italic"))
        for gain in members:
            way = f"  {gain.title}" if group else gain.title
            points, interval = f"{100 * gain.gain:+.1f}", f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
            gains.add_row(cell(way), cell(gain.against), points, interval, gain.verdict)
    print_figures(console, gains)


def print_reading(console: Console, entries: Mapping[str, str]) -> None:
    """What the words of a table mean."""
    reading = Table.grid(padding=(0, 2, 0, 0))
    for term, meaning in entries.items():
        reading.add_row(Text(f" {term}", style="italic"), Text(meaning))
    console.print(reading)


def every_one(every: int, things: str) -> str:
    """Which of the recorded things were asked."""
    return f"Every recorded {things}" if every == 1 else f"Every {every}th recorded {things}"
