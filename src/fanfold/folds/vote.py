"""The fold of a vote: it counts ballots as they come, and ends the fan when its stop says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, get_args

from fanfold.core.numbers import is_count
from fanfold.core.records import ENOUGH, WAIT, Arrival, Go, Why
from fanfold.errors import BranchError, QuorumError, TieError, UsageError
from fanfold.folds.ballots import Ballot, VoteResult, ballot_of
from fanfold.folds.canonical import ballot_key
from fanfold.folds.counting import Rule, Ties, Verdict
from fanfold.folds.polls import Poll, agreed
from fanfold.folds.stops import DECIDED, Stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.folds.tally import Key

R = TypeVar("R")

OnError = Literal["skip", "fail"]

_ABSENT = {
    "enough": "not in when the vote ended",
    "timeout": "not in when the time was over",
    "all": "was never asked",
}


class VoteFold(Generic[R]):
    """Folds the ballots of one vote into a `VoteResult`, whose winner is the rule's.

    The result depends on which ballots were folded, never on the order in which they came. With the default
    stop a vote that ends early has the outcome that no further ballot could have changed.

    `names` lets a mistake show before the vote begins. `ties="step"` leaves a tie to the caller: no winner,
    `tied` filled, and the share that each of these has. `quorum` is how many ballots must be valid (default 1;
    all for a threshold rule, where it binds the negative outcome only); the vote ends as soon as it cannot be
    reached any more, whatever its stop. Under `on_error="fail"` the first voter that fails ends the vote; a
    reply that cannot be read is an abstention under both. With `wave` only so many voters are asked at first,
    and the next so many when those are in and have not decided it.

    Raises `UsageError` where these do not fit together; `end` raises `QuorumError`, `TieError` or
    `BranchError`.
    """

    def __init__(
        self,
        rule: Rule[Any, R],
        *,
        names: Sequence[str] | None = None,
        ties: Ties = "declared",
        quorum: int | None = None,
        stop: Stop | None = DECIDED,
        declared: Sequence[Any] | None = None,
        on_error: OnError = "skip",
        wave: int | None = None,
        key: Key = ballot_key,
    ) -> None:
        _check_kinds(rule, stop)
        _check_word("ties", ties, Ties)
        _check_word("on_error", on_error, OnError)
        _check_wave(wave, rule)
        self.rule = rule
        self.ties: Ties = ties
        self.quorum = quorum
        self.stop = stop
        self.declared = declared
        self.on_error: OnError = on_error
        self.wave = wave
        self.key = key
        self.ballots: dict[int, Ballot] = {}
        self.stopped: str | None = None
        self.failed: tuple[str, BaseException] | None = None
        self.errors: dict[int, BaseException] = {}
        self._names: Sequence[str] = names or ()
        if names is not None:
            self._open(names)

    def fewer(self) -> list[int]:
        """The smaller numbers of voters that this vote may shrink to, the largest first: odd, and never below quorum.

        There are none where its outcome depends on who votes.
        """
        n = len(self._names)
        quorum = self.rule.quorum(n) if self.quorum is None else self.quorum
        least = max(quorum, self.rule.least(n))
        return [count for count in range(n - 1, least - 1, -1) if count % 2]

    def fewest(self) -> int:
        """The fewest ballots that can decide it, if all are valid and agree; 1 where voters weigh differently.

        Tried by counting: on each declared choice, or (where any value may come) on the value a threshold counts and
        on one of no meaning.
        """
        if not self.rule.symmetric:
            return 1
        values: list[Any] = list(self.declared or [1, getattr(self.rule, "value", 1)])
        return min(self._until(value) for value in values)

    def _until(self, value: Any) -> int:
        """After how many ballots of `value` its stop fires."""
        poll = self._open(self._names)
        for index, name in enumerate(self._names):
            if poll.add(Ballot(name, index, "valid", value)).kind != "valid":
                return 1
            if self.stop is not None and self.stop.fires(poll) is not None:
                return index + 1
        return poll.n

    def begin(self, names: Sequence[str]) -> Go:
        """Launch all voters, or the first wave of them."""
        self.poll = self._open(names)
        return Go(more=self.poll.n if self.wave is None else min(self.wave, self.poll.n))

    def add(self, arrival: Arrival[Any], flying: int) -> Go:
        """Count one ballot; its cost grows with the distinct values, never with the ballots."""
        ballot = self.poll.add(ballot_of(arrival))
        self.ballots[ballot.index] = ballot
        if ballot.kind == "error" and arrival.error is not None:
            self.errors[ballot.index] = arrival.error
            if self.on_error == "fail":
                self.failed = (arrival.name, arrival.error)
                return ENOUGH
        if not self.poll.outstanding:
            return WAIT
        self.stopped = self.stop.fires(self.poll) if self.stop is not None else None
        if self.stopped is not None or self.poll.lost():
            return ENOUGH
        return self._refill(flying)

    def end(self, why: Why) -> VoteResult[R]:
        """The result of what was folded; voters that are not in count as absent."""
        self.check(why)
        verdict = self.poll.count.verdict()
        if verdict.tied and self.ties == "error":
            raise TieError(
                f"{verdict.note}: let ties= say which wins ('declared') or that none does ('abstain'), or give it a "
                "step that decides",
                tied=verdict.tied,
            )
        return self._result(verdict, why)

    def check(self, why: Why) -> None:
        """Raise `BranchError` where a voter failed and may not, `QuorumError` where too few ballots are valid."""
        if self.failed is not None:
            raise BranchError(*self.failed, self._finished())
        if self.poll.short():
            self._miss(why)

    def recount(self, key: Key) -> None:
        """Count the ballots that are in once more, under another key."""
        self.key = key
        self.poll = self._open(self.poll.terms.names)
        self.ballots = {ballot.index: self.poll.add(ballot) for ballot in self.in_order()}

    def in_order(self) -> list[Ballot]:
        """The ballots that are in, in voter order."""
        return [self.ballots[index] for index in sorted(self.ballots)]

    def _open(self, names: Sequence[str]) -> Poll[R]:
        terms = agreed(self.rule, names, quorum=self.quorum, ties=self.ties, choices=self.declared, key=self.key)
        return Poll(self.rule, terms)

    def _refill(self, flying: int) -> Go:
        """The next wave, once all of this one are in and have not decided it."""
        if self.wave is None or flying:
            return WAIT
        return Go(more=min(self.wave, self.poll.outstanding))

    def _result(self, verdict: Verdict[R], why: Why) -> VoteResult[R]:
        poll = self.poll
        return VoteResult(
            winner=verdict.winner,
            share=verdict.share,
            share_bounds=verdict.bounds,
            tally=poll.count.tally(),
            ballots=tuple(self.in_order()),
            rule=repr(self.rule),
            why="; ".join(filter(None, [self._ended(why), verdict.note])),
            n=poll.n,
            valid=poll.valid,
            abstained=poll.kinds["abstained"],
            errors=poll.kinds["error"],
            outstanding=poll.outstanding,
            tied=verdict.tied,
            fields=verdict.fields,
        )

    def _ended(self, why: Why) -> str:
        poll = self.poll
        if why == "enough" and self.stopped is not None:
            return self.stopped
        if why == "timeout":
            return f"time was over after {poll.folded} of {poll.n}"
        if poll.outstanding:
            return f"ended after {poll.folded} of {poll.n}"
        voters = f"all {poll.n} voters" if poll.n > 1 else "the one voter"
        return f"{voters} answered" if poll.valid == poll.n else f"{voters} came back: {_counts(poll)}"

    def _miss(self, why: Why) -> NoReturn:
        poll = self.poll
        missing = dict.fromkeys(poll.terms.names, _ABSENT[why])
        missing.update((ballot.voter, ballot.reason or ballot.kind) for ballot in self.in_order())
        finished = self._finished()
        for name in finished:
            del missing[name]
        invalid = next((ballot for ballot in self.in_order() if ballot.kind != "valid"), None)
        first = f"; {invalid.voter}: {missing[invalid.voter]}" if invalid else ""
        raise QuorumError(
            f"{poll.valid} of {poll.n} ballots are valid, and {self.rule!r} needs {poll.terms.quorum} to say "
            f"anything ({_counts(poll)}){first} (.missing says what went wrong with each; quorum= sets how many "
            "must be valid)",
            finished=finished,
            missing=missing,
        ) from self._cause()

    def _cause(self) -> BaseException | None:
        """The first error in voter order: like the rest, it must not tell who came first."""
        return self.errors[min(self.errors)] if self.errors else None

    def _finished(self) -> dict[str, Any]:
        return {ballot.voter: ballot.value for ballot in self.in_order() if ballot.kind == "valid"}


def _counts(poll: Poll[Any]) -> str:
    found = {
        "valid": poll.valid,
        "abstained": poll.kinds["abstained"],
        "failed": poll.kinds["error"],
        "not in": poll.outstanding,
    }
    return ", ".join(f"{count} {kind}" for kind, count in found.items() if count)


def _check_kinds(rule: object, stop: object) -> None:
    """Refuse what is no rule or no stop, most of all the function that makes one."""
    if not isinstance(rule, Rule):
        raise UsageError(f"rule={rule!r} is none: give one of fanfold.rules, called, as rules.majority()")
    if stop is not None and (isinstance(stop, type) or not hasattr(stop, "fires")):
        raise UsageError(f"stop={stop!r} is none: give rules.decided(), called, or None to wait for all voters")


def _check_word(option: str, given: object, words: Any) -> None:
    allowed = get_args(words)
    if given not in allowed:
        raise UsageError(f"{option}={given!r} is not known: it is one of {', '.join(map(repr, allowed))}")


def _check_wave(wave: int | None, rule: Rule[Any, Any]) -> None:
    if wave is None:
        return
    if not is_count(wave):
        raise UsageError(f"wave={wave!r} cannot be: give how many voters to ask at a time, from 1 up")
    if not rule.symmetric:
        raise UsageError(f"{rule!r} weighs its voters, so it matters who is asked first: leave out wave=")
