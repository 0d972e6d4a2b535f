"""Ctrl-C and SIGTERM: the command ends at once, with what was finished and what it cost."""

import json
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from fanfold.cli.reports import so_far
from fanfold.core.records import Event
from fanfold.runs.run import Run
from fanfold.testing import ModelServer
from tests.cli.calling import Outcome, fanfold, file, finish, process

SECTIONS = """
main = sections({
    "quick": prompt("{input}", model=FakeModel(["all done"])),
    "slow": prompt("{input}", model=FakeModel(latency=30.0)),
})
"""

STUCK = """
import time
@step
def main(text):
    print("working", flush=True)
    time.sleep(40)
"""


def interrupted(started: subprocess.Popen[bytes], number: signal.Signals = signal.SIGINT) -> tuple[Outcome, float]:
    """Send a signal; gives the outcome, and the seconds that it took to end."""
    began = time.monotonic()
    started.send_signal(number)
    done = finish(started)
    return done, time.monotonic() - began


def until_line(started: subprocess.Popen[bytes], word: bytes) -> None:
    """Wait for a line with this word on standard error."""
    while word not in (line := started.stderr.readline()):
        assert line, "it ended before"


def until_asked(server: ModelServer, count: int) -> None:
    """Wait until a server has that many requests."""
    until = time.monotonic() + 25
    while server.statistics().in_flight < count:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.timing
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_ends_at_once_and_says_what_there_is(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """Within a second it ends with 128 + the signal, naming what was finished and what it cost."""
    started = process("run", file(tmp_path, SECTIONS), "x")
    until_line(started, b"done      quick")
    done, seconds = interrupted(started, number)
    assert done.code == code
    assert seconds < 1
    assert done.out == ""
    lines = done.err.splitlines()
    assert lines[0].startswith("cancelled slow (")
    assert lines[1:3] == ["fanfold: interrupted", "finished quick: all done"]
    assert lines[3].startswith("until then: 1 of 2 calls answered, 1 + 3 tokens, made up, nothing was paid, ")
    assert len(lines) == 4


@pytest.mark.timing
def test_with_json_it_prints_the_document(slow: ModelServer) -> None:
    """With `--json` an interrupted run is one document as well; the server sees its clients go."""
    started = process("vote", "?", "--model", "openai:m", "--base-url", slow.url, "-n", "3", "--json", "x")
    until_asked(slow, 3)
    done, seconds = interrupted(started)
    assert done.code == 130
    assert seconds < 1
    said = json.loads(done.out)
    assert said["error"] == {"type": "KeyboardInterrupt", "message": "interrupted"}
    assert said["finished"] == {}
    assert [call["state"] for call in said["calls"]] == ["cancelled"] * 3
    assert said["cost"]["usd"] is None
    assert done.err == "fanfold: interrupted\n"
    until_gone = time.monotonic() + 2
    while slow.statistics().disconnected < 3:
        assert time.monotonic() < until_gone
        time.sleep(0.01)


@pytest.mark.timing
def test_a_background_job_is_stopped_too(tmp_path: Path) -> None:
    """A shell script starts its background jobs deaf to Ctrl-C; SIGTERM ends them as it ends any other."""
    deaf = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    started = process("run", file(tmp_path, SECTIONS), "x", preexec_fn=deaf)
    until_line(started, b"done      quick")
    started.send_signal(signal.SIGINT)
    done, seconds = interrupted(started, signal.SIGTERM)
    assert done.code == 143
    assert seconds < 1
    assert "fanfold: interrupted\nfinished quick: all done\nuntil then: 1 of 2 calls answered" in done.err
    server = process("mock", "--port", "0", "--answers", "fake", preexec_fn=deaf)
    server.stdout.readline()
    assert interrupted(server, signal.SIGTERM)[0].code == 0


@pytest.mark.timing
def test_a_thread_does_not_keep_it(tmp_path: Path) -> None:
    """A plain function that blocks in a thread runs on for nobody."""
    started = process("run", file(tmp_path, STUCK), "x")
    until_line(started, b"working")
    done, seconds = interrupted(started)
    assert done.code == 130
    assert seconds < 1
    assert done.err.splitlines()[-1] == "fanfold: interrupted"


@pytest.mark.timing
def test_while_it_reads_its_input(tmp_path: Path) -> None:
    """While it waits for standard input it ends just as well."""
    text = 'print("loaded", file=__import__("sys").stderr, flush=True)\nask = prompt("{input}")'
    started = process("run", file(tmp_path, text), "--model", "fake:", stdin=subprocess.PIPE)
    until_line(started, b"loaded")
    time.sleep(0.1)
    done, seconds = interrupted(started)
    assert (done.code, done.err) == (130, "fanfold: interrupted\n")
    assert seconds < 1


def test_in_this_process(tmp_path: Path) -> None:
    """The same without a process of its own, where coverage sees it."""
    kill = "import os, signal\ndef kill(request):\n    os.kill(os.getpid(), signal.SIGINT)\n    return 30.0\n"
    text = kill + SECTIONS.replace("latency=30.0", "latency=kill")
    steps = file(tmp_path, text)
    done = fanfold("run", steps, "x")
    assert done.code == 130
    assert "fanfold: interrupted\nfinished quick: all done\nuntil then: 1 of 2 calls answered" in done.err
    before = signal.getsignal(signal.SIGTERM)
    assert fanfold("run", file(tmp_path, text.replace("SIGINT", "SIGTERM")), "x", "--json").code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_links_of_a_chain_are_among_what_was_finished(tmp_path: Path) -> None:
    """They were paid, as branches are; of what lies inside a link that is there nothing more is said."""
    text = """
import os, signal
def kill(request):
    os.kill(os.getpid(), signal.SIGINT)
    return 30.0
first = prompt("{input}", name="first", model=FakeModel(["one"])) | prompt("{input}", model=FakeModel(["two"]))
third = prompt("{input}", name="third", model=FakeModel(latency=kill))
main = chain(chain(first, name="both"), str.upper, third)
"""
    steps = file(tmp_path, text)
    done = fanfold("run", steps, "x")
    told = done.err.splitlines()
    assert done.code == 130
    assert [line.split(" (")[0] for line in told[:3]] == ["done      both", "done      upper", "cancelled third"]
    assert told[3:6] == ["fanfold: interrupted", "finished both: two", "finished upper: TWO"]
    assert told[6].startswith("until then: 2 of 3 calls answered")
    assert fanfold("run", steps, "x", "--json").document["finished"] == {"both": "two", "upper": "TWO"}


def test_while_the_file_loads(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a file's own code."""
    done = fanfold("run", file(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"), "x")
    assert (done.code, done.err) == (130, "fanfold: interrupted\n")


@pytest.mark.long
def test_a_second_one_while_it_cleans_up(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C twice does not wait for a step that resists."""
    text = """
import asyncio
@step
async def main(text):
    print("working", flush=True)
    try:
        await asyncio.sleep(30)
    finally:
        print("resisting", flush=True)
        await asyncio.sleep(30)
"""
    started = process("run", file(tmp_path, text), "x")
    until_line(started, b"working")
    os.kill(started.pid, signal.SIGINT)
    until_line(started, b"resisting")
    done, seconds = interrupted(started)
    assert done.code == 130
    assert seconds < 1
    assert "Traceback" not in done.err


def test_a_finished_branch_is_told_by_its_name() -> None:
    """A slash in it is a slash, as on the screen."""
    run = Run("job", None, None, 1.0, (), (Event(0, 0.5, "branch.ended", "job/terms%2Ffees", "fair"),))
    assert so_far(run) == ["finished terms/fees: fair"]
