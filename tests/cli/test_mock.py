"""`fanfold mock`: a server of recorded or made-up answers, until it is stopped."""

import json
import signal
import socket
import subprocess
import urllib.request

import pytest

from fanfold.models import recordings
from fanfold.models.prices import FlatRate
from fanfold.testing import Limits
from fanfold.testing.server.spread import spread
from tests.cli.calling import fanfold, finish, process


def ask(url: str, model: str, question: str) -> dict:
    """What the server answers to one question."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped(number: signal.Signals) -> None:
    """The first line is its URL; it answers there; being stopped is no error."""
    started = process("mock", "--port", "0")
    url = started.stdout.readline().decode().strip()
    recording = recordings.recordings("samples")[0]
    reply = ask(url, "gpt-35-turbo", recording.question)
    assert reply["choices"][0]["message"]["content"] == recording.samples["gpt-35-turbo"][0].text
    assert reply["usage"]["completion_tokens"] > 0
    started.send_signal(number)
    done = finish(started)
    assert (done.code, done.out) == (0, "")
    first, last = done.err.splitlines()
    assert "serving recorded answers" in first
    assert "gpt-35-turbo" in first
    assert last == "fanfold: stopped"


def test_a_vote_against_it() -> None:
    """The command's own server serves the command."""
    started = process("mock", "--port", "0", "--answers", "fake", "--seed", "1", "--latency", "0.01")
    url = started.stdout.readline().decode().strip()
    done = fanfold("vote", "?", "-n", "1", "--model", "openai:m", "--base-url", url, "-q", "x")
    assert done.code == 0
    assert done.out.startswith("[made up] ")
    started.send_signal(signal.SIGINT)
    assert finish(started).code == 0


def test_limits_faults_and_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """All options arrive at the server, by the names that it has for them."""
    made = []

    async def run(self: object, ready: object) -> None:
        made.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr("fanfold.testing.server.ModelServer.run_forever", run)
    words = (
        "--answers fake --latency stream --first-token uniform:0.1,0.2 --between-tokens 0.01 --seed 3 "
        "--fault 503:0.1 --fault outage:5+20 --fault stragglers:0.03x10 --price 0.15,0.6 --reasoning 0.5 "
        "--rpm 600 --tpm 100000 --input-tpm 90000 --output-tpm 10000 --per 6 --window bucket --burst 1 "
        "--burst-tokens 5000 --count-rejected --meter used --assumed-output 50 --by key+model --no-headers "
        "--retry-after garbage --should-retry false --at-once 8 --over 529"
    )
    assert fanfold("mock", "--port", "0", *words.split()).code == 0
    (server,) = made
    assert server.limits == Limits(
        rpm=600,
        tpm=100_000,
        input_tpm=90_000,
        output_tpm=10_000,
        per=6,
        burst=1,
        burst_tokens=5000,
        count_rejected=True,
        meter="used",
        assumed_output=50,
        by="key+model",
        headers=False,
        retry_after="garbage",
        should_retry=False,
        at_once=8,
        over="529",
    )
    service = server._service
    assert [str(fault) for fault in service.faults.listed] == ["503:0.1", "outage:5+20", "stragglers:0.03x10"]
    assert service.bill.prices.of("openai", "any") == FlatRate(0.15, 0.6)
    assert (service.reasoning, service.seed, service.pace.latency) == (0.5, 3, "stream")
    assert service.pace.first == spread("first_token", "uniform:0.1,0.2")


def test_without_options_nothing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults of the command are those of the record; several prices go by their models."""
    made = []

    async def run(self: object, ready: object) -> None:
        made.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr("fanfold.testing.server.ModelServer.run_forever", run)
    fanfold("mock", "--price", "a=1,2", "--price", "b:c=3,4")
    (server,) = made
    assert server.limits == Limits()
    assert server._service.bill.prices.own == {"a": FlatRate(1, 2), "b:c": FlatRate(3, 4)}


def test_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where coverage sees it: it announces itself, and stops on Ctrl-C."""

    async def interrupt(self: object, ready: object) -> None:
        async with self:
            ready(self)
            signal.raise_signal(signal.SIGINT)
            await __import__("asyncio").sleep(10)

    monkeypatch.setattr("fanfold.testing.server.ModelServer.run_forever", interrupt)
    done = fanfold("mock", "--port", "0", "--answers", "fake", "--latency", "0.5", "--speed", "2")
    assert done.code == 0
    assert done.out.startswith("http://127.0.0.1:")
    assert "serving made-up answers (latency 0.5, divided by 2)" in done.err
    assert done.err.endswith("fanfold: stopped\n")


def test_a_port_that_is_taken() -> None:
    """It says which, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = fanfold("mock", "--port", str(port), "--answers", "fake")
    assert (done.code, done.out) == (2, "")
    assert f"cannot listen on 127.0.0.1:{port}" in done.told
    assert "port=0 finds a free one" in done.told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--latency", "soon"], "--latency 'soon'"),
        (["--latency", "-1"], "latency=-1"),
        (["--latency", "nan"], "latency=nan"),
        (["--speed", "0"], "speed=0"),
        (["--port", "99999"], "99999"),
        (["--answers", "fake", "--recording", "r.db"], "--answers fake and --recording r.db: give one"),
        (["--recording", "r.db", "--answers", "recorded"], "give one of them"),
        (["--answers", "true"], "--answers"),
        (["--host", "no-such-host.invalid"], "no-such-host.invalid"),
        (["--fault", "sometimes"], "fault 'sometimes'"),
        (["--fault", "503", "--fault", "cut"], "fault cut="),
        (["--fault", "503@5-2"], "requests '5-2'"),
        (["--rpm", "0"], "rpm=0"),
        (["--assumed-output", "-1"], "assumed_output=-1"),
        (["--window", "slide"], "--window"),
        (["--window", "fixed", "--burst", "1"], "has no burst"),
        (["--price", "cheap"], "--price 'cheap'"),
        (["--price", "1,2", "--price", "m=1,2"], "not both"),
        (["--price", "-1,2"], "price="),
        (["--reasoning", "-1"], "reasoning=-1"),
        (["--first-token", "soon"], "--first-token 'soon'"),
        (["--first-token", "normal:1,2"], "first_token='normal:1,2'"),
    ],
)
def test_wrong_options(arguments: list[str], words: str) -> None:
    """What cannot be is one line."""
    done = fanfold("mock", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.told


def test_nobody_answers_when_it_has_stopped() -> None:
    """Its port is free again."""
    started = process("mock", "--port", "0", "--answers", "fake", stderr=subprocess.DEVNULL)
    url = started.stdout.readline().decode().strip()
    started.send_signal(signal.SIGINT)
    finish(started)
    with pytest.raises(OSError, match="refused"):
        ask(url, "m", "?")
