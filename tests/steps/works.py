"""Every pattern as work for a session: what the tests of cancellation cut short."""

from dataclasses import dataclass
from typing import Any, Literal

from fanfold import (
    Session,
    best_of,
    chain,
    check,
    evaluate,
    fallback,
    gate,
    gather,
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
from tests.steps.cancelling import TICK, Work

ASK = prompt("{input}")
PICK = prompt("Pick: {input}", returns=Literal["a", "b"])
FLAKY = prompt("Flaky: {input}")
YES = prompt("Yes or no: {input}", returns=bool)


@dataclass
class Choice:
    """A record to vote on."""

    pick: Literal["a", "b"]
    count: int


@step
async def gathering(given: str) -> str:
    """A plain function that gathers, twice."""
    first, second = await gather(ASK(given), vote(PICK, n=3)(given))
    third, fourth = await gather(ASK(first), prompt("{input}", returns=Literal["a", "b"], retries=1)(second))
    return third + fourth


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

STEPS = {
    "prompt": ASK,
    "chain": chain(ASK, prompt("Again: {input}", retries=1), str.upper),
    "sections with a merge": sections({"x": ASK, "y": PICK, "z": ASK}, merge=prompt("{x}{y}{z}")),
    "sections that skip": sections({"x": ASK, "y": FLAKY, "z": FLAKY, "w": str}, on_error="skip"),
    "vote": vote(PICK, n=5),
    "vote in waves": vote(PICK, n=6, wave=2, stop=None),
    "vote with a tie step": vote(PICK, n=4, stop=None, ties=prompt("{tied}", returns=Literal["a", "b"])),
    "distinct sample": sample(ASK, 3, distinct=True),
    "gather in a step": gathering,
    "votes in sections in a chain": chain(
        sections({"jury": vote(vote(PICK, n=3), n=3), "line": chain(ASK, ASK)}, quorum=1, timeout=40 * TICK),
        vote(ASK, n=3),
    ),
    "sample with a merge": sample(FLAKY, 4, merge=ASK, timeout=30 * TICK),
    "vote with a merge": vote({"x": ASK, "y": FLAKY}, merge=prompt("{x}{y}")),
    "vote by meaning": vote(ASK, n=4, same="meaning", timeout=40 * TICK),
    "vote by a step's key": vote(FLAKY, n=4, same=PICK),
    "vote by fields": vote(chain(PICK, lambda pick: Choice(pick, 1)), n=5, rule=rules.fields(of=Choice)),
    "route": route(lambda _: "a", {"a": FLAKY, "b": ASK}),
    "gate": ASK | gate(YES, retries=2, otherwise=ASK),
    "retry": retry(FLAKY, retries=3),
    "race": race(FLAKY, ASK, ASK),
    "staggered race": race(FLAKY, FLAKY, ASK, stagger=2 * TICK),
    "fallback": fallback(FLAKY, FLAKY, ASK),
    "tree merge": map_over(FLAKY, items=lambda _: list("abcdef"), merge=ASK, merge_fits=40, on_error="skip"),
    "guard": guard(ASK, CHECKS),
    "evaluate": evaluate(["a", "b", "c"], merge="mean", on_error="skip"),
    "best of, listwise": best_of(ASK, n=3),
    "best of, pairwise": best_of(FLAKY, n=3, how="pairwise"),
    "started steps": started,
    "race in a chain in a route in a guard": guard(
        route(lambda _: "a", {"a": chain(ASK, race(ASK, started))}), CHECKS, timeout=25 * TICK
    ),
}

HOLDING = {"race", "staggered race", "fallback", "guard", "race in a chain in a route in a guard"}


def running(pattern: Any) -> Work:
    return lambda session: pattern.run("q", session=session)


def reading(view: str, pattern: Any) -> Work:
    async def read(session: Session) -> list[Any]:
        async with getattr(pattern, view)("q", session=session) as items:
            return [item async for item in items]

    return read


WORKS: dict[str, Work] = {
    **{name: running(pattern) for name, pattern in STEPS.items()},
    "updates": reading("updates", STEPS["sections with a merge"]),
    "text": reading("text", chain(STEPS["vote"], ASK)),
    "events": reading("events", STEPS["gather in a step"]),
}
