"""The official `openai` client finds the model server to be what it expects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import openai
import pytest

from fanfold.models.recordings import recordings
from fanfold.testing import FakeModel, ModelServer

T = TypeVar("T")

QUESTION = recordings("samples")[0]
SAMPLES = [sample.text for sample in QUESTION.samples["gpt-35-turbo"]]
ASKED: Any = {"model": "gpt-35-turbo", "messages": [{"role": "user", "content": QUESTION.question}]}
NONSENSE: Any = [{"role": "user", "content": "what was never asked"}]


def asked(work: Callable[[openai.AsyncOpenAI, ModelServer], Awaitable[T]], **options: Any) -> T:
    """Run `work` with an async client of a new server."""

    async def main() -> T:
        async with ModelServer(**options) as server, _client(server) as client:
            return await work(client, server)

    return asyncio.run(main())


def _client(server: ModelServer) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.url, api_key="test-key", max_retries=0)


def test_a_plain_reply_is_the_recorded_one_with_its_usage():
    """A plain request gets the first recorded sample, its tokens, and the recorded model's name."""

    async def work(client, _server):
        return await client.chat.completions.create(**ASKED)

    reply = asked(work)
    sample = QUESTION.samples["gpt-35-turbo"][0]
    assert [choice.message.content for choice in reply.choices] == [sample.text]
    assert (reply.choices[0].finish_reason, reply.choices[0].message.role) == ("stop", "assistant")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (sample.input_tokens, sample.output_tokens)
    assert reply.usage.total_tokens == sample.input_tokens + sample.output_tokens
    assert reply.usage.prompt_tokens_details.cached_tokens == 0
    assert (reply.model, reply.object, reply.system_fingerprint) == (
        "gpt-35-turbo",
        "chat.completion",
        "fanfold-recorded",
    )


def test_a_streamed_reply_is_the_plain_one_in_words():
    """A stream begins with the role, brings the plain text word by word, and ends with a reason."""

    async def work(client, _server):
        stream = await client.chat.completions.create(**ASKED, stream=True)
        return [chunk async for chunk in stream]

    chunks = asked(work)
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == SAMPLES[0]
    assert len(pieces) > 50
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert all(chunk.usage is None for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_tells_usage_when_asked_to():
    """With include_usage, one last chunk without choices brings the same usage as the plain reply."""

    async def work(client, _server):
        plain = await client.chat.completions.create(**ASKED)
        options = {"include_usage": True}
        stream = await client.chat.completions.create(**ASKED, stream=True, stream_options=options)
        return plain, [chunk async for chunk in stream]

    plain, chunks = asked(work)
    assert [chunk.usage for chunk in chunks if not chunk.choices] == [plain.usage]
    assert chunks[-1].usage == plain.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_n_gives_consecutive_samples():
    """n=3 gives three samples in a row, the same request again the next three, and usage adds them up."""

    async def work(client, _server):
        return [await client.chat.completions.create(**ASKED, n=3) for _ in range(4)]

    replies = asked(work)
    texts = [choice.message.content for reply in replies for choice in reply.choices]
    assert texts == [*SAMPLES, *SAMPLES[:2]]
    made = [sample.output_tokens for sample in QUESTION.samples["gpt-35-turbo"]]
    assert replies[0].usage.completion_tokens == sum(made[:3])
    assert [choice.index for choice in replies[0].choices] == [0, 1, 2]


def test_n_is_streamed_side_by_side():
    """The samples of one streamed request come in turns, each whole under its own index."""

    async def work(client, _server):
        stream = await client.chat.completions.create(**ASKED, n=2, stream=True)
        texts = ["", ""]
        order = []
        async for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
            order.append(chunk.choices[0].index)
        return texts, order

    texts, order = asked(work)
    assert texts == SAMPLES[:2]
    assert order[:6] == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("stop", [" three", ["none", " four", " three"], ["", " three"]])
def test_a_text_ends_before_a_stop_sequence(stop):
    """Each sample ends before the first of them that it meets, plain and streamed; usage is of what is said."""

    async def work(client, server):
        options: Any = {"model": "any", "messages": NONSENSE, "stop": stop, "n": 2}
        plain = await client.chat.completions.create(**options)
        texts = ["", ""]
        async for chunk in await client.chat.completions.create(**options, stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        return plain, texts, server.bill.charges[1].usage.output_tokens

    plain, texts, billed = asked(work, answers=["one two three four", "three three"])
    assert [choice.message.content for choice in plain.choices] == texts == ["one two", "three"]
    assert {choice.finish_reason for choice in plain.choices} == {"stop"}
    assert plain.usage.completion_tokens == billed == 3


@pytest.mark.parametrize("finish", ["stop", "content_filter"])
def test_each_choice_says_why_it_ends_itself(finish):
    """One out of tokens, one before a stop sequence, one as the model says of it; plain and streamed.

    All of them said "length" when one was cut.
    """

    class Answers(FakeModel):
        async def send(self, request, watch):
            return msgspec.structs.replace(await super().send(request, watch), finish=finish)

    async def work(client, _server):
        options: Any = {"model": "any", "messages": NONSENSE, "stop": " STOP", "n": 3, "max_tokens": 3}
        plain = await client.chat.completions.create(**options)
        told = {}
        async for chunk in await client.chat.completions.create(**options, stream=True):
            told[chunk.choices[0].index] = chunk.choices[0].finish_reason
        return [choice.finish_reason for choice in plain.choices], list(told.values())

    plain, streamed = asked(work, answers=Answers(["a b", "a b c d e", "a STOP b"]))
    assert plain == streamed == [finish, "length", "stop"]


def test_a_recorded_text_ends_there_too():
    """Of its measured tokens the share that is said is told."""

    async def work(client, _server):
        return await client.chat.completions.create(**ASKED, stop=SAMPLES[0][20:40])

    reply = asked(work)
    assert reply.choices[0].message.content == SAMPLES[0][:20]
    whole = QUESTION.samples["gpt-35-turbo"][0]
    assert 0 < reply.usage.completion_tokens < whole.output_tokens / 2
    assert reply.usage.prompt_tokens == whole.input_tokens


def test_identical_requests_get_one_sample_after_another():
    """Without a draw header the n-th identical request gets the n-th sample; another request counts apart."""

    async def work(client, _server):
        replies = [await client.chat.completions.create(**ASKED) for _ in range(11)]
        other = await client.chat.completions.create(**ASKED, temperature=0.5)
        return [reply.choices[0].message.content for reply in [*replies, other]]

    assert asked(work) == [*SAMPLES, SAMPLES[0], SAMPLES[0]]


def test_the_draw_header_says_which_sample():
    """The last part of x-fanfold-draw is the sample's number, modulo those recorded."""

    async def work(client, server):
        for draw in ("vote/3/0/7", "7", "a%2Fb/0/0/17"):
            headers = {"x-fanfold-draw": draw}
            reply = await client.chat.completions.create(**ASKED, extra_headers=headers)
            assert reply.choices[0].message.content == SAMPLES[7]
        return [(seen.draw, seen.ordinal) for seen in server.seen]

    assert asked(work) == [("vote/3/0/7", 7), ("7", 7), ("a%2Fb/0/0/17", 17)]


def test_a_malformed_draw_header_is_a_bad_request():
    """A draw header that does not end in a number is refused, and the error quotes it."""

    async def work(client, _server):
        for draw in ("", "vote/", "vote/x", "1.5", "-1", "0x1", "1" * 19, "1/"):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**ASKED, extra_headers={"x-fanfold-draw": draw})
            assert caught.value.code == "bad_draw"
            assert f"x-fanfold-draw: {draw!r}" in str(caught.value)

    asked(work)


def test_what_was_never_recorded_is_not_found():
    """A question without a recording is a 404 with the code not_recorded and a text that says what to do."""

    async def work(client, _server):
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model="gpt-35-turbo", messages=NONSENSE)
        return caught.value

    error = asked(work)
    assert (error.status_code, error.code, error.type) == (404, "not_recorded", "invalid_request_error")
    assert "recorded models answer only the questions they were asked" in error.message


def test_a_stream_of_what_was_never_recorded_is_not_found():
    """The refusal of a streamed request comes as a status, before any stream begins."""

    async def work(client, _server):
        with pytest.raises(openai.NotFoundError, match="no recorded question"):
            await client.chat.completions.create(model="gpt-35-turbo", messages=NONSENSE, stream=True)

    asked(work)


def test_an_unknown_model_is_not_found_and_the_known_ones_are_named():
    """A model without recordings is a 404 with the code model_not_found that lists the others."""

    async def work(client, _server):
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model="gpt-9", messages=ASKED["messages"])
        return caught.value

    error = asked(work)
    assert (error.code, error.param) == ("model_not_found", "model")
    assert "'gpt-9'" in error.message
    assert "gpt-35-turbo, gpt-4, llama-2-70b-chat" in error.message


def test_a_recorded_model_may_be_named_with_its_provider():
    """``recorded:gpt-35-turbo`` is ``gpt-35-turbo``."""

    async def work(client, _server):
        return await client.chat.completions.create(**{**ASKED, "model": "recorded:gpt-35-turbo"})

    assert asked(work).choices[0].message.content == SAMPLES[0]


def test_a_failed_recorded_call_is_served_as_it_was_recorded():
    """Where the recorded call failed, the text is its error message and no token is counted."""
    failed = next(
        (recording, model)
        for recording in recordings("panel")
        for model, samples in recording.samples.items()
        if samples[0].failed
    )

    async def work(client, _server):
        messages: Any = [{"role": "user", "content": failed[0].question}]
        return await client.chat.completions.create(model=failed[1], messages=messages)

    reply = asked(work)
    assert reply.choices[0].message.content.startswith("Error:")
    assert reply.usage.completion_tokens == 0


BAD_VALUES = [
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [{"role": "user"}, {"content": "no role"}]}, "messages"),
    ({"messages": [{"role": "narrator", "content": "x"}]}, "messages"),
    ({"model": ""}, "model"),
    ({"model": 4}, "model"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": "3"}, "n"),
    ({"n": True}, "n"),
    ({"temperature": 2.5}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"stop": ["1", "2", "3", "4", "5"]}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
]


def test_a_bad_value_is_a_bad_request_that_names_the_parameter():
    """A value of the wrong type or out of range is a 400 with the parameter's name."""

    async def work(client, _server):
        for change, param in BAD_VALUES:
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**{**ASKED, **change})
            assert (caught.value.param, caught.value.type) == (param, "invalid_request_error"), change

    asked(work)


def test_models_are_listed():
    """models.list() gives the recorded models; a server of made-up answers has one to try."""

    async def work(client, server):
        return [model.id async for model in client.models.list()], server.models

    listed, named = asked(work)
    assert listed == list(named)
    assert "gpt-35-turbo" in listed
    assert asked(work, answers="fake")[0] == ["fake"]


def test_made_up_answers_are_marked_seeded_and_for_any_model():
    """Fake text says that it is made up, repeats for a seed, and differs by model, sample and seed."""

    async def work(client, _server):
        texts = []
        for model in ("any", "other"):
            reply = await client.chat.completions.create(model=model, messages=NONSENSE, n=2)
            assert reply.system_fingerprint == "fanfold-made-up"
            assert reply.model == model
            texts += [choice.message.content for choice in reply.choices]
        return texts

    first = asked(work, answers="fake", seed=1)
    assert first == asked(work, answers="fake", seed=1)
    assert all(text.startswith("[made up]") for text in first)
    assert len({*first, *asked(work, answers="fake", seed=2)}) == 8


def test_made_up_answers_honour_a_json_schema():
    """With response_format json_schema a fake model's answer is JSON of that schema."""
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["spam", "ham"]}, "sure": {"type": "boolean"}},
        "required": ["label", "sure"],
    }
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}

    async def work(client, _server):
        reply = await client.chat.completions.create(model="any", messages=NONSENSE, response_format=wanted)
        return reply.choices[0].message.content

    text = asked(work, answers="fake")
    assert text in {f'{{"label":"{label}","sure":{sure}}}' for label in ("spam", "ham") for sure in ("true", "false")}


def test_a_client_without_async_works_too():
    """The blocking client works against a server in a plain `with`, which runs beside it."""
    with ModelServer() as server, openai.OpenAI(base_url=server.url, api_key="test-key", max_retries=0) as client:
        plain = client.chat.completions.create(**ASKED)
        stream = client.chat.completions.create(**ASKED, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert plain.choices[0].message.content == text == SAMPLES[0]
        assert "gpt-4" in [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError, match="no recorded question"):
            client.chat.completions.create(model="gpt-35-turbo", messages=NONSENSE)


def test_azures_client_works():
    """The official Azure client finds the deployment's path, and its key and version reach the server."""

    async def main():
        async with (
            ModelServer() as server,
            openai.AsyncAzureOpenAI(
                azure_endpoint=server.origin, api_key="test-key", api_version="2024-10-21", max_retries=0
            ) as client,
        ):
            reply = await client.chat.completions.create(**ASKED)
            return reply.choices[0].message.content, server.seen[0]

    text, seen = asyncio.run(main())
    assert text == SAMPLES[0]
    assert seen.path == "/openai/deployments/gpt-35-turbo/chat/completions"
    assert (seen.query["api-version"], seen.headers["api-key"]) == ("2024-10-21", "test-key")


def test_a_client_that_gives_up_is_noted():
    """A timeout of the official client is a disconnect for the server, and its work for it ends."""

    async def work(client, server):
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(**ASKED, timeout=0.1)
        await asyncio.sleep(0.05)
        return server.seen[0], server.statistics()

    seen, statistics = asked(work, latency=30.0)
    assert seen.disconnected is not None
    assert seen.disconnected - seen.received < 0.5
    assert (statistics.in_flight, statistics.disconnected, statistics.answered) == (0, 1, 0)
