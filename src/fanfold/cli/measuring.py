"""`fanfold demo`: the main job on real recorded answers, through real HTTP; every figure is measured in the run.

Votes of five by one model against single calls, and a panel of five models against each of them. The single calls
are counted over a full pass with the same draws and no early stop, so both sides saw the same answers.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from fanfold import rules
from fanfold.core.clock import now
from fanfold.core.records import Call, Usage
from fanfold.folds.ballots import VoteResult
from fanfold.models import recordings
from fanfold.models.openai import OpenAI
from fanfold.models.prices import MILLION
from fanfold.models.recorded import recorded_rate
from fanfold.runs.run import Run
from fanfold.session import Session
from fanfold.steps.gather import gather
from fanfold.steps.prompt import prompt
from fanfold.steps.step import Step
from fanfold.steps.vote import vote

VOTER = "gpt-35-turbo"
VOTES = 5
PANEL = (
    "claude-3-opus-20240229",
    "cohere-command-r-plus",
    "gemini-1.5-pro-preview-0409",
    "gpt-4",
    "mistral-large",
)
"""The largest recorded model of each vendor, chosen by that and not by how it did."""

QUESTION = 'Answer the question. Think first, then end with your choice, as in: Answer("A")\n\n{input}'

Z95 = 1.96
"""Normal quantile of a two-sided 95 % interval."""

Tell = Callable[["Progress"], None]


class Progress(msgspec.Struct):
    """How far a pass is, for the screen."""

    title: str
    total: int
    done: int = 0
    right: int = 0
    sent: int = 0
    saved: int = 0


class Answered(msgspec.Struct, frozen=True):
    """One question of one pass: the run, and what was right."""

    recording: recordings.Recording
    run: Run[Any]

    @property
    def right(self) -> bool:
        """Whether the vote's winner is the recorded right answer."""
        return bool(self.run.output == self.recording.gold)

    def voter_right(self, voter: str) -> bool:
        """Whether one voter's ballot was right; one that could not be read was not."""
        return any(ballot.voter == voter and ballot.value == self.recording.gold for ballot in self.detail.ballots)

    @property
    def detail(self) -> VoteResult[Any]:
        """The vote itself."""
        found: VoteResult[Any] = self.run.detail
        return found


class Pass(msgspec.Struct, frozen=True):
    """All questions once, by one way of voting."""

    title: str
    answers: Sequence[Answered]
    wall: float

    @property
    def accuracy(self) -> float:
        """Share of questions whose winner is right."""
        return sum(one.right for one in self.answers) / len(self.answers)


class Row(msgspec.Struct, frozen=True):
    """One line of the demo's table; calls, tokens and cost are of all questions together.

    `gain` is the difference in accuracy against the row it is compared with, `low` and `high` its paired 95 %
    interval. `cost` leaves out calls cancelled under way, which a provider may bill in part or in full.
    """

    title: str
    accuracy: float
    against: str = ""
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    answered: int = 0
    cancelled: int = 0
    unsent: int = 0
    tokens: int = 0
    cost: float | None = None
    wall: float | None = None
    sequential: float = 0.0


class Measured(msgspec.Struct, frozen=True):
    """What the demo found."""

    rows: Sequence[Row]
    same_winners: int
    questions: int
    panel_questions: int
    example: Answered
    seconds: float


async def measure(url: str, tell: Tell, *, every: int = 1) -> Measured:
    """Run all passes against the recorded server at `url`; with `every`, on each `every`-th question only."""
    began = now()
    solo = recordings.recordings("samples")[::every]
    joint = recordings.recordings("panel")[::every]
    async with Session(max_in_flight=64):
        early = await _pass(f"vote of {VOTES}", solo, lambda r: _vote_step(url, r), tell)
        waves = await _pass(f"vote of {VOTES}, three first", solo, lambda r: _vote_step(url, r, wave=3), tell)
        full = await _pass(f"all {VOTES} heard", solo, lambda r: _vote_step(url, r, stop=False), tell)
        panel = await _pass("panel of 5 models", joint, lambda r: _panel_step(url, r), tell)
        heard = await _pass("panel, all heard", joint, lambda r: _panel_step(url, r, stop=False), tell)
    rows = [_single_row(full), *(_vote_row(one, full, VOTER) for one in (early, waves))]
    rows += [_member_row(heard, model) for model in PANEL]
    best = max(PANEL, key=lambda model: sum(one.voter_right(model) for one in heard.answers))
    rows.append(_vote_row(panel, heard, best))
    same = sum(a.run.output == b.run.output for a, b in zip(early.answers, full.answers, strict=True))
    return Measured(rows, same, len(solo), len(joint), _example(early), now() - began)


async def _pass(
    title: str,
    asked: Sequence[recordings.Recording],
    make: Callable[[recordings.Recording], Step[Any, Any]],
    tell: Tell,
) -> Pass:
    """Ask all questions at the same time; the session's slots say how many calls are on the wire at once."""
    progress = Progress(title, len(asked))
    tell(progress)
    began = now()

    async def answer(recording: recordings.Recording) -> Answered:
        one = Answered(recording, await make(recording).run(recording.question))
        progress.done += 1
        progress.right += one.right
        progress.sent += sum(call.sent is not None for call in one.run.calls)
        progress.saved += one.run.saved.calls
        tell(progress)
        return one

    answers = await gather(*map(answer, asked))
    return Pass(title, answers, now() - began)


def _vote_step(url: str, recording: recordings.Recording, *, stop: bool = True, wave: int | None = None) -> Any:
    return vote(
        _ask(url, recording, VOTER),
        VOTES,
        ties="declared",
        quorum=1,
        stop=rules.decided() if stop else None,
        wave=wave,
        name="vote",
    )


def _panel_step(url: str, recording: recordings.Recording, *, stop: bool = True) -> Any:
    jury = {model: _ask(url, recording, model) for model in PANEL}
    return vote(jury, stop=rules.decided() if stop else None, name="panel")


def _ask(url: str, recording: recordings.Recording, model: str) -> Step[Any, Any]:
    served = OpenAI(name=model, base_url=url, price=_list_price(model), structured=False)
    return prompt(QUESTION, returns=_choices(recording), model=served, name=model)


def _choices(recording: recordings.Recording) -> Any:
    """The answers a question offers: most have A to D or E, some 1 to 4."""
    labels = re.findall(r"^ *([A-Z0-9]):", recording.question.partition("Choices:")[2], re.MULTILINE)
    return Literal[tuple(labels)]


@functools.cache
def _list_price(model: str) -> tuple[float, float] | None:
    """USD per million tokens in and out, as the vendor lists it."""
    rate = recorded_rate(model)
    return None if rate is None else (rate.price(Usage(MILLION, 0)), rate.price(Usage(0, MILLION)))


# -- counting ---------------------------------------------------------------------------------------------------


def _single_row(full: Pass) -> Row:
    """One call a question: the mean over the five draws of the full pass, each a single call that was made."""
    calls = [call for one in full.answers for call in one.run.calls]
    right = [_single_right(one, VOTER) for one in full.answers]
    return Row(
        f"one call of {VOTER}",
        sum(right) / len(right),
        answered=len(full.answers),
        tokens=round(sum(call.usage.total_tokens for call in calls if call.usage) / VOTES),
        cost=_cost(calls, VOTES),
        sequential=sum(call.seconds for call in calls) / VOTES,
    )


def _member_row(heard: Pass, model: str) -> Row:
    """One panel member alone, on the calls of the pass in which all were heard."""
    calls = [call for one in heard.answers for call in one.run.calls if call.place.endswith(f"/{model}")]
    return Row(
        f"one call of {model}",
        sum(one.voter_right(model) for one in heard.answers) / len(heard.answers),
        answered=len(heard.answers),
        tokens=sum(call.usage.total_tokens for call in calls if call.usage),
        cost=_cost(calls),
        sequential=sum(call.seconds for call in calls),
    )


def _vote_row(voted: Pass, heard: Pass, against: str) -> Row:
    """A way of voting, against single calls of one model on the same questions."""
    gains = [
        one.right - _single_right(all_heard, against)
        for one, all_heard in zip(voted.answers, heard.answers, strict=True)
    ]
    gain, low, high = paired(gains)
    runs = [one.run for one in voted.answers]
    calls = [call for run in runs for call in run.calls]
    return Row(
        voted.title,
        voted.accuracy,
        against=against,
        gain=gain,
        low=low,
        high=high,
        answered=sum(call.state == "ok" for call in calls),
        cancelled=sum(run.saved.cancelled for run in runs),
        unsent=sum(run.saved.unsent for run in runs),
        tokens=sum(run.usage.total_tokens for run in runs),
        cost=_cost(calls),
        wall=voted.wall,
        sequential=sum(run.sequential for run in runs),
    )


def _single_right(one: Answered, model: str) -> float:
    """How often a single call of `model` was right on this question: 0 or 1 for a member, a share for five draws."""
    if model in PANEL:
        return float(one.voter_right(model))
    return sum(ballot.value == one.recording.gold for ballot in one.detail.ballots) / VOTES


def paired(gains: Sequence[float]) -> tuple[float, float, float]:
    """The mean of paired differences and its 95 % interval, by the normal approximation."""
    mean = sum(gains) / len(gains)
    spread = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / max(1, len(gains) - 1))
    half = Z95 * spread / math.sqrt(len(gains))
    return mean, mean - half, mean + half


def _cost(calls: Sequence[Call], parts: int = 1) -> float | None:
    """List price of the answered calls; None where a price is not known."""
    costs = [call.cost.usd for call in calls if call.state == "ok"]
    known = [cost for cost in costs if cost is not None]
    return sum(known) / parts if len(known) == len(costs) else None


def _example(voted: Pass) -> Answered:
    """The first question on which the voters did not agree."""
    return next((one for one in voted.answers if len(one.detail.tally) > 1), voted.answers[0])
