"""A run while it runs: one stream of events, its readers, and a listener that may break."""

import asyncio
import logging
from typing import Any

import pytest

from fanfold import Session, prompt, sections
from fanfold.core.clock import sleep
from fanfold.core.records import Call, Cost, Draw, Event
from fanfold.runs.state import RunState
from fanfold.testing import FakeModel, run_virtual

ASK = prompt("{input}")


def emit(state: RunState, kind: str = "step.started", call: Call | None = None) -> None:
    state.emit(state.began, kind, "run", None, None, call)


def test_events_are_numbered_as_they_come() -> None:
    """Each event's number is its place in the stream; `at` is counted from the run's beginning."""
    state = RunState(None, "run", None)
    for at in (0, 2, 1):
        state.emit(state.began + at, "step.started", "run", None, None, None)
    assert [(event.number, round(event.at)) for event in state.events] == [(0, 0), (1, 2), (2, 1)]


def test_only_ended_calls_are_kept_as_calls() -> None:
    """The records on the way are events; the last one is the call."""
    state = RunState(None, "run", None)
    ended = Call(0, "run", "m", Draw(), "ok", 0.0, 0.0, None, 1.0, None, Cost())
    emit(state, "call.queued", ended)
    emit(state, "call.ended", ended)
    assert state.calls == [ended]
    assert [state.next_call(), state.next_call()] == [0, 1]


def test_readers_wait_for_events_and_for_the_end() -> None:
    """Any number of readers each see every event, and the end, without a wait too many."""

    async def read(state: RunState, seen: list[int]) -> None:
        while await state.past(len(seen)):
            seen.append(state.events[len(seen)].number)

    async def main() -> list[list[int]]:
        state = RunState(None, "run", None)
        emit(state)
        all_seen: list[list[int]] = [[], [], []]
        readers = [asyncio.create_task(read(state, seen)) for seen in all_seen]
        for _ in range(4):
            await sleep(1)
            emit(state)
            emit(state)
        state.close()
        await asyncio.gather(*readers)
        return all_seen

    assert run_virtual(main()) == [list(range(9))] * 3


def test_a_reader_that_leaves_is_forgotten() -> None:
    """A cancelled reader leaves no future behind that the next event would set."""

    async def main() -> None:
        state = RunState(None, "run", None)
        reader = asyncio.create_task(state.past(0))
        await sleep(0)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        assert state._readers == set()
        emit(state)
        assert await state.past(0)

    run_virtual(main())


# -- on_event -----------------------------------------------------------------------------------------------------


def listened(on_event: Any, runs: int = 1) -> None:
    async def main() -> None:
        async with Session(FakeModel(["x"]), on_event=on_event) as session:
            for _ in range(runs):
                run = await sections({"a": ASK, "b": ASK}).run("q", session=session)
                assert run.output == {"a": "x", "b": "x"}

    run_virtual(main())


def test_a_listener_gets_every_event_of_every_run() -> None:
    """`on_event` is called in the moment of each event, in order, run after run."""
    events: list[Event] = []
    listened(events.append, runs=3)
    starts = [at for at, event in enumerate(events) if event.kind == "run.started"]
    assert len(starts) == 3
    assert [event.number for event in events] == [at - max(s for s in starts if s <= at) for at in range(len(events))]


def test_a_listener_that_raises_is_logged_once_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on without it; the next run tries it anew."""
    calls: list[Event] = []

    def broken(event: Event) -> None:
        calls.append(event)
        raise LookupError("a broken listener")

    with caplog.at_level(logging.ERROR, "fanfold"):
        listened(broken, runs=2)
    assert [event.kind for event in calls] == ["run.started"] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "on_event raised and gets no further events of this run"
    ] * 2
    assert all("a broken listener" in caplog.text for _ in calls)


def test_a_listener_that_breaks_late_has_had_the_rest() -> None:
    """Up to the event it raised on it got everything."""
    kinds: list[str] = []

    def fragile(event: Event) -> None:
        kinds.append(event.kind)
        if event.kind == "call.ended":
            raise LookupError

    listened(fragile)
    assert kinds[0] == "run.started"
    assert kinds.count("call.ended") == 1
    assert kinds[-1] == "call.ended"
