"""Budgets against servers that keep their own bill: over sockets, with faults, cancellations and many calls at once."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from fanfold import Budget, OpenAI, Session, map_over, prompt, race, sample, vote
from fanfold.core.clock import sleep
from fanfold.errors import BudgetError, FanfoldError
from fanfold.testing import ModelServer, SimulatedModel, no_leaks, run_virtual

PRICE = (1.0, 4.0)
FIVE_CENTS = Budget(usd=0.05)
ITEMS = [f"item number {at}" for at in range(1480)]
"""So many that a map over them costs twenty cents, by the server's bill."""

ASK = prompt("Say something of {input}", max_tokens=60)


def words(request: Any) -> str:
    """About thirty words, as a server that could say more."""
    return "word " * 30


async def a_map(mode: Any, budget: Budget | None) -> tuple[Any, Any]:
    """The map of twenty cents under a budget: the server's bill, and how it ended."""
    async with (
        ModelServer(words, price=PRICE, latency=0.01) as server,
        Session(OpenAI("m", base_url=server.url, price=PRICE), max_in_flight=256) as session,
        no_leaks(session),
    ):
        ended: Any
        try:
            ended = await map_over(ASK, if_unaffordable=mode).run(ITEMS, session=session, budget=budget)
        except BudgetError as error:
            ended = error
        return server.bill, ended


def test_without_a_budget_the_map_costs_twenty_cents() -> None:
    """By the server's bill."""
    bill, run = asyncio.run(a_map("refuse", None))
    assert bill.usd == pytest.approx(0.20, rel=0.01)
    assert run.cost.usd == pytest.approx(bill.usd)


def test_a_map_of_twenty_cents_shrinks_to_a_budget_of_five() -> None:
    """The server's bill is between 80 and 100 % of the budget."""
    bill, run = asyncio.run(a_map("shrink", FIVE_CENTS))
    assert 0.8 * 0.05 <= bill.usd <= 0.05
    assert len(run.output) + len(run.detail.missing) == len(ITEMS)
    assert run.cost.usd == pytest.approx(bill.usd)


def test_a_map_of_twenty_cents_is_refused_under_a_budget_of_five() -> None:
    """Nothing is sent, and the error says what would have been affordable."""
    bill, error = asyncio.run(a_map("refuse", FIVE_CENTS))
    assert bill.calls == 0
    assert 100 < error.affordable < 400
    assert f"(affordable: {error.affordable} of {len(ITEMS)} branches" in str(error)


@pytest.mark.parametrize("seed", range(3))
def test_maps_of_twenty_cents_that_are_cancelled_never_pass_a_budget_of_five(seed: int) -> None:
    """Four of them, one after another in one budget, up to 256 calls at a time, each cut at some moment under way."""

    async def main() -> None:
        chance = random.Random(seed)
        peaks: list[int] = []
        async with (
            ModelServer(words, price=PRICE, latency=0.01, seed=seed) as server,
            Session(
                OpenAI("m", base_url=server.url, price=PRICE),
                max_in_flight=256,
                budget=FIVE_CENTS,
                on_event=lambda _: peaks.append(session.gate.in_use),
            ) as session,
            no_leaks(session),
        ):
            brief = prompt("Say something of {input}", max_tokens=30)
            for _ in range(4):
                run = asyncio.ensure_future(map_over(brief, if_unaffordable="shrink").run(ITEMS, session=session))
                enough = server.statistics().requests + chance.randint(20, 100)
                while server.statistics().requests < enough and not run.done():
                    await sleep(0.001)
                run.cancel()
                await asyncio.wait([run])
            held = session.statistics().budget
            assert held is not None
            assert held.usd is not None
            assert held.usd.reserved == 0
            assert 0.2 * 0.05 < server.bill.usd <= held.usd.charged <= 0.05
            assert max(peaks) > 200

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(3))
def test_the_bill_of_256_calls_at_once_never_passes_the_budget(seed: int) -> None:
    """Over sockets, with runs that are cancelled, votes that are decided, and a server that fails and cuts."""

    async def main() -> None:
        chance = random.Random(seed)
        faults = ["503:0.05", "cut=3:0.05", "reset:0.05"]
        peaks: list[int] = []
        how: Any = {"price": PRICE, "latency": 0.02, "faults": faults, "seed": seed, "reasoning": 0.3}
        async with (
            ModelServer(words, **how) as server,
            Session(
                OpenAI("m", base_url=server.url, price=PRICE),
                max_in_flight=256,
                budget=Budget(usd=0.15),
                on_event=lambda _: peaks.append(session.gate.in_use),
            ) as session,
            no_leaks(session),
        ):
            runs = [asyncio.ensure_future(one(chance, session)) for _ in range(60)]
            for run in runs:
                if chance.random() < 0.3:
                    await sleep(0.005)
                    run.cancel()
            await asyncio.wait(runs)
            held = session.statistics().budget
            assert held is not None
            assert held.usd is not None
            assert held.usd.reserved == 0
            assert server.bill.usd <= held.usd.charged <= 0.15
            assert server.bill.usd > 0.3 * 0.15
            assert max(peaks) == 256

    asyncio.run(main())


async def one(chance: random.Random, session: Session) -> None:
    steps = [
        map_over(ASK, on_error="skip", if_unaffordable="shrink"),
        vote(prompt("{input}", max_tokens=40), n=5),
        sample(ASK, 4, budget=Budget(usd=0.001)),
        race(ASK, prompt("Again: {input}", max_tokens=60, name="again")),
    ]
    chosen = chance.choice(steps)
    with suppress(FanfoldError):
        await chosen.run(ITEMS[:200] if chosen is steps[0] else "q", session=session)


@pytest.mark.parametrize("seed", range(5))
def test_without_cancellations_what_is_charged_is_what_is_billed(seed: int) -> None:
    """At least the bill, and at most 1.2 times: exact by usage, refusals free; only a cut is charged in full."""

    async def main(faults: list[str]) -> tuple[float, float]:
        model = SimulatedModel(words, price=PRICE, faults=faults, seed=seed, reasoning=0.2, latency=1.0)
        async with Session(model, budget=Budget(usd=1)) as session:
            await map_over(ASK, on_error="skip", quorum=1).run(ITEMS[:200], session=session)
            held = session.statistics().budget
            assert held is not None
            assert held.usd is not None
            return held.usd.charged, model.bill.usd

    charged, billed = run_virtual(main(["503:0.2"]))
    assert charged == pytest.approx(billed)
    charged, billed = run_virtual(main(["503:0.1", "cut=3:0.1"]))
    assert billed <= charged <= 1.2 * billed


def test_an_estimate_is_never_below_the_bill() -> None:
    """Whatever the server's tokenizer, and with reasoning in the reply."""

    async def main() -> None:
        for seed in range(5):
            model = SimulatedModel(words, price=PRICE, seed=seed, reasoning=0.5)
            pattern = map_over(prompt("{input}", max_tokens=80))
            given = ["ein Satz mit Umlauten: äöü", "短い文です。", "code = {'a': [1, 2]}", "\ufdfa" * 5, "plain words"]
            session = Session(model)
            estimate = pattern.estimate(given, session=session)
            await pattern.run(given, session=session)
            assert estimate.calls.at_least <= model.bill.calls <= (estimate.calls.at_most or 0)
            assert estimate.tokens.at_least <= model.bill.tokens <= (estimate.tokens.at_most or 0)
            assert estimate.usd.at_least <= model.bill.usd <= (estimate.usd.at_most or 0)

    run_virtual(main())
