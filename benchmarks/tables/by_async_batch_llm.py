"""`async-batch-llm`: its call pool over all rows, then a JSONL file."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from tables.timing import in_memory, run


async def client(library: Any, rows: Sequence[dict[str, Any]], url: str, in_flight: int) -> Sequence[str]:
    """One pool without limits of rate."""
    logging.disable(logging.WARNING)
    strategy = library.llm(
        "openai-compatible:m",
        base_url=url,
        api_key="none",
        generation_config={"max_tokens": 300},
        max_connections=in_flight,
    )
    async with library.LLMCallPool(strategy, config=library.ProcessorConfig(concurrency=in_flight)) as pool:
        return [str(reply) for reply in await asyncio.gather(*(pool.submit(row["text"]) for row in rows))]


if __name__ == "__main__":
    # It is in an environment of its own; what it takes to load is not timed.
    run(in_memory(partial(client, importlib.import_module("async_batch_llm"))))
