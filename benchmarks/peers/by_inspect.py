"""inspect_ai's model API: `generate` on one model, with its own connections, retries and backoff."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from inspect_ai.model import GenerateConfig, get_model

from peers.workload import KEY, MODEL, Fan, Work


@asynccontextmanager
async def client(work: Work) -> AsyncIterator[Fan]:
    """One model; it tries again for as long as it takes, as is its default."""
    config = GenerateConfig(max_connections=work.concurrency, max_tokens=work.max_tokens)
    model = get_model(f"openai/{MODEL}", base_url=work.url, api_key=KEY, config=config, responses_api=False)

    async def ask(text: str) -> str:
        said: str = (await model.generate(text)).completion
        return said

    async def fan(texts: Sequence[str]) -> Sequence[Any]:
        return await asyncio.gather(*map(ask, texts), return_exceptions=True)

    async with model:
        yield fan
