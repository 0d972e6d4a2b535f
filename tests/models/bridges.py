"""What the tests of the bridges share: a real client of each framework, on a server of ours."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import openai
from langchain_openai import ChatOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from fanfold import Session
from fanfold.testing import no_leaks
from tests.wire import raw

T = TypeVar("T")

KINDS = ("langchain", "pydantic-ai")


@contextlib.asynccontextmanager
async def client(kind: str, url: str, name: str = "gpt-4o-mini", **options: Any) -> AsyncIterator[Any]:
    """A framework's own model of OpenAI's dialect, as its users make it, and with a client that is closed again."""
    if kind == "langchain":
        async with openai.DefaultAsyncHttpxClient() as http:
            yield ChatOpenAI(model=name, base_url=url, api_key="test-key", http_async_client=http, **options)
    else:
        async with openai.AsyncOpenAI(base_url=url, api_key="test-key") as sdk:
            yield OpenAIChatModel(name, provider=OpenAIProvider(openai_client=sdk), **options)


def bridged(kind: str, url: str, work: Callable[[Session], Awaitable[T]], **options: Any) -> Awaitable[T]:
    """Run `work` with a session whose model is a framework's; nothing of ours may be left behind."""

    async def main() -> T:
        async with (
            client(kind, url, **options) as model,
            Session(model=model, attempts=1) as session,
            no_leaks(session),
        ):
            return await work(session)

    return main()


def answered(
    kind: str, response: Any, work: Callable[[Session], Awaitable[T]], **options: Any
) -> tuple[T, list[raw.Heard]]:
    """What comes of `work` on a server that answers with `response`, and what the server heard."""

    async def main() -> tuple[T, list[raw.Heard]]:
        async with raw.raw_server(response) as server:
            return await bridged(kind, server.url, work, **options), server.heard

    return asyncio.run(main())
