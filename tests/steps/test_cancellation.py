"""Cancellation at every await leaves nothing behind: no task, no slot, no waiting call, no call without an end."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from fanfold import Session, chain, gather, prompt, sample, sections, step, vote
from fanfold.core.clock import now, sleep
from fanfold.core.records import Event, Request
from fanfold.errors import ConnectError
from fanfold.models.prices import FlatRate
from fanfold.testing import FakeModel, run_virtual

TICK = 1e-6
FINAL = {"ok", "error", "cancelled", "unsent"}

ASK = prompt("{input}")
PICK = prompt("Pick: {input}", returns=Literal["a", "b"])
FLAKY = prompt("Flaky: {input}")


@step
async def gathering(given: str) -> str:
    """A plain function that gathers, twice."""
    first, second = await gather(ASK(given), vote(PICK, n=3)(given))
    third, fourth = await gather(ASK(first), prompt("{input}", returns=Literal["a", "b"], retries=1)(second))
    return third + fourth


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
}

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
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        model = FakeModel(self._answer, structured=False, latency=self._latency)
        model.given_rate = FlatRate(1.0, 1.0)
        slots = self.chance.choice([1, 2, 3, 64])
        self.session = Session(model, max_in_flight=slots, on_event=self.events.append)

    def _answer(self, request: Request) -> str | Exception:
        if "Flaky" in str(request.messages) and self.chance.random() < 0.4:
            return ConnectError("gone")
        return self.chance.choice(["a", "b", "a b", "?"])

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
        assert not interrupted or isinstance(came, asyncio.CancelledError), f"ended with {came!r}"
        self.check()
        return type(came).__name__

    def check(self) -> None:
        """Whatever began has ended, once."""
        held = self.session.statistics()
        assert (held.slots.in_use, held.slots.waiting, held.sockets) == (0, 0, 0)
        said = Counter(event.kind for event in self.events)
        ends = said["branch.ended"] + said["branch.late"] + said["branch.cancelled"]
        assert said["run.started"] == said["run.ended"]
        assert said["step.started"] == said["step.ended"]
        assert said["branch.started"] == ends
        queued = [event.call.number for event in self.events if event.kind == "call.queued"]
        ended = [event.call for event in self.events if event.kind == "call.ended"]
        assert sorted(queued) == sorted(call.number for call in ended)
        assert {call.state for call in ended} <= FINAL
        assert all(call.usage is not None for call in ended if call.state == "ok")
        assert all(call.cost.usd == 0 for call in ended if call.state == "unsent")
        assert [event.number for event in self.events] == list(range(len(self.events)))
        assert not self.events or self.events[-1].kind == "run.ended"


async def after_ticks(count: int) -> None:
    for _ in range(count):
        await sleep(0)


async def schedules(work: Work, count: int) -> Counter[str]:
    """`count` runs, each with its own latencies, each cancelled at its own tick or time."""
    ended: Counter[str] = Counter()
    lengths = [await Trial(seed, work).uncut() for seed in range(10)]
    for seed in range(count):
        chance = random.Random(-seed)
        ticks, seconds = chance.choice(lengths)
        when = after_ticks(chance.randrange(ticks)) if seed % 2 else sleep(chance.uniform(0, seconds))
        ended[await Trial(seed, work).cut(lambda when=when: when)] += 1
    return ended


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_any_time_a_pattern_leaves_nothing(name: str) -> None:
    """200 seeded schedules: each ends with `CancelledError`, all that began has ended, and nothing is held."""
    ended = run_virtual(schedules(WORKS[name], 200))
    assert sum(ended.values()) == 200
    assert ended["CancelledError"] > 100


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_every_tick_a_pattern_leaves_nothing(name: str) -> None:
    """Two runs, cancelled at every single tick of the loop up to the one in which they end."""

    async def every_tick() -> None:
        for seed in range(2):
            ticks, _ = await Trial(seed, WORKS[name]).uncut()
            for tick in range(ticks + 1):
                await Trial(seed, WORKS[name]).cut(lambda tick=tick: after_ticks(tick))

    run_virtual(every_tick())


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_again_and_again_a_pattern_leaves_nothing(name: str) -> None:
    """A second and a third cancellation, while the first is under way, change nothing of that."""

    async def repeated() -> None:
        for seed in range(24):
            ticks, _ = await Trial(seed, WORKS[name]).uncut()
            trial = Trial(seed, WORKS[name])
            task = asyncio.ensure_future(trial.work(trial.session))
            await after_ticks(seed * ticks // 24)
            for pause in (seed % 3, seed % 5, 0):
                task.cancel()
                await after_ticks(pause)
            await asyncio.gather(task, return_exceptions=True)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            trial.check()

    run_virtual(repeated())


@pytest.mark.long
@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_any_of_many_times_a_pattern_leaves_nothing(name: str) -> None:
    """The same over 5,000 schedules."""
    ended = run_virtual(schedules(WORKS[name], 5_000))
    assert sum(ended.values()) == 5_000
