"""A poll: one vote under way, the ballots counted so far, and what the voters still out can do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fanfold.core.numbers import is_count
from fanfold.errors import UsageError
from fanfold.folds.counting import Rule, Terms, Ties, listed, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.folds.ballots import Ballot, BallotKind
    from fanfold.folds.tally import Key

R = TypeVar("R")


class Poll(Generic[R]):
    """The state that a stop looks at: how many are in, how they count, and what is settled by them."""

    def __init__(self, rule: Rule[Any, R], terms: Terms) -> None:
        self.rule = rule
        self.terms = terms
        self.count = rule.start(terms)
        self.n = len(terms.names)
        self.folded = 0
        self.kinds: dict[BallotKind, int] = {"valid": 0, "abstained": 0, "error": 0}

    @property
    def valid(self) -> int:
        """How many ballots count."""
        return self.kinds["valid"]

    @property
    def outstanding(self) -> int:
        """How many voters are out: under way, or not even asked."""
        return self.n - self.folded

    def add(self, ballot: Ballot) -> Ballot:
        """Count a ballot; gives it back as it counted, which may be as an abstention."""
        self.count.arrive(ballot.index)
        refused = self._refused(ballot) if ballot.kind == "valid" else None
        if refused is not None:
            ballot = ballot.without(refused)
        self.kinds[ballot.kind] += 1
        self.folded += 1
        return ballot

    def _refused(self, ballot: Ballot) -> str | None:
        """Count a valid ballot, or say why it cannot be counted."""
        group = self.terms.key(ballot.value)
        refused = self.count.refused(group, ballot.value)
        if refused is None:
            self.count.take(ballot.index, group, ballot.value)
        return refused

    def short(self) -> bool:
        """Whether the quorum is missed as things stand, with an outcome that needs it."""
        return self.valid < self.terms.quorum and self.count.reach() != "reached"

    def lost(self) -> bool:
        """Whether the quorum will be missed for certain."""
        return self.valid + self.outstanding < self.terms.quorum and self.count.reach() == "closed"

    def settled(self) -> bool:
        """Whether nothing outstanding can change the outcome; exact in both directions.

        Each voter still out may bring any value (any declared choice, where choices are declared), abstain or
        fail. The outcome is which value wins, that none does, a tie, or a missed quorum.
        """
        if self.count.reach() == "reached" or self.lost():
            return True
        # With the quorum in doubt, all abstaining misses it and all answering does not.
        return self.valid >= self.terms.quorum and self.count.settled()

    def outcome(self) -> str:
        """The outcome as things stand, in words."""
        if self.short():
            return "that the quorum is missed"
        verdict = self.count.verdict()
        if verdict.winner is not None:
            return shortened(verdict.winner)
        return f"the tie of {listed(verdict.tied)}" if verdict.tied else "that there is no winner"


def agreed(
    rule: Rule[Any, Any],
    names: Sequence[str],
    *,
    quorum: int | None,
    ties: Ties,
    choices: Sequence[Any] | None,
    key: Key,
) -> Terms:
    """The terms of a vote; raises `UsageError` where rule, voters, quorum and choices do not fit together."""
    if not names:
        raise UsageError("a vote needs at least one voter")
    rule.check(names)
    if quorum is None:
        quorum = rule.quorum(len(names))
    elif not is_count(quorum) or quorum > len(names):
        raise UsageError(f"quorum={quorum!r} cannot be: give a number from 1 to {len(names)}, the voters")
    return Terms(tuple(names), quorum, ties, key).declaring(choices)
