"""`--timeline PATH`: the picture of a run, of one that failed or was interrupted, too."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import fanfold, file

FAKE = ["--model", "fake:", "--quiet"]

MIXED = """
main = sections({
    "quick": prompt("{input}", model=FakeModel(["all done"])),
    "slow": prompt("{input}", model=FakeModel(latency=SLOW)),
})
"""

KILL = """
import os, signal
def kill(request):
    os.kill(os.getpid(), signal.SIGINT)
    return 30.0
"""


def data(path: Path) -> Any:
    """What a page shows."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize(
    "arguments",
    [
        ["vote", "Spam?", "x", "-n", "3"],
        ["sections", "x", "--section", "tone=Tone: {input}", "--section", "facts=Facts: {input}", "--merge", "{parts}"],
        ["run", "STEPS", "x"],
    ],
    ids=["vote", "sections", "run"],
)
def test_it_is_written_beside_the_answer(arguments: list[str], tmp_path: Path) -> None:
    """The output is what it is without the option, and the page shows the run's three calls."""
    steps = file(tmp_path, 'main = vote(prompt("{input}"), n=3)')
    given = [steps if one == "STEPS" else one for one in arguments]
    page = tmp_path / "out.html"
    done = fanfold(*given, *FAKE, "--timeline", str(page))
    assert (done.code, done.err) == (0, "")
    assert done.out == fanfold(*given, *FAKE).out
    assert [bar["state"] for bar in data(page)["bars"]] == ["ok"] * 3


def test_a_trace_is_written_by_its_suffix(tmp_path: Path) -> None:
    """PATH in .json gets the trace; standard output stays the one document of `--json`."""
    trace = tmp_path / "out.json"
    done = fanfold("vote", "Spam?", "x", "--model", "fake:", "--json", "--timeline", str(trace))
    assert len(done.document["calls"]) == 5
    assert sum(event.get("cat") == "call" for event in json.loads(trace.read_text("utf-8"))["traceEvents"]) == 5


def test_a_failed_run_is_drawn(tmp_path: Path) -> None:
    """At the end of `--timeout` the page shows what was finished, and what was cut off."""
    page = tmp_path / "out.html"
    steps = file(tmp_path, MIXED.replace("SLOW", "30.0"))
    done = fanfold("run", steps, "x", "--timeout", "0.2", "--timeline", str(page))
    assert done.code == 1
    assert "StepTimeout" in done.err
    found = data(page)
    assert (found["state"], found["error"]) == ("error", "StepTimeout")
    assert sorted(bar["state"] for bar in found["bars"]) == ["cancelled", "ok"]


def test_an_interrupted_run_is_drawn(tmp_path: Path) -> None:
    """Ctrl-C leaves the page of what was under way."""
    page = tmp_path / "out.html"
    steps = file(tmp_path, KILL + MIXED.replace("SLOW", "kill"))
    done = fanfold("run", steps, "x", "--timeline", str(page))
    assert done.code == 130
    assert "fanfold: interrupted\nfinished quick: all done\n" in done.err
    found = data(page)
    assert (found["state"], len(found["bars"])) == ("cancelled", 2)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("out.svg", "end it in .html for a page"),
        ("no/out.html", "there is no folder"),
        ("folder.html", "this is a folder"),
    ],
)
@pytest.mark.parametrize("command", [["vote", "Spam?", "x", *FAKE], ["demo", "--quick"]], ids=["vote", "demo"])
def test_a_path_that_cannot_be_is_said_before_the_run(command: list[str], path: str, said: str, tmp_path: Path) -> None:
    """Where no timeline could be written, nothing is asked of a model first."""
    (tmp_path / "folder.html").mkdir()
    done = fanfold(*command, "--timeline", str(tmp_path / path))
    assert (done.code, done.out) == (2, "")
    assert said in done.told


def test_an_answer_is_printed_though_the_page_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes the picture and not the answer; the exit code says that something is missing."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = fanfold("vote", "Spam?", "x", *FAKE, "--timeline", str(tmp_path / "out.html"))
    assert done.code == 1
    assert done.out
    assert done.told == "fanfold: the timeline could not be written: [Errno 28] No space left on device"


def test_only_the_main_demo_has_an_example(tmp_path: Path) -> None:
    """A demo that shows no run says so, before it measures anything."""
    done = fanfold("demo", "jury", "--timeline", str(tmp_path / "out.html"))
    assert (done.code, done.out) == (2, "")
    assert "the example of the main demo; jury shows none" in done.told


@pytest.mark.long
def test_the_demo_draws_its_example(tmp_path: Path) -> None:
    """The demo's page is the vote that it shows: five voters over HTTP, cut off when it is decided."""
    page = tmp_path / "out.html"
    done = fanfold("demo", "--quick", "--speed", "100", "--json", "--timeline", str(page))
    assert done.code == 0
    found = data(page)
    assert found["kind"] == "vote"
    assert found["rows"][0]["fans"][0]["why"] in {"enough", "all"}
    assert len(found["bars"]) == 5
