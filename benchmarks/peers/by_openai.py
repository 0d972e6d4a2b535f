"""The openai SDK with its own retries (`max_retries=10`, where its default of 2 gives up early), and a semaphore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI

from peers.workload import KEY, MODEL, Fan, Work

RETRIES = 10


@asynccontextmanager
async def client(work: Work) -> AsyncIterator[Fan]:
    """One client, `concurrency` calls at a time."""
    gate = asyncio.Semaphore(work.concurrency)
    async with AsyncOpenAI(api_key=KEY, base_url=work.url, max_retries=RETRIES) as openai:

        async def ask(text: str) -> str | None:
            async with gate:
                reply = await openai.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": text}], max_tokens=work.max_tokens
                )
            return reply.choices[0].message.content

        async def fan(texts: Sequence[str]) -> Sequence[Any]:
            return await asyncio.gather(*map(ask, texts), return_exceptions=True)

        yield fan
