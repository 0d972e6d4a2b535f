"""Starting a step now and awaiting it later."""

import asyncio
from typing import Any

import pytest

from fanfold import gather, guard, sections, step
from fanfold.core.clock import now, sleep
from fanfold.errors import LoopError
from tests.patterns.hearing import MARK, ask, heard, saying
from tests.steps.running import failed, ran, taking

ONE = ask("one")
TWO = ask("two")


def model() -> Any:
    return saying({"one": (1.0, "1"), "two": (1.0, "2"), "slow": (9.0, "late")})


def test_what_is_started_runs_at_once_and_is_awaited_later() -> None:
    """Two steps of a second each, started together, take one second; a handle can be awaited twice."""

    @step
    async def both(given: str) -> list[str]:
        first, second = ONE.start(given), TWO.start(given)
        assert not first.done()
        await sleep(0.5)
        return [await second, await first, await first]

    run = ran(both, model=model())
    assert run.output == ["2", "1", "1"]
    assert run.wall == pytest.approx(1.0, abs=1e-2)
    assert sorted(call.place for call in run.calls) == ["both/one", "both/two"]


def test_handles_can_be_gathered_the_same_one_twice() -> None:
    """`gather` takes handles, and one handle as often as one likes."""

    @step
    async def same(given: str) -> Any:
        handle = ONE.start(given)
        return await gather(handle, handle, TWO(given))

    assert ran(same, model=model()).output == ("1", "1", "2")


def test_a_step_returns_when_what_it_started_is_done() -> None:
    """A handle nobody awaits is waited for at the end of its step."""

    @step
    async def leaves(given: str) -> str:
        ONE.start(given)
        return "early"

    run = ran(leaves, model=model())
    assert run.output == "early"
    assert run.wall == pytest.approx(1.0, abs=1e-2)
    assert [call.state for call in run.calls] == ["ok"]


def test_an_error_that_nobody_awaited_is_raised_by_the_step_around() -> None:
    """It comes at once at the step's end, and what else was started is cancelled."""

    @step
    async def leaves(given: str) -> str:
        ask("slow").start(given)
        taking(0.5, ValueError("unseen")).start(given)
        return "fine"

    error = failed(leaves, ValueError, model=model())
    assert str(error) == "unseen"


def test_an_error_that_was_awaited_and_handled_is_over() -> None:
    """Who awaits a handle has its error; nothing raises it again, and the others are waited for."""

    @step
    async def handles(given: str) -> str:
        broken, other = taking(0.5, ValueError("seen")).start(given), ONE.start(given)
        try:
            await broken
        except ValueError as error:
            return f"{error} and {await other}"
        return "no"

    assert ran(handles, model=model()).output == "seen and 1"


def test_an_error_handled_by_a_sibling_cancels_nobody() -> None:
    """A started step that awaits another's handle may handle its error after the step around has returned."""

    @step
    async def around(given: str) -> list[str]:
        said: list[str] = []
        broken = taking(0.5, ValueError("seen")).start(given)

        @step
        async def watcher(_: str) -> None:
            try:
                await broken
            except ValueError as error:
                await sleep(1)
                said.append(str(error))

        watcher.start(given)
        await sleep(0.1)
        return said

    run = ran(around)
    assert run.output == ["seen"]
    assert run.wall == pytest.approx(1.5, abs=1e-2)


def test_a_step_that_fails_cancels_what_it_started() -> None:
    """Nothing it started goes on, and its own error is raised."""

    @step
    async def fails(given: str) -> str:
        ask("slow").start(given)
        await sleep(0.1)
        raise ValueError("mine")

    fake = model()
    error = failed(fails, ValueError, model=fake)
    assert str(error) == "mine"
    assert len(fake.requests) == 1


def test_cancelling_the_step_around_cancels_what_it_started() -> None:
    """Where the step is a branch that loses, what it started is cancelled with it."""
    gone: list[float] = []

    @step
    async def inner(_: str) -> None:
        try:
            await sleep(9)
        finally:
            gone.append(now())

    @step
    async def outer(given: str) -> None:
        inner.start(given)
        await sleep(9)

    failed(sections([outer, taking(0.5, ValueError("end"))]), Exception)
    assert gone == [pytest.approx(0.5, abs=1e-2)]


def test_giving_up_on_a_handle_leaves_it_running() -> None:
    """A wait with a time limit ends the wait, not the step: it can be awaited again."""

    @step
    async def patient(given: str) -> str:
        handle = ONE.start(given)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(_value(handle)), 0.5)
        return await handle

    assert ran(patient, model=model()).output == "1"


async def _value(handle: Any) -> Any:
    return await handle


def test_outside_a_step_it_cannot_be_started() -> None:
    """Without a step around, and in a thread, it is a `LoopError`."""
    with pytest.raises(LoopError, match="belongs to a step"):
        ONE.start("q")

    @step
    def blocking(given: str) -> Any:
        return ONE.start(given)

    failed(blocking, LoopError)


def test_the_same_step_started_twice_has_two_places() -> None:
    """Names that repeat are told apart, and the calls are two samples."""

    @step
    async def twice(given: str) -> Any:
        first, second = ONE.start(given), ONE.start(given)
        assert (first.name, second.name) == ("one", "one~1")
        assert "running" in repr(first)
        return [await first, await second]

    run = ran(twice, model=model())
    assert sorted(call.place for call in run.calls) == ["twice/one", "twice/one~1"]
    assert len({(call.draw.place, call.draw.nth) for call in run.calls}) == 2


def test_steps_started_again_and_again_have_places_of_their_own() -> None:
    """Whatever they are called, and in whatever order they are started."""

    @step(name="a~b")
    async def odd(given: str) -> str:
        return await ONE(given)

    @step
    async def several(given: str) -> Any:
        handles = [each.start(given) for each in (odd, ONE, odd, ONE, odd)]
        assert [handle.name for handle in handles] == ["a~b", "one", "a~b~1", "one~1", "a~b~2"]
        return [await handle for handle in handles]

    run = ran(several, model=model())
    assert len({call.place for call in run.calls}) == 5


def test_what_a_gathered_coroutine_starts_belongs_to_the_step_around() -> None:
    """A coroutine inside gather() is no step: what it starts outlives it, and not the step around both."""

    @step
    async def around(given: str) -> Any:
        async def helper() -> Any:
            return ONE.start(given)

        (handle,) = await gather(helper())
        assert not handle.done()
        return await handle

    run = ran(around, model=model())
    assert run.output == "1"
    assert [call.place for call in run.calls] == ["around/one"]


def test_what_a_guarded_step_starts_is_held_back_with_it() -> None:
    """A started step's value, text and error stay inside with the answer that started it."""

    @step
    async def answer(given: str) -> str:
        handle = ask("secret").start(given)
        broken = taking(0.1, ValueError(MARK)).start(given)
        with pytest.raises(ValueError, match=MARK):
            await broken
        return await handle

    fake = saying({"secret": (0.1, MARK)})
    found = heard(guard(answer, {"late": taking(1.0, outcome=True)}), "events", fake)
    assert found.run.detail.tripped == "late"
    assert MARK not in found.everything()


def test_what_is_started_shows_in_the_updates() -> None:
    """Each ends with an update of its own, when it is there."""

    @step
    async def both(given: str) -> str:
        first, second = taking(0.2, "a", name="first").start(given), taking(0.1, "b", name="second").start(given)
        return await first + await second

    assert [item for _, item in heard(both, "updates", model()).items] == [("second", "b"), ("first", "a")]
