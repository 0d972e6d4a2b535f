"""Cancellation at every await leaves nothing behind: no task, no slot, no waiting call, no call without an end."""

import random
from collections import Counter

import pytest

from fanfold.core.clock import sleep
from fanfold.testing import run_virtual
from tests.steps.cancelling import after_ticks
from tests.steps.works import WORKS, trial


async def schedules(name: str, count: int) -> Counter[str]:
    """`count` runs, each with its own latencies, each cancelled at its own tick or time."""
    ended: Counter[str] = Counter()
    lengths = [await trial(name, seed).uncut() for seed in range(10)]
    for seed in range(count):
        chance = random.Random(-seed)
        ticks, seconds = chance.choice(lengths)
        if seed % 4 == 2:  # with more attempts, and often in the pause between two
            it, when = trial(name, seed, 3), sleep(chance.uniform(0, chance.choice([seconds, 1.0])))
        else:
            when = after_ticks(chance.randrange(ticks)) if seed % 2 else sleep(chance.uniform(0, seconds))
            it = trial(name, seed)
        ended[await it.cut(lambda when=when: when)] += 1
    return ended


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_any_time_a_pattern_leaves_nothing(name: str) -> None:
    """200 seeded schedules: each ends with `CancelledError`, all that began has ended, and nothing is held."""
    ended = run_virtual(schedules(name, 200))
    assert sum(ended.values()) == 200
    assert ended["CancelledError"] > 50  # mostly 110 to 160; the rest are over before


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_every_tick_a_pattern_leaves_nothing(name: str) -> None:
    """Two runs, cancelled at every single tick of the loop up to the one in which they end."""

    async def every_tick() -> None:
        for seed in range(2):
            ticks, _ = await trial(name, seed).uncut()
            for tick in range(ticks + 1):
                await trial(name, seed).cut(lambda tick=tick: after_ticks(tick))

    run_virtual(every_tick())


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_again_and_again_a_pattern_leaves_nothing(name: str) -> None:
    """A second and a third cancellation, while the first is under way, change nothing of that."""

    async def repeated() -> None:
        for seed in range(24):
            ticks, _ = await trial(name, seed).uncut()
            it = trial(name, seed)
            await it.cut(lambda tick=seed * ticks // 24: after_ticks(tick), "again")

    run_virtual(repeated())


@pytest.mark.parametrize("name", WORKS)
def test_an_outer_timeout_at_any_time_leaves_nothing(name: str) -> None:
    """`asyncio.timeout` around the whole: it ends with `TimeoutError`, or is done before, and nothing is held."""

    async def outer() -> Counter[str]:
        ended: Counter[str] = Counter()
        for seed in range(50):
            it = trial(name, seed)
            _, seconds = await trial(name, seed).uncut()
            part = random.Random(-seed).uniform(0, seconds)
            ended[await it.cut(lambda part=part: sleep(part), "timeout")] += 1
        return ended

    ended = run_virtual(outer())
    assert ended["TimeoutError"] > 5


@pytest.mark.long
@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_any_of_many_times_a_pattern_leaves_nothing(name: str) -> None:
    """The same over 5,000 schedules."""
    ended = run_virtual(schedules(name, 5_000))
    assert sum(ended.values()) == 5_000
