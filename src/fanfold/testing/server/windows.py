"""The windows in which requests and tokens are counted: pure figures, to which every moment is told."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Protocol

NEVER = inf

SLACK = 1e-9
"""Share of a limit by which it may be missed: who waits as long as told is not refused for a rounding."""


class Window(Protocol):
    """So much in so long; `now` is in seconds, and never goes back."""

    limit: float

    def wait(self, need: float, now: float) -> float:
        """Seconds until `need` fits: 0 if it does, `NEVER` where it never will."""
        ...

    def take(self, cost: float, now: float) -> None:
        """Count `cost`, whether it fits or not."""
        ...

    def refuse(self, cost: float, now: float) -> None:
        """Count what was rejected."""
        ...

    def remaining(self, now: float) -> float:
        """What would still fit now; 0 or more."""
        ...

    def reset(self, now: float) -> float:
        """Seconds until all of the limit is there again, if nothing more is taken."""
        ...

    def resize(self, limit: float, now: float) -> None:
        """Change the limit; what was counted stays counted."""
        ...


class Bucket:
    """A token bucket: it holds `burst`, and `limit` flows in evenly in `per` seconds."""

    def __init__(self, limit: float, per: float, now: float, burst: float | None = None) -> None:
        self.limit = limit
        self.per = per
        self.capacity = limit if burst is None else burst
        self.own_burst = burst is not None
        self.level = self.capacity
        self.at = now

    def _flow(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.at) * self.limit / self.per)
        self.at = now

    def wait(self, need: float, now: float) -> float:
        """Seconds until `need` is in the bucket."""
        self._flow(now)
        if need > self.capacity:
            return NEVER
        missing = need - self.level
        return 0.0 if missing <= self.capacity * SLACK else missing * self.per / self.limit

    def take(self, cost: float, now: float) -> None:
        """Take `cost` out; what was used beforehand may leave it below nothing."""
        self._flow(now)
        self.level -= cost

    def refuse(self, cost: float, now: float) -> None:
        """A rejected request takes what there is, but leaves no debt: else a storm would close it for hours."""
        self._flow(now)
        self.level = min(self.level, max(0.0, self.level - cost))

    def remaining(self, now: float) -> float:
        """What is in it."""
        self._flow(now)
        return max(0.0, self.level)

    def reset(self, now: float) -> float:
        """Seconds until it is full."""
        self._flow(now)
        return (self.capacity - self.level) * self.per / self.limit

    def resize(self, limit: float, now: float) -> None:
        """Another flow; a burst that was not given apart follows it."""
        self._flow(now)
        self.limit = limit
        if not self.own_burst:
            self.capacity = limit
        self.level = min(self.level, self.capacity)


class Fixed:
    """Windows of `per` seconds one after another, the first from the start; each begins empty."""

    def __init__(self, limit: float, per: float, now: float) -> None:
        self.limit = limit
        self.per = per
        self.began = now
        self.used = 0.0

    def _turn(self, now: float) -> None:
        whole = int((now - self.began) / self.per)
        # A moment that rounding puts just before the end of a window belongs to the next.
        if now - self.began - whole * self.per >= self.per * (1 - SLACK):
            whole += 1
        if whole > 0:
            self.began += whole * self.per
            self.used = 0.0

    def wait(self, need: float, now: float) -> float:
        """Seconds until a window in which `need` fits."""
        self._turn(now)
        if need > self.limit:
            return NEVER
        return 0.0 if self.used + need <= self.limit else self.reset(now)

    def take(self, cost: float, now: float) -> None:
        """Count it in this window."""
        self._turn(now)
        self.used += cost

    refuse = take

    def remaining(self, now: float) -> float:
        """What is left of this window."""
        self._turn(now)
        return max(0.0, self.limit - self.used)

    def reset(self, now: float) -> float:
        """Seconds until the next window; 0 while this one is empty."""
        self._turn(now)
        return self.began + self.per - now if self.used else 0.0

    def resize(self, limit: float, now: float) -> None:
        """Another limit, from now on, for this window, too."""
        self._turn(now)
        self.limit = limit


class Sliding:
    """The `per` seconds behind each moment: what was taken leaves it exactly so much later."""

    def __init__(self, limit: float, per: float, now: float) -> None:
        self.limit = limit
        self.per = per
        self.taken: deque[tuple[float, float]] = deque()
        self.used = 0.0

    def _slide(self, now: float) -> None:
        edge = now - self.per * (1 - SLACK)
        while self.taken and self.taken[0][0] <= edge:
            self.used -= self.taken.popleft()[1]
        if not self.taken:
            self.used = 0.0  # what rounding left over

    def wait(self, need: float, now: float) -> float:
        """Seconds until enough has left the window."""
        self._slide(now)
        if need > self.limit:
            return NEVER
        excess = self.used + need - self.limit
        if excess <= 0:
            return 0.0
        for at, cost in self.taken:
            excess -= cost
            if excess <= 0:
                return at + self.per - now
        return self.reset(now)  # what rounding left over

    def take(self, cost: float, now: float) -> None:
        """Count it from now on."""
        self._slide(now)
        if cost:
            self.taken.append((now, cost))
            self.used += cost

    refuse = take

    def remaining(self, now: float) -> float:
        """What would fit."""
        self._slide(now)
        return max(0.0, self.limit - self.used)

    def reset(self, now: float) -> float:
        """Seconds until the last of it has left."""
        self._slide(now)
        return self.taken[-1][0] + self.per - now if self.taken else 0.0

    def resize(self, limit: float, now: float) -> None:
        """Another limit, from now on."""
        self.limit = limit
