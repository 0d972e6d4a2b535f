"""A rate limit that nobody told: found from what is refused, and probed for more. Pure.

A refusal says that the server had taken enough; how much that was depends on how it counts, which nobody says either:

- A window has to pass: then all is refused for long. What it accepted in the minute before is what it grants.
- A bucket stores what is not used: then a rate that is too high is refused late. What it accepted since the refusal
  before is what flows in, for it was empty both times.
- A bucket stores next to nothing: then the rate at which the refusal came is the limit itself.

Who is taken for the last, and is refused again soon, is one of the second. Where there is too little to measure by, the
rate is searched: doubled in a few seconds, then again more slowly from what was found.

From there it grows with the cube of time, so that it stays long just below what was refused, and leaves it fast
when nothing refuses (the shape of TCP CUBIC, RFC 9438). It grows only while calls wait for it. Each probing costs a
refusal, so it takes so many sends at least; of few sends a minute, even one refusal is a large share.
"""

from __future__ import annotations

from math import inf, log, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.calls.pulse import Pulse

# -- where to go on after a refusal, as a share of what was found ---------------------------------------------------

BELOW = 0.93
"""Of what was measured in a minute, or in a short time."""

WINDOWED = 0.96
"""Of what windows accepted in a long time."""

STORED = 0.98
"""Of what a bucket accepted in a long time."""

JUST_BELOW = 0.95
"""Of the rate at which the refusal came, at most."""

SEARCHED = 0.85
"""Of the rate at which a search ended, at least."""

DEEPEST = 0.5
"""Of the rate at which the refusal came, at least: it may have been an accident."""

DEEP = 0.75
"""The same, where there were too few sends to measure by."""

FAR = 1.4
"""A rate that has grown so much tells more than what a bucket accepted on the way: the limit is another."""

# -- what is measured -----------------------------------------------------------------------------------------------

QUIET = (10.0, 25)
"""Seconds, and sends, between two refusals that are a long time."""

TRUST = 3
"""A rate measured between two refusals counts as much as so many sends at the rate before."""

SOON = 5.0
"""Seconds: a pause up to here is that of a bucket that refills, a longer one that of a window that has to pass."""

ENOUGH = 10
"""Accepted sends in the minute before a refusal from which they are a measure of it."""

# -- how it grows ---------------------------------------------------------------------------------------------------

CYCLE = (36.0, 40)
"""Seconds, and at least sends, in which it is about back to what was refused; in 2.5 times that it has doubled."""

LONGEST = 180.0
"""Seconds of a cycle at most."""

GROWTH = 0.075
"""How much it grows in a cycle."""

COARSE = (3.0, 2)
"""Seconds, and at least sends, in which a search doubles the rate at first."""

FINE = (15.0, 10)
"""The same, after that was too much."""

SPARSEST = 3.0
"""Seconds between two sends at most where a search begins: it is to be over in a minute."""

LATE = 0.05
"""Seconds at most that are made good where a send left later than it might."""

# -- pauses that nobody asked for -----------------------------------------------------------------------------------

DUE = 2
"""So many sends are due after the first of them."""

WINDOWED_DUE = (2.0, 3)
"""Seconds at least, and sends, where windows have to pass."""


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
        "_since",
        "_stores",
        "_tried",
        "_windowed",
        "pulse",
    )

    def __init__(self, pulse: Pulse) -> None:
        self.pulse = pulse
        self._base = inf
        self._doubling = 0.0
        self._fine = False
        self._windowed = self._stores = False
        self._tried = False
        """Whether it went on from the rate itself, as if the server stored nothing."""
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
        cycle = min(LONGEST, max(CYCLE[0], CYCLE[1] / self._base))
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
        least, due = WINDOWED_DUE if self._windowed else (0.0, DUE)
        return min(SOON, max(least, due / self.rate))

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
        if many >= ENOUGH and shut > SOON:
            self._windowed = self._stores = True
            self._base, self._doubling = min(rate, many / 60 * BELOW), 0.0
        elif many < ENOUGH or rate == inf:
            # Too few to measure by, as when others used up the key: it says that there is a limit, not which.
            least = 1 / min(SPARSEST, max(shut, 1.0))
            fair = max(many / 60 * BELOW, least)
            self._search(max(least, min(fair, rate * DEEPEST)), fine=rate < inf and (self._fine or not self._doubling))

    def _search(self, rate: float, *, fine: bool) -> None:
        seconds, sends = FINE if fine else COARSE
        self._base, self._doubling, self._fine = rate, max(seconds, sends / rate), fine

    def _found(self, now: float) -> None:
        """Go on after a refusal of what was found before."""
        rate, spell = self._event_rate, self._event_at - self._counted_from
        accepted = self._since / spell if spell > 0 else 0.0
        if self._doubling and not self._fine:
            self._search(min(JUST_BELOW * rate, max(DEEPEST * rate, accepted)), fine=True)
            return
        quiet = spell >= QUIET[0] and self._since >= QUIET[1]
        if self._doubling:
            found, self._tried = max(SEARCHED * rate, BELOW * accepted), False
        elif quiet:
            found, self._tried = self._after_long(accepted), not self._stores
        else:
            found, self._tried = self._after_short(spell), False
        self._doubling = 0.0
        if now - self._event_at > SOON:
            found = min(found, BELOW * self.pulse.a_minute(now) / 60)
        least = DEEPEST if self._since >= TRUST else DEEP
        self._base = max(min(found, JUST_BELOW * rate), least * rate)

    def _after_long(self, accepted: float) -> float:
        """What was found where nothing was refused for long."""
        if self._windowed:
            return WINDOWED * accepted
        if not self._stores:
            return self._event_rate
        return max(STORED * accepted, self._event_rate / FAR if self._event_rate > FAR * self._base else 0.0)

    def _after_short(self, spell: float) -> float:
        """What was found where the refusal before was `spell` seconds ago."""
        measured = (self._since + TRUST) / (spell + TRUST / self._event_rate)
        if self._tried and measured > DEEP * self._event_rate:  # far less would be another limit
            self._stores = True
        return BELOW * min(self.pulse.a_minute(self._event_at) / 60, measured)
