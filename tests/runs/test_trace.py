"""The trace for Perfetto: what the Trace Event Format asks for, checked on every kind of run."""

import itertools
import json
from collections import defaultdict
from typing import Any

import pytest

from fanfold import chain, prompt, sections
from fanfold.runs.timeline import timeline_of
from fanfold.runs.trace import trace
from tests.runs.made import attempt, call, large, run_of, small
from tests.steps.running import ran

ASK = prompt("{input}")

RUNS = {
    "small": small,
    "large": lambda: large(300),
    "real": lambda: ran(sections({"a": ASK, "b": chain(ASK, ASK)}, merge=ASK)),
    "crowded": lambda: run_of(*(call(n, "job", attempt(queued=n / 10, sent=n / 10 + 0.1)) for n in range(15))),
    "empty": run_of,
}


def document(run: Any) -> Any:
    return json.loads(trace(timeline_of(run)))


def of(events: list[Any], phase: str) -> list[Any]:
    return [event for event in events if event["ph"] == phase]


def threads(events: list[Any]) -> dict[int, str]:
    return {event["tid"]: event["args"]["name"] for event in of(events, "M") if event["name"] == "thread_name"}


@pytest.fixture(params=RUNS)
def events(request: pytest.FixtureRequest) -> list[Any]:
    return document(RUNS[request.param]())["traceEvents"]


def test_every_event_is_well_formed(events: list[Any]) -> None:
    """Each has the fields that its kind needs: numbers for times, one process, a known thread."""
    named = threads(events)
    for event in events:
        assert event["ph"] in {"X", "M", "i"}
        assert isinstance(event["name"], str)
        assert event["pid"] == 1
        assert isinstance(event["ts"], int)
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert isinstance(event["dur"], int)
            assert event["dur"] >= 0
        if event["ph"] == "i":
            assert event["s"] == "t"
        if event["ph"] != "M":
            assert event["tid"] in named


def test_slices_of_a_thread_lie_inside_one_another_or_apart(events: list[Any]) -> None:
    """No two complete events of a thread overlap in part, which a viewer could not show."""
    by_thread = defaultdict(list)
    for event in of(events, "X"):
        by_thread[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for found in by_thread.values():
        for (start, end), (other, last) in itertools.combinations(found, 2):
            apart = end <= other or last <= start
            assert apart or (start <= other and last <= end) or (other <= start and end <= last)


def test_the_run_is_the_process_and_places_are_threads() -> None:
    """Metadata names the process after the run, and each thread after its place, in the order of the picture."""
    events = document(small())["traceEvents"]
    (process,) = [event for event in events if event["name"] == "process_name"]
    assert process["args"]["name"] == "sections job"
    assert list(threads(events).values()) == [
        "job",
        "job/retried",
        "job/hedged",
        "job/hedged (2)",
        "job/cancelled",
        "job/unsent",
        "job/failed",
    ]
    order = [event["args"]["sort_index"] for event in events if event["name"] == "thread_sort_index"]
    assert order == sorted(order)


def test_times_are_microseconds_of_the_records() -> None:
    """A retried call is one slice, its sends lie inside, and their phases inside these."""
    events = document(small())["traceEvents"]
    place = {name: thread for thread, name in threads(events).items()}["job/retried"]
    found = [(event["name"], event["ts"], event["dur"]) for event in of(events, "X") if event["tid"] == place]
    assert found == [
        ("retried · openai:gpt-4o-mini", 0, 3_500_000),
        ("send 0", 0, 1_800_000),
        ("rate wait", 0, 400_000),
        ("queue wait", 400_000, 100_000),
        ("on the wire", 500_000, 300_000),
        ("backoff", 800_000, 1_000_000),
        ("send 1", 1_800_000, 1_700_000),
        ("rate wait", 1_800_000, 100_000),
        ("queue wait", 1_900_000, 100_000),
        ("on the wire", 2_000_000, 600_000),
        ("stream", 2_600_000, 900_000),
    ]


def test_a_call_says_what_it_cost_and_how_it_ended() -> None:
    """Model, state, tokens, status, error and cost are arguments of the slices; what there is not is left out."""
    events = of(document(small())["traceEvents"], "X")
    told = {event["name"].partition(" ")[0]: event["args"] for event in events if event["cat"] == "call"}
    assert told["retried"] == {
        "number": 0,
        "model": "openai:gpt-4o-mini",
        "state": "ok",
        "tokens": {"input": 120, "output": 40, "cached": 20, "reasoning": 10, "cache_write": 5},
        "cost": "$0.002000",
    }
    assert told["failed"]["error"].startswith("ConnectError")
    assert told["cancelled"]["state"] == "cancelled"
    sends = [event["args"] for event in events if event["cat"] == "send"]
    assert {send["status"] for send in sends if "status" in send} == {429}
    assert sum(send.get("hedge", False) for send in sends) == 1


def test_fans_and_first_tokens_are_instants() -> None:
    """Where a fan was decided and why, and where text began, stand as instants in their place."""
    found = of(document(small())["traceEvents"], "i")
    fans = [event for event in found if event["name"] == "fan ended: enough"]
    assert [(event["ts"], event["args"]["folded"], event["args"]["branches"]) for event in fans] == [(3_500_000, 3, 7)]
    assert sorted(event["ts"] for event in found if event["name"] == "first token") == [900_000, 2_000_000, 2_600_000]


def test_the_summary_travels_along() -> None:
    """What the run did, and what is not known of its money, is in the document's other data."""
    found = document(small())
    assert found["displayTimeUnit"] == "ms"
    assert found["otherData"]["summary"] == small().summary()
    assert "The cost is a range" in found["otherData"]["notes"]


def test_it_grows_with_the_calls_and_no_faster() -> None:
    """Ten thousand calls in one place, all at once, still have their threads."""
    crowd = run_of(*(call(n, "job", attempt()) for n in range(400)))
    assert len(threads(document(crowd)["traceEvents"])) == 400
    row = run_of(*(call(n, "job", attempt(queued=3.0 * n, sent=3.0 * n, ended=3.0 * n + 2)) for n in range(2000)))
    assert len(threads(document(row)["traceEvents"])) == 1
