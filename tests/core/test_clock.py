"""The clock: the only door to time, sleep and chance."""

import asyncio
import time
from datetime import UTC

import pytest

from fanfold.core import clock
from fanfold.testing import run_virtual


def test_now_is_the_running_loops_time() -> None:
    """Inside a loop `now()` is that loop's clock, so that virtual time moves it."""

    async def main() -> tuple[float, float]:
        before = clock.now()
        await clock.sleep(1000)
        return before, clock.now()

    before, after = run_virtual(main())
    assert after - before == pytest.approx(1000, abs=1e-3)


def test_now_outside_a_loop_is_the_systems() -> None:
    """Without a loop `now()` is the monotonic clock."""
    assert time.monotonic() <= clock.now() <= time.monotonic()


def test_the_wall_clock_is_for_people() -> None:
    """`wall()` is seconds since 1970 and `today()` the same moment in UTC."""
    assert clock.today().tzinfo is UTC
    assert clock.wall() == pytest.approx(clock.today().timestamp(), abs=5)


def test_chance_is_the_systems_unless_seeded() -> None:
    """`seeded` makes chance repeat inside its block and nowhere else; blocks nest."""

    def drawn() -> float:
        return clock.chance().random()

    def seeded(seed: str | int) -> list[float]:
        with clock.seeded(seed):
            return [drawn() for _ in range(3)]

    assert seeded(1) == seeded(1) != seeded(2)
    assert drawn() != drawn()
    with clock.seeded("outer"):
        first = drawn()
        assert seeded("inner") == seeded("inner")
        second = drawn()
    with clock.seeded("outer"):
        assert [drawn(), drawn()] == [first, second]


def test_seeded_chance_follows_tasks() -> None:
    """Tasks made inside the block draw from its source; the block's end does not reach into them."""

    async def main() -> list[float]:
        async def draw() -> float:
            return clock.chance().random()

        with clock.seeded(3):
            return await asyncio.gather(draw(), draw())

    assert asyncio.run(main()) == asyncio.run(main())


@pytest.mark.parametrize("seed", ["a", 7])
def test_a_seeded_source_repeats(seed: str | int) -> None:
    """A source of its own gives the same numbers for the same seed."""
    assert clock.seeded_source(seed).random() == clock.seeded_source(seed).random()
