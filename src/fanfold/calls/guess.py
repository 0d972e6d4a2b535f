"""A rate limit that nobody told: found from what is refused, and probed for more. Pure.

A refusal says that the server had taken enough; how much that was depends on how it counts, which nobody says either:

- A window has to pass: then all is refused for long. What it accepted in the minute before is what it grants.
- A bucket stores what is not used: then a rate that is too high is refused late. What it accepted since the refusal
  before is what flows in, for it was empty both times.
- A bucket stores next to nothing: then the rate at which the refusal came is the limit itself.

Who is taken for the last, and is refused again soon, is one of the second. Where there is too little to measure by, the
rate is searched: doubled in a few seconds, then again more slowly from what was found.

Another limit shows in refusals close together. Where few sends were accepted between two, or none, the limit is at most
about half of what it was: so a limit that is halved costs two or three refusals, not one for each step down. Where all
is refused and nobody says for how long, `shut` works out when there may be room, for each try costs one more. A window
that refuses soon, again and again, yet accepts between, is none.

From there it grows with a power of time, so that it stays long just below what was refused, and leaves it fast when
nothing refuses (the shape of TCP CUBIC, RFC 9438; steeper where no window has to fill before it shows). It grows only
while calls wait for it. Each probing costs a refusal, so it takes so many sends at least; of few sends a minute, even
one refusal is a large share. What is refused at any rate is no limit's: `random_loss` tells it apart.
"""

from __future__ import annotations

from math import inf, log, log2
from typing import TYPE_CHECKING

from fanfold.calls.pause import NONE, Patience
from fanfold.calls.random_loss import RandomLoss
from fanfold.calls.shut import ENOUGH, Shut

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

RETREAT = 0.5
"""Of the rate at which a coarse search ended, at least."""

DEEPEST = 0.475
"""Of the rate at which the refusal came, at least, for it may have been an accident; just below half, so that a limit
that was halved is met. Where too few were accepted since the refusal before, it is what is taken."""

NEAR = 0.75
"""A rate measured in a short time that is more than this of the one before speaks of the same limit."""

YIELD = 0.97
"""Of the limit found before, at least, where a window stayed shut: the window may be another, or we late."""

SURE = 0.96
"""Of the limit found before, so much is relied on when the end of a fixed window is worked out."""

FAR = 1.4
"""A rate that has grown so much tells more than what a bucket accepted on the way: the limit is another."""

# -- what is measured -----------------------------------------------------------------------------------------------

QUIET = (10.0, 25)
"""Seconds, and sends, between two refusals that are a long time."""

TRUST = 3
"""A rate measured between two refusals counts as much as so many sends at the rate before."""

SOON = 5.5
"""Seconds: a pause up to here is that of a bucket that refills, a longer one that of a window that has to pass."""

ODD = 2
"""So many refusals in a row that come soon, with more than one accepted between, are not those of a window."""

# -- how it grows ---------------------------------------------------------------------------------------------------

CYCLE, POWER = (46.0, 52), 5
"""Seconds, and at least sends, in which it is about back to what was refused; in 1.7 times that it has doubled."""

WINDOWED_CYCLE, WINDOWED_POWER = (36.0, 40), 3
"""The same where windows have to pass: slower to leave it, for a window shows only when it is full."""

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
        "_kept",
        "_last",
        "_limit",
        "_next",
        "_shut",
        "_shut_at",
        "_since",
        "_soon",
        "_spell",
        "_stores",
        "_told",
        "_tried",
        "_windowed",
        "loss",
        "patience",
        "pending",
        "pulse",
    )

    def __init__(self, pulse: Pulse) -> None:
        self.pulse = pulse
        self.loss = RandomLoss()
        self._kept = (inf, 0.0, False, -inf)
        """The rate, and how it was searched, before it was tried whether there is a limit; and when that began."""
        self.patience = NONE
        """How long to wait after a refusal that does not say for how long."""
        self._shut = Shut()
        self._base = inf
        self._limit = inf
        """What was found last, in sends a second."""
        self._spell = (-inf, 0)
        """Since when, and how many, were accepted before the first of the refusals in a row."""
        self._doubling = 0.0
        self._fine = False
        self._windowed = self._stores = False
        self._soon = 0
        """How many refusals in a row came soon after the one before, with more than one accepted between."""
        self._told = False
        """Whether the server said for how long."""
        self._tried = 0.0
        """What was accepted a second before it went on from the rate itself, as if the server stored nothing; 0: it did
        not."""
        self._event_at = self._shut_at = -inf
        self._event_rate = inf
        self.pending: float | None = None
        """While the pause after a refusal lasts: when the refusal before it came."""
        self._since = 0
        self._grown = 0.0
        self._next = self._last = self._counted_from = -inf

    @property
    def active(self) -> bool:
        """Whether there is a limit at all."""
        return self._base < inf or self.pending is not None

    @property
    def rate(self) -> float:
        """Sends a second."""
        if self._doubling:
            return self._base * 2 ** min(64.0, self._grown / self._doubling)
        (seconds, sends), power = (WINDOWED_CYCLE, WINDOWED_POWER) if self._windowed else (CYCLE, POWER)
        cycle = min(LONGEST, max(seconds, sends / self._base))
        return self._base * (1 + GROWTH * (self._grown / cycle) ** power)

    def refused(self, left_at: float, now: float, *, told: bool = True) -> bool:
        """What left at `left_at` was refused; gives whether that is news, and no echo of a refusal before.

        `told`: the server said how long to wait.
        """
        if self.loss.trying:
            return self._refused_in_trial(left_at, now, told=told)
        if left_at <= self._event_at:
            if self.pending is not None:
                self._since -= 1
            return False
        first, self.pending = self._event_at == -inf, self._event_at
        self._event_at, self._told = now, told
        self._event_rate = self.rate if self._base < inf else inf
        self._since -= 1
        if self._since <= 0 and not first:
            self._shut.again()
        else:
            self._spell = self._counted_from, self._since
            full = min(self.pulse.a_minute(now), 60 * self._limit)
            self._shut.begin(full, self._counted_from + self._since / (SURE * self._limit))
        self.patience = self._patience(now)
        return True

    def _refused_in_trial(self, left_at: float, now: float, *, told: bool) -> bool:
        """Nothing is made of it, unless there are so many that it must be a limit: that is then where it was.

        Or where what was accepted meanwhile shows it to be, if it was a long time.
        """
        if left_at > self._event_at:
            self._since -= 1
        sends, self._since = self._since, 0
        if not self.loss.again(sends, self.pulse.a_minute(now)):
            return False
        self._base, self._doubling, self._fine, began = self._kept
        spell = min(60.0, now - began)
        accepted = self.pulse.accepted(now - spell, now)
        if spell >= QUIET[0] and accepted >= QUIET[1]:
            self._settle(max(self._base, BELOW * accepted / spell))
        self._event_at = self.pending = now
        self._event_rate, self._grown, self._told = self._base, 0.0, told
        self.patience = self._patience(now)
        return True

    def resume(self, now: float, most: float = inf) -> bool:
        """The pause after a refusal is over: say how fast to go on. Gives whether that is another rate.

        `most` is what known limits allow, in sends a second.
        """
        if self.pending is None:
            return False
        before, self.pending = self.pending, None
        old = self._base
        back = before == self._event_at  # to where it was, after a trial
        closed = before > -inf and self._since <= 0 and not back
        if not closed:
            self._shut_at = self._event_at
        if closed or old == inf:
            self._first(now)
        elif not back:
            self._found(now)
        if closed:
            self.loss.doubt()
        settled = not (closed or back or self._doubling)
        trying = settled and self.loss.first(self._since, self.rate, most, windowed=self._windowed and not self._told)
        self._since, self._grown = 0, 0.0
        self._last = now
        if trying:
            self._kept = self._base, self._doubling, self._fine, now
            self._search(self._base, fine=False)
        self._counted_from = now if self._windowed else self._event_at
        self._next = now + min(SOON, self._interval()) if closed else now
        return self._base != old

    def _patience(self, now: float) -> Patience:
        """How long to wait: until a few are due; where that was too short, until there may be room in a window."""
        least, due = WINDOWED_DUE if self._windowed else (0.0, DUE)
        short = min(SOON, max(least, due / self.rate))
        row, drained = self._shut.row, 0.0
        if row >= (1 if self._windowed else 2) and (self._windowed or self._doubling):
            drained = self._shut.wait(self.pulse, now, due)
        return Patience(short, row, drained)

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

    def _first(self, now: float) -> None:
        """Go on after the first refusal, or where all was refused since then."""
        many, rate, shut = self.pulse.a_minute(self._event_at), self._event_rate, now - self._shut_at
        sure = shut if self._told or self._windowed or self._doubling else self._event_at - self._shut_at
        if many >= ENOUGH and sure > SOON:
            self._passed(many / 60, now)
        elif many < ENOUGH or rate == inf:
            # Too few to measure by, as when others used up the key: it says that there is a limit, not which.
            least = 1 / min(SPARSEST, max(shut, 1.0))
            fair = max(many / 60 * BELOW, least)
            self._search(max(least, min(fair, RETREAT * rate)), fine=rate < inf and (self._fine or not self._doubling))
        elif not (self._windowed or self._doubling):
            self._settle(DEEPEST * rate)  # two were due, and none was there

    def _passed(self, lately: float, now: float) -> None:
        """Go on after a window has passed; `lately` were accepted a second before its last refusal."""
        began, took = self._spell
        mean = max(YIELD * self._limit, took / (now - began)) if self._windowed else inf
        self._windowed = self._stores = True
        self._limit = min(lately, mean)
        self._base, self._doubling = min(self._event_rate, WINDOWED * mean, BELOW * lately), 0.0

    def _settle(self, rate: float) -> None:
        self._base, self._limit = rate, rate / WINDOWED

    def _search(self, rate: float, *, fine: bool) -> None:
        seconds, sends = FINE if fine else COARSE
        self._base, self._doubling, self._fine = rate, max(seconds, sends / rate), fine

    def _found(self, now: float) -> None:
        """Go on after a refusal of what was found before."""
        rate, spell = self._event_rate, self._event_at - self._counted_from
        self._soon = self._soon + (self._since > 1) if spell < QUIET[0] else 0
        self._windowed = self._windowed and self._soon < ODD
        accepted = self._since / spell if spell > 0 else 0.0
        if self._doubling and not self._fine:
            self._search(min(JUST_BELOW * rate, max(RETREAT * rate, accepted)), fine=True)
            return
        quiet = spell >= QUIET[0] and self._since >= QUIET[1]
        if self._doubling:
            found, self._tried = max(SEARCHED * rate, BELOW * accepted), 0.0
        elif quiet:
            found, self._tried = self._after_long(accepted), 0.0 if self._stores else accepted
        else:
            found, self._tried = self._after_short(spell), 0.0
        self._doubling = 0.0
        if now - self._event_at > SOON:
            found = min(found, BELOW * self.pulse.a_minute(now) / 60)
        self._settle(max(min(found, JUST_BELOW * rate), DEEPEST * rate))

    def _after_long(self, accepted: float) -> float:
        """What was found where nothing was refused for long."""
        if self._windowed:
            return WINDOWED * accepted
        if not self._stores:
            return self._event_rate
        return max(STORED * accepted, self._event_rate / FAR if self._event_rate > FAR * self._base else 0.0)

    def _after_short(self, spell: float) -> float:
        """What was found where the refusal before was `spell` seconds ago, or too few sends."""
        measured = (self._since + TRUST) / (spell + TRUST / self._event_rate)
        if self._tried and measured > NEAR * self._event_rate:  # far less would be another limit
            self._stores = True
            return STORED * self._tried
        if self._since < TRUST and not self._windowed:
            self._stores = False
            return DEEPEST * self._limit
        return BELOW * min(self.pulse.usual(self._event_at) or inf, measured)
