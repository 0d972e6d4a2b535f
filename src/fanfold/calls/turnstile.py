"""The turnstile: how many calls of a session may be on the wire at once, and who is next among its lanes.

Each lane has a queue of its own, so that one lane's wait blocks no other. Of the lanes whose first call could leave,
the one whose call came first gets the next slot.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import msgspec

from fanfold.core.numbers import counted, is_count
from fanfold.errors import LoopError, QueueFull, UsageError

if TYPE_CHECKING:
    from fanfold.calls.traffic import Traffic


class SlotStatistics(msgspec.Struct, frozen=True):
    """`in_use` of `limit` slots are taken, `waiting` calls queue for one or for their rate."""

    limit: int
    in_use: int
    waiting: int


class Turnstile:
    """A fair gate that lets `limit` calls pass at once; ``0 <= in_use <= limit`` always, and 0 at rest."""

    __slots__ = ("_arrivals", "_resting", "_standing", "closed", "in_use", "limit", "max_queued", "waiting")

    def __init__(self, limit: int, max_queued: int | None = None) -> None:
        if not is_count(limit):
            raise UsageError(f"max_in_flight={limit!r}: at least one call must be allowed at a time")
        if max_queued is not None and not is_count(max_queued, 0):
            raise UsageError(f"max_queued={max_queued!r}: give 0 or more, or None for no bound")
        self.limit = limit
        self.max_queued = max_queued
        self.in_use = 0
        self.waiting = 0
        self.closed = False
        self._arrivals = 0
        self._standing: list[tuple[int, Traffic]] = []
        self._resting: set[asyncio.Future[None]] = set()

    def arrive(self, label: str) -> int:
        """One more waits; gives its place among all. Raises `QueueFull`, or that the session is closed."""
        self.check()
        if self.max_queued is not None and self.waiting >= self.max_queued:
            raise QueueFull(
                f"{counted(self.waiting, 'call waits', 'calls wait')} for their turn already, which is all "
                f"that max_queued={self.max_queued} allows: send fewer at once, or raise it",
                model=label,
            )
        self.waiting += 1
        self._arrivals += 1
        return self._arrivals

    def check(self) -> None:
        """Raise `LoopError` once the session is closed, with its connections."""
        if self.closed:
            raise self.gone()

    def close(self) -> None:
        """The session is closed: nobody passes any more, and who waits between two sends is told now."""
        self.closed = True
        for over in self._resting:
            _end(over)

    async def rest(self, seconds: float) -> None:
        """Wait so long between two sends; raises `LoopError` once the session is closed."""
        self.check()  # its send may have failed because the connections closed
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        timer = loop.call_later(seconds, _end, over)
        self._resting.add(over)
        try:
            await over
        finally:
            timer.cancel()
            self._resting.discard(over)
        self.check()

    def gone(self) -> LoopError:
        """What to tell a call that is sent no more."""
        return LoopError("the session was closed while this call was under way: await what it runs before you leave it")

    def stand(self, arrival: int, lane: Traffic) -> None:
        """The first call of `lane` lacks nothing but a slot."""
        if not lane.standing:
            lane.standing = True
            heappush(self._standing, (arrival, lane))

    def turn(self, now: float) -> None:
        """Give the free slots to those who stand, by arrival."""
        standing = self._standing
        while standing and self.in_use < self.limit:
            arrival, lane = heappop(standing)
            lane.standing = False
            lane.step_up(arrival, now)

    def statistics(self) -> SlotStatistics:
        """What is taken and what waits, now."""
        return SlotStatistics(self.limit, self.in_use, self.waiting)


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
