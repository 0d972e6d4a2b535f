"""Streams that break over sockets, in both dialects: sent again while nobody has read of them, and never short."""

import asyncio
import json

import pytest

from fanfold import Anthropic, OpenAI, Session, prompt
from fanfold.calls import retrying
from fanfold.errors import BillingError, FanfoldError, SilenceError, StatusError, StreamCut
from fanfold.models import wire
from fanfold.testing import no_leaks
from tests.wire import raw
from tests.wire.test_anthropic import START, STOP, delta, end
from tests.wire.test_broken_servers import read

pytestmark = pytest.mark.usefixtures("either_transport")

ASK = prompt("{input}")
TEXTS = ("Grüße ", "aus 東京 ", "und 🐙.")
WHOLE = "".join(TEXTS)


def chat(*texts, ending=True):
    """The events of a streamed completion."""
    return raw.stream(*texts, finish="stop" if ending else None, done=ending)


def messages(*texts, ending=True):
    """The events of a streamed message."""
    last = [end({"output_tokens": 3}), STOP] if ending else []
    given = [START, *(delta(text=text) for text in texts), *last]
    return [f"event: {event['type']}\n".encode() + raw.event(event) for event in given]


def model_of(dialect, server):
    """The model that speaks it."""
    if dialect is chat:
        return OpenAI("m", base_url=server.url)
    return Anthropic("m", base_url=server.origin, api_key="k")


def asked(heard):
    """What the prompt of a request was; content is text in both dialects."""
    return heard.json["messages"][-1]["content"]


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch):
    monkeypatch.setattr(retrying, "FIRST", 0.0)


async def outcome(session, word, *, reads, pieces=None):
    """What the user gets: the text, or the pieces that were read and the error."""
    pieces = [] if pieces is None else pieces
    try:
        if not reads:
            return (await ASK.run(word, session=session)).output, pieces, None
        async with ASK.text(word, session=session) as text:
            await read(text, pieces)
            return text.run.output, pieces, None
    except FanfoldError as error:
        return None, pieces, error


def broken_first(broken, dialect):
    """A server that gives `broken(prompt)` the first time it is asked a prompt, and then the whole reply."""
    known = set()

    async def say(writer, heard):
        word = asked(heard)
        assert heard.json["stream"]
        if word in known:
            writer.write(raw.open_ended() + b"".join(dialect(*TEXTS)))
            return
        known.add(word)
        await broken(writer, word)

    return say


def cut_at_each(dialect, *, step, abort, reads, start=0):
    """Cut the stream after every `step`-th byte: what came of each, and in how many sends."""
    body = b"".join(dialect(*TEXTS))

    async def broken(writer, word):
        writer.write(raw.in_chunks())
        at = int(word)
        if at:
            writer.write(raw.chunk(body[:at]))
        await writer.drain()
        if abort:
            await asyncio.sleep(0.003)
            writer.transport.abort()

    async def main():
        async with (
            raw.raw_server(broken_first(broken, dialect)) as server,
            Session(model_of(dialect, server), idle_timeout=20) as session,
            no_leaks(session),
        ):
            words = [str(at) for at in range(start, len(body) + 1, step)]
            got = await asyncio.gather(*(outcome(session, word, reads=reads) for word in words))
            sends = [sum(asked(heard) == word for heard in server.heard) for word in words]
            return list(zip(got, sends, strict=True))

    return asyncio.run(main())


@pytest.mark.parametrize("abort", [False, True])
@pytest.mark.parametrize("dialect", [chat, messages])
def test_a_cut_that_nobody_has_read_of_is_sent_again(dialect, abort):
    """Cut anywhere, the reply is the whole text, after two sends, or one where the cut came after the answer's end."""
    sends = []
    for (output, _, error), count in cut_at_each(dialect, step=5, abort=abort, reads=False):
        assert (output, error) == (WHOLE, None)
        sends.append(count)
    assert set(sends) == {1, 2}
    assert sends == sorted(sends, reverse=True)


@pytest.mark.parametrize("abort", [False, True])
@pytest.mark.parametrize("dialect", [chat, messages])
def test_a_cut_under_a_reader_is_never_a_short_reply(dialect, abort):
    """Cut before the first text the call is sent again; after it the error has exactly the text that was read."""
    seen = set()
    for (output, pieces, error), count in cut_at_each(dialect, step=5, abort=abort, reads=True):
        if error is None:
            assert (output, "".join(pieces)) == (WHOLE, WHOLE)
            seen.add(count)
        else:
            assert isinstance(error, StreamCut)
            assert error.text == "".join(pieces)
            assert error.text
            assert WHOLE.startswith(error.text)
            assert count == 1
            seen.add("cut")
    assert seen == {1, 2, "cut"}


@pytest.mark.long
@pytest.mark.parametrize("start", range(5))  # apart, for so many retries at once would empty their quota
@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("dialect", [chat, messages])
def test_every_single_byte_is_a_place_to_cut(dialect, reads, start):
    """The same at every byte, through the middle of characters too."""
    for (output, pieces, error), _ in cut_at_each(dialect, step=5, abort=False, reads=reads, start=start):
        if error is None:
            assert output == WHOLE
        else:
            assert reads
            assert isinstance(error, StreamCut)
            assert error.text == "".join(pieces)


def overloaded(dialect):
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    return raw.event(error if dialect is messages else {"error": {"code": "overloaded", "message": "Overloaded"}})


BREAKS = {
    "malformed JSON": lambda _: b"data: {nonsense\n\n",
    "no object": lambda _: b"data: []\n\n",
    "bytes that are no text": lambda _: b"data: \xff\xfe\n\n",
    "an error in the 200": overloaded,
    "an end without [DONE]": lambda _: b"",
    "half an event": lambda _: b'data: {"choices": [{"index"',
}


@pytest.mark.parametrize("what", BREAKS)
@pytest.mark.parametrize("dialect", [chat, messages])
@pytest.mark.parametrize(("before", "reads"), [(0, False), (0, True), (2, False), (2, True)])
def test_a_stream_that_goes_wrong_is_sent_again_or_a_typed_error(dialect, what, before, reads):
    """Malformed events, an error inside a 200 and a missing end: a retry before text is read, a `StreamCut` after."""
    pieces = []

    async def broken(writer, _):
        writer.write(raw.open_ended() + b"".join(dialect(*TEXTS[:before], ending=False)))
        await writer.drain()
        for _ in range(10_000):
            if not reads or "".join(pieces) == "".join(TEXTS[:before]):
                break
            await asyncio.sleep(0.001)  # so that the text is read before the rest comes
        writer.write(BREAKS[what](dialect))

    async def main():
        async with (
            raw.raw_server(broken_first(broken, dialect)) as server,
            Session(model_of(dialect, server), idle_timeout=20) as session,
            no_leaks(session),
        ):
            return await outcome(session, "q", reads=reads, pieces=pieces), len(server.heard)

    (output, _, error), sends = asyncio.run(main())
    if before and reads:
        assert isinstance(error, StreamCut)
        assert error.text == "".join(TEXTS[:before]) == "".join(pieces)
        assert sends == 1
    else:
        assert (output, error, sends) == (WHOLE, None, 2)
        assert "".join(pieces) == (WHOLE if reads else "")


@pytest.mark.parametrize("dialect", [chat, messages])
def test_text_that_came_together_with_the_break_was_read_by_nobody(dialect):
    """Where one chunk has text and what breaks the stream, the text has not left yet, and the call is sent again."""

    async def broken(writer, _):
        writer.write(raw.open_ended() + b"".join(dialect(*TEXTS[:2], ending=False)) + overloaded(dialect))

    async def main():
        async with (
            raw.raw_server(broken_first(broken, dialect)) as server,
            Session(model_of(dialect, server)) as session,
            no_leaks(session),
        ):
            return await outcome(session, "q", reads=True), len(server.heard)

    (output, pieces, error), sends = asyncio.run(main())
    if error is None:
        assert (output, "".join(pieces), sends) == (WHOLE, WHOLE, 2)
    else:
        # The network may split the chunk after all: then it was read, and the error has it.
        assert isinstance(error, StreamCut)
        assert error.text.startswith("".join(pieces))


@pytest.mark.parametrize("dialect", [chat, messages])
@pytest.mark.parametrize("reads", [False, True])
def test_one_byte_at_a_time_is_the_whole_text_in_one_send(dialect, reads):
    """Chunks of one byte, through every character, change nothing."""

    async def say(writer, _):
        body = b"".join(dialect(*TEXTS))
        writer.write(raw.in_chunks())
        for at in range(len(body)):
            writer.write(raw.chunk(body[at : at + 1]))
        writer.write(raw.chunk(b""))

    async def main():
        async with (
            raw.raw_server(say) as server,
            Session(model_of(dialect, server), idle_timeout=20) as session,
            no_leaks(session),
        ):
            return await outcome(session, "q", reads=reads), len(server.heard)

    (output, _, error), sends = asyncio.run(main())
    assert (output, error, sends) == (WHOLE, None, 1)


@pytest.mark.parametrize("dialect", [chat, messages])
@pytest.mark.parametrize("before", [0, 2])
def test_money_that_ends_inside_a_stream_is_a_billing_error(dialect, before):
    """A code for money in an error event ends the run like one in a refusal, and nothing is sent again."""
    word = "insufficient_quota" if dialect is chat else "billing_error"

    async def say(writer, _):
        told = raw.event({"type": "error", "error": {"type": word, "message": "no credit"}})
        writer.write(raw.open_ended() + b"".join(dialect(*TEXTS[:before], ending=False)) + told)

    async def main():
        async with raw.raw_server(say) as server, Session(model_of(dialect, server), idle_timeout=20) as session:
            return await outcome(session, "q", reads=False), len(server.heard)

    (_, _, error), sends = asyncio.run(main())
    assert isinstance(error, BillingError)
    assert sends == 1


@pytest.mark.timing
@pytest.mark.parametrize("dialect", [chat, messages])
@pytest.mark.parametrize("where", ["before the headers", "after the headers", "inside the text"])
def test_a_stall_ends_with_the_idle_timeout(dialect, where):
    """A server that stalls, wherever, is left after the idle timeout, and the next send brings the reply."""

    async def broken(writer, _):
        if where != "before the headers":
            writer.write(raw.in_chunks())
        if where == "inside the text":
            writer.write(raw.chunk(dialect(*TEXTS)[0]))
        try:
            await asyncio.sleep(30)
        finally:
            writer.transport.abort()

    async def main():
        async with (
            raw.raw_server(broken_first(broken, dialect)) as server,
            Session(model_of(dialect, server), idle_timeout=0.15) as session,
        ):
            run = await ASK.run("q", session=session)
            assert session.statistics().sockets == 0
            return run.output, [attempt.error for attempt in run.calls[0].attempts]

    output, errors = asyncio.run(main())
    assert output == WHOLE
    assert errors[1] is None
    assert SilenceError.__name__ in errors[0] or StreamCut.__name__ in errors[0]


@pytest.mark.parametrize("dialect", [chat, messages])
@pytest.mark.parametrize("reads", [False, True])
def test_a_server_that_does_not_end_a_whole_stream_holds_nobody_up(monkeypatch, dialect, reads):
    """After the last event the reply is whole: it is neither waited for nor, fallen silent, sent again."""
    monkeypatch.setattr(wire, "LINGER", 0.01)

    async def lingering(writer, _):
        for part in (raw.in_chunks(), *map(raw.chunk, dialect(*TEXTS))):
            writer.write(part)
        await asyncio.sleep(30)

    async def main():
        async with (
            raw.raw_server(lingering) as server,
            Session(model_of(dialect, server), idle_timeout=10) as session,
        ):
            async with asyncio.timeout(5):
                whole, _, error = await outcome(session, "q", reads=reads)
            return whole, error, len(server.heard), session.statistics().sockets

    assert asyncio.run(main()) == (WHOLE, None, 1, 0)


RETRY = {"Retry_After": "0.02"}


@pytest.mark.parametrize(
    ("headers", "sends"),
    [
        (RETRY, 2),
        ({"retry_after_ms": "20"}, 2),
        ({**RETRY, "x_should_retry": "true"}, 2),
        ({**RETRY, "x_should_retry": "false"}, 1),
        ({"Retry_After": "-10"}, 2),
        ({"Retry_After": "nan"}, 2),
        ({"Retry_After": "inf"}, 2),
        ({"Retry_After": "999999999"}, 2),
        ({"Retry_After": "soon"}, 2),
        ({"Retry_After": ""}, 2),
        ({"Retry_After": "0"}, 2),
        ({"Retry_After": "90000"}, 1),
        ({"Retry_After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 2),
    ],
)
@pytest.mark.parametrize("dialect", [chat, messages])
def test_what_the_headers_ask_for_is_done(dialect, headers, sends):
    """Every form of ``Retry-After`` and ``x-should-retry`` is obeyed over the wire, and nonsense is survived."""
    times = []

    async def broken(writer, _):
        times.append(asyncio.get_running_loop().time())
        body = json.dumps({"error": {"type": "overloaded_error", "message": "busy"}})
        writer.write(raw.whole(body, "529 Overloaded", **headers))

    async def main():
        async with (
            raw.raw_server(broken_first(broken, dialect)) as server,
            Session(model_of(dialect, server), idle_timeout=20) as session,
            no_leaks(session),
        ):
            got = await outcome(session, "q", reads=False)
            return got, len(server.heard), asyncio.get_running_loop().time() - times[0]

    (output, _, error), count, seconds = asyncio.run(main())
    assert count == sends
    if sends == 2:
        assert (output, error) == (WHOLE, None)
        assert seconds >= (0.02 if "0.02" in headers.values() or "20" in headers.values() else 0)
    else:
        assert isinstance(error, StatusError)
