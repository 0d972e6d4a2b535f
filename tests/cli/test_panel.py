"""`fanfold demo panel`: nine models alone and as panels, against a count from the recordings."""

import asyncio
import re

import pytest

from fanfold.cli import figures, measuring, panel
from fanfold.models import recordings
from fanfold.testing import ModelServer
from tests.cli.calling import fanfold

EVERY = 10
ASKED = recordings.recordings("panel")[::EVERY]


@pytest.fixture(scope="module")
def passes() -> panel.PanelPasses:
    """One run of every tenth question, at two hundred times the recorded speed."""

    async def run() -> panel.PanelPasses:
        async with ModelServer("recorded", latency="recorded", speed=200.0) as server:
            return await panel.run_panels(server.url, lambda progress: None, EVERY)

    return asyncio.run(run())


def test_the_members_are_all_recorded_models() -> None:
    """The panel of five comes first, then the others; none is left out."""
    assert panel.members()[:5] == measuring.PANEL
    assert sorted(panel.members()) == sorted(recordings.models())
    assert all(name in recording.samples for recording in ASKED for name in panel.members())


def test_single_models_are_what_the_recordings_say(passes: panel.PanelPasses) -> None:
    """Each member's accuracy is the share of its recorded letters that are right, where its text has the form."""
    rows = {row.title: row for row in panel.panel_rows(passes)}
    for name in panel.members():
        letters = [recording.samples[name][0] for recording in ASKED]
        right = [sample.letter == one.gold for sample, one in zip(letters, ASKED, strict=True)]
        unclear = sum(not re.search(r'Answer\("\w"\)', sample.text) for sample in letters) / len(ASKED)
        assert rows[name].accuracy == pytest.approx(sum(right) / len(right), abs=unclear + 1e-9)
        assert rows[name].sent == len(ASKED)


def test_panels_ask_every_member_once(passes: panel.PanelPasses) -> None:
    """Five and nine calls a question, sent or spared; with all heard, nine are sent."""
    five, nine, heard = (figures.vote_row(one, "") for one in (passes.five, passes.all_of_them, passes.heard))
    assert five.sent + five.unsent == 5 * len(ASKED)
    assert nine.sent + nine.unsent == 9 * len(ASKED)
    assert (heard.sent, heard.cancelled, heard.unsent, heard.failed) == (9 * len(ASKED), 0, 0, 0)


def test_an_early_decision_never_changes_a_winner(passes: panel.PanelPasses) -> None:
    """The panel of all that stops early has the winners of the one that heard all."""
    assert [one.run.output for one in passes.all_of_them.answers] == [one.run.output for one in passes.heard.answers]


def test_gains_are_over_every_member(passes: panel.PanelPasses) -> None:
    """The panel of five over each of the five, that of nine over each of the nine."""
    rows = {row.title: row for row in panel.panel_rows(passes)}
    gains = panel.panel_gains(passes)
    assert [gain.against for gain in gains] == [*measuring.PANEL, *panel.members()]
    for gain in gains:
        assert gain.gain == pytest.approx(rows[gain.title].accuracy - rows[gain.against].accuracy)


def test_as_json() -> None:
    """One document with every model and both panels."""
    done = fanfold("demo", "panel", "--quick", "--speed", "200", "--json")
    assert (done.code, done.err) == (0, "")
    said = done.document
    assert sorted(row["title"] for row in said["rows"]) == sorted([*panel.members(), "panel of 5", "panel of 9"])
    assert said["questions"] == said["same_winners"] == 15


def test_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The passes, the table, the gains, how to read them, in lines that fit."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("fanfold.cli.demo.QUICK", 30)
    done = fanfold("demo", "panel", "--quick", "--speed", "200")
    assert (done.code, done.err) == (0, "")
    told = re.findall(r"^(.*): 5 of 5 questions, ", done.out, re.MULTILINE)
    assert told == ["panel of 5", "panel of 9", "panel of 9, all heard"]
    for words in ("Measured in this run", "Every 30th recorded question is asked", "full pass in 5 of 5 votes"):
        assert words in " ".join(done.out.split()), words
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80
