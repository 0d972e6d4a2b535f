"""CPU per call of a plain prompt, side by side with raw aiohttp in one run, the server on the other core.

Goal: at most 2 times raw aiohttp at 200 calls in flight; the aim is 1.3 times.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable

import aiohttp
from served import server

from fanfold import OpenAI, Session, gather, prompt

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


async def ours(url: str, calls: int) -> None:
    """The whole road: run, events, slot, wire, typed decode, record."""
    ask = prompt("{input}", model=OpenAI(name="m", base_url=url, price=(0.15, 0.6)))
    async with Session(max_in_flight=IN_FLIGHT):
        await gather(*(ask(f"{number} {TEXT}") for number in range(calls)))


def cpu(work: Callable[[str, int], Awaitable[None]], url: str) -> float:
    """CPU milliseconds a call."""

    async def measured() -> float:
        await work(url, IN_FLIGHT)  # warm up
        gc.collect()
        began = time.process_time()
        await work(url, CALLS)
        return (time.process_time() - began) / CALLS * 1000

    return asyncio.run(measured())


def main() -> None:
    with server(PAUSE) as url:
        rounds = [(cpu(raw, url), cpu(ours, url)) for _ in range(ROUNDS)]
    ratios = [b / a for a, b in rounds]
    print(f"CPU ms a call at {IN_FLIGHT} in flight, medians of {ROUNDS} rounds of {CALLS} calls, side by side")
    print(f"  raw aiohttp       {statistics.median(a for a, _ in rounds):.3f}")
    print(f"  fanfold prompt    {statistics.median(b for _, b in rounds):.3f}")
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"  ratio             {statistics.median(ratios):.2f} ({spread}); goal 2, aim 1.3")


if __name__ == "__main__":
    main()
