"""Anthropic's dialect, calls that go well: what our wire sends, and what becomes of the reply."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import pytest

from fanfold import Anthropic, OpenAI, Session, prompt, vote
from fanfold.core.records import Cost, Message, Reply, Request, Usage
from fanfold.errors import ModelError, NotRecorded, UsageError
from fanfold.models.anthropic import CEILING, VERSION
from fanfold.models.messages import body_of, fitted
from fanfold.models.recordings import recordings
from fanfold.models.transport import chosen, open_transport
from fanfold.testing import FakeModel, ModelServer, no_leaks
from fanfold.testing.server import Seen
from tests.wire import raw
from tests.wire.test_calls import Colour, Verdict

pytestmark = pytest.mark.usefixtures("either_transport")

T = TypeVar("T")

QUESTION = recordings("samples")[0]
SAMPLES = QUESTION.samples["gpt-35-turbo"]
ASK = prompt("{input}")


def with_server(
    work: Callable[[Session, ModelServer], Awaitable[T]], answers: Any = "fake", name: str = "m", **options: Any
) -> T:
    """Run `work` with a session whose model is on a new server; nothing may be left behind."""

    async def main() -> T:
        async with (
            ModelServer(answers) as server,
            Session(model=Anthropic(name, base_url=server.origin, **options)) as session,
            no_leaks(session),
        ):
            return await work(session, server)

    return asyncio.run(main())


def sent(step: Any, given: Any = "hello", **options: Any) -> Seen:
    """What the server received of one call of `step`."""

    async def work(session, server):
        await step.run(given, session=session)
        (seen,) = server.seen
        return seen

    return with_server(work, **options)


def body(*messages: Message, structured: bool = False, **options: Any) -> Any:
    """The body of a request, decoded."""
    return json.loads(body_of("m", Request(messages, **options), ceiling=9, structured=structured))


def heard_by(response: bytes, work: Callable[[Session], Awaitable[T]]) -> tuple[T, raw.Heard]:
    """What `work` gives with a model on a server that answers with `response`, and what that server heard."""

    async def main():
        async with (
            raw.raw_server(response) as server,
            Session(model=Anthropic("m", base_url=server.origin, price=(1.0, 2.0))) as session,
            no_leaks(session),
        ):
            return await work(session), server.heard[0]

    return asyncio.run(main())


async def ask(session: Session) -> Any:
    """One plain call."""
    return await ASK.run("hi", session=session)


async def stream(session: Session) -> Any:
    """One streamed call; its run."""
    async with ASK.text("hi", session=session) as text:
        pieces = [piece async for piece in text]
        assert "".join(pieces) == text.run.output
        return text.run


def message(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A whole reply."""
    usage = {"input_tokens": 3, "output_tokens": 2}
    return {"type": "message", "id": "msg_1", "model": "m", "content": list(blocks), "usage": usage, **more}


def said(text: str) -> dict[str, Any]:
    """A block of text."""
    return {"type": "text", "text": text}


def events(*given: dict[str, Any]) -> bytes:
    """A whole streamed response of these events."""
    return raw.open_ended() + b"".join(b"event: %b\n" % event["type"].encode() + raw.event(event) for event in given)


def delta(index: int = 0, kind: str = "text_delta", **fields: Any) -> dict[str, Any]:
    """One piece of a block."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def end(usage: Any = None, **fields: Any) -> dict[str, Any]:
    """The event that says why it stopped."""
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn", **fields}, "usage": usage}


START: dict[str, Any] = {"type": "message_start", "message": {**message(), "content": []}}
STOP = {"type": "message_stop"}


# -- replies ---------------------------------------------------------------------------------------------------


def test_a_plain_call_gives_the_text_its_usage_and_its_price():
    """The recorded text arrives whole, its tokens are those that the server told, its cost the price of them."""

    async def work(session, _server):
        return await ASK.run(QUESTION.question, session=session)

    run = with_server(work, "recorded", "gpt-35-turbo", price=(0.5, 1.5))
    first = SAMPLES[0]
    assert run.output == first.text
    assert run.usage == Usage(first.input_tokens, first.output_tokens)
    assert run.cost.usd == pytest.approx((first.input_tokens * 0.5 + first.output_tokens * 1.5) / 1e6)
    (call,) = run.calls
    assert (call.state, call.model, call.made_up) == ("ok", "anthropic:gpt-35-turbo", False)
    assert call.first is None


def test_a_streamed_call_gives_the_same_text_in_pieces_with_the_same_usage():
    """`text()` brings the recorded text in many pieces, and its run knows usage and first token."""

    async def work(session, _server):
        async with ASK.text(QUESTION.question, session=session) as text:
            pieces = [piece async for piece in text]
        return pieces, text.run

    pieces, run = with_server(work, "recorded", "gpt-35-turbo")
    assert "".join(pieces) == run.output == SAMPLES[0].text
    assert run.usage == Usage(SAMPLES[0].input_tokens, SAMPLES[0].output_tokens)
    assert run.calls[0].first is not None


@pytest.mark.timing
def test_text_streams_while_it_is_written():
    """The first piece is there long before the last one is."""

    async def main():
        async with (
            ModelServer(["one two three four five"], between_tokens=0.03) as server,
            Session(model=Anthropic("m", base_url=server.origin)) as session,
            ASK.text("x", session=session) as text,
        ):
            return [asyncio.get_running_loop().time() async for _ in text]

    times = asyncio.run(main())
    assert len(times) > 1
    assert times[-1] - times[0] >= 0.05


def test_both_dialects_of_one_server_say_the_same():
    """The n-th voter gets the n-th recorded sample, whichever wire asks."""

    async def main():
        async with ModelServer() as server:
            wires = [
                Anthropic("gpt-35-turbo", base_url=server.origin),
                OpenAI("gpt-35-turbo", base_url=server.url),
            ]
            texts = []
            for model in wires:
                async with Session(model=model) as session:
                    run = await vote(ASK, n=4, stop=None).run(QUESTION.question, session=session)
                    texts.append([ballot.text for ballot in run.detail.ballots])
            return texts, [seen.path for seen in server.seen]

    texts, paths = asyncio.run(main())
    assert texts == [[sample.text for sample in SAMPLES[:4]]] * 2
    assert paths == ["/v1/messages"] * 4 + ["/v1/chat/completions"] * 4


def test_a_known_model_has_its_list_price_and_an_unknown_one_has_none():
    """Behind any base URL the price follows the name; an unknown price is unknown, never zero."""
    known, unknown = (with_server(lambda s, _: ask(s), name=name) for name in ("claude-haiku-4-5", "no-such-model"))
    assert known.cost.usd is not None
    assert known.cost.usd > 0
    assert unknown.cost == Cost(0.0, None)


def test_what_was_never_recorded_says_so():
    """A request without a recording is a NotRecorded with the server's explanation, plain and streamed."""

    async def work(session, _server):
        for call in (ask, stream):
            with pytest.raises(NotRecorded, match="only the questions they were asked") as caught:
                await call(session)
            assert (caught.value.status, caught.value.retryable) == (404, False)

    with_server(work, "recorded", "gpt-35-turbo")


def test_made_up_answers_are_marked():
    """A server that says its answers are made up marks the run, plain and streamed; recorded answers do not."""

    async def work(session, _server):
        return (await ask(session)).made_up, (await stream(session)).made_up

    assert with_server(work) == (True, True)
    assert with_server(work, ["model's own text"]) == (True, True)


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([said("hello")], "hello"),
        ([said("one, "), said("two")], "one, two"),
        ([{"type": "thinking", "thinking": "hm", "signature": "x"}, said("yes")], "yes"),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "tool_use", "id": "1", "name": "f", "input": {}}], ""),
        ([{"type": "made_later", "text": "not ours"}, said("b")], "b"),
        ([], ""),
    ],
)
def test_the_text_is_what_the_text_blocks_say(blocks, text):
    """Thinking, tools and kinds of blocks that come later are no text."""
    assert heard_by(raw.whole(message(*blocks)), ask)[0].output == text


def test_a_stream_gives_the_deltas_of_text_and_no_others():
    """Pings, thinking, signatures, tool input, citations and unknown events are passed over."""
    run, heard = heard_by(
        events(
            START,
            {"type": "ping"},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "t"}},
            delta(kind="thinking_delta", thinking="let me see"),
            delta(kind="signature_delta", signature="EqQB"),
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": said("Gr")},
            delta(1, text="üße "),
            {"type": "of_a_later_version", "delta": {"type": "text_delta", "text": "no"}},
            delta(1, kind="citations_delta", citation={"cited_text": "no"}),
            delta(1, text="aus 東京"),
            {"type": "content_block_stop", "index": 1},
            delta(2, kind="input_json_delta", partial_json='{"a": 1}'),
            end({"output_tokens": 7}),
            STOP,
        ),
        stream,
    )
    assert run.output == "Grüße aus 東京"
    assert run.usage == Usage(3, 7)
    assert heard.json["stream"] is True


# -- usage and finish ------------------------------------------------------------------------------------------


CACHED = {
    "input_tokens": 10,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 200,
    "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 150},
    "output_tokens": 50,
    "output_tokens_details": {"thinking_tokens": 30},
    "service_tier": "standard",
}


def test_cached_tokens_are_part_of_the_input():
    """Its input leaves out what the cache gave and took; ours counts all of it, and says what was read and written."""
    plain, _ = heard_by(raw.whole(message(said("a"), usage=CACHED)), ask)
    told = {**CACHED, "output_tokens": 1}
    streamed, _ = heard_by(
        events(
            {"type": "message_start", "message": {**message(), "usage": told}},
            delta(text="a"),
            end({"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 30}}),
            STOP,
        ),
        stream,
    )
    assert plain.usage == streamed.usage == Usage(1210, 50, 1000, 30, 200, 150)
    assert plain.cost.usd == pytest.approx((1210 * 1.0 + 50 * 2.0) / 1e6)


def test_the_last_count_of_a_stream_is_the_count():
    """The usage at the end is cumulative, and wins over the one at the start."""
    last = {"input_tokens": 20, "cache_read_input_tokens": 5, "output_tokens": 9}
    run, _ = heard_by(events(START, delta(text="a"), end({"output_tokens": 4}), end(last), STOP), stream)
    assert run.usage == Usage(25, 9, 5)


@pytest.mark.parametrize("usage", [None, {}, {"output_tokens": 5}, {"input_tokens": 5}])
def test_usage_that_is_not_told_is_not_known(usage):
    """A reply without usage, or with half of it, costs an unknown sum, never nothing."""
    run, _ = heard_by(raw.whole(message(said("a"), usage=usage)), ask)
    assert (run.calls[0].usage, run.cost.usd, run.cost.at_most) == (None, None, None)


@pytest.mark.parametrize("ending", [[STOP], [end(), STOP], [end()]])
def test_a_stream_without_its_last_count_has_no_usage(ending):
    """The one token that a stream counts at its start is not taken for the count of the whole."""
    run, _ = heard_by(events(START, delta(text="a"), *ending), stream)
    assert run.output == "a"
    assert run.calls[0].usage is None


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        (None, "stop"),
    ],
)
def test_the_reason_to_stop_is_said_in_the_words_of_the_other_wire(reason, finish):
    """`finish` has one word for one thing, whichever wire it came by."""

    class Watch:
        def sent(self): ...
        def alive(self): ...
        def limits(self, told): ...
        def text(self, piece): ...
        def done(self, reply): ...

    async def work(response, *, streamed):
        async with raw.raw_server(response) as server:
            transport = open_transport(chosen())
            wire = Anthropic("m", base_url=server.origin).open(transport)
            reply = await wire.send(Request((Message("user", "x"),), stream=streamed), Watch())
            await transport.close()
            return reply

    whole = raw.whole(message(said("a"), stop_reason=reason))
    pieces = events(START, delta(text="a"), end({"output_tokens": 2}, stop_reason=reason), STOP)
    replies = [asyncio.run(work(whole, streamed=False)), asyncio.run(work(pieces, streamed=True))]
    assert replies == [Reply(("a",), Usage(3, 2), finish, "m", "msg_1")] * 2


def test_a_refusal_is_text():
    """What the model says of its refusal is the answer; its explanation stands in where it said nothing."""
    details = {"type": "refusal", "category": "bio", "explanation": "This cannot be answered."}
    stopped = {"stop_reason": "refusal", "stop_details": details}
    assert heard_by(raw.whole(message(**stopped)), ask)[0].output == "This cannot be answered."
    assert heard_by(raw.whole(message(said("I won't."), **stopped)), ask)[0].output == "I won't."
    ending = end({"output_tokens": 1}, **stopped)
    assert heard_by(events(START, ending, STOP), stream)[0].output == "This cannot be answered."
    assert heard_by(events(START, delta(text="I won't."), ending, STOP), stream)[0].output == "I won't."
    silent = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": None}}
    assert heard_by(raw.whole(message(**silent)), ask)[0].output == ""


# -- typed answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("returns", [bool, int, float, Literal["spam", "ham"], Colour, list[str], Verdict])
def test_typed_answers_come_by_schema_where_the_model_has_it(returns):
    """A model with structured output is sent the type's JSON Schema, and its answer is read as the type."""

    async def work(session, server):
        return await prompt("{input}", returns=returns)("hello"), server.seen[0].body

    value, body = with_server(work, structured=True)
    assert set(body["output_config"]) == {"format"}
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["output_config"]["format"]["schema"]["additionalProperties"] is False
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert "temperature" not in body
    pydantic.TypeAdapter(returns).validate_python(value, strict=True)


@pytest.mark.parametrize(
    ("returns", "words", "value"),
    [
        (bool, "YES, because it is.", True),
        (Literal["spam", "ham"], "**spam**.", "spam"),
        (int, "It is 42.", 42),
    ],
)
def test_typed_answers_come_by_instruction_where_the_model_has_no_schema(returns, words, value):
    """Without structured output the prompt's end says what to answer, and words are read."""

    async def work(session, server):
        return await prompt("{input}", returns=returns)("hello"), server.seen[0].body

    read, body = with_server(work, [words])
    assert read == value
    assert "output_config" not in body
    assert body["messages"][0]["content"].startswith("hello\n\n")


@pytest.mark.parametrize(
    ("name", "options", "structured"),
    [
        ("claude-haiku-4-5", {}, True),
        ("claude-sonnet-4-5-20250929", {}, True),
        ("claude-opus-4-6", {}, True),
        ("claude-sonnet-5-5", {}, True),
        ("claude-fable-5", {}, True),
        ("claude-opus-4-1-20250805", {}, False),
        ("claude-opus-4-20250514", {}, False),
        ("claude-sonnet-4-20250514", {}, False),
        ("claude-3-5-haiku-latest", {}, False),
        ("claude-3-haiku-20240307", {"structured": True}, True),
        ("claude-2.1", {}, False),
        ("some-other-model", {}, False),
        ("claude-haiku-4-5", {"base_url": "https://gate.example"}, False),
        ("claude-haiku-4-5", {"base_url": "https://gate.example", "structured": True}, True),
        ("claude-haiku-4-5", {"structured": False}, False),
    ],
)
def test_a_schema_is_sent_where_it_is_known_to_be_taken(name, options, structured):
    """Claude takes a schema from 4.5 on; an unknown server behind a base URL might refuse it, unless the user knows."""
    assert Anthropic(name, api_key="k", **options).open(None).structured == structured


def test_what_a_schema_may_not_say_is_told_in_its_descriptions():
    """Bounds, patterns and lengths go into the description; everything else stays, also fields of such names."""
    given = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "maximum": 150, "description": "In years"},
            "minimum": {"type": "string", "pattern": "^a+$"},
            "tags": {"type": "array", "items": {"type": "number", "multipleOf": 2}, "minItems": 3},
            "some": {"type": "array", "items": {"$ref": "#/$defs/d"}, "minItems": 1},
            "either": {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]},
        },
        "required": ["age"],
        "additionalProperties": False,
        "$defs": {"d": {"type": "string", "enum": ["a", "b"], "maxLength": 5}},
    }
    assert fitted(given) == {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "description": "In years (minimum: 0, maximum: 150)"},
            "minimum": {"type": "string", "description": "(pattern: ^a+$)"},
            "tags": {
                "type": "array",
                "items": {"type": "number", "description": "(multipleOf: 2)"},
                "description": "(minItems: 3)",
            },
            "some": {"type": "array", "items": {"$ref": "#/$defs/d"}, "minItems": 1},
            "either": {"anyOf": [{"type": "integer", "description": "(exclusiveMinimum: 0)"}, {"type": "null"}]},
        },
        "required": ["age"],
        "additionalProperties": False,
        "$defs": {"d": {"type": "string", "enum": ["a", "b"], "description": "(maxLength: 5)"}},
    }


class Comment(pydantic.BaseModel):
    """A type that holds itself."""

    text: str
    answers: list["Comment"] = []


@pytest.mark.parametrize("content", ["hello", [{"type": "text", "text": "hello"}]])
def test_a_type_that_holds_itself_is_asked_for_in_words(content):
    """Claude's structured output refuses recursive schemas; other types of the same program still go by schema."""
    spoken = [{"role": "user", "content": content}]

    async def work(session, server):
        value = await prompt(messages=spoken, returns=Comment)("")
        await prompt(messages=spoken, returns=list[Verdict])("")
        return value, *(seen.body for seen in server.seen)

    def say(request):
        return (
            '{"text": "a", "answers": [{"text": "b", "answers": []}]}' if request.schema is None else '{"answer": []}'
        )

    value, words, schema = with_server(work, say, structured=True)
    assert value == Comment(text="a", answers=[Comment(text="b")])
    assert "output_config" not in words
    assert "Reply with only JSON that matches this JSON Schema: {" in json.dumps(words["messages"])
    assert "output_config" in schema
    assert schema["messages"] == spoken


def test_bounds_of_a_type_hold_although_the_schema_does_not_carry_them():
    """The reply is checked by the type itself."""
    graded = prompt("{input}", returns=Annotated[int, pydantic.Field(ge=1, le=5)])

    async def work(session, server):
        return await graded("hello"), server.seen[0].raw

    grade, asked = with_server(work, ['{"answer": 4}'], structured=True)
    assert grade == 4
    assert b'"minimum"' not in asked
    assert b"minimum: 1" in asked


def test_a_prompt_may_say_that_it_wants_no_schema():
    """`prompt(structured=False)` wins over the model's own."""
    seen = sent(prompt("{input}", returns=bool, structured=False), answers=["yes"], structured=True)
    assert "output_config" not in seen.body


# -- what is sent ----------------------------------------------------------------------------------------------


def test_a_bare_prompt_sends_model_ceiling_and_messages():
    """What was not asked for is not in the request, but the dialect wants a ceiling and a version."""
    seen = sent(ASK)
    assert seen.body == {"model": "m", "max_tokens": CEILING, "messages": [{"role": "user", "content": "hello"}]}
    assert (seen.method, seen.path) == ("POST", "/v1/messages")
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.headers["anthropic-version"] == VERSION == "2023-06-01"
    assert "User-Agent" not in seen.headers
    assert "x-api-key" not in seen.headers


def test_options_are_sent_under_their_names():
    """Temperature, ceiling, system message and extra body all arrive; the extra body has the last word."""
    step = prompt(
        "{input}",
        system="Be brief.",
        temperature=0.2,
        max_tokens=50,
        extra_body={"top_k": 5, "thinking": {"type": "adaptive"}, "temperature": 0.3},
    )
    assert sent(step).body == {
        "model": "m",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.3,
        "max_tokens": 50,
        "top_k": 5,
        "thinking": {"type": "adaptive"},
    }


def test_the_ceiling_of_a_model_is_for_prompts_that_name_none():
    """`Anthropic(max_tokens=)` is the default, the prompt's own goes before it."""
    assert sent(ASK, max_tokens=77).body["max_tokens"] == 77
    assert sent(prompt("{input}", max_tokens=5), max_tokens=77).body["max_tokens"] == 5


def test_a_conversation_keeps_its_order_and_its_system_messages_stand_apart():
    """System and developer messages go into `system`, in order, and all others stay where they are."""
    asked = body(
        Message("system", "first"),
        Message("user", "a"),
        Message("assistant", "b"),
        Message("developer", "second"),
        Message("user", "c"),
    )
    assert asked["system"] == "first\n\nsecond"
    assert [(turn["role"], turn["content"]) for turn in asked["messages"]] == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]


def test_a_system_message_of_parts_stays_in_parts():
    """Blocks of a system message keep what they carry, as marks for the cache."""
    marked = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    asked = body(Message("system", "short"), Message("system", [marked]), Message("user", "x"))
    assert asked["system"] == [{"type": "text", "text": "short"}, marked]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg?x=1"}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg?x=1"}},
        ),
        (
            {"type": "image_url", "image_url": "https://example.com/a.webp"},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.webp"}},
        ),
        ({"type": "text", "text": "t"}, {"type": "text", "text": "t"}),
        (
            {"type": "document", "source": {"type": "file", "file_id": "f"}},
            {"type": "document", "source": {"type": "file", "file_id": "f"}},
        ),
    ],
)
def test_parts_become_blocks(part, block):
    """Images are translated, inline or by URL; text and blocks of its own pass as they are."""
    assert body(Message("user", [part]))["messages"][0]["content"] == [block]


def test_images_in_messages_reach_the_server_and_its_answerer():
    """An image arrives as a block of this dialect, and a model behind the server sees the part that was written."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    step = prompt(messages=[{"role": "user", "content": [{"type": "text", "text": "What is {input}?"}, image]}])
    asked = []

    def see(request):
        asked.append(request.messages[0].content)
        return "a square"

    async def work(session, server):
        return await step("this"), server.seen[0].body["messages"][0]["content"]

    answer, blocks = with_server(work, FakeModel(see))
    assert answer == "a square"
    assert [block["type"] for block in blocks] == ["text", "image"]
    assert asked == [[{"type": "text", "text": "What is this?"}, image]]


@pytest.mark.parametrize(
    "image",
    [{"url": "data:image/png,plain"}, {"url": "data:;base64,AAAA"}, {"url": 7}, {}, None, {"url": "data:image/png"}],
)
def test_an_image_that_cannot_be_said_is_refused_before_anything_is_sent(image):
    """A data URL without base64 or type, and an image without a URL, are errors that show how it is written."""

    async def work(session, server):
        step = prompt(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": image}]}])
        with pytest.raises(UsageError, match="image"):
            await step.run("x", session=session)
        return server.seen

    assert with_server(work) == []


def test_several_samples_in_one_request_are_refused():
    """The dialect has no n: the error says to ask several times, and nothing is sent."""

    async def work(session, server):
        line = session.line(None)
        with pytest.raises(UsageError, match="one sample a request, not n=3"):
            await line.model.send(Request((Message("user", "x"),), n=3), None)
        return server.seen

    assert with_server(work) == []


def test_any_text_arrives_as_it_is():
    """Quotes, line ends, braces, other scripts and control characters survive the way there and back."""
    text = 'a "quoted" {brace}\r\n\t\\ \x00\x1f 東京 🐙 \u2028 </script>'

    async def work(session, _server):
        plain = await ASK.run(text, session=session)
        async with ASK.text(text, session=session) as streamed:
            return plain.output, "".join([piece async for piece in streamed])

    assert with_server(work, FakeModel(lambda request: request.messages[0].content)) == (text, text)


def test_own_headers_are_sent_and_win():
    """`headers` go along with every call; one that is ours by default is sent once, as the user has it."""
    seen = sent(ASK, headers={"anthropic-beta": "b", "Anthropic-Version": "2099-01-01"}, api_key="given-key")
    assert (seen.headers["anthropic-beta"], seen.headers["x-api-key"]) == ("b", "given-key")
    assert seen.headers.getall("anthropic-version") == ["2099-01-01"]
    assert "Authorization" not in seen.headers


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_a_base_url_may_end_in_the_version_or_not(ending):
    """Anthropic's base URLs come without /v1, those of the model server with it; both lead to the same place."""

    async def main():
        async with (
            ModelServer("fake") as server,
            Session(model="anthropic:m", api_key="k", base_url=server.origin + ending) as session,
        ):
            await ASK.run("hi", session=session)
            return server.seen[0].path

    assert asyncio.run(main()) == "/v1/messages"


def test_the_name_alone_is_enough(monkeypatch):
    """`anthropic:name` finds URL and key in the environment."""

    async def main():
        async with ModelServer("fake") as server:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", server.origin)
            monkeypatch.setenv("ANTHROPIC_API_KEY", "of-the-environment")
            async with Session(model="anthropic:claude-x") as session:
                run = await ASK.run("hi", session=session)
            return run, server.seen[0]

    run, seen = asyncio.run(main())
    assert run.calls[0].model == "anthropic:claude-x"
    assert (seen.model, seen.headers["x-api-key"]) == ("claude-x", "of-the-environment")


def test_the_other_wire_does_not_speak_it():
    """`OpenAI(provider="anthropic")` is an error that says what to write."""

    async def main():
        async with Session(model=OpenAI("m", provider="anthropic", api_key="k")) as session:
            await ASK.run("hi", session=session)

    with pytest.raises(ModelError, match=r"say Anthropic\('m'\)"):
        asyncio.run(main())


def test_an_unknown_option_of_the_provider_is_named():
    """A misspelt option in `providers` is an error that names the class to look at."""
    with pytest.raises(ModelError, match=r"providers\['anthropic'\].*Anthropic\(\.\.\.\)"):
        Session(model="anthropic:m", providers={"anthropic": {"api_kee": "k"}})
