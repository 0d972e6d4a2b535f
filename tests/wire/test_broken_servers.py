"""What comes of servers that break, lie or refuse: never a silently short reply, always one typed error."""

import asyncio
import json
import socket
from typing import Any

import pytest

from fanfold import OpenAI, Session, prompt
from fanfold.errors import (
    AccessError,
    BillingError,
    CallError,
    ConnectError,
    FatalError,
    NotRecorded,
    ReplyError,
    StatusError,
    StreamCut,
)
from fanfold.models import wire
from fanfold.testing import no_leaks
from tests.wire import raw

pytestmark = pytest.mark.usefixtures("either_transport")

ASK = prompt("{input}")
TEXTS = ("Grüße ", "aus 東京 ", "und 🐙.")
TEXT = "".join(TEXTS)


def model(url: str) -> OpenAI:
    """The model on a test's server."""
    return OpenAI(name="m", base_url=url, api_key="test-key-1234")


async def call(url: str, *, streamed: bool = False) -> tuple[str, list[str]]:
    """Ask the model at `url`: its text, and the pieces in which it came."""
    async with Session(model=model(url), attempts=1) as session, no_leaks(session):
        if not streamed:
            return (await ASK.run("hi", session=session)).output, []
        pieces: list[str] = []
        async with ASK.text("hi", session=session) as text:
            await read(text, pieces)
            return text.run.output, pieces


async def read(text: Any, pieces: list[str]) -> None:
    """Put the pieces of a text where they stay if it raises."""
    while (piece := await anext(text, None)) is not None:
        pieces.append(piece)


def answer(response: bytes | raw.Say, *, streamed: bool = False) -> tuple[str, list[str]]:
    """What comes of one call to a server that answers with `response`."""

    async def main():
        async with raw.raw_server(response) as server:
            return await call(server.url, streamed=streamed)

    return asyncio.run(main())


def refusal(response: bytes | raw.Say, kind: type[CallError] = CallError, *, streamed: bool = False) -> Any:
    """The error that comes of it."""
    with pytest.raises(kind) as caught:
        answer(response, streamed=streamed)
    assert type(caught.value) is kind or kind is CallError
    assert caught.value.model == "openai:m"
    assert caught.value.place == "prompt"
    return caught.value


def closing(*parts: bytes) -> raw.Say:
    """Send these parts one by one, each on the wire before the next, then close the connection politely."""

    async def say(writer, _heard):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return say


def aborting(*parts: bytes) -> raw.Say:
    """Send these parts, let them arrive, then cut the connection off."""

    async def say(writer, _heard):
        for part in parts:
            writer.write(part)
            await writer.drain()
        await asyncio.sleep(0.01)
        writer.transport.abort()

    return say


# -- streams that end too soon ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(4))
@pytest.mark.parametrize("end", [closing, aborting])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_cut_at_any_chunk_is_an_error_with_the_partial_text(cut, end, chunked):
    """Cut before any text it may be tried again; cut after, it is a StreamCut that keeps the text."""
    events = raw.stream(*TEXTS)[:cut]
    parts = [raw.in_chunks(), *map(raw.chunk, events)] if chunked else [raw.open_ended(), *events]
    if cut:
        error = refusal(end(*parts), StreamCut, streamed=True)
        assert error.text == "".join(TEXTS[:cut])
        assert not error.retryable
    else:
        error = refusal(end(*parts), streamed=True)
        assert isinstance(error, ConnectError | ReplyError)
        assert not isinstance(error, StreamCut)
        assert error.retryable


@pytest.mark.parametrize("keep", [1, 5, 11, 12, 30, 60])
def test_a_stream_cut_inside_an_event_is_a_cut_too(keep):
    """Half an event is no text, and what came before it is kept."""
    half = raw.event(raw.piece("lost"))[:keep]
    error = refusal(closing(raw.open_ended(), raw.event(raw.piece("kept ")), half), StreamCut, streamed=True)
    assert error.text == "kept "


def test_the_text_before_a_cut_reached_the_reader():
    """The pieces of a stream that is cut later are given before the error is raised."""

    async def main():
        parts = [raw.open_ended(), raw.event(raw.piece("one ")), raw.event(raw.piece("two "))]
        pieces: list[str] = []
        async with (
            raw.raw_server(aborting(*parts)) as server,
            Session(model=model(server.url), attempts=1) as session,
            ASK.text("hi", session=session) as text,
        ):
            with pytest.raises(StreamCut):
                await read(text, pieces)
        return pieces

    assert "".join(asyncio.run(main())) == "one two "


def test_several_samples_in_one_stream_are_whole_only_together():
    """A finish reason of one sample does not make up for another sample that lacks its own."""
    events = [
        raw.event(raw.piece("a")),
        raw.event(raw.piece("b", index=1)),
        raw.event(raw.piece(finish="stop")),
    ]
    assert refusal(closing(raw.open_ended(), *events), StreamCut, streamed=True).text == "a"
    both = [*events, raw.event(raw.piece(finish="stop", index=1))]
    assert answer(closing(raw.open_ended(), *both), streamed=True)[0] == "a"


def test_several_samples_are_not_whole_before_all_have_begun():
    """Asked for two, a stream that breaks off between them is no whole reply, whichever came first."""

    async def cut(index):
        parts = [raw.open_ended(), raw.event(raw.piece("a", "stop", index))]
        two = prompt("{input}", extra_body={"n": 2})
        async with (
            raw.raw_server(closing(*parts)) as server,
            Session(model=model(server.url), attempts=1) as session,
            two.text("hi", session=session) as text,
        ):
            await read(text, [])

    for index, kind in enumerate([StreamCut, ReplyError]):
        with pytest.raises(kind, match="the stream ended before the reply was whole"):
            asyncio.run(cut(index))


# -- streams that are odd, and whole -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("events", [{}, {"done": False}, {"finish": None}], ids=["whole", "not done", "no reason"])
def test_a_stream_that_says_it_is_whole_is_whole(events, end):
    """A finish reason or [DONE] is enough, with any kind of line end."""
    sent = raw.stream(*TEXTS, end=end, **events)
    text, pieces = answer(closing(raw.open_ended(), *sent), streamed=True)
    assert text == "".join(pieces) == TEXT


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_chunks_of_any_size_give_the_same_text(size, end):
    """Chunks of one byte, through the middle of characters, line ends and events, change nothing."""
    whole = b"".join(raw.stream(*TEXTS, end=end))
    parts = [raw.chunk(whole[at : at + size]) for at in range(0, len(whole), size)]
    text, pieces = answer(closing(raw.in_chunks(), *parts, raw.chunk(b"")), streamed=True)
    assert text == "".join(pieces) == TEXT


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "203 Non-Authoritative Information"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_reply_comes_with_any_status_that_brings_one(status, streamed):
    """Gateways answer every POST with 201, and write the type of a stream as they like."""
    whole = raw.whole(raw.reply("all"), status)
    events = closing(raw.open_ended("Text/Event-Stream; charset=UTF-8", status), *raw.stream("all"))
    assert answer(events if streamed else whole, streamed=streamed)[0] == "all"


def test_comments_other_fields_and_an_unended_last_event_are_understood():
    """Keep-alive comments and event names are passed over; the last blank line may be missing."""
    body = b": ping\n\nevent: x\nid: 7\n" + raw.event(raw.piece("a")) + b":\n\n" + raw.event("[DONE]").rstrip()
    assert answer(raw.open_ended() + body, streamed=True)[0] == "a"


def test_a_server_that_does_not_stream_gives_its_text_whole():
    """A server that ignores `stream` and answers in one piece is understood."""
    assert answer(raw.whole(raw.reply("all at once")), streamed=True) == ("all at once", ["all at once"])


def test_a_server_that_streams_unasked_is_understood():
    """Its pieces are the answer, and nobody who did not ask for them hears them."""

    async def main():
        events = closing(raw.open_ended(), *raw.stream(*TEXTS))
        async with raw.raw_server(events) as server, Session(model=model(server.url), attempts=1) as session:
            return await ASK.run("hi", session=session)

    run = asyncio.run(main())
    assert (run.output, run.usage.output_tokens) == (TEXT, 2)
    assert not [event for event in run.events if event.kind == "call.text"]


# -- replies that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b'{"choices": [',
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": "none"}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"object": "list"}',
        b'{"choices": null}',
        b'{"odd": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_reply_is_a_reply_error(body):
    """Malformed JSON, JSON of another shape and a reply without choices may be tried again."""
    error = refusal(raw.whole(body), ReplyError)
    assert error.retryable
    assert "openai:m sent" in str(error)


def test_an_error_in_a_200_is_an_error():
    """Some gateways answer 200 with an error inside; it is told in their words."""
    error = refusal(raw.whole({"error": {"message": "upstream is down", "code": 502}}), ReplyError)
    assert "upstream is down" in str(error)


@pytest.mark.parametrize("texts", [(), ("partly ",)])
def test_an_error_event_in_a_stream_is_an_error(texts):
    """Before the first text it may be tried again, after it the text is kept; the server's words are told."""
    failed = {"error": {"message": "the model crashed", "type": "server_error"}}
    sent = [*(raw.event(raw.piece(text)) for text in texts), raw.event(failed), raw.event("[DONE]")]
    error = refusal(closing(raw.open_ended(), *sent), StreamCut if texts else ReplyError, streamed=True)
    assert "the model crashed" in str(error)
    assert error.retryable == (not texts)
    assert getattr(error, "text", "") == "".join(texts)


@pytest.mark.parametrize(
    "failed",
    [
        {"object": "error", "message": "the model crashed", "type": "InternalServerError", "code": 500},
        {"choices": None, "error": {"message": "the model crashed", "code": 500}},
        {"choices": [{"index": 0, "delta": {}, "error": {"message": "the model crashed", "code": 500}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}], "error": "the model crashed"},
    ],
    ids=["vllm", "null", "openrouter", "both"],
)
def test_an_error_in_any_shape_makes_no_short_reply(failed):
    """Text, an error in the words of a server behind, and [DONE]: that is a cut, and no whole answer."""
    sent = [raw.event(raw.piece("partly ")), raw.event(failed), raw.event("[DONE]")]
    error = refusal(closing(raw.open_ended(), *sent), StreamCut, streamed=True)
    assert error.text == "partly "
    assert "the model crashed" in str(error)


def test_a_sample_that_ended_with_an_error_is_no_answer():
    """Where no words are told, the reason to stop is enough."""
    ended = {"choices": [{"index": 0, "message": {"content": "part"}, "finish_reason": "error"}]}
    told = {"choices": [{"message": {"content": ""}, "error": {"code": 502, "message": "upstream is down"}}]}
    assert "ended with an error" in str(refusal(raw.whole(ended), ReplyError))
    error = refusal(raw.whole(told), ReplyError)
    assert (error.code, "upstream is down" in str(error)) == ("502", True)


@pytest.mark.parametrize("nothing", [{}, [], "", False, None])
def test_an_empty_error_beside_an_answer_is_none(nothing):
    """A field that every reply has, filled or not, does not throw a paid answer away."""
    assert answer(raw.whole({**raw.reply(), "error": nothing}))[0] == "hello"


def test_malformed_json_in_a_stream_is_an_error():
    """An event that is no JSON ends the stream; nothing is passed over in silence."""
    sent = [raw.event(raw.piece("so far ")), raw.event("{nonsense"), *raw.stream("more")]
    assert refusal(closing(raw.open_ended(), *sent), StreamCut, streamed=True).text == "so far "


@pytest.mark.parametrize("texts", [("",), ("", "")])
def test_a_stream_that_is_whole_and_empty_is_an_empty_reply(texts):
    """A model may say nothing; if the stream says that it is whole, that is its answer."""
    assert answer(closing(raw.open_ended(), *raw.stream(*texts)), streamed=True)[0] == ""


# -- connections --------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_named():
    """A refused connection is a ConnectError that names the host and asks whether the server runs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        origin = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ConnectError) as caught:
        asyncio.run(call(f"{origin}/v1"))
    assert origin in str(caught.value)
    assert "is it running" in str(caught.value)
    assert caught.value.retryable


def test_a_host_that_is_not_known_is_named():
    """A name that does not resolve is a ConnectError that names the host; this one is refused without a query."""
    with pytest.raises(ConnectError, match=r"no server answers at https://no-such\.\.host\.invalid"):
        asyncio.run(call("https://no-such..host.invalid/v1"))


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", raw.whole(raw.reply())[:-9], b"220 smtp ready\r\n\r\n"])
def test_a_connection_that_breaks_is_a_connect_error(sent):
    """A connection that is closed before the reply is whole, or speaks no HTTP, may be tried again."""
    error = refusal(closing(sent), ConnectError)
    assert error.retryable
    assert "broke before the reply was whole" in str(error)


# -- refusals -------------------------------------------------------------------------------------------------------


def said(status: str, code: str | None = None, **headers: str) -> bytes:
    """An error response in OpenAI's shape."""
    return raw.whole({"error": {"message": "these are the words", "code": code}}, status, **headers)


@pytest.mark.parametrize(
    ("response", "kind", "retryable"),
    [
        (said("400 Bad Request"), StatusError, False),
        (said("401 Unauthorized", "invalid_api_key"), AccessError, False),
        (said("402 Payment Required"), BillingError, False),
        (said("403 Forbidden"), AccessError, False),
        (said("404 Not Found", "model_not_found"), StatusError, False),
        (said("404 Not Found", "not_recorded"), NotRecorded, False),
        (said("408 Request Timeout"), StatusError, True),
        (said("409 Conflict"), StatusError, True),
        (said("413 Payload Too Large"), StatusError, False),
        (said("422 Unprocessable Entity"), StatusError, False),
        (said("429 Too Many Requests", "rate_limit_exceeded"), StatusError, True),
        (said("429 Too Many Requests", "insufficient_quota"), BillingError, False),
        (said("429 Too Many Requests", "credit_balance_exhausted"), BillingError, False),
        (said("500 Internal Server Error"), StatusError, True),
        (said("503 Service Unavailable"), StatusError, True),
        (said("529 Overloaded"), StatusError, True),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_status_becomes_its_error(response, kind, retryable, streamed):
    """Each status and code has its error, with the server's words; access and billing end the run."""
    error = refusal(response, kind, streamed=streamed)
    assert "these are the words" in str(error)
    assert error.retryable == retryable
    assert isinstance(error, FatalError) == (kind in {AccessError, BillingError})
    if kind is StatusError:
        assert error.body == "these are the words"
        assert str(error.status).encode() in response


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("0", 0.0),
        ("-10", None),
        ("inf", None),
        ("nan", None),
        ("999999999", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_carried_if_it_is_a_time(header, seconds):
    """The seconds that the server asks to wait stand on the error; nonsense does not."""
    error = refusal(said("429 Too Many Requests", Retry_After=header), StatusError)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "plain words"}', "plain words"),
        (b'{"detail": "as FastAPI says it"}', "as FastAPI says it"),
        (b'{"message": "bare"}', "bare"),
        (b"<html>Bad gateway</html>", "Bad gateway"),
        (b"", "(empty)"),
        (b"\xff\xfe", "�"),
        (b'["a", "list"]', '["a", "list"]'),
        (b'{"error": {"message": "' + b"x" * 5000 + b'"}}', "xxx"),
    ],
)
def test_whatever_shape_an_error_has_its_words_are_told(body, words):
    """Errors come in many shapes; the message has the words, and never more than a few lines of them."""
    error = refusal(raw.whole(body, "500 Internal Server Error"), StatusError)
    assert words in str(error)
    assert len(str(error)) < 700


def test_an_error_that_breaks_off_keeps_its_status():
    """The status decides, even if the connection breaks before the words are there."""
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n{"
    assert refusal(closing(head), StatusError).status == 503


@pytest.mark.parametrize("label", [raw.JSON, "text/plain; charset=utf-8", "application/octet-stream", raw.EVENTS])
def test_a_stream_is_read_under_any_label(label):
    """What was asked for as a stream is known by how it begins, not by what a gateway calls it."""
    beginnings = (b"", b": waiting\n\n", b"\r\n\r\n", b"\xef\xbb\xbf")
    for begun in beginnings:
        said = closing(raw.open_ended(label), begun, *raw.stream("hel", "lo"))
        assert answer(said, streamed=True)[0] == "hello"


def test_a_whole_reply_is_read_under_the_label_of_a_stream():
    """It was paid for; and an error has its own words."""
    body = json.dumps(raw.reply("hello")).encode()
    assert answer(closing(raw.open_ended(), b"\n \n", body[:9], body[9:]), streamed=True) == ("hello", ["hello"])
    error = refusal(raw.open_ended() + b'{"error": {"message": "boom", "code": "own"}}', ReplyError, streamed=True)
    assert "boom" in str(error)
    assert error.code == "own"


@pytest.mark.parametrize("label", [raw.JSON, "text/plain", "text/html; charset=utf-8"])
@pytest.mark.parametrize("said", ["upstream connect error", "null", '"busy"', "internal error", "error: id unknown"])
def test_what_stands_in_place_of_a_stream_is_told(label, said):
    """A status of success with a text that is no stream: its words say what is wrong."""
    error = refusal(raw.whole(said, Content_Type=label), ReplyError, streamed=True)
    assert str(error).endswith(said)


@pytest.mark.parametrize("label", [raw.JSON, raw.EVENTS])
@pytest.mark.parametrize("begun", [b"da", b"d", b"ev", b"i", b"retry: 5\n\n", b"id: 7\n"])
def test_a_stream_is_known_by_a_part_of_its_first_line(label, begun):
    """The first bytes may be any number of them."""
    rests = {b"da": b"", b"d": b"", b"ev": b"ent: ping\n\n", b"i": b"d: 7\n"}
    events = b"".join(raw.stream("hel", "lo"))
    rest = events[len(begun) :] if begun in {b"da", b"d"} else rests.get(begun, b"") + events

    async def say(writer, _heard):
        writer.write(raw.open_ended(label) + begun)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(rest)

    assert answer(say, streamed=True)[0] == "hello"


def test_an_error_without_an_end_is_not_read_to_it(monkeypatch):
    """Its status is known: neither a flood nor a drip behind it keeps the call, or its connection."""
    monkeypatch.setattr(wire, "SPEECH", 0.1)

    async def flood(writer, _heard):
        writer.write(raw.in_chunks("text/html", "500 Internal Server Error"))
        while True:
            writer.write(raw.chunk(b"overloaded " * 6000))
            await writer.drain()

    async def drip(writer, _heard):
        writer.write(raw.in_chunks("text/html", "503 Service Unavailable"))
        while True:
            writer.write(raw.chunk(b"down "))
            await writer.drain()
            await asyncio.sleep(0.01)

    async def main(say):
        async with raw.raw_server(say) as server, Session(model=model(server.url), attempts=1) as session:
            with pytest.raises(StatusError) as caught:
                await ASK.run("hi", session=session)
            assert session.statistics().sockets == 0
            return caught.value

    for say, status, words in ((flood, 500, "overloaded overloaded"), (drip, 503, "down down")):
        error = asyncio.run(main(say))
        assert error.status == status
        assert error.body.startswith(words)
        assert len(error.body) <= 300


def test_redirects_are_not_followed():
    """A redirect is an error that says where it leads, and no other host hears of the request or its key."""

    async def main():
        async with raw.raw_server(raw.whole(raw.reply())) as other:
            there = f"{other.url}/chat/completions"
            moved = raw.whole(b"", "307 Temporary Redirect", Location=f"{there}?key=secret")
            async with raw.raw_server(moved) as server:
                with pytest.raises(StatusError) as caught:
                    await call(server.url)
            return caught.value, there, other.heard, server.heard

    error, there, elsewhere, here = asyncio.run(main())
    assert error.status == 307
    assert f"it points to {there};" in str(error)
    assert elsewhere == []
    assert here[0].headers["authorization"] == "Bearer test-key-1234"


def test_a_server_that_repeats_the_key_does_not_get_it_into_an_error():
    """Whatever a server says, the key that was sent to it is not in the error."""

    async def echo(writer, heard):
        status = "500 Internal Server Error" if heard.json["messages"][0]["content"] == "refuse" else raw.OK
        writer.write(raw.whole({"error": heard.headers}, status))

    async def main():
        errors = []
        async with raw.raw_server(echo) as server, Session(model=model(server.url), attempts=1) as session:
            for word in ("refuse", "answer"):
                with pytest.raises(CallError) as caught:
                    await ASK.run(word, session=session)
                errors.append(caught.value)
        return errors

    for error in asyncio.run(main()):
        run = error.run
        told = f"{error} {error!r} {run!r} {run.calls} {getattr(error, 'body', '')}"
        assert "[hidden]" in str(error)
        assert "test-key" not in told


ECHO = "test-key-1234 query-key-1234"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        raw.open_ended() + raw.event(raw.piece("Hi")) + raw.event({"error": {"message": f"no: {ECHO}"}}),
        raw.whole(b'{"choices": "\xff %s"}' % ECHO.encode()),
        f"HTTP/1.1 nonsense {ECHO}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno {ECHO}\r\n".encode(),
        raw.whole({"error": {"message": "no", "code": f"no {ECHO}"}}, "400 Bad Request"),
    ],
)
def test_what_stands_behind_an_error_does_not_show_the_key_either(said, streamed):
    """Whoever prints a traceback prints causes, too: an HTTP library's own error holds the URL and the headers."""

    async def main():
        async with raw.raw_server(said) as server:
            asked = OpenAI(name="m", base_url=server.url, api_key="test-key-1234", query={"key": "query-key-1234"})
            async with Session(model=asked, attempts=1) as session, ASK.text("hi", session=session) as text:
                with pytest.raises(CallError) as caught:
                    await (read(text, []) if streamed else ASK.run("hi", session=session))
        return caught.value

    behind = [asyncio.run(main())]
    while behind[-1] is not None:
        behind.append(behind[-1].__cause__ or behind[-1].__context__)
    told = "".join(f"{one} {one!r} {one.args} {vars(one)}" for one in behind[:-1])
    assert "test-key" not in told
    assert "query-key" not in told
