"""`fanfold demo`: the passes as they run, the table, one vote in full, one sectioned review."""

import re
import signal

import pytest

from fanfold.cli import measuring
from tests.cli.calling import fanfold


def test_json() -> None:
    """With `--json` it is one document with the rows, the gains, the example and what is made up."""
    done = fanfold("demo", "--quick", "--speed", "200", "--json")
    assert (done.code, done.err) == (0, "")
    said = done.document
    assert said["latency_factor"] == 200
    assert said["questions"] == said["panel_questions"] == said["same_winners"] == 15
    assert [row["title"] for row in said["rows"]] == [
        measuring.VOTER,
        "vote of 5",
        "vote of 3 to 5",
        *measuring.PANEL,
        "panel of 5",
    ]
    assert [gain["against"] for gain in said["gains"]] == [measuring.VOTER, measuring.VOTER, *measuring.PANEL]
    assert said["example"]["vote"]["ballots"]
    assert said["review"]["made_up"] is True


def test_main_is_the_demo_without_a_name() -> None:
    """`fanfold demo main` is `fanfold demo`; another name is wrong usage that lists them."""
    done = fanfold("demo", "main", "--quick", "--speed", "200", "--json")
    assert (done.code, done.document["review"]["made_up"]) == (0, True)
    wrong = fanfold("demo", "jurors")
    assert (wrong.code, wrong.out) == (2, "")
    for name in ("main", "panel", "refusals", "jury"):
        assert name in wrong.told


def test_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As plain lines: each pass, then everything that was found, in lines that fit where they are read."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("fanfold.cli.demo.QUICK", 30)
    done = fanfold("demo", "--quick", "--speed", "200")
    assert (done.code, done.err) == (0, "")
    passes = re.findall(r"^(.*): 5 of 5 questions, [\d.]+% right, \d+ calls sent, \d+ saved$", done.out, re.MULTILINE)
    assert passes == ["vote of 5", "vote of 3 to 5", "all 5 heard", "panel of 5", "panel, all heard"]
    for words in (
        "latencies divided by 200",
        "Measured in this run",
        "One model, 5 questions",
        "5 models, 5 questions",
        "More often right than one call",
        "Every 30th of the recorded questions",
        "winner of the full pass in 5 of 5 votes",
        "Nothing was paid",
        "One vote in full",
        "winner: ",
        "by the made-up model: its words mean nothing",
        "[made up]",
        "All of it took ",
    ):
        assert words in " ".join(done.out.split()), words
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80


def test_ctrl_c_says_how_far_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted, it names the passes so far."""

    def interrupt(self: object, progress: measuring.Progress) -> None:
        self.seen.append(progress)
        if progress.done == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("fanfold.cli.demo._Passes.tell", interrupt)
    done = fanfold("demo", "--quick", "--speed", "200", "--json")
    assert (done.code, done.out) == (130, "")
    assert re.match(r"fanfold: interrupted; nothing was paid. vote of 5: \d+ of 15 questions, ", done.told)


def test_a_wrong_speed() -> None:
    """A factor that cannot be is one line."""
    done = fanfold("demo", "--speed", "0")
    assert (done.code, done.out) == (2, "")
    assert "speed=0" in done.told
