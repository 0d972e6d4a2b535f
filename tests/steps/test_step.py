"""Steps of one's own: functions as steps, runs inside runs, and what errors carry."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from fanfold import Session, Step, chain, gather, map_over, prompt, sections, step, vote
from fanfold.core.clock import now, sleep
from fanfold.core.records import Event
from fanfold.errors import BranchError, ConnectError, FanfoldError, ParseError, StepTimeout, UsageError
from fanfold.models.prices import FlatRate
from fanfold.runs.run import Run
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.steps.running import Asked, echo, failed, ran, taking

ASK = prompt("{input}")


# -- functions ----------------------------------------------------------------------------------------------------


def test_an_async_function_is_a_step() -> None:
    """`@step` makes a named async callable that keeps its docstring."""

    @step
    async def shout(given: str) -> str:
        """Louder."""
        return (await ASK(given)).upper()

    assert (repr(shout), shout.name, shout.__doc__) == ("<function 'shout'>", "shout", "Louder.")
    run = ran(shout, "hey")
    assert (run.output, run.name, run.calls[0].place) == ("HEY", "shout", "shout/prompt")


def test_a_plain_function_runs_in_a_thread() -> None:
    """It may block without holding up the loop; `thread=False` runs it in place."""
    threads: dict[str, int] = {}

    def work(name: str) -> Callable[[str], str]:
        def inner(given: str) -> str:
            threads[name] = threading.get_ident()
            return given

        return inner

    async def main() -> None:
        await step(work("default"))("x")
        await step(thread=False)(work("in place"))("x")
        await step(thread=True)(work("thread"))("x")
        await chain(work("bare"), str)("x")
        threads["loop"] = threading.get_ident()

    asyncio.run(main())
    assert threads["in place"] == threads["bare"] == threads["loop"]
    assert threads["loop"] not in {threads["default"], threads["thread"]}


def test_a_step_can_be_named() -> None:
    """`name=` names it; a callable object without a name is a function."""

    class Doubling:
        def __call__(self, given: str) -> str:
            return given * 2

    assert step(name="mine")(str.upper).name == "mine"
    assert step(Doubling()).name == "function"
    assert ran(chain(Doubling(), str)).output == "qq"
    assert ran(chain(partial(int, base=2), str), "11").output == "3"


def test_a_function_of_other_than_one_input_is_no_step() -> None:
    """None, two, or a required keyword: the error says to put several values into one."""
    for wrong in (lambda: 1, lambda a, b: 1, lambda *, a: 1, lambda a, *, b: 1):
        with pytest.raises(UsageError, match="a step takes one input"):
            step(wrong)


def test_a_function_that_yields_is_no_step() -> None:
    """A step gives one value, and a generator is none: it can be read once, and a prompt would show its name."""

    def words(text: str) -> Iterator[str]:
        yield from text.split()

    async def later(text: str) -> AsyncIterator[str]:
        yield text

    for function in (words, later):
        with pytest.raises(UsageError, match=r"\(\) yields, and a step gives one value: let it return that, as a list"):
            step(function)


def test_a_function_that_takes_one_input_is_a_step() -> None:
    """Defaults, stars and keywords beside the one input do not matter."""
    for fine in (lambda a: a, lambda a, b=1: a, lambda *a: a[0], lambda a, **k: a, lambda a=1: a, len):
        assert isinstance(step(fine), Step)


def test_a_step_without_work_is_an_error() -> None:
    """The base class does nothing by itself."""
    with pytest.raises(NotImplementedError):
        ran(Step("bare"))


def test_a_step_of_ones_own_overrides_execute() -> None:
    """A subclass of `Step` is a pattern: named, timed, and part of runs."""

    class Twice(Step[str, str]):
        kind = "twice"

        async def execute(self, given: str) -> str:
            return await ASK(given) + await ASK(given)

    run = ran(chain(Twice("two", timeout=5), str.upper))
    assert run.output == "QQ"
    assert {call.place for call in run.calls} == {"chain/two/prompt"}
    assert failed(Twice("two", timeout=1), StepTimeout, model=FakeModel(latency=0.7)).seconds == 1


# -- runs inside runs ---------------------------------------------------------------------------------------------


def test_an_awaited_step_inside_a_step_is_part_of_its_run() -> None:
    """Its calls, events and cost are the outer run's."""

    @step
    async def outer(given: str) -> str:
        return await vote(ASK, n=3, stop=None)(given)

    run = ran(outer)
    assert len(run.calls) == 3
    assert [event.kind for event in run.events].count("run.started") == 1


def test_a_run_inside_a_step_gives_its_own_part() -> None:
    """`await step.run()` in a step shares the run, and gives the record of that step alone, detail included."""
    parts: list[Run[Any]] = []

    @step
    async def outer(given: str) -> str:
        await ASK(given)
        parts.append(await vote(ASK, n=3, stop=None, name="jury").run(given))
        parts.append(await vote(ASK, n=2, stop=None, name="jury").run(given))
        return await ASK(given)

    whole = ran(outer)
    assert [len(part.calls) for part in parts] == [3, 2]
    assert [part.detail.n for part in parts] == [3, 2]
    assert {part.name for part in parts} == {"jury"}
    assert len(whole.calls) == 7
    assert all(set(part.calls) < set(whole.calls) for part in parts)


def test_parts_that_run_side_by_side_are_told_apart() -> None:
    """Two runs in one gather each have their own calls only."""

    @step
    async def outer(given: str) -> list[int]:
        runs = await gather(vote(ASK, n=3, stop=None).run(given), vote(ASK, n=5, stop=None).run(given))
        return [len(run.calls) for run in runs]

    assert ran(outer, model=FakeModel(latency=1)).output == [3, 5]


def test_a_run_in_another_session_is_another_run() -> None:
    """Given a session of its own, a run inside a step is not part of the outer one."""

    @step
    async def outer(given: str) -> str:
        async with Session(FakeModel(["other"])) as other:
            run = await ASK.run(given, session=other)
            assert len(run.calls) == 1
            return run.output + await ASK(given)

    run = ran(outer)
    assert run.output == "otherq"
    assert len(run.calls) == 1


def test_many_runs_of_one_step_do_not_mix() -> None:
    """A hundred runs at once each have their own events, numbered from 0."""

    async def main() -> list[Run[str]]:
        async with Session(FakeModel(echo, latency=0.5)) as session:
            return await asyncio.gather(*(ASK.run(str(at), session=session) for at in range(100)))

    runs = run_virtual(main())
    assert [run.output for run in runs] == [str(at) for at in range(100)]
    assert all([event.number for event in run.events] == list(range(len(run.events))) for run in runs)
    assert all(len(run.calls) == 1 for run in runs)


# -- errors -------------------------------------------------------------------------------------------------------


def priced(**options: Any) -> Asked:
    model = Asked(echo, **options)
    model.given_rate = FlatRate(1000.0, 1000.0)
    return model


def failing(error: Exception) -> Any:
    """A step that calls, then fails."""

    @step
    async def fail(given: str) -> str:
        await ASK(given)
        raise error

    return fail


def test_an_error_carries_the_run_it_escaped() -> None:
    """A `FanfoldError` has its run: name, calls, usage, cost, events, and itself as the error."""
    error = failed(failing(ParseError("no", text="?")), ParseError, model=priced())
    assert error.run.name == "fail"
    assert error.run.error is error
    assert error.run.output is None
    assert len(error.run.calls) == 1
    assert error.run.usage.total_tokens > 0
    assert error.cost == error.run.cost
    assert error.cost.usd > 0
    assert error.run.events[-1].kind == "run.ended"


def test_a_foreign_error_says_what_was_spent() -> None:
    """An error that is not ours gets a note with calls and cost; without calls it stays as it is."""
    with pytest.raises(ZeroDivisionError) as caught:
        ran(failing(ZeroDivisionError("oh")), "q", priced())
    (note,) = caught.value.__notes__
    assert note.startswith("fanfold: before this, the run made 1 call, ")
    with pytest.raises(ZeroDivisionError) as caught:
        ran(taking(0, ZeroDivisionError("oh")))
    assert not hasattr(caught.value, "__notes__")


def test_an_error_that_was_caught_carries_its_part() -> None:
    """Inside a step an error of `run()` has that part's calls; escaping, it has the whole run's."""
    seen: list[Any] = []

    @step
    async def outer(given: str) -> str:
        await ASK(given)
        try:
            return await failing(ParseError("no", text="?")).run(given)
        except FanfoldError as error:
            seen.append(len(error.run.calls))
            raise

    assert len(failed(outer, ParseError).run.calls) == 2
    assert seen == [1]


def test_a_timeout_carries_what_was_finished_and_its_cost() -> None:
    """Of a run that took too long the error has every call, the cancelled one with a range of cost."""
    capped = prompt("{input}", max_tokens=5)
    error = failed(chain(capped, capped), StepTimeout, model=priced(latency=1), timeout=1.5)
    assert [call.state for call in error.run.calls] == ["ok", "cancelled"]
    assert error.cost.at_least > 0
    assert error.cost.at_most > error.cost.at_least


def test_a_cancelled_run_still_says_how_it_ended() -> None:
    """A cancellation reaches the listeners as the run's end, with every call in a final state."""
    events: list[Event] = []

    async def main() -> None:
        async with Session(FakeModel(latency=9), on_event=events.append) as session, no_leaks(session):
            run = asyncio.create_task(sections({"a": ASK, "b": ASK}).run("q", session=session))
            await sleep(1)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    run_virtual(main())
    assert events[-1].kind == "run.ended"
    assert isinstance(events[-1].error, asyncio.CancelledError)
    assert [event.call.state for event in events if event.kind == "call.ended"] == ["cancelled"] * 2


def test_a_branch_that_cancels_itself_is_a_failure_with_its_run() -> None:
    """A step that raises `CancelledError` on its own fails its branch; the run's calls are in the error."""

    async def give_up(given: str) -> None:
        await ASK(given)
        raise asyncio.CancelledError

    error = failed(sections({"a": give_up, "b": ASK}), BranchError)
    assert error.branch == "a"
    assert isinstance(error.__cause__, asyncio.CancelledError)
    assert len(error.run.calls) == 2


def test_events_tell_of_every_step() -> None:
    """Each step that runs inside another has its start and its end, with its value or its error."""

    @step
    async def outer(given: str) -> str:
        with pytest.raises(ConnectError):
            await chain(str, taking(1, ConnectError("gone"), name="fails"), name="inner")(given)
        return await ASK(given)

    run = ran(outer)
    told = [(event.kind, event.place.partition("/")[2]) for event in run.events if event.kind.startswith("step.")]
    assert told == [
        ("step.started", "inner"),
        ("step.started", "inner/str"),
        ("step.ended", "inner/str"),
        ("step.started", "inner/fails"),
        ("step.ended", "inner/fails"),
        ("step.ended", "inner"),
        ("step.started", "prompt"),
        ("step.ended", "prompt"),
    ]
    ended = {event.place: event for event in run.events if event.kind == "step.ended"}
    assert isinstance(ended["outer/inner/fails"].error, ConnectError)
    assert ended["outer/prompt"].value == "q"


def test_a_thread_that_is_cancelled_is_left_to_itself() -> None:
    """Cancelling a plain function's step returns at once; its thread runs on, as documented."""
    released = threading.Event()

    @step
    def block(given: str) -> bool:
        return released.wait(5)

    async def main() -> float:
        began = now()
        with pytest.raises(StepTimeout):
            await block.run("x", timeout=0.02)
        released.set()
        return now() - began

    assert asyncio.run(main()) < 2


def test_a_stop_iteration_in_a_thread_is_an_error() -> None:
    """`next()` of nothing in a function that runs in a thread: an error, and not a wait without an end."""

    @step
    def first(_: str) -> str:
        return next(iter(()))

    error = failed(first, RuntimeError)
    assert str(error) == "first raised StopIteration"
    assert isinstance(error.__cause__, StopIteration)


def test_parts_that_run_at_the_same_time_have_records_of_their_own() -> None:
    """Two runs of one step at once inside another: each counts its own calls, and has the step's name."""

    @step
    async def both(_: str) -> list[Run[str]]:
        return list(await asyncio.gather(ASK.run("a"), ASK.run("b"), ASK.run("c")))

    runs = ran(both, model=FakeModel(echo, latency=1.0)).output
    assert [run.output for run in runs] == ["a", "b", "c"]
    assert [len(run.calls) for run in runs] == [1, 1, 1]
    assert {run.name for run in runs} == {"prompt"}


def test_a_part_that_ends_gives_its_place_to_the_next() -> None:
    """Of parts that run at once each has the lowest number that is free, as long as it runs."""

    @step
    async def several(_: str) -> list[str]:
        first, second = asyncio.create_task(ASK.run("a")), asyncio.create_task(ASK.run("b"))
        await first
        await second
        third = asyncio.create_task(ASK.run("c"))
        runs = [await first, await second, await third, *await asyncio.gather(ASK.run("d"), ASK.run("e"))]
        return [run.calls[0].place for run in runs]

    places = ran(several, model=FakeModel(echo, latency=1.0)).output
    assert [place.removeprefix("several/") for place in places] == [
        "prompt",
        "prompt~1",
        "prompt",
        "prompt",
        "prompt~1",
    ]


@pytest.mark.parametrize("apart", [False, True], ids=["in one step", "in a branch each"])
def test_a_part_costs_the_same_however_many_run_beside_it(*, apart: bool) -> None:
    """A run inside a run takes its own events as they come; it searched those of all, and they stood still for it."""

    @step
    async def one(text: str) -> str:
        return (await ASK.run(text)).output

    @step
    async def all_of_them(texts: list[str]) -> list[Any]:
        return list(await gather(*(ASK.run(text) for text in texts)))

    many: Step[list[str], Any] = map_over(one) if apart else all_of_them
    made = 0

    def count(_: Any, kind: str, __: Any) -> None:
        nonlocal made
        made += kind in {"call", "c_call"}

    def calls(parts: int) -> float:
        nonlocal made
        made, before = 0, sys.getprofile()
        sys.setprofile(count)
        try:
            ran(many, [str(number) for number in range(parts)], model=FakeModel(echo, latency=1.0))
        finally:
            sys.setprofile(before)
        return made / parts

    calls(10)
    assert calls(400) < 1.5 * calls(50)
