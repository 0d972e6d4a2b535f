"""Places and draws: where in a run a call stands, which sample it is, and what may not be called any more."""

import asyncio
import random
from typing import Any, Literal

import pytest

from fanfold import Session, chain, gather, prompt, sample, sections, step, vote
from fanfold.core.clock import sleep
from fanfold.core.records import UNKNOWN_COST, Branch, Cost, Event, Request
from fanfold.core.scope import Scope, current, place_in
from fanfold.errors import LoopError, ScopeEnded
from fanfold.runs.run import Run
from fanfold.testing import FakeModel, no_leaks, run_virtual

ASK = prompt("{input}")


def ran(pattern: Any, given: Any = "q", model: FakeModel | None = None, **options: Any) -> Run[Any]:
    """Run a pattern in virtual time, on a model that answers with the draw's ordinal."""

    async def main() -> Run[Any]:
        chosen = model or FakeModel(lambda request: str(request.draw.ordinal))
        async with Session(chosen, **options) as session, no_leaks(session):
            return await pattern.run(given)

    return run_virtual(main())


def draws(run: Run[Any]) -> list[tuple[str, int, int]]:
    """Place, nth and ordinal of every call."""
    return sorted((call.draw.place, call.draw.nth, call.draw.ordinal) for call in run.calls)


def ordinals(run: Run[Any]) -> list[int]:
    return sorted(call.draw.ordinal for call in run.calls)


# -- places -------------------------------------------------------------------------------------------------------


def test_a_call_knows_its_place_in_the_run() -> None:
    """A place is the way from the run's step to the call, a name at each step and branch."""
    part = sections({"tone": ASK, "facts": chain(ASK, prompt("Short: {input}", name="shorten"))})
    run = ran(chain(part, str, vote(ASK, n=2, stop=None, name="jury")))
    assert sorted({call.place for call in run.calls}) == [
        "chain/jury/0",
        "chain/jury/1",
        "chain/sections/facts/prompt",
        "chain/sections/facts/shorten",
        "chain/sections/tone",
    ]


@pytest.mark.parametrize(
    ("name", "shown"), [("tone", "run/tone"), ("and/or", "run/and%2For"), ("/", "run/%2F"), ("é b", "run/é b")]
)
def test_a_slash_in_a_name_is_no_step_down(name: str, shown: str) -> None:
    """A slash that belongs to a name is written %2F in a place."""
    assert place_in("run", name) == shown


def test_names_with_slashes_come_back_whole() -> None:
    """Updates, runs and places agree on names that hold a slash, the run's own included."""

    async def main() -> list[tuple[str, Any]]:
        pattern = sections({"either/or": ASK, "b": ASK}, name="this/that")
        async with Session(FakeModel(["x"])), pattern.updates("q") as updates:
            seen = [item async for item in updates]
        assert updates.run.name == "this/that"
        assert {call.place for call in updates.run.calls} == {"this%2Fthat/either%2For", "this%2Fthat/b"}
        return seen

    assert sorted(run_virtual(main())) == [("b", "x"), ("either/or", "x")]


def test_a_part_of_a_run_keeps_its_steps_name() -> None:
    """The record of a run inside a step bears the name that the step has."""

    @step
    async def outer(given: str) -> str:
        return (await prompt("{input}", name="and/or").run(given)).name

    assert ran(outer).output == "and/or"


def test_code_outside_of_every_run_has_no_scope() -> None:
    """`current()` is None outside, the step's scope inside, and None again after."""
    inside: list[Any] = []

    @step
    async def look(given: str) -> str:
        inside.append(current().place)
        return given

    async def main() -> None:
        before = current()
        await look("x")
        inside.extend([before, current()])

    run_virtual(main())
    assert inside == ["look", None, None]


def test_only_tails_of_tails_are_tails() -> None:
    """Text is the pattern's only if every step and branch on the way to it is the last one."""
    root = Scope(None, "run")
    assert root.inside("a", tail=True).inside("b", tail=True).tail
    assert not root.inside("a", tail=False).inside("b", tail=True).tail
    assert not root.inside("a", tail=True).arm(Branch("b", lambda: sleep(0))).tail
    assert root.arm(Branch("b", lambda: sleep(0), tail=True)).tail


# -- draws --------------------------------------------------------------------------------------------------------


def test_the_repetitions_of_a_vote_are_numbered() -> None:
    """Five votes with one prompt are five samples: ordinals 0 to 4, each the first of its place."""
    run = ran(vote(ASK, n=5, stop=None))
    assert draws(run) == [(f"vote/{at}", 0, at) for at in range(5)]
    assert sorted(ballot.value for ballot in run.detail.ballots) == list("01234")


def test_panel_members_each_draw_the_first_sample() -> None:
    """Different steps in one vote have ordinal 0 each: none repeats another."""
    panel = {name: prompt("{input}", temperature=at / 10) for at, name in enumerate("abc")}
    assert ordinals(ran(vote(panel, stop=None))) == [0, 0, 0]
    assert ordinals(ran(vote(list(panel.values()), stop=None))) == [0, 0, 0]


def test_a_step_asked_twice_in_a_panel_is_a_repetition() -> None:
    """The same step object twice among others gets ordinals 0 and 1, the others 0."""
    other = prompt("Think. {input}")
    assert draws(ran(vote([ASK, other, ASK], stop=None))) == [("vote/0", 0, 0), ("vote/1", 0, 0), ("vote/2", 0, 1)]


def test_nested_votes_keep_distinct_ordinals() -> None:
    """A vote of three votes of five are fifteen samples."""
    run = ran(vote(vote(ASK, n=5, stop=None), n=3, stop=None))
    assert ordinals(run) == list(range(15))
    deeper = vote(vote(vote(ASK, n=2, stop=None), n=3, stop=None), n=4, stop=None)
    assert ordinals(ran(deeper)) == list(range(24))


def test_samples_are_numbered_and_count_on() -> None:
    """A sample of n has ordinals 0 to n-1; one drawn in place of a repeated answer takes the next."""
    assert ordinals(ran(sample(ASK, 4))) == [0, 1, 2, 3]
    repeats = ran(sample(ASK, 3, distinct=True), model=FakeModel(["a", "a", "b", "a", "c"]))
    assert repeats.output == ["a", "b", "c"]
    assert ordinals(repeats) == [0, 1, 2, 3, 4]


def test_what_is_asked_again_counts_on_beyond_the_repetitions() -> None:
    """The k-th retry in a vote of three has an ordinal of its own, k × 3 after the voter's first."""
    pick = prompt("{input}", returns=Literal["yes", "no"], retries=2)
    texts = {0: "?", 1: "yes", 2: "?", 3: "?", 5: "no", 6: "yes"}
    model = FakeModel(lambda request: texts[request.draw.ordinal], structured=False)
    run = ran(vote(pick, n=3, stop=None), model=model)
    assert draws(run) == [
        ("vote/0", 0, 0),
        ("vote/0", 1, 3),
        ("vote/0", 2, 6),
        ("vote/1", 0, 1),
        ("vote/2", 0, 2),
        ("vote/2", 1, 5),
    ]
    assert [ballot.value for ballot in run.detail.ballots] == ["yes", "yes", "no"]


def test_only_identical_requests_count_each_other() -> None:
    """In one branch the second asking of one request is its second sample; another request's is its first."""

    @step
    async def both(given: str) -> list[str]:
        return [await ASK(given), await prompt("Again: {input}")(given), await ASK(given)]

    run = ran(both)
    assert [(call.draw.nth, call.draw.ordinal) for call in run.calls] == [(0, 0), (0, 0), (1, 1)]


def test_a_pattern_that_runs_twice_draws_new_samples() -> None:
    """The second round of one vote in one place never gets the first round's samples again."""
    jury = vote(ASK, n=3, stop=None)

    @step
    async def rounds(given: str) -> list[str]:
        first, second = await jury.run(given), await jury.run(given)
        return [ballot.value for run in (first, second) for ballot in run.detail.ballots]

    run = ran(rounds)
    assert run.output == list("012345")
    assert len(set(draws(run))) == 6


def test_gathered_steps_draw_in_places_of_their_own() -> None:
    """Two awaitables that run together have two places, so that neither counts the other's requests."""

    @step
    async def pair(given: str) -> tuple[str, str]:
        return await gather(ASK(given), ASK(given))

    assert draws(ran(pair)) == [("pair/0", 0, 0), ("pair/1", 0, 0)]


def nested() -> Any:
    """A pattern with everything that draws: sections, votes, retries, loops, gathers and samples in one another."""
    pick = prompt("Pick: {input}", returns=Literal["a", "b"], retries=2)
    jury = vote(pick, n=2, stop=None)

    @step
    async def rounds(given: str) -> str:
        first, second = await gather(jury(given), ASK(given))
        return f"{first}{second}{await jury(given)}{await jury(given)}"

    return sections(
        {
            "jury": vote(vote(pick, n=2, stop=None), n=2, stop=None),
            "rounds": rounds,
            "ideas": sample(ASK, 3),
            "line": chain(ASK, pick, jury),
            "panel": vote({"x": ASK, "y": pick, "z": ASK}, stop=None),
        }
    )


def test_draws_do_not_depend_on_the_order_in_which_replies_come() -> None:
    """200 runs of a nested pattern with random latencies draw the same samples in the same places, to the same end."""
    pattern = nested()

    def answer(request: Request) -> str:
        draw = request.draw
        said = random.Random(f"{draw.place} {draw.nth} {draw.ordinal} {request.messages[-1].content}").choice("ab?")
        return said if "Pick" in str(request.messages[-1].content) else f"idea {said}"

    def outcome(seed: int) -> tuple[Any, Any]:
        chance = random.Random(seed)
        model = FakeModel(answer, structured=False, latency=lambda _: chance.choice([0.0, 0.1, chance.random()]))
        run = ran(pattern, "q", model, max_in_flight=1 + seed % 7)
        return draws(run), (run.output, [event.place for event in run.events if event.kind == "branch.ended"])

    first, (output, _) = outcome(0)
    assert len(first) > 25
    orders = set()
    for seed in range(1, 200):
        seen, (again, came) = outcome(seed)
        assert seen == first
        assert again == output
        orders.add(tuple(came))
    assert len(orders) > 100


def test_no_sample_is_drawn_twice() -> None:
    """In a whole run no two calls of one request share a place and a number."""
    requests: list[tuple[bytes, str, int]] = []

    def answer(request: Request) -> str:
        requests.append((request.key(), request.draw.place, request.draw.nth))
        return random.Random(len(requests)).choice("ab?")

    ran(nested(), model=FakeModel(answer, structured=False))
    assert len(requests) == len(set(requests)) > 25


# -- the end of a scope -------------------------------------------------------------------------------------------


def leaky(work: Any, seconds: float = 0.0) -> tuple[Any, list[asyncio.Task[Any]]]:
    """A step that starts `work` as a task of its own and leaves it behind."""
    tasks: list[asyncio.Task[Any]] = []

    @step
    async def leak(given: str) -> str:
        tasks.append(asyncio.create_task(work(given)))
        await sleep(seconds)
        return "done"

    return leak, tasks


def leaked(work: Any, model: FakeModel, seconds: float = 0.0, **options: Any) -> tuple[Run[Any], Any, Session]:
    """Run the leaky step, then see what the task that it left came to."""

    async def main() -> tuple[Run[Any], Any, Session]:
        leak, tasks = leaky(work, seconds)
        async with Session(model, **options) as session:
            run = await leak.run("q")
            (came,) = await asyncio.gather(*tasks, return_exceptions=True)
        return run, came, session

    return run_virtual(main())


def test_a_call_under_an_ended_step_is_never_sent() -> None:
    """A task that a step left behind gets `ScopeEnded` from its next call, and the model sees no request."""
    sent: list[Request] = []
    model = FakeModel(lambda request: sent.append(request) or "x")

    async def later(given: str) -> str:
        await sleep(1)
        return await ASK(given)

    run, came, session = leaked(later, model)
    assert isinstance(came, ScopeEnded)
    assert "'leak' after it had ended" in str(came)
    assert (sent, run.calls, session.statistics().calls) == ([], (), 0)


def test_a_step_that_runs_under_an_ended_one_makes_no_further_call() -> None:
    """What began in time may not go on: the second link of a chain left behind raises `ScopeEnded`."""
    sent: list[Request] = []
    model = FakeModel(lambda request: sent.append(request) or "x", latency=1)
    _, came, _ = leaked(chain(ASK, prompt("Then: {input}")), model, seconds=0.5)
    assert isinstance(came, ScopeEnded)
    assert len(sent) == 1


def test_a_call_that_waited_for_its_slot_until_its_step_was_over_is_not_sent() -> None:
    """The wait for a slot does not carry a call over the end of its step; such a call cost nothing."""
    sent: list[Request] = []
    model = FakeModel(lambda request: sent.append(request) or "x", latency=1)

    async def two(given: str) -> Any:
        return await asyncio.gather(ASK(given), ASK(given), return_exceptions=True)

    _, came, session = leaked(two, model, seconds=0.5, max_in_flight=1)
    assert came[0] == "x"
    assert isinstance(came[1], ScopeEnded)
    assert len(sent) == 1
    assert session.statistics().slots.in_use == session.statistics().slots.waiting == 0


def test_a_call_under_an_ended_branch_is_never_sent() -> None:
    """A task that a branch left behind gets `ScopeEnded`, also while the rest of the run goes on."""
    tasks: list[asyncio.Task[Any]] = []

    async def branch(given: str) -> str:
        async def later() -> str:
            await sleep(1)
            return await ASK(given)

        tasks.append(asyncio.create_task(later()))
        return given

    async def patient(given: str) -> str:
        await sleep(2)
        (came,) = await asyncio.gather(*tasks, return_exceptions=True)
        return type(came).__name__

    run = ran(sections({"leaky": branch, "patient": patient}))
    assert run.output["patient"] == "ScopeEnded"
    assert run.calls == ()


def test_a_call_refused_at_the_road_leaves_no_record() -> None:
    """A prompt's own work done under an ended step is refused before it is queued; it takes no slot."""
    run, came, session = leaked(lambda given: _later(ASK.execute(given)), FakeModel(latency=1))
    assert isinstance(came, ScopeEnded)
    assert (run.calls, session.statistics().calls) == ((), 0)


async def _later(work: Any) -> Any:
    await sleep(1)
    return await work


def test_a_call_that_was_never_sent_costs_nothing() -> None:
    """Where the price is not known, a call that ended before it was sent is free all the same."""
    events: list[Event] = []

    async def two(given: str) -> Any:
        return await asyncio.gather(ASK(given), ASK(given), return_exceptions=True)

    leaked(two, FakeModel(latency=1), seconds=0.5, max_in_flight=1, on_event=events.append)
    ended = [event.call for event in events if event.kind == "call.ended"]
    assert [(call.state, call.sent is None, call.cost) for call in ended] == [
        ("ok", False, UNKNOWN_COST),
        ("error", True, Cost()),
    ]


def test_a_prompt_outside_of_every_run_cannot_call() -> None:
    """A step's inner work, called by hand and not awaited as a step, says what to do."""
    for work in (ASK.execute("x"), Session(FakeModel()).road.call(FakeModel(), None, Request(()))):
        with pytest.raises(LoopError, match="needs a run around it"):
            asyncio.run(work)
