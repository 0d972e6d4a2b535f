"""CPU per call of a plain prompt, without and with a journal, side by side with raw aiohttp in one run.

The server is on the other core. Goals: with the journal on (each reply kept whole, and on the disk before its call
gives its slot back) at most 1.5 times raw aiohttp at 200 calls in flight; without one, 1.3 times. Where the extra
``wreq`` is installed, the same by that transport, against raw aiohttp too.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import aiohttp
from served import server

from fanfold import OpenAI, Session, gather, prompt
from fanfold.journal import Journal
from fanfold.models.transport import TransportName

CALLS = 3000
IN_FLIGHT = 200
ROUNDS = 5
PAUSE = 0.05
TEXT = "lorem ipsum " * 85  # about 1 KB


async def raw(url: str, calls: int) -> None:
    """What one writes by hand: a client session, a semaphore, gather."""
    gate = asyncio.Semaphore(IN_FLIGHT)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def one(number: int) -> str:
            body = {"model": "m", "messages": [{"role": "user", "content": f"{number} {TEXT}"}]}
            async with gate, client.post(f"{url}/chat/completions", json=body) as response:
                reply = await response.json()
                return str(reply["choices"][0]["message"]["content"])

        await asyncio.gather(*(one(number) for number in range(calls)))


async def ours(url: str, calls: int, journal: Journal | None = None, transport: TransportName = "aiohttp") -> None:
    """The whole road: run, events, slot, wire, typed decode, record."""
    ask = prompt("{input}", model=OpenAI(name="m", base_url=url, price=(0.15, 0.6)))
    async with Session(max_in_flight=IN_FLIGHT, journal=journal, transport=transport):
        await gather(*(ask(f"{number} {TEXT}") for number in range(calls)))


async def journaled(url: str, calls: int, transport: TransportName = "aiohttp") -> None:
    """The same, and every reply kept: the CPU of the thread that writes counts, too."""
    with tempfile.TemporaryDirectory() as folder:
        await ours(url, calls, Journal(Path(folder) / "calls.journal", mode="record", content="full"), transport)


Work = Callable[[str, int], Awaitable[None]]

ROWS: dict[str, tuple[Work, str]] = {
    "raw aiohttp": (raw, ""),
    "fanfold prompt": (ours, "goal 1.3"),
    "with a journal": (journaled, "goal 1.5"),
}
if find_spec("wreq") is not None:
    ROWS["by wreq"] = (partial(ours, transport="wreq"), "goal 1.3")
    ROWS["with a journal, by wreq"] = (partial(journaled, transport="wreq"), "goal 1.5")


def cpu(work: Work, url: str) -> float:
    """CPU milliseconds a call, of all threads."""

    async def measured() -> float:
        await work(url, IN_FLIGHT)  # warm up
        gc.collect()
        began = time.process_time()
        await work(url, CALLS)
        return (time.process_time() - began) / CALLS * 1000

    return asyncio.run(measured())


def main() -> None:
    with server(PAUSE) as url:
        rounds = [{name: cpu(work, url) for name, (work, _) in ROWS.items()} for _ in range(ROUNDS)]
    print(f"CPU ms a call at {IN_FLIGHT} in flight, medians of {ROUNDS} rounds of {CALLS} calls, side by side")
    for name, (_, goal) in ROWS.items():
        median = statistics.median(each[name] for each in rounds)
        ratios = [each[name] / each["raw aiohttp"] for each in rounds]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f} times)"
        told = f"  {statistics.median(ratios):.2f} times {spread}; {goal}" if goal else ""
        print(f"  {name:<23} {median:.3f}{told}")


if __name__ == "__main__":
    main()
