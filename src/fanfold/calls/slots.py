"""Slots: how many calls may be on the wire at once. First come, first served."""

from __future__ import annotations

import asyncio

import msgspec

from fanfold.core.clock import sleep
from fanfold.errors import UsageError


class SlotStatistics(msgspec.Struct, frozen=True):
    """`in_use` of `limit` slots are taken, `waiting` calls queue for one."""

    limit: int
    in_use: int
    waiting: int


class Slots:
    """A fair gate that lets `limit` calls pass at once; ``0 <= in_use <= limit`` always, and 0 at rest."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise UsageError(f"max_in_flight={limit}: at least one call must be allowed at a time")
        self.limit = limit
        self.in_use = 0
        self.waiting = 0
        self._gate = asyncio.Semaphore(limit)

    async def enter(self) -> None:
        """Wait for a slot; who enters leaves."""
        self.waiting += 1
        queued = self._gate.locked()
        try:
            await self._gate.acquire()
            if queued:
                await self._let_others_speak()
        finally:
            self.waiting -= 1
        self.in_use += 1

    def leave(self) -> None:
        """Give the slot back."""
        self.in_use -= 1
        self._gate.release()

    async def _let_others_speak(self) -> None:
        """Give way for a tick: the reply that freed this slot may have decided that the call is not needed."""
        try:
            await sleep(0)
        except BaseException:
            self._gate.release()
            raise

    def statistics(self) -> SlotStatistics:
        """What is taken and what waits, now."""
        return SlotStatistics(self.limit, self.in_use, self.waiting)
