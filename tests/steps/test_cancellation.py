"""Cancellation at every await leaves nothing behind: no task, no slot, no waiting call, no call without an end."""

import asyncio
import operator
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
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
from fanfold.core.clock import now, sleep
from fanfold.core.records import Event, Request
from fanfold.errors import ConnectError, FanfoldError
from fanfold.models.prices import FlatRate
from fanfold.testing import FakeModel, run_virtual

TICK = 1e-6
FINAL = {"ok", "error", "cancelled", "unsent"}

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

Work = Callable[[Session], Awaitable[Any]]


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


@dataclass
class Trial:
    """One session, one run of a pattern, and what it said."""

    seed: int
    work: Work
    holds: bool = False
    attempts: int = 1
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        model = FakeModel(self._answer, structured=False, latency=self._latency)
        model.given_rate = FlatRate(1.0, 1.0)
        slots = self.chance.choice([1, 2, 3, 64])
        # A pause before the next attempt takes half a million ticks, so those who count ticks send once.
        self.session = Session(
            model,
            max_in_flight=slots,
            attempts=self.attempts,
            budget=Budget(usd=self.chance.choice([0.1, 1000.0])),
            on_event=self.events.append,
        )

    def _answer(self, request: Request) -> str | Exception:
        asked = str(request.messages)
        if "Flaky" in asked and self.chance.random() < 0.4:
            return ConnectError("gone")
        answers = ["yes", "no"] if "Yes or no" in asked else ["a", "b", "a b", "?", "Score: 7"]
        return self.chance.choice(answers)

    def _latency(self, _: Request) -> float:
        return self.chance.choice([0, 1, 1, 2, 3, 5, 9]) * TICK

    async def uncut(self) -> tuple[int, float]:
        """Ticks and seconds that the pattern takes where nobody cancels it."""
        task = asyncio.ensure_future(self.work(self.session))
        began, ticks = now(), 0
        while not task.done():
            await sleep(0)
            ticks += 1
        await asyncio.gather(task, return_exceptions=True)
        self.check()
        return ticks, now() - began

    async def cut(self, when: Callable[[], Awaitable[None]]) -> str:
        """Cancel the pattern when `when` returns; gives how it ended, and checks what is left."""
        task = asyncio.ensure_future(self.work(self.session))
        await when()
        interrupted = not task.done()
        task.cancel()
        (came,) = await asyncio.gather(task, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not timers(), "a timer is left"
        assert not interrupted or isinstance(came, asyncio.CancelledError), f"ended with {came!r}"
        self.check()
        return type(came).__name__

    def check(self) -> None:
        """Whatever began has ended, once."""
        held = self.session.statistics()
        assert (held.slots.in_use, held.slots.waiting, held.sockets) == (0, 0, 0)
        assert (held.budget.usd.reserved, held.budget.waiting) == (0, 0)
        said = Counter(event.kind for event in self.events)
        ends = said["branch.ended"] + said["branch.late"] + said["branch.cancelled"]
        assert said["run.started"] == said["run.ended"]
        # What a held branch said as it ended stays inside with the rest, unless the branch is released.
        equal = operator.ge if self.holds else operator.eq
        assert equal(said["step.started"], said["step.ended"])
        assert equal(said["branch.started"], ends)
        queued = [event.call.number for event in self.events if event.kind == "call.queued"]
        ended = [event.call for event in self.events if event.kind == "call.ended"]
        assert sorted(queued) == sorted(call.number for call in ended)
        assert {call.state for call in ended} <= FINAL
        assert all(call.usage is not None for call in ended if call.state == "ok")
        assert all(call.cost.usd == 0 for call in ended if call.state == "unsent")
        assert [event.number for event in self.events] == list(range(len(self.events)))
        assert not self.events or self.events[-1].kind == "run.ended"


def timers() -> list[asyncio.TimerHandle]:
    """The timers that would still fire."""
    scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled
    return [timer for timer in scheduled if not timer.cancelled()]


async def after_ticks(count: int) -> None:
    for _ in range(count):
        await sleep(0)


async def schedules(work: Work, count: int, *, holds: bool) -> Counter[str]:
    """`count` runs, each with its own latencies, each cancelled at its own tick or time."""
    ended: Counter[str] = Counter()
    lengths = [await Trial(seed, work, holds).uncut() for seed in range(10)]
    for seed in range(count):
        chance = random.Random(-seed)
        ticks, seconds = chance.choice(lengths)
        if seed % 4 == 2:  # with more attempts, and often in the pause between two
            trial, when = Trial(seed, work, holds, 3), sleep(chance.uniform(0, chance.choice([seconds, 1.0])))
        else:
            when = after_ticks(chance.randrange(ticks)) if seed % 2 else sleep(chance.uniform(0, seconds))
            trial = Trial(seed, work, holds)
        ended[await trial.cut(lambda when=when: when)] += 1
    return ended


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_any_time_a_pattern_leaves_nothing(name: str) -> None:
    """200 seeded schedules: each ends with `CancelledError`, all that began has ended, and nothing is held."""
    ended = run_virtual(schedules(WORKS[name], 200, holds=name in HOLDING))
    assert sum(ended.values()) == 200
    assert ended["CancelledError"] > 100


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_every_tick_a_pattern_leaves_nothing(name: str) -> None:
    """Two runs, cancelled at every single tick of the loop up to the one in which they end."""

    async def every_tick() -> None:
        for seed in range(2):
            ticks, _ = await Trial(seed, WORKS[name], name in HOLDING).uncut()
            for tick in range(ticks + 1):
                await Trial(seed, WORKS[name], name in HOLDING).cut(lambda tick=tick: after_ticks(tick))

    run_virtual(every_tick())


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_again_and_again_a_pattern_leaves_nothing(name: str) -> None:
    """A second and a third cancellation, while the first is under way, change nothing of that."""

    async def repeated() -> None:
        for seed in range(24):
            ticks, _ = await Trial(seed, WORKS[name], name in HOLDING).uncut()
            trial = Trial(seed, WORKS[name], name in HOLDING)
            task = asyncio.ensure_future(trial.work(trial.session))
            await after_ticks(seed * ticks // 24)
            for pause in (seed % 3, seed % 5, 0):
                task.cancel()
                await after_ticks(pause)
            await asyncio.gather(task, return_exceptions=True)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            trial.check()

    run_virtual(repeated())


@pytest.mark.parametrize("name", WORKS)
def test_an_outer_timeout_at_any_time_leaves_nothing(name: str) -> None:
    """`asyncio.timeout` around the whole: it ends with `TimeoutError`, or is done before, and nothing is held."""

    async def outer() -> Counter[str]:
        ended: Counter[str] = Counter()
        for seed in range(50):
            trial = Trial(seed, WORKS[name], name in HOLDING)
            _, seconds = await Trial(seed, WORKS[name], name in HOLDING).uncut()
            try:
                async with asyncio.timeout(random.Random(-seed).uniform(0, seconds)):
                    await trial.work(trial.session)
                ended["done"] += 1
            except TimeoutError:
                ended["over"] += 1
            except FanfoldError:
                ended["failed"] += 1
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert not timers(), "a timer is left"
            trial.check()
        return ended

    ended = run_virtual(outer())
    assert ended["over"] > 5


@pytest.mark.long
@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_any_of_many_times_a_pattern_leaves_nothing(name: str) -> None:
    """The same over 5,000 schedules."""
    ended = run_virtual(schedules(WORKS[name], 5_000, holds=name in HOLDING))
    assert sum(ended.values()) == 5_000
