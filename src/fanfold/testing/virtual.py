"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

It also moves by one small step per tick, so that replies do land in the middle of a cancellation, as they do in
the world. It is for code without sockets: the outside does not hurry along. Threads may, those of a journal and those
in which plain functions run: time stands still while they work.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

from fanfold.core.clock import outside, seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TICK = 1e-6
"""Seconds of virtual time that one turn of the loop takes, unless told otherwise."""

PATIENCE = 5.0
"""Real seconds without any event or timer after which a test hangs for good and is ended."""


AGAIN = 0.05
"""Real seconds for which time stands still for threads of executors, once some that it stood still for waited for it.

So a test whose threads ask the loop for something, one after the other, takes `PATIENCE` but once.
"""

LOOK = 0.001
"""Real seconds between two looks at a thread that is busy."""


class _JumpingSelector(selectors.BaseSelector):
    """A selector that, where nothing is ready, moves its loop's clock on instead of waiting."""

    def __init__(self, tick: float) -> None:
        self._real = selectors.DefaultSelector()
        self._tick = tick
        self.time = 0.0
        self.jobs: set[asyncio.Future[Any]] = set()
        """What is under way in threads of executors."""
        self._patience = PATIENCE
        """Real seconds for which these are waited for."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.time += self._tick
        if timeout is None:
            ready = self._real.select(PATIENCE)
            if not ready:
                raise RuntimeError("virtual time: every task waits for something that no timer will bring")
            return ready
        looks, busy = 0, timeout > 0 and self._busy(0)
        ready = self._real.select(0)
        while busy and not ready:
            looks += 1
            busy = self._busy(looks)  # asked before each look: one that has just ended has told the loop before
            ready = self._real.select(LOOK)
        if not ready:
            self.time += timeout
        return ready

    def _busy(self, looks: int) -> bool:
        if self.jobs and looks >= self._patience / LOOK:
            self.jobs.clear()  # they may wait for a timer themselves: no further one has to wait for them
            self._patience = AGAIN
        return bool(self.jobs) or (looks < PATIENCE / LOOK and any(one.busy() for one in outside))

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time; it starts at 0 and takes `tick` seconds a turn."""

    def __init__(self, tick: float = TICK) -> None:
        self._jumping = _JumpingSelector(tick)
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.time

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As any loop; until the thread is done, or nobody waits for it any more, no timer comes."""
        job = super().run_in_executor(executor, func, *args)
        self._jumping.jobs.add(job)
        job.add_done_callback(self._jumping.jobs.discard)
        return job

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads of the default executor; a `timeout`, which Python 3.12 has, would be over at once."""
        await super().shutdown_default_executor()


def run_virtual(work: Coroutine[Any, Any, T], *, tick: float = TICK, seed: str | int = 0) -> T:
    """Run a coroutine in virtual time, with chance seeded; raises RuntimeError where it would wait for ever."""
    # Seeded first: the runner copies the context in which it is entered.
    with seeded(seed), asyncio.Runner(loop_factory=lambda: VirtualLoop(tick)) as runner:
        return runner.run(work)
