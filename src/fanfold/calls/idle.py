"""The idle timeout: how long a reply may be silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from fanfold.core.clock import now
from fanfold.errors import SilenceError

if TYPE_CHECKING:
    from types import TracebackType

    from fanfold.calls.passage import Sending

SLACK = 1e-6
"""Seconds by which a timer may be early."""


class speaking:  # noqa: N801  # reads as a word: `async with speaking(sending, seconds)`
    """End the block with a `SilenceError` once nothing came of the reply for `seconds`; None never ends it.

    It listens from the moment in which the model says that it tells of such things, which our wires do when they
    send: so the silence before the first byte counts. One timer looks when the silence may be over; a chunk only
    leaves its time behind.
    """

    __slots__ = ("_block", "_seconds", "_sending", "_timer")

    def __init__(self, sending: Sending, seconds: float | None) -> None:
        self._sending = sending
        self._seconds = seconds
        self._block: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        if self._seconds is not None:
            self._block = asyncio.timeout(None)
            await self._block.__aenter__()
            self._sending.listener = self
        return self

    def begin(self) -> None:
        """The model tells of what comes."""
        if self._seconds is not None and self._timer is None:
            self._look_in(self._seconds)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._block is None or self._seconds is None:
            return
        self._sending.listener = None
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._block.__aexit__(kind, error, trace)
        except TimeoutError:
            # Only our own timer's end gets here: a TimeoutError from inside is passed on as it is.
            label = self._sending.passage.lane.model.label
            raise SilenceError(
                f"{label} was silent for the idle_timeout of {self._seconds:g} s", seconds=self._seconds, model=label
            ) from None

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(now() + seconds, self._look)

    def _look(self) -> None:
        if self._block is None or self._seconds is None or self._sending.alive_at is None:
            return
        if self._sending.reply is not None:
            return  # nothing more has to come
        left = self._sending.alive_at + self._seconds - now()
        if left > SLACK:
            self._look_in(left)
        else:
            self._block.reschedule(now())
