"""LangChain's `abatch` on `ChatOpenAI`, with its in-memory rate limiter and its retries (`max_retries=10`)."""

from __future__ import annotations

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
    """One chat model; the limiter knows requests only, checks every 10 ms and lets no burst through."""
    limiter = None
    if work.requests_per_minute is not None:
        limiter = InMemoryRateLimiter(
            requests_per_second=work.requests_per_minute / 60, check_every_n_seconds=0.01, max_bucket_size=1
        )
    options: dict[str, Any] = {"model": MODEL, "api_key": KEY, "base_url": work.url, "max_tokens": work.max_tokens}
    model = ChatOpenAI(**options, max_retries=RETRIES, rate_limiter=limiter)

    async def fan(texts: Sequence[str]) -> Sequence[Any]:
        config = RunnableConfig(max_concurrency=work.concurrency)
        replies = await model.abatch(list(texts), config, return_exceptions=True)
        return [reply if isinstance(reply, BaseException) else reply.content for reply in replies]

    yield fan
