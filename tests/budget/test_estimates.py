"""Estimates: what a step will take, at least and at most, before anything is sent."""

from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold import (
    Budget,
    OpenAI,
    Session,
    Step,
    best_of,
    chain,
    check,
    criterion,
    evaluate,
    fallback,
    gate,
    guard,
    map_over,
    prompt,
    race,
    retry,
    route,
    rules,
    sample,
    sections,
    step,
    vote,
)
from fanfold.calls.estimates import NO_CALLS, NOT_KNOWN, Bounds, Estimate, one_of
from fanfold.core.records import Cost
from fanfold.errors import ModelError, TemplateError
from fanfold.testing import FakeModel, run_virtual
from tests.budget.billing import Billed
from tests.steps.running import Asked

ASK = prompt("{input}", max_tokens=100)  # of "q": 17 tokens of input at most
YES = prompt("{input}", returns=bool, max_tokens=5)
OTHER = prompt("{input}", max_tokens=10, name="other")


@step
async def anything(given: str) -> str:
    """A function: nobody knows what it calls."""
    return await ASK(given)


def foretold(pattern: Step[Any, Any], given: Any = "q", **options: Any) -> Estimate:
    """The estimate of a step on a model at $1 and $4 a million."""
    return pattern.estimate(given, session=Session(Billed(), **options))


def calls(pattern: Step[Any, Any], given: Any = "q") -> tuple[int, int | None]:
    """How many calls at least and at most."""
    found = foretold(pattern, given).calls
    return found.at_least, found.at_most


def test_a_prompt_is_one_call_of_known_size() -> None:
    """Its input a token a byte and some around it, its reply as long as it may be."""
    found = foretold(ASK)
    assert found == Estimate(Bounds(1, 1), Bounds(1, 117), Cost(1e-6, 0.000417))
    assert str(found) == "1 call, 1 to 117 tokens, cost $0.000001 to $0.000417"
    with pytest.raises(TypeError, match="not a truth value"):
        bool(found)


def test_a_prompt_without_a_ceiling_has_no_most() -> None:
    """Unless a budget gives it one: the session's, or its own."""
    free = prompt("{input}")
    assert foretold(free).tokens == Bounds(1, None)
    assert foretold(free).usd.at_most is None
    assert foretold(free, budget=Budget(usd=1, max_tokens=100)).tokens == Bounds(1, 117)
    assert foretold(prompt("{input}", budget=Budget(tokens=60, max_tokens=100))).tokens == Bounds(1, 60)


def test_retries_of_a_prompt_are_among_the_most() -> None:
    """And not among the least."""
    found = foretold(prompt("{input}", max_tokens=100, retries=2))
    assert (found.calls, found.tokens) == (Bounds(1, 3), Bounds(1, 3 * 117))


@pytest.mark.parametrize(
    ("pattern", "bounds"),
    [
        (anything, (0, None)),
        (chain(ASK, str.upper), (1, 1)),
        (chain(ASK, OTHER), (2, 2)),
        (chain(ASK, anything), (1, None)),
        (sections({"a": ASK, "b": OTHER}), (2, 2)),
        (sections({"a": ASK, "b": OTHER}, merge=ASK), (3, 3)),
        (sections({"a": ASK, "b": OTHER}, merge=len), (2, 2)),
        (sections({"a": ASK}, merge=lambda parts: parts), (1, None)),
        (sections(lambda given: [ASK]), (0, None)),
        (vote(ASK, n=5), (3, 5)),
        (vote(ASK, n=4), (2, 4)),
        (vote(YES, n=4), (2, 4)),
        (vote(ASK, n=5, stop=None), (5, 5)),
        (vote(ASK, n=5, merge=ASK), (6, 6)),
        (vote(ASK, n=3, ties=ASK), (2, 4)),
        (vote(ASK, n=3, same="meaning"), (2, 4)),
        (vote(ASK, n=3, same=OTHER), (2, 6)),
        (vote(YES, n=5, rule=rules.at_least(2, True)), (2, 5)),
        (vote(YES, n=5, rule=rules.any_of(True)), (1, 5)),
        (vote(YES, n=5, rule=rules.all_of(True)), (5, 5)),
        (vote(ASK, n=3, rule=rules.weighted({"0": 5, "1": 1, "2": 1})), (1, 3)),
        (vote(prompt("{input}", returns=int, max_tokens=5), n=3, rule=rules.median()), (2, 3)),
        (vote({"a": ASK, "b": OTHER, "c": YES}), (2, 3)),
        (sample(ASK, 3), (3, 3)),
        (sample(ASK, 3, distinct=True), (3, 9)),
        (sample(ASK, 3, merge=ASK), (4, 4)),
        (best_of(ASK, 3), (3, 5)),
        (best_of(ASK, 3, how="pairwise"), (3, 9)),
        (best_of(ASK, 3, how="pointwise", judge=["fake:", "fake:2"]), (3, 9)),
        (best_of(ASK, 3, judge=YES), (3, 6)),
        (best_of(ASK, 1), (1, 1)),
        (guard(ASK, {"a": YES, "b": check(YES, on="answer")}), (0, 3)),
        (guard(ASK, {"a": YES}, otherwise=OTHER), (1, 3)),
        (guard(ASK, {"a": check(YES, on="stream")}), (0, None)),
        (evaluate(["a", "b"]), (2, 2)),
        (evaluate({"a": criterion("x", panel=["fake:1", "fake:2"])}), (2, 2)),
        (race(ASK, OTHER, YES), (1, 3)),
        (fallback(ASK, OTHER), (1, 2)),
        (route(prompt("{input}", returns=Literal["a", "b"], max_tokens=5), {"a": ASK, "b": ASK | OTHER}), (2, 3)),
        (retry(ASK, retries=2), (1, 3)),
        (ASK | gate(YES, retries=2), (2, 6)),
        (ASK | gate(YES, otherwise=OTHER), (2, 3)),
        (gate(YES, otherwise=OTHER), (1, 2)),
    ],
)
def test_every_pattern_knows_its_calls(pattern: Step[Any, Any], bounds: tuple[int, int | None]) -> None:
    """At least: if nothing fails and all is decided as soon as it can be; at most: whatever happens in it."""
    assert calls(pattern) == bounds


def test_the_least_of_a_vote_is_that_of_its_cheapest_voters() -> None:
    """Of each unit by itself: who writes least is not always who costs least, nor the first who was named."""
    cheap = prompt("{input}", model=OpenAI("a", price=(1, 1)), max_tokens=5)
    dear = prompt("{input}", model=OpenAI("b", price=(1000, 1000)), max_tokens=5)
    told = prompt("{input}", model=OpenAI("c", price=(1, 1)), max_tokens=5, system="Be brief.")
    assert foretold(vote([dear, cheap, cheap])).usd.at_least == pytest.approx(2e-6)
    found = foretold(vote([dear, told, cheap]))
    assert (found.calls.at_least, found.tokens.at_least) == (2, 2)
    assert found.usd.at_least == pytest.approx(3e-6)


def test_a_map_has_a_branch_an_item_and_its_merges() -> None:
    """A tree of merges has no more calls than items, and one."""
    assert calls(map_over(ASK), ["q"] * 7) == (7, 7)
    assert calls(map_over(ASK, merge=len), ["q"] * 7) == (7, 7)
    assert calls(map_over(ASK, merge=OTHER), ["q"] * 7) == (8, 8)
    assert calls(map_over(ASK, merge=OTHER, merge_fits=9), ["q"] * 7) == (8, 15)
    assert calls(chain(ASK, map_over(ASK))) == (1, None)


def test_what_reads_what_another_writes_is_of_unknown_size() -> None:
    """Its calls are known, its tokens are not."""
    found = foretold(chain(ASK, OTHER))
    assert (found.tokens, found.usd.at_most) == (Bounds(2, None), None)
    assert foretold(ASK | gate(YES, retries=1)).tokens.at_most is None
    assert foretold(sections([ASK, OTHER])).tokens.at_most == 117 + 27


def test_a_budget_inside_bounds_what_is_not_known() -> None:
    """A step cannot take more than its own budget."""
    bounded = chain(anything, ASK, budget=Budget(usd=0.01, tokens=500, calls=3))
    assert foretold(bounded) == Estimate(Bounds(1, 3), Bounds(1, 500), Cost(0.0, 0.01))
    assert foretold(sections([bounded, ASK])).calls == Bounds(2, 4)


def test_prices_go_by_label_without_a_key() -> None:
    """Nothing is opened; an unknown price is unknown and names the model, a made-up answer costs nothing."""
    listed = prompt("{input}", max_tokens=100, model="openai:gpt-4o-mini").estimate("q")
    assert listed.usd.at_most == pytest.approx((17 * 0.15 + 100 * 0.6) / 1e6)
    given = prompt("{input}", max_tokens=100, model=OpenAI("mine", price=(1, 4))).estimate("q")
    assert given.usd.at_most == pytest.approx(0.000417)
    odd = sections([prompt("{input}", model="ollama:x"), prompt("{input}", model="ollama:y"), ASK])
    found = foretold(odd)
    assert found.unpriced == ("ollama:x", "ollama:y")
    assert found.usd.at_most is None
    assert ASK.estimate("q", session=Session(FakeModel())).usd == Cost()
    assert chain(ASK, ASK).estimate("q", session=Session(FakeModel())).usd == Cost()


def test_what_could_not_run_cannot_be_estimated() -> None:
    """The same errors, and nothing was sent."""
    with pytest.raises(TemplateError, match="missing"):
        foretold(prompt("{missing}"))
    with pytest.raises(ModelError, match="no model"):
        ASK.estimate("q")


def test_inside_a_run_the_session_and_the_budget_are_those_of_the_run() -> None:
    """So a function can look before it asks."""
    free = prompt("{input}")

    @step
    async def looks(given: str) -> int | None:
        return free.estimate(given).tokens.at_most

    session = Session(Billed())
    assert run_virtual(looks.run("q", session=session, budget=Budget(usd=1, max_tokens=100))).output == 117


def test_a_schema_or_its_words_count_whichever_is_more() -> None:
    """Which of them is sent shows when the model is opened."""
    wordy = prompt("{input}", returns=list[str], max_tokens=100)
    bare = prompt("{input}", returns=list[str], max_tokens=100, structured=False)
    assert (foretold(wordy).tokens.at_most or 0) > (foretold(bare).tokens.at_most or 0) > 117


def test_evaluations_estimate_the_fence_as_it_will_be() -> None:
    """To the byte: a fence is as long as any other."""
    model = Asked(lambda request: '{"explanation": "x", "score": 5}')
    model.made_up = False
    model.given_rate = Billed().given_rate
    pattern = evaluate({"a": "good?"}, budget=Budget(usd=1))
    session = Session(model)
    estimate = pattern.estimate({"question": "why?", "odd name": "because"}, session=session)
    run_virtual(pattern.run({"question": "why?", "odd name": "because"}, session=Session(model)))
    (request,) = model.requests
    (message,) = request.messages
    assert estimate.tokens.at_most is not None
    assert 0 < estimate.tokens.at_most - 4096 - len(str(message.content)) < 1500


bounds = st.builds(
    lambda low, more: Bounds(low, None if more is None else low + more),
    st.integers(0, 9),
    st.none() | st.integers(0, 9),
)
estimates = st.builds(
    lambda counted, tokens: Estimate(counted, tokens, Cost(tokens.at_least, tokens.at_most)), bounds, bounds
)


@given(st.lists(estimates, min_size=1, max_size=4), st.integers(0, 3), st.none() | st.integers(3, 5))
@settings(max_examples=60)
def test_the_least_is_never_above_the_most(parts: list[Estimate], least: int, most: int | None) -> None:
    """However estimates are put together."""
    whole = sum(parts, NO_CALLS)
    for found in (
        whole,
        one_of(parts),
        whole.times(least, most),
        whole.within(Budget(usd=1, tokens=2, calls=3)),
        NOT_KNOWN,
    ):
        for side in (found.calls, found.tokens, found.usd):
            assert side.at_most is None or side.at_least <= side.at_most
    assert one_of(parts).calls.at_least <= whole.calls.at_least
