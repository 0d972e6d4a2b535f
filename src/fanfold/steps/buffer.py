"""What a guarded answer has said and nobody may hear yet: bounded, and let out as far as the checks have read."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from fanfold.core.scope import Hold
from fanfold.folds.guarding import Outgrown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fanfold.core.scope import Scope


class Ear(Hold):
    """Holds nothing back, and knows whether any text was heard."""

    __slots__ = ("heard",)

    def __init__(self, around: Scope) -> None:
        super().__init__(around.run, around.hold)
        self.open = True
        self.heard = False

    def keep(self, event: tuple[Any, ...]) -> None:
        """Pass one event outwards."""
        self.heard = self.heard or event[1] == "call.text"
        super().keep(event)


class Buffer(Hold):
    """The hold of a guarded answer; `limit` characters of text may wait in it.

    `readers` are the checks that read the text while it streams. Text gets out when the checks on the input have
    passed (`release`) and every reader has passed it (`passed`); all else, as outputs, when every reader is through.
    """

    __slots__ = ("allowed", "ended", "failed", "heard", "limit", "mute", "out", "pieces", "read", "unheard", "waiting")

    def __init__(self, around: Scope, limit: int, readers: Iterable[str]) -> None:
        super().__init__(around.run, around.hold)
        self.limit = limit
        self.mute = not around.tail
        self.read: dict[str, float] = dict.fromkeys(readers, 0)
        self.allowed = False
        self.heard = 0
        self.out = 0
        self.pieces: list[str] = []
        self.unheard: str | None = None
        self.ended = False
        self.failed = False
        self.waiting: set[asyncio.Future[None]] = set()

    @property
    def watched(self) -> bool:
        """Whether somebody reads the text as it comes, so that the call has to stream."""
        return bool(self.read) or super().watched

    def keep(self, event: tuple[Any, ...]) -> None:
        """Keep one event, or pass it outwards; raises where the text outgrows the limit."""
        if event[1] == "call.text":
            self._hear(event[3])
        if not self.open:
            self.kept.append(event)
        elif event[1] != "call.text" or not self.mute:
            super().keep(event)

    def release(self) -> None:
        """The checks on the input have passed: let out what the readers have passed."""
        self.allowed = True
        upto = min(self.read.values(), default=math.inf)
        if upto == math.inf:
            super().release()
            return
        kept, self.kept = self.kept, []
        for event in kept:
            if event[1] == "call.text" and self.out + len(event[3]) <= upto:
                self.out += len(event[3])
                self._let_out(event)
            else:
                self.kept.append(event)
                if event[1] == "call.text":
                    upto = 0  # what follows it has to wait for it

    def passed(self, reader: str, upto: float) -> None:
        """A reader has nothing against the text up to there; of an answer that failed it has seen the text only."""
        self.read[reader] = min(upto, self.heard) if self.failed else upto
        if self.allowed:
            self.release()

    def settle(self) -> None:
        """The answer stands: nothing of it stays inside, whatever a reader has left unread."""
        self.read.clear()
        self.release()

    def fail(self) -> None:
        """No text follows, for the answer failed: what its error may quote stays inside."""
        self.failed = True
        self.end(None)

    def end(self, output: str | None) -> None:
        """No text follows. What the output holds that was not streamed (None: nothing) is still to be read."""
        self.ended = True
        if output is not None and output != self.text():
            self.unheard = output
        self._wake()

    def text(self) -> str:
        """All text so far."""
        self.pieces = ["".join(self.pieces)]
        return self.pieces[0]

    async def grown(self, beyond: float) -> str:
        """The text so far, once there is more than so many characters of it, or no more will come."""
        while not self.ended and self.heard < beyond:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.add(waiter)
            try:
                await waiter
            finally:
                self.waiting.discard(waiter)
        return self.text()

    def _hear(self, piece: str) -> None:
        self.heard += len(piece)
        if self.read:
            self.pieces.append(piece)
            self._wake()
        if not self.open and self.heard - self.out > self.limit:
            raise Outgrown(
                f"the answer outgrew the guard's buffer of {self.limit} characters before its checks had passed; "
                "give quicker checks, or a larger buffer="
            )

    def _let_out(self, event: tuple[Any, ...]) -> None:
        if self.mute:
            return
        if self.outer is not None:
            self.outer.keep(event)
        else:
            self.stream.emit(*event)

    def _wake(self) -> None:
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)
