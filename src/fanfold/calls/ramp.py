"""The way back after a pause or an outage: what has waited leaves one by one, not all at once. Pure."""

from __future__ import annotations

from math import inf

TIMES = 2.0
"""How much faster than usual a backlog is worked off at first: a server just back is not overrun."""

DOUBLING = 20.0
"""Seconds after which that doubles, and again."""


class Ramp:
    """A pace for what waits; over when nothing waits any more."""

    __slots__ = ("_began", "_next", "_usual", "active")

    def __init__(self) -> None:
        self.active = False
        self._usual: float | None = None
        self._began = self._next = -inf

    def begin(self, now: float, usual: float | None) -> None:
        """From now on; `usual` is how many left a second before (None: not known)."""
        self.active = True
        self._usual = usual
        self._began = self._next = now

    def end(self, now: float) -> None:
        """Nothing waits; before it began, that says nothing."""
        if now >= self._began:
            self.active = False

    def wait(self, now: float) -> float:
        """Seconds until the next may leave."""
        return max(0.0, self._next - now) if self.active else 0.0

    def take(self, now: float, room: int, latency: float | None) -> None:
        """One leaves; `room` may be out at once, for `latency` seconds each."""
        if not self.active:
            return
        pace = inf if latency is None else TIMES * room / max(latency, 1e-3)
        if self._usual is not None:
            pace = min(pace, self._usual * TIMES * 2 ** min(64.0, max(0.0, (now - self._began) / DOUBLING - 1)))
        interval = 1 / pace
        self._next = (self._next if now - self._next < interval else now) + interval
