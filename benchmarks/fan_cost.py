"""CPU of a fan: 10,000 branches against 1,000, also when one arrives per tick, and against bare asyncio tasks.

Goals: 10,000 over 1,000 at most 12; per branch at most 3 times a bare task; both measured side by side.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

from fanfold.core.fan import fan
from fanfold.core.records import Branch
from fanfold.core.scope import Scope, enter
from fanfold.folds.collect import Collect
from fanfold.runs.state import RunState

ROUNDS = 7


async def nothing() -> int:
    """A branch that is there at once."""
    return 1


async def in_turn(gates: list[asyncio.Future[None]], number: int) -> int:
    """A branch that arrives one tick after the one before it."""
    if number:
        await gates[number]
    asyncio.get_running_loop().call_soon(_open, gates, number + 1)
    return 1


def _open(gates: list[asyncio.Future[None]], number: int) -> None:
    if number < len(gates) and not gates[number].done():
        gates[number].set_result(None)


async def bare(count: int) -> None:
    """The floor: so many tasks, each awaited."""
    for task in [asyncio.create_task(nothing()) for _ in range(count)]:
        await task


async def at_once(count: int) -> None:
    """A fan whose branches are all there at once; no run around it."""
    await fan([Branch(str(number), nothing) for number in range(count)], Collect[int]())


async def recorded(count: int) -> None:
    """The same inside a run, with its events."""
    state = RunState(None, "run", None)
    before = enter(Scope(state, "run"))
    try:
        await at_once(count)
    finally:
        enter(before)


async def bare_in_turn(count: int) -> None:
    """The floor of one arrival per tick."""
    gates = [asyncio.get_running_loop().create_future() for _ in range(count)]
    for task in [asyncio.create_task(in_turn(gates, number)) for number in range(count)]:
        await task


async def one_per_tick(count: int) -> None:
    """A fan in which one branch arrives per tick, so that it is woken for each."""
    gates = [asyncio.get_running_loop().create_future() for _ in range(count)]
    branches = [Branch(str(number), partial(in_turn, gates, number)) for number in range(count)]
    await fan(branches, Collect[int]())


def cpu(work: Callable[[int], Awaitable[None]], count: int) -> float:
    """CPU microseconds a branch."""

    async def measured() -> float:
        gc.collect()
        began = time.process_time()
        await work(count)
        return (time.process_time() - began) / count * 1e6

    return asyncio.run(measured())


def main() -> None:
    ways = {"bare tasks": bare, "fan": at_once, "fan in a run": recorded}
    ways |= {"bare, one a tick": bare_in_turn, "fan, one a tick": one_per_tick}
    found: dict[str, dict[int, float]] = {}
    for count in (1_000, 10_000):
        rounds = [{name: cpu(work, count) for name, work in ways.items()} for _ in range(ROUNDS)]
        for name in ways:
            found.setdefault(name, {})[count] = statistics.median(one[name] for one in rounds)
    print(f"CPU microseconds a branch, medians of {ROUNDS} rounds, side by side")
    for name, by_count in found.items():
        growth = 10 * by_count[10_000] / by_count[1_000]
        print(f"  {name:18} {by_count[1_000]:6.1f} at 1,000  {by_count[10_000]:6.1f} at 10,000  growth x {growth:.1f}")
    for name, floor in (("fan", "bare tasks"), ("fan in a run", "bare tasks"), ("fan, one a tick", "bare, one a tick")):
        print(f"  {name} over {floor} at 10,000: {found[name][10_000] / found[floor][10_000]:.2f} (goal 3)")


if __name__ == "__main__":
    main()
