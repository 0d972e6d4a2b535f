"""Total timeouts: what they cover, whose they are, and what they leave."""

import asyncio
from typing import Any

import pytest

from fanfold import Session, chain, gather, prompt, sections, step, vote
from fanfold.core.clock import now, sleep
from fanfold.core.timeouts import check_seconds, within
from fanfold.errors import BranchError, FanfoldError, StepTimeout, UsageError
from fanfold.testing import FakeModel, no_leaks, run_virtual

ASK = prompt("{input}")


def timed_out(work: Any) -> tuple[StepTimeout, float]:
    """The timeout that `work` ends with, and when."""

    async def main() -> tuple[StepTimeout, float]:
        async with no_leaks():
            with pytest.raises(StepTimeout) as caught:
                await work
            return caught.value, round(now(), 3)

    return run_virtual(main())


async def block(seconds: float | None, work: float) -> str:
    with within(seconds, "the work"):
        await sleep(work)
    return "done"


def test_a_block_that_takes_too_long_is_cancelled() -> None:
    """After the seconds given the block ends with a `StepTimeout` that names it and carries the seconds."""
    error, when = timed_out(block(1.5, 9))
    assert when == 1.5
    assert str(error) == "the work took longer than its timeout of 1.5 s"
    assert error.seconds == 1.5
    assert isinstance(error, TimeoutError)
    assert isinstance(error, FanfoldError)


def test_a_block_in_time_goes_on() -> None:
    """A block that ends within its time, or has none, gives what it gives."""
    assert run_virtual(block(2, 1)) == "done"
    assert run_virtual(block(None, 1e9)) == "done"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_is_a_positive_number(seconds: Any) -> None:
    """Zero, less, and no number are refused wherever a timeout is taken, in the same words."""
    with pytest.raises(UsageError, match="positive number of seconds, or None"):
        check_seconds(seconds)
    makes = [
        lambda: prompt("{input}", timeout=seconds),
        lambda: sections({"a": ASK}, timeout=seconds),
        lambda: vote(ASK, n=3, timeout=seconds),
        lambda: chain(ASK, timeout=seconds),
        lambda: Session(timeout=seconds),
        lambda: within(seconds, "it"),
        lambda: asyncio.run(ASK.run("x", session=Session(FakeModel()), timeout=seconds)),
    ]
    for make in makes:
        with pytest.raises(UsageError, match="positive number of seconds"):
            make()


def test_somebody_elses_timeout_passes_as_it_is() -> None:
    """A `TimeoutError` raised inside, while there is time left, is not taken for the block's own."""

    async def work() -> None:
        with within(5, "the work"):
            raise TimeoutError("the database")

    with pytest.raises(TimeoutError, match="the database") as caught:
        run_virtual(work())
    assert not isinstance(caught.value, StepTimeout)


def test_the_innermost_timeout_that_is_over_is_named() -> None:
    """Of two timeouts the one that ended first is raised."""

    async def work(outer: float, inner: float) -> None:
        with within(outer, "the outer"), within(inner, "the inner"):
            await sleep(9)

    assert str(timed_out(work(2, 1))[0]).startswith("the inner")
    assert str(timed_out(work(1, 2))[0]).startswith("the outer")


def test_a_cancellation_is_no_timeout() -> None:
    """Cancelled before its time is over, a block ends with `CancelledError`."""

    async def main() -> None:
        task = asyncio.create_task(block(5, 9))
        await sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())


def test_a_block_cancelled_in_the_tick_of_its_timeout_is_one_of_both() -> None:
    """Cancelled and timed out at once it ends with either error, never with a value, and leaves nothing."""
    seen = set()
    for offset in range(-4, 5):

        async def main(at: float = 1 + offset * 5e-7) -> str:
            async with no_leaks():
                task = asyncio.create_task(block(1, 9))
                await sleep(at)
                task.cancel()
                (came,) = await asyncio.gather(task, return_exceptions=True)
                return type(came).__name__

        seen.add(run_virtual(main()))
    assert seen == {"StepTimeout", "CancelledError"}


# -- steps --------------------------------------------------------------------------------------------------------


def with_model(step_: Any, *, latency: float = 1.0, **options: Any) -> Any:
    async def main() -> Any:
        async with Session(FakeModel(["x"], latency=latency)) as session:
            return await step_.run("q", session=session, **options)

    return main()


def test_a_chains_timeout_covers_all_of_its_links() -> None:
    """Three links of a second each do not fit into 2.5 seconds; the error has the calls of those that were made."""
    error, when = timed_out(with_model(chain(ASK, ASK, ASK, name="line", timeout=2.5)))
    assert when == 2.5
    assert str(error).startswith("chain 'line' took longer")
    assert [call.state for call in error.run.calls] == ["ok", "ok", "cancelled"]
    assert error.cost == error.run.cost


def test_a_runs_timeout_covers_the_run() -> None:
    """`run(timeout=)` covers everything under it, and the error carries the run and what it cost."""
    error, when = timed_out(with_model(sections({"a": ASK, "b": chain(ASK, ASK)}), timeout=1.5))
    assert when == 1.5
    assert str(error).startswith("the run of 'sections'")
    assert sorted(call.state for call in error.run.calls) == ["cancelled", "ok", "ok"]


def test_a_part_of_a_run_has_a_timeout_too() -> None:
    """`run(timeout=)` inside a step ends that part alone, and its error carries that part."""

    @step
    async def patient(given: str) -> tuple[int, str]:
        await ASK(given)
        with pytest.raises(StepTimeout) as caught:
            await chain(ASK, ASK).run(given, timeout=1.5)
        return len(caught.value.run.calls), await ASK(given)

    run = run_virtual(with_model(patient))
    assert run.output == (2, "x")
    assert len(run.calls) == 4


def test_an_inherited_timeout_gives_no_partial_result() -> None:
    """Only a fan's own timeout counts what is there; one from above cancels it."""
    jury = vote([ASK, chain(ASK, ASK)], timeout=1.5, stop=None)
    assert run_virtual(with_model(jury)).output == "x"
    error, _ = timed_out(with_model(chain(vote([ASK, chain(ASK, ASK)], stop=None), timeout=1.5)))
    assert str(error).startswith("chain")


def test_a_calls_timeout_is_the_sessions_unless_the_prompt_has_one() -> None:
    """Each call has the session's timeout, or its prompt's, longer or shorter."""

    async def main(given: float | None, own: float | None) -> float:
        async with Session(FakeModel(["x"], latency=3), timeout=given) as session:
            try:
                await prompt("{input}", timeout=own).run("q", session=session)
            except StepTimeout as error:
                return error.seconds if "a call to fake:" in str(error) else -1
        return 0.0

    cases = {(2, None): 2, (None, 2): 2, (2, 1): 1, (2, 4): 0, (None, None): 0, (4, None): 0}
    assert {case: run_virtual(main(*case)) for case in cases} == cases


def test_a_calls_timeout_starts_with_its_slot() -> None:
    """Three calls of a second each through one slot all keep a timeout of 1.5 s: waiting for the slot is free."""

    async def main() -> Any:
        async with Session(FakeModel(["x"], latency=1), max_in_flight=1) as session:
            brief = prompt("{input}", timeout=1.5)
            return await sections({"a": brief, "b": brief, "c": brief}).run("q", session=session)

    run = run_virtual(main())
    assert run.output == {"a": "x", "b": "x", "c": "x"}
    assert run.wall == pytest.approx(3, abs=1e-3)
    assert [call.state for call in run.calls] == ["ok"] * 3


def test_a_call_that_timed_out_is_an_error_of_its_branch() -> None:
    """A prompt's timeout fails its branch and ends its call with the reason; the slot is free again."""

    async def main() -> tuple[BranchError, int]:
        async with Session(FakeModel(["x"], latency=9), max_in_flight=1) as session:
            with pytest.raises(BranchError) as caught:
                await sections({"a": prompt("{input}", timeout=1)}).run("q", session=session)
            return caught.value, session.statistics().slots.in_use

    error, in_use = run_virtual(main())
    assert isinstance(error.__cause__, StepTimeout)
    (call,) = error.run.calls
    assert call.state == "error"
    assert "took longer than its timeout of 1 s" in call.error
    assert in_use == 0


def test_a_timeout_in_a_gather_cancels_the_others() -> None:
    """A timed-out awaitable ends a gather like any error, with its siblings gone."""

    async def main() -> None:
        async with no_leaks():
            with pytest.raises(StepTimeout):
                await gather(block(1, 9), block(None, 60))
            assert now() < 2

    run_virtual(main())
