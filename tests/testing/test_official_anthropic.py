"""The official `anthropic` client finds the model server to be what it expects."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from fanfold.errors import AccessError, BillingError, StatusError
from fanfold.models.recordings import recordings
from fanfold.testing import ModelServer

anthropic = pytest.importorskip("anthropic")

T = TypeVar("T")

QUESTION = recordings("samples")[0]
SAMPLES = QUESTION.samples["gpt-35-turbo"]
TURNS: Any = [{"role": "user", "content": QUESTION.question}]
ASKED: Any = {"model": "gpt-35-turbo", "max_tokens": 500, "messages": TURNS}
NONSENSE: Any = {**ASKED, "messages": [{"role": "user", "content": "what was never asked"}]}


def asked(work: Callable[[Any, ModelServer], Awaitable[T]], **options: Any) -> T:
    """Run `work` with an async client of a new server."""

    async def main() -> T:
        async with (
            ModelServer(**options) as server,
            anthropic.AsyncAnthropic(base_url=server.origin, api_key="test-key", max_retries=0) as client,
        ):
            return await work(client, server)

    return asyncio.run(main())


def test_a_plain_reply_is_the_recorded_one_with_its_usage():
    """A plain request gets the first recorded sample, its tokens, and the recorded model's name."""

    async def work(client, server):
        return await client.messages.create(**ASKED), server.seen[0]

    reply, seen = asked(work)
    assert [(block.type, block.text) for block in reply.content] == [("text", SAMPLES[0].text)]
    assert (reply.type, reply.role, reply.model) == ("message", "assistant", "gpt-35-turbo")
    assert (reply.stop_reason, reply.stop_sequence) == ("end_turn", None)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (SAMPLES[0].input_tokens, SAMPLES[0].output_tokens)
    assert (reply.usage.cache_read_input_tokens, reply.usage.cache_creation_input_tokens) == (0, 0)
    assert reply.id.startswith("msg_fanfold-recorded-")
    assert (seen.path, seen.model, seen.body["max_tokens"]) == ("/v1/messages", "gpt-35-turbo", 500)
    assert "test-key" in seen.headers.get("x-api-key", seen.headers.get("Authorization"))


def test_a_stream_of_events_is_the_plain_reply_in_words():
    """The events come in the order that the client wants; the deltas are the text, the usage is whole at the end."""

    async def work(client, _server):
        stream = await client.messages.create(**ASKED, stream=True)
        return [event async for event in stream]

    events = asked(work)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    pieces = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert "".join(pieces) == SAMPLES[0].text
    assert len(pieces) > 50
    assert events[0].message.usage.output_tokens == 0
    assert events[0].message.usage.input_tokens == SAMPLES[0].input_tokens
    assert events[-2].usage.output_tokens == SAMPLES[0].output_tokens
    assert events[-2].delta.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("ceiling", "said"), [(500, ("one two", "stop_sequence", " three")), (1, ("one", "max_tokens", None))]
)
def test_a_text_ends_before_a_stop_sequence(ceiling, said):
    """The reply says which of them it met, plain and streamed, unless its tokens had run out before."""
    options: Any = {**NONSENSE, "max_tokens": ceiling, "stop_sequences": ["none", " three"]}

    async def work(client, _server):
        plain = await client.messages.create(**options)
        async with client.messages.stream(**options) as stream:
            return plain, await stream.get_final_message()

    for reply in asked(work, answers=["one two three four"]):
        assert (reply.content[0].text, reply.stop_reason, reply.stop_sequence) == said


def test_the_clients_own_stream_puts_the_message_together():
    """`messages.stream` gives the text and a final message that equals the plain one."""

    async def work(client, _server):
        async with client.messages.stream(**ASKED) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        return text, final

    text, final = asked(work)
    assert text == final.content[0].text == SAMPLES[0].text
    assert final.stop_reason == "end_turn"
    assert (final.usage.input_tokens, final.usage.output_tokens) == (SAMPLES[0].input_tokens, SAMPLES[0].output_tokens)


def test_identical_requests_get_one_sample_after_another():
    """Without a draw header the n-th identical request gets the n-th sample; a header says which."""

    async def work(client, server):
        texts = [(await client.messages.create(**ASKED)).content[0].text for _ in range(11)]
        drawn = await client.messages.create(**ASKED, extra_headers={"x-fanfold-draw": "vote/3/0/7"})
        return texts, drawn.content[0].text, server.seen[-1].ordinal

    texts, drawn, ordinal = asked(work)
    recorded = [sample.text for sample in SAMPLES]
    assert texts == [*recorded, recorded[0]]
    assert (drawn, ordinal) == (recorded[7], 7)


def test_system_messages_and_blocks_are_read():
    """The question is found in blocks, too; a function that answers sees system, turns and parts in no dialect."""
    told = []

    def say(request):
        told.append([(message.role, message.content) for message in request.messages])
        return "yes"

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}

    async def work(client, _server):
        content = [{"type": "text", "text": "look"}, image, linked]
        system = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
        await client.messages.create(**{**ASKED, "messages": [{"role": "user", "content": content}]}, system=system)
        await client.messages.create(**ASKED, system="be brief")

    asked(work, answers=say)
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    assert told == [
        [("system", "one\n\ntwo"), ("user", parts)],
        [("system", "be brief"), ("user", QUESTION.question)],
    ]


def test_made_up_answers_say_so_and_honour_a_schema():
    """Fake text is marked in the message's id; with output_config it is JSON of the schema."""
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["spam", "ham"]}, "sure": {"type": "boolean"}},
        "required": ["label", "sure"],
        "additionalProperties": False,
    }

    async def work(client, _server):
        plain = await client.messages.create(**NONSENSE)
        wanted = {"format": {"type": "json_schema", "schema": schema}}
        return plain, await client.messages.create(**NONSENSE, output_config=wanted)

    plain, typed = asked(work, answers="fake")
    assert plain.id.startswith("msg_fanfold-made-up-")
    assert plain.content[0].text.startswith("[made up]")
    value = json.loads(typed.content[0].text)
    assert (value["label"] in {"spam", "ham"}, type(value["sure"])) == (True, bool)


def test_the_clients_typed_answers_work():
    """`messages.parse` with a pydantic model gets one."""
    pydantic = pytest.importorskip("pydantic")
    verdict = pydantic.create_model("Verdict", label=(str, ...), sure=(bool, ...))

    async def work(client, _server):
        return await client.messages.parse(**NONSENSE, output_format=verdict)

    parsed = asked(work, answers="fake").parsed_output
    assert isinstance(parsed, verdict)


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_never_recorded_is_not_found(stream):
    """A question without a recording is a 404 in Anthropic's shape, before any stream begins."""

    async def work(client, _server):
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.messages.create(**NONSENSE, stream=stream)
        return caught.value

    error = asked(work)
    assert error.status_code == 404
    assert set(error.body) == {"type", "error", "request_id"}
    assert (error.body["type"], error.body["error"]["type"]) == ("error", "not_found_error")
    assert error.body["error"]["details"] == {"error_code": "not_recorded"}
    assert "recorded models answer only the questions they were asked" in error.body["error"]["message"]


BAD_VALUES = [
    {"messages": []},
    {"messages": "hello"},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "narrator", "content": "x"}]},
    {"messages": [{"role": "user", "content": [7]}]},
    {"model": ""},
    {"model": 4},
    {"max_tokens": 0},
    {"max_tokens": "many"},
    {"temperature": 1.5},
    {"stream": "yes"},
    {"system": 7},
    {"system": [{"type": "image", "text": "x"}]},
    {"output_config": {"format": {"type": "xml"}}},
    {"output_config": {"format": {"type": "json_schema"}}},
]


@pytest.mark.parametrize("change", BAD_VALUES)
def test_a_bad_value_is_a_bad_request(change):
    """A value of the wrong type or out of range is a 400 in Anthropic's shape that says where."""

    async def work(client, _server):
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.post("/v1/messages", body={**ASKED, **change}, cast_to=object)
        return caught.value

    error = asked(work)
    assert error.body["error"]["type"] == "invalid_request_error"
    assert next(iter(change)) in error.body["error"]["message"]


def test_a_ceiling_is_required():
    """max_tokens cannot be left out."""

    async def work(client, _server):
        body = {name: value for name, value in ASKED.items() if name != "max_tokens"}
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            await client.post("/v1/messages", body=body, cast_to=object)

    asked(work)


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (StatusError("no", status=529, retry_after=7), 529, "overloaded_error"),
        (StatusError("no", status=429), 429, "rate_limit_error"),
        (StatusError("no", status=413), 413, "request_too_large"),
        (StatusError("no", status=422), 422, "invalid_request_error"),
        (StatusError("no", status=503), 503, "api_error"),
        (AccessError("no"), 401, "authentication_error"),
        (BillingError("no"), 402, "billing_error"),
        (ZeroDivisionError("no"), 500, "api_error"),
    ],
)
def test_failures_have_the_status_and_the_word_for_it(failure, status, kind):
    """What a model behind the server raises comes out as the client expects it, with the time to wait."""

    async def work(client, _server):
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(**ASKED)
        return caught.value

    error = asked(work, answers=lambda _request: failure)
    assert (error.status_code, error.body["error"]["type"]) == (status, kind)
    wait = getattr(failure, "retry_after", None)
    assert error.response.headers.get("retry-after") == (None if wait is None else f"{wait}")


def test_paths_that_are_not_there_are_not_found_in_the_clients_words():
    """Counting tokens and batches are not served, and the error says what is."""

    async def work(client, _server):
        with pytest.raises(anthropic.NotFoundError, match="nothing is at '/v1/messages/count_tokens'"):
            await client.messages.count_tokens(model="m", messages=TURNS)
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.get("/v1/messages", cast_to=object)
        return caught.value

    error = asked(work)
    assert (error.status_code, error.body["error"]["type"]) == (405, "invalid_request_error")


def test_models_are_listed():
    """models.list() gives the names, as for the other client."""

    async def work(client, server):
        return [model.id async for model in client.models.list()], server.models

    listed, named = asked(work)
    assert listed == list(named)


def test_a_client_without_async_works_too():
    """The blocking client works against a server in a plain `with`, which runs beside it."""
    with (
        ModelServer() as server,
        anthropic.Anthropic(base_url=server.origin, api_key="test-key", max_retries=0) as client,
    ):
        plain = client.messages.create(**ASKED)
        with client.messages.stream(**ASKED) as stream:
            text = "".join(stream.text_stream)
        assert plain.content[0].text == SAMPLES[0].text
        assert text == SAMPLES[0].text
        with pytest.raises(anthropic.NotFoundError, match="no recorded question"):
            client.messages.create(**NONSENSE)


def test_a_client_that_gives_up_is_noted():
    """A timeout of the official client is a disconnect for the server, and its work for it ends."""

    async def work(client, server):
        with pytest.raises(anthropic.APITimeoutError):
            await client.messages.create(**ASKED, timeout=0.1)
        await asyncio.sleep(0.05)
        return server.seen[0], server.statistics()

    seen, statistics = asked(work, latency=30.0)
    assert seen.disconnected is not None
    assert (statistics.in_flight, statistics.disconnected, statistics.answered) == (0, 1, 0)
