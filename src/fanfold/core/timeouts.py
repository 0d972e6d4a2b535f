"""Total timeouts: a time given covers everything done inside the block, and its end is a `StepTimeout`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fanfold.errors import StepTimeout, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def check_seconds(seconds: float | None) -> None:
    """Refuse a timeout that is not a positive number of seconds."""
    if seconds is not None and not seconds > 0:
        raise UsageError(f"timeout={seconds!r}: give a positive number of seconds, or None for no timeout")


@asynccontextmanager
async def within(seconds: float | None, what: str) -> AsyncIterator[None]:
    """Cancel the block after `seconds` and raise `StepTimeout` naming `what`; None never ends it."""
    if seconds is None:
        yield
        return
    try:
        async with asyncio.timeout(seconds) as timer:
            yield
    except TimeoutError:
        # A TimeoutError from inside, raised while our own timer still ran, is somebody else's: it passes.
        if not timer.expired():
            raise
        raise StepTimeout(f"{what} took longer than its timeout of {seconds:g} s", seconds=seconds) from None
