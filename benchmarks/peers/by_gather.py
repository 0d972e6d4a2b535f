"""What people write by hand: `asyncio.gather`, a semaphore, and a loop that tries again with a growing pause."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from peers.workload import KEY, MODEL, Fan, Work

TRIES = 6


@asynccontextmanager
async def client(work: Work) -> AsyncIterator[Fan]:
    """One aiohttp session; any failure is tried again after 1, 2, 4, ... seconds, with jitter."""
    gate = asyncio.Semaphore(work.concurrency)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def once(text: str) -> str:
            body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": work.max_tokens}
            async with session.post(f"{work.url}/chat/completions", json=body) as response:
                response.raise_for_status()
                found = await response.json()
            content: str = found["choices"][0]["message"]["content"]
            return content

        async def ask(text: str) -> str:
            async with gate:
                for tried in range(TRIES - 1):
                    try:
                        return await once(text)
                    except aiohttp.ClientError:
                        await asyncio.sleep(2**tried * random.uniform(0.5, 1.5))
                return await once(text)

        async def fan(texts: Sequence[str]) -> Sequence[Any]:
            return await asyncio.gather(*map(ask, texts), return_exceptions=True)

        yield fan
