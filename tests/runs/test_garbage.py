"""What a run leaves to the garbage collector: nothing."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from fanfold import Budget, Hedge, Session, chain, check, gather, guard, map_over, prompt, sections, vote
from fanfold.journal import Journal
from fanfold.testing import FakeModel, run_virtual

ASK = prompt("{input}")
YES = prompt("{input}", returns=bool, name="yes")

STEPS: dict[str, tuple[Any, Any]] = {
    "prompt": (ASK, "x"),
    "typed": (YES, "x"),
    "timeout": (prompt("{input}", timeout=5.0), "x"),
    "idle": (prompt("{input}", idle_timeout=5.0), "x"),
    "hedge": (prompt("{input}", hedge=Hedge()), "x"),
    "budget": (prompt("{input}", max_tokens=10, budget=Budget(calls=3)), "x"),
    "chain": (chain(ASK, ASK), "x"),
    "sections": (sections({"a": ASK, "b": ASK}), "x"),
    "map": (map_over(ASK), ["x", "y"]),
    "vote": (vote(YES, n=5), "x"),
    "guard": (guard(ASK, {"harm": check(YES)}), "x"),
}


async def circles(step: Any, given: Any, journal: Journal | None = None) -> int:
    """How many objects only the garbage collector would have freed after some runs, each time anew.

    What is made once is made in the first of three times, and what other tests left may be freed in any of them.
    """
    async with Session(FakeModel(lambda _request: "yes"), max_in_flight=2, journal=journal):
        return min([await left(step, given) for _ in range(3)])


async def left(step: Any, given: Any) -> int:
    gc.collect()
    gc.disable()
    try:
        await gather(*(step(given) for _ in range(10)))
        return gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize("name", STEPS)
def test_a_run_that_went_well_leaves_no_circles_behind(name: str) -> None:
    """All that a run made is freed in the moment in which nobody holds it any more, the collector need not look."""
    assert run_virtual(circles(*STEPS[name])) == 0


def test_a_journaled_run_leaves_none_either(tmp_path: Path) -> None:
    """Nor does what the journal keeps of it."""
    assert asyncio.run(circles(ASK, "x", Journal(tmp_path / "calls.journal", mode="record"))) == 0
