"""What the demo measures, against an independent count made from the recordings themselves."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from fanfold.cli import figures, measuring
from fanfold.models import recordings
from fanfold.models.recordings import Recording
from fanfold.testing import ModelServer

EVERY = 10
SOLO = recordings.recordings("samples")[::EVERY]
JOINT = recordings.recordings("panel")[::EVERY]


@pytest.fixture(scope="module")
def passes() -> measuring.Passes:
    """One run of every tenth question, at two hundred times the recorded speed."""

    async def run() -> measuring.Passes:
        async with ModelServer("recorded", latency="recorded", speed=200.0) as server:
            return await measuring.run_passes(server.url, told.append, every=EVERY)

    told: list[measuring.Progress] = []
    return asyncio.run(run())


# -- an independent count ---------------------------------------------------------------------------------------


def labels(recording: Recording) -> list[str]:
    """The declared choices, in order."""
    lines = recording.question.split("Choices:", 1)[1].splitlines()
    return [line.strip()[0] for line in lines if re.match(r" *\w:", line)]


def letter(recording: Recording, text: str) -> str | None:
    """What the recorded text answers, by the form that its recorder asked for: Answer("A")."""
    found = re.findall(r'Answer\("?\s*([A-Z0-9])\s*"?\)', text)
    return found[-1] if found and found[-1] in labels(recording) else None


def winner(recording: Recording, ballots: Sequence[str | None]) -> str | None:
    """The most frequent valid ballot; of several the one that was declared first."""
    counts = Counter(ballot for ballot in ballots if ballot is not None)
    return max(labels(recording), key=lambda choice: counts[choice]) if counts else None


def draws(recording: Recording) -> list[str | None]:
    """The first five answers of the one model."""
    samples = recording.samples[measuring.VOTER][: measuring.VOTES]
    return [letter(recording, sample.text) for sample in samples]


def members(recording: Recording) -> dict[str, str | None]:
    """The answers of the panel."""
    return {model: letter(recording, recording.samples[model][0].text) for model in measuring.PANEL}


def clear(recording: Recording, texts: Iterator[str]) -> bool:
    """Whether every answer has the form asked for, so that a plain reading of it is beyond doubt."""
    return all(letter(recording, text) is not None for text in texts)


# -- the table --------------------------------------------------------------------------------------------------


def test_ballots_are_what_the_recordings_say(passes: measuring.Passes) -> None:
    """Each voter of the full pass got the sample of its own number, read as its recorder meant it."""
    for one in passes.full.answers:
        expected = draws(one.recording)
        for ballot in one.detail.ballots:
            sample = one.recording.samples[measuring.VOTER][ballot.index]
            assert ballot.text == sample.text
            if expected[ballot.index] is not None:
                assert ballot.value == expected[ballot.index]


def test_single_calls_of_the_one_model(passes: measuring.Passes) -> None:
    """Their accuracy is the share of right ones among the five draws of all questions."""
    right = [letter_ == recording.gold for recording in SOLO for letter_ in draws(recording)]
    row = measuring.rows_of(passes)[0]
    assert row.title == measuring.VOTER
    assert row.accuracy == pytest.approx(sum(right) / len(right), abs=_unclear_share(SOLO))
    assert row.sent == len(SOLO)


def test_winners_of_the_votes(passes: measuring.Passes) -> None:
    """Every way of voting gives the winner of a plain count, with ties by declared order."""
    expected = {recording.question: winner(recording, draws(recording)) for recording in SOLO}
    for voted in (passes.early, passes.waves, passes.full):
        for one in voted.answers:
            if clear(one.recording, (s.text for s in one.recording.samples[measuring.VOTER][: measuring.VOTES])):
                assert one.run.output == expected[one.recording.question]


def test_winners_of_the_panel(passes: measuring.Passes) -> None:
    """The panel's too."""
    for voted in (passes.panel, passes.heard):
        for one in voted.answers:
            cast = members(one.recording)
            if None not in cast.values():
                assert one.run.output == winner(one.recording, list(cast.values()))


def test_accuracies_of_the_members(passes: measuring.Passes) -> None:
    """Each member's row is the share of its recorded answers that are right."""
    rows = {row.title: row for row in measuring.rows_of(passes)}
    for model in measuring.PANEL:
        right = [members(recording)[model] == recording.gold for recording in JOINT]
        unclear = sum(members(recording)[model] is None for recording in JOINT) / len(JOINT)
        assert rows[model].accuracy == pytest.approx(sum(right) / len(right), abs=unclear + 1e-9)
        assert rows[model].sent == len(JOINT)


def test_accuracies_of_votes_are_those_of_their_winners(passes: measuring.Passes) -> None:
    """A vote's row is the share of its winners that are right."""
    rows = {row.title: row for row in measuring.rows_of(passes)}
    for voted in (passes.early, passes.waves, passes.panel):
        right = [one.run.output == one.recording.gold for one in voted.answers]
        assert rows[voted.title].accuracy == pytest.approx(sum(right) / len(right))


def test_an_early_decision_never_changes_a_winner(passes: measuring.Passes) -> None:
    """Stopped early, or three asked first: the winner is that of the full pass, question by question."""
    full = [one.run.output for one in passes.full.answers]
    assert [one.run.output for one in passes.early.answers] == full
    assert [one.run.output for one in passes.waves.answers] == full
    assert [one.run.output for one in passes.panel.answers] == [one.run.output for one in passes.heard.answers]
    assert any(one.detail.outstanding for one in passes.early.answers), "none was decided early"


def test_calls_and_tokens_add_up(passes: measuring.Passes) -> None:
    """Of the full pass: five calls a question, each with the recorded tokens; the single row has a fifth of them."""
    row = figures.vote_row(passes.full, "")
    samples = [sample for recording in SOLO for sample in recording.samples[measuring.VOTER][: measuring.VOTES]]
    assert (row.sent, row.cancelled, row.unsent, row.failed) == (5 * len(SOLO), 0, 0, 0)
    assert row.tokens == sum(sample.input_tokens + sample.output_tokens for sample in samples)
    single = measuring.rows_of(passes)[0]
    assert single.tokens == round(row.tokens / 5)
    assert single.cost == pytest.approx(row.cost / 5)
    assert single.sequential == pytest.approx(row.sequential / 5)


def test_saved_calls_add_up(passes: measuring.Passes) -> None:
    """Sent and never sent make five a question; what was cancelled is among the sent."""
    for voted, size in ((passes.early, SOLO), (passes.waves, SOLO), (passes.panel, JOINT)):
        row = figures.vote_row(voted, "")
        assert row.sent + row.unsent == 5 * len(size)
        assert 0 <= row.cancelled <= row.sent
        assert row.failed == 0
    waves = figures.vote_row(passes.waves, "")
    assert waves.unsent > 0, "asking three first sent them all"


def test_gains_are_paired_over_the_questions(passes: measuring.Passes) -> None:
    """A gain is the mean of what a vote had over the single calls, question by question."""
    gains = {(gain.title, gain.against): gain for gain in measuring.gains_of(passes)}
    assert [against for title, against in gains if title == passes.panel.title] == list(measuring.PANEL)
    rows = {row.title: row for row in measuring.rows_of(passes)}
    for (title, against), gain in gains.items():
        assert gain.gain == pytest.approx(rows[title].accuracy - rows[against].accuracy)
        assert gain.low <= gain.gain <= gain.high


def test_a_voter_that_failed_is_wrong(passes: measuring.Passes) -> None:
    """What was not right, for whatever reason, counts as wrong; of nobody's ballots the share is 0."""
    one = passes.full.answers[0]
    assert one.share_right("nobody") == 0
    assert one.share_right("0") in {0, 1}
    assert one.share_right(None) == sum(one.share_right(str(voter)) for voter in range(5)) / 5


def _unclear_share(asked: Sequence[Recording]) -> float:
    """How much the plain reading of this file may be off: the share of answers without the form asked for."""
    read = [answer for recording in asked for answer in draws(recording)]
    return sum(answer is None for answer in read) / len(read) + 1e-9
