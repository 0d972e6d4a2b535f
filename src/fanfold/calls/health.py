"""Whether the server of a lane is there at all: after failures in a row, one call at a time finds out. Pure."""

from __future__ import annotations

from math import inf

ROW = 5
"""Failures in a row, with no sign of life between, after which a lane is down."""

FIRST = 0.25
"""Seconds until the first probe, about."""

LONGEST = 2.0
"""Seconds between two probes at most: short, so that a server that is back is found at once."""


class Health:
    """A circuit: closed while the server answers, whatever it says; open, with probes, while it does not."""

    __slots__ = ("_pause", "error", "failing_since", "known", "probe_at", "probing", "row", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        """When it went down; None while it is up."""
        self.failing_since: float | None = None
        """When the failures in a row began."""
        self.probe_at = -inf
        self.probing = False
        self.error: BaseException | None = None
        """The last failure."""
        self.row = 0
        """Failures in a row."""
        self.known = False
        """Whether it ever answered."""
        self._pause = FIRST

    @property
    def down(self) -> bool:
        """Whether it is."""
        return self.since is not None

    def wait(self, now: float) -> float:
        """Seconds until a send may try; endless while another tries."""
        if self.since is None:
            return 0.0
        return inf if self.probing else max(0.0, self.probe_at - now)

    def failed(self, error: BaseException, now: float, *, probe: bool, luck: float) -> bool:
        """A send failed; `luck` (0 to 1) spreads the next probe. Gives whether the lane just went down."""
        self.error = error
        self.row += 1
        if self.failing_since is None:
            self.failing_since = now
        if self.since is None and self.row >= ROW:
            self.since = now
            self._pause = FIRST
            self._schedule(now, luck)
            return True
        if probe:
            self._pause = min(LONGEST, self._pause * 2)
            self._schedule(now, luck)
        return False

    def unknown(self, now: float, luck: float) -> None:
        """The probe ended without a word of the server: somebody cancelled it."""
        self._schedule(now, luck)

    def alive(self) -> bool:
        """The server answered; gives whether that was the end of an outage."""
        was = self.down
        self.known = True
        self.since = self.failing_since = None
        self.row = 0
        return was

    def _schedule(self, now: float, luck: float) -> None:
        self.probe_at = now + self._pause * (0.5 + luck / 2)
