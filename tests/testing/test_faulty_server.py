"""Limits, faults and the bill over real sockets, for fanfold's own wire and the vendors' official clients."""

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import aiohttp
import anthropic
import openai
import pytest

from fanfold import Anthropic, OpenAI
from fanfold.core.clock import now
from fanfold.errors import BillingError, ConnectError, ReplyError, StatusError, StreamCut
from fanfold.models.transport import chosen, open_transport
from fanfold.testing import Limits, ModelServer
from fanfold.testing.server import apart
from tests.testing.asking import outcome

TEXT = "Grüße an alle, die da sind und hier stehen!"
MESSAGES = [{"role": "user", "content": "hello"}]
BODY = {"model": "m", "messages": MESSAGES, "max_tokens": 50}

BOTH = pytest.mark.parametrize("dialect", ["openai", "anthropic"])


def served(work, answers=(TEXT,), **conditions):
    """Run `work` with a new server."""

    async def main():
        async with ModelServer(list(answers), **conditions) as server:
            return await work(server)

    return asyncio.run(main())


def model_of(server, dialect):
    made = OpenAI if dialect == "openai" else Anthropic
    return made(name="m", base_url=server.url, api_key="test-key", price=(1.0, 2.0))


async def asked(server, dialect, *, stream=False):
    """What one request over the wire comes to: the reply, or the error."""
    transport = open_transport(chosen())
    try:
        return await outcome(model_of(server, dialect).open(transport), stream=stream, max_tokens=50)
    finally:
        await transport.close()


async def idle(server):
    """Wait until the server works on nothing."""
    async with asyncio.timeout(5):
        while server.statistics().in_flight:  # noqa: ASYNC110  # its records have no event to wait for
            await asyncio.sleep(0.001)


async def fetched(url, body=None, **headers):
    """Status, headers and bytes of one request."""
    async with (
        aiohttp.ClientSession() as client,
        client.request("GET" if body is None else "POST", url, json=body, headers=headers) as response,
    ):
        return response.status, response.headers, await response.read()


@pytest.mark.usefixtures("either_transport")
class TestFaultsOnTheWire:
    """Broken connections are broken for real."""

    @BOTH
    @pytest.mark.parametrize(
        ("fault", "stream", "kind", "state"),
        [
            ("reset", False, ConnectError, "cut"),
            ("reset=late", True, ConnectError, "cut"),
            ("reset=0", True, ConnectError, "cut"),
            ("reset=3", True, StreamCut, "cut"),
            ("reset=3", False, ConnectError, "cut"),
            ("cut=0", True, ConnectError, "cut"),
            ("cut=3", True, StreamCut, "cut"),
            ("cut=3", False, ConnectError, "cut"),
            ("cut=200b", False, ConnectError, "cut"),
            ("end=3", True, StreamCut, "cut"),
            ("end=3", False, ReplyError, "cut"),
            ("error=0", True, ReplyError, "cut"),
            ("error=3", True, StreamCut, "cut"),
            ("malformed", False, ReplyError, "answered"),
            ("empty", False, ReplyError, "answered"),
            ("quota", False, BillingError, "refused"),
            ("spend", False, BillingError, "refused"),
            ("529", True, StatusError, "refused"),
            ("outage:0+60", False, StatusError, "refused"),
        ],
    )
    def test_a_fault_is_the_same_error_as_without_sockets(self, dialect, fault, stream, kind, state, caplog):
        """Each fault arrives as its error; the server logs nothing of it, and bills it."""

        async def work(server):
            found = await asked(server, dialect, stream=stream)
            await idle(server)
            return found, server.bill.charges[0], server.statistics()

        found, charge, counts = served(work, faults=fault, price=(1.0, 2.0), between_tokens=0.002)
        assert type(found) is kind
        if kind is StreamCut and fault != "reset=3":
            # What a reset overtakes is lost on the way, as it is in the world.
            assert found.text == "Grüße an alle, "
        assert charge.state == state
        assert (counts.cut, counts.in_flight) == (int(state == "cut"), 0)
        assert (charge.usd > 0) == (state != "refused" and fault != "reset")
        assert caplog.text == ""

    @BOTH
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("fault", ["dribble", "split", "no-done"])
    def test_odd_replies_are_read_whole(self, dialect, stream, fault):
        """Bytes by themselves and halves of characters are put together; a missing end is no missing text."""

        async def work(server):
            return await asked(server, dialect, stream=stream)

        found = served(work, faults=fault)
        assert found.text == TEXT

    def test_a_reset_is_one_and_a_cut_is_none(self):
        """With `reset` the client is told ECONNRESET, with `cut` it sees the end of the stream."""

        def why(fault):
            with ModelServer([TEXT], faults=fault) as server:
                request = urllib.request.Request(f"{server.url}/chat/completions", json.dumps(BODY).encode())
                try:
                    with urllib.request.urlopen(request, timeout=5) as response:
                        response.read()
                except (OSError, http.client.HTTPException) as error:
                    return error
            raise AssertionError("it was answered")

        assert isinstance(why("reset"), ConnectionResetError)
        assert isinstance(why("cut=100b"), http.client.IncompleteRead)

    def test_a_stall_ends_when_the_client_leaves(self):
        """The server sees a client that had enough within 50 ms, and bills what was made."""

        async def work(server):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await asked(server, "openai")
            left = now()
            await idle(server)
            return left, now(), server.bill.charges[0]

        left, found, charge = served(work, faults="stall", price=(1.0, 2.0))
        assert found < left + 1
        assert (charge.state, charge.status) == ("gone", None)
        assert left - 0.05 < charge.gone < found
        assert charge.usd > 0

    def test_the_same_connection_serves_on_after_a_refusal(self):
        """A refused request gives its connection back, and the next one succeeds on it."""

        async def work(server):
            async with aiohttp.ClientSession() as client:
                statuses = []
                for _ in range(3):
                    async with client.post(f"{server.url}/chat/completions", json=BODY) as response:
                        statuses.append(response.status)
                        await response.read()
            return statuses, len({seen.peer for seen in server.seen})

        assert served(work, faults="script=503,429") == ([503, 429, 200], 1)


class TestOfficialClients:
    """What the vendors' own clients make of it."""

    def test_openai_raises_its_own_errors(self):
        """Each status is the error that the openai client has for it, with code and body."""

        async def work(server):
            found = []
            async with openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
                for _ in range(5):
                    with pytest.raises(openai.APIError) as caught:
                        await client.chat.completions.create(**BODY)
                    found.append(caught.value)
            return found

        faults = ["429@0", "quota@1", "503@2", "401@3", "reset@4"]
        limited, quota, overloaded, key, reset = served(work, faults=faults)
        assert (type(limited), limited.code) == (openai.RateLimitError, "rate_limit_exceeded")
        assert (type(quota), quota.code, quota.type) == (
            openai.RateLimitError,
            "insufficient_quota",
            "insufficient_quota",
        )
        assert type(overloaded) is openai.InternalServerError
        assert (type(key), key.code) == (openai.AuthenticationError, "invalid_api_key")
        assert type(reset) is openai.APIConnectionError

    def test_anthropic_raises_its_own_errors(self):
        """Each status is the error that the anthropic client has for it, with its type in the body."""

        async def work(server):
            found = []
            async with anthropic.AsyncAnthropic(base_url=server.origin, api_key="k", max_retries=0) as client:
                for _ in range(5):
                    with pytest.raises(anthropic.APIError) as caught:
                        await client.messages.create(**BODY)
                    found.append(caught.value)
            return found

        limited, quota, credit, spend, overloaded = served(
            work, faults=["429=3@0", "quota@1", "credit@2", "spend@3", "529@4"]
        )
        kinds = [error.body["error"]["type"] for error in (limited, quota, credit, spend, overloaded)]
        assert kinds == [
            "rate_limit_error",
            "billing_error",
            "invalid_request_error",
            "rate_limit_error",
            "overloaded_error",
        ]
        assert limited.response.headers["retry-after"] == "3"
        assert [error.status_code for error in (quota, credit, spend, overloaded)] == [402, 400, 429, 529]
        assert "retry-after" not in spend.response.headers

    @pytest.mark.parametrize("form", ["seconds", "ms", "float", "date"])
    def test_openai_waits_as_told_and_gets_through(self, form):
        """Its one retry gets through after each form of the header; its own half a second would be too short a wait."""

        async def work(server):
            async with openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=1) as client:
                while 429 not in server.bill.by_status:  # a slow machine may come into a new window first
                    await client.chat.completions.create(**BODY)
            return [charge.status for charge in server.bill.charges]

        statuses = served(work, limits=Limits(rpm=1, per=1.0, window="fixed", retry_after=form))
        assert statuses[-2:] == [429, 200]
        assert statuses.count(429) == 1

    def test_an_error_inside_a_stream_reaches_both(self):
        """The text that came is there, then their own error is raised."""

        async def work(server):
            texts = []

            async def heard(pieces):
                async for piece in pieces:
                    texts.append(piece)  # noqa: PERF401  # what came before the error counts

            async with openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
                stream = await client.chat.completions.create(**BODY, stream=True)
                pieces = ((chunk.choices[0].delta.content or "") async for chunk in stream)
                with pytest.raises(openai.APIError, match="had an error"):
                    await heard(pieces)
            async with (
                anthropic.AsyncAnthropic(base_url=server.origin, api_key="k", max_retries=0) as client,
                client.messages.stream(**BODY) as stream,
            ):
                with pytest.raises(anthropic.APIError, match="verloaded"):
                    await heard(stream.text_stream)
            return texts

        assert "".join(served(work, faults="error=2")) == "Grüße an Grüße an "

    def test_usage_is_the_bill(self):
        """What both clients are told they used is what the server charges, reasoning included."""

        async def work(server):
            async with openai.AsyncOpenAI(base_url=server.url, api_key="k") as client:
                first = (await client.chat.completions.create(**BODY)).usage
            async with anthropic.AsyncAnthropic(base_url=server.origin, api_key="k") as client:
                other = (await client.messages.create(**BODY)).usage
            return first, other, server.bill

        first, other, bill = served(work, reasoning=2.0, price={"m": (1.0, 2.0)})
        assert first.completion_tokens_details.reasoning_tokens > 0
        told = [
            (first.prompt_tokens, first.completion_tokens),
            (other.input_tokens, other.output_tokens),
        ]
        assert [(one.usage.input_tokens, one.usage.output_tokens) for one in bill.charges] == told
        assert bill.usd == pytest.approx(sum(given + 2 * made for given, made in told) / 1e6)


class TestHeaders:
    """Limits are told with every reply."""

    def test_openai_is_told_in_its_headers(self):
        """Requests and tokens, limit, remaining and reset, on replies and refusals alike."""

        async def work(server):
            url = f"{server.url}/chat/completions"
            return [await fetched(url, BODY, Authorization="Bearer k") for _ in range(3)]

        replies = served(work, limits=Limits(rpm=2, tpm=10_000, window="fixed"), price=(1, 1))
        assert [status for status, _, _ in replies] == [200, 200, 429]
        names = ("limit-requests", "remaining-requests", "limit-tokens", "remaining-tokens")
        told = [tuple(int(headers[f"x-ratelimit-{name}"]) for name in names) for _, headers, _ in replies]
        assert told[0][:3] == (2, 1, 10_000)
        assert told[0][3] < 9_950
        assert told[2] == (2, 0, 10_000, told[1][3])
        assert replies[2][1]["x-ratelimit-reset-requests"].endswith("s")
        assert 1 <= int(replies[2][1]["Retry-After"]) <= 60
        error = json.loads(replies[2][2])["error"]
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")

    def test_anthropic_is_told_in_its_headers(self):
        """Requests, input and output tokens, with resets as times of day."""

        async def work(server):
            async with anthropic.AsyncAnthropic(base_url=server.origin, api_key="k", max_retries=0) as client:
                raw = await client.messages.with_raw_response.create(**BODY)
                return raw.headers

        limits = Limits(rpm=50, input_tpm=1000, output_tpm=400, meter="used")
        headers = served(work, limits=limits)
        assert headers["anthropic-ratelimit-requests-limit"] == "50"
        assert headers["anthropic-ratelimit-requests-remaining"] == "49"
        assert int(headers["anthropic-ratelimit-input-tokens-remaining"]) < 1000
        assert headers["anthropic-ratelimit-output-tokens-remaining"] == "400"
        reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
        assert timedelta(0) <= reset - datetime.now(UTC) < timedelta(seconds=5)

    @pytest.mark.parametrize("stream", [False, True])
    def test_they_can_be_left_out(self, stream):
        """A server whose limits are unknown says nothing of them."""

        async def work(server):
            return await fetched(f"{server.url}/chat/completions", {**BODY, "stream": stream})

        _, headers, _ = served(work, limits=Limits(rpm=2, headers=False))
        assert not [name for name in headers if "ratelimit" in name.lower()]
        _, headers, _ = served(work, limits=Limits(rpm=2))
        assert "x-ratelimit-limit-requests" in headers


class TestTheServersOwnPaths:
    """What a benchmark in another process asks for."""

    def test_the_bill_is_there_to_read(self):
        """GET /bill is the bill as JSON, with every charge, or without them."""

        async def work(server):
            await fetched(f"{server.url}/chat/completions", BODY)
            await fetched(f"{server.url}/messages", {**BODY, "max_tokens": 3})
            whole = json.loads((await fetched(f"{server.origin}/bill"))[2])
            return whole, json.loads((await fetched(f"{server.origin}/bill?charges=no"))[2]), server.bill

        whole, totals, bill = served(work, price=(1.0, 2.0))
        assert whole["usd"] == pytest.approx(bill.usd)
        assert (whole["calls"], whole["by_status"]) == (2, {"200": 2})
        assert [charge["output_tokens"] for charge in whole["charges"]] == [11, 3]
        assert whole["charges"][0]["usd"] + whole["charges"][1]["usd"] == pytest.approx(whole["usd"])
        assert "charges" not in totals

    def test_limits_can_be_changed_from_outside(self):
        """POST /limits changes what it names and tells them all; nonsense is refused and changes nothing."""

        async def work(server):
            found = []
            for change in ({"rpm": 1}, {"rpm": 0}, {"rps": 1}, {"rpm": "many"}, [1]):
                status, _, body = await fetched(f"{server.origin}/limits", change)
                found.append((status, json.loads(body)))
            statuses = [(await fetched(f"{server.url}/chat/completions", BODY))[0] for _ in range(2)]
            return found, statuses, server.limits

        found, statuses, limits = served(work, limits=Limits(tpm=10_000, window="fixed"))
        assert [status for status, _ in found] == [200, 400, 400, 400, 400]
        assert (found[0][1]["rpm"], found[0][1]["tpm"]) == (1, 10_000)
        assert "rpm=0" in found[1][1]["error"]["message"]
        assert limits == Limits(rpm=1, tpm=10_000, window="fixed")
        assert statuses == [200, 429]

    def test_faults_can_be_changed_from_outside(self):
        """POST /faults puts others in their place and tells them; nonsense is refused and changes nothing."""

        async def work(server):
            found = []
            for faults in (["503", "slow=0:0.5"], ["often"], "503", []):
                status, _, body = await fetched(f"{server.origin}/faults", faults)
                then = (await fetched(f"{server.url}/chat/completions", BODY))[0]
                found.append((status, json.loads(body), then))
            server.faults = "529"
            return found, (await fetched(f"{server.url}/chat/completions", BODY))[0]

        found, last = served(work, faults="429")
        assert [(status, then) for status, _, then in found] == [(200, 503), (400, 503), (400, 503), (200, 200)]
        assert found[0][1] == ["503", "slow=0:0.5"]
        assert "a status from 400 to 599" in found[1][1]["error"]["message"]
        assert last == 529

    def test_it_can_begin_anew(self):
        """POST /reset empties the bill and the windows, and counts requests and seconds from nothing."""

        async def work(server):
            first = [(await fetched(f"{server.url}/chat/completions", BODY))[0] for _ in range(3)]
            assert (await fetched(f"{server.origin}/reset", {}))[0] == 200
            again = [(await fetched(f"{server.url}/chat/completions", BODY))[0] for _ in range(3)]
            return first, again, server.bill.calls

        first, again, calls = served(work, limits=Limits(rpm=2), faults="503@0")
        assert first == again == [503, 200, 429]
        assert calls == 3

    def test_another_process_takes_all_of_it(self):
        """`apart` passes limits, faults and prices on; its bill tells what happened."""

        async def main():
            options = (
                *("--answers", "fake", "--fault", "503@0", "--fault", "cut=2@1", "--rpm", "3", "--window", "fixed"),
                *("--price", "1,2", "--reasoning", "0.5", "--retry-after", "-10", "--should-retry", "false"),
                *("--no-headers", "--seed", "7", "--latency", "uniform:0,0.01"),
            )
            async with apart(*options) as url:
                found = []
                for number in range(4):
                    try:
                        body = {**BODY, "stream": number == 1}
                        found.append(await fetched(f"{url}/chat/completions", body))
                    except aiohttp.ClientPayloadError:
                        found.append((None, {}, b""))
                bill = json.loads((await fetched(f"{url.removesuffix('/v1')}/bill"))[2])
            return found, bill

        found, bill = asyncio.run(main())
        assert [status for status, _, _ in found] == [503, None, 200, 429]
        assert found[3][1]["Retry-After"] == "-10"
        assert found[3][1]["x-should-retry"] == "false"
        assert "x-ratelimit-limit-requests" not in found[2][1]
        assert bill["by_state"] == {"refused": 2, "cut": 1, "answered": 1}
        assert bill["usd"] > 0


class TestBesideAScript:
    """A server in a thread, used from code that does not await."""

    def test_limits_and_bill_are_at_hand(self):
        """Both can be read and set from the script's own thread."""

        def post():
            request = urllib.request.Request(f"{server.url}/chat/completions", json.dumps(BODY).encode())
            try:
                with urllib.request.urlopen(request, timeout=5) as response:
                    return response.status
            except urllib.error.HTTPError as error:
                error.close()
                return error.code

        with ModelServer([TEXT], price=(1, 2)) as server:
            assert post() == 200
            server.limits = Limits(rpm=1, window="sliding")
            assert [post(), post()] == [200, 429]
            assert server.bill.by_status == {200: 2, 429: 1}
            server.reset()
            assert (server.bill.calls, post()) == (0, 200)
