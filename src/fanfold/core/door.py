"""The one sync door: a background thread with an event loop, for scripts and notebooks."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fanfold.core.scope import current
from fanfold.errors import LoopError

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that interrupted work, or work left over when the interpreter ends, gets to clean up."""

_lock = threading.Lock()
_doors: list[_Door] = []
"""The one door, once it is there."""


class _Job(Generic[T]):
    """Work on the background loop. `ended` is done when its task is: a cancelled one first cleans up.

    (The future of `asyncio.run_coroutine_threadsafe` is done as soon as it is cancelled.)
    """

    def __init__(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ended: Future[T] = Future()
        self.task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._begin, work)

    def cancel(self) -> None:
        """Ask it to end."""
        self.loop.call_soon_threadsafe(self._cancel)

    def _begin(self, work: Coroutine[Any, Any, T]) -> None:
        self.task = self.loop.create_task(work)
        self.task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.ended.cancel()
            self.ended.set_running_or_notify_cancel()  # only this wakes who waits by `wait`
            return
        error = task.exception()
        if error is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(task.result())


class _Door:
    """The thread and its loop; made on first use, closed when the interpreter ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.closing = False
        self.thread = threading.Thread(target=self._turn, name="fanfold", daemon=True)
        self.thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> _Job[T]:
        return _Job(work, self.loop)

    def close(self) -> None:
        if self.loop.is_closed():
            return
        with suppress(TimeoutError):
            self.submit(_clear()).ended.result(timeout=2 * PATIENCE)
        self.closing = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=PATIENCE)
        if not self.thread.is_alive():
            self.loop.close()

    def _turn(self) -> None:
        while not self.closing:
            # sys.exit() in a step leaves its loop, too. It goes on: the task's caller, who waits, gets the error.
            with suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()


def run_sync(work: Coroutine[Any, Any, T], what: str) -> T:
    """Run `work` on the background loop and wait for it, also where another loop runs in this thread.

    An interrupt (Ctrl-C) cancels the work and waits until it has ended, but not longer than two seconds. Raises
    `LoopError` inside a step, where waiting would block the steps beside it: there, `what` is awaited.
    """
    if current() is not None or _inside_door():
        work.close()
        raise LoopError(f"{what} blocks, and was called inside a step: await the step there instead")
    job = _open_door().submit(work)
    try:
        return job.ended.result()
    except BaseException:
        if not job.ended.done():
            job.cancel()
            wait([job.ended], timeout=PATIENCE)
        raise


def loop() -> asyncio.AbstractEventLoop:
    """The background loop itself."""
    return _open_door().loop


async def _clear() -> None:
    """What `asyncio.run` does at its end: cancel what still runs, then close what hangs on the loop.

    Sessions made from the environment hang on an asynchronous generator of their loop, and close with it.
    """
    running = asyncio.get_running_loop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=PATIENCE)
    await running.shutdown_asyncgens()


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
