"""A rate limit that nobody told: found from what is refused, and probed for more. Pure.

A refusal says that the server had taken enough. What it accepted in the minute before is what a minute's window grants,
and what it accepted since the refusal before is what flows into a bucket; so the rate is cut to just below the smaller.
From there it grows with the cube of time, so that it stays long just below what was refused, and leaves it fast
when nothing refuses (the shape of TCP CUBIC, RFC 9438). It grows only while calls wait for it.
"""

from __future__ import annotations

from math import inf, log, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.calls.pulse import Pulse

BELOW = 0.93
"""Where to go on, as a share of what was found."""

JUST_BELOW = 0.95
"""Where to go on after a long time without a refusal, as a share of the rate at which it came."""

QUIET = (10.0, 25)
"""Seconds, and sends, that are a long time."""

STORED = 0.98
"""Where to go on, as a share of what was accepted in a long time, where a bucket stores what is not used."""

WINDOWED = 0.96
"""The same, where windows have to pass."""

FAR = 1.4
"""A rate that has grown so much says more than what was accepted on the way: the limit is another."""

FOUND = 0.85
"""Where to go on after a search, at least, as a share of where it ended."""

LATE = 0.05
"""Seconds that are made good where a send left later than it might, if these are less than the time between two."""

DEEPEST = 0.5
"""The most that one refusal cuts: it may have been an accident."""

DEEP = 0.75
"""The same, where there were too few sends to measure by."""

TRUST = 3
"""A rate measured between two refusals counts as much as so many sends at the rate before."""

GROWTH = 0.075
"""How much it grows in the first cycle: about back to what was refused."""

CYCLE = 36.0
"""Seconds of a cycle; twice as long without a refusal, and the rate has doubled."""

LEAST = 40
"""Sends that a cycle has at least: probing costs a refusal each time."""

LONGEST = 180.0
"""Seconds of a cycle at most."""

SOON = 5.0
"""A pause up to here is that of a bucket that refills, a longer one that of a window that has to pass."""

ENOUGH = 10
"""Accepted sends in the minute before a refusal from which they are a measure of it."""

DUE = 2
"""Sends that are due after a pause that nobody asked for."""

MORE_DUE = 3
"""The same, where windows have to pass."""

ABOUT = 2.0
"""Seconds that such a pause has at least."""

SPARSEST = 3.0
"""Seconds between two sends at most where a search begins: it is to be over in a minute."""

COARSE = (3.0, 2)
"""Seconds, and at least sends, in which a search doubles the rate at first."""

FINE = (15.0, 10)
"""The same, after that was too much."""


class Guess:
    """The rate of one lane, in sends a second; without a limit until the first refusal."""

    __slots__ = (
        "_base",
        "_counted_from",
        "_doubling",
        "_event_at",
        "_event_rate",
        "_fine",
        "_grown",
        "_last",
        "_next",
        "_pending",
        "_shut_at",
        "_quiet",
        "_since",
        "_stores",
        "_windowed",
        "pulse",
    )

    def __init__(self, pulse: Pulse) -> None:
        self.pulse = pulse
        self._base = inf
        self._doubling = 0.0
        self._fine = False
        self._windowed = self._stores = self._quiet = False
        self._event_at = self._shut_at = -inf
        self._event_rate = inf
        self._pending: float | None = None
        self._since = 0
        self._grown = 0.0
        self._next = self._last = self._counted_from = -inf

    @property
    def active(self) -> bool:
        """Whether there is a limit at all."""
        return self._base < inf or self._pending is not None

    @property
    def rate(self) -> float:
        """Sends a second."""
        if self._doubling:
            return self._base * 2 ** min(64.0, self._grown / self._doubling)
        cycle = min(LONGEST, max(CYCLE, LEAST / self._base))
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
        closed = before > -inf and self._since <= 0
        if not closed:
            self._shut_at = self._event_at
        if closed or old == inf:
            self._first(now - self._shut_at)
        else:
            self._found(now)
        self._since, self._grown = 0, 0.0
        self._last = now
        self._counted_from = now if self._windowed else self._event_at
        self._next = now + min(SOON, self._interval()) if closed else now
        return self._base != old

    @property
    def patience(self) -> float:
        """Seconds to wait after a refusal that does not say for how long: until a few are due."""
        return min(SOON, max(MORE_DUE / self.rate, ABOUT) if self._windowed else DUE / self.rate)

    def wait(self, now: float) -> float:
        """Seconds until the next send may leave."""
        return max(0.0, self._next - now)

    def take(self, now: float) -> None:
        """One leaves."""
        self._since += 1
        if self._base == inf:
            return
        interval = self._interval()
        held = now - self._next < interval  # it left about as soon as it might
        if held:
            self._grown += now - self._last
            interval = self._interval()
        self._last = now
        self._next = max(self._next, now - min(interval, LATE)) + interval

    def hold(self, until: float) -> None:
        """None leaves until then, and that time is not made good."""
        self._next = max(self._next, until)

    def untake(self) -> None:
        """What left did not leave after all."""
        self._since -= 1
        if self._base < inf:
            self._next -= self._interval()

    def _interval(self) -> float:
        """Seconds until one send more is due; a search gathers pace meanwhile, however slowly it began."""
        if self._doubling:
            return self._doubling * log2(1 + log(2) / (self.rate * self._doubling))
        return 1 / self.rate

    def _first(self, shut: float) -> None:
        """Go on after the first refusal, or where all was refused for `shut` seconds."""
        many, rate = self.pulse.a_minute(self._event_at), self._event_rate
        if many < ENOUGH or rate == inf:
            # Too few to measure by, as when others used up the key: it says that there is a limit, not which.
            least = 1 / min(SPARSEST, max(shut, 1.0))
            fair = max(many / 60 * BELOW, least)
            self._search(max(least, min(fair, rate * DEEPEST)), fine=rate < inf and (self._fine or not self._doubling))
        if many >= ENOUGH and shut > SOON:
            self._windowed = self._stores = True
            self._base, self._doubling = min(rate, many / 60 * BELOW), 0.0  # no bucket that refills, but a full window

    def _measured(self, accepted: float) -> float:
        """The rate by what was accepted in a long time, of a server that stores what is not used."""
        if self._windowed:
            return WINDOWED * accepted
        far = self._event_rate if self._event_rate > FAR * self._base else 0.0
        return max(STORED * accepted, far / FAR)

    def _search(self, rate: float, *, fine: bool) -> None:
        seconds, sends = FINE if fine else COARSE
        self._base, self._doubling, self._fine = rate, max(seconds, sends / rate), fine

    def _found(self, now: float) -> None:
        """Go on after a refusal of what was found before."""
        rate, spell = self._event_rate, self._event_at - self._counted_from
        pause = now - self._event_at
        measured = (self._since + TRUST) / (spell + TRUST / rate)
        quiet = spell >= QUIET[0] and self._since >= QUIET[1]
        accepted = self._since / spell if spell > 0 else 0.0
        if self._doubling and not self._fine:
            self._search(min(JUST_BELOW * rate, max(DEEPEST * rate, accepted)), fine=True)
            return
        if self._doubling:
            found = max(FOUND * rate, BELOW * accepted)
        elif quiet:
            found = self._measured(accepted) if self._stores else rate
        else:
            self._stores = self._stores or (self._quiet and measured > DEEP * rate)

            found = BELOW * min(self.pulse.a_minute(self._event_at) / 60, measured)
        self._quiet = quiet and not self._doubling
        self._doubling = 0.0
        if pause > SOON:
            found = min(found, BELOW * self.pulse.a_minute(now) / 60)
        least = DEEPEST if self._since >= TRUST else DEEP
        self._base = max(min(found, JUST_BELOW * rate), least * rate)
