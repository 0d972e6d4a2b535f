"""The model server with models of which only a label or a verdict was recorded."""

import asyncio
from typing import Any

import aiohttp
import pytest

from fanfold import OpenAI, Session, prompt
from fanfold.models import llmbar, recordings, xstest
from fanfold.runs.run import Run
from fanfold.testing import ModelServer

LABEL = "xstest/gpt4"
PROMPT = xstest.prompts()[0]


def post(model: str, content: str, **more: Any) -> tuple[int, Any]:
    """Status and JSON of one request to a server of recordings."""

    async def main() -> tuple[int, Any]:
        body = {"model": model, "messages": [{"role": "user", "content": content}], **more}
        async with (
            ModelServer("recorded") as server,
            aiohttp.ClientSession() as client,
            client.post(f"{server.url}/chat/completions", json=body) as response,
        ):
            return response.status, await response.json()

    return asyncio.run(main())


def test_a_label_is_the_reply_and_its_tokens_are_unknown() -> None:
    """What the model did is the text of every sample; tokens that nobody recorded are null, not zero."""
    status, body = post(LABEL, PROMPT.prompt, n=2)
    assert status == 200
    assert [choice["message"]["content"] for choice in body["choices"]] == [PROMPT.labels["gpt4"]] * 2
    assert body["usage"] is None


def test_a_run_says_that_its_usage_and_cost_are_unknown() -> None:
    """The client takes them for unknown, plain and streamed."""

    async def main() -> tuple[Run[str], list[str]]:
        async with ModelServer("recorded") as server, Session():
            step = prompt("{input}", model=OpenAI(name=LABEL, base_url=server.url))
            async with step.text(PROMPT.prompt) as text:
                pieces = [piece async for piece in text]
            return await step.run(PROMPT.prompt), pieces

    run, pieces = asyncio.run(main())
    assert run.output == "".join(pieces) == PROMPT.labels["gpt4"]
    assert run.calls[0].usage is None
    assert run.cost.usd is None


def test_a_verdict_is_the_reply() -> None:
    """A judge names the label under which its recorded choice is shown."""
    pair = llmbar.pairs()[0]
    name = f"GPT-4/{llmbar.PLAIN}"
    labels = {pair.output_2: "K7", pair.output_1: "C3"}
    sections = [("TASK", pair.input), *((label, text) for text, label in labels.items())]
    asked = "\n\n".join(f"{label}\nBEGIN 5e1f\n{text}\nEND 5e1f" for label, text in sections)
    status, body = post(f"llmbar/{name}", asked)
    chosen = pair.output_1 if pair.votes[name][1] == "1" else pair.output_2
    assert (status, body["choices"][0]["message"]["content"]) == (200, f"Answer: {labels[chosen]}")


@pytest.mark.parametrize("model", [LABEL, "recorded:llmbar/GPT-4/Vanilla_NoRules"])
def test_what_was_not_recorded_is_refused(model: str) -> None:
    """A 404 that says what there is."""
    status, body = post(model, "How do magnets work?")
    assert (status, body["error"]["code"]) == (404, "not_recorded")
    assert "fanfold demo" in body["error"]["message"]


def test_they_are_listed() -> None:
    """Beside the models with answers, also where a name is unknown."""
    served = (*recordings.models(), *llmbar.models(), *xstest.models())
    assert ModelServer("recorded").models == served
    assert len(served) == len({*served}) == 9 + 12 + 5
    status, body = post("llmbar/nobody", "?")
    assert status == 404
    assert all(name in body["error"]["message"] for name in served)
