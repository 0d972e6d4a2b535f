"""A rate limit that nobody told: found from what is refused, and probed for more. Pure.

A refusal says that the server had taken enough. What it accepted in the minute before is what a minute's window grants,
and what it accepted since the refusal before is what flows into a bucket; so the rate is cut to just below the smaller.
From there it grows with the cube of time, so that it stays long just below what was refused, and leaves it fast
when nothing refuses (the shape of TCP CUBIC, RFC 9438). It grows only while calls wait for it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.calls.pulse import Pulse

BELOW = 0.93
"""Where to go on, as a share of what was found."""

JUST_BELOW = 0.95
"""Where to go on after a long time without a refusal, as a share of the rate at which it came."""

QUIET = 10.0
"""Seconds that are a long time."""

DEEPEST = 0.5
"""The most that one refusal cuts: it may have been an accident."""

DEEP = 0.85
"""The same, where there were too few sends to measure by."""

TRUST = 5
"""A rate measured between two refusals counts as much as so many sends at the rate before."""

GROWTH = 0.25
"""How much it grows in the first `CYCLE`; with 0.93 it comes back to what was refused in about forty seconds."""

CYCLE = 60.0
"""Seconds, and at least as many sends, that growth is measured by: probing costs a refusal each time."""

SOON = 5.0
"""A pause up to here is that of a bucket that refills, a longer one that of a window that has to pass."""

ENOUGH = 20
"""Accepted sends in the minute before a refusal from which they are a measure of it."""

DOUBLING = 3.0
"""Seconds in which a search doubles the rate."""


class Guess:
    """The rate of one lane, in sends a second; without a limit until the first refusal."""

    __slots__ = (
        "_base",
        "_event_at",
        "_event_rate",
        "_grown",
        "_last",
        "_next",
        "_pending",
        "_searching",
        "_since",
        "pulse",
    )

    def __init__(self, pulse: Pulse) -> None:
        self.pulse = pulse
        self._base = inf
        self._searching = False
        self._event_at = -inf
        self._event_rate = inf
        self._pending: float | None = None
        self._since = 0
        self._grown = 0.0
        self._next = self._last = -inf

    @property
    def active(self) -> bool:
        """Whether there is a limit at all."""
        return self._base < inf or self._pending is not None

    @property
    def rate(self) -> float:
        """Sends a second."""
        if self._searching:
            return self._base * 2 ** min(64.0, self._grown / DOUBLING)
        cycle = min(3 * CYCLE, max(CYCLE, CYCLE / self._base))
        return self._base * (1 + GROWTH * (self._grown / cycle) ** 3)

    def refused(self, left_at: float, now: float) -> bool:
        """What left at `left_at` was refused; gives whether that is news, and no echo of a refusal before."""
        if left_at <= self._event_at:
            if self._pending is not None:
                self._since -= 1
            return False
        self._pending = self._event_at
        self._event_at = now
        self._event_rate = self.rate if self._base < inf else inf
        self._since -= 1
        return True

    def resume(self, now: float) -> bool:
        """The pause after a refusal is over: say how fast to go on. Gives whether that is another rate."""
        if self._pending is None:
            return False
        before, self._pending = self._pending, None
        old = self._base
        self._base = self._found(before, now)
        self._since, self._grown = 0, 0.0
        self._next = self._last = now
        return self._base != old

    def wait(self, now: float) -> float:
        """Seconds until the next send may leave."""
        return max(0.0, self._next - now)

    def take(self, now: float) -> None:
        """One leaves."""
        self._since += 1
        if self._base == inf:
            return
        interval = 1 / self.rate
        held = now - self._next < interval  # it left about as soon as it might
        if held:
            self._grown += now - self._last
        self._last = now
        self._next = (self._next if held else now) + interval

    def untake(self) -> None:
        """What left did not leave after all."""
        self._since -= 1
        if self._base < inf:
            self._next -= 1 / self.rate

    def _found(self, before: float, now: float) -> float:
        """The rate to go on with, in sends a second, after the refusal at `_event_at` and the one at `before`."""
        pause, spell = now - self._event_at, self._event_at - before
        many = self.pulse.a_minute(self._event_at)
        minute = many / 60
        closed = before > -inf and self._since <= 0
        searched, self._searching = self._searching, False
        if before == -inf or closed:
            # Nothing was accepted after a pause: no bucket that refills, but a window that is full.
            if many >= ENOUGH and (closed or pause > SOON):
                return min(self._event_rate, minute * BELOW)
            # Too few to measure by, as when others used up the key: it says that there is a limit, not which.
            self._searching = True
            return min(self._event_rate, max(minute, 1 / min(1.0, max(pause, 0.1))))
        rate = self._event_rate
        if spell >= QUIET or searched:
            found = JUST_BELOW * rate
        else:
            found = BELOW * min(minute, (self._since + TRUST) / (spell + TRUST / rate))
        if pause > SOON:
            found = min(found, BELOW * self.pulse.a_minute(now) / 60)
        least = DEEPEST if self._since >= TRUST else DEEP
        return max(min(found, JUST_BELOW * rate), least * rate)
