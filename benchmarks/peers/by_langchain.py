"""LangChain's `abatch_as_completed` on `ChatOpenAI`, with its rate limiter and its retries (`max_retries=10`).

`max_concurrency` is a limit of one batch: so what is asked together goes as one batch, not as one for each fan, which
would have all calls under way at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI

from peers.workload import KEY, MODEL, Fan, Work

RETRIES = 10


@asynccontextmanager
async def client(work: Work) -> AsyncIterator[Fan]:
    """One chat model; the limiter knows requests only, checks every 10 ms and holds up to ten."""
    limiter = None
    if work.requests_per_minute is not None:
        limiter = InMemoryRateLimiter(
            requests_per_second=work.requests_per_minute / 60, check_every_n_seconds=0.01, max_bucket_size=10
        )
    options: dict[str, Any] = {"model": MODEL, "api_key": KEY, "base_url": work.url, "max_tokens": work.max_tokens}
    model = ChatOpenAI(**options, max_retries=RETRIES, rate_limiter=limiter)

    waiting: list[tuple[str, asyncio.Future[Any]]] = []
    batches: set[asyncio.Task[None]] = set()

    async def batch() -> None:
        asked, waiting[:] = waiting[:], []
        config = RunnableConfig(max_concurrency=work.concurrency)
        texts = [text for text, _ in asked]
        async for at, reply in model.abatch_as_completed(texts, config, return_exceptions=True):
            told = asked[at][1]
            if not told.done():
                told.set_result(reply if isinstance(reply, BaseException) else reply.content)

    async def fan(texts: Sequence[str]) -> Sequence[Any]:
        replies = [asyncio.get_running_loop().create_future() for _ in texts]
        if not waiting:  # it runs once all fans that begin now have said what they ask
            batches.add(asyncio.create_task(batch()))
        waiting.extend(zip(texts, replies, strict=True))
        return await asyncio.gather(*replies)

    yield fan
    for task in batches:
        task.cancel()
