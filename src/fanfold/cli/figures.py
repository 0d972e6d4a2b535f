"""The figures of `fanfold demo`: what each way of answering got right, what it took, and what it gained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fanfold.core.records import Call
from fanfold.folds.ballots import VoteResult
from fanfold.folds.intervals import paired
from fanfold.models.recordings import Recording
from fanfold.runs.run import Run


class Answered(msgspec.Struct, frozen=True):
    """One question of one pass: the run, and what was right."""

    recording: Recording
    run: Run[Any]

    @property
    def right(self) -> bool:
        """Whether the vote's winner is the recorded right answer."""
        return bool(self.run.output == self.recording.gold)

    @property
    def detail(self) -> VoteResult[Any]:
        """The vote itself."""
        found: VoteResult[Any] = self.run.detail
        return found

    def share_right(self, voter: str | None) -> float:
        """The share of right ballots, of one voter or (None) of all; one that could not be read was not right."""
        cast = [ballot for ballot in self.detail.ballots if voter in {None, ballot.voter}]
        right = [ballot for ballot in cast if ballot.value == self.recording.gold]
        return len(right) / max(1, len(cast))


class Pass(msgspec.Struct, frozen=True):
    """All questions once, by one way of voting."""

    title: str
    answers: Sequence[Answered]
    wall: float


class Row(msgspec.Struct, frozen=True):
    """One line of the table; calls, tokens, cost and seconds are of all questions together.

    Of the calls `sent`, `cancelled` were given up under way because the vote was decided; `unsent` were spared
    altogether, `failed` is what did not come to an answer. `cost` is the list price of the answered ones, or None
    where one is not known. `wall` is there where a pass was timed, `sequential` is the time of the same calls one
    after another.
    """

    title: str
    group: str
    accuracy: float
    sent: int
    tokens: int
    cost: float | None
    sequential: float
    cancelled: int = 0
    unsent: int = 0
    failed: int = 0
    wall: float | None = None


class Gain(msgspec.Struct, frozen=True):
    """How much more often a way of voting was right than single calls of one model: a share, and its 95 % interval."""

    title: str
    against: str
    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        if self.gain == 0:
            return "none seen"
        return "may be chance" if self.low <= 0 <= self.high else "beyond chance"


def vote_row(voted: Pass, group: str) -> Row:
    """A way of voting."""
    runs = [one.run for one in voted.answers]
    calls = [call for run in runs for call in run.calls]
    return Row(
        voted.title,
        group,
        sum(one.right for one in voted.answers) / len(voted.answers),
        sent=sum(call.sent is not None for call in calls),
        tokens=sum(run.usage.total_tokens for run in runs),
        cost=_cost(calls),
        sequential=sum(run.sequential for run in runs),
        cancelled=sum(run.saved.cancelled for run in runs),
        unsent=sum(run.saved.unsent for run in runs),
        failed=sum(call.state == "error" for call in calls),
        wall=voted.wall,
    )


def single_row(heard: Pass, model: str, group: str, voter: str | None, draws: int = 1) -> Row:
    """One call of `model` a question, counted over a pass in which every voter was heard.

    `voter` says which voter of a panel it is; None takes them all as `draws` of it, and gives their mean.
    """
    calls = [
        call
        for one in heard.answers
        for call in one.run.calls
        if voter is None or call.place.rpartition("/")[2] == voter
    ]
    cost = _cost(calls)
    return Row(
        model,
        group,
        sum(one.share_right(voter) for one in heard.answers) / len(heard.answers),
        sent=len(heard.answers),
        tokens=round(sum(call.usage.total_tokens for call in calls if call.usage) / draws),
        cost=None if cost is None else cost / draws,
        sequential=sum(call.seconds for call in calls) / draws,
    )


def gain_of(voted: Pass, heard: Pass, model: str, voter: str | None) -> Gain:
    """A way of voting against single calls of `model` on the same questions."""
    pairs = zip(voted.answers, heard.answers, strict=True)
    return Gain(voted.title, model, *paired([one.right - single.share_right(voter) for one, single in pairs]))


def _cost(calls: Sequence[Call]) -> float | None:
    """List price of the answered calls; None where one is not known."""
    costs = [call.cost.usd for call in calls if call.state == "ok"]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
