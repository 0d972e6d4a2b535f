"""fanfold: a map over the fan's texts, in one session that knows the limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fanfold import Hedge, RateLimit, Session, map_over, prompt
from fanfold.models.openai import OpenAI
from peers.workload import KEY, MODEL, Fan, Work


@asynccontextmanager
async def client(work: Work) -> AsyncIterator[Fan]:
    """One session; what failed is named in the detail's `missing`."""
    limits: dict[str, RateLimit] = {}
    if work.requests_per_minute is not None:
        limits["openai"] = RateLimit(requests=work.requests_per_minute, tokens=work.tokens_per_minute)
    each = map_over(prompt("{input}", max_tokens=work.max_tokens), on_error="skip")
    async with Session(
        OpenAI(name=MODEL, base_url=work.url, api_key=KEY),
        max_in_flight=work.concurrency,
        rate_limits=limits,
        hedge=Hedge() if work.hedge else None,
    ) as session:

        async def fan(texts: Sequence[str]) -> Sequence[Any]:
            detail = (await each.run(list(texts), session=session)).detail
            return [*detail.values.values(), *(RuntimeError(reason) for reason in detail.missing.values())]

        yield fan
