"""The one sync door: a background thread with an event loop, for scripts and notebooks."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from fanfold.core.clock import sleep
from fanfold.core.scope import current
from fanfold.errors import LoopError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")

_lock = threading.Lock()
_doors: list[_Door] = []
"""The one door, once it is there."""


class _Door:
    """The thread and its loop; made on first use, closed when the interpreter ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="fanfold", daemon=True)
        self.thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        if self.loop.is_closed():
            return
        # Sessions made from the environment hang on an async generator of their loop, and close with it.
        self.submit(self.loop.shutdown_asyncgens()).result(timeout=5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=5)
        if not self.thread.is_alive():
            self.loop.close()


def run_sync(work: Coroutine[Any, Any, T], what: str) -> T:
    """Run `work` on the background loop and wait for it, also where another loop runs in this thread.

    An interrupt (Ctrl-C) cancels the work and waits until it has ended. Raises `LoopError` inside a step, where
    waiting would block the steps beside it: there, `what` is awaited.
    """
    if current() is not None or _inside_door():
        work.close()
        raise LoopError(f"{what} blocks, and was called inside a step: await the step there instead")
    future = _open_door().submit(work)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            _settle(future)
        raise


def loop() -> asyncio.AbstractEventLoop:
    """The background loop itself."""
    return _open_door().loop


def _settle(future: Future[Any]) -> None:
    """Wait until the cancelled work has cleaned up: its loop has run what the cancellation set off."""
    settled = threading.Event()
    door = _open_door()

    async def drain() -> None:
        await sleep(0)
        settled.set()

    door.submit(drain())
    settled.wait(timeout=2)
    del future


def _inside_door() -> bool:
    return any(threading.current_thread() is door.thread for door in _doors)


def _open_door() -> _Door:
    with _lock:
        if not _doors:
            _doors.append(_Door())
        return _doors[0]


def _close_door() -> None:
    with _lock:
        doors = list(_doors)
        _doors.clear()
    for door in doors:
        door.close()


atexit.register(_close_door)
# After a fork the thread is not there any more; the child makes its own.
os.register_at_fork(after_in_child=_doors.clear)
