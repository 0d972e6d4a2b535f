"""The tab of a budget: what may have been spent of it, written down before it can be.

A process that is killed cannot say what it spent. So before a send goes out, something durable says that it may have
been paid; what goes on later counts that as spent. To write for every send would be slow: a part of the budget is
written at once, and what is on the wire fits into it until it is used up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fanfold.calls.budget import Purse

PARTS = 200
"""Parts of a budget that are written down one at a time; after a crash at most one of them is counted and not spent."""


class Tab:
    """The tab of one purse: at any time what it charged, and the worst case of all sends on the wire, is written down.

    `write` is given picodollars, and returns when they are on the disk.
    """

    def __init__(self, write: Callable[[int], Awaitable[None]]) -> None:
        self.purse: Purse | None = None
        self.written = 0
        self._write = write
        self._turn = asyncio.Lock()

    @property
    def charged(self) -> int:
        """The picodollars that were charged."""
        return 0 if self.purse is None else self.purse.charged.picos

    @property
    def due(self) -> int:
        """The picodollars that are charged by now or may be for what is on the wire."""
        return 0 if self.purse is None else self.purse.charged.picos + self.purse.flying

    async def allow(self, picos: int) -> int:
        """Return once so many picodollars in all are written down, for others who spend them; gives how many are."""
        async with self._turn:
            if picos > self.written:
                limit = 0 if self.purse is None else self.purse.limit.picos or 0
                most = max(picos, min(limit, picos + limit // PARTS))
                await self._write(most)
                self.written = most
        return self.written

    async def cover(self) -> None:
        """Return once all that is due is written down; one writes for all who wait."""
        if self.due <= self.written:
            return
        async with self._turn:
            due = self.due
            if self.purse is None or due <= self.written:
                return
            limit = self.purse.limit.picos or 0
            most = max(due, min(limit, due + limit // PARTS))
            await self._write(most)
            self.written = most
