"""A server that refuses all without saying for how long: when there may be room again. Pure.

A short wait mends what was a little too much. Where it does not, a window has to pass, and each try costs one refusal
more, which some servers even count. So the next tries are worked out from what was accepted lately:

- The window slides and its limit is what it was: there is room when the oldest sends are a minute ago.
- The window is fixed and its limit is what it was: it ends when the mean since it opened has come down to the limit.
- The limit is another: a window that slides has room when it has drained below it. Nobody knows where that is, so half
  of what it held is tried, then half of that.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.calls.pulse import Pulse

ENOUGH = 10
"""Accepted sends in the minute before a refusal from which they are a measure of it."""

DRAINED = 0.485
"""What is left of a full window when its half is tried: a little less, so that a limit that was halved is met."""

LITTLE = 1.0
"""Seconds that are not worth a try of their own."""


class Shut:
    """The refusals in a row, with nothing accepted between."""

    __slots__ = ("_due", "_full", "_tried", "row")

    def __init__(self) -> None:
        self.row = 0
        """How many of them, beside the first."""
        self._full = 0.0
        self._due = -inf
        self._tried = 0

    def begin(self, full: float, due: float) -> None:
        """The first came, after `full` were accepted in a minute; a fixed window that is what it was ends at `due`."""
        self.row = self._tried = 0
        self._full, self._due = full, due

    def again(self) -> None:
        """One more."""
        self.row += 1

    def wait(self, pulse: Pulse, now: float, least: int) -> float:
        """Seconds until a window may have room for `least` more, by the next of these; 0: too few were accepted."""
        if self._full < ENOUGH:
            return 0.0
        self._tried += 1
        if self._tried == 1:
            return pulse.until(self._full - least, now)
        drained = pulse.until(self._full * DRAINED ** (self._tried - 1) - self.row, now)
        due, self._due = self._due - now, -inf
        if LITTLE < due < drained:
            self._tried -= 1
            return due
        return drained
