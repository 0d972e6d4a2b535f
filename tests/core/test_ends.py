"""Blocks of equal length share one timer."""

import asyncio
from typing import Any

import pytest

from fanfold import Session, gather, prompt
from fanfold.core.clock import now, sleep
from fanfold.core.ends import Ends
from fanfold.core.timeouts import within
from fanfold.errors import StepTimeout
from fanfold.testing import FakeModel, run_virtual

SECONDS = 2.0


async def block(ends: Ends, begin: float, work: float) -> tuple[bool, float]:
    """Whether the block came to its end, and when it was over."""
    await sleep(begin)
    try:
        with within(SECONDS, "the work", ends=ends):
            await sleep(work)
    except StepTimeout:
        return False, round(now(), 3)
    return True, round(now(), 3)


def timers() -> int:
    """The timers that the loop has yet to call."""
    loop: Any = asyncio.get_running_loop()  # which tells nobody else
    return sum(not timer.cancelled() for timer in loop._scheduled)


def test_each_block_ends_at_its_own_time() -> None:
    """A block that takes too long ends its seconds after its own beginning, whichever others ended before."""

    async def main() -> list[tuple[bool, float]]:
        ends = Ends()
        given = [(0.0, 9.0), (0.0, 1.0), (0.5, 9.0), (0.5, 9.0), (1.0, 1.5), (3.0, 9.0)]
        return await asyncio.gather(*(block(ends, begin, work) for begin, work in given))

    assert run_virtual(main()) == [(False, 2.0), (True, 1.0), (False, 2.5), (False, 2.5), (True, 2.5), (False, 5.0)]


def test_any_number_of_blocks_have_one_timer_and_at_rest_there_is_none() -> None:
    """A thousand blocks under way are one timer; after the last there is none that would keep a loop awake."""

    async def main() -> tuple[int, int]:
        ends, before = Ends(), timers()
        opened = [within(SECONDS, "it", ends=ends) for _ in range(1000)]
        for one in opened:
            one.__enter__()
        during = timers() - before
        for one in opened:
            one.__exit__(None, None, None)
        return during, timers() - before

    assert run_virtual(main()) == (1, 0)


def test_a_block_that_resists_is_cancelled_once() -> None:
    """One that goes on after its end is not cancelled again when the next block is due."""

    async def stubborn(ends: Ends) -> str:
        with within(SECONDS, "it", ends=ends):
            try:
                await sleep(9.0)
            except asyncio.CancelledError:
                await sleep(5.0)
                raise
        return "done"

    async def main() -> float:
        ends = Ends()
        others = asyncio.gather(block(ends, 1.0, 9.0), block(ends, 2.5, 9.0))
        with pytest.raises(StepTimeout):
            await stubborn(ends)
        at = now()
        assert await others == [(False, 3.0), (False, 4.5)]
        return round(at, 3)

    assert run_virtual(main()) == 7.0


def test_calls_of_one_session_time_out_each_by_itself() -> None:
    """The session's timeout counts from each call's own turn, not from the first call's."""
    model = FakeModel(latency=3.0)
    ask = prompt("{input}")

    async def main() -> list[float]:
        async def one(at: float) -> float:
            await sleep(at)
            with pytest.raises(StepTimeout):
                await ask("x")
            return round(now(), 2)

        async with Session(model, timeout=SECONDS):
            return list(await gather(*(one(at) for at in (0.0, 0.7, 1.4))))

    assert run_virtual(main()) == [2.0, 2.7, 3.4]
