"""A guard against a real server on loopback: how soon the refusal is there, and how soon the server knows."""

import asyncio
from typing import Any

import pytest

from fanfold import OpenAI, Session, guard
from fanfold.steps.guard import REFUSAL
from fanfold.testing import FakeModel, ModelServer, no_leaks
from tests.patterns.hearing import MARK, ask, asked

pytestmark = pytest.mark.usefixtures("either_transport")


@pytest.mark.timing
def test_the_server_sees_the_disconnect_of_a_refused_answer_at_once() -> None:
    """A check trips after 0.2 s while the answer takes 3 s: the refusal in 0.3 s, the disconnect 50 ms later."""
    harm = FakeModel(lambda request: "Yes, harmful." if asked(request).startswith("harm") else MARK, structured=False)
    harm.latency = lambda request: 0.2 if asked(request).startswith("harm") else 3.0
    pattern = guard(ask("answer"), {"harm": ask("harm", returns=bool)})

    async def main() -> tuple[Any, Any]:
        async with ModelServer(harm) as server, Session(OpenAI("m", base_url=server.url, api_key="k")) as session:
            async with no_leaks(session), pattern.text("q", session=session) as text:
                pieces = [piece async for piece in text]
            await asyncio.sleep(0.05)
            return (pieces, text.run), {seen.stream: seen for seen in server.seen}

    (pieces, run), seen = asyncio.run(main())
    assert pieces == [REFUSAL]
    assert run.wall < 0.3
    assert seen[True].disconnected - seen[False].answered < 0.05
