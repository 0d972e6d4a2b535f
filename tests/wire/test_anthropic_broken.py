"""Anthropic's dialect where things go wrong: refusals, cut streams, calls that are given up, and keys."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

from fanfold import Anthropic, Session, prompt, vote
from fanfold.core.clock import now
from fanfold.errors import (
    AccessError,
    BillingError,
    CallError,
    ConnectError,
    FatalError,
    ModelError,
    NotRecorded,
    ReplyError,
    StatusError,
    StepTimeout,
    StreamCut,
)
from fanfold.models.endpoints import endpoint, shown
from fanfold.testing import FakeModel, ModelServer, no_leaks
from tests.wire import raw
from tests.wire.test_anthropic import START, STOP, delta, end, message, said
from tests.wire.test_broken_servers import aborting, closing, read
from tests.wire.test_keys_and_hosts import everything_written

pytestmark = pytest.mark.usefixtures("either_transport")

ASK = prompt("{input}")
KEY = "sk-ant-planted-secret-0123456789"

SEEN_WITHIN = 0.05
"""Seconds within which the server has to see that a client is gone."""


def answer(response: bytes | raw.Say, *, streamed: bool = False) -> str:
    """What comes of one call to a server that answers with `response`."""

    async def main():
        async with (
            raw.raw_server(response) as server,
            Session(model=Anthropic("m", base_url=server.origin, api_key=KEY), attempts=1) as session,
            no_leaks(session),
        ):
            if not streamed:
                return (await ASK.run("hi", session=session)).output
            pieces: list[str] = []
            async with ASK.text("hi", session=session) as text:
                await read(text, pieces)
                assert "".join(pieces) == text.run.output
                return text.run.output

    return asyncio.run(main())


def refusal(response: bytes | raw.Say, kind: type[CallError] = CallError, *, streamed: bool = False) -> Any:
    """The error that comes of it."""
    with pytest.raises(kind) as caught:
        answer(response, streamed=streamed)
    assert type(caught.value) is kind or kind is CallError
    assert (caught.value.model, caught.value.place) == ("anthropic:m", "prompt")
    return caught.value


def error(kind: str, words: str = "these are the words", code: str | None = None) -> dict[str, Any]:
    """An error in Anthropic's shape."""
    details = None if code is None else {"error_code": code}
    return {"type": "error", "error": {"type": kind, "message": words, "details": details}, "request_id": "req_1"}


def no(status: str, kind: str, words: str = "these are the words", code: str | None = None, **headers: str) -> bytes:
    """A refusal in Anthropic's shape."""
    return raw.whole(error(kind, words, code), status, **headers)


# -- refusals --------------------------------------------------------------------------------------------------


CREDIT = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."
SPENT = "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC."
WORKSPACE = "You have reached your specified workspace API usage limits. You will regain access on 2027-01-01."
TIER = "You have reached your API usage limits: your organization has crossed its monthly API usage threshold."
RATE = "This request would exceed your organization's rate limit of 50 requests per minute."


@pytest.mark.parametrize(
    ("response", "kind", "retryable"),
    [
        (no("400 Bad Request", "invalid_request_error"), StatusError, False),
        (no("400 Bad Request", "invalid_request_error", CREDIT), BillingError, False),
        (no("400 Bad Request", "invalid_request_error", SPENT), BillingError, False),
        (no("400 Bad Request", "invalid_request_error", WORKSPACE), BillingError, False),
        (no("401 Unauthorized", "authentication_error", "invalid x-api-key"), AccessError, False),
        (no("402 Payment Required", "billing_error"), BillingError, False),
        (no("403 Forbidden", "permission_error"), AccessError, False),
        (no("403 Forbidden", "billing_error"), BillingError, False),
        (no("404 Not Found", "not_found_error", "model: claude-9"), StatusError, False),
        (no("404 Not Found", "not_found_error", code="not_recorded"), NotRecorded, False),
        (no("409 Conflict", "conflict_error"), StatusError, True),
        (no("413 Payload Too Large", "request_too_large"), StatusError, False),
        (no("429 Too Many Requests", "rate_limit_error", RATE, Retry_After="3"), StatusError, True),
        (no("429 Too Many Requests", "rate_limit_error", RATE), StatusError, True),
        (no("429 Too Many Requests", "rate_limit_error", TIER, "enforced_spend_limit_reached"), BillingError, False),
        (no("429 Too Many Requests", "rate_limit_error", TIER), BillingError, False),
        (no("429 Too Many Requests", "rate_limit_error", WORKSPACE, Retry_After="60"), StatusError, True),
        (no("500 Internal Server Error", "api_error"), StatusError, True),
        (no("500 Internal Server Error", "api_error", "log: credit balance is too low"), StatusError, True),
        (no("504 Gateway Timeout", "timeout_error"), StatusError, True),
        (no("529 Overloaded", "overloaded_error", "Overloaded"), StatusError, True),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_status_becomes_its_error(response, kind, retryable, streamed):
    """Each status, code and saying has its error, with the server's words; access and billing end the run."""
    caught = refusal(response, kind, streamed=streamed)
    words = json.loads(response.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert words in str(caught)
    assert caught.retryable == retryable
    assert isinstance(caught, FatalError) == (kind in {AccessError, BillingError})
    if kind is StatusError:
        assert caught.body == words
        assert str(caught.status).encode() in response


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("0", 0.0), ("-1", None), ("soon", None), ("", None)])
def test_retry_after_is_carried_if_it_is_a_time(header, seconds):
    """The seconds that the server asks to wait stand on the error; nonsense does not."""
    caught = refusal(no("529 Overloaded", "overloaded_error", Retry_After=header), StatusError)
    assert caught.retry_after == seconds


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad gateway</html>", b'{"error": "plain"}', b'{"error": {"details": 3}}']
)
def test_a_gateways_own_errors_are_told(body):
    """What stands between may answer in any shape."""
    assert refusal(raw.whole(body, "502 Bad Gateway"), StatusError).status == 502


def test_redirects_are_not_followed():
    """A redirect is an error, and no other host hears of the request or its key."""

    async def main():
        async with raw.raw_server(raw.whole(message(said("hello")))) as other:
            moved = raw.whole(b"", "307 Temporary Redirect", Location=f"{other.url}/messages")
            async with raw.raw_server(moved) as server:
                async with Session(model=Anthropic("m", base_url=server.origin, api_key=KEY)) as session:
                    with pytest.raises(StatusError) as caught:
                        await ASK.run("hi", session=session)
                return caught.value.status, other.heard, server.heard[0].headers["x-api-key"]

    assert asyncio.run(main()) == (307, [], KEY)


# -- replies and streams that break ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b'{"content": [',
        b"[]",
        b"null",
        b'{"content": "text"}',
        b'{"content": [7]}',
        b'{"content": [{"type": "text", "text": 7}]}',
        b'{"content": [{"type": "text", "text": "\xff"}]}',
        b'{"type": "message"}',
        b'{"choices": [{"message": {"content": "the other dialect"}}]}',
    ],
)
def test_a_body_that_is_no_reply_is_a_reply_error(body):
    """Malformed JSON, JSON of another shape and a reply without content may be tried again."""
    caught = refusal(raw.whole(body), ReplyError)
    assert caught.retryable
    assert "anthropic:m sent" in str(caught)


def test_an_error_in_a_200_is_an_error():
    """Some gateways answer 200 with an error inside; it is told in their words."""
    assert "these are the words" in str(refusal(raw.whole(error("api_error")), ReplyError))


def piecewise(*events: dict[str, Any], end: str = "\n") -> list[bytes]:
    """The events of a stream."""
    return [f"event: {event['type']}{end}".encode() + raw.event(event, end) for event in events]


TEXTS = ("Grüße ", "aus 東京 ", "und 🐙.")
WHOLE = (START, *(delta(text=text) for text in TEXTS), end({"output_tokens": 3}), STOP)


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("ended", [closing, aborting])
def test_a_stream_cut_before_it_says_why_it_stopped_is_an_error_with_the_partial_text(cut, ended):
    """Cut before any text it may be tried again; cut after, it is a StreamCut that keeps the text."""
    parts = [raw.open_ended(), *piecewise(*WHOLE)[:cut]]
    caught = refusal(ended(*parts), streamed=True)
    if cut < 2:
        assert isinstance(caught, ConnectError | ReplyError)
        assert caught.retryable
    else:
        assert isinstance(caught, StreamCut)
        assert caught.text == "".join(TEXTS[: cut - 1])
        assert not caught.retryable


@pytest.mark.parametrize("sent", [5, 6])
@pytest.mark.parametrize("ended", [closing, aborting])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_cut_after_it_said_why_it_stopped_is_whole(sent, ended, chunked):
    """With the reason to stop the answer is whole, and paid."""
    events = piecewise(*WHOLE)[:sent]
    parts = [raw.in_chunks(), *map(raw.chunk, events)] if chunked else [raw.open_ended(), *events]
    assert answer(ended(*parts), streamed=True) == "".join(TEXTS)


def test_an_error_that_breaks_off_keeps_its_status():
    """The status decides, even if the connection breaks before the words are there."""
    head = b"HTTP/1.1 529 Overloaded\r\nContent-Length: 1000\r\n\r\n{"
    assert refusal(closing(head), StatusError).status == 529


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
def test_chunks_of_any_size_give_the_same_text(size, line):
    """Chunks of one byte, through the middle of characters, line ends and events, change nothing."""
    whole = b"".join(piecewise(*WHOLE, end=line))
    parts = [raw.chunk(whole[at : at + size]) for at in range(0, len(whole), size)]
    assert answer(closing(raw.in_chunks(), *parts, raw.chunk(b"")), streamed=True) == "".join(TEXTS)


@pytest.mark.parametrize("texts", [(), ("partly ",)])
def test_an_error_event_in_a_stream_is_an_error(texts):
    """Before the first text it may be tried again, after it the text is kept; the server's words are told."""
    failed = error("overloaded_error", "Overloaded")
    parts = piecewise(START, *(delta(text=text) for text in texts), failed)
    caught = refusal(closing(raw.open_ended(), *parts), StreamCut if texts else ReplyError, streamed=True)
    assert "Overloaded" in str(caught)
    assert caught.retryable == (not texts)
    assert getattr(caught, "text", "") == "".join(texts)


@pytest.mark.parametrize("bad", [b"data: {nonsense\n\n", b"data: []\n\n", b'data: {"type": 3}\n\n', b"data: \xff\n\n"])
def test_malformed_events_end_the_stream(bad):
    """An event that is none ends the stream; nothing is passed over in silence."""
    parts = [*piecewise(START, delta(text="so far ")), bad, *piecewise(delta(text="more"), STOP)]
    assert refusal(closing(raw.open_ended(), *parts), StreamCut, streamed=True).text == "so far "


def test_a_stream_that_is_whole_and_empty_is_an_empty_reply():
    """A model may say nothing; if the stream says that it is whole, that is its answer."""
    assert not answer(closing(raw.open_ended(), *piecewise(START, end({"output_tokens": 1}), STOP)), streamed=True)


def test_a_server_that_does_not_stream_gives_its_text_whole():
    """A server that ignores `stream` and answers in one piece is understood."""
    assert answer(raw.whole(message(said("all at once"))), streamed=True) == "all at once"


# -- calls that are given up -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def talking(answers: Any, **options: Any):
    """A server and a session that has spoken to it before, so that only the wire is measured."""
    async with (
        ModelServer(answers, **options) as server,
        Session(model=Anthropic("m", base_url=server.origin), attempts=1) as s,
    ):
        with contextlib.suppress(StatusError):
            await ASK.run("warm up", session=s)
        server.seen.clear()
        async with no_leaks(s):
            yield server, s


async def cut_off(server: ModelServer, since: float, calls: int) -> float:
    """Seconds from `since` until the server had seen the last of so many disconnects."""
    while sum(seen.disconnected is not None for seen in server.seen) < calls:
        assert now() < since + 5, "it did not happen"
        await asyncio.sleep(0.002)
    assert server.statistics().in_flight == 0
    return max(seen.disconnected - since for seen in server.seen if seen.disconnected is not None)


def refuse_to_warm_up(request: Any) -> Any:
    """A long text; the warming up is refused."""
    return StatusError("warm", status=418) if request.messages[0].content == "warm up" else "word " * 3000


@pytest.mark.timing
def test_a_call_given_up_before_the_headers_ends_at_once():
    """A timeout while the server still thinks: it sees the disconnect within 50 ms."""

    async def main():
        model = FakeModel(refuse_to_warm_up, latency=30.0)
        async with talking(model) as (server, session):
            with pytest.raises(StepTimeout):
                await ASK.run("x", session=session, timeout=0.05)
            since = now()
            assert server.seen[0].began is None
            return await cut_off(server, since, 1)

    assert asyncio.run(main()) <= SEEN_WITHIN


@pytest.mark.timing
def test_a_call_given_up_in_mid_stream_ends_at_once():
    """A reader that leaves while text is coming: the server sees the disconnect within 50 ms."""

    async def main():
        async with talking(refuse_to_warm_up, between_tokens=0.01) as (server, session):
            async with ASK.text("x", session=session) as text:
                assert (await anext(text)).startswith("word ")
            since = now()
            assert server.seen[0].began is not None
            return await cut_off(server, since, 1)

    assert asyncio.run(main()) <= SEEN_WITHIN


@pytest.mark.timing
def test_a_decided_vote_hangs_up_on_its_losers():
    """Three of five agree; the two that still wait are cut off."""

    async def main():
        seconds = [0.02, 0.03, 0.04, 30.0, 30.0]
        model = FakeModel(refuse_to_warm_up, latency=lambda request: seconds[request.draw.ordinal])
        async with talking(model) as (server, session):
            run = await vote(ASK, n=5).run("x", session=session)
            since = now()
            return run.saved.cancelled, await cut_off(server, since, 2)

    cancelled, seen = asyncio.run(main())
    assert cancelled == 2
    assert seen <= SEEN_WITHIN


# -- keys and hosts --------------------------------------------------------------------------------------------


GATE = "https://gate.example"


@pytest.mark.parametrize(
    ("variables", "base_url", "goes"),
    [
        ({"ANTHROPIC_API_KEY": KEY}, None, True),
        ({"ANTHROPIC_API_KEY": KEY}, "https://api.anthropic.com", True),
        ({"ANTHROPIC_API_KEY": KEY}, "https://API.Anthropic.com/v1/", True),
        ({"ANTHROPIC_API_KEY": KEY}, "https://api.anthropic.com.evil.example", False),
        ({"ANTHROPIC_API_KEY": KEY}, "https://evil.example/api.anthropic.com", False),
        ({"ANTHROPIC_API_KEY": KEY}, "https://api.anthropic.com:8443", False),
        ({"ANTHROPIC_API_KEY": KEY}, "https://api.openai.com/v1", False),
        ({"ANTHROPIC_API_KEY": KEY}, "http://127.0.0.1:8000", False),
        ({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": GATE}, None, True),
        ({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": GATE}, f"{GATE}/other", True),
        ({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": GATE}, "https://other.example", False),
        ({"ANTHROPIC_API_KEY": KEY, "OPENAI_BASE_URL": GATE}, GATE, False),
        ({"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": "its-own"}, None, False),
        ({"OPENAI_API_KEY": KEY}, GATE, False),
    ],
)
def test_a_key_of_the_environment_goes_to_its_vendor_or_the_url_set_beside_it(monkeypatch, variables, base_url, goes):
    """The environment's key is sent to Anthropic's host and to the URL beside it, and kept back everywhere else."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    target = endpoint("anthropic", "m", base_url=base_url)
    assert (target.headers.get("x-api-key") == KEY) == goes
    assert "Authorization" not in target.headers
    assert bool(target.withheld) == (not goes and variables.get("ANTHROPIC_API_KEY") == KEY)


def test_the_url_is_that_of_messages(monkeypatch):
    """The default host, and one set in the environment, with or without the version."""
    assert endpoint("anthropic", "m", api_key="k").url == "https://api.anthropic.com/v1/messages"
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://gate.example/claude/")
    assert endpoint("anthropic", "m", api_key="k").url == "https://gate.example/claude/v1/messages"


def test_a_missing_key_says_which():
    """Without a key the error names the variable, the option, and what works without any; an own header will do."""
    with pytest.raises(ModelError) as caught:
        endpoint("anthropic", "m")
    assert not [word for word in ("ANTHROPIC_API_KEY", "api_key=", "'fake:'") if word not in str(caught.value)]
    assert endpoint("anthropic", "m", headers={"X-API-Key": KEY}).headers["X-API-Key"] == KEY


def test_a_key_given_in_a_header_is_the_only_one(monkeypatch):
    """The environment's key does not go along beside the user's own, however the header is written."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "the-environments")
    monkeypatch.setenv("OPENAI_API_KEY", "the-environments")
    own = endpoint("anthropic", "m", headers={"X-API-Key": KEY})
    other = endpoint("openai", "m", headers={"authorization": f"Bearer {KEY}"})
    assert "the-environments" not in f"{dict(own.headers)}{dict(other.headers)}"


def test_plain_http_does_not_leave_this_machine():
    """Plain HTTP to another machine is refused, and allowed if told to."""
    with pytest.raises(ModelError, match="allow_http=True"):
        endpoint("anthropic", "m", base_url="http://gate.example")
    far = Anthropic("m", base_url="http://gate.example", allow_http=True).open(None)
    near = Anthropic("m", base_url="http://localhost:1").open(None)
    assert (far.target.loopback, near.target.loopback) == (False, True)


def test_no_repr_shows_a_key():
    """Models and wires show where they lead, never with what key."""
    model = Anthropic("m", base_url="https://host", api_key=KEY, headers={"X-Own": KEY})
    wire = model.open(None)
    written = [everything_written(thing) for thing in (model, wire, wire.target)]
    assert not [text for text in written if KEY in text]
    assert "https://host" in written[0]
    assert shown(wire.target.url) in written[2]


@pytest.mark.parametrize("status", [raw.OK, "401 Unauthorized", "500 Internal Server Error"])
def test_a_server_that_repeats_the_key_does_not_get_it_into_an_error(status):
    """Whatever a server says, the key that was sent to it is not in the error; the version is no secret."""

    async def echo(writer, heard):
        writer.write(raw.whole({"type": "error", "error": {"message": json.dumps(heard.headers)}}, status))

    caught = refusal(echo)
    told = f"{everything_written(caught)}{caught.run!r}{caught.run.calls}{caught.run.events}{caught.args}"
    assert "[hidden]" in str(caught)
    assert "2023-06-01" in str(caught)
    assert KEY not in told


def test_a_refusal_says_which_key_was_kept_back(monkeypatch):
    """A 401 from a host that did not get the environment's key explains why, and what to do."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    async def main():
        async with raw.raw_server(no("401 Unauthorized", "authentication_error")) as server:
            async with Session(model=Anthropic("m", base_url=server.origin)) as session:
                with pytest.raises(AccessError, match="the key in ANTHROPIC_API_KEY was not sent") as caught:
                    await ASK.run("hi", session=session)
            return str(caught.value), server.heard[0].headers

    words, headers = asyncio.run(main())
    assert "give api_key= if it is meant for it" in words
    assert "x-api-key" not in headers


def test_the_draw_goes_to_loopback_and_nowhere_else():
    """A server on this machine is told the place and number of each sample; a remote one is not."""
    heard = []

    class Listening:
        def post(self, url, headers, body):
            heard.append((url, headers.get("x-fanfold-draw")))
            raise ModelError("far enough")

    async def main():
        for host in ("http://localhost:1", "https://example.com"):
            model = Anthropic("m", base_url=host, api_key="k").open(Listening())
            with pytest.raises(ModelError, match="far enough"):
                await prompt("{input}", model=model).run("hi", session=Session())

    asyncio.run(main())
    assert heard == [
        ("http://localhost:1/v1/messages", "prompt/0/0"),
        ("https://example.com/v1/messages", None),
    ]
