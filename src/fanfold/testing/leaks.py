"""Leak checks: what a block started has to be gone when it ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fanfold.core.clock import now, sleep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fanfold.session import Session

GRACE = 0.1
"""Seconds within which everything has to be gone."""


class Leak(AssertionError):
    """Something outlived the block; the message says what."""


@asynccontextmanager
async def no_leaks(session: Session | None = None) -> AsyncIterator[None]:
    """Raise `Leak` if tasks that the block started, or slots, sockets and reserved money of `session`, are left.

    They have 100 ms to go after it.

    What a `ModelServer` on the same loop still works on counts; a connection that it merely keeps open does not.
    """
    before = asyncio.all_tasks()
    try:
        yield
    finally:
        until = now() + GRACE
        while (left := _left(before, session)) and now() < until:
            await sleep(GRACE / 20)
        if left:
            raise Leak("left behind: " + "; ".join(left))


def _left(before: set[asyncio.Task[object]], session: Session | None) -> list[str]:
    started = [(task.get_name(), task.get_coro()) for task in asyncio.all_tasks() - before]
    left = [f"task {name} ({coroutine!r})" for name, coroutine in started if not _idle_connection(coroutine)]
    if session is not None:
        held = session.statistics()
        taken: dict[str, float] = {
            "slots": held.slots.in_use,
            "waiting calls": held.slots.waiting,
            "sockets": held.sockets,
        }
        if held.budget is not None:
            taken["waiting for money"] = held.budget.waiting
            units = {"dollars": held.budget.usd, "tokens": held.budget.tokens, "budgeted calls": held.budget.calls}
            taken |= {f"reserved {name}": unit.reserved for name, unit in units.items() if unit is not None}
        left += [f"{count} {what}" for what, count in taken.items() if count]
    return left


def _idle_connection(coroutine: object) -> bool:
    """Whether it is the loop that aiohttp's server runs for a connection; each request on it has a task of its own."""
    return getattr(coroutine, "__qualname__", "") == "RequestHandler.start"
