"""How the command ends, piece by piece."""

import threading
import time
from pathlib import Path
from types import FunctionType

import pytest

from fanfold import cli
from fanfold.cli import ending, main, reports
from fanfold.cli.places import raised_at
from fanfold.errors import BranchError, FanfoldError, ModelError, QuorumError
from tests.cli.calling import fanfold, file


def test_one_line_whatever_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What is said is one line."""
    ending.say("  two\n\tlines\r\n")
    assert capsys.readouterr().err == "fanfold: two lines\n"


def test_threads_do_not_outlive_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's thread that runs on ends with the process, at once; one that is about to end is waited for."""
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    go = threading.Event()
    threads = ending.StepThreads()
    stuck, waiting = threads.submit(go.wait), [threads.submit(go.wait) for _ in range(100)]
    began = time.monotonic()
    threads.shutdown(wait=True)
    with pytest.raises(SystemExit):
        ending.leave(3)
    assert time.monotonic() - began < 1
    assert left == [3]
    assert any(one.cancelled() for one in waiting), "what had not begun does not begin"
    go.set()
    stuck.result(5)
    left.clear()
    with pytest.raises(SystemExit) as ended:
        ending.leave(4)
    assert (ended.value.code, left) == (4, [])


def test_ctrl_c_while_it_waits_for_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C then ends the process at once, too: Python itself would wait for the thread."""
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    go = threading.Event()
    stuck = ending.StepThreads().submit(go.wait)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(SystemExit):
            ending.leave(130)
    assert left == [130]
    go.set()
    stuck.result(5)


def test_ctrl_c_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the command is there, Ctrl-C is as quiet."""

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("fanfold.cli.entry.command", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nobody's mistake but ours keeps its traceback."""
    monkeypatch.setattr("sys.argv", ["fanfold", "models"])
    monkeypatch.setattr("fanfold.cli.finding.show_models", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()


def test_the_cause_comes_first() -> None:
    """The reason of a failure is that of its innermost cause, without what only a program could use."""
    wrong = ModelError("no key")
    assert reports.reason(BranchError("a", BranchError("b", wrong, {}), {})) == "no key"
    lost = BranchError("a", BranchError("b", OSError("no luck"), {}), {})
    assert reports.reason(lost) == (
        "branch 'a' failed: branch 'b' failed: OSError: no luck (no place known) (on_error skip would go on without it)"
    )
    assert reports.reason(QuorumError("1 of 3: …", missing={"a": "x", "b": "x"})) == "QuorumError: 1 of 3: 2 × x"
    assert reports.reason(QuorumError("1 of 3: …", missing={"a": "x", "b": "y"})) == "QuorumError: 1 of 3: a: x; b: y"
    lost = QuorumError("0 of 2 ballots are valid (2 failed); a: x (…)", missing={"a": "x", "b": "x"})
    assert reports.reason(lost) == "QuorumError: 0 of 2 ballots are valid (2 failed): 2 × x"
    assert reports.reason(QuorumError("2 of 3: 1 repeated another")) == "QuorumError: 2 of 3: 1 repeated another"
    assert reports.reason(FanfoldError("as it is")) == "FanfoldError: as it is"
    assert reports.reason(KeyboardInterrupt()) == "interrupted"
    assert reports.reason(OSError("no luck")) == "OSError: no luck (no place known)"


ERRORS = """
import asyncio, json
@step
def read(text): return json.loads(text)
@step
async def gone(text):
    await prompt("{input}", model=FakeModel(["answer"]))(text)
    task = asyncio.create_task(asyncio.sleep(9))
    task.cancel()
    await task
"""


def test_an_error_names_the_line_of_the_user(tmp_path: Path) -> None:
    """An error that comes up in a library is told with the line that called it: few know what decoder.py:355 is."""
    done = fanfold("run", f"{file(tmp_path, ERRORS)}:read", "x")
    assert (done.code, done.told) == (
        1,
        "fanfold: JSONDecodeError: Expecting value: line 1 column 1 (char 0) (steps.py:7)",
    )


def test_a_file_beside_the_library_is_the_users() -> None:
    """Whose name begins as its folder's does."""
    beside = f"{Path(cli.__file__).parents[1]}_app.py"
    with pytest.raises(ValueError, match="Expecting value") as raised:
        FunctionType(compile("import json\njson.loads('')", beside, "exec"), {})()
    assert raised_at(raised.value) == "fanfold_app.py:2"


def test_a_step_that_cancels_itself_is_told(tmp_path: Path) -> None:
    """Awaiting a task that was cancelled fails the run as any error does: with what was paid, and no traceback."""
    done = fanfold("run", f"{file(tmp_path, ERRORS)}:gone", "x")
    assert (done.code, done.out) == (1, "")
    _, why, finished, spent = done.err.splitlines()
    assert finished == "finished prompt: answer"
    assert why == "fanfold: CancelledError (steps.py:13)"
    assert spent.startswith("until then: 1 of 1 calls answered")
