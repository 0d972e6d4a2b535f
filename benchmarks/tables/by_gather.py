"""What people write by hand: gather over all rows with a semaphore, then a JSONL file. No retries, no resume."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp

from tables.timing import in_memory, run


async def client(rows: Sequence[dict[str, Any]], url: str, in_flight: int) -> Sequence[str]:
    """One aiohttp session."""
    gate = asyncio.Semaphore(in_flight)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(text: str) -> str:
            body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 300}
            async with gate, session.post(f"{url}/chat/completions", json=body) as response:
                response.raise_for_status()
                found = await response.json()
            content: str = found["choices"][0]["message"]["content"]
            return content

        return await asyncio.gather(*(ask(row["text"]) for row in rows))


if __name__ == "__main__":
    run(in_memory(client))
