"""The model server itself: its pace, its records, its life."""

import asyncio
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import urllib.request
from typing import Any

import aiohttp
import pytest

from fanfold import OpenAI, Session, prompt
from fanfold.core.clock import now
from fanfold.core.records import Reply, Usage
from fanfold.errors import (
    AccessError,
    BillingError,
    ConnectError,
    LoopError,
    ModelError,
    NotRecorded,
    StatusError,
    UsageError,
)
from fanfold.models import recordings
from fanfold.testing import FakeModel, Leak, Limits, ModelServer, no_leaks
from fanfold.testing.server import apart
from fanfold.testing.server.__main__ import _parser, main
from fanfold.testing.server.options import limits_of
from fanfold.testing.server.pace import Pace, Timing

ASK = prompt("{input}")
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


async def post(server: ModelServer, path: str = "/v1/chat/completions", **more: Any) -> tuple[int, Any]:
    """Status and JSON of one request."""
    async with aiohttp.ClientSession() as client, client.post(server.origin + path, json={**BODY, **more}) as response:
        return response.status, await response.json(content_type=None)


async def get(server: ModelServer, path: str) -> tuple[int, Any]:
    """Status and JSON of one GET."""
    async with aiohttp.ClientSession() as client, client.get(server.origin + path) as response:
        return response.status, await response.json()


def reply(text: str = "a b c", tokens: int = 3) -> Reply:
    """A reply to time."""
    return Reply((text,), Usage(1, tokens))


class TestPace:
    """When replies come; pure figures, nobody waits."""

    def test_a_fixed_latency_is_the_time_of_a_plain_reply(self):
        """Plain replies come after the latency, whatever the pauses of streams are."""
        assert Pace(0.5, between_tokens=0.1).timing(reply(), 3, "", stream=False) == Timing(0.5, 0.0)

    def test_the_first_word_of_a_stream_comes_after_the_latency(self):
        """Streams begin after `first_token`, or the latency where that is not given, and pause between words."""
        assert Pace(0.5).timing(reply(), 3, "") == Timing(0.5, 0.0)
        assert Pace(0.5, first_token=0.2, between_tokens=0.1).timing(reply(), 3, "") == Timing(0.2, 0.2)
        assert Pace(0.5, first_token=0.0).timing(reply(), 3, "") == Timing(0.0, 0.0)
        assert Pace(0.5, between_tokens=0.1).timing(reply(""), 1, "") == Timing(0.5, 0.0)

    def test_speed_divides_every_time(self):
        """At speed 10 everything takes a tenth."""
        assert Pace(0.5, speed=10).timing(reply(), 3, "", stream=False) == Timing(0.05, 0.0)
        slow, fast = Pace("recorded"), Pace("recorded", speed=4)
        for key in "abc":
            one, other = slow.timing(reply(), 3, key, stream=False), fast.timing(reply(), 3, key, stream=False)
            assert (other.first, other.rest) == pytest.approx((one.first / 4, one.rest / 4))

    def test_recorded_times_are_those_of_one_recorded_request(self):
        """A drawn time is a recorded first token's wait and that request's pause times this reply's tokens."""
        recorded = {(row.first_token, 100 * row.between_tokens) for row in recordings.latencies()}
        for key in map(str, range(50)):
            timing = Pace("recorded").timing(reply(tokens=101), 3, key, stream=False)
            assert (timing.first, timing.rest) in recorded

    def test_recorded_times_repeat_for_a_seed_in_any_order(self):
        """The times hang on the seed, the request and its sample, not on who came first."""

        def drawn(seed, keys):
            pace = Pace("recorded", seed=seed)
            return {key: pace.timing(reply(), 3, key, stream=False) for key in keys}

        keys = [f"{number}|body" for number in range(40)]
        assert drawn(1, keys) == drawn(1, reversed(keys))
        assert drawn(1, keys) != drawn(2, keys)
        assert len(set(drawn(1, keys).values())) > 30

    def test_recorded_times_are_spread_like_the_recording(self):
        """Over many requests the median first token is the recorded median."""
        pace = Pace("recorded")
        drawn = statistics.median(pace.timing(reply(), 3, str(key), stream=False).first for key in range(3000))
        recorded = statistics.median(row.first_token for row in recordings.latencies())
        assert drawn == pytest.approx(recorded, rel=0.1)

    @pytest.mark.parametrize(
        "options",
        [
            {"latency": -1},
            {"latency": "slow"},
            {"latency": float("nan")},
            {"latency": float("inf")},
            {"latency": 0, "first_token": -0.1},
            {"latency": 0, "between_tokens": -0.1},
            {"latency": 0, "between_tokens": "uniform:0.1,0.2"},
            {"latency": 0, "speed": 0},
            {"latency": 0, "speed": float("nan")},
            {"latency": "recorded", "first_token": 0.1},
            {"latency": "recorded", "between_tokens": 0.1},
        ],
    )
    def test_a_time_that_cannot_be_is_refused(self, options):
        """Negative and endless times, and two ways of pacing at once, are usage errors."""
        with pytest.raises(UsageError):
            ModelServer("fake", **options)

    def test_limits_of_another_type_are_refused(self):
        """At once, and not by every request."""
        with pytest.raises(UsageError, match="give Limits"):
            ModelServer("fake", limits={"rpm": 3})
        with pytest.raises(UsageError, match="give Limits"):
            ModelServer("fake").limits = None


class TestWaiting:
    """That the server does keep its pace."""

    def test_a_plain_reply_waits_for_the_latency(self):
        """The reply is there after the latency and not long after."""

        async def main():
            async with ModelServer("fake", latency=0.1) as server:
                began = now()
                await post(server)
                seen = server.seen[0]
                return now() - began, seen.answered - seen.received

        whole, served = asyncio.run(main())
        assert 0.1 <= served <= whole < 1

    def test_a_stream_keeps_its_times(self):
        """The first word comes after first_token, the last after all pauses; late timers do not add up."""

        async def main():
            words = [" ".join("w" * 100)]
            async with (
                ModelServer(words, first_token=0.05, between_tokens=0.001) as server,
                aiohttp.ClientSession() as client,
                client.post(f"{server.url}/chat/completions", json={**BODY, "stream": True}) as response,
            ):
                assert b"[DONE]" in await response.read()
                return server.seen[0]

        seen = asyncio.run(main())
        assert 0.05 <= seen.began - seen.received < 1
        assert 0.145 <= seen.answered - seen.received < 1

    def test_a_models_own_latency_counts(self):
        """A FakeModel with a latency is waited for."""

        async def main():
            async with ModelServer(FakeModel(["x"], latency=0.1)) as server:
                await post(server)
                return server.seen[0]

        seen = asyncio.run(main())
        assert seen.answered - seen.received >= 0.1


class TestAnswers:
    """Where answers come from."""

    def test_texts_are_given_in_turn(self):
        """A list of texts is taken in turn by the sample's number."""

        async def main():
            async with ModelServer(["one", "two"]) as server:
                return [(await post(server))[1]["choices"][0]["message"]["content"] for _ in range(3)]

        assert asyncio.run(main()) == ["one", "two", "one"]

    def test_a_function_answers_the_request_as_it_was_read(self):
        """A function gets messages, options and schema; what it gives is the text."""
        asked = []

        def say(request):
            asked.append(request)
            return "said"

        async def main():
            async with ModelServer(say) as server:
                schema = {"type": "object", "properties": {}}
                wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
                _, body = await post(server, temperature=0.5, max_tokens=7, response_format=wanted)
                return body["choices"][0]["message"]["content"], schema

        text, schema = asyncio.run(main())
        (request,) = asked
        assert text == "said"
        assert (request.temperature, request.max_tokens, request.schema) == (0.5, 7, schema)
        assert request.messages[0].content == "hello"

    @pytest.mark.parametrize(
        ("error", "kind", "status", "code"),
        [
            (StatusError("slow down", status=429, retry_after=2.5), StatusError, 429, None),
            (StatusError("overloaded", status=503), StatusError, 503, None),
            (AccessError("wrong key"), AccessError, 401, "invalid_api_key"),
            (BillingError("no credit"), BillingError, 429, "insufficient_quota"),
            (NotRecorded("not that"), NotRecorded, 404, "not_recorded"),
            (ModelError("no such model"), StatusError, 404, "model_not_found"),
            (ConnectError("upstream is gone"), StatusError, 500, None),
        ],
    )
    def test_an_error_given_as_answer_comes_out_as_itself(self, error, kind, status, code):
        """An error that the answers give arrives at fanfold's own wire as the same error."""

        async def main():
            async with ModelServer(lambda _: error) as server:
                refused, body = await post(server)
                async with Session(model=OpenAI(name="m", base_url=server.url), attempts=1) as session:
                    with pytest.raises(kind) as caught:
                        await ASK.run("hi", session=session)
                return refused, body["error"]["code"], caught.value

        refused, told, raised = asyncio.run(main())
        assert (refused, told) == (status, code)
        assert type(raised) is kind
        assert str(error) in str(raised)
        assert raised.retry_after == error.retry_after if isinstance(error, StatusError) else True

    def test_a_bug_in_the_faults_is_a_500_that_is_logged(self, caplog):
        """So is one in a function that decides what goes wrong; the request counts as refused."""

        def wrong(_asking):
            raise RuntimeError("nonsense")

        async def main():
            async with ModelServer("fake", faults=wrong) as server:
                return await post(server), server.statistics()

        (status, body), counts = asyncio.run(main())
        assert (status, body["error"]["message"]) == (500, "RuntimeError: nonsense")
        assert (counts.refused, counts.disconnected) == (1, 0)
        assert "nonsense" in caplog.text

    def test_a_bug_in_the_answers_is_a_500_that_is_logged(self, caplog):
        """An exception in a user's function is told in JSON, and its traceback is logged."""

        async def main():
            async with ModelServer(lambda request: request.nonsense) as server:
                return await post(server)

        status, body = asyncio.run(main())
        assert status == 500
        assert body["error"]["type"] == "server_error"
        assert "AttributeError" in body["error"]["message"]
        assert "nonsense" in caplog.text

    @pytest.mark.parametrize(("wanted", "schema"), [("text", None), ("json_object", {"type": "object"})])
    def test_other_formats_are_understood(self, wanted, schema):
        """A response_format of text asks for no schema, one of json_object for any object."""
        asked = []

        async def main():
            async with ModelServer(lambda request: asked.append(request) or "x") as server:
                return await post(server, response_format={"type": wanted})

        assert asyncio.run(main())[0] == 200
        assert asked[0].schema == schema

    def test_a_models_label_is_its_name_in_the_list(self):
        """A server of one model lists its label, and answers to any name."""

        async def main():
            async with ModelServer(FakeModel(["x"], label="fake:one")) as server:
                return (await get(server, "/v1/models"))[1], (await post(server))[1]["model"]

        listed, name = asyncio.run(main())
        assert [model["id"] for model in listed["data"]] == ["fake:one"]
        assert name == "m"

    @pytest.mark.parametrize("answers", ["made up", 7, None, {"a": "b"}])
    def test_answers_of_an_unknown_kind_are_refused(self, answers):
        """What cannot answer is a usage error that says what can."""
        with pytest.raises(UsageError, match="'recorded', 'fake', a list of texts"):
            ModelServer(answers)

    def test_recordings_are_read_off_the_loop(self):
        """Starting a server blocks no loop, though it unpacks recordings; and its requests read no file."""
        for cached in (recordings._sets, recordings._by_line, recordings.latencies):
            cached.cache_clear()

        async def main():
            async with ModelServer("recorded", latency="recorded", speed=1000) as server:
                question = next(one.question for one in recordings.recordings() if one.exam == "hellaswag")
                return await post(server, model="gpt-4", messages=[{"role": "user", "content": question}])

        status, body = asyncio.run(main())
        assert (status, body["error"]["code"]) == (404, "not_recorded")
        assert "other recorded models have it" in body["error"]["message"]


class TestFace:
    """Paths and methods."""

    @pytest.mark.parametrize(
        ("method", "path", "status", "words"),
        [
            ("GET", "/", 404, "/v1/chat/completions"),
            ("POST", "/chat/completions", 404, "/v1/chat/completions"),
            ("POST", "/v1/completions", 404, "/v1/completions"),
            ("GET", "/v1/chat/completions", 405, "takes POST, not GET"),
            ("DELETE", "/v1/models", 405, "takes GET"),
            ("PATCH", "/health", 405, "takes GET"),
        ],
    )
    def test_what_is_not_there_is_told_in_json(self, method, path, status, words):
        """An unknown path and a wrong method are errors in JSON that say what there is."""

        async def main():
            async with (
                ModelServer("fake") as server,
                aiohttp.ClientSession() as client,
                client.request(method, server.origin + path) as response,
            ):
                return response.status, response.headers.get("Allow"), await response.json()

        got, allow, body = asyncio.run(main())
        assert got == status
        assert words in body["error"]["message"]
        assert bool(allow) == (status == 405)

    def test_what_can_be_got_can_be_looked_at(self):
        """HEAD is answered as GET is, without a body: so programs that wait for a server ask."""

        async def main():
            found = []
            async with ModelServer("fake") as server, aiohttp.ClientSession() as client:
                for path in ("/health", "/v1/models", "/bill", "/reset"):
                    async with client.head(server.origin + path) as response:
                        found.append((response.status, await response.read()))
                return found

        assert asyncio.run(main()) == [(200, b""), (200, b""), (200, b""), (405, b"")]

    def test_health_tells_the_counts_and_the_pace(self):
        """GET /health says ok, how often it was asked, and how its times are made."""

        async def main():
            async with ModelServer("recorded", latency="recorded", speed=20) as server:
                return await get(server, "/health")

        status, body = asyncio.run(main())
        assert status == 200
        assert body["status"] == "ok"
        assert (body["answers"], body["latency"], body["speed"], body["requests"]) == ("recorded", "recorded", 20.0, 1)

    def test_a_body_that_is_too_large_is_refused(self, monkeypatch):
        """A body beyond the limit is a 413, however small the limit."""
        monkeypatch.setattr("fanfold.testing.server.face.LARGEST", 1000)

        async def main():
            async with ModelServer("fake") as server:
                assert (await post(server))[0] == 200
                return await post(server, messages=[{"role": "user", "content": "x" * 1000}])

        status, body = asyncio.run(main())
        assert status == 413
        assert "larger than" in body["error"]["message"]


class TestRecords:
    """What the server remembers."""

    def test_seen_tells_each_request(self):
        """A request is kept with its body, headers, times, number of samples and answer."""

        async def main():
            async with ModelServer("fake") as server:
                await post(server, n=2)
                await post(server, n=0)
                return server.seen, server.statistics()

        (good, bad), counts = asyncio.run(main())
        assert (good.method, good.path, good.model, good.n, good.status) == (
            "POST",
            "/v1/chat/completions",
            "m",
            2,
            200,
        )
        assert good.body == {**BODY, "n": 2}
        assert good.received <= good.began <= good.answered
        assert good.disconnected is None
        assert (bad.status, bad.number, bad.model) == (400, 1, "")
        assert (counts.requests, counts.answered, counts.refused, counts.samples) == (2, 1, 1, 2)
        assert (counts.in_flight, counts.disconnected) == (0, 0)

    def test_only_the_last_requests_are_kept(self):
        """`keep` bounds what is remembered; the counts go on."""

        async def main():
            async with ModelServer("fake", keep=4) as server:
                for number in range(11):
                    await post(server, user=str(number))
                return [seen.body["user"] for seen in server.seen], server.statistics().requests

        users, requests = asyncio.run(main())
        assert requests == 11
        assert users == ["8", "9", "10"][-len(users) :]
        assert 2 <= len(users) <= 4

    def test_identical_requests_are_counted_by_their_bodies(self):
        """Each body has a count of its own; where there are too many, the longest unused are forgotten."""

        async def main():
            async with ModelServer("fake", keep=4) as server:
                for user in "abcadea":
                    await post(server, user=user)
                return server._service.book._drawn

        drawn = asyncio.run(main())
        assert sorted(drawn.values()) == [1, 1, 3]

    def test_no_repr_of_a_request_shows_its_headers_or_body(self):
        """Keys and prompts of the clients do not get into a test's output by accident."""

        async def main():
            async with ModelServer("fake") as server:
                async with Session(model=OpenAI(name="m", base_url=server.url, api_key="secret-key")) as session:
                    await ASK.run("secret prompt", session=session)
                return server.seen[0]

        seen = asyncio.run(main())
        assert seen.headers["Authorization"] == "Bearer secret-key"
        assert "secret" not in repr(seen)

    def test_a_client_that_is_gone_between_two_writes_is_no_error(self, monkeypatch, caplog):
        """Writing to a closed connection ends the work quietly and counts as a disconnect."""

        async def gone(response, _data):
            response._req.transport.abort()
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

        async def main():
            async with ModelServer("fake") as server:
                monkeypatch.setattr(aiohttp.web.StreamResponse, "write", gone)
                with pytest.raises(aiohttp.ClientError):
                    await post(server, stream=True)
                return server.seen[0], server.statistics()

        seen, counts = asyncio.run(main())
        assert seen.disconnected is not None
        assert (counts.disconnected, counts.in_flight) == (1, 0)
        assert caplog.text == ""


class TestLife:
    """Starting, stopping, and where it runs."""

    def test_its_repr_states_what_it_is(self):
        """The repr says what it answers with, where, and by which factor its times are shortened."""
        server = ModelServer("recorded", latency="recorded", speed=25)
        assert repr(server) == "ModelServer('recorded', not running, latency='recorded', speed=25)"

        async def main():
            async with server:
                return repr(server), server.url

        shown, url = asyncio.run(main())
        assert f"url='{url}'" in shown

    def test_it_has_no_url_before_it_runs(self):
        """Asking for the URL of a server that was not entered says what to do."""
        with pytest.raises(LoopError, match="enter it with"):
            _ = ModelServer("fake").url

    def test_a_port_that_is_taken_is_named(self):
        """A taken port is a usage error that names it and the way out."""

        async def main(port):
            async with ModelServer("fake", port=port):
                pass

        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(UsageError, match=rf"cannot listen on 127\.0\.0\.1:{port}.*port=0"):
                asyncio.run(main(port))
        with pytest.raises(UsageError, match="cannot listen"):
            asyncio.run(main(99999))

    def test_it_cannot_be_entered_while_it_runs(self):
        """The second time would leave the first one's socket listening for ever."""

        async def main():
            async with ModelServer("fake") as server:
                with pytest.raises(LoopError, match=f"runs already, at {server.url}"):
                    await server.__aenter__()
                return await post(server)

        assert asyncio.run(main())[0] == 200

    def test_it_can_be_entered_again(self):
        """A server may run twice, one time after the other; its records go on."""

        async def main():
            server = ModelServer("fake")
            for _ in range(2):
                async with server:
                    await post(server)
            return len(server.seen)

        assert asyncio.run(main()) == 2

    def test_it_listens_on_ipv6_too(self):
        """An IPv6 address stands in brackets in the URL."""

        async def main():
            async with ModelServer("fake", host="::1") as server:
                return server.url, await post(server)

        try:
            with socket.create_server(("::1", 0), family=socket.AF_INET6):
                pass
        except OSError:
            pytest.skip("there is no IPv6 here")
        url, (status, _) = asyncio.run(main())
        assert url.startswith("http://[::1]:")
        assert status == 200

    def test_stopping_does_not_wait_for_replies(self):
        """A server that stops drops what it works on at once; that is no disconnect of the client's."""

        async def main():
            async with Session() as session:
                server = ModelServer("fake", latency=30)
                async with server:
                    model = OpenAI(name="m", base_url=server.url)
                    call = asyncio.create_task(prompt("{input}", model=model).run("x", session=session))
                    await asyncio.sleep(0.1)
                    assert server.statistics().in_flight == 1
                    began = now()
                took = now() - began
                with pytest.raises(ConnectError):
                    await call
                return took, server.statistics()

        took, counts = asyncio.run(main())
        assert took < 1
        assert (counts.in_flight, counts.disconnected) == (0, 0)

    def test_with_runs_it_beside_a_script(self):
        """In a plain `with` it serves from a thread, for code that does not await."""
        with ModelServer(["hello"]) as server:
            request = urllib.request.Request(f"{server.url}/chat/completions", json.dumps(BODY).encode())
            with urllib.request.urlopen(request, timeout=5) as response:
                assert json.load(response)["choices"][0]["message"]["content"] == "hello"
        with pytest.raises(LoopError):
            _ = server.url

    def test_run_forever_serves_until_it_is_cancelled(self):
        """It tells when it is ready, and stops when its task is cancelled."""

        async def main():
            ready = asyncio.get_running_loop().create_future()
            server = ModelServer("fake")
            task = asyncio.create_task(server.run_forever(ready.set_result))
            assert await ready is server
            status, _ = await post(server)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return status, repr(server)

        status, shown = asyncio.run(main())
        assert status == 200
        assert "not running" in shown

    def test_apart_runs_it_in_a_process_of_its_own(self):
        """`apart` gives the URL of a server in another process, which ends with the block."""

        async def main():
            async with (
                apart("--answers", "fake", "--latency", "0.01", "--speed", "2") as url,
                aiohttp.ClientSession() as client,
                client.get(f"{url.removesuffix('/v1')}/health") as response,
            ):
                return url, await response.json()

        url, health = asyncio.run(main())
        assert (health["answers"], health["latency"], health["speed"]) == ("made-up", 0.01, 2.0)
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", int(url.removesuffix("/v1").rpartition(":")[2])))

    @pytest.mark.long
    def test_apart_says_if_it_does_not_start(self):
        """A server that does not come up is a usage error with its options; its own words stand on stderr."""

        async def main():
            async with apart("--speed", "0"):
                pass

        with pytest.raises(UsageError, match="--speed 0"):
            asyncio.run(main())

    def test_as_a_program_it_prints_its_url_and_ends_on_an_interrupt(self):
        """The first line is the URL; Ctrl-C ends it with exit code 0 and no traceback."""
        command = [sys.executable, "-m", "fanfold.testing.server", "--answers", "fake"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}/models", timeout=5) as response:
                assert json.load(response)["data"][0]["id"] == "fake"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")

    @pytest.mark.parametrize(
        ("options", "words"),
        [(["--speed", "0"], "speed=0.0"), (["--latency", "recorded", "--first-token", "1"], "leave first_token")],
    )
    def test_as_a_program_it_says_what_is_wrong(self, capsys, options, words):
        """What cannot be is one clear line on stderr and exit code 2."""
        assert main(options) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err
        assert err.count("\n") == 1

    def test_as_a_program_it_says_that_a_port_is_taken(self, capsys, monkeypatch):
        """So is a port that is taken; and the core it was told to run on is asked for."""
        asked = []
        monkeypatch.setattr(os, "sched_setaffinity", lambda *given: asked.append(given))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            assert main(["--port", str(taken.getsockname()[1]), "--core", "0"]) == 2
        assert capsys.readouterr().err.startswith("cannot listen on 127.0.0.1:")
        assert asked == [(0, {0})]

    def test_attached_it_ends_with_its_standard_input(self, capsys, monkeypatch):
        """With --attached it serves until standard input ends, as it does when its parent dies."""
        monkeypatch.setattr("sys.stdin", io.StringIO())
        assert main(["--attached", "--answers", "fake", "--latency", "0.5"]) == 0
        assert capsys.readouterr().out.startswith("http://127.0.0.1:")

    @pytest.mark.long
    def test_a_thousand_requests_at_once(self):
        """A thousand connections are accepted and answered together, and nothing is left."""

        async def main():
            connector = aiohttp.TCPConnector(limit=0)
            async with ModelServer("fake", latency=0.5) as server, aiohttp.ClientSession(connector=connector) as client:

                async def one(number):
                    body = {**BODY, "user": str(number)}
                    async with client.post(f"{server.url}/chat/completions", json=body) as response:
                        return response.status

                statuses = await asyncio.gather(*map(one, range(1000)))
                return statuses, server.statistics()

        statuses, counts = asyncio.run(main())
        assert set(statuses) == {200}
        assert (counts.answered, counts.in_flight) == (1000, 0)


class TestOptions:
    """The module's own command reads what `fanfold mock` reads."""

    def test_both_commands_know_the_same_limits(self):
        """Every field of `Limits` is an option of the module, and means the same."""
        words = "--rpm 5 --per 2 --window fixed --count-rejected --no-headers --should-retry true --at-once 3"
        given = _parser().parse_args(words.split())
        assert limits_of(vars(given)) == Limits(
            rpm=5, per=2, window="fixed", count_rejected=True, headers=False, should_retry=True, at_once=3
        )
        assert limits_of(vars(_parser().parse_args([]))) == Limits()
        assert set(Limits.__struct_fields__) <= set(vars(given))

    def test_a_wish_that_is_neither_true_nor_false_is_refused(self):
        """The module says so in one line, as for every option."""
        with pytest.raises(UsageError, match="--should-retry 'perhaps': say true or false"):
            limits_of({"should_retry": "perhaps"})


class TestLeaks:
    """The leak check knows a server's idle connections from its work."""

    def test_an_idle_connection_of_a_server_is_no_leak(self):
        """A connection kept open for the next call does not count."""

        async def main():
            async with (
                ModelServer("fake") as server,
                Session(model=OpenAI(name="m", base_url=server.url)) as session,
                no_leaks(session),
            ):
                await ASK.run("x", session=session)

        asyncio.run(main())

    def test_a_request_that_the_server_still_works_on_is_a_leak(self):
        """A call that goes on after the block is found on both ends."""

        async def main():
            async with (
                ModelServer("fake", latency=30) as server,
                Session(model=OpenAI(name="m", base_url=server.url)) as session,
            ):
                check = no_leaks(session)
                await check.__aenter__()
                task = asyncio.create_task(ASK.run("x", session=session))
                await asyncio.sleep(0.05)
                with pytest.raises(Leak, match="1 slots") as caught:
                    await check.__aexit__(None, None, None)
                task.cancel()
                await asyncio.wait([task])
            return str(caught.value)

        assert "_handle_request" in asyncio.run(main())
