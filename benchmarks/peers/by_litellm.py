"""LiteLLM's router with the deployment's rpm and tpm, at most `concurrency` calls at a time, and 10 retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import litellm
from litellm import Router

from peers.workload import KEY, MODEL, Fan, Work

RETRIES = 10


@asynccontextmanager
async def client(work: Work) -> AsyncIterator[Fan]:
    """One deployment; a semaphore as its docs show for batches, and no cooldown, since there is no other deployment."""
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    params: dict[str, Any] = {"model": f"openai/{MODEL}", "api_key": KEY, "api_base": work.url}
    if work.requests_per_minute is not None:
        params |= {"rpm": round(work.requests_per_minute), "tpm": round(work.tokens_per_minute or 10**9)}
    router = Router(
        model_list=[{"model_name": "m", "litellm_params": params}],
        num_retries=RETRIES,
        disable_cooldowns=True,
        default_max_parallel_requests=work.concurrency,
    )
    gate = asyncio.Semaphore(work.concurrency)

    async def ask(text: str) -> Any:
        async with gate:
            reply = await router.acompletion(
                "m", messages=[{"role": "user", "content": text}], max_tokens=work.max_tokens
            )
        return reply.choices[0].message.content

    async def fan(texts: Sequence[str]) -> Sequence[Any]:
        return await asyncio.gather(*map(ask, texts), return_exceptions=True)

    yield fan
