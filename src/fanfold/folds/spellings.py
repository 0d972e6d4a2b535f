"""Ballots whose groups are found outside the fold: by a key looked up, or at the end, when all spellings are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.folds.canonical import ballot_key
from fanfold.folds.counting import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from fanfold.core.records import Arrival, Go, Why
    from fanfold.folds.ballots import VoteResult
    from fanfold.folds.polls import Poll
    from fanfold.folds.vote import VoteFold


def exact(value: Any) -> Hashable:
    """A value to the letter: what a function was given, and nothing that only looks like it."""
    return ("exact", type(value), value if isinstance(value, str) else repr(value))


class Found:
    """A fold's key, found beforehand: the group of each value by its `form`; what has none is a group by itself."""

    def __init__(self, form: Callable[[Any], Hashable]) -> None:
        self.form = form
        self.groups: dict[Hashable, Hashable] = {}

    def put(self, value: Any, group: Hashable) -> None:
        """Put a value into a group; where it has been put before it stays."""
        self.groups.setdefault(self.form(value), group)

    def __call__(self, value: Any) -> Hashable:
        form = self.form(value)
        return self.groups.get(form, form)


@dataclass(frozen=True, slots=True, repr=False)
class Whichever:
    """Ends a vote on spellings once its winner is certain whichever of them mean the same.

    That is when one spelling has more than half of the weight of all voters, those who are out and those who will not
    answer included: the group it is in cannot be beaten.
    """

    def fires(self, poll: Poll[Any]) -> str | None:
        """The sentence, once it is certain."""
        groups = poll.count.groups
        leaders = groups.leaders()
        if poll.valid < poll.terms.quorum or not leaders:
            return None
        if 2 * groups.weight[leaders[0]] <= groups.total + groups.pending:
            return None
        return (
            f"decided after {poll.folded} of {poll.n}: {shortened(groups.spelled(leaders[0]))} has more than half by "
            "itself, so no judge was asked what means the same"
        )

    def __repr__(self) -> str:
        return "decided()"


WHICHEVER = Whichever()


class Spellings:
    """Folds ballots by their spelling, to be counted once more when it is known which of them mean the same."""

    def __init__(self, fold: VoteFold[Any]) -> None:
        self.fold = fold
        self.why: Why = "all"

    def begin(self, names: Sequence[str]) -> Go:
        """As the vote's own fold does."""
        return self.fold.begin(names)

    def add(self, arrival: Arrival[Any], flying: int) -> Go:
        """As the vote's own fold does."""
        return self.fold.add(arrival, flying)

    def end(self, why: Why) -> Spellings:
        """The spellings; raises `BranchError` and `QuorumError`, which no grouping can change."""
        self.fold.check(why)
        self.why = why
        return self

    def distinct(self) -> list[Any]:
        """One value of each spelling, in voter order; none where the winner is certain without their groups."""
        found: dict[Hashable, Any] = {}
        for ballot in self.fold.in_order():
            if ballot.kind == "valid":
                found.setdefault(ballot_key(ballot.value), ballot.value)
        certain = self.fold.stop is WHICHEVER and WHICHEVER.fires(self.fold.poll) is not None
        return [] if certain else list(found.values())

    def counted(self, groups: Sequence[Sequence[Any]], note: str) -> VoteResult[Any]:
        """The result, with the values of each group as one."""
        found = Found(ballot_key)
        for group in groups:
            for value in group:
                found.put(value, ballot_key(group[0]))
        self.fold.recount(found)
        result = self.fold.end(self.why)
        return msgspec.structs.replace(result, why="; ".join(filter(None, [result.why, note])))
