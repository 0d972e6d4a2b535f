"""gather: like asyncio.gather, but nothing is orphaned."""

import asyncio
import gc
from typing import Any

import pytest

from fanfold import gather, prompt, sections, step, vote
from fanfold.core.clock import now, sleep
from fanfold.errors import AccessError, BranchError, ConnectError, UsageError
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.steps.running import failed, ran, taking

ASK = prompt("{input}")


async def giving(value: Any, seconds: float = 0.0) -> Any:
    await sleep(seconds)
    if isinstance(value, BaseException):
        raise value
    return value


def gathered(*awaitables: Any) -> Any:
    async def main() -> Any:
        async with no_leaks():
            return await gather(*(make() for make in awaitables))

    return run_virtual(main())


def test_values_come_in_the_order_of_the_awaitables() -> None:
    """Whoever ends first: the tuple has each value in its place."""
    assert gathered(lambda: giving("slow", 2), lambda: giving("fast", 1), lambda: giving(3)) == ("slow", "fast", 3)


def test_awaitables_run_together() -> None:
    """Three of a second each take a second."""

    async def main() -> float:
        await gather(sleep(1), sleep(1), sleep(1))
        return now()

    assert run_virtual(main()) == pytest.approx(1, abs=1e-3)


def test_of_nothing_it_gives_nothing() -> None:
    """No awaitables, no values."""
    assert gathered() == ()


def test_the_first_error_is_raised_as_it_is_and_cancels_the_others() -> None:
    """The caller sees the very error, and by then the siblings have cleaned up."""
    gone: list[str] = []
    broken = LookupError("mine")

    async def tidy() -> None:
        try:
            await sleep(60)
        finally:
            await sleep(0.5)
            gone.append("gone")

    async def main() -> float:
        async with no_leaks():
            with pytest.raises(LookupError) as caught:
                await gather(giving(broken, 1), tidy(), giving(ValueError("later"), 1.1))
            assert caught.value is broken
            assert gone == ["gone"]
            return now()

    assert run_virtual(main()) < 2


def test_an_error_that_is_a_branchs_failure_stays_one() -> None:
    """A pattern's own `BranchError` comes out with its finished values, not the error under it."""

    @step
    async def work(given: str) -> Any:
        return await gather(sections({"a": str, "b": taking(1, ValueError("b"))})(given), ASK(given))

    error = failed(work, BranchError)
    assert (error.branch, error.finished) == ("b", {"a": "q"})


def test_cancelling_the_caller_cancels_all() -> None:
    """Cancelled or timed out from outside, nothing of it goes on."""

    async def main() -> None:
        async with no_leaks():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await gather(sleep(60), gather(sleep(60), sleep(60)))

    run_virtual(main())


def test_awaitables_that_never_began_are_closed() -> None:
    """A coroutine that was cancelled before its first step does not warn that it was never awaited."""

    async def main() -> None:
        task = asyncio.create_task(gather(giving(1), giving(2)))  # its coroutines are never awaited
        await sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())
    with pytest.raises(LookupError):
        gathered(lambda: giving(LookupError()), lambda: giving(1))
    gc.collect()


def test_any_awaitable_will_do() -> None:
    """Tasks and futures are awaited as well; a cancelled gather cancels them."""

    async def main() -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_result("future")
        task = asyncio.create_task(giving("task", 1))
        values = await gather(future, task, giving("coroutine"))
        left = asyncio.create_task(sleep(60))
        with pytest.raises(LookupError):
            await gather(left, giving(LookupError(), 1))
        assert left.cancelled()
        return values

    assert run_virtual(main()) == ("future", "task", "coroutine")


def test_steps_in_a_gather_belong_to_the_run_around_it() -> None:
    """Their calls, their cost and their places are the run's."""

    @step
    async def pair(given: str) -> tuple[str, str]:
        return await gather(ASK(given), vote(ASK, n=3)(given))

    run = ran(pair)
    assert run.output == ("q", "q")
    assert {call.place for call in run.calls} >= {"pair/0/prompt", "pair/1/vote/0"}


def test_outside_of_a_run_each_step_is_a_run_of_its_own() -> None:
    """Gathered at top level, two prompts use the session entered around them."""

    async def main() -> Any:
        from fanfold import Session

        async with Session(FakeModel(["x"])) as session:
            values = await gather(ASK("a"), ASK("b"))
            assert session.statistics().calls == 2
            return values

    assert run_virtual(main()) == ("x", "x")


def test_a_fatal_error_is_raised_as_it_is() -> None:
    """A refused key ends a gather like anything, as itself."""

    @step
    async def work(given: str) -> Any:
        return await gather(ASK(given), taking(60)(given))

    assert failed(work, AccessError, model=FakeModel(lambda _: AccessError("wrong key"))).run.wall < 1
    assert failed(work, ConnectError, model=FakeModel(lambda _: ConnectError("gone"))).place == "work/0/prompt"


def test_the_same_awaitable_twice_is_an_error() -> None:
    """A coroutine can be awaited once; the second time says so, and nothing hangs."""

    async def main() -> None:
        one = giving(1, 1)
        with pytest.raises(RuntimeError, match="already"):
            await gather(one, one)

    run_virtual(main())


def test_an_error_keeps_its_own_cause() -> None:
    """What a branch raised says why, as it does where it is awaited alone."""

    async def fails(_: str) -> str:
        raise LookupError("the reason")

    @step
    async def asks(given: str) -> str:
        await gather(sections({"bad": fails})(given))
        return "never"

    error = failed(asks, BranchError)
    assert error.branch == "bad"
    assert isinstance(error.__cause__, LookupError)


def test_a_step_that_was_not_called_is_named() -> None:
    """What cannot be awaited is the program's mistake; the others are closed, so that none of them warns."""
    not_called: Any = ASK

    async def main() -> None:
        with pytest.raises(UsageError, match=r"call a step with its input"):
            await gather(sleep(1), not_called)

    run_virtual(main())
