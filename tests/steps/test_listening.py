"""Reading a run while it runs: updates, text and events."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import Session, chain, prompt, sections, step, vote
from fanfold.core.clock import now, sleep
from fanfold.core.records import Event, Request
from fanfold.errors import BranchError, ConnectError, FanfoldError, UsageError
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.steps.running import Asked, by_prompt, echo, taking

ASK = prompt("{input}")


def read(view: Callable[[], Any], model: Any = None, **options: Any) -> tuple[list[Any], Any]:
    """Everything a view gives, and its run; nothing is left after it."""

    async def main() -> tuple[list[Any], Any]:
        async with Session(model or FakeModel(echo), **options) as session, no_leaks(session):
            async with view() as listening:
                items = [item async for item in listening]
            return items, listening.run

    return run_virtual(main())


# -- updates ------------------------------------------------------------------------------------------------------


def test_updates_come_as_branches_finish_then_the_merge() -> None:
    """Each branch's name and value in the order of arrival, the merge last, under its own name."""
    pattern = sections({"slow": taking(2, "s"), "fast": taking(1, "f")}, merge=prompt("{slow}{fast}"))
    items, run = read(lambda: pattern.updates("q"))
    assert items == [("fast", "f"), ("slow", "s"), ("merge", "sf")]
    assert run.output == "sf"


def test_updates_come_when_they_happen() -> None:
    """A reader has the first branch's value while the second still runs."""

    async def main() -> list[tuple[str, float]]:
        pattern = sections({"a": taking(1), "b": taking(3)})
        async with Session(FakeModel()), pattern.updates("q") as updates:
            return [(name, round(now(), 2)) async for name, _ in updates]

    assert run_virtual(main()) == [("a", 1.0), ("b", 3.0)]


def test_updates_of_a_vote_are_the_ballots_values() -> None:
    """A vote's updates are each voter's plain value."""
    items, run = read(lambda: vote(ASK, n=3, stop=None).updates("q"), FakeModel(["a", "b", "a"]))
    assert items == [("0", "a"), ("1", "b"), ("2", "a")]
    assert run.detail.winner == "a"


def test_updates_of_a_chain_are_its_links() -> None:
    """Outside any branch each link is an update, and so are the branches of a link, under its name."""
    pattern = chain(sections({"a": ASK, "b": ASK}, merge="+".join), str.upper, vote(ASK, n=1, name="jury"))
    items, _ = read(lambda: pattern.updates("q"))
    assert items == [
        ("sections/a", "q"),
        ("sections/b", "q"),
        ("sections/merge", "a+b"),
        ("sections", "a+b"),
        ("upper", "A+B"),
        ("jury/0", "A+B"),
        ("jury", "A+B"),
    ]


def test_what_happens_inside_a_branch_is_no_update() -> None:
    """A nested pattern is one update, that of its branch."""
    inner = sections({"x": ASK, "y": chain(ASK, str.upper)}, merge="+".join)
    items, _ = read(lambda: sections({"inner": inner, "jury": vote(ASK, n=3)}).updates("q"))
    assert sorted(items) == [("inner", "x+y"), ("jury", "q")]


def test_a_failed_branch_is_no_update() -> None:
    """What was skipped does not come; what did is complete."""
    pattern = sections({"a": ASK, "b": taking(1, ValueError("no"))}, on_error="skip")
    items, run = read(lambda: pattern.updates("q"))
    assert items == [("a", "q")]
    assert run.detail.missing == {"b": "ValueError: no"}


def test_a_single_prompt_has_no_updates() -> None:
    """A step without parts gives nothing before its run."""
    items, run = read(lambda: ASK.updates("q"))
    assert (items, run.output) == ([], "q")


# -- text ---------------------------------------------------------------------------------------------------------


def test_text_comes_piece_by_piece() -> None:
    """A prompt's text is streamed as it is written; joined it is the output."""

    async def main() -> list[tuple[str, float]]:
        async with Session(FakeModel(["one two three"], latency=3)), ASK.text("q") as text:
            return [(piece, round(now(), 2)) async for piece in text]

    assert run_virtual(main()) == [("one ", 1.0), ("two ", 2.0), ("three", 3.0)]


def streamed(model: Asked) -> list[str]:
    return [str(request.messages[-1].content) for request in model.requests if request.stream]


def test_only_the_tail_streams() -> None:
    """Of a chain the last link's text comes, of sections the merge's; no other call is streamed at all."""
    model = Asked(lambda request: f"said {request.messages[-1].content}")
    pieces, run = read(lambda: chain(ASK, prompt("then {input}")).text("q"), model)
    assert "".join(pieces) == run.output == "said then said q"
    assert streamed(model) == ["then said q"]

    model = Asked(by_prompt({"A": "a", "B": "b", "Merge": "all in all"}))
    merged = sections({"a": prompt("A"), "b": prompt("B")}, merge=chain(str, prompt("Merge")))
    pieces, run = read(lambda: merged.text("q"), model)
    assert pieces == ["all ", "in ", "all"]
    assert streamed(model) == ["Merge"]


def test_what_is_not_streamed_comes_in_one_piece() -> None:
    """A typed value, a vote's winner, a mapping: the rendered output, at the end."""
    cases: list[tuple[Any, list[str]]] = [
        (prompt("{input}", returns=bool), ["True"]),
        (vote(ASK, n=3), ["yes"]),
        (sections({"a": ASK}), ['{\n  "a": "yes"\n}']),
        (chain(ASK, str.upper), ["YES"]),
        (sections([ASK, ASK]), ["- yes\n- yes"]),
    ]
    for pattern, pieces in cases:
        model = Asked(["yes"], structured=False)
        assert read(lambda pattern=pattern: pattern.text("q"), model)[0] == pieces
        assert streamed(model) == []


def test_an_empty_text_is_one_empty_piece_at_most() -> None:
    """A model that says nothing streams nothing more than that."""
    pieces, run = read(lambda: ASK.text("q"), FakeModel([""]))
    assert ("".join(pieces), run.output) == ("", "")
    assert len(pieces) <= 1


def test_a_plain_run_streams_nothing() -> None:
    """Without a reader of text no call asks for a stream."""
    model = Asked(["x"])
    read(lambda: ASK.updates("q"), model)
    assert streamed(model) == []


def test_the_first_piece_is_in_the_calls_record() -> None:
    """A streamed call knows when its first text came."""
    _, run = read(lambda: ASK.text("q"), FakeModel(["one two"], latency=2))
    (call,) = run.calls
    assert call.first - call.sent == pytest.approx(1, abs=1e-3)


# -- events -------------------------------------------------------------------------------------------------------


def test_events_are_numbered_without_gaps() -> None:
    """The stream begins with the run's start, ends with its end, and is the run's own record of events."""
    pattern = chain(sections({"a": ASK, "b": vote(ASK, n=3)}, merge="+".join), ASK)
    events, run = read(lambda: pattern.events("q"))
    assert [event.number for event in events] == list(range(len(events)))
    assert (events[0].kind, events[-1].kind) == ("run.started", "run.ended")
    assert tuple(events) == run.events
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_calls_go_through_their_states_in_order() -> None:
    """Queued, sent, first, text, ended: each as it happens, with the call's record so far."""
    events, _ = read(lambda: ASK.events("q"), FakeModel(["one two"], latency=2))
    told = [(event.kind, event.call and event.call.state, round(event.at)) for event in events]
    assert [entry for entry in told if entry[0].startswith("call.")] == [
        ("call.queued", "queued", 0),
        ("call.sent", "sent", 0),
        ("call.first", "answering", 1),
        ("call.text", None, 1),
        ("call.text", None, 2),
        ("call.ended", "ok", 2),
    ]


def test_a_slow_reader_misses_nothing() -> None:
    """Events wait for their reader; the run does not wait for it."""

    async def main() -> tuple[list[int], float]:
        async with Session(FakeModel(echo)), sections({"a": ASK, "b": ASK}).events("q") as events:
            numbers = []
            async for event in events:
                await sleep(1)
                numbers.append(event.number)
            return numbers, events.run.wall

    numbers, wall = run_virtual(main())
    assert numbers == list(range(len(numbers)))
    assert wall < 1


# -- leaving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["updates", "text", "events"])
def test_leaving_cancels_the_run_and_leaves_nothing(view: str) -> None:
    """Leaving in the middle of an iteration ends every task, slot and waiting call of the run."""
    events: list[Event] = []

    async def main() -> int:
        model = FakeModel(echo, latency=lambda request: 60.0 if "slow" in str(request.messages) else 0.0)
        async with Session(model, max_in_flight=2, on_event=events.append) as session, no_leaks(session):
            pattern = sections({"fast": ASK, **{str(at): prompt("slow {input}") for at in range(4)}})
            async with getattr(pattern, view)("q") as listening:
                if view != "text":
                    await anext(listening)
                await sleep(1)
            return session.statistics().slots.in_use + session.statistics().slots.waiting

    assert run_virtual(main()) == 0
    assert isinstance(events[-1].error, asyncio.CancelledError)


def test_leaving_before_reading_is_fine() -> None:
    """A view that is entered and left at once has run nothing that stays."""

    async def main() -> None:
        async with Session(FakeModel(latency=60)) as session, no_leaks(session), ASK.updates("q"):
            pass

    run_virtual(main())


@pytest.mark.parametrize("cancels", [1, 2, 5])
def test_a_reader_that_is_cancelled_takes_its_run_with_it(cancels: int) -> None:
    """However often the reader is cancelled while it leaves, the run is gone when it has left."""
    gone: list[float] = []

    @step
    async def tidy(given: str) -> None:
        try:
            await sleep(60)
        finally:
            await sleep(3)
            gone.append(round(now(), 2))

    async def reader() -> None:
        async with sections({"a": tidy}).updates("q") as updates:
            async for _ in updates:
                pass

    async def main() -> None:
        async with Session(FakeModel()) as session, no_leaks(session):
            task = asyncio.create_task(reader())
            await sleep(1)
            for _ in range(cancels):
                task.cancel()
                await sleep(0.1)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert gone == [4.0]

    run_virtual(main())


def test_a_run_that_resists_its_reader_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Who leaves a run that swallows its cancellation waits for it, and the log says so."""

    @step(name="deaf")
    async def deaf(given: str) -> None:
        for _ in range(3):
            try:
                await sleep(2)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        async with Session(FakeModel()) as session, no_leaks(session), deaf.updates("q"):
            await sleep(1)

    with caplog.at_level(logging.WARNING, "fanfold"):
        run_virtual(main())
    assert any("'deaf' resists" in record.getMessage() for record in caplog.records)


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["updates", "text", "events"])
def test_the_iteration_raises_the_runs_error(view: str) -> None:
    """After what was there the error comes, with its run, which `.run` then raises, too."""

    async def main() -> tuple[list[Any], BranchError]:
        pattern = sections({"a": ASK, "b": taking(1, ValueError("no"))})
        items: list[Any] = []
        async with Session(FakeModel(echo)) as session, no_leaks(session):
            async with getattr(pattern, view)("q") as listening:
                with pytest.raises(BranchError) as caught:
                    items.extend([item async for item in listening])
                with pytest.raises(BranchError):
                    _ = listening.run
            return items, caught.value

    _, error = run_virtual(main())
    assert error.finished == {"a": "q"}
    assert len(error.run.calls) == 1


def test_an_error_that_nobody_read_does_not_warn() -> None:
    """A view that is left before its run's error was read says nothing of it."""

    async def main() -> None:
        async with Session(FakeModel(lambda _: ConnectError("gone"))), ASK.updates("q"):
            await sleep(1)

    run_virtual(main())


@pytest.mark.parametrize("name", ["updates", "text", "events"])
def test_a_view_has_to_be_entered(name: str) -> None:
    """Iterating or asking for the run before entering says how to, in the view's own name."""
    view = getattr(ASK, name)("q")
    with pytest.raises(UsageError, match=rf"enter it first, as in `async with step\.{name}\(x\) as {name}:`"):
        asyncio.run(anext(view))
    with pytest.raises(UsageError, match=rf"`with step\.{name}_sync\(x\)"):
        _ = view.run


def test_the_run_is_there_after_the_iteration_only() -> None:
    """Before its end a run is not over, and `.run` says when to read it."""

    async def main() -> None:
        async with Session(FakeModel(latency=1)), ASK.updates("q") as updates:
            with pytest.raises(UsageError, match="after the iteration"):
                _ = updates.run
            assert [item async for item in updates] == []
            assert updates.run.output

    run_virtual(main())


def test_the_iteration_ends_and_stays_ended() -> None:
    """Read to its end, a view gives no more."""

    async def main() -> None:
        async with Session(FakeModel()), ASK.text("q") as text:
            assert [piece async for piece in text]
            assert [piece async for piece in text] == []

    run_virtual(main())


def test_a_view_inside_a_step_uses_the_enclosing_session() -> None:
    """`updates()` in a step reads a run of its own, on the session of the run around it."""
    requests: list[Request] = []

    @step
    async def outer(given: str) -> list[Any]:
        async with sections({"a": ASK, "b": ASK}).updates(given) as updates:
            return [item async for item in updates]

    async def main() -> Any:
        async with Session(FakeModel(lambda request: requests.append(request) or "x")) as session, no_leaks(session):
            return await outer.run("q", session=session)

    run = run_virtual(main())
    assert run.output == [("a", "x"), ("b", "x")]
    assert len(requests) == 2


def test_errors_of_a_view_are_fanfolds() -> None:
    """A mistake in the step shows as it does in a plain run."""

    async def main() -> None:
        async with Session(FakeModel()), prompt("{nothing}").updates("q") as updates:
            with pytest.raises(FanfoldError, match="nothing"):
                await anext(updates)

    run_virtual(main())


def test_a_view_that_was_left_early_has_no_record() -> None:
    """Its `.run` says so; it does not raise a cancellation, which would end the reader's task."""

    async def main() -> None:
        async with Session(FakeModel(echo, latency=1.0)):
            view = ASK.text("q")
            async with view:
                pass
            await sleep(0)
            with pytest.raises(UsageError, match="cancelled before it was over"):
                _ = view.run

    run_virtual(main())


@pytest.mark.parametrize("after", [0.0, 0.5])
def test_a_view_that_was_left_early_ends(after: float) -> None:
    """Iterated all the same it says what was; it does not wait for ever, nor cancel who iterates."""

    async def main() -> None:
        async with Session(FakeModel(echo, latency=1.0)) as session, no_leaks(session):
            async with ASK.text("q") as view:
                if after:
                    await sleep(after)
            async with asyncio.timeout(5):
                with pytest.raises(UsageError, match="cancelled before it was over"):
                    await anext(view)
                with pytest.raises(StopAsyncIteration):
                    await anext(view)

    run_virtual(main())


@pytest.mark.parametrize("view", ["text", "events"])
def test_two_tasks_may_read_one_view(view: str) -> None:
    """Each item comes to one of them."""

    async def main() -> None:
        async with Session(FakeModel(["one two three"], latency=1.0)) as session, no_leaks(session):
            async with getattr(ASK, view)("q") as listening:

                async def taken() -> list[Any]:
                    return [item async for item in listening]

                one, two = await asyncio.gather(taken(), taken())
            if view == "text":
                assert sorted(one + two) == ["one ", "three", "two "]
            else:
                assert sorted(event.number for event in one + two) == list(range(len(listening.run.events)))

    run_virtual(main())


def test_a_view_is_of_one_run() -> None:
    """Entered again it would go on where the first reading ended, in another run."""

    async def main() -> None:
        async with Session(FakeModel(echo)) as session, no_leaks(session), ASK.events("q") as events:
            assert [event async for event in events]
            with pytest.raises(UsageError, match="entered before"):
                await events.__aenter__()

    run_virtual(main())
