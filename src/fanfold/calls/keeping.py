"""A call and the journal of its run: what was answered before is given again, and what is answered now is kept.

A reply goes to the journal's writer in the moment in which the wire says that it is whole, with no `await` in between
in which a cancellation could lose it. The call returns, and gives its slot back, when it is on the disk: so what a
crash can lose is at most as many replies as there are slots.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fanfold.errors import FatalError, JournalError

if TYPE_CHECKING:
    from fanfold.calls.passage import Passage, Sending
    from fanfold.core.journaling import Book, Found
    from fanfold.core.records import Call, Reply


class Keeping:
    """One call's page in the book of its run."""

    __slots__ = ("_broken", "_digest", "_key", "_shared", "_written", "book", "call", "found", "passage")

    def __init__(self, passage: Passage, book: Book, key: bytes | None) -> None:
        self.passage = passage
        self.book = book
        self.found: Found | None = None
        self.call: Call | None = None
        """Its record in the moment in which its reply was whole, as it is kept."""
        self._key = passage.request.key() if key is None else key
        self._digest = book.digest(passage.lane.model.label, self._key)
        self._shared = False
        """Whether it was found in another run than its own."""
        self._written: asyncio.Future[None] | None = None
        self._broken: JournalError | None = None

    async def recall(self) -> Reply | None:
        """The reply that the journal has, or None; raises the error that it has, or `ReplayMiss`."""
        draw, settled = self.passage.request.draw, self.passage.scope.settled
        found = self.book.found(self._digest, draw, settled=settled)
        if found is None:
            found = await self.book.shared(self._digest, draw)
            self._shared = found is not None
        if found is None:
            if settled:
                self.passage.scope.unsettle()
            return None
        self.found = found
        if found.error is not None:
            raise found.error
        if found.reply is None:
            # It was cut off, by a sibling's end or a timeout around it: that comes again.
            await asyncio.get_running_loop().create_future()
        elif self.passage.tells:
            self.passage.scope.emit("call.text", found.reply.text)
        return found.reply

    def keep(self, sending: Sending) -> None:
        """A send has its reply, and is the one that is heard."""
        if self._written is None and sending.reply is not None and self.passage.chosen is sending:
            sending.price()
            try:
                self.call = self.passage.record("ok")
                self._written = self.book.keep(self._digest, self._key, self.call, sending.reply)
            except JournalError as error:
                self._broken = error  # raised by `safe`: a model may take what its watch raises for its own failure

    @property
    def kept(self) -> bool:
        """Whether the reply is on the disk."""
        written = self._written
        return written is not None and written.done() and not written.cancelled() and written.exception() is None

    async def safe(self) -> None:
        """Wait until the reply is on the disk; raises `JournalError`."""
        if self._broken is not None:
            raise self._broken
        if self._written is not None:
            # Two sends may wait for it, and one of them be cancelled.
            await (self._written if len(self.passage.attempts) == 1 else asyncio.shield(self._written))

    def end(self, call: Call) -> None:
        """The call is over, with this for a record."""
        if self._shared and self.found is not None:
            self.book.keep_shared(self._digest, self._key, call, self.found)
        if self.found is not None or self._broken is not None:
            return
        error = self.passage.error
        if self._written is not None:
            if len(call.attempts) > 1:
                self.book.bill(self._digest, call)
        elif self.passage.sent_at is not None or not (error is None or isinstance(error, FatalError)):
            self.book.note(self._digest, self._key, call, error)
