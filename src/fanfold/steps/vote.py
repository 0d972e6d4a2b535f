"""Voting: one task several times, or across prompts, temperatures and models, folded by a tally rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, get_args, overload

import msgspec

from fanfold.calls.estimates import UNSEEN, Estimate, Outlook, least_of
from fanfold.core.clock import now
from fanfold.core.fan import fan
from fanfold.core.numbers import counted, is_count
from fanfold.core.records import Branch, Model
from fanfold.core.scope import current
from fanfold.core.timeouts import Total
from fanfold.errors import TieError, UsageError
from fanfold.folds.ballots import Said, VoteResult
from fanfold.folds.canonical import ballot_key
from fanfold.folds.fields import Fields
from fanfold.folds.shapes import record_in
from fanfold.folds.spellings import WHICHEVER
from fanfold.folds.vote import VoteFold
from fanfold.models.names import Openable
from fanfold.rules import Rule, Stop, decided, plurality
from fanfold.steps.affording import Limits, Unpaid, affording, limited
from fanfold.steps.declared import check_threshold
from fanfold.steps.merging import Merge, as_merge
from fanfold.steps.running import follow
from fanfold.steps.sameness import Place, Same, SameBy, as_same
from fanfold.steps.step import Step, as_step
from fanfold.steps.templates import check_fields, fields_of

if TYPE_CHECKING:
    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import IfUnaffordable
    from fanfold.folds.collect import OnError
    from fanfold.folds.counting import Elects, MayElect

In = TypeVar("In")
T = TypeVar("T")
R = TypeVar("R")

Ties = Literal["declared", "error", "abstain"]
Judge = str | Model | Openable | None
LEAST = 1e-6
"""Seconds that voters have at the least, where finding keys beforehand took all of the timeout."""
Voters = Step[In, T] | Sequence[Step[In, T]] | Mapping[str, Step[In, T]]


class VoteStep(Step[In, Any]):
    """Voters, a rule, and what to do about ties; see `vote`."""

    kind = "vote"
    fans = True

    def __init__(
        self,
        voters: Mapping[str, Step[In, Any]],
        make_fold: Callable[..., VoteFold[Any]],
        same: Same,
        tie_step: Step[Any, Any] | None,
        merge: Merge | None,
        *,
        name: str,
        timeout: float | None,
    ) -> None:
        super().__init__(name, timeout)
        self.voters = voters
        self.make_fold = make_fold
        self.same = same
        self.tie_step = tie_step
        self.merge = merge
        self.total()
        for voter, step in voters.items():
            same.check_fields(f"same= behind voter {voter!r}", step)
        if merge is not None:
            merge.check(voters)
        make_fold()  # a rule that these voters cannot satisfy shows here, not at the first run
        asked = Counter(id(step) for step in voters.values())
        seen: Counter[int] = Counter()
        self._repetitions: dict[str, tuple[int, int]] = {}
        for voter, step in voters.items():
            self._repetitions[voter] = (seen[id(step)], asked[id(step)])
            seen[id(step)] += 1

    def total(self) -> Total:
        """Its timeout, for one execution; the voters leave time for a step that may follow."""
        rests = [self.same.seconds, 0.0 if self.merge is None else self.merge.seconds]
        rests += [self.tie_step.timeout] if self.tie_step is not None else []
        return Total(self.timeout, f"vote {self.name!r}", None if None in rests else sum(filter(None, rests)))

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """All voters, or the fewest that can decide; what tells the same apart, what breaks a tie, and the merge."""
        asked = [outlook.foresee(step, given) for step in self.voters.values()]
        found = least_of(asked, self.make_fold().fewest())
        found += self.same.foresee(len(self.voters), outlook)
        if self.tie_step is not None:
            found += outlook.foresee(self.tie_step, UNSEEN).times(0, 1)
        return found if self.merge is None else found + self.merge.foresee(outlook)

    async def execute(self, given: In) -> Any:
        """Ask all voters at once, count as they answer, break a tie where a step was given for it."""
        if self.merge is not None:
            self.merge.check_fields(given, self.voters)
        if self.tie_step is not None:
            check_fields("ties", self.tie_step.needs, [*fields_of(given), "tied"])
        total = self.total()
        seconds = total.begin()
        until = None if seconds is None else now() + seconds
        sizes = [(step, given) for step in self.voters.values()]
        async with affording(self, sizes, seconds, shrinks="by count", counts=self._fewer()) as money:
            make_fold = partial(self.make_fold, names=list(self.voters)[: money.count])
            result = await self.same.counted(given, make_fold, partial(self._ask, given, until, money), total)
        if money.count < len(self.voters):
            result = _shrunk(result, len(self.voters))
        with total.remaining({} if self.timeout is None else _valid(result)):
            if result.tied and self.tie_step is not None:
                result = await self._broken(self.tie_step, given, result)
            output = result.winner if self.merge is None else await self._merged(self.merge, given, result)
        scope = current()
        if scope is not None:
            scope.detail = result
        return output

    async def _ask(self, given: In, until: float | None, money: Unpaid, fold: Any, place: Place | None) -> Any:
        """What the fold makes of all voters, asked at once and heard `until` then."""
        branches = [
            Branch(voter, partial(_ballot, step, given, place), ordinal=ordinal, repeats=repeats)
            for (voter, step), (ordinal, repeats) in zip(self.voters.items(), self._repetitions.values(), strict=True)
        ]
        try:
            return await fan(money.paid(branches), fold, timeout=None if until is None else max(until - now(), LEAST))
        finally:
            money.close()  # a judge may follow, and pays for itself

    def _fewer(self) -> list[int]:
        """The smaller votes that this one may shrink to: none, where the voters differ."""
        alike = len({id(step) for step in self.voters.values()}) == 1
        return self.make_fold().fewer() if alike else []

    async def _merged(self, merge: Merge, given: In, result: VoteResult[Any]) -> Any:
        """One answer of all ballots; a voter without a valid one is missing, and the merge is told why."""
        values = _valid(result)
        reasons = {ballot.voter: ballot.reason or ballot.kind for ballot in result.ballots}
        missing = {voter: reasons.get(voter, "not heard") for voter in self.voters if voter not in values}
        return await merge(given, values, missing)

    async def _broken(self, by: Step[Any, Any], given: In, result: VoteResult[Any]) -> VoteResult[Any]:
        choice = await follow(by, {**fields_of(given), "input": given, "tied": list(result.tied)}, name="ties")
        chosen = [value for value in result.tied if ballot_key(value) == ballot_key(choice)]
        if not chosen:
            raise TieError(
                f"the vote tied, and its ties= step gave {choice!r}, which is none of {list(result.tied)}",
                tied=result.tied,
            )
        why = f"{result.why}; a tie of {len(result.tied)}, broken by {by.name!r}"
        return msgspec.structs.replace(result, winner=chosen[0], why=why)


def _valid(result: VoteResult[Any]) -> dict[str, Any]:
    return {ballot.voter: ballot.value for ballot in result.ballots if ballot.kind == "valid"}


def _shrunk(result: VoteResult[Any], voters: int) -> VoteResult[Any]:
    why = f"{result.why}; shrunk from {voters} to {counted(result.n, 'voter')}, for the budget covers no more"
    return msgspec.structs.replace(result, why=why, shrunk_from=voters)


async def _ballot(step: Step[In, Any], given: In, place: Place | None) -> Said[Any]:
    """One voter's value, with the reply's text that it was read from; placed among the others where that is wanted."""
    value = await step.timed(given)
    scope = current()
    said = Said(value, None if scope is None else scope.said)
    if place is not None and value is not None:
        await place(value)
    return said


@overload
def vote(
    voters: Voters[In, Any],
    n: int | None = ...,
    *,
    merge: Callable[..., Awaitable[R]],
    rule: Rule[Any, Any] = ...,
    ties: Ties | Step[Any, Any] = ...,
    quorum: int | None = ...,
    same: SameBy[Any] = ...,
    judge: Judge = ...,
    on_error: OnError = ...,
    **limits: Unpack[Limits],
) -> Step[In, R]: ...
@overload
def vote(
    voters: Voters[In, Any],
    n: int | None = ...,
    *,
    merge: Callable[..., R],
    rule: Rule[Any, Any] = ...,
    ties: Ties | Step[Any, Any] = ...,
    quorum: int | None = ...,
    same: SameBy[Any] = ...,
    judge: Judge = ...,
    on_error: OnError = ...,
    **limits: Unpack[Limits],
) -> Step[In, R]: ...
@overload
def vote(
    voters: Voters[In, T],
    n: int | None = ...,
    *,
    rule: Elects = ...,
    ties: Literal["declared", "error"] | Step[Any, Any] = ...,
    quorum: int | None = ...,
    stop: Stop | None = ...,
    same: SameBy[T] = ...,
    judge: Judge = ...,
    on_error: OnError = ...,
    wave: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[In, T]: ...
@overload
def vote(
    voters: Voters[In, T],
    n: int | None = ...,
    *,
    rule: Elects = ...,
    ties: Literal["abstain"],
    quorum: int | None = ...,
    stop: Stop | None = ...,
    same: SameBy[T] = ...,
    judge: Judge = ...,
    on_error: OnError = ...,
    wave: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[In, T | None]: ...
@overload
def vote(
    voters: Voters[In, T],
    n: int | None = ...,
    *,
    rule: MayElect,
    ties: Ties | Step[Any, Any] = ...,
    quorum: int | None = ...,
    stop: Stop | None = ...,
    same: SameBy[T] = ...,
    judge: Judge = ...,
    on_error: OnError = ...,
    wave: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[In, T | None]: ...
@overload
def vote(
    voters: Voters[In, T],
    n: int | None = ...,
    *,
    rule: Rule[T, R],
    ties: Ties | Step[Any, Any] = ...,
    quorum: int | None = ...,
    stop: Stop | None = ...,
    same: SameBy[T] = ...,
    judge: Judge = ...,
    on_error: OnError = ...,
    wave: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[In, R]: ...
def vote(
    voters: Any,
    n: int | None = None,
    *,
    rule: Rule[Any, Any] | None = None,
    ties: Ties | Step[Any, Any] = "declared",
    quorum: int | None = None,
    stop: Stop | None = decided(),  # noqa: B008  # a constant of the rules
    same: Any = None,
    judge: Judge = None,
    on_error: OnError = "skip",
    timeout: float | None = None,
    wave: int | None = None,
    merge: Any = None,
    budget: Budget | None = None,
    if_unaffordable: IfUnaffordable = "refuse",
    name: str = "vote",
) -> Step[Any, Any]:
    """One task several times, or different steps on one input, folded by `rule` (default `rules.plurality()`).

    `voters` is a step, asked `n` times; a list of steps (voters "0", "1", …); or a mapping of voter to step. The
    output is the rule's: the winner, a bool for a threshold, a number for a mean or median. `run.detail` is the
    `VoteResult`: ballots, tally, share, and why it ended.

    With the default `stop` it ends, and cancels the voters still out, as soon as nothing outstanding can change
    the outcome; ``stop=None`` waits for all. `ties` go by declared order or voter order, never by arrival; or
    ``"error"``, ``"abstain"`` (None wins), or a step that gets ``{tied}`` beside the input and says which.
    `quorum` is the least number of valid ballots (default 1; all for thresholds, where it binds the negative
    outcome). A reply that does not parse is an abstention; a failed call is an error ballot, or under
    ``on_error="fail"`` ends the vote. At `timeout` (seconds) it counts what is there, in time for a judge, or a merging
    or tie-breaking step. With `wave` only so many are asked at first, and the next so many only if those did not
    decide it: fewer calls, but later.

    Records (where all voters' `returns=` is one pydantic model, say) are voted on by `rules.fields()`, which says how,
    unless `rule`, `same` or `merge` is given. `same` says which answers are one: a function or step from an answer to
    its key (called once a valid ballot), or ``"meaning"``: the model `judge` (default: the session's) groups what
    differs by its form, in at most one call, at the end; the vote then ends early only where one spelling has more
    than half of all voters.

    With `merge` (a step or a function, as in `sections`) the output is what it makes of all valid ballots (mixture of
    agents), told which are missing; then every voter is heard, and the rule's outcome stands in `run.detail`.
    It spends at most `budget`. What no budget covers is refused before the first call; ``if_unaffordable="shrink"``
    asks one step less often, an odd number that quorum and rule allow.

    Raises `QuorumError`, `TieError`, `BranchError`, `RecordError`; `UsageError` for what cannot be.
    """
    named = _named(voters, n)
    counted = _rule(rule, list(named.values()), whole=merge is not None or same is not None)
    check_threshold(counted, list(named.values()) if same is None else ())
    breaker = _breaker(ties)
    counting = partial(VoteFold, counted, names=list(named), quorum=quorum, on_error=on_error, wave=wave)
    make_fold = partial(
        counting,
        ties="step" if breaker else ties,
        stop=None if merge is not None else WHICHEVER if same == "meaning" and stop is not None else stop,
        declared=_declared(list(named.values())) if same is None else None,
    )
    alike = as_same(same, judge, counted)
    made = VoteStep(named, make_fold, alike, breaker, as_merge(merge), name=name, timeout=timeout)
    return limited(made, budget, if_unaffordable)


def _breaker(ties: Any) -> Step[Any, Any] | None:
    """The step that breaks a tie, where one does."""
    if callable(ties):
        return as_step(ties)
    if ties not in get_args(Ties):
        raise UsageError(f"ties={ties!r}: it is 'declared', 'error', 'abstain', or a step that says which wins")
    return None


def _rule(given: Rule[Any, Any] | None, steps: Sequence[Step[Any, Any]], *, whole: bool) -> Rule[Any, Any]:
    """The rule given; where there is none, by fields for voters that declare one record type, else plurality."""
    declared = steps[0].returns
    record = record_in(declared) if all(step.returns is declared for step in steps) else None
    if isinstance(given, Fields):
        return given if given.of is not None else Fields(given.rules, record)
    if given is not None:
        return given
    return plurality() if record is None or whole else Fields({}, record)


def _declared(steps: Sequence[Step[Any, Any]]) -> tuple[Any, ...] | None:
    """The choices that all voters declare; raises `UsageError` where two of them would be counted as one."""
    first = steps[0].choices
    if first is None or any(step.choices != first for step in steps):
        return None
    kept: dict[Hashable, Any] = {}
    for choice in first:
        if kept.setdefault(ballot_key(choice), choice) is not choice:
            raise UsageError(
                f"a vote counts {kept[ballot_key(choice)]!r} and {choice!r} as one answer: give it one of them, or say "
                "with same= which answers are one"
            )
    return first


def _named(voters: Any, n: int | None) -> dict[str, Step[Any, Any]]:
    if isinstance(voters, Step) or (callable(voters) and not isinstance(voters, Mapping)):
        if not is_count(n):
            raise UsageError(f"n={n!r}: say how often to ask, at least once (an odd number avoids ties of two)")
        return dict.fromkeys(map(str, range(n)), as_step(voters))
    if isinstance(voters, str) or not isinstance(voters, Iterable):
        raise UsageError(f"voters are a step, a list of them, or a mapping of voter to step, not {voters!r:.60}")
    if n is not None:
        raise UsageError("n= is for one step asked several times; a list or mapping of voters has its own number")
    named = voters if isinstance(voters, Mapping) else {str(at): step for at, step in enumerate(voters)}
    if not named:
        raise UsageError("a vote needs at least one voter")
    if len({str(voter) for voter in named}) < len(named):
        raise UsageError(f"two voters have the same name: {', '.join(map(repr, named))}")
    return {str(voter): as_step(step) for voter, step in named.items()}
