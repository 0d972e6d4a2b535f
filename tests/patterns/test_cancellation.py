"""Every pattern under cancellation at a random moment: nothing is left 100 ms later, 100 schedules each."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import best_of, chain, check, evaluate, fallback, gate, guard, map_over, race, retry, route, step
from fanfold.errors import ConnectError
from tests.patterns.hearing import ask, asked, cancelled_anywhere, paced

ASK = ask("ask")
YES = ask("yes", returns=bool)


@step
async def started(given: str) -> str:
    """Starts three, awaits one, and leaves one to the step around."""
    first, second = ASK.start(given), YES.start(given)
    ASK.start(given)
    await second
    return await first


CHECKS = {
    "input": YES,
    "whole": check(YES, on="answer", trips_on=False),
    "stream": check(YES, on="stream", every=10, on_error="pass"),
}

PATTERNS: dict[str, Callable[[], Any]] = {
    "route": lambda: route(lambda _: "a", {"a": ASK, "b": ASK}),
    "gate": lambda: ASK | gate(YES, retries=2, otherwise=ASK),
    "retry": lambda: retry(ASK, retries=3),
    "race": lambda: race(ASK, ASK, ASK),
    "staggered": lambda: race(ASK, ASK, ASK, stagger=0.25),
    "fallback": lambda: fallback(ASK, ASK, ASK),
    "map_over": lambda: map_over(ASK, items=lambda _: list("abcdef"), merge=ASK, merge_fits=40, on_error="skip"),
    "guard": lambda: guard(ASK, CHECKS),
    "evaluate": lambda: evaluate(["a", "b", "c"], merge="mean", on_error="skip"),
    "listwise": lambda: best_of(ASK, n=3),
    "pairwise": lambda: best_of(ASK, n=3, how="pairwise"),
    "start": lambda: started,
    "nested": lambda: guard(route(lambda _: "a", {"a": chain(ASK, race(ASK, started))}), CHECKS, timeout=0.8),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_cancelled_pattern_leaves_nothing_behind(name: str) -> None:
    """Cancelled at any moment, with failures in between, it is gone within 100 ms: no tasks, no slots."""

    def make(chance: random.Random) -> tuple[Any, Any]:
        def answer(request: Any) -> Any:
            if chance.random() < 0.2:
                return ConnectError("down")
            return chance.choice(["yes", "no"]) if asked(request).startswith("yes") else f"text {chance.random()}"

        return PATTERNS[name](), paced(answer, chance)

    outcomes = cancelled_anywhere(make)
    assert len(outcomes) == 100
    assert outcomes.count("CancelledError") > 20
