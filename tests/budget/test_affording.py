"""A fan under a budget: its worst case in one step before the first call, or less of it, or a refusal."""

import asyncio
from typing import Any, Literal

import pytest

from fanfold import (
    Budget,
    Session,
    best_of,
    chain,
    check,
    evaluate,
    fallback,
    guard,
    map_over,
    prompt,
    race,
    rules,
    sample,
    sections,
    step,
    vote,
)
from fanfold.core.clock import sleep
from fanfold.errors import BranchError, BudgetError, ModelError, QuorumError, StatusError, StepTimeout, UsageError
from fanfold.runs.run import Run
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.budget.billing import Billed
from tests.steps.running import Asked

# One call of it takes at most 116 tokens, 0.000416 dollars: one byte and 15 around it, and 100 tokens of reply.
ASK = prompt("{input}", max_tokens=100)
ONE = 0.000417


def paid(pattern: Any, budget: Budget, given: Any = "q", model: Any = None) -> Run[Any]:
    """Run it under a budget; afterwards nothing is reserved."""

    async def main() -> Run[Any]:
        async with Session(model or Billed(usual=1.0), budget=budget) as session, no_leaks(session):
            try:
                return await pattern.run(given, session=session)
            finally:
                purse = session.purse
                assert purse is not None
                assert not purse.reserved
                assert not purse.keepers

    return run_virtual(main())


def refused(pattern: Any, budget: Budget, given: Any = "q") -> BudgetError:
    """The refusal; nothing was sent."""
    model = Billed()
    with pytest.raises(BudgetError) as caught:
        paid(pattern, budget, given, model)
    assert model.calls == 0
    return caught.value


# -- refused before the first call ------------------------------------------------------------------------------------

PATTERNS: dict[str, Any] = {
    "vote": lambda **how: vote(ASK, n=5, **how),
    "jury": lambda **how: vote({str(at): prompt("{input}", max_tokens=100) for at in range(5)}, **how),
    "weighted": lambda **how: vote(ASK, n=5, rule=rules.weighted({str(at): at + 1 for at in range(5)}), **how),
    "any_of": lambda **how: vote(prompt("{input}", returns=bool, max_tokens=100), 5, rule=rules.any_of(True), **how),
    "sample": lambda **how: sample(ASK, n=5, **how),
    "map_over": lambda **how: map_over(ASK, items=lambda _: ["q"] * 5, **how),
    "best_of": lambda **how: best_of(ASK, n=5, judge=len, **how),
    "sections": lambda **how: sections({str(at): ASK for at in range(5)}, **how),
    "evaluate": lambda **how: evaluate({str(at): "good?" for at in range(5)}, **how),
    "race": lambda **how: race(*(prompt("{input}", max_tokens=100, name=str(at)) for at in range(5)), **how),
    "guard": lambda **how: guard(
        ASK, {str(at): prompt("{input}", returns=bool, max_tokens=100) for at in range(4)}, **how
    ),
}
SHRINKING = {"vote", "sample", "map_over", "best_of"}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_fan_that_cannot_be_afforded_is_refused_before_its_first_call(name: str) -> None:
    """It says how many branches would have been; whatever would have happened, none of them is sent."""
    error = refused(PATTERNS[name](), Budget(calls=3))
    assert error.affordable == 3
    assert (error.unit, error.limit, error.needed, error.left) == ("calls", 3, 5, 3)
    assert "(affordable: 3 of 5 branches; if_unaffordable= may say 'shrink')" in str(error)


@pytest.mark.parametrize("name", sorted(set(PATTERNS) - SHRINKING))
def test_what_is_no_longer_itself_with_fewer_branches_is_refused_all_the_same(name: str) -> None:
    """Sections are all needed, and so are voters that differ, or of whom a rule wants each."""
    error = refused(PATTERNS[name](if_unaffordable="shrink"), Budget(calls=3))
    assert "it cannot be had in part" in str(error)


@pytest.mark.parametrize("name", PATTERNS)
def test_what_can_be_afforded_is_run(name: str) -> None:
    """With its own budget as with one around it."""
    model = Asked(lambda request: "Score: 5" if "score" in str(request.schema) else "no")
    paid(PATTERNS[name](budget=Budget(calls=5)), Budget(calls=9), model=model)
    assert 1 <= len(model.requests) <= 5


def test_a_word_that_is_no_policy_is_refused() -> None:
    """Where it is said, not when it is needed."""
    odd: Any = "skip"
    with pytest.raises(UsageError, match="it is 'refuse' or 'shrink'"):
        vote(ASK, n=3, if_unaffordable=odd)


def test_the_sum_is_taken_in_one_step() -> None:
    """Two fans of which only one fits: the second waits for the first, neither gets half of its branches."""
    model = Billed(usual=0.0)

    async def main() -> None:
        async with Session(model, budget=Budget(usd=ONE * 6)) as session:
            maps = [map_over(ASK).run(["q"] * 5, session=session) for _ in range(2)]
            first, second = await asyncio.gather(*maps)
            assert min(call.sent or 0 for call in second.calls) > 0
            assert len(first.output) == len(second.output) == 5

    run_virtual(main())
    assert model.most == 5


def test_the_wait_for_money_is_part_of_the_fans_timeout() -> None:
    """A pattern that gets no money in its time says so, and one that gets it late has the rest of its time."""
    slow = FakeModel(["yes"], latency=2.0)

    async def main(timeout: float, latency: float) -> Any:
        async with Session(slow, budget=Budget(calls=5)) as session:
            begun = asyncio.ensure_future(map_over(ASK).run(["q"] * 3, session=session))
            await sleep(0.1)
            second = sections([ASK, prompt("{input}", model=FakeModel(latency=latency))], timeout=timeout)
            try:
                return await second.run("q", session=session)
            finally:
                begun.cancel()

    async def freed() -> Any:
        async with Session(slow, budget=Budget(tokens=700)) as session:
            begun = asyncio.ensure_future(map_over(ASK).run(["q"] * 5, session=session))
            await sleep(0.1)
            quick = prompt("{input}", max_tokens=100, model=FakeModel(latency=1.5))
            try:
                return await sections([quick, quick], timeout=3).run("q", session=session)
            finally:
                await begun

    assert len(run_virtual(main(3, 0)).output) == 2
    with pytest.raises(StepTimeout):
        run_virtual(freed())


def test_a_branch_of_unknown_size_is_guarded_call_by_call() -> None:
    """A function may do anything: it gets what is there, and the run ends where that is over."""

    @step
    async def talk(given: str) -> str:
        return await ASK(await ASK(given))

    model = Billed()
    with pytest.raises(BudgetError, match="cannot cover a call"):
        paid(map_over(talk), Budget(calls=3), ["q"] * 2, model)
    assert 2 <= model.calls <= 3


def test_a_model_of_unknown_price_is_refused_before_a_sibling_is_paid() -> None:
    """Else the sibling's answer would be paid for nothing."""
    model, odd = Billed(), FakeModel(label="test:unknown")
    odd.made_up = False
    with pytest.raises(ModelError, match="test:unknown"):
        paid(sections([ASK, prompt("{input}", max_tokens=5, model=odd)]), Budget(usd=1), model=model)
    assert model.calls == 0


def test_a_branch_that_finds_no_fields_fails_as_it_does_without_a_budget() -> None:
    """What it would take is not known, and that is no error of the budget's."""
    with pytest.raises(BranchError, match="TemplateError"):
        paid(map_over(prompt("{missing}", max_tokens=5)), Budget(usd=1), ["q", "q"])


def test_what_a_branch_leaves_is_there_for_others_at_once() -> None:
    """Branches that end, that fail, and that are cancelled give back what they did not spend."""
    model = Asked(lambda request: StatusError("no", status=400) if request.messages[0].content == "b" else "no")

    async def main() -> None:
        async with Session(model, budget=Budget(calls=5)) as session:
            await vote(ASK, n=3).run("q", session=session)  # decided after two; the third was sent
            await map_over(prompt("{input}"), on_error="skip").run(["b", "c"], session=session)
            assert session.purse is not None
            assert session.purse.reserved.calls == 0

    run_virtual(main())


def test_a_fallback_pays_for_each_when_it_comes_to_that() -> None:
    """It need not have the money for all, as most often the first will do."""
    run = paid(fallback(ASK, ASK, ASK), Budget(calls=1), model=Asked(["yes"]))
    assert run.output == "yes"


# -- shrunk -----------------------------------------------------------------------------------------------------------


def test_a_shrunk_vote_is_odd_and_says_so() -> None:
    """Of five voters four would fit, and three are asked."""
    run = paid(vote(ASK, n=5, if_unaffordable="shrink"), Budget(usd=ONE * 4), model=Billed(usual=1.0))
    assert run.detail.n == 3
    assert run.detail.shrunk_from == 5
    assert run.detail.why.endswith("; shrunk from 5 to 3 voters, for the budget covers no more")
    whole = paid(vote(ASK, n=5, if_unaffordable="shrink"), Budget(usd=ONE * 5))
    assert (whole.detail.n, whole.detail.shrunk_from) == (5, None)


def test_a_vote_does_not_shrink_below_its_quorum_or_its_threshold() -> None:
    """Else it would be another vote."""
    yes = prompt("{input}", returns=bool, max_tokens=100)
    refused(vote(ASK, n=7, quorum=5, if_unaffordable="shrink"), Budget(calls=4))
    refused(vote(yes, n=7, rule=rules.at_least(5, True), quorum=2, if_unaffordable="shrink"), Budget(calls=4))
    refused(vote(yes, n=7, rule=rules.all_of(True), quorum=1, if_unaffordable="shrink"), Budget(calls=4))
    some = vote(yes, n=7, rule=rules.at_least(2, True), quorum=2, if_unaffordable="shrink")
    run = paid(some, Budget(calls=4), model=Asked(["true"]))
    assert run.detail.n == 3


def test_a_vote_whose_money_is_under_way_waits_for_it_and_does_not_shrink() -> None:
    """Only what can never be had is given up."""

    async def main() -> Any:
        async with Session(Billed(usual=0.0), budget=Budget(usd=ONE * 6)) as session:
            both = [vote(ASK, n=5, stop=None, if_unaffordable="shrink").run("q", session=session) for _ in range(2)]
            return await asyncio.gather(*both)

    assert [run.detail.shrunk_from for run in run_virtual(main())] == [None, None]


def test_a_shrunk_vote_with_a_judge_or_a_key_pays_for_these_too() -> None:
    """They come after the voters, out of what these leave."""
    pattern = vote(prompt("{input}", max_tokens=50), n=5, same="meaning", if_unaffordable="shrink")
    run = paid(pattern, Budget(calls=4), model=Asked(["one", "two", '{"groups": []}', "four"]))
    assert run.detail.n == 3
    keyed = vote(prompt("{input}", max_tokens=50), n=3, same=prompt("Key: {input}", max_tokens=5))
    assert paid(keyed, Budget(calls=6), model=Asked(["one"])).output == "one"
    with pytest.raises(BudgetError):
        paid(keyed, Budget(calls=4), model=Asked(["one"], latency=1.0))


def test_best_of_draws_fewer_and_names_the_rest() -> None:
    """As many as there is money for."""
    pattern = best_of(ASK, n=5, judge=len, if_unaffordable="shrink")
    run = paid(pattern, Budget(calls=2), model=Asked(["a", "bb", "ccc"]))
    assert run.output == "bb"
    assert run.detail.missing == dict.fromkeys("234", "not started: the budget covers 2 branches")


def test_a_map_begins_items_in_order_as_money_comes_back() -> None:
    """The others are missing, under each policy, and the run says why."""
    model = Billed(usual=0.1)
    pattern = map_over(ASK, if_unaffordable="shrink")
    run = paid(pattern, Budget(usd=ONE * 4), ["q"] * 40, model)
    begun = len(run.output)
    assert 8 < begun < 40
    assert list(run.detail.values) == [str(at) for at in range(begun)]
    assert list(run.detail.missing) == [str(at) for at in range(begun, 40)]
    assert run.detail.missing["39"].startswith("not started: the budget of $0.001668 cannot cover this branch")
    assert model.usd > ONE * 3


def test_a_map_of_which_nothing_fits_is_refused() -> None:
    """A list of none would say that there was nothing to do."""
    error = refused(map_over(ASK, if_unaffordable="shrink"), Budget(usd=ONE / 2), ["q"] * 9)
    assert error.affordable == 0
    assert "cannot cover one branch of map_over" in str(error)


def test_a_map_of_which_nothing_fits_any_more_is_refused_too() -> None:
    """The money that it waited for was spent by others."""

    async def main() -> None:
        async with Session(Billed(usual=1.0), budget=Budget(usd=ONE * 2)) as session:
            first = asyncio.ensure_future(map_over(ASK).run(["q"] * 2, session=session))
            await asyncio.sleep(0)
            with pytest.raises(BudgetError):
                await map_over(ASK, if_unaffordable="shrink").run(["q"] * 3, session=session)
            await first

    run_virtual(main())


def test_a_quorum_counts_what_was_not_started() -> None:
    """As missing: the quorum is of values."""
    with pytest.raises(QuorumError, match="not started"):
        paid(map_over(ASK, quorum=3, if_unaffordable="shrink"), Budget(calls=2), ["q"] * 5)


def test_a_failing_item_still_fails_a_map_that_shrinks() -> None:
    """Want of money is forgiven, a failure only under its policy."""
    model = Asked(lambda request: StatusError("no", status=400))
    with pytest.raises(BranchError, match="branch '0'"):
        paid(map_over(ASK, if_unaffordable="shrink"), Budget(calls=2), ["q"] * 5, model)


def test_a_sample_is_smaller() -> None:
    """As many draws as there is money for, in order; with `distinct`, also those that are asked for again."""
    run = paid(sample(ASK, n=5, if_unaffordable="shrink"), Budget(calls=2), model=Asked(["a", "b", "c"]))
    assert run.output == ["a", "b"]
    again = sample(ASK, n=3, distinct=True, if_unaffordable="shrink")
    assert paid(again, Budget(calls=4), model=Asked(["a", "a", "b", "b"])).output == ["a", "b"]
    assert refused(sample(ASK, n=3, distinct=True), Budget(calls=4)).needed == 9
    with pytest.raises(BudgetError):
        paid(sample(ASK, n=2, if_unaffordable="shrink"), Budget(usd=ONE / 2))


def test_a_merge_is_told_what_is_missing() -> None:
    """Of a map and of a sample that shrank."""
    kept: list[Any] = []
    merge = prompt("{parts}", max_tokens=5, model=Asked(lambda request: str(kept.append(request) or "ok")))
    pattern = map_over(ASK, merge=merge, if_unaffordable="shrink", budget=Budget(calls=3))
    with pytest.raises(BudgetError):  # the items take all of it
        paid(pattern, Budget(calls=9), ["q"] * 9, Asked(["a"]))
    chained = chain(map_over(ASK, if_unaffordable="shrink", budget=Budget(calls=3)), len)
    assert paid(chained, Budget(calls=9), ["q"] * 9, Asked(["a"])).output == 3


# -- inside one another -----------------------------------------------------------------------------------------------


def test_fans_in_fans_pay_from_the_pocket_of_their_branch() -> None:
    """The outer fan has leased for all of them: no inner one waits or is refused."""
    inner = vote(ASK, n=3, stop=None)
    model = Billed(usual=1.0)
    run = paid(map_over(inner), Budget(calls=12), ["q"] * 4, model)
    assert len(run.output) == 4
    assert model.calls == 12
    assert refused(map_over(inner), Budget(calls=11), ["q"] * 4).affordable == 3


def test_a_retry_takes_its_money_from_beside_the_pocket() -> None:
    """What the pocket does not hold comes from what is free, and else it waits for its siblings."""
    turns = iter(range(100))

    def answer(request: Any) -> Any:
        return "9" if next(turns) else "nonsense"

    asked = prompt("{input}", returns=Literal["9"], max_tokens=100)
    talk = sections([asked, chain(asked, name="again")], on_error="skip")
    model = Asked(answer)
    model.made_up = False
    assert paid(talk, Budget(calls=2), model=model).output == ["9"]


@pytest.mark.parametrize("kind", ["answer", "stream"])
def test_a_guards_checks_of_the_answer_are_paid_when_they_come(kind: Any) -> None:
    """What they will read is not there before."""
    legit = prompt("{answer}", returns=bool, max_tokens=10)
    pattern = guard(ASK, {"legit": check(legit, on=kind, trips_on=True, every=1)})
    model = Asked(lambda request: "no" if "answer" in str(request.schema) else "fine")
    run = paid(pattern, Budget(usd=0.01, calls=20), model=model)
    assert len(run.calls) >= 2


def test_a_check_on_the_stream_keeps_no_money_from_the_answer_that_it_reads() -> None:
    """It waited for text, with a call laid aside for it; the answer for that call, and so both for ever."""

    @step
    async def twice(given: str) -> str:
        return await ASK(await ASK(given))

    pattern = guard(twice, {"no": check(prompt("{window}", returns=bool, max_tokens=10), on="stream")})
    model = Asked(lambda request: "false" if request.schema else "fine")
    model.made_up = False
    assert paid(pattern, Budget(calls=3), model=model).output == "fine"
    with pytest.raises(BudgetError) as caught:
        paid(pattern, Budget(calls=2), model=model)
    assert (caught.value.spent, caught.value.left) == (2, 0)
