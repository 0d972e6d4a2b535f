"""The pause that all calls with one key share after a 429. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fanfold.calls.condition import Condition
    from fanfold.errors import StatusError

FIRST = 1.0
"""Seconds of a pause, at most, where the server did not say how long."""

AHEAD = 0.5
"""Seconds that the first after such a pause goes ahead: a refusal comes at once."""

LONGEST = 16.0
"""Seconds to which such a pause grows while nothing is accepted in between."""


class Patience(NamedTuple):
    """What a lane knows of how long to wait after a refusal that does not say."""

    first: float = 0.0
    """Seconds after the first of a row."""
    row: int | None = None
    """How many were refused before, with nothing accepted between; None: it does not know."""
    drained: float = 0.0
    """Seconds at least."""


NONE = Patience()


class Account:
    """One key at one host: the lanes that use it, and until when none of them may send."""

    __slots__ = ("_ahead_until", "_began", "_row", "_silent", "lanes", "refusal", "refusing_since", "until")

    def __init__(self) -> None:
        self.lanes: list[Condition] = []
        self.until = -inf
        self.refusal: StatusError | None = None
        """The last 429, whichever of the lanes heard it."""
        self.refusing_since: float | None = None
        """Since when it refuses everything without saying for how long; None: it does not."""
        self._began = -inf
        self._row = 0
        self._silent = False
        self._ahead_until = -inf

    def refused(
        self, left_at: float, retry_after: float | None, now: float, luck: float, patience: Patience = NONE
    ) -> float:
        """A 429 came for what left at `left_at`; gives the seconds of pause that it makes; `luck` is 0 to 1.

        What left before the pause began is refused for the same reason: it makes no longer pause unless it says so.
        """
        if retry_after is not None:
            pause = retry_after
            self.refusing_since = None
            self._silent = False
        elif left_at < self._began:
            return 0.0
        else:
            row = self._row if patience.row is None else patience.row
            pause = max(patience.drained, min(LONGEST, max(FIRST, patience.first) * 4**row) * (0.5 + luck / 2))
            self._row = row + 1
            self._silent = True
            if self.refusing_since is None:
                self.refusing_since = now
        if now >= self.until:
            self._began = now
        self.until = max(self.until, now + pause)
        return pause

    def wait(self, now: float) -> float:
        """Seconds until a send may leave."""
        return max(self.until, self._ahead_until) - now

    def take(self, now: float) -> bool:
        """One leaves; gives whether it goes ahead alone, after a pause that nobody asked for, to see if it is over."""
        if not self._silent:
            return False
        self._silent = False
        self._ahead_until = now + AHEAD
        return True

    def accepted(self, left_at: float) -> None:
        """Something that left after the last pause began was not refused."""
        if left_at >= self._began:
            self._row = 0
            self.refusing_since = None
