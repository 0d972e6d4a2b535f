"""Models of LangChain and pydantic-ai as models here, with the frameworks' real clients on a server of ours."""

import asyncio
import contextlib
import socket
from typing import Any, Literal

import pytest

from fanfold import Session, prompt, sections, vote
from fanfold.core.records import Usage
from fanfold.errors import (
    AccessError,
    BillingError,
    CallError,
    ConnectError,
    ParseError,
    ReplyError,
    StatusError,
    StepTimeout,
    StreamCut,
    UsageError,
)
from fanfold.models.recordings import recordings
from fanfold.testing import ModelServer
from tests.models.bridges import KINDS, answered, bridged, client
from tests.wire import raw

pytestmark = pytest.mark.parametrize("kind", KINDS)

ASK = prompt("{input}")
PIXEL = "data:image/png;base64,iVBORw0KGgo="


async def ask(session: Session) -> Any:
    """One plain call."""
    return await ASK.run("hello", session=session)


async def read(session: Session) -> Any:
    """One streamed call: its pieces, and its run."""
    async with ASK.text("hello", session=session) as text:
        pieces = [piece async for piece in text]
    return pieces, text.run


def completion(text: str | None, **choice: Any) -> dict[str, Any]:
    """A chat completion with all that the SDKs want of one."""
    body = raw.reply("", id="x", object="chat.completion", created=1)
    body["usage"]["total_tokens"] = 5
    body["choices"][0]["message"]["content"] = text
    body["choices"][0].update(choice)
    return body


def with_server(kind: str, work: Any, answers: Any = "fake", **options: Any) -> Any:
    """What comes of `work(session, server)` on a model server."""

    async def main() -> Any:
        async with ModelServer(answers) as server:
            return await bridged(kind, server.url, lambda session: work(session, server), **options)

    return asyncio.run(main())


# -- replies ---------------------------------------------------------------------------------------------------


def test_a_plain_call_gives_text_usage_and_the_list_price(kind):
    """A model object is a model: its text and tokens arrive, its cost follows provider and name."""

    async def work(session, server):
        return await ask(session), server.seen

    run, (seen,) = with_server(kind, work, ["Hi there."])
    assert run.output == "Hi there."
    (call,) = run.calls
    assert (call.model, call.state, call.made_up) == ("openai:gpt-4o-mini", "ok", False)
    assert call.usage is not None
    assert run.cost.usd is not None
    assert run.cost.usd > 0
    assert seen.body["messages"] == [{"role": "user", "content": "hello"}]


def test_cached_and_reasoning_tokens_are_told(kind):
    """They are part of input and output, as everywhere."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 25},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    body = raw.reply("Hi.", id="x-1", object="chat.completion", created=1, usage=usage)
    run, _ = answered(kind, raw.whole(body), ask)
    assert run.usage == Usage(100, 50, 40, 30, 25)


def test_a_streamed_call_comes_in_pieces_with_its_usage(kind):
    """`text()` brings many pieces that are the whole text, and the run knows its tokens and its first one."""

    async def work(session, server):
        plain = await ask(session)
        return plain, await read(session), server.seen

    plain, (pieces, run), seen = with_server(kind, work, ["one two three four five"] * 2)
    assert len(pieces) >= 5
    assert "".join(pieces) == run.output == plain.output
    assert run.usage == plain.usage
    assert run.calls[0].first is not None
    assert [one.body["stream"] for one in seen] == [False, True]


def test_temperature_and_ceiling_go_along(kind):
    """So they do not stay at the model object's own, which keeps what it was made with."""

    async def work(session, server):
        await prompt("{input}", temperature=0.3, max_tokens=7).run("hi", session=session)
        await ask(session)
        return [one.body for one in server.seen]

    own = {"temperature": 0.9} if kind == "langchain" else {"settings": {"temperature": 0.9}}
    set_here, left = with_server(kind, work, **own)
    assert (set_here["temperature"], set_here["max_completion_tokens"]) == (0.3, 7)
    assert left["temperature"] == 0.9
    assert "max_completion_tokens" not in left


def test_an_extra_body_goes_along(kind):
    """For LangChain it is keyword arguments of the call, for pydantic-ai parts of the body."""

    async def work(session, server):
        await prompt("{input}", extra_body={"top_p": 0.5}).run("hi", session=session)
        return server.seen[0].body

    assert with_server(kind, work)["top_p"] == 0.5


def test_messages_keep_their_roles_and_images(kind):
    """System, history and parts with images arrive as the dialect has them."""
    messages = [
        {"role": "user", "content": "First."},
        {"role": "assistant", "content": "Second."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is {input}?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                {"type": "image_url", "image_url": {"url": PIXEL}},
            ],
        },
    ]

    async def work(session, server):
        await prompt(system="Be brief.", messages=messages).run("this", session=session)
        return server.seen[0].body["messages"]

    system, first, second, last = with_server(kind, work)
    assert (system["role"], system["content"]) == ("system", "Be brief.")
    assert (first["role"], first["content"]) == ("user", "First.")
    assert (second["role"], second["content"]) == ("assistant", "Second.")
    assert last["content"][0] == {"type": "text", "text": "What is this?"}
    assert [part["image_url"]["url"] for part in last["content"][1:]] == ["https://example.org/a.png", PIXEL]


# -- typed answers ---------------------------------------------------------------------------------------------


def test_a_typed_answer_is_asked_by_schema_where_the_model_has_it(kind):
    """gpt-4o-mini honours schemas, as its profile says: the schema goes along, and no instruction in words."""

    async def work(session, server):
        run = await prompt("{input}", returns=Literal["spam", "ham"]).run("x", session=session)
        return run.output, server.seen[0].body

    output, body = with_server(kind, work)
    assert output in {"spam", "ham"}
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == ["spam", "ham"]
    assert body["messages"] == [{"role": "user", "content": "x"}]


def test_a_typed_answer_is_asked_in_words_where_it_has_not(kind):
    """An old model, or structured=False: the prompt says it in words."""

    async def work(session, server):
        label = prompt("{input}", returns=Literal["spam", "ham"])
        return await label.run("x", session=session), server.seen[0].body

    old = {"name": "gpt-3.5-turbo"} if kind == "langchain" else {"profile": {"supports_json_schema_output": False}}
    run, body = with_server(kind, work, ["Well: **spam**."], **old)
    assert run.output == "spam"
    assert "response_format" not in body
    assert "spam" in body["messages"][-1]["content"]


@pytest.mark.parametrize(("said", "ending"), [('{"answer": ["a", "', "length"), ("", "content_filter")])
def test_a_typed_answer_that_was_cut_is_a_parse_error_and_paid(kind, said, ending):
    """OpenAI's SDK makes an error of it, and the reply is in that: its text and its tokens are told all the same."""
    body = completion(said, finish_reason=ending)

    async def typed(session):
        with pytest.raises(ParseError) as caught:
            await prompt("{input}", returns=list[str]).run("x", session=session)
        return caught.value

    error, _ = answered(kind, raw.whole(body), typed)
    assert error.text == said
    assert error.run.usage == Usage(3, 2)
    assert error.run.cost.usd is not None


@pytest.mark.parametrize(("said", "ending"), [('{"answer": ["a", "', "length"), ('{"answer": [', "content_filter")])
def test_a_typed_answer_that_was_cut_is_no_cut_stream(kind, said, ending):
    """The server ended it in good order, and asked again it would say the same: it is paid once, and told."""
    same = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    pieces = [raw.piece(said), raw.piece(finish=ending), {"choices": [], "usage": usage}]
    told = [raw.event({**same, **piece}) for piece in pieces] + [raw.event("[DONE]")]

    async def main():
        async with (
            raw.raw_server(raw.open_ended() + b"".join(told)) as server,
            client(kind, server.url) as model,
            Session(model=model, idle_timeout=9) as session,
        ):
            with pytest.raises(ParseError) as caught:
                await prompt("{input}", returns=list[str]).run("x", session=session)
            return caught.value, len(server.heard)

    error, asked = asyncio.run(main())
    assert (error.text, asked) == (said, 1)
    assert error.run.usage == Usage(3, 2)


def test_a_usage_of_nothing_is_unknown(kind):
    """Servers that do not count say nought, and no reply was ever for nothing."""
    body = completion("hello")
    body["usage"] = dict.fromkeys(body["usage"], 0)
    assert answered(kind, raw.whole(body), ask)[0].cost.usd is None


def test_a_refusal_is_an_answer(kind):
    """Its words, which OpenAI sends beside the text, are the text."""
    body = completion(None)
    body["choices"][0]["message"]["refusal"] = "I would rather not."
    assert answered(kind, raw.whole(body), ask)[0].output == "I would rather not."


def test_a_list_of_texts_is_read_from_its_schema(kind):
    """The reply under a schema is read as the type, whatever the framework makes of it."""

    async def work(session, _server):
        return (await prompt("{input}", returns=list[str]).run("x", session=session)).output

    output = with_server(kind, work)
    assert output
    assert all(isinstance(one, str) for one in output)


def test_five_votes_are_five_requests(kind):
    """Voters share a prompt and not an answer."""
    texts = [sample.text for sample in recordings("samples")[0].samples["gpt-35-turbo"]]

    async def work(session, server):
        run = await vote(prompt("{input}", structured=False), n=5, stop=None).run("q", session=session)
        return [ballot.text for ballot in run.detail.ballots], server.statistics().requests

    ballots, requests = with_server(kind, work, texts)
    assert requests == 5
    assert sorted(ballots) == sorted(texts[:5])


# -- one attempt, and what its errors are ----------------------------------------------------------------------


def failing(kind: str, response: Any, expected: type[CallError], work: Any = ask) -> tuple[Any, int]:
    """The error of one call, and how often the server was asked."""

    async def raised(session: Session) -> Any:
        with pytest.raises(expected) as caught:
            await work(session)
        return caught.value

    error, heard = answered(kind, response, raised)
    assert type(error) is expected
    assert error.model == "openai:gpt-4o-mini"
    return error, len(heard)


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "408 Late", "409 Conflict"])
def test_the_clients_own_retries_are_off(kind, status):
    """What its SDK would try twice more by itself is asked once, and is an error that says it may be tried again."""
    error, times = failing(kind, raw.whole({"error": {"message": "no"}}, status), StatusError)
    assert times == 1
    assert error.status == int(status[:3])
    assert error.retryable


def test_a_streamed_call_is_not_retried_either(kind):
    """The other way to ask has its own client underneath."""
    error, times = failing(kind, raw.whole({"error": {"message": "no"}}, "500 Oops"), StatusError, read)
    assert (error.status, times) == (500, 1)


def test_a_typed_call_is_not_retried_either(kind):
    """So has the third."""

    async def typed(session):
        return await prompt("{input}", returns=bool).run("x", session=session)

    error, times = failing(kind, raw.whole({"error": {"message": "no"}}, "500 Oops"), StatusError, typed)
    assert (error.status, times) == (500, 1)


def test_the_servers_wish_to_wait_is_told(kind):
    """Retry-After arrives as seconds."""
    response = raw.whole({"error": {"message": "slow down"}}, "429 Too Many", Retry_After="7")
    error, times = failing(kind, response, StatusError)
    assert (error.status, error.retry_after, times) == (429, 7.0, 1)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_wrong_key_ends_the_run(kind, status):
    """No fold absorbs it, though the branch may be skipped."""

    async def patient(session):
        return await sections({"a": ASK, "b": ASK}, on_error="skip").run("x", session=session)

    failing(kind, raw.whole({"error": {"message": "who?"}}, status), AccessError, patient)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("402 Payment Required", {"message": "pay"}),
        ("429 Too Many", {"message": "pay", "code": "insufficient_quota", "type": "insufficient_quota"}),
        ("400 Bad Request", {"message": "Your credit balance is too low to access the API"}),
    ],
)
def test_an_empty_purse_ends_the_run(kind, status, error):
    """By status, by code or by words, as on our own wires."""
    failing(kind, raw.whole({"error": error}, status), BillingError)


def test_a_bad_request_is_not_tried_again(kind):
    """It stays a status error that no retry helps."""
    error, _ = failing(kind, raw.whole({"error": {"message": "no such field"}}, "400 Bad Request"), StatusError)
    assert not error.retryable
    assert "no such field" in str(error)


def test_no_server_is_a_connect_error_that_nothing_was_sent_to(kind):
    """Where no connection came about nothing can be billed."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(ConnectError) as caught:
            asyncio.run(bridged(kind, url, ask))
    assert not caught.value.reached
    assert caught.value.run.cost.usd == 0


def test_a_connection_that_breaks_may_be_tried_again(kind):
    """The server was reached, so it may have worked, and been paid."""

    async def abort(writer, _heard):
        writer.transport.abort()

    error, times = failing(kind, abort, ConnectError)
    assert error.reached
    assert error.retryable
    assert times == 1


def test_a_stream_cut_after_text_keeps_the_text(kind):
    """What had come is in the error, and it is not tried again."""

    async def cut(writer, _heard):
        chunks = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        for part in (
            raw.in_chunks(),
            *(raw.chunk(raw.event({**chunks, **raw.piece(text)})) for text in ("Once ", "up")),
        ):
            writer.write(part)
            await writer.drain()
        await asyncio.sleep(0.02)
        writer.transport.abort()

    error, _ = failing(kind, cut, StreamCut, read)
    assert error.text == "Once up"
    assert not error.retryable


def test_an_answer_that_ended_with_an_error_is_none(kind):
    """So OpenRouter tells of a provider that failed in the middle: no short reply comes of it."""
    error, _ = failing(kind, raw.whole(completion("part", finish_reason="error")), ReplyError)
    assert "ended it with an error" in str(error)


def test_an_error_that_is_told_in_a_stream_may_be_tried_again(kind):
    """The server answered 200, so no status speaks; before any text nothing of it was read."""
    told = {"error": {"message": "upstream is down", "code": 502}}
    expected = ReplyError if kind == "langchain" else StatusError
    error, _ = failing(kind, raw.open_ended() + raw.event(told), expected, read)
    assert error.retryable
    assert "upstream is down" in str(error)


def test_what_is_no_reply_is_an_error(kind):
    """A body that is not of the dialect does not become an empty answer."""
    with pytest.raises((ReplyError, CallError)):
        answered(kind, raw.whole("<html>Sorry</html>", Content_Type="text/html"), ask)


# -- cancelling and limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", [ask, read])
def test_a_cancelled_call_is_cut_off_at_the_server(kind, work):
    """Cancelling passes through to the framework's client, which closes the connection."""

    async def main():
        arrived = asyncio.Event()

        def say(_request):
            arrived.set()
            return "slow"

        async with ModelServer(say, latency=30.0) as server:

            async def cut(session):
                task = asyncio.create_task(work(session))
                await asyncio.wait_for(arrived.wait(), 5)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await asyncio.sleep(0.1)
                return server.statistics()

            return await bridged(kind, server.url, cut)

    statistics = asyncio.run(main())
    assert (statistics.disconnected, statistics.in_flight, statistics.answered) == (1, 0, 0)


def test_timeouts_and_slots_hold(kind):
    """A call's timeout is ours and total, and no more calls are under way than the session allows."""

    async def main():
        async with (
            ModelServer(["x"], latency=0.05) as server,
            client(kind, server.url) as model,
            Session(model=model, max_in_flight=1) as session,
        ):
            run = await sections({"a": ASK, "b": ASK}).run("x", session=session)
            with pytest.raises(StepTimeout):
                await prompt("{input}", timeout=0.01).run("x", session=session)
            return run, session.statistics()

    run, statistics = asyncio.run(main())
    first, second = sorted(run.calls, key=lambda call: call.sent)
    assert second.sent >= first.ended
    assert (statistics.slots.in_use, statistics.calls) == (0, 3)


def test_several_samples_a_request_are_refused(kind):
    """A bridge asks for one; the message says what to do."""
    from fanfold.core.records import Message, Request
    from fanfold.models.names import bridged as bridge

    async def main():
        async with client(kind, "http://127.0.0.1:9/v1") as model:
            with pytest.raises(UsageError, match="one sample a request"):
                await bridge(model).send(Request((Message("user", "x"),), n=2), None)

    asyncio.run(main())


def test_a_prompt_may_name_such_a_model_beside_others(kind):
    """A model object stands wherever a model's name does, also next to one of ours."""

    async def main():
        async with ModelServer(["theirs"]) as server, client(kind, server.url) as model:
            both = sections({"a": prompt("{input}", model=model), "b": prompt("{input}", model="fake:")})
            async with Session() as session:
                return await both.run("x", session=session)

    run = asyncio.run(main())
    assert run.output["a"] == "theirs"
    assert [call.made_up for call in sorted(run.calls, key=lambda call: call.place)] == [False, True]


def test_no_repr_shows_the_key(kind):
    """Neither the bridge nor the session that holds it."""

    async def main():
        async with client(kind, "http://127.0.0.1:9/v1") as model, Session(model=model, attempts=1) as session:
            line = session.line(None)
            return repr(line.model) + repr(session) + repr(line)

    shown = asyncio.run(main())
    assert "openai:gpt-4o-mini" in shown
    assert "test-key" not in shown
