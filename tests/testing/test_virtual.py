"""Virtual time: the clock jumps, every tick counts, and what would wait for ever ends."""

import asyncio
import threading
import time

import pytest

from fanfold import Session, prompt, sections, step
from fanfold.core.clock import chance, now, outside, sleep
from fanfold.testing import FakeModel, VirtualLoop, run_virtual, virtual


def test_a_sleep_takes_no_time() -> None:
    """A day of virtual time passes at once."""
    began = time.monotonic()
    run_virtual(sleep(86_400))
    assert time.monotonic() - began < 1


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """The clock jumps from timer to timer, in order."""
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        await sleep(seconds)
        woken.append((seconds, now()))

    async def main() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (3, 1, 2, 0.5)))

    run_virtual(main())
    assert [seconds for seconds, _ in woken] == [0.5, 1, 2, 3]
    assert [when for _, when in woken] == pytest.approx([0.5, 1, 2, 3], abs=1e-4)


def test_time_begins_at_zero_and_moves_with_every_tick() -> None:
    """Each turn of the loop takes one tick, so that two things rarely happen at the very same time."""

    async def main() -> list[float]:
        times = [now()]
        for _ in range(3):
            await sleep(0)
            times.append(now())
        return times

    first, *rest = run_virtual(main(), tick=0.25)
    assert first <= 0.5
    assert rest == [first + 0.25, first + 0.5, first + 0.75]


def test_time_never_goes_back() -> None:
    """However sleeps and ticks mix, the clock only rises."""

    async def main() -> list[float]:
        times = []
        for at in range(50):
            await sleep(0 if at % 3 else at / 10)
            times.append(now())
        return times

    times = run_virtual(main())
    assert times == sorted(times)


def test_replies_can_land_in_the_middle_of_a_cancellation() -> None:
    """A timer that is due a few ticks after a cancellation fires while its clean-up still runs."""
    seen: list[str] = []

    async def cleaning() -> None:
        try:
            await sleep(10)
        finally:
            for _ in range(10):
                await sleep(0)
            seen.append("cleaned")

    async def reply() -> None:
        await sleep(1 + 4e-6)
        seen.append("reply")

    async def main() -> None:
        task, other = asyncio.create_task(cleaning()), asyncio.create_task(reply())
        await sleep(1)
        task.cancel()
        await asyncio.wait([task, other])

    run_virtual(main())
    assert seen == ["reply", "cleaned"]


def test_what_waits_for_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A future that no timer will bring is an error that says so, not a test that hangs."""
    monkeypatch.setattr(virtual, "PATIENCE", 0.05)
    with pytest.raises(RuntimeError, match="no timer will bring"):
        run_virtual(asyncio.Event().wait())


def test_threads_may_come_back_into_virtual_time() -> None:
    """A thread's result arrives although no timer is set."""

    async def main() -> int:
        return await asyncio.to_thread(lambda: 6 * 7)

    assert run_virtual(main()) == 42


def test_a_plain_function_has_its_time() -> None:
    """Time stands still while a function runs in a thread: a timeout that it keeps in the world, it keeps here.

    The clock jumped to the timeout, so a step that was a plain function could have none.
    """

    @step
    def slow(text: str) -> str:
        time.sleep(0.02)
        return text

    async def main() -> list[str]:
        async with Session(FakeModel(["said"], latency=5)):
            both = await sections([slow, prompt("{input}")], timeout=30).run("x")
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.01)
        return [*both.output, (await slow.run("y", timeout=1)).output]

    assert run_virtual(main()) == ["x", "said", "y"]


def test_a_thread_that_waits_for_a_timer_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time goes on after a while for one that is waiting for it, and for good; one given up does not hold it."""
    monkeypatch.setattr(virtual, "PATIENCE", 0.02)
    released = threading.Event()

    async def main() -> float:
        waiting = asyncio.create_task(asyncio.to_thread(released.wait, 10))
        for _ in range(1000):
            await sleep(1)
        released.set()
        assert await waiting
        given_up = asyncio.create_task(asyncio.to_thread(released.wait, 10))
        given_up.cancel()
        await sleep(60)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtual(main()) == pytest.approx(1060, abs=1)
    assert time.monotonic() - began < 5


def test_threads_that_ask_the_loop_for_something_one_by_one_hold_it_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cost seconds in the world, for time stood still while it waited for a timer: a test of a dozen hung."""
    monkeypatch.setattr(virtual, "PATIENCE", 0.5)
    monkeypatch.setattr(virtual, "AGAIN", 0.01)

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()

        def ask() -> str:
            return asyncio.run_coroutine_threadsafe(asyncio.sleep(60, "slept"), loop).result(30)

        return [await asyncio.to_thread(ask) for _ in range(20)]

    began = time.monotonic()
    assert run_virtual(main()) == ["slept"] * 20
    assert time.monotonic() - began < 5


def test_chance_is_seeded() -> None:
    """The same seed gives the same draws; another gives others; the block's end restores the system's."""

    async def draw() -> float:
        return chance().random()

    assert run_virtual(draw()) == run_virtual(draw()) == run_virtual(draw(), seed=0)
    assert run_virtual(draw(), seed=1) != run_virtual(draw(), seed=2)
    assert chance().random() != chance().random()


def test_a_loop_of_its_own_is_closed_after() -> None:
    """`run_virtual` raises what the work raises, and leaves no loop open (an open one would warn, and fail)."""

    async def fail() -> None:
        raise LookupError("so it goes")

    with pytest.raises(LookupError):
        run_virtual(fail())
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_the_loop_can_be_had_by_itself() -> None:
    """`VirtualLoop` is a loop like any other, for a test runner's own use."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(sleep(60))
        assert runner.get_loop().time() == pytest.approx(60, abs=1e-3)


def test_time_stands_still_while_a_thread_works_for_the_loop() -> None:
    """A timer does not come before what a busy thread brings, however long that takes in the world."""

    class Busy:
        working = True

        def busy(self) -> bool:
            return self.working

    worker = Busy()
    outside.add(worker)

    def work(loop: asyncio.AbstractEventLoop, done: asyncio.Future[str]) -> None:
        time.sleep(0.02)
        loop.call_soon_threadsafe(done.set_result, "written")
        worker.working = False

    threads: list[threading.Thread] = []

    async def main() -> str:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()
        threads.append(threading.Thread(target=work, args=(loop, done)))
        threads[0].start()
        async with asyncio.timeout(600):
            found = await done
        assert loop.time() < 1
        return found

    assert run_virtual(main()) == "written"
    threads[0].join()


def test_what_a_thread_told_before_it_rested_comes_before_a_timer() -> None:
    """A thread may end between two looks of the loop; what it brought is not overtaken by a jump in time."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        class Ending:
            def busy(self) -> bool:
                if not done.done():
                    loop.call_soon_threadsafe(done.set_result, None)
                return False

        worker = Ending()
        outside.add(worker)
        async with asyncio.timeout(600):
            await done
        return loop.time()

    assert run_virtual(main()) < 1
