"""What a journal costs: a prompt with and without one, side by side in one run, the server on the other core.

Every call is a run of its own, which is the dearest case: three entries a call. The journal lies in memory, which shows
what we add, and on the disk of the folder that is given (default: the one for temporary files), whose own time to make
a write safe is shown beside it: a call waits for that once or twice.
Loop and writer share one core here, for the server has the other: that is the hardest case, too.

Goals: at 1,000 calls a second at most 1 ms more at the 99th percentile; at most 3 % of throughput where the server is
the limit; at most 1.5 times the CPU of raw aiohttp with the journal on. A machine that cannot make twice as many calls
is offered half of what it can.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from call_cost import IN_FLIGHT, TEXT, raw
from served import server

from fanfold import OpenAI, Session, gather, prompt
from fanfold.journal import Journal

RATE = 1000
CALLS = 1200
ROUNDS = 3
PAUSE = 0.05
LIMITED = 40
"""Requests that a server works on at once which is the limit: by its pause that is 800 calls a second."""

MEMORY = Path("/dev") / "shm"

Work = Callable[[str, Path | None], Coroutine[Any, Any, list[float]]]


def session(url: str, folder: Path | None) -> Session:
    """A session with a new journal in a folder, or with none."""
    model = OpenAI(name="m", base_url=url, price=(0.15, 0.6))
    if folder is None:
        return Session(model, max_in_flight=IN_FLIGHT)
    path = Path(tempfile.mkdtemp(dir=folder)) / "runs.db"
    return Session(model, max_in_flight=IN_FLIGHT, journal=Journal(path, mode="record"))


async def offered(url: str, folder: Path | None, rate: float) -> list[float]:
    """Seconds that each call takes when they come at this rate, however long those before them take."""
    ask = prompt("{input}")
    took: list[float] = []

    async def one(text: str, due: float) -> None:
        await ask(text)
        took.append(time.perf_counter() - due)

    async with session(url, folder):
        await gather(*(ask(f"warm {number}") for number in range(IN_FLIGHT)))
        gc.collect()
        began = time.perf_counter()
        tasks = []
        for number in range(CALLS):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(f"{number} {TEXT}", due)))
        await asyncio.gather(*tasks)
    return took


async def pressed(url: str, folder: Path | None) -> list[float]:
    """Calls a second, and CPU microseconds a call, when as many as may be are in flight."""
    ask = prompt("{input}")
    async with session(url, folder):
        await gather(*(ask(f"warm {number}") for number in range(IN_FLIGHT)))
        gc.collect()
        began, cpu = time.perf_counter(), time.process_time()
        await gather(*(ask(f"{number} {TEXT}") for number in range(CALLS)))
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return [CALLS / took, cpu / CALLS * 1e6]


async def by_hand(url: str, folder: Path | None) -> list[float]:
    """The same by raw aiohttp."""
    del folder
    await raw(url, IN_FLIGHT)
    gc.collect()
    began, cpu = time.perf_counter(), time.process_time()
    await raw(url, CALLS)
    return [CALLS / (time.perf_counter() - began), (time.process_time() - cpu) / CALLS * 1e6]


def percentile(took: list[float], part: float) -> float:
    """Milliseconds in which this part of the calls is over."""
    return sorted(took)[int(len(took) * part)] * 1000


def safe(folder: Path) -> list[float]:
    """Seconds that the folder's disk takes to make two pages safe."""
    took = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 8192)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return took


def latencies(url: str, places: dict[str, Path | None]) -> None:
    """Print how long a call takes."""
    rate = min(RATE, asyncio.run(pressed(url, None))[0] / 2)
    rounds = [{name: asyncio.run(offered(url, at, rate)) for name, at in places.items()} for _ in range(ROUNDS)]
    print(f"{rate:.0f} calls a second offered, medians of {ROUNDS} rounds of {CALLS} calls, in ms")
    print(f"  {'journal':12}{'p50':>8}{'p99':>8}{'p50 +':>8}{'p99 +':>8}   a write made safe: p50, p99")
    for name, at in places.items():
        figures = [
            [percentile(one[name], part) - (percentile(one["none"], part) if less else 0.0) for one in rounds]
            for less in (False, True)
            for part in (0.5, 0.99)
        ]
        half, most, half_more, most_more = map(statistics.median, figures)
        disk = "" if at is None else "{:11.2f}{:8.2f}".format(*(percentile(safe(at), part) for part in (0.5, 0.99)))
        print(f"  {name:12}{half:8.2f}{most:8.2f}{half_more:8.2f}{most_more:8.2f}{disk}")
    print("  goal: p99 at most 1 ms more; on a disk, beyond the time that it takes for one or two writes")


def costs(url: str, places: dict[str, Path | None]) -> None:
    """Print what a call costs in CPU."""
    works: dict[str, tuple[Work, Path | None]] = {"raw aiohttp": (by_hand, None)}
    works |= {name: (pressed, at) for name, at in places.items()}
    rounds = [{name: asyncio.run(work(url, at))[1] for name, (work, at) in works.items()} for _ in range(ROUNDS)]
    print(f"CPU µs a call at {IN_FLIGHT} in flight")
    for name in works:
        ratio = statistics.median(one[name] / one["raw aiohttp"] for one in rounds)
        print(f"  {name:12}{statistics.median(one[name] for one in rounds):8.0f}   {ratio:.2f} x raw")
    print("  goal: 1.5 x raw with the journal on")


def throughput(url: str, places: dict[str, Path | None]) -> None:
    """Print how many calls a second go through where the server is the limit."""
    rounds = [{name: asyncio.run(pressed(url, at))[0] for name, at in places.items()} for _ in range(ROUNDS)]
    most = LIMITED / PAUSE
    print(f"calls a second at {IN_FLIGHT} in flight, the server working on {LIMITED} at once: {most:.0f} at most")
    for name in places:
        ratio = statistics.median(one[name] / one["none"] for one in rounds)
        print(f"  {name:12}{statistics.median(one[name] for one in rounds):8.0f}   {ratio - 1:+.1%}")
    print("  goal: at most 3 % less")


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else None
    with (
        tempfile.TemporaryDirectory(dir=where) as disk,
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else disk) as memory,
    ):
        places: dict[str, Path | None] = {"none": None, "in memory": Path(memory), "on disk": Path(disk)}
        with server(PAUSE) as url:
            latencies(url, places)
            costs(url, places)
        with server(PAUSE, LIMITED) as url:
            throughput(url, places)


if __name__ == "__main__":
    main()
