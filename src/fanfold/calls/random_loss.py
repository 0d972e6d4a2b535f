"""Refusals by chance, told from those of a limit. Pure.

A server that shares its capacity among all who use it refuses some of what comes, however little one of them sends.
Each such refusal, taken for a limit, would make the rate lower, to nothing in the end: so it is with TCP and random
loss (Fu and Liew, "TCP Veno", IEEE JSAC 21(2), 2003).

What came at which rate does not tell the two apart, for a limit is found by what it refuses. So after some refusals it
is tried whether there is one: nothing is made of those that come next, while the rate is doubled every few seconds. A
limit then refuses a large share of all that comes, and soon; that costs a few refusals, and it is not tried again until
twice as many came. Where in a minute twice as much was accepted as the limit would be, there is none, and nothing is
made of refusals until they become so many that there must be one after all. A server that has a limit and refuses by
chance as well is used in part: about half.
"""

from __future__ import annotations

FEWEST = 3
"""Accepted sends between two refusals that are no echoes of each other."""

FIRST = 5
"""Refusals after which it is tried for the first time."""

WINDOWED = 2
"""So many times as many where all was refused for long, as by chance it hardly is."""

TRIAL = 16, 0.25
"""About so many of the last sends make the share that was refused, and above that share it is a limit: in a trial."""

PROVEN = 32, 0.4
"""The same where it was found that there is none."""

ASSUMED = 0.15
"""The share with which a trial begins: a few refusals end it."""

TWICE = 2.0
"""Of what a limit would accept in a minute: what there has to be accepted where there is none."""

CLEAR = 2.5
"""Of the limit, so much has to be allowed for a trial to tell anything."""


class RandomLoss:
    """What a lane knows of the refusals that no limit makes."""

    __slots__ = ("_limit", "_needed", "_refusals", "_share", "proven", "trying")

    def __init__(self) -> None:
        self.trying = False
        """Whether nothing is made of refusals."""
        self.proven = False
        """Whether it was found that there is no limit."""
        self._limit = 0.0
        """What the limit would be, in sends a second."""
        self._share = 0.0
        self._needed = FIRST
        self._refusals = 0

    def first(self, accepted: int, limit: float, most: float, *, windowed: bool) -> bool:
        """A refusal came, `accepted` sends after the one before, and so the limit is this; gives whether to try it.

        Other limits allow no more than `most`. One that is `windowed` was seen to refuse all for long, unasked.
        """
        if accepted < FEWEST:
            return False
        self._refusals += 1
        if self._refusals < self._needed * (WINDOWED if windowed else 1) or most < CLEAR * limit:
            return False
        self.trying, self.proven, self._share, self._limit = True, False, ASSUMED, limit
        return True

    def doubt(self) -> None:
        """All was refused since the last: so does a limit."""
        self._refusals = 0

    def again(self, sends: int, a_minute: float) -> bool:
        """One more, so many sends after the last; gives whether it is a limit. `a_minute`: what was accepted before."""
        self.proven = self.proven or a_minute >= TWICE * 60 * self._limit
        lately, most = PROVEN if self.proven else TRIAL
        kept = 1 - 1 / lately
        self._share = self._share * kept ** max(0, sends) + 1 - kept
        if self._share <= most:
            return False
        self.trying = False
        self._needed = FIRST if self.proven else 2 * self._needed
        self._refusals = 0
        return True
