"""One timer for many blocks that all last equally long: their ends come in the order of their beginnings.

Nearly every call has a timeout, and nearly none comes to it. A timer of its own for each would be the dearest thing
that a call does by itself; here it is an entry in a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


class Block(Protocol):
    """What lasts until then at most."""

    def expire(self) -> None:
        """Its time is over."""
        ...


class Ends:
    """The blocks under way, by the moment of the loop's time at which each has to end; at rest there is no timer."""

    __slots__ = ("_blocks", "_timer")

    def __init__(self) -> None:
        self._blocks: dict[Block, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, block: Block, end: float, loop: asyncio.AbstractEventLoop) -> None:
        """It has to end by `end`, which is no sooner than that of any block before it."""
        self._blocks[block] = end
        if self._timer is None:
            self._timer = loop.call_at(end, self._end_due, loop)

    def discard(self, block: Block) -> None:
        """It is over."""
        del self._blocks[block]
        if not self._blocks and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_due(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what is due; a block stays here until it says itself that it is over."""
        self._timer = None
        at = loop.time()
        for block, end in self._blocks.items():
            if end > at:
                self._timer = loop.call_at(end, self._end_due, loop)
                return
            block.expire()
