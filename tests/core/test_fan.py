"""The fan: it launches as the fold asks, folds in the order of arrival, and nothing outlives it."""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from types import FrameType
from typing import Any

import pytest

from fanfold.core.clock import now, sleep
from fanfold.core.fan import fan
from fanfold.core.records import ENOUGH, WAIT, Arrival, Branch, Go
from fanfold.errors import BillingError, FatalError, UsageError
from fanfold.testing import VirtualLoop, no_leaks, run_virtual
from tests.core.fanning import Diary, Script, branch, ending, fanned, in_run, resisting, said, tidy

# -- folding ------------------------------------------------------------------------------------------------------


def test_arrivals_are_folded_in_the_order_in_which_they_come() -> None:
    """The fold sees the fastest branch first, whatever the order of the branches."""
    fold = Script()
    value, _ = fanned([branch("slow", 3), branch("fast", 1), branch("middle", 2)], fold)
    assert value == ["fast", "middle", "slow"]
    assert fold.why == "all"
    assert fold.flying == [2, 1, 0]


def test_an_arrival_says_what_came_and_when() -> None:
    """An arrival carries its branch's index and name, its value or error, and its times on the loop's clock."""
    fold = Script()
    failed = ValueError("no")
    fanned([branch("a", 1, "x"), branch("b", 2, failed)], fold)
    first, second = fold.arrivals
    assert (first.index, first.name, first.value, first.error) == (0, "a", "x", None)
    assert (second.index, second.name, second.value, second.error) == (1, "b", None, failed)
    assert second.ended - second.started == pytest.approx(2, abs=1e-3)


def test_branches_that_end_together_are_folded_in_the_order_of_their_ends() -> None:
    """Of branches that do not wait at all the first launched is folded first."""
    value, _ = fanned([branch(str(at)) for at in range(20)], Script())
    assert value == [str(at) for at in range(20)]


def test_a_fan_of_no_branches_asks_its_fold_for_the_answer() -> None:
    """Zero branches end at once, with `all`."""
    fold = Script()
    assert fanned([], fold)[0] == []
    assert fold.why == "all"


def test_a_fold_that_never_asks_for_branches_gets_none() -> None:
    """A fold whose begin says wait ends with `all` and no branch started."""
    diary = Diary()
    fold = Script(WAIT)
    fanned([tidy("a", diary)], fold)
    assert (fold.why, diary.lines) == ("all", [])


def test_a_fan_works_outside_of_every_run() -> None:
    """Without a scope around it a fan says nothing and does the same."""
    assert run_virtual(fan([branch("a"), branch("b")], Script())) == ["a", "b"]


# -- enough -------------------------------------------------------------------------------------------------------


def test_enough_cancels_the_rest_and_waits_until_it_is_gone() -> None:
    """When the fan returns, every sibling has finished its clean-up."""
    diary = Diary()
    rest = [tidy(name, diary, cleanup=0.5) for name in "bc"]
    value, state = fanned([branch("a", 1), *rest], Script(on={"a": ENOUGH}))
    assert value == ["a"]
    assert diary.at("b gone") == diary.at("c gone") == pytest.approx(1.5)
    assert said(state, "branch.cancelled") == ["branch.cancelled b", "branch.cancelled c"]


def test_what_lands_after_enough_in_the_same_tick_is_late() -> None:
    """Arrivals that were there when the fold said enough are listed as late, and never folded."""
    door = asyncio.Event()

    def behind(name: str) -> Branch[Any]:
        return Branch(name, door.wait)

    def opening() -> Branch[Any]:
        async def start() -> None:
            await sleep(1)
            door.set()

        return Branch("a", start)

    value, state = fanned([opening(), *map(behind, "bcd")], Script(on={"b": ENOUGH}))
    assert value == ["a", "b"]
    assert ending(state) == {"why": "enough", "folded": [0, 1], "late": [2, 3], "launched": 4, "branches": 4}
    assert said(state, "branch.late") == ["branch.late c", "branch.late d"]
    assert said(state, "branch.cancelled") == []


@pytest.mark.parametrize("outcome", ["an answer", ValueError("an error")])
def test_a_branch_that_ends_in_spite_of_its_cancellation_is_late(outcome: Any) -> None:
    """An answer or an error in reply to a cancellation is late: neither folded nor raised."""
    fold = Script(on={"a": ENOUGH})
    value, state = fanned([branch("a", 1), resisting("b", 0.1, outcome)], fold)
    assert value == ["a"]
    assert ending(state)["late"] == [1]
    assert state.events[-2].error is (outcome if isinstance(outcome, Exception) else None)


def test_no_branch_starts_after_enough() -> None:
    """Enough outweighs more: what the same answer asks for, or staggers, is not launched."""
    diary = Diary()
    branches = [branch("a", 1), *(tidy(name, diary) for name in "bc")]
    fanned(branches, Script(Go(more=1), {"a": Go(more=2, enough=True)}))
    fanned(branches, Script(Go(more=2, enough=True)))
    fanned(branches, Script(on={"a": ENOUGH}), stagger=2)
    assert diary.lines == []


def test_a_branch_cancelled_before_it_began_never_starts() -> None:
    """A branch launched and called off within one tick runs no code, and counts as not launched."""
    diary = Diary()
    branches = [branch("a", 1), branch("b", 1), tidy("c", diary)]
    _, state = fanned(branches, Script(Go(more=2), {"a": Go(more=1), "b": ENOUGH}))
    assert diary.lines == []
    assert ending(state) == {"why": "enough", "folded": [0, 1], "late": [], "launched": 2, "branches": 3}
    assert said(state, "branch.started", "branch.cancelled") == ["branch.started a", "branch.started b"]


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["begin", "add", "end"])
def test_what_a_fold_raises_ends_the_fan_and_is_raised(where: str) -> None:
    """An error of the fold itself comes out as it is, after every branch has gone."""
    diary = Diary()
    broken = RuntimeError("a broken fold")

    def fail(*_: object) -> Any:
        raise broken

    fold = Script(on={"a": ENOUGH})
    setattr(fold, where, fail)
    error, state = fanned([branch("a", 1), tidy("b", diary)], fold)
    assert error is broken
    assert ("b gone" in diary) == (where != "begin")
    assert [event for event in state.events if event.kind == "fan.ended"] == [] or where == "end"


def test_a_fatal_error_ends_the_fan_whatever_the_fold() -> None:
    """A billing error is never given to a fold that would skip it; it cancels the siblings and is raised."""
    diary = Diary()
    fold = Script()
    fatal = BillingError("no credit left")
    error, state = fanned([branch("a", 0.5), branch("b", 1, fatal), tidy("c", diary)], fold)
    assert error is fatal
    assert fold.names == ["a"]
    assert fold.why is None
    assert diary.at("c gone") == 1.0
    assert said(state, "branch.ended", "branch.cancelled") == [
        "branch.ended a",
        "branch.ended b",
        "branch.cancelled c",
    ]


def test_of_two_fatal_errors_the_first_to_arrive_is_raised() -> None:
    """Fatal errors end the fan in the order of arrival."""
    first, second = FatalError("first"), FatalError("second")
    assert fanned([branch("a", 2, second), branch("b", 1, first)], Script())[0] is first


def test_a_fatal_error_in_a_group_is_fatal_too() -> None:
    """What the tasks of an `asyncio.TaskGroup` raise comes as a group; a wrong key in it is not for a fold to skip."""
    group = ExceptionGroup("tasks", [ValueError("x"), ExceptionGroup("more", [BillingError("no credit left")])])
    harmless = ExceptionGroup("tasks", [ValueError("x")])
    fold = Script()
    assert fanned([branch("a", 0.5, harmless), branch("b", 1, group), branch("c", 2)], fold)[0] is group
    assert fold.names == ["a"]


MEANT = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), type("Odd", (BaseException,), {})()]


@pytest.mark.parametrize("meant", MEANT)
def test_what_is_no_exception_ends_the_fan_too(meant: BaseException) -> None:
    """An error that no `except Exception` catches is raised by the fan, which would else wait for ever."""
    diary = Diary()
    fold = Script()
    error, _ = fanned([branch("a", 1, meant), tidy("b", diary)], fold)
    assert error is meant
    assert fold.arrivals == []
    assert "b gone" in diary


def test_a_branch_that_raises_a_cancellation_of_its_own_has_failed() -> None:
    """A `CancelledError` that nobody asked for is an error arrival, and the siblings go on."""

    async def by_itself() -> None:
        asyncio.current_task().cancel()
        await sleep(1)

    fold = Script()
    raised = asyncio.CancelledError("just so")
    fanned([branch("a", 1, raised), Branch("b", by_itself), branch("c", 2)], fold)
    assert fold.names == ["b", "a", "c"]
    assert fold.arrivals[1].error is raised
    assert isinstance(fold.arrivals[0].error, asyncio.CancelledError)
    assert fold.arrivals[2].value == "c"


# -- cancellation -------------------------------------------------------------------------------------------------


def test_cancelling_the_caller_cancels_every_branch() -> None:
    """A native `task.cancel()` ends the fan with `CancelledError` once all branches have cleaned up."""
    diary = Diary()

    async def work() -> None:
        task = asyncio.create_task(fan([tidy(name, diary, cleanup=0.25) for name in "ab"], Script()))
        await sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == pytest.approx(1.25, abs=1e-3)

    in_run(work)
    assert "a gone" in diary
    assert "b gone" in diary


def test_an_outer_timeout_cancels_the_fan() -> None:
    """Someone else's timeout gives no partial result: the fan is cancelled like anything."""
    fold = Script()

    async def work() -> None:
        async with asyncio.timeout(1):
            await fan([branch("a", 0.5), branch("b", 2)], fold)

    error, _ = in_run(work)
    assert isinstance(error, TimeoutError)
    assert (fold.names, fold.why) == (["a"], None)


def test_a_fan_cancelled_before_it_began_starts_nothing() -> None:
    """A task cancelled in its first tick launches no branch that runs."""
    diary = Diary()

    async def work() -> None:
        task = asyncio.create_task(fan([tidy("a", diary)], Script()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_run(work)
    assert diary.lines == []


@pytest.mark.parametrize("times", [1, 2, 7])
def test_repeated_cancellation_while_closing_orphans_nothing(times: int) -> None:
    """However often the caller is cancelled while the fan closes, it waits for every branch, then gives way."""
    diary = Diary()

    async def work() -> None:
        branches = [branch("a", 1), tidy("b", diary, cleanup=3), resisting("c", 4)]
        task = asyncio.create_task(fan(branches, Script(on={"a": ENOUGH})))
        await sleep(1.5)
        for _ in range(times):
            task.cancel()
            await sleep(0.1)
        assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == pytest.approx(5, abs=1e-3)

    error, _ = in_run(work)
    assert error is None
    assert diary.at("b gone") == 4.0


def test_a_branch_that_resists_is_waited_for_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """A branch that swallows its cancellation holds the fan up, and is named in the log once, after a second."""
    with caplog.at_level(logging.WARNING, "fanfold"):
        value, state = fanned([branch("a", 1), resisting("deaf", 5), resisting("quick", 0.5)], Script(on={"a": ENOUGH}))
    assert value == ["a"]
    assert ending(state)["late"] == [2, 1]
    (record,) = caplog.records
    assert "deaf resist" in record.getMessage()
    assert state.events[-1].at == pytest.approx(6, abs=1e-2)


# -- time ---------------------------------------------------------------------------------------------------------


def test_a_fans_own_timeout_gives_what_is_there() -> None:
    """At its own timeout a fan cancels what flies, and its fold answers with what it has."""
    diary = Diary()
    fold = Script()
    value, state = fanned([branch("a", 1), tidy("b", diary)], fold, timeout=2)
    assert (value, fold.why) == (["a"], "timeout")
    assert diary.at("b gone") == 2.0
    assert ending(state)["why"] == "timeout"


def test_what_landed_before_the_timeout_was_seen_is_folded() -> None:
    """Whatever tick the timeout falls in: a branch that has ended by then is folded, and none is late."""
    folded = set()
    for tick in range(16):
        value, state = fanned([branch("a", 1), branch("b", 2)], Script(), timeout=1 + tick * 5e-7)
        assert ending(state)["late"] == []
        folded.add(tuple(value))
    assert folded == {(), ("a",)}


def test_a_timeout_that_comes_too_late_changes_nothing() -> None:
    """A fan that ends in time says `all`, and leaves no timer behind: neither its timeout's nor a launch's."""

    class Watched(VirtualLoop):
        handles: list[asyncio.TimerHandle]

        def call_later(self, *args: Any, **options: Any) -> asyncio.TimerHandle:
            handle = super().call_later(*args, **options)
            self.handles.append(handle)
            return handle

    Watched.handles = []
    fold = Script(on={"a": ENOUGH})
    with asyncio.Runner(loop_factory=Watched) as runner:
        runner.run(fan([branch("a", 1)], Script(), timeout=60))
        runner.run(fan([branch("a", 1), branch("b", 1)], fold, stagger=30, timeout=60))
        left = [
            handle for handle in Watched.handles if not handle.cancelled() and handle.when() > runner.get_loop().time()
        ]
    assert (fold.why, fold.names, left) == ("enough", ["a"], [])


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_timeout_is_a_positive_number(seconds: float) -> None:
    """A timeout that is no time is refused before anything starts."""
    error, state = fanned([branch("a")], Script(), timeout=seconds)
    assert isinstance(error, UsageError)
    assert state.events == []


def test_stagger_spaces_the_first_launches() -> None:
    """With `stagger` the branches asked for at the beginning start that many seconds apart."""
    diary = Diary()
    fanned([tidy(name, diary, seconds=0.5) for name in "abcd"], Script(), stagger=2)
    assert [diary.at(f"{name} started") for name in "abcd"] == [0, 2, 4, 6]


def test_a_later_wish_for_more_does_not_wait_for_the_stagger() -> None:
    """More is met at once and on top, and the next start counts from there: three and one asked for are four."""
    diary = Diary()
    branches = [branch("a", 1), *(tidy(name, diary, seconds=0.1) for name in "bcdef")]
    _, state = fanned(branches, Script(Go(more=3), {"a": Go(more=1)}), stagger=4)
    assert [diary.at(f"{name} started") for name in "bcd"] == [1, 5, 9]
    assert ending(state)["launched"] == 4


def test_branches_that_run_out_end_the_stagger() -> None:
    """Where more used up the branches that were still to be staggered, the fan ends with the last arrival."""
    fold = Script(Go(more=3), {"a": Go(more=9)})
    _, state = fanned([branch(name, 1) for name in "abc"], fold, stagger=60)
    assert (fold.why, sorted(fold.names)) == ("all", ["a", "b", "c"])
    assert state.events[-1].at < 3


def test_a_timeout_also_ends_a_stagger() -> None:
    """What was still to be launched when the time was over never starts."""
    _, state = fanned([branch(str(at), 0.1) for at in range(9)], Script(), stagger=1, timeout=2.5)
    assert ending(state) == {"why": "timeout", "folded": [0, 1, 2], "late": [], "launched": 3, "branches": 9}


# -- waves --------------------------------------------------------------------------------------------------------


class Waves(Script):
    """Keeps `size` branches in flight."""

    def __init__(self, size: int) -> None:
        super().__init__(Go(more=size))
        self.size = size

    def add(self, arrival: Arrival[Any], flying: int) -> Go:
        super().add(arrival, flying)
        return Go(more=self.size - flying)


@pytest.mark.parametrize("size", [1, 3, 8, 50])
def test_more_launches_in_waves(size: int) -> None:
    """A fold that asks for more as branches end keeps exactly so many in flight, and gets all in the end."""
    flying: list[int] = [0, 0]

    def counted(at: int) -> Branch[Any]:
        async def start() -> int:
            flying[0] += 1
            flying[1] = max(flying)
            await sleep(1 + at % 3)
            flying[0] -= 1
            return at

        return Branch(str(at), start)

    value, _ = fanned([counted(at) for at in range(20)], Waves(size))
    assert len(value) == 20
    assert flying == [0, min(size, 20)]


def test_a_fold_cannot_ask_for_more_than_there_is() -> None:
    """More than there are branches is all there are."""
    assert fanned([branch("a"), branch("b")], Script(Go(more=99), {"a": Go(more=99)}))[0] == ["a", "b"]


# -- hold-back ----------------------------------------------------------------------------------------------------


def speaking(name: str, words: str, *, held: bool, pause: float = 1) -> Branch[Any]:
    """A branch that says one word a second; its text and its value are content, a start is none."""
    from fanfold.core.scope import current

    async def start() -> str:
        for word in words.split():
            await sleep(pause)
            current().emit("call.text", word)
            current().emit("call.first")
        return words

    return Branch(name, start, held=held)


def texts(state: Any) -> list[Any]:
    return [event.value for event in state.events if event.kind == "call.text"]


def test_a_held_branchs_content_waits_for_its_release() -> None:
    """Until the fold releases it a held branch says nothing of content; then all comes out, in order."""
    fold = Script(on={"check": Go(release=(0,))})
    _, state = fanned([speaking("answer", "one two three four", held=True), branch("check", 2.5)], fold)
    assert texts(state) == ["one", "two", "three", "four"]
    passed = state.events.index(next(event for event in state.events if event.place == "run/check" and event.value))
    released = [event for event in state.events[passed + 1 :] if event.kind == "call.text"]
    assert [event.number for event in released[:2]] == [passed + 1, passed + 2]
    assert [round(event.at, 2) for event in released] == [1, 2, 3, 4]
    assert [event.number for event in state.events] == list(range(len(state.events)))


def test_times_pass_while_content_is_held() -> None:
    """Events that carry no content come as they happen, so that a screen stays live."""
    _, state = fanned([speaking("answer", "one two", held=True), branch("check", 3)], Script())
    assert [round(event.at) for event in state.events if event.kind == "call.first"] == [1, 2]
    assert texts(state) == []


def test_content_that_is_never_released_is_dropped() -> None:
    """What was held when the fan ends is gone: its text, its value and its error."""
    for outcome in ("secret", ValueError("secret")):
        _, state = fanned([branch("answer", 1, outcome, held=True), branch("check", 2)], Script())
        assert "branch.ended answer" not in said(state, "branch.ended")
        assert not any("secret" in f"{event.value!r} {event.error!r}" for event in state.events)


def test_a_branch_released_before_it_began_holds_nothing() -> None:
    """A release counts from then on, also for a branch that the same answer launches."""
    fold = Script(Go(more=1), {"check": Go(more=1, release=(1,))})
    _, state = fanned([branch("check", 1), speaking("answer", "one two", held=True)], fold)
    assert [(event.value, round(event.at)) for event in state.events if event.kind == "call.text"] == [
        ("one", 2),
        ("two", 3),
    ]
    assert state.events[-2].value == "one two"


def test_a_release_of_what_is_not_held_is_no_matter() -> None:
    """Releasing a branch that was never held, or twice, changes nothing."""
    fold = Script(on={"a": Go(release=(0, 1)), "b": Go(release=(1, 1))})
    _, state = fanned([branch("a", 1), speaking("b", "x", held=True)], fold)
    assert texts(state) == ["x"]


def test_a_hold_inside_a_hold_waits_for_both() -> None:
    """What an inner fan releases stays inside as long as the outer branch is held."""
    inner = [speaking("draft", "word", held=True), branch("ok", 2)]
    nested = Branch("answer", lambda: fan(inner, Script(on={"ok": Go(release=(0,))})), held=True)
    _, kept = fanned([nested, branch("check", 5)], Script())
    _, freed = fanned([nested, branch("check", 5)], Script(on={"check": Go(release=(0,))}))
    assert (texts(kept), texts(freed)) == ([], ["word"])
    assert [event.at for event in freed.events if event.kind == "call.text"] == [pytest.approx(1, abs=1e-3)]


# -- what a branch stands in --------------------------------------------------------------------------------------


def test_every_branch_has_its_own_context_variables() -> None:
    """A branch sees what its caller had set; what it sets itself neither siblings nor the caller see."""
    var: ContextVar[str] = ContextVar("var", default="unset")
    seen: list[str] = []

    def setting(name: str) -> Branch[Any]:
        async def start() -> None:
            seen.append(var.get())
            var.set(name)
            await sleep(1)
            seen.append(var.get())

        return Branch(name, start)

    async def work() -> str:
        var.set("outer")
        await fan([setting("a"), setting("b")], Script())
        return var.get()

    assert in_run(work)[0] == "outer"
    assert seen == ["outer", "outer", "a", "b"]


# -- cost ---------------------------------------------------------------------------------------------------------


def wide(n: int, apart: float) -> Any:
    """A fan of `n` branches, one of which ends every `apart` seconds."""

    async def one(at: int) -> None:
        if apart:
            await sleep((at + 1) * apart)

    return fan([Branch("b", partial(one, at)) for at in range(n)], Script())


def functions_called(n: int, apart: float) -> int:
    """How many functions, of Python or C, a fan of `n` runs."""
    count = 0

    def profile(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    work = wide(n, apart)
    sys.setprofile(profile)
    try:
        run_virtual(work)
    finally:
        sys.setprofile(None)
    return count


def callbacks_scheduled(n: int, apart: float) -> int:
    """How many callbacks a fan of `n` gives the loop to run."""
    count = 0

    class Counting(VirtualLoop):
        def call_soon(self, *args: Any, **options: Any) -> asyncio.Handle:
            nonlocal count
            count += 1
            return super().call_soon(*args, **options)

    with asyncio.Runner(loop_factory=Counting) as runner:
        runner.run(wide(n, apart))
    return count


@pytest.mark.parametrize("apart", [0.0, 1e-4])
@pytest.mark.parametrize(("measure", "many"), [(functions_called, 1_000), (callbacks_scheduled, 10_000)])
def test_the_work_of_a_fan_is_linear(
    apart: float, measure: Callable[[int, float], int], many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the branches are at most 11 times the work, also when one arrives per tick.

    (The loop's own timers are a heap, so ten times the timers are a little more.)
    """

    async def wait(*_: object, **__: object) -> None:
        pytest.fail("waited over a set of tasks")

    monkeypatch.setattr(asyncio, "wait", wait)
    base = measure(0, apart)
    assert measure(many, apart) - base <= 11 * (measure(many // 10, apart) - base)


def test_no_tasks_are_left_by_a_wide_fan() -> None:
    """1,000 branches of which 999 are cancelled are gone when it returns."""

    async def work() -> int:
        async with no_leaks():
            await fan([branch(str(at), 1 + at) for at in range(1_000)], Script(on={"0": ENOUGH}))
            return len(asyncio.all_tasks())

    assert run_virtual(work()) == 1


def test_a_branch_that_cannot_begin_has_failed() -> None:
    """What goes wrong before a branch's own work is its error, too: the fan does not wait for it."""
    fold = Script()
    no_name: Any = 5
    fanned([branch("fine"), branch(no_name)], fold)
    assert [type(arrival.error) for arrival in fold.arrivals] == [type(None), TypeError]


def test_what_is_meant_for_the_interpreter_is_raised_even_when_late() -> None:
    """A branch that calls sys.exit() on being cancelled ends the program, not only itself; a late error is dropped."""

    async def leaves(how: BaseException) -> None:
        try:
            await sleep(9)
        except asyncio.CancelledError:
            raise how from None

    def decided(how: BaseException) -> Any:
        branches = [branch("first", 1), Branch("leaving", partial(leaves, how))]
        return fanned(branches, Script(on={"first": ENOUGH}))[0]

    assert decided(ValueError("late")) == ["first"]
    assert isinstance(decided(SystemExit(3)), SystemExit)
