"""What `fanfold map` shows while it runs: rows, rate, time left, cost, refusals, limits."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from fanfold.calls.levels import LaneStatistics
from fanfold.data.table import Standing
from fanfold.session import SessionStatistics

LINES_EVERY = 5.0
"""Seconds between two lines, where there is no terminal."""

DRAWN_EVERY = 0.125


class MapScreen(AbstractContextManager["MapScreen"]):
    """A screen that shows nothing; the others override what they show. `every` is how often, in seconds."""

    every = 3600.0

    def show(self, standing: Standing, session: SessionStatistics) -> None:
        """Show how it stands."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class MapLines(MapScreen):
    """A line every few seconds."""

    every = LINES_EVERY

    def __init__(self, out: IO[str]) -> None:
        self.out = out

    def show(self, standing: Standing, session: SessionStatistics) -> None:
        """Write a line."""
        self.out.write(" · ".join(figures(standing, session).values()) + "\n")


class MapLive(MapScreen):
    """A few lines that are redrawn several times a second, by rich's own thread."""

    every = DRAWN_EVERY

    def __init__(self, out: IO[str], title: str) -> None:
        self.title = title
        self.live = Live(console=Console(file=out), refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def show(self, standing: Standing, session: SessionStatistics) -> None:
        """Let the next redraw show it."""
        grid = Grid(show_header=False, box=None)
        for name, figure in figures(standing, session).items():
            grid.add_row(Text(name, style="italic"), Text(figure, no_wrap=True, overflow="ellipsis"))
        # A title of the grid would be wrapped at the grid's width, which is that of the figures.
        title = Text(self.title, style="italic", no_wrap=True, overflow="ellipsis")
        self.live.update(Group(title, grid))


def map_screen(out: IO[str], title: str, *, quiet: bool) -> MapScreen:
    """The screen that fits: none when quiet, live on a terminal that can redraw, else lines."""
    if quiet:
        return MapScreen()
    redraws = out.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}
    return MapLive(out, title) if redraws else MapLines(out)


def figures(standing: Standing, session: SessionStatistics) -> dict[str, str]:
    """What there is to say, by its name."""
    rows = standing.done + standing.failed
    about = "" if standing.exact else "about "
    of = "" if standing.total is None else f" of {about}{standing.total:,} ({rows / max(1, standing.total):.0%})"
    failed = f", {standing.failed:,} failed" if standing.failed else ""
    left = "" if standing.left is None else f", {duration(standing.left)} left"
    found = {"rows": f"{rows:,}{of} rows{failed}", "rate": f"{standing.rate:.1f} rows/s{left}", "cost": money(standing)}
    found["calls"] = f"{session.slots.in_use} of {session.slots.limit} calls in flight"
    if standing.spent.throttled:
        found["refused"] = f"{standing.spent.throttled:,} × 429"
    if limited := [lane for lane in session.lanes if lane.limits or lane.paused or lane.down is not None]:
        found["limits"] = "; ".join(map(_limits, limited))
    return found


def _limits(lane: LaneStatistics) -> str:
    """What holds the calls to one model back."""
    parts = [f"{lane.in_flight} of {lane.window} out"]
    parts += [f"paused {lane.paused:.0f} s"] if lane.paused else []
    parts += [] if lane.down is None else [f"down for {lane.down:.0f} s"]
    for limit in lane.limits:
        used = "" if limit.used is None else f"{limit.used:,.0f} of "
        parts.append(f"{used}{limit.limit:,.0f} {limit.name} in {limit.per:g} s ({limit.source})")
    return f"{lane.model}: {', '.join(parts)}"


def money(standing: Standing) -> str:
    """The cost so far, and of all rows at this rate."""
    if standing.spent.free:
        return "made up, nothing is paid"
    cost = standing.spent_before.cost + standing.spent.cost
    projected = "" if standing.projected is None else f", about ${standing.projected:.2f} for all"
    return f"cost {cost}{' + made up' * standing.spent.made_up}{projected}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
