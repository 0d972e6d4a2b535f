"""`async-batch-llm`: its shared call pool, with its request and token limits, and cooldowns fit for this server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from async_batch_llm import CharacterTokenEstimator, LLMCallPool, ProcessorConfig, RateLimitConfig, RetryConfig, llm

from peers.workload import KEY, MODEL, Fan, Work

ATTEMPTS = 10


@asynccontextmanager
async def client(work: Work) -> AsyncIterator[Fan]:
    """One pool. Its default cooldown of five minutes is for whole-day quotas; this server says when to come back."""
    logging.disable(logging.WARNING)
    strategy = llm(
        f"openai-compatible:{MODEL}",
        base_url=work.url,
        api_key=KEY,
        generation_config={"max_tokens": work.max_tokens},
        max_connections=work.concurrency,
    )
    tokens = work.tokens_per_minute
    config = ProcessorConfig(
        concurrency=work.concurrency,
        retry=RetryConfig(max_attempts=ATTEMPTS, initial_wait=0.5, max_wait=8.0),
        rate_limit=RateLimitConfig(
            cooldown_seconds=1.0, slow_start_items=10, slow_start_initial_delay=0.1, slow_start_final_delay=0.01
        ),
        max_requests_per_minute=work.requests_per_minute,
        max_tokens_per_minute=None if tokens is None else round(tokens),
        token_estimator=None if tokens is None else CharacterTokenEstimator(expected_output_tokens=work.max_tokens),
    )
    async with LLMCallPool(strategy, config=config) as pool:

        async def fan(texts: Sequence[str]) -> Sequence[Any]:
            return await asyncio.gather(*map(pool.submit, texts), return_exceptions=True)

        yield fan
