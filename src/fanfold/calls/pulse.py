"""What a lane did lately: how many sends were accepted in each of the last seconds, and how long they took. Pure."""

from __future__ import annotations

SECONDS = 64
"""How far back it remembers; a little over a minute, which is the window of most limits."""

NEWEST = 0.1
"""How much the newest latency counts."""


class Pulse:
    """Accepted sends by the second in which they left; a send counts until it turns out refused or failed."""

    __slots__ = ("_counts", "_second", "began", "latency")

    def __init__(self) -> None:
        self._counts = [0] * SECONDS
        self._second = 0
        self.began: float | None = None
        self.latency: float | None = None
        """Seconds from send to reply, smoothed; None until the first."""

    def count(self, now: float) -> None:
        """One left."""
        if self.began is None:
            self.began = now
            self._second = int(now)
        second = int(now)
        if second != self._second:
            self._advance(second)
        self._counts[second % SECONDS] += 1

    def uncount(self, left_at: float) -> None:
        """What left then does not count."""
        second = int(left_at)
        if second > self._second - SECONDS and self._counts[second % SECONDS]:
            self._counts[second % SECONDS] -= 1

    def took(self, seconds: float) -> None:
        """A reply took so long."""
        self.latency = seconds if self.latency is None else self.latency + NEWEST * (seconds - self.latency)

    def accepted(self, start: float, end: float) -> float:
        """How many left from `start` to `end`; of the second in which it starts, the share."""
        first = max(int(start), self._second - SECONDS + 1)
        last = min(int(end), self._second)
        total = float(sum(self._counts[second % SECONDS] for second in range(first, last + 1)))
        if first == int(start) and first <= last:
            total -= self._counts[first % SECONDS] * (start - first)
        return total

    def a_minute(self, end: float) -> float:
        """How many left in the minute before `end`."""
        return self.accepted(max(end - 60.0, self.began or 0.0), end)

    def until(self, level: float, now: float) -> float:
        """Seconds until no more than `level` left in the minute before, if none leaves meanwhile."""
        count, gone = self.a_minute(now), now
        first = max(int(now - 60.0), self._second - SECONDS + 1)
        for second in range(first, self._second + 1):
            if count <= level:
                break
            count -= self._counts[second % SECONDS]
            gone = second + 61.0
        return max(0.0, gone - now)

    def usual(self, end: float) -> float | None:
        """Sends a second in the minute before `end`; None where there were too few to say."""
        if self.began is None:
            return None
        many = self.a_minute(end)
        return many / max(1.0, min(60.0, end - self.began)) if many >= 10 else None

    def _advance(self, second: int) -> None:
        for passed in range(max(self._second + 1, second - SECONDS + 1), second + 1):
            self._counts[passed % SECONDS] = 0
        self._second = max(self._second, second)
