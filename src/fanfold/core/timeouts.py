"""Total timeouts: a time given covers everything done inside the block, and its end is a `StepTimeout`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fanfold.errors import StepTimeout, UsageError

if TYPE_CHECKING:
    from types import TracebackType


def check_seconds(seconds: float | None) -> None:
    """Refuse a timeout that is not a positive number of seconds."""
    if seconds is not None and not seconds > 0:
        raise UsageError(f"timeout={seconds!r}: give a positive number of seconds, or None for no timeout")


class within:  # noqa: N801  # reads as a word: `async with within(seconds, what)`
    """Cancel the block after `seconds` and raise `StepTimeout` naming `what`; None never ends it."""

    __slots__ = ("_seconds", "_timer", "_what")

    def __init__(self, seconds: float | None, what: str) -> None:
        check_seconds(seconds)
        self._seconds = seconds
        self._what = what
        self._timer: asyncio.Timeout | None = None

    async def __aenter__(self) -> None:
        if self._seconds is not None:
            self._timer = asyncio.timeout(self._seconds)
            await self._timer.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is None or self._seconds is None:
            return
        try:
            await self._timer.__aexit__(kind, error, trace)
        except TimeoutError:
            # Only our own timer's end gets here: a TimeoutError from inside is passed on by the timer as it is.
            raise StepTimeout(
                f"{self._what} took longer than its timeout of {self._seconds:g} s", seconds=self._seconds
            ) from None
