"""`fanfold run`: a step that a Python file defines."""

import json
import time
from pathlib import Path

import pytest

from tests.cli.calling import fanfold, file, finish, process

FAKE = 'model = FakeModel(["spam", "ham", "spam"])\n'


def test_the_only_step(tmp_path: Path) -> None:
    """A file with one step needs no name."""
    steps = file(tmp_path, FAKE + 'spam = vote(prompt("{input}", returns=Literal["spam", "ham"], model=model), 3)')
    done = fanfold("run", steps, "Cheap pills!")
    assert (done.code, done.out) == (0, "spam\n")
    assert "spam 2, ham 1" in done.err


def test_a_step_by_its_name(tmp_path: Path) -> None:
    """FILE:NAME says which."""
    steps = file(tmp_path, "@step\ndef up(text): return text.upper()\n@step\ndef down(text): return text.lower()")
    assert fanfold("run", f"{steps}:up", "Hi").out == "HI\n"
    assert fanfold("run", f"{steps}:down", "Hi").out == "hi\n"


def test_main_is_the_default(tmp_path: Path) -> None:
    """Of several steps the one called main is meant."""
    steps = file(tmp_path, "@step\ndef up(text): return text.upper()\nmain = up | str.swapcase")
    assert fanfold("run", steps, "Hi").out == "hi\n"


def test_the_model_of_the_options_is_the_default(tmp_path: Path) -> None:
    """Prompts that name no model ask the one of `--model`."""
    steps = file(tmp_path, 'ask = prompt("{input}")')
    said = fanfold("run", steps, "Hi", "--model", "fake:me", "--json").document
    assert [call["model"] for call in said["calls"]] == ["fake:me"]


def test_values_are_printed_as_people_read_them(tmp_path: Path) -> None:
    """A list of texts is lines, a structure is JSON, and what JSON cannot say is its text."""
    text = """
@step
def lines(text): return ["a", "b"]
@step
def structure(text): return {"a": [1, None]}
@step
def odd(text):
    around = []
    around.append(around)
    return around
@step
def half(text): return "\\ud800"
"""
    steps = file(tmp_path, text)
    assert fanfold("run", f"{steps}:lines", "x").out == "- a\n- b\n"
    assert json.loads(fanfold("run", f"{steps}:structure", "x").out) == {"a": [1, None]}
    assert fanfold("run", f"{steps}:odd", "x").out == "[[...]]\n"
    assert fanfold("run", f"{steps}:odd", "x", "--json").document["output"] == "[[...]]"
    assert fanfold("run", f"{steps}:half", "x").out == "\\ud800\n"
    assert fanfold("run", f"{steps}:half", "x", "--json").document["output"] == "\\ud800"


def test_a_json_input(tmp_path: Path) -> None:
    """With `--input-json` the step gets what the JSON holds."""
    steps = file(tmp_path, "@step\ndef add(numbers): return sum(numbers)")
    assert fanfold("run", steps, "[1, 2, 3]", "--input-json").out == "6\n"


def test_what_the_file_prints_is_not_the_answer(tmp_path: Path) -> None:
    """Prints of the file and of its steps go beside the answer, so that standard output is the answer alone."""
    steps = file(tmp_path, 'print("loading")\n@step\ndef up(text):\n    print("working")\n    return text.upper()')
    done = fanfold("run", steps, "Hi")
    assert done.out == "HI\n"
    assert "loading\n" in done.err
    assert "working\n" in done.err
    assert fanfold("run", steps, "Hi", "--json").document["output"] == "HI"


def test_a_file_finds_its_neighbours(tmp_path: Path) -> None:
    """A file imports what stands beside it, as under `python FILE`."""
    (tmp_path / "a_neighbour_of_it.py").write_text("WORD = 'from next door'")
    steps = file(tmp_path, "from a_neighbour_of_it import WORD\n@step\ndef say(text): return WORD")
    assert fanfold("run", steps, "x").out == "from next door\n"


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    """A file called like a package (even this one) shadows nothing."""
    steps = file(tmp_path, "@step\ndef up(text): return text.upper()", "fanfold.py")
    assert fanfold("run", steps, "Hi").out == "HI\n"


def test_a_dataclass_in_the_file(tmp_path: Path) -> None:
    """A file's own classes work as types of answers."""
    text = """
from __future__ import annotations
from dataclasses import dataclass
from fanfold import prompt
from fanfold.testing import FakeModel
@dataclass
class Found:
    names: list[str]
find = prompt("{input}", returns=Found, model=FakeModel(['{"names": ["Ann"]}']))
"""
    (tmp_path / "found.py").write_text(text)
    done = fanfold("run", str(tmp_path / "found.py"), "x")
    assert json.loads(done.out) == {"names": ["Ann"]}


def test_an_exception_of_a_step_is_one_line(tmp_path: Path) -> None:
    """A step's own error is told with the place it was raised at, and no traceback; what was paid is said."""
    text = 'ask = prompt("{input}", model=FakeModel(["42"]))\n@step\nasync def main(text):\n    await ask(text)\n'
    steps = file(tmp_path, text + '    raise KeyError("no such\\nrow")')
    done = fanfold("run", steps, "x")
    assert done.code == 1
    assert "fanfold: KeyError: 'no such\\nrow' (steps.py:8)\n" in done.err
    assert "until then: 1 of 1 calls answered" in done.err
    assert "Traceback" not in done.err


def test_the_time_given_is_for_the_whole_run(tmp_path: Path) -> None:
    """At the end of `--timeout` the run fails, with what was finished."""
    text = """
main = sections({
    "quick": prompt("{input}", model=FakeModel(["done"])),
    "slow": prompt("{input}", model=FakeModel(latency=30.0)),
})
"""
    done = fanfold("run", file(tmp_path, text), "x", "--timeout", "0.3")
    assert done.code == 1
    assert "fanfold: StepTimeout: the run of 'sections' took longer than its timeout of 0.3 s\n" in done.err
    assert "finished quick: done\n" in done.err
    assert "until then: 1 of 2 calls answered" in done.err


@pytest.mark.timing
def test_a_thread_that_runs_on_does_not_keep_the_command(tmp_path: Path) -> None:
    """A plain function that blocks in a thread cannot be stopped; the command ends all the same."""
    steps = file(tmp_path, "import time\n@step\ndef stuck(text):\n    time.sleep(40)")
    began = time.monotonic()
    done = finish(process("run", steps, "x", "--timeout", "0.2"))
    assert done.code == 1
    assert "fanfold: StepTimeout: " in done.err
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("given", ["Grüße, 世界", "-", "@mail.txt", None])
def test_the_input(given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The input is a text, @FILE, or standard input for - and for nothing; a byte-order mark is no part of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mail.txt").write_text("Grüße, 世界", encoding="utf-8-sig")
    steps = file(tmp_path, "@step\ndef same(text): return text")
    arguments = [] if given is None else [given]
    piped = "Grüße, 世界" if given in {None, "-"} else "not this"
    assert fanfold("run", steps, *arguments, stdin=piped).out == "Grüße, 世界\n"


def test_an_empty_name_of_a_model_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`FANFOLD_MODEL=` names no model, and what is said names the option that does."""
    monkeypatch.setenv("FANFOLD_MODEL", "")
    done = fanfold("run", file(tmp_path, 'main = prompt("{input}")\n'), "x")
    assert done.code == 2
    assert done.told.startswith("fanfold: no model: give model='provider:model' to the prompt or the Session, --model")


GROUP = """
import asyncio
from fanfold import sections, vote
async def wrong(why):
    raise ValueError(why)
@step
async def together(text):
    async with asyncio.TaskGroup() as tasks:
        for why in ("no file", "no room", "no file"):
            tasks.create_task(wrong(why))
both = sections({"a": together})
votes = vote(together, n=1)
"""
WHY = "ExceptionGroup: unhandled errors in a TaskGroup: ValueError: no file; ValueError: no room"


def test_the_errors_in_a_group_are_named(tmp_path: Path) -> None:
    """The bug: "unhandled errors in a TaskGroup (3 sub-exceptions)" was all that one got to know of them."""
    steps = file(tmp_path, GROUP)
    assert fanfold("run", f"{steps}:together", "x").told == f"fanfold: {WHY} (steps.py:11)"
    assert WHY in fanfold("run", f"{steps}:both", "x", "-q").told
    assert WHY in fanfold("run", f"{steps}:votes", "x", "-q").told
    document = fanfold("run", f"{steps}:together", "x", "--json").document
    assert f"ExceptionGroup: {document['error']['message']}" == WHY
    (tmp_path / "rows.csv").write_text("text\na\n")
    out = tmp_path / "out.csv"
    assert WHY in fanfold("map", f"{steps}:together", str(tmp_path / "rows.csv"), "-o", str(out), "-q").told
    fanfold("map", f"{steps}:together", str(tmp_path / "rows.csv"), "-o", str(out), "-q", "--on-error", "skip")
    failed = json.loads((tmp_path / "out.csv.failed.jsonl").read_text())
    assert f"ExceptionGroup: {failed['error']['message']}" == WHY


NOTED = """
from fanfold import sections, vote
@step
async def broken(text):
    error = ValueError("broken")
    error.add_note("see line 3")
    raise error
both = sections({"a": broken})
votes = vote([broken, broken])
"""


def test_the_notes_of_an_error_are_told(tmp_path: Path) -> None:
    """The bug: why a call was not sent again, which its error notes, was in tracebacks only."""
    steps = file(tmp_path, NOTED)
    assert fanfold("run", f"{steps}:broken", "x").told == "fanfold: ValueError: broken (steps.py:10); see line 3"
    (tmp_path / "rows.csv").write_text("text\na\n")
    rows = [str(tmp_path / "rows.csv"), "-o", str(tmp_path / "out.csv")]
    for more in (["run", f"{steps}:both", "x"], ["run", f"{steps}:votes", "x"], ["map", f"{steps}:broken", *rows]):
        assert fanfold(*more, "-q").told.count("see line 3") == 1


def test_the_notes_of_an_error_are_in_documents(tmp_path: Path) -> None:
    """The bug: they were on the terminal only, and neither in the JSON document nor in the file of failed rows."""
    steps = file(tmp_path, NOTED)
    for name in ("broken", "both", "votes"):
        assert fanfold("run", f"{steps}:{name}", "x", "--json").document["error"]["notes"] == ["see line 3"]
    (tmp_path / "rows.csv").write_text("text\na\n")
    out = tmp_path / "out.csv"
    fanfold("map", f"{steps}:both", str(tmp_path / "rows.csv"), "-o", str(out), "--on-error", "skip")
    assert json.loads(Path(f"{out}.failed.jsonl").read_text())["error"]["notes"] == ["see line 3"]
