"""The record of a run: what came out, what it took, and what it cost."""

from typing import Any, Literal

import msgspec
import pytest

from fanfold import chain, prompt, sections, vote
from fanfold.core.records import UNKNOWN_COST, Call, CallState, Cost, Draw, Event, Usage
from fanfold.errors import BranchError, ConnectError, StatusError
from fanfold.models.prices import FlatRate
from fanfold.runs.run import Run, Saved
from fanfold.testing import FakeModel
from tests.steps.running import Asked, by_prompt, failed, ran, taking

ASK = prompt("{input}")


def call(state: CallState = "ok", *, sent: float | None = 1.0, ended: float = 3.0, **more: Any) -> Call:
    """A call's record."""
    return Call(0, "run", "mine:x", Draw(), state, 0.0, sent, None, ended, more.pop("usage", None), Cost(), **more)


def record(*calls: Call, events: tuple[Event, ...] = (), wall: float = 3.0) -> Run[str]:
    """A run of these calls."""
    return Run("run", "out", None, wall, calls, events)


def fan_ended(why: str, launched: int, branches: int) -> Event:
    return Event(0, 0.0, "fan.ended", "run", {"why": why, "launched": launched, "branches": branches})


def test_usage_is_the_sum_of_what_calls_told() -> None:
    """Calls without a usage add nothing; every kind of token is summed."""
    run = record(call(usage=Usage(10, 5, 2, 1)), call("cancelled"), call(usage=Usage(1, 1, 1, 1)))
    assert run.usage == Usage(11, 6, 3, 2)
    assert record().usage == Usage()


def test_cost_is_the_sum_of_what_is_known() -> None:
    """One call without a known price makes the run's cost a lower bound."""
    known = msgspec.structs.replace(call(), cost=Cost(0.5, 0.5))
    unknown = msgspec.structs.replace(call(), cost=UNKNOWN_COST)
    assert record(known, known).cost == Cost(1.0, 1.0)
    assert record(known, unknown).cost == Cost(0.5, None)
    assert record().cost == Cost()


def test_sequential_time_is_the_time_on_the_wire() -> None:
    """Waits for a slot do not count, and calls that were never sent took none."""
    assert record(call(), call(ended=2.5), call("unsent", sent=None)).sequential == 3.5


def test_saved_calls_are_those_not_needed() -> None:
    """Branches never launched, calls never sent, and calls cut off; only an early end saves."""
    run = record(
        call(), call("unsent", sent=None), call("cancelled"), call("cancelled"), events=(fan_ended("enough", 4, 9),)
    )
    assert run.saved == Saved(unsent=6, cancelled=2)
    assert run.saved.calls == 8
    assert record(events=(fan_ended("all", 4, 9), fan_ended("timeout", 2, 3))).saved.calls == 0


def test_n_times_one_call() -> None:
    """The N of "N calls cost N times as much" counts what was sent, cut off or not."""
    assert record(call(), call("cancelled"), call("unsent", sent=None), call("error")).times_one_call == 3


def test_a_run_is_no_truth_value() -> None:
    """`if run:` is a mistake that raises, and says where to look."""
    with pytest.raises(TypeError, match=r"\.output"):
        bool(record())


def test_a_runs_repr_is_short() -> None:
    """Calls and events do not flood a terminal."""
    run = ran(vote(ASK, n=9))
    assert "Call(" not in repr(run)
    assert "Event(" not in repr(run)


def test_a_record_does_not_change() -> None:
    """A run is frozen; its calls and events are tuples."""
    run = ran(ASK)
    with pytest.raises(AttributeError):
        run.output = "other"
    assert (type(run.calls), type(run.events)) == (tuple, tuple)


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (record(), "0 calls, 0 + 0 tokens, cost $0.000000, × 0 of one call, 3.00 s (0.00 s one after another)"),
        (
            record(msgspec.structs.replace(call(usage=Usage(7, 3)), cost=Cost(0.25, 0.25))),
            "1 call, 7 + 3 tokens, cost $0.250000, × 1 of one call, 3.00 s (2.00 s one after another)",
        ),
        (
            record(call(), call("cancelled"), call("unsent", sent=None)),
            "2 calls, 2 saved, 0 + 0 tokens, cost $0.000000, × 2 of one call, 3.00 s (4.00 s one after another)",
        ),
        (
            record(call(made_up=True)),
            "1 call, 0 + 0 tokens, made up, nothing was paid, × 1 of one call, 3.00 s (2.00 s one after another)",
        ),
        (
            record(call(made_up=True), msgspec.structs.replace(call(), cost=Cost(0.25, 0.25))),
            "2 calls, 0 + 0 tokens, cost $0.250000 + made up, × 2 of one call, 3.00 s (4.00 s one after another)",
        ),
        (
            record(call(made_up=True), msgspec.structs.replace(call(), cost=Cost(0.0, 0.0))),
            "2 calls, 0 + 0 tokens, made up, nothing was paid, × 2 of one call, 3.00 s (4.00 s one after another)",
        ),
    ],
    ids=["empty", "one", "saved", "made up", "some made up", "made up, one cut off"],
)
def test_a_summary_is_one_line_for_people(run: Run[str], line: str) -> None:
    """Calls, what was saved, tokens, cost, "× N of one call", wall time against one after another."""
    assert run.summary() == line


def test_a_real_runs_figures_agree() -> None:
    """Of five voters of two seconds each, decided after three: wall, sum, saved and cost fit together."""
    model = Asked(["a"], latency=lambda request: [2, 2, 2, 9, 9][request.draw.ordinal])
    model.given_rate = FlatRate(1.0, 1.0)
    run = ran(vote(prompt("{input}", returns=Literal["a", "b"], max_tokens=5), n=5), model=model)
    assert run.wall == pytest.approx(2, abs=1e-2)
    assert run.sequential == pytest.approx(10, abs=1e-2)
    assert (run.saved.cancelled, run.times_one_call) == (2, 5)
    assert run.cost.at_least == pytest.approx(sum(call.cost.at_least for call in run.calls))
    assert run.cost.at_most > run.cost.at_least > 0
    assert run.made_up


def test_calls_are_numbered_and_timed() -> None:
    """Each call has its number in the run, and its times follow one another."""
    run = ran(sections({str(at): ASK for at in range(5)}), model=FakeModel(latency=1), max_in_flight=2)
    assert sorted(call.number for call in run.calls) == list(range(5))
    for one in run.calls:
        assert 0 <= one.queued <= one.sent <= one.ended <= run.wall
    assert max(one.sent for one in run.calls) == pytest.approx(2, abs=1e-2)


def test_a_failed_run_carries_what_was_finished() -> None:
    """The error's run has every call in its final state, with the answered ones' usage and cost."""
    answers = {"one": "x", "two": "y", "three": StatusError("no", status=500)}
    model = Asked(by_prompt(answers))
    model.given_rate = FlatRate(1.0, 1.0)
    branches = {name: prompt(name) for name in answers}
    error = failed(sections({**branches, "three": chain(taking(1), branches["three"])}), BranchError, model=model)
    assert error.finished == {"one": "x", "two": "y"}
    states = {call.place.split("/")[1]: (call.state, call.cost.usd or 0) for call in error.run.calls}
    assert states["one"][0] == states["two"][0] == "ok"
    assert states["three"] == ("error", 0)
    assert error.run.usage.total_tokens > 0
    assert error.cost.usd == pytest.approx(sum(cost for _, cost in states.values()))


def test_what_a_broken_connection_cost_is_not_known() -> None:
    """A call that broke after it was sent may have been billed: its cost is no zero."""
    model = FakeModel(lambda _: ConnectError("cut"))
    model.given_rate = FlatRate(1.0, 1.0)
    error = failed(ASK, ConnectError, model=model)
    assert error.cost == UNKNOWN_COST
    bounded = failed(prompt("{input}", max_tokens=5), ConnectError, model=model)
    assert (bounded.cost.at_least, bounded.cost.at_most is not None) == (0.0, True)
