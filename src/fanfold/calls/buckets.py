"""A bucket: so much in so long, spent evenly. Pure figures, to which every moment is told."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Source = Literal["given", "headers"]

PACE = 0.98
"""Share of a limit that is used: at all of it, a server whose window slides refuses for every jitter of the network."""

SLOWER = 0.97
"""What a refusal makes of that where there are no bursts: such a server grants no jitter of the network."""

SLOWEST = 0.9
"""Where that ends: the rest is others' use of the key, or a limit that is wrong."""

JITTER = 0.01
"""Share of a window by which it is taken to be longer: sends do not arrive as evenly as they leave."""

BURST = 10
"""The most requests that may leave at once."""

SHARE = 60
"""What may leave at once is at most this part of a window: a second's worth of a minute."""

Entry = list[float]
"""What was taken, when and how much; the amount may be corrected."""


class Bucket:
    """A limit of `limit` in `per` seconds, of which at most `most` leave at once.

    It is paced: what leaves follows the one before it at 0.98 of the limit, after a small burst. And it counts what
    left in the last `per` seconds, so that no window of the server, wherever it begins, ever sees more than the limit,
    however much the sizes differ. `remaining`, as the server tells it, corrects the count upwards.
    """

    __slots__ = (
        "_empty_at",
        "_foreign",
        "_foreign_until",
        "_given",
        "_log",
        "_used",
        "limit",
        "most",
        "pace",
        "per",
        "source",
        "steady",
    )

    def __init__(self, limit: float, per: float, source: Source, *, most: float = inf) -> None:
        self.limit = limit
        self.per = per
        self.most = most
        self.source: Source = source
        self.steady = False
        """Whether a server has refused a burst, so that there are no more."""
        self.pace = PACE
        self._given = limit if source == "given" else inf
        self._empty_at = -inf
        self._log: deque[Entry] = deque()
        self._used = 0.0
        self._foreign = 0.0
        self._foreign_until = -inf

    @property
    def rate(self) -> float:
        """What flows in, a second."""
        return self.pace * self.limit / self.per

    @property
    def burst(self) -> float:
        """What may leave at once after a rest, unless one request alone needs more."""
        return 0.0 if self.steady else min(self.most, self.limit / SHARE)

    def wait(self, need: float, now: float) -> float:
        """Seconds until `need` may leave; a need above the limit waits for the whole of it."""
        need = min(need, self.limit)
        paced = self._empty_at + need / self.rate - now
        if self.used(now) + need > self.limit:
            paced = max(paced, self._until_counted_out(need, now))
        return max(0.0, paced)

    def take(self, need: float, now: float) -> Entry:
        """Take it out; gives what a correction needs."""
        need = min(need, self.limit)
        self._empty_at = now - (self.level(now, need) - need) / self.rate
        entry = [now, need]
        self._log.append(entry)
        self._used += need
        return entry

    def correct(self, entry: Entry, need: float) -> None:
        """What was taken turned out to be `need`; above the limit it is all of it, as when it is taken."""
        need = min(need, self.limit)
        more = need - entry[1]
        self._empty_at += more / self.rate
        if self._log and entry[0] >= self._log[0][0]:
            self._used += more
        entry[1] = need

    def level(self, now: float, need: float = 0.0) -> float:
        """What is in it; it holds a burst, or the one need that is larger. Below 0: a debt."""
        return min((now - self._empty_at) * self.rate, max(self.burst, need))

    def used(self, now: float) -> float:
        """What left within the last window, by our count or the server's, whichever is more."""
        edge = now - self.per * (1 + JITTER)
        log = self._log
        while log and log[0][0] <= edge:
            self._used -= log.popleft()[1]
        if not log:
            self._used = 0.0  # what rounding left over
        return self._used + (self._foreign if now < self._foreign_until else 0.0)

    def hear(self, limit: float | None, remaining: float | None, reset: float | None, now: float) -> bool:
        """The server told how it stands; gives whether the limit is another than before.

        A given limit is a promise of the user's, so what is told can only lower it. What the server has left less than
        we think, others took: that counts as used until the server's own window is over, and never longer than one.
        Of a limit that is more than ours, others may take the rest: that is no less for us.
        """
        told = min(limit, self._given) if limit is not None else self.limit
        changed = told != self.limit
        if changed:
            level = max(self.level(now), -told)  # no debt is longer than a window
            self.limit = told
            self._empty_at = now - level / self.rate if level < 0 else max(self._empty_at, now - level / self.rate)
            if self.source == "given" and told < self._given:
                self.source = "headers"
        if remaining is not None:
            self._foreign_until = -inf  # our own count, for once
            self._foreign = max(0.0, self.limit - remaining - self.used(now))
            soon = reset is not None and reset <= self.per / SHARE  # a bucket that holds little is always nearly empty
            self._foreign_until = -inf if soon else now + min(self.per, self.per if reset is None else reset)
        return changed

    def calm(self, now: float) -> None:
        """The server refused what we took for allowed: no more bursts, and then a little slower."""
        if self.steady:
            self.pace = max(SLOWEST, self.pace * SLOWER)
        level = self.level(now)
        self.steady = True
        self._empty_at = now - min(level, 0.0) / self.rate

    def relent(self, until: float) -> None:
        """What others took counts no longer than until then."""
        self._foreign_until = min(self._foreign_until, until)

    def _until_counted_out(self, need: float, now: float) -> float:
        """Seconds until enough of what left is a window ago."""
        excess = self.used(now) + need - self.limit
        for until, amount in self._leaving(now):
            excess -= amount
            if excess <= 1e-9 * self.limit:
                return until - now
        return 0.0

    def _leaving(self, now: float) -> Iterator[tuple[float, float]]:
        """When what was used ceases to count, in order, and how much it is."""
        foreign = now < self._foreign_until
        for at, amount in self._log:
            until = at + self.per * (1 + JITTER)
            if foreign and self._foreign_until < until:
                foreign = False
                yield self._foreign_until, self._foreign
            yield until, amount
        if foreign:
            yield self._foreign_until, self._foreign
