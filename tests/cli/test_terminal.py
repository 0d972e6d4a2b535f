"""On a terminal: a live screen that shows the run, and a cursor that comes back."""

import codecs
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from fanfold.testing import ModelServer
from tests.cli.calling import file
from tests.data.tables import numbered

VOTE = """
answers = ["spam", "ham", "spam", "spam", "ham"]
model = FakeModel(answers, latency=lambda request: 0.3 if request.draw.ordinal < 4 else 30.0)
main = vote(prompt("{input}", returns=Literal["spam", "ham"], model=model), 5)
"""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A command that runs at a pseudo-terminal of its own."""

    def __init__(self, *arguments: str, lines: int = 24, columns: int = 100) -> None:
        leader, follower = os.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        env = {**os.environ, "TERM": "xterm"}
        for name in ("COLUMNS", "LINES"):  # they would count for more than the terminal's own size
            env.pop(name, None)
        self.started = subprocess.Popen(
            [sys.executable, "-m", "fanfold", *arguments], stdin=follower, stdout=follower, stderr=follower, env=env
        )
        os.close(follower)
        self.leader = leader
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.raw = ""

    def until(self, word: str) -> None:
        """Read until this word has been on the screen."""
        self.until_matches(re.escape(word))

    def until_matches(self, pattern: str) -> None:
        """Read until something like this has been on the screen."""
        until = time.monotonic() + 25
        while not re.search(pattern, self.text):
            assert time.monotonic() < until, self.text
            self._read()

    def end(self) -> int:
        """Read to the end; gives the exit code."""
        while self._read():
            pass
        os.close(self.leader)
        return self.started.wait(10)

    @property
    def text(self) -> str:
        """All that was written, without what moves the cursor."""
        return ESCAPES.sub("", self.raw)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.leader], [], [], 1.0)
        if not ready:
            return True
        try:
            data = os.read(self.leader, 65536)
        except OSError:  # Linux: the other end has been closed
            return False
        self.raw += self.decoder.decode(data)
        return bool(data)


def test_a_vote_is_shown_as_it_goes(tmp_path: Path) -> None:
    """Branches, states, tally, tokens, cost and time are on the screen; then come the answer and the cursor."""
    screen = Screen("run", file(tmp_path, VOTE), "hello")
    screen.until("running")
    assert screen.end() == 0
    for word in ("branch", "state", "seconds", "tokens", "answer", "done", "cancelled"):
        assert word in screen.text
    assert "tally: spam 3, ham 1 · calls: 1 cancelled, 4 ok" in screen.text
    assert re.search(r"made up · \d\.\d s", screen.text)
    assert screen.text.index("tally") < screen.text.index("\r\nspam\r\nspam 3, ham 1; decided after 4 of 5")
    assert HIDE in screen.raw
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)


@pytest.mark.timing
def test_ctrl_c_gives_the_cursor_back(tmp_path: Path) -> None:
    """After Ctrl-C the screen is left as it should be, and the cursor is there."""
    screen = Screen("run", file(tmp_path, VOTE.replace("0.3 if", "0.1 if").replace("< 4", "< 2")), "hello")
    screen.until("tally: spam 1, ham 1")
    began = time.monotonic()
    screen.started.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert time.monotonic() - began < 1
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)
    assert "fanfold: interrupted\r\nfinished 0: spam\r\nfinished 1: ham\r\nuntil then: 2 of 5 calls" in screen.text


MAP = """
from fanfold.models.prices import FlatRate

class Priced(FakeModel):
    made_up = False

model = Priced(["word"], latency=0.2)
model.given_rate = FlatRate(1.0, 4.0)
main = prompt("A word for {text}.", model=model)
"""


@pytest.mark.timing
def test_a_map_at_a_terminal(tmp_path: Path) -> None:
    """A table's rows, rate, time left, cost and calls, in lines of 80 columns; Ctrl-C leaves a clean terminal."""
    source, out = numbered(tmp_path / "in.jsonl", 2_000), tmp_path / "out.jsonl"
    screen = Screen("map", file(tmp_path, MAP), str(source), "-o", str(out), "--max-in-flight", "8", columns=80)
    screen.until("8 of 8 calls in flight")
    screen.until_matches(r"[1-9]\d* of (about )?[\d,]+ \(\d+%\) rows")
    screen.until_matches(r"[1-9][\d.]* rows/s, \d+ (min|s)[\d s]* left")
    screen.until_matches(r"cost \$0\.\d*[1-9]\d*, about \$0\.\d\d for all")
    began = time.monotonic()
    screen.started.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert time.monotonic() - began < 2
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", screen.text[: screen.text.index("fanfold: ")]))
    assert HIDE in screen.raw
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)
    assert "\x1b[?1049" not in screen.raw  # no screen of its own, whose end would take what was said with it
    assert re.search(r"fanfold: interrupted\r\n[\d,]+ rows are kept in .*; the same command goes on", screen.text)
    assert screen.raw.rindex("fanfold: interrupted") > screen.raw.rindex("\x1b[2K")  # the last redraw is wiped


@pytest.mark.parametrize("more", ["--json", "--quiet"])
def test_no_screen_where_none_is_wanted(more: str) -> None:
    """With `--json` or `--quiet` nothing moves the cursor."""
    screen = Screen("vote", "?", "hello", "--model", "fake:", more)
    assert screen.end() == 0
    assert "\x1b" not in screen.raw


def test_many_branches_fit_the_screen(tmp_path: Path) -> None:
    """Of more branches than the screen has lines the rest is counted, and no line of the table wraps."""
    text = """
model = FakeModel(["a long answer " * 20], latency=0.3)
main = sections({f"a branch with a name that is rather long {at}": prompt("{input}", model=model) for at in range(40)})
"""
    screen = Screen("run", file(tmp_path, text), "hello", "--max-in-flight", "20", lines=16)
    screen.until("32 more: ")
    assert screen.end() == 0
    table = [line for line in screen.text.splitlines() if line.startswith("│")]
    assert table
    assert all(len(line) <= 100 for line in table)
    assert all(re.match(r"│ a branch with a n", line) for line in table)


@pytest.mark.long
def test_the_demo_is_shown_as_it_goes() -> None:
    """The passes fill a live table, and the findings follow."""
    screen = Screen("demo", "--quick", "--speed", "200")
    screen.until("calls saved")
    assert screen.end() == 0
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)
    assert "15/15" in screen.text
    assert "Measured in this run" in screen.text


def test_a_failing_run(tmp_path: Path, slow: ModelServer) -> None:
    """A run that fails leaves the screen, then says why."""
    steps = file(tmp_path, 'main = sections({"a": prompt("{input}")})')
    screen = Screen("run", steps, "x", "--model", "openai:m", "--base-url", slow.url, "--timeout", "0.3")
    assert screen.end() == 1
    assert screen.text.rindex("fanfold: StepTimeout: ") > screen.text.rindex("└")
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)


def test_an_answer_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    """What a model was led to write is shown on a terminal; other letters, ends of lines and tabs stay as they are."""
    steps = file(tmp_path, '@step\ndef said(text): return "a\\x1b]0;title\\x07\\x1b[2J\\tb\\n\\u3000Ü\\u200d"\n')
    screen = Screen("run", steps, "x", "-q")
    assert screen.end() == 0
    assert screen.raw == "a\\x1b]0;title\\x07\\x1b[2J\tb\r\n\u3000Ü\u200d\r\n"
