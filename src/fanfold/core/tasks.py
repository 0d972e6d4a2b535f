"""The one way in which tasks begin here: when their maker gives way, and never before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def begin_task(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[T]:
    """A task of `loop`, or of the running one, that has done nothing yet.

    The loop's own `create_task` leaves that to its task factory, and one that starts tasks eagerly (Python 3.12 has
    it) lets a branch arrive before its fan knows that it flies: the fan would wait for it for ever.
    """
    return asyncio.Task(work, loop=loop or asyncio.get_running_loop())
