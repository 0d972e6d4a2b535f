"""How many calls a lane has out at once: less when the server is overloaded, more again while it is well. Pure."""

from __future__ import annotations

from math import inf

FEW = 4
"""How many may be out when a server has just come back."""

LATELY = 16
"""About so many of the last ends make the share that failed."""

LOAD = 0.25
"""The share of failures that is load: where one in twenty fails by chance, asking for less would mend nothing."""

DEEPEST = 0.5
"""The most that is cut at once."""

SLOWLY = 0.5
"""How much it grows in a round trip beyond where it was cut to last."""


class Window:
    """The concurrency that a server bears, found as TCP finds it.

    It starts open at `limit`, for that is what the user allows. Where too large a share of the last calls failed,
    what is out is cut by that share, once a round trip (a failure of what left before the last cut is no news).
    Successes widen it again: by one each up to where it was cut to last, slowly beyond, and only while all is used.
    """

    __slots__ = ("_bend", "_cut_at", "_share", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = float(limit)
        self._bend = inf
        self._cut_at = -inf
        self._share = 0.0

    @property
    def open(self) -> bool:
        """Whether it is no tighter than the session's own limit."""
        return self.size >= self.limit

    @property
    def room(self) -> int:
        """The most that may be out."""
        return int(self.size)

    def failed(self, left_at: float, out: int, now: float) -> bool:
        """What left at `left_at` failed for load while `out` were out; gives whether that was a cut."""
        if left_at < self._cut_at:
            return False
        self._share += (1 - self._share) / LATELY
        if self._share < LOAD:
            return False
        self._cut_at = now
        self.size = self._bend = max(1.0, min(self.size, out) * max(DEEPEST, 1 - self._share))
        self._share = 0.0
        return True

    def close(self, now: float) -> None:
        """Begin again with a few: the server was away."""
        self._cut_at = now
        self._bend = inf
        self._share = 0.0
        self.size = float(min(FEW, self.limit))

    def succeeded(self, left_at: float, out: int) -> None:
        """What left at `left_at` came back well while `out` were out."""
        if left_at < self._cut_at:
            return
        self._share -= self._share / LATELY
        if self.size >= self.limit or out < int(self.size):
            return
        self.size = min(float(self.limit), self.size + (1.0 if self.size < self._bend else SLOWLY / self.size))
