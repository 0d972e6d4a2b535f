"""Every pattern, in the shapes that matter: for tests of what holds whatever runs.

A model that they are run on answers `PICK` and `YES` with what they ask for, and may fail where `FLAKY` asks.
"""

from dataclasses import dataclass
from typing import Any, Literal

from fanfold import (
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

ASK = prompt("{input}", name="ask")
PICK = prompt("Pick: {input}", returns=Literal["a", "b"], name="pick")
FLAKY = prompt("Flaky: {input}", name="flaky")
YES = prompt("Yes or no: {input}", returns=bool, name="yes")
LONG = prompt("Long: {input}", name="long")


@dataclass
class Choice:
    """A record to vote on."""

    pick: Literal["a", "b"]
    count: int


@step
async def plain(given: str) -> str:
    """A plain function that gathers, twice, has one started beside it, and goes on with what came."""
    handle = PICK.start(given + " started")
    first, second = await gather(ASK(given), vote(PICK, n=3)(given))
    third, fourth = await gather(ASK(first), prompt("{input}", returns=Literal["a", "b"], retries=1)(second))
    return f"{third} {fourth} {await handle} {await prompt('then {input}')(first)}"


@step
async def started(given: str) -> str:
    """Starts three, awaits one, and leaves one to the step around."""
    first, second = ASK.start(given), YES.start(given)
    ASK.start(given + " beside")
    await second
    return await first


@step
def shouted(given: str) -> str:
    return given.upper()


def even(text: str) -> bool:
    return len(text) % 2 == 0


def chosen(pick: Any) -> Choice:
    return Choice(pick, 1)


def second(_: str) -> str:
    return "b"


CHECKS = {
    "input": YES,
    "whole": check(YES, on="answer", trips_on=False),
    "stream": check(YES, on="stream", every=10, on_error="pass"),
}

EVERY: dict[str, Any] = {
    "prompt": ASK,
    "chain": chain(ASK, prompt("Again: {input}", retries=1), shouted, prompt("b {input}")),
    "vote": vote(PICK, n=5),
    "vote all": vote(PICK, n=5, stop=None),
    "vote in waves": vote(PICK, n=6, wave=2, stop=None),
    "vote until decided in waves": vote(PICK, n=7, wave=3),
    "vote of a panel": vote({"a": PICK, "b": FLAKY, "c": PICK}, quorum=1),
    "at least": vote(YES, n=5, rule=rules.at_least(2, True)),
    "vote with a tie step": vote(PICK, n=4, stop=None, ties=prompt("{tied}", returns=Literal["a", "b"])),
    "vote with a merge": vote({"x": ASK, "y": FLAKY, "z": ASK}, merge=prompt("merge {x}{y}{z}"), quorum=1),
    "vote by meaning": vote(ASK, n=4, same="meaning"),
    "vote by a step's key": vote(FLAKY, n=4, same=PICK),
    "vote by fields": vote(chain(PICK, chosen), n=5, rule=rules.fields(of=Choice)),
    "sections": sections({"x": ASK, "y": PICK, "z": prompt("z {input}")}, merge=prompt("{x}{y}{z}")),
    "sections that skip": sections({"x": ASK, "y": FLAKY, "z": FLAKY, "w": str}, on_error="skip"),
    "map": map_over(PICK, items=lambda given: [f"{given} {number}" for number in range(8)]),
    "tree merge": map_over(FLAKY, items=lambda _: list("abcdef"), merge=ASK, merge_fits=40, on_error="skip"),
    "distinct sample": sample(ASK, n=3, distinct=True),
    "sample with a merge": sample(FLAKY, n=4, merge=ASK),
    "best of, listwise": best_of(ASK, n=3),
    "best of, pairwise": best_of(FLAKY, n=3, how="pairwise"),
    "evaluate": evaluate({"good": "Is it good?", "kind": "Is it kind?", "new": "Is it new?"}, on_error="skip"),
    "guard": guard(ASK, CHECKS),
    "guard stream": guard(LONG, {"harm": check(YES, on="stream", every=20)}),
    "guard answer": guard(ASK, {"harm": check(YES, on="answer")}),
    "race": race(ASK, FLAKY, prompt("three {input}")),
    "fallback": fallback(FLAKY, FLAKY, ASK),
    "route": route(PICK, {"a": prompt("read {input}"), "b": FLAKY}),
    "gate": ASK | gate(even, retries=3),
    "gate that asks": ASK | gate(YES, retries=2, otherwise=ASK),
    "retry": retry(sections({"x": ASK, "y": FLAKY}), retries=3),
    "plain": plain,
    "started": started,
    "nested": vote(chain(vote(PICK, n=3), prompt("so {input}"), PICK), n=3),
    "nested fragile": vote(
        {str(number): sections({"a": PICK, "b": FLAKY}) | (lambda both: both["a"]) for number in range(5)}, quorum=1
    ),
    "race in a chain in a route in a guard": guard(route(second, {"b": chain(ASK, race(ASK, started))}), CHECKS),
}

HOLDING = {name for name in EVERY if "guard" in name or "race" in name} | {"fallback"}
"""Those that hold back what a branch says until it may be heard."""
