"""The timeline as data: rows by place, calls with their phases, and what it says of money."""

import asyncio
import itertools
import json
from typing import Any, Literal

import msgspec
import pytest

from fanfold import chain, gather, prompt, race, sections, step, vote
from fanfold.core.clock import sleep
from fanfold.core.records import UNKNOWN_COST, Call, Cost, Usage
from fanfold.errors import BranchError, StatusError
from fanfold.runs.phases import Phase, phases, sends
from fanfold.runs.timeline import Bar, Row, Timeline, shown, timeline_of
from fanfold.testing import FakeModel
from tests.runs import made
from tests.runs.made import attempt, call, event, fan_ended, run_of, small
from tests.steps.running import failed, ran, taking

ASK = prompt("{input}")


def bars(timeline: Timeline) -> dict[str, Bar]:
    return {timeline.rows[bar.row].name: bar for bar in timeline.bars}


def rows(timeline: Timeline) -> dict[str, Row]:
    return {row.place: row for row in timeline.rows}


def kinds(found: Any) -> list[tuple[str, float, float]]:
    return [(phase.kind, phase.start, phase.end) for phase in found]


# -- phases -------------------------------------------------------------------------------------------------------


def test_a_streamed_send_has_all_phases() -> None:
    """The wait before its turn, for the rate limit, for a slot, on the wire, the stream, and the backoff follow."""
    one = attempt(queued=1.0, rate=0.5, sent=2.0, first=3.0, ended=4.0, backoff=1.5)
    assert kinds(phases(one, since=0.5, until=9.0)) == [
        ("queue", 0.5, 1.0),
        ("rate", 1.0, 1.5),
        ("queue", 1.5, 2.0),
        ("wire", 2.0, 3.0),
        ("stream", 3.0, 4.0),
        ("backoff", 4.0, 5.5),
    ]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (attempt(sent=0.0), [("wire", 0.0, 2.0)]),
        (attempt(sent=0.0, ended=0.0), [("wire", 0.0, 0.0)]),
        (attempt(state="unsent", sent=None, rate=0.5), [("rate", 0.0, 0.5), ("queue", 0.5, 2.0)]),
        (attempt(state="unsent", sent=None, rate=9.0), [("rate", 0.0, 2.0)]),
        (attempt(sent=1e-7, ended=1.0), [("wire", 1e-7, 1.0)]),
        (attempt(sent=0.0, first=3.0), [("wire", 0.0, 2.0), ("stream", 2.0, 2.0)]),
    ],
    ids=["whole", "instant", "never sent", "rate wait cut off", "no wait to speak of", "first after the end"],
)
def test_phases_are_those_that_there_were(one: Any, expected: list[Any]) -> None:
    """Waits that were none are left out; what was sent has its time on the wire, if it was no time."""
    assert kinds(phases(one, since=0.0, until=2.0)) == expected


def test_a_backoff_ends_where_something_else_came() -> None:
    """A backoff that was cut short is shown as long as it was: until the next send, or the call's end."""
    tries = [attempt(0, "error", sent=0.0, ended=1.0, backoff=5.0), attempt(1, queued=2.0, sent=2.0, ended=3.0)]
    assert kinds(sends(call(0, "job", *tries))[0][1])[-1] == ("backoff", 1.0, 2.0)
    alone = call(0, "job", tries[0], state="cancelled", ended=1.5)
    assert kinds(sends(alone)[0][1])[-1] == ("backoff", 1.0, 1.5)
    hedge = attempt(1, queued=1.2, sent=1.2, ended=1.4, hedge=True)
    assert kinds(sends(call(0, "job", tries[0], hedge, tries[1]))[0][1])[-1] == ("backoff", 1.0, 2.0)


def test_phases_have_no_gaps() -> None:
    """Within each send one phase ends where the next begins, and none runs backwards."""
    for one in (*small().calls, *made.large(200).calls):
        for _, found in sends(one):
            assert all(before.end == after.start for before, after in itertools.pairwise(found))
            assert all(phase.start <= phase.end for phase in found)


def test_a_call_without_sends_has_waited() -> None:
    """A call that ended before its first send is one wait; an older record counts as its only send."""
    waited = msgspec.structs.replace(made.unsent(0, "job"), attempts=())
    assert kinds(sends(waited)[0][1]) == [("queue", 0.0, 2.4)]
    whole = msgspec.structs.replace(made.hedged(0, "job"), attempts=(), first=2.0)
    assert [phase.kind for phase in sends(whole)[0][1]] == ["queue", "wire", "stream"]


# -- rows ---------------------------------------------------------------------------------------------------------


def test_rows_are_the_places_of_the_run() -> None:
    """Every place stands under the one around it; a place with one call shares its row with that."""
    jury = vote(prompt("{input}", returns=Literal["a"], model=FakeModel(["a"])), n=3, stop=None)
    run = ran(sections({"jury": jury, "tone": ASK, "two": chain(ASK, ASK)}, merge=ASK, name="report"))
    first, second = sorted(one.number for one in run.calls if one.place == "report/two/prompt")
    shown_rows = [(row.name, row.depth, row.kind, row.bar >= 0) for row in timeline_of(run).rows]
    assert shown_rows == [
        ("report", 0, "sections", False),
        ("jury", 1, "branch", False),
        ("0", 2, "branch", True),
        ("1", 2, "branch", True),
        ("2", 2, "branch", True),
        ("tone", 1, "branch", True),
        ("two", 1, "branch", False),
        ("prompt", 2, "prompt", False),
        (f"call {first}", 3, "call", True),
        (f"call {second}", 3, "call", True),
        ("merge", 1, "prompt", True),
    ]


def test_parents_stand_before_their_rows() -> None:
    """A row's parent is the number of the row around it, one level up; bars and rows name each other."""
    timeline = timeline_of(made.large(50))
    for number, row in enumerate(timeline.rows):
        assert row.parent < number
        assert row.depth == (timeline.rows[row.parent].depth + 1 if row.parent >= 0 else 0)
    for number, bar in enumerate(timeline.bars):
        assert timeline.rows[bar.row].bar == number


def test_a_fan_says_why_it_ended_and_when_it_knew() -> None:
    """`decided` is when the last branch was folded that it needed; `at` when the cancelled ones were gone."""
    root = timeline_of(small()).rows[0]
    (fan,) = root.fans
    assert (fan.why, fan.decided, fan.at) == ("enough", 3.5, 3.6)
    assert (fan.folded, fan.launched, fan.branches) == (3, 5, 7)
    everyone = timeline_of(made.large(5)).rows[0].fans[0]
    assert (everyone.why, everyone.decided == everyone.at) == ("all", True)


def test_an_early_vote_cancels_until_its_end() -> None:
    """In a real vote the two voters not needed are cancelled, and end at the decision."""
    model = FakeModel(["a"], latency=lambda request: [1, 2, 3, 9, 9][request.draw.ordinal])
    timeline = timeline_of(ran(vote(prompt("{input}", returns=Literal["a", "b"]), n=5), model=model))
    (fan,) = timeline.rows[0].fans
    assert (fan.why, fan.folded, round(fan.decided, 3)) == ("enough", 3, 3.0)
    cut = [bar for bar in timeline.bars if bar.state == "cancelled"]
    assert len(cut) == 2
    assert all(bar.ended == pytest.approx(fan.decided, abs=1e-3) for bar in cut)


def test_what_comes_late_says_so() -> None:
    """A call answered under a branch that was not folded is late."""
    events = (
        event(0.0, "run.started", "job", "race"),
        event(0.0, "branch.started", "job/a"),
        event(2.0, "branch.late", "job/a"),
        fan_ended(2.0, "job", "enough", folded=0, late=1, launched=1, branches=1),
        event(2.0, "run.ended", "job"),
    )
    timeline = timeline_of(run_of(call(0, "job/a", attempt()), events=events))
    assert (timeline.bars[0].late, timeline.rows[1].state) == (True, "late")
    assert timeline.rows[0].fans[0].decided == 2.0


def test_what_was_held_back_says_so() -> None:
    """The end of a held branch that was never released is not told; its row ends with its last call."""
    fast = prompt("{input}", model=FakeModel(latency=1.0))

    @step
    async def quick(text: str) -> str:
        await fast(text)
        return "quick"

    @step
    async def slow(text: str) -> str:
        try:
            await fast(text)
            await sleep(50.0)
        except asyncio.CancelledError:
            return "resists"
        return "never"

    timeline = timeline_of(ran(race(quick, slow)))
    assert timeline.state == "ok"
    states = {row.name: row.state for row in timeline.rows if row.depth == 1}
    assert states["slow"] in {"held", "cancelled"}
    assert "unfinished" not in states.values()


def test_a_place_may_run_several_times() -> None:
    """Each time a step ran in its place is a span of its row."""
    timeline = timeline_of(ran(chain(taking(1), taking(2))))
    spans = [span for row in timeline.rows for span in row.spans if row.place == "chain/taking"]
    assert [(round(span.start, 3), round(span.end, 3)) for span in spans] == [(0.0, 1.0), (1.0, 3.0)]


def test_a_part_of_a_run_begins_at_zero() -> None:
    """The timeline of a step that ran inside another run counts from its own beginning."""
    inner: list[Any] = []

    @step
    async def outer(text: str) -> str:
        await sleep(7.0)
        inner.append(await sections({"a": ASK, "b": taking(2)}, name="inner").run(text))
        return "x"

    ran(outer)
    timeline = timeline_of(inner[0])
    assert timeline.rows[0].name == "inner"
    assert timeline.rows[0].start == pytest.approx(0.0, abs=1e-3)
    assert timeline.end == pytest.approx(2.0, abs=1e-3)


def test_a_run_without_calls_has_a_row() -> None:
    """A run of plain functions is its row; one without anything is empty, and no error."""
    assert [row.name for row in timeline_of(ran(taking(1, name="nap"))).rows] == ["nap"]
    empty = timeline_of(run_of())
    assert (empty.rows[0].start, empty.rows[0].end, empty.bars) == (0.0, 0.0, ())


def test_calls_without_events_are_shown_by_their_place() -> None:
    """Records alone make a picture, too: places come from the calls."""
    timeline = timeline_of(run_of(call(0, "job/a/b", attempt()), call(1, "elsewhere", attempt())))
    assert [(row.place, row.depth) for row in timeline.rows] == [
        ("job", 0),
        ("job/a", 1),
        ("job/a/b", 2),
        ("elsewhere", 1),
    ]


def test_slashes_in_names_are_shown_as_written() -> None:
    """A branch called a/b is one row with that name."""
    run = ran(sections({"a/b": ASK, "c": ASK}))
    assert [row.name for row in timeline_of(run).rows] == ["sections", "a/b", "c"]


# -- ends ---------------------------------------------------------------------------------------------------------


def test_a_failed_run_has_a_timeline() -> None:
    """The run that an error carries shows what had finished, and where it failed."""
    error = failed(sections({"good": ASK, "bad": taking(1, StatusError("no", status=500))}), BranchError)
    timeline = timeline_of(error.run)
    assert (timeline.state, timeline.error) == ("error", "BranchError")
    found = rows(timeline)
    assert (found["sections/bad"].state, found["sections/bad"].error) == ("error", "StatusError")
    assert found["sections/good"].state == "ok"


def test_an_interrupted_run_has_a_timeline() -> None:
    """Calls whose end was never recorded are shown until the run's end, as unfinished."""
    under_way = call(0, "job", attempt(0, "sent", sent=0.5, ended=0.5), state="sent", ended=0.5)
    events = (
        event(0.0, "run.started", "job", "prompt"),
        msgspec.structs.replace(event(0.5, "call.sent", "job"), call=under_way),
    )
    timeline = timeline_of(run_of(events=events, wall=3.0, error=KeyboardInterrupt()))
    (bar,) = timeline.bars
    assert (timeline.state, bar.state, bar.ended) == ("cancelled", "unfinished", 3.0)
    assert bar.sends[0].phases[-1] == Phase("wire", 0.5, 3.0)
    assert any("still under way" in note for note in timeline.notes)


def test_steps_that_never_ended_end_with_the_run() -> None:
    """Where a run was broken off, what was open is unfinished until its last sign of life."""
    events = (
        event(0.0, "run.started", "job", "sections"),
        event(0.0, "branch.started", "job/a"),
        event(4.0, "branch.started", "job/b"),
    )
    timeline = timeline_of(run_of(events=events, error=KeyboardInterrupt()))
    assert {row.place: (row.state, row.end) for row in timeline.rows} == {
        "job": ("unfinished", 4.0),
        "job/a": ("unfinished", 4.0),
        "job/b": ("unfinished", 4.0),
    }


def test_a_branch_that_failed_on_a_good_reply_is_a_failure() -> None:
    """Where the call was answered and its branch failed all the same, the shared row says so."""
    events = (
        event(0.0, "run.started", "job", "sections"),
        event(0.0, "branch.started", "job/a"),
        event(2.0, "branch.ended", "job/a", error=ValueError("the reply")),
        event(2.0, "run.ended", "job"),
    )
    timeline = timeline_of(run_of(call(0, "job/a", attempt()), events=events))
    assert (timeline.rows[1].state, timeline.rows[1].error, timeline.bars[0].state) == ("error", "ValueError", "ok")


# -- money and words ----------------------------------------------------------------------------------------------


def noted(*calls: Call) -> str:
    return " ".join(timeline_of(run_of(*calls)).notes)


def test_money_says_what_is_not_known() -> None:
    """Made up, a range, unknown, and tokens not told: each has its sentence, and exact money has none."""
    assert noted(call(0, "job", attempt())) == ""
    assert "The cost is a range: 1 call has" in noted(made.cancelled(0, "job"))
    assert "2 calls have" in noted(made.cancelled(0, "job"), made.hedged(1, "job"))
    assert "1 call was without a known price" in noted(call(0, "job", attempt(cost=UNKNOWN_COST)))
    silent = msgspec.structs.replace(call(0, "job", attempt()), usage=None)
    assert "answered without a word on usage" in noted(silent)
    fake = call(0, "job", attempt(cost=UNKNOWN_COST), made_up=True)
    assert noted(fake).startswith("The answers are made up")
    assert noted(fake, call(1, "job", attempt())).startswith("Some answers are made up")


def test_figures_say_made_up_and_ranges() -> None:
    """The cost in the heading is exact, a range, unknown, or made up, and never a plain zero for what is not known."""

    def cost(*calls: Call) -> str:
        return dict(timeline_of(run_of(*calls)).figures)["cost"]

    fake = call(0, "job", attempt(cost=UNKNOWN_COST), made_up=True)
    assert cost(call(0, "job", attempt())) == "$0.002000"
    assert cost(made.cancelled(0, "job")) == "$0.000000 to $0.004000"
    assert cost(call(0, "job", attempt(cost=UNKNOWN_COST))) == "unknown"
    assert cost(fake) == "made up, nothing was paid"
    assert cost(fake, call(1, "job", attempt())) == "at least $0.002000 + made up"


def test_figures_count_sends_and_hedges() -> None:
    """Where calls were sent more than once, the heading says how often, and how many were hedges."""
    figures = dict(timeline_of(small()).figures)
    assert figures["sends"] == "7, 1 hedge"
    assert figures["calls"] == "4, 4 saved"
    assert "sends" not in dict(timeline_of(run_of(call(0, "job", attempt()))).figures)


def test_a_group_sums_what_is_under_it() -> None:
    """Calls, tokens and cost of a place are those of all places under it."""
    root = timeline_of(run_of(call(0, "job/a/b", attempt()), call(1, "job/c", attempt()))).rows[0]
    assert (root.calls, root.tokens, root.cost) == (2, 320, "$0.004000")
    both = timeline_of(run_of(call(0, "job/a", attempt(cost=UNKNOWN_COST), made_up=True)))
    assert both.rows[0].cost == "made up, nothing was paid"


def test_it_holds_no_text_of_prompts_replies_or_outputs() -> None:
    """Neither what was asked nor what came back, parsed or in an error, is in the picture."""
    assert b"secret words" not in msgspec.json.encode(timeline_of(small()))
    model = FakeModel(["a word of the reply"])
    error = failed(sections({"n": prompt("the question: {input}", returns=int)}), BranchError, "the input", model)
    data = msgspec.json.encode(timeline_of(error.run)).decode()
    assert "ParseError" in data
    for text in ("a word of the reply", "the question", "the input"):
        assert text not in data


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, None),
        ("StatusError: m said 429: slow down", "StatusError: m said 429: slow down"),
        ("ReplyError: m sent what is not a message: the reply", "ReplyError"),
        ("LookupError: anything", "LookupError"),
        ("StatusError", "StatusError"),
        ("ConnectError: " + "x" * 1000, "ConnectError: " + "x" * 286),
        ("ConnectError: \ud800", "ConnectError: \\ud800"),
    ],
)
def test_an_error_says_what_cannot_be_a_reply(error: str | None, said: str | None) -> None:
    """Refusals and broken connections are told, in a few lines; of what may quote a reply only the type."""
    assert shown(error) == said


def test_any_name_can_be_written() -> None:
    """Half a surrogate pair in a name, a model or a place is written as an escape."""
    odd = call(0, "job/\ud800", attempt(), model="m\ud801")
    data = json.loads(msgspec.json.encode(timeline_of(run_of(odd, name="\ud802"))))
    assert data["rows"][1]["name"] == "\\ud800"
    assert data["bars"][0]["model"] == "m\\ud801"
    assert data["name"] == "\\ud802"


def test_what_the_road_did_is_in_the_phases() -> None:
    """A call that was refused, waited, and was sent again has all of that, from its real record."""
    said = iter([StatusError("slow down", status=429), "well"])
    model = FakeModel(lambda _: next(said), latency=1.0)
    bar = timeline_of(ran(ASK, model=model, attempts=2)).bars[0]
    assert [(send.state, send.status) for send in bar.sends] == [("error", 429), ("ok", None)]
    assert [phase.kind for phase in bar.sends[0].phases] == ["wire", "backoff"]
    backoff = bar.sends[0].phases[-1]
    assert bar.sends[1].phases[0].start == pytest.approx(backoff.end, abs=1e-4)


def test_gathered_calls_have_rows_of_their_own() -> None:
    """What gather runs side by side stands in branches of its own."""

    @step
    async def both(text: str) -> str:
        first, second = await gather(ASK(text), ASK(text))
        return first + second

    timeline = timeline_of(ran(both))
    assert len({bar.row for bar in timeline.bars}) == len({timeline.rows[bar.row].place for bar in timeline.bars}) == 2


def test_tokens_are_told_by_kind() -> None:
    """A bar has what went in, came out, was cached, reasoning, written to a cache; None where nothing was told."""
    found = bars(timeline_of(small()))
    assert found["retried"].tokens == (120, 40, 20, 10, 5)
    assert found["cancelled"].tokens is None
    assert Usage(*found["retried"].tokens).total_tokens == 160
    assert found["hedged"].cost == str(Cost(0.002, 0.006))
