"""The fixture for users' own tests: recorded once, replayed without a network."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fanfold.testing import ModelServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "recorded_tests"

# Loaded before all else: from then on nothing of the process may connect, nor look a name up.
FORBIDDEN = """
import socket

def refuse(*_, **__):
    raise AssertionError("a replay opened a socket")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def pytest_on(folder: Path, *options: str, forbidden: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a test suite in a process of its own."""
    plugins = ["-p", "fanfold.pytest_plugin"]
    if forbidden:
        (folder / "no_sockets.py").write_text(FORBIDDEN)
        plugins = ["-p", "no_sockets", *plugins]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, "-c", os.devnull, *options, "."],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded_tests"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_example_replays_with_sockets_forbidden(tmp_path: Path) -> None:
    """The example's recordings replay where every connection is an error, twenty times the same; nothing is written."""
    folder = copied(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.rglob("*.jsonl")}
    done = pytest_on(folder, forbidden=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    assert {path.name: path.read_bytes() for path in folder.rglob("*.jsonl")} == before


def test_without_a_recording_it_says_what_to_do(tmp_path: Path) -> None:
    """A test that was never recorded fails with the option that records it."""
    folder = copied(tmp_path)
    shutil.rmtree(folder / "recordings")
    done = pytest_on(folder, "-x")
    assert done.returncode == 1
    assert "run this test once with --fanfold-record" in done.stdout


def test_what_was_not_recorded_fails_the_test(tmp_path: Path) -> None:
    """A prompt that changed since is a ReplayMiss, not a call."""
    folder = copied(tmp_path)
    inbox = folder / "inbox.py"
    inbox.write_text(inbox.read_text().replace("Is this email spam", "Is this message spam"))
    done = pytest_on(folder, "-k", "prize", forbidden=True)
    assert done.returncode == 1
    assert "ReplayMiss" in done.stdout
    assert "its step has changed since" in done.stdout


def test_recording_asks_and_writes(tmp_path: Path) -> None:
    """With the option the model is asked, and the recording is a file of lines that replays."""
    folder = copied(tmp_path)
    shutil.rmtree(folder / "recordings")

    async def record() -> subprocess.CompletedProcess[str]:
        async with ModelServer("fake") as server:
            test = folder / "test_inbox.py"
            text = await asyncio.to_thread(test.read_text)
            await asyncio.to_thread(test.write_text, text.replace("http://127.0.0.1:8100/v1", server.url))
            return await asyncio.to_thread(pytest_on, folder, "--fanfold-record")

    done = asyncio.run(record())
    assert done.returncode == 0, done.stdout
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jsonl"))
    assert names == [
        "recordings/test_inbox/test_a_recording_is_the_same_every_time.jsonl",
        "recordings/test_inbox/test_mails_are_sorted-invoice.jsonl",
        "recordings/test_inbox/test_mails_are_sorted-lunch.jsonl",
        "recordings/test_inbox/test_mails_are_sorted-prize.jsonl",
    ]
    again = pytest_on(folder, forbidden=True)
    assert again.returncode == 0, again.stdout


ALIKE = """
import pytest

from fanfold import Session, prompt

@pytest.mark.parametrize("text", ["<=", ">=", "a b", "a-b", "a-", "a", "", "x.py::a", "é", "two\\nlines", "long " * 80])
def test_text(text, fanfold_replay):
    with Session("fake:", journal=fanfold_replay):
        assert prompt("Say {input}").run_sync(text).output
"""


def test_tests_with_names_alike_have_recordings_of_their_own(tmp_path: Path) -> None:
    """Parameters that a file's name cannot say, or not in full, are told apart all the same."""
    (tmp_path / "test_alike.py").write_text(ALIKE)
    done = pytest_on(tmp_path, "--fanfold-record")
    assert done.returncode == 0, done.stdout
    names = {path.name for path in tmp_path.rglob("*.jsonl")}
    assert len(names) == 11
    assert {"test_text-a.jsonl", "test_text-a-b.jsonl"} <= names
    again = pytest_on(tmp_path, forbidden=True)
    assert again.returncode == 0, again.stdout


SILENT = """
from fanfold import Session

def test_without_a_session(fanfold_replay):
    pass

def test_without_a_call(fanfold_replay):
    with Session("fake:", journal=fanfold_replay):
        pass
"""


def test_a_test_that_asks_nothing_has_a_recording_too(tmp_path: Path) -> None:
    """One that was recorded is not told to be recorded for ever, as where a fixture of all tests asks for this one."""
    (tmp_path / "test_silent.py").write_text(SILENT)
    for options in (["--fanfold-record"], []):
        done = pytest_on(tmp_path, *options, forbidden=True)
        assert done.returncode == 0, done.stdout
        assert "2 passed" in done.stdout


FAILING = """
import os
import unittest

import pytest

from fanfold import Session, prompt

TEXT = os.environ.get("TEXT", "good")

def ask(journal):
    with Session("fake:", journal=journal):
        assert prompt("Say {input}").run_sync(TEXT).output

@pytest.fixture
def asked(fanfold_replay):
    ask(fanfold_replay)
    assert TEXT == "good"

def test_fails_afterwards(fanfold_replay):
    ask(fanfold_replay)
    assert TEXT == "good"

def test_fails_in_its_setup(asked):
    pass

def test_is_skipped_midway(fanfold_replay):
    ask(fanfold_replay)
    if TEXT != "good":
        pytest.skip("not today")

def test_fails_in_a_subtest(fanfold_replay, subtests):
    with subtests.test("first"):
        ask(fanfold_replay)
        assert TEXT == "good"

class TestOfUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def replayed(self, fanfold_replay):
        self.journal = fanfold_replay

    def test_fails_in_a_subtest(self):
        with self.subTest("first"):
            ask(self.journal)
            assert TEXT == "good"

@pytest.mark.xfail(strict=True)
def test_is_expected_to_fail(fanfold_replay):
    ask(fanfold_replay)
    assert TEXT != "good"
"""

SKIPPED = """
import os
import pytest
from fanfold import Session, prompt

def test_skips_a_subtest(fanfold_replay, subtests):
    with subtests.test("first"):
        pytest.skip("not today")
    with Session("fake:", journal=fanfold_replay):
        assert prompt("Say {input}").run_sync(os.environ["TEXT"]).output
"""


def test_a_test_that_fails_leaves_its_recording_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good recording is not replaced by what was asked before a test failed, and the report says so.

    It was: a model that was away for a moment, or an assertion, cost the recording of a test that had passed.
    """
    (tmp_path / "test_failing.py").write_text(FAILING)
    done = pytest_on(tmp_path, "--fanfold-record")
    assert "5 passed, 1 xfailed" in done.stdout, done.stdout
    good = {path.name: path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    assert len(good) == 6
    monkeypatch.setenv("TEXT", "bad")
    failed = pytest_on(tmp_path, "--fanfold-record")
    assert failed.returncode == 1
    assert failed.stdout.count("the recording was left as it was") >= 4
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.jsonl")} == good
    monkeypatch.delenv("TEXT")
    again = pytest_on(tmp_path, forbidden=True)
    assert "5 passed, 1 xfailed" in again.stdout, again.stdout


def test_a_test_that_skips_itself_has_its_first_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is skipped here, too, is skipped where it is replayed: there it failed, for want of a recording."""
    (tmp_path / "test_failing.py").write_text(FAILING)
    monkeypatch.setenv("TEXT", "bad")
    for option in (["--fanfold-record"], []):
        done = pytest_on(tmp_path, *option, "-k", "skipped", forbidden=not option)
        assert "1 skipped" in done.stdout, done.stdout


def test_a_test_that_skips_a_subtest_is_recorded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes, and so writes its recording: it kept the one it had, which was that of another question."""
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    for text in ("one", "two"):
        monkeypatch.setenv("TEXT", text)
        for option in (["--fanfold-record"], []):
            done = pytest_on(tmp_path, *option, forbidden=not option)
            assert done.returncode == 0, done.stdout


DESCRIBED = """
import pytest

class Described(pytest.Collector):
    def collect(self):
        yield pytest.Function.from_parent(self, name="test_text", callobj=lambda fanfold_replay: None)

def pytest_pycollect_makeitem(collector, name, obj):
    if name.startswith("describe_"):
        return Described.from_parent(collector, name=name)
"""


def test_tests_in_groups_of_another_plugin_have_recordings_of_their_own(tmp_path: Path) -> None:
    """Whatever stands between a file and a test is a part of its name: two tests in two groups had one recording."""
    (tmp_path / "conftest.py").write_text(DESCRIBED)
    (tmp_path / "test_described.py").write_text("def describe_a(): pass\n\ndef describe_b(): pass\n")
    done = pytest_on(tmp_path, "--fanfold-record")
    assert "2 passed" in done.stdout, done.stdout
    names = {path.name for path in tmp_path.rglob("*.jsonl")}
    assert names == {"describe_a-test_text.jsonl", "describe_b-test_text.jsonl"}


GROUPED = """
import pytest

from fanfold import Session, prompt

@pytest.mark.xdist_group("one")
class TestGrouped:
    @pytest.mark.parametrize("text", ["a", "b"])
    def test_text(self, text, fanfold_replay):
        with Session("fake:", journal=fanfold_replay):
            assert prompt("Say {input}").run_sync(text).output
"""


def test_a_recording_is_found_in_whatever_process_a_test_runs(tmp_path: Path) -> None:
    """Tests sent to other processes by groups, whose ids then end with the group's name, have the same recordings."""
    (tmp_path / "test_grouped.py").write_text(GROUPED)
    done = pytest_on(tmp_path, "--fanfold-record", "-p", "xdist")
    assert done.returncode == 0, done.stdout
    names = {path.name for path in tmp_path.rglob("*.jsonl")}
    assert names == {"TestGrouped-test_text-a.jsonl", "TestGrouped-test_text-b.jsonl"}
    again = pytest_on(tmp_path, "-n", "1", "--dist", "loadgroup", "-p", "xdist")
    assert again.returncode == 0, again.stdout
    assert "2 passed" in again.stdout


NEARBY = """
import socket

import pytest

@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1"])
def test_nearby(host, fanfold_replay):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect((host, server.getsockname()[1]))

    assert socket.getaddrinfo(host, 80)

@pytest.mark.parametrize("host", ["example.com", "192.0.2.1"])
def test_far(host, fanfold_replay):
    with socket.socket() as client, pytest.raises(ConnectionRefusedError, match="a replayed test may not reach"):
        client.connect((host, 80))
    with socket.socket(type=socket.SOCK_DGRAM) as client, pytest.raises(ConnectionRefusedError, match=host):
        client.sendto(b"text", (host, 53))
    with pytest.raises(ConnectionRefusedError, match=host):
        socket.create_connection((host, 80))
    with pytest.raises(ConnectionRefusedError, match=host):
        socket.gethostbyname(host)
"""


def test_a_replayed_test_reaches_this_machine_only(tmp_path: Path) -> None:
    """By name as by number: a server beside the test is reached, and no other host; nor is its name looked up."""
    (tmp_path / "test_hosts.py").write_text(NEARBY)
    folder = tmp_path / "recordings" / "test_hosts"
    folder.mkdir(parents=True)
    for name in ("nearby-localhost", "nearby-LOCALHOST", "nearby-127.0.0.1", "far-example.com", "far-192.0.2.1"):
        shutil.copy(next(EXAMPLE.rglob("*.jsonl")), folder / f"test_{name}.jsonl")
    done = pytest_on(tmp_path)
    assert done.returncode == 0, done.stdout


TELLING = """    assert run.calls
    with open("told.txt", "a") as told:
        told.write(document(run))
"""


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_example_passes_twenty_times(tmp_path: Path) -> None:
    """Twenty runs of the whole suite, sockets forbidden, one, 8 or 64 calls at once: all pass, with the same runs."""
    folder = copied(tmp_path)
    suite, told = folder / "test_inbox.py", folder / "told.txt"
    root = Path(__file__).parents[2]
    text = f"import sys\nsys.path.append({str(root)!r})\nfrom tests.journal.patterns import document\n"
    text += suite.read_text().replace("    assert run.calls\n", TELLING)
    runs = set()
    for again in range(20):
        suite.write_text(text.replace("at_once: int = 64", f"at_once: int = {(1, 8, 64)[again % 3]}"))
        done = pytest_on(folder, forbidden=True)
        assert done.returncode == 0, done.stdout
        runs.add(told.read_text())
        told.unlink()
    assert len(runs) == 1
    assert runs.pop().count("'run.ended'") == 3
