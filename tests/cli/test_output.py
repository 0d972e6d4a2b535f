"""What is written where: any script, pipes that close early, secrets never."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanfold.errors import StatusError
from fanfold.testing import ModelServer
from tests.cli.calling import fanfold, file, finish, process

SAME = "@step\ndef same(text): return text\n"
GREETING = "Grüße, 世界 🌍"
MARKER = "sk-marker-of-a-secret-key-12345"


def test_unicode_without_a_locale(tmp_path: Path) -> None:
    """Under LANG=C text goes in and out as UTF-8."""
    env = {"LANG": "C", "LC_ALL": "C"}
    started = process("run", file(tmp_path, SAME), env=env, stdin=subprocess.PIPE)
    done = finish(started, GREETING.encode())
    assert (done.code, done.out) == (0, GREETING + "\n")
    assert finish(process("run", file(tmp_path, SAME), GREETING, env=env)).out == GREETING + "\n"


def test_an_output_that_cannot_hold_the_text(tmp_path: Path) -> None:
    """Where the output's encoding lacks a letter it is written as an escape; JSON stays whole."""
    steps = file(tmp_path, SAME)
    assert fanfold("run", steps, "Grüße, 世", encoding="latin-1").out == "Grüße, \\u4e16\n"
    assert fanfold("run", steps, "Grüße", encoding="ascii").out == "Gr\\xfc\\xdfe\n"
    done = finish(process("run", steps, GREETING, "--json", env={"PYTHONIOENCODING": "ascii"}))
    assert json.loads(done.out)["output"] == GREETING


ODD = """
@step
def half(text): return ["one \\ud800", {"two": 2}]
@step
def deep(text):
    held = "x"
    for _ in range(100_000):  # Python 3.13 goes ten times as deep as 3.11
        held = [held]
    return held
@step
def share(text): return {"share": float("nan"), "none": None, "most": [float("inf"), 1.5]}
@step
def lost(text): return float("-inf")
"""


def test_an_output_that_json_cannot_say(tmp_path: Path) -> None:
    """Half of a pair is spelled out, and all around it is as ever; what is too deep is named."""
    steps = file(tmp_path, ODD)
    assert fanfold("run", f"{steps}:half", "x", "--json").document["output"] == ["one \\ud800", {"two": 2}]
    assert fanfold("run", f"{steps}:deep", "x", "--json").document["output"] == "a list too deep to be shown"
    assert fanfold("run", f"{steps}:deep", "x", "-q").out == "a list too deep to be shown\n"


def test_a_number_that_json_has_not(tmp_path: Path) -> None:
    """The bug: NaN and infinities became null, which looks like no value; they are named, as in a table."""
    steps = file(tmp_path, ODD)
    said = {"share": "NaN", "none": None, "most": ["Infinity", 1.5]}
    assert fanfold("run", f"{steps}:share", "x", "--json").document["output"] == said
    assert json.loads(fanfold("run", f"{steps}:share", "x", "-q").out) == said
    assert fanfold("run", f"{steps}:lost", "x", "--json").document["output"] == "-Infinity"


def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    """Output that is closed early, as by `head -1`, ends the command without a traceback."""
    steps = file(tmp_path, '@step\ndef long(text): return "line\\n" * 100_000\n')
    for more in ([], ["--json"]):
        with process("run", steps, "x", *more, env={"PYTHONUNBUFFERED": ""}) as started:
            started.stdout.readline()
            started.stdout.close()
            err = started.stderr.read().decode()
        assert started.returncode == 141
        assert "Traceback" not in err
        assert "Error" not in err


def test_a_reader_of_tables_that_has_gone(tmp_path: Path) -> None:
    """What prints tables ends in the same way."""
    gold = tmp_path / "gold.csv"
    gold.write_text("n,answer\n1,a\n")
    steps = file(tmp_path, '@step\nasync def right(row): return "a"\n')
    with process("compare", f"{steps}:right", "--gold", str(gold), "--answer", "answer") as started:
        started.stdout.close()
        err = started.stderr.read().decode()
    assert (started.returncode, err) == (141, "right: 1 of 1 rows\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("more", [["--json"], ["--quiet"]])
def test_a_disk_that_is_full(tmp_path: Path, more: list[str]) -> None:
    """The answer is lost, and that is said in one line; exit code 1."""
    with Path("/dev/full").open("wb") as full:
        done = finish(process("run", file(tmp_path, SAME), "x", *more, stdout=full))
    assert (done.code, done.told) == (1, "fanfold: the output cannot be written: No space left on device")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("more", [["--json"], ["--quiet"]])
def test_a_disk_that_has_room_for_a_part(tmp_path: Path, more: list[str], unbuffered: str) -> None:
    """The bug: with PYTHONUNBUFFERED, the rest was lost without a word, and the exit code was 0."""
    steps = file(tmp_path, '@step\ndef long(text): return "line\\n" * 100_000\n')
    out = tmp_path / "out"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    command = [sys.executable, "-c", f"{limit}; from fanfold.cli import main; main()", "run", steps, "x", *more]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONDONTWRITEBYTECODE": "1"}
    with out.open("wb") as part:
        done = subprocess.run(command, stdout=part, stderr=subprocess.PIPE, env=env, check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == "fanfold: the output cannot be written: File too large\n"


def test_a_reader_that_has_gone_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in this process."""
    monkeypatch.setattr("fanfold.cli.running._Job.print", _broken)
    done = fanfold("vote", "?", "-n", "1", "--model", "fake:", "x", "--quiet")
    assert (done.code, done.out, done.err) == (141, "", "")


def _broken(*_: object) -> None:
    raise BrokenPipeError


@pytest.mark.parametrize("more", [[], ["--json"], ["--quiet"]])
@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_key_is_in_no_output(status: int, more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is not printed, not even when the server repeats it in what it refuses."""
    refusal = StatusError(f"the key {MARKER} is no good", status=status)
    monkeypatch.setattr("fanfold.calls.condition.STRANGER", 1.0)
    with ModelServer(lambda request: refusal) as server:
        monkeypatch.setenv("OPENAI_API_KEY", MARKER)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        done = fanfold("vote", "?", "-n", "2", "--model", "openai:gpt-4o", "x", *more)
        assert server.seen[0].headers["Authorization"] == f"Bearer {MARKER}"
    assert done.code == 1
    assert str(status) in done.out + done.err
    assert MARKER not in done.out + done.err


def test_a_key_is_not_sent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--base-url` the environment's key stays at home."""
    monkeypatch.setenv("OPENAI_API_KEY", MARKER)
    with ModelServer("fake") as server:
        done = fanfold("vote", "?", "-n", "1", "--model", "openai:m", "--base-url", server.url, "x")
        assert done.code == 0
        assert "Authorization" not in server.seen[0].headers
    assert MARKER not in done.out + done.err


def test_the_module_is_the_command() -> None:
    """`python -m fanfold` and the script are one."""
    script = Path(sys.executable).parent / "fanfold"
    by_script = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=30, check=True)
    assert by_script.stdout == finish(process("--help")).out


ACTING = """
ACT = "red \\x1b[31m\\x07back\\b\\rover\\x9b2J\\tend\\nsecond"
@step
def said(text): return ACT
@step
def wrong(text): raise ValueError(ACT)
broken = sections({"said": said, "wrong": wrong | said})
jury = vote({"a": said, "b": said, "c": wrong})
asked = prompt(ACT + " {input}", model=FakeModel([ACT]))
"""
SHOWN = r"red \x1b[31m\x07back\x08\rover\x9b2J"


@pytest.mark.parametrize(("name", "code", "times"), [("broken", 1, 2), ("jury", 0, 2), ("wrong", 1, 1)])
def test_what_a_model_writes_does_nothing_to_the_terminal(tmp_path: Path, name: str, code: int, times: int) -> None:
    """Control characters of answers and errors are shown beside the answer, and do nothing; the answer is as it was."""
    done = fanfold("run", f"{file(tmp_path, ACTING)}:{name}", "x")
    assert (done.code, done.err.count(r"\x1b[31m")) == (code, times), done.err
    assert not set(done.err) & set("\x1b\x07\b\r\x9b")
    assert done.out.count("\x1b[31m") == (name == "jury")


def test_a_journal_is_shown_without_doing_anything_to_the_terminal(tmp_path: Path) -> None:
    """What was asked and answered, too, is spelled out where people read it."""
    journal = str(tmp_path / "runs.db")
    assert fanfold("run", f"{file(tmp_path, ACTING)}:asked", "x", "--journal", journal).code == 0
    shown = fanfold("show", "1", "--journal", journal).out
    assert shown.count(SHOWN) == 2
    assert "\x1b" not in shown


def test_compared_answers_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    """Nor do those of steps that are compared."""
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"n": "\\u001b[5m", "answer": "red"}\n')
    steps = file(tmp_path, ACTING + '@step\ndef red(row): return "red"\n')
    named = [f"{steps}:{name}" for name in ("red", "said", "wrong")]
    done = fanfold("compare", *named, "--gold", str(gold), "--answer", "answer", "--show", "1")
    assert r"\x1b[31m" in done.out
    assert not set(done.out + done.err) & set("\x1b\x07\b\r\x9b")


@pytest.mark.parametrize(
    ("closed", "code", "out"), [("2>&-", 0, "hello\n"), (">&-", 0, ""), (">&- 2>&-", 0, ""), ("<&-", 0, "hello\n")]
)
def test_closed_streams(tmp_path: Path, closed: str, code: int, out: str) -> None:
    """A run whose streams are closed, as a daemon's may be, is done all the same: it is paid before it speaks."""
    command = [sys.executable, "-m", "fanfold", "run", file(tmp_path, SAME), "hello"]
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (code, out)
    assert b"Traceback" not in done.stderr


def test_a_closed_standard_input(tmp_path: Path) -> None:
    """There is no input then, also where - asks for it."""
    command = [sys.executable, "-m", "fanfold", "run", file(tmp_path, SAME), "-"]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"fanfold: no input: ")
