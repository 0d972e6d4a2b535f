"""Whatever happens in whatever order, the server's bill never passes a budget, and nothing stays reserved."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest

from fanfold import Budget, Hedge, Session, gather, guard, map_over, prompt, race, retry, sample, sections, step, vote
from fanfold.calls import attempts, road
from fanfold.calls.amounts import NOTHING
from fanfold.calls.budget import Purse
from fanfold.calls.passage import Passage
from fanfold.core.clock import seeded, sleep
from fanfold.core.records import Reply
from fanfold.errors import CallError, FanfoldError
from fanfold.testing import VirtualLoop
from tests.budget.billing import OUTCOMES, Billed

MOST = 200
"""Calls of one interleaving at most."""


async def insistent(chance: random.Random, passage: Passage, timer: Any) -> Reply:
    """Each call as several sends, one after another or side by side, by chance: the first reply counts.

    The road's own way is tried with every second seed; it hedges only when it knows how long first tokens take.
    """
    hedged, tries = chance.random() < 0.4, chance.randint(1, 3)
    sends = [asyncio.ensure_future(attempts.once(passage, timer))]
    try:
        if hedged:
            await asyncio.wait(sends, timeout=chance.random() / 2)
            sends.append(asyncio.ensure_future(attempts.once(passage, timer, hedge=True)))
        while True:
            await asyncio.wait(sends, return_when=asyncio.FIRST_COMPLETED)
            done = [send for send in sends if send.done()]
            good = [send for send in done if not send.exception()]
            if good:
                return good[0].result()
            errors = [send.exception() for send in done]
            fatal = [error for error in errors if not isinstance(error, CallError)]
            if fatal and fatal[0] is not None:
                raise fatal[0]
            sends = [send for send in sends if not send.done()]
            if not sends:
                tries -= 1
                if not tries:
                    raise errors[0] or AssertionError
                await sleep(chance.random() / 4)
                sends = [asyncio.ensure_future(attempts.once(passage, timer))]
    finally:
        for send in sends:
            send.cancel()
        await asyncio.gather(*sends, return_exceptions=True)


def some_step(chance: random.Random, depth: int = 0) -> Any:
    """A step of any shape, with and without budgets of its own."""
    budget = some_budget(chance, small=True) if chance.random() < 0.3 else None
    most = chance.choice([None, 5, 50])
    asked = prompt("word " * chance.randint(1, 30) + "{input}", max_tokens=most, retries=chance.choice([0, 0, 1]))
    if depth == 2 or chance.random() < 0.2:
        return asked
    inner = partial(some_step, chance, depth + 1)
    how: Any = {"budget": budget, "if_unaffordable": chance.choice(["refuse", "shrink"])}
    how["timeout"] = chance.choice([None, None, 0.3, 0.6])

    async def both(given: str) -> str:
        return str(await gather(inner()(given), asked(given)))

    made: list[Callable[[], Any]] = [
        lambda: vote(inner(), chance.choice([1, 3, 5]), **how),
        lambda: sample(inner(), chance.randint(1, 4), **how),
        lambda: map_over(inner(), items=lambda given: [str(given)] * chance.choice([2, 5, 30]), on_error="skip", **how),
        lambda: sections({"a": inner(), "b": asked}, on_error="skip", **how),
        lambda: race(inner(), asked, **how),
        lambda: guard(inner(), {"no": prompt("{input}", returns=bool, max_tokens=5)}, **how),
        lambda: retry(inner(), retries=2, budget=budget),
        lambda: step(both),
        lambda: inner() | asked,
    ]
    return chance.choice(made)()


def some_budget(chance: random.Random, *, small: bool = False) -> Budget:
    """A budget that some of it will not fit into."""
    scale = chance.choice([0.1, 1, 8, 30]) * (0.3 if small else 1)
    limits: dict[str, Any] = {
        "usd": max(1e-9, chance.random() * 0.01 * scale),
        "tokens": 1 + int(chance.random() * 8000 * scale),
        "calls": 1 + int(chance.random() * 60 * scale),
    }
    kept = chance.sample(sorted(limits), k=chance.choice([1, 1, 2, 3]))
    return Budget(**{unit: limits[unit] for unit in kept}, max_tokens=chance.choice([10, 100, 400]))


def wide_budget(chance: random.Random) -> Budget:
    """A budget of at most 200 calls, and of money for more than these, or for fewer."""
    return Budget(usd=chance.choice([0.03, 10, 10]), calls=MOST, max_tokens=100)


async def interleaving(seed: int, purses: list[Purse]) -> tuple[Billed, Purse]:
    """Some runs side by side under one budget, some of them cancelled: gives the server and the budget's purse.

    One in 25 has many runs, as many as 200 calls have room for.
    """
    chance = random.Random(seed)
    wide = seed % 25 == 0
    budget = wide_budget(chance) if wide else some_budget(chance)
    model = Billed(seed, outcomes=OUTCOMES)
    how: Any = {"attempts": chance.randint(1, 4), "hedge": chance.choice([None, Hedge(percentile=50, at_most=1)])}
    session = Session(model, budget=budget, max_in_flight=chance.choice([1, 3, 64]), **how)
    async with session:
        runs: list[asyncio.Future[None]] = []
        for _ in range(chance.randint(60, 120) if wide else chance.randint(1, 6)):
            runs.append(asyncio.ensure_future(one_run(chance, session)))
            if chance.random() < 0.4:
                await sleep(chance.random() / 2)
                chance.choice(runs[-6:]).cancel()
        await asyncio.wait(runs, timeout=3600)
        assert all(run.done() for run in runs), "a run hangs"
    assert session.purse is not None
    return model, session.purse


async def one_run(chance: random.Random, session: Session) -> None:
    budget = some_budget(chance) if chance.random() < 0.4 else None
    with suppress(FanfoldError):
        await some_step(chance).run("q", session=session, budget=budget)


def check(model: Billed, root: Purse, purses: list[Purse]) -> None:
    """The bill is at most what is charged, that at most the limit, and nothing is left reserved."""
    assert model.calls <= root.charged.calls
    for purse in purses:
        bill = model.bills.get(id(purse), NOTHING)
        assert bill.picos <= purse.charged.picos or not purse.counts_money
        assert bill.tokens <= purse.charged.tokens or purse.ceiling is None
        assert bill.calls <= purse.charged.calls
        assert purse.limit.passed(purse.charged) is None
        assert purse.reserved == NOTHING
        assert (purse.leases, len(purse.waiting)) == (0, 0)
    assert not root.keepers
    assert not len(root.queue)


def run_all(seeds: range, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Run the interleavings of these seeds; gives how many calls were made, and the most in one of them."""
    purses: list[Purse] = []
    make = Purse.__init__

    def kept(self: Purse, *args: Any) -> None:
        make(self, *args)
        purses.append(self)

    monkeypatch.setattr(Purse, "__init__", kept)
    calls = most = 0
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        for seed in seeds:
            purses.clear()
            chance = random.Random(-seed)
            often = partial(insistent, chance) if seed % 2 else attempts.attempts
            monkeypatch.setattr(road, "attempts", often)
            with seeded(seed):
                model, root = runner.run(interleaving(seed, purses), context=copy_context())
            try:
                check(model, root, purses)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}") from error
            calls += model.calls
            most = max(most, model.calls)
    return calls, most


@pytest.mark.parametrize("part", range(10))
def test_the_bill_never_passes_a_budget_in_any_interleaving(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries, hedges, cancellations, timeouts, failures of every kind, and budgets in budgets: overshoot 0.

    Of the thousand interleavings, a hundred at a time, the largest have about 200 calls.
    """
    calls, most = run_all(range(part * 100, (part + 1) * 100), monkeypatch)
    assert calls > 600
    assert 140 <= most <= MOST


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(10))
def test_the_bill_never_passes_a_budget_in_many_more(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 in all, a thousand at a time."""
    calls, most = run_all(range(part * 1000, (part + 1) * 1000), monkeypatch)
    assert calls > 8_000
    assert 190 <= most <= MOST
