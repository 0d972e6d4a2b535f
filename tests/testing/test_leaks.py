"""Leak checks: what outlives a block is named."""

import asyncio
from typing import Any

from fanfold import Session, prompt
from fanfold.core.clock import now, sleep
from fanfold.testing import FakeModel, Leak, no_leaks, run_virtual


def checked(work: Any, session: Session | None = None) -> BaseException | None:
    """What a leak check around `work` raises; whatever is left is ended afterwards."""

    async def main() -> BaseException | None:
        try:
            async with no_leaks(session):
                await work()
        except (Leak, LookupError) as error:
            return error
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        return None

    return run_virtual(main())


tasks: list[asyncio.Task[Any]] = []


async def start(seconds: float) -> None:
    tasks[:] = [asyncio.create_task(sleep(seconds), name="the straggler")]


def test_a_task_left_behind_is_a_leak_with_its_name() -> None:
    """A task that still runs 100 ms after the block is a `Leak`, an assertion that names it."""
    leak = checked(lambda: start(60))
    assert isinstance(leak, AssertionError)
    assert "left behind: task the straggler" in str(leak)


def test_a_task_that_ends_in_time_is_none() -> None:
    """What is gone within 100 ms is no leak, and the check waits no longer than needed."""
    assert checked(lambda: start(0.05)) is None

    async def timed() -> float:
        async with no_leaks():
            await start(0.02)
        return now()

    assert run_virtual(timed()) < 0.04


def test_tasks_from_before_do_not_count() -> None:
    """Only what the block itself started is looked at."""

    async def main() -> None:
        before = asyncio.create_task(sleep(60))
        async with no_leaks():
            await sleep(0)
        before.cancel()

    run_virtual(main())


def test_slots_and_waiting_calls_are_leaks() -> None:
    """A session's slots in use and calls that wait for one are named, with their number."""
    session = Session(FakeModel(latency=60), max_in_flight=1)

    async def two() -> None:
        tasks[:] = [asyncio.create_task(prompt("{input}").run("x", session=session)) for _ in range(2)]
        await sleep(0.01)

    leak = checked(two, session)
    assert isinstance(leak, Leak)
    assert "1 slots; 1 waiting calls" in str(leak)


def test_a_leak_check_hides_no_error() -> None:
    """An error inside the block comes out if nothing leaked, and stands in the leak's context if something did."""

    async def fail() -> None:
        raise LookupError("mine")

    async def both() -> None:
        await start(60)
        await fail()

    assert isinstance(checked(fail), LookupError)
    leak = checked(both)
    assert isinstance(leak, Leak)
    assert isinstance(leak.__context__, LookupError)
