"""A vote counted the plain way, all ballots at once, and the means to set the real one beside it.

Nothing here looks at how fanfold counts: no running state, no bounds, no early end. What a rule means is written
down once more over the complete list of ballots, and "can anything still change?" is answered by trying everything.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from typing import Any

from fanfold import rules
from fanfold.core.records import Arrival, Go
from fanfold.errors import ConnectError, ParseError, QuorumError, TieError
from fanfold.folds.ballots import Said, VoteResult
from fanfold.folds.vote import VoteFold


class No(Enum):
    """How a voter can fail to give a valid ballot; OUT has not come at all."""

    ABSTAINS = "abstains"
    UNREADABLE = "unreadable"
    FAILS = "fails"
    OUT = "out"


INVALID = (No.ABSTAINS, No.FAILS)

Outcome = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """One vote: its rule by name and arguments, its policies, and what each voter says, in voter order."""

    rule: str
    votes: tuple[Any, ...]
    args: tuple[Any, ...] = ()
    ties: str = "declared"
    quorum: int | None = None
    declared: tuple[Any, ...] | None = None

    @property
    def names(self) -> list[str]:
        """The voters' names."""
        return voters(len(self.votes))

    @property
    def floor(self) -> int:
        """The quorum that binds."""
        threshold = self.rule in {"at_least", "any_of", "all_of"}
        return self.quorum or (len(self.votes) if threshold else 1)

    def fold(self, **options: Any) -> VoteFold[Any]:
        """The real fold of this vote, begun."""
        rule = getattr(rules, self.rule)(*self.args)
        settings = {"ties": self.ties, "quorum": self.quorum, "declared": self.declared, "key": plain_key}
        fold = VoteFold(rule, **{**settings, **options})
        fold.begin(self.names)
        return fold

    def only(self, indices: Iterable[int]) -> Case:
        """The same vote with only these voters in."""
        kept = set(indices)
        votes = tuple(vote if index in kept else No.OUT for index, vote in enumerate(self.votes))
        return replace(self, votes=votes)

    def completions(self) -> Iterator[Case]:
        """This vote with every voter who is out saying every thing it could."""
        out = [index for index, vote in enumerate(self.votes) if vote is No.OUT]
        for said in itertools.product(self.sayable(), repeat=len(out)):
            votes = list(self.votes)
            for index, vote in zip(out, said, strict=True):
                votes[index] = vote
            yield replace(self, votes=tuple(votes))

    def sayable(self) -> list[Any]:
        """What a voter may bring: any declared choice, else any value seen or asked for and a new one; or none."""
        if self.declared is not None:
            return [*self.declared, *INVALID]
        seen = list(dict.fromkeys(vote for vote in self.votes if not isinstance(vote, No)))
        if self.rule in {"mean", "median"}:
            return [*seen, -1e6, 1e6, *INVALID]
        asked = [value for value in self.args if isinstance(value, str) and value not in seen]
        return [*seen, *asked, "new", *INVALID]

    def valid(self) -> list[tuple[int, Any]]:
        """The valid ballots with their voters' indices."""
        return [(index, vote) for index, vote in enumerate(self.votes) if not isinstance(vote, No)]


def voters(n: int) -> list[str]:
    """Names for n voters."""
    return [f"v{index}" for index in range(n)]


def plain_key(value: object) -> Hashable:
    """A measure of equality without any finesse: the type and the value."""
    return (type(value).__name__, value)


def arrival(index: int, said: Any, text: str | None = "the reply") -> Arrival[Any]:
    """What the fan hands over when the voter at `index` says this."""
    error: BaseException | None = None
    if said is No.UNREADABLE:
        error = ParseError("no choice in the reply", text=text or "")
    elif said is No.FAILS:
        error = ConnectError(f"no route for {index}")
    value = None if isinstance(said, No) else said
    return Arrival(index, f"v{index}", None if error else Said(value, text), error, 0.0, 1.0)


def feed(fold: VoteFold[Any], case: Case, order: Iterable[int]) -> list[Go]:
    """Hand over the votes in this order, up to the fold's *enough*; gives what it answered each time."""
    answers: list[Go] = []
    flying = len(case.votes)
    for index in order:
        flying -= 1
        answers.append(fold.add(arrival(index, case.votes[index]), flying))
        if answers[-1].enough:
            break
    return answers


def result(case: Case, order: Sequence[int] | None = None, why: str = "all", **options: Any) -> VoteResult[Any]:
    """The real result, with everybody who is in folded in this order (default: as they are listed)."""
    fold = case.fold(**{"stop": None, **options})
    feed(fold, case, range(len(case.votes)) if order is None else order)
    return fold.end(why)


def said_by(fold: VoteFold[Any], why: str = "enough") -> Outcome:
    """The real fold's outcome, in the words of `outcome`."""
    try:
        found = fold.end(why)
    except QuorumError:
        return ("no quorum",)
    except TieError:
        return ("tie error",)
    if found.winner is not None:
        return ("won", found.winner)
    return ("tied", found.tied) if fold.ties == "step" and found.tied else ("nobody",)


def outcome(case: Case) -> Outcome:
    """What the vote comes to, by the definition of its rule over the complete list of ballots."""
    ballots = case.valid()
    values = [value for _, value in ballots]
    if case.rule in {"at_least", "any_of", "all_of"}:
        if reached(case, values):
            return ("won", True)
        return ("won", False) if len(values) >= case.floor else ("no quorum",)
    if len(values) < case.floor:
        return ("no quorum",)
    if case.rule == "majority":
        most = [value for value, times in Counter(values).items() if times > len(values) / 2]
        return ("won", most[0]) if most else ("nobody",)
    if case.rule == "mean":
        return ("won", float(statistics.mean(map(Fraction, values))))
    if case.rule == "median":
        return ("won", float(statistics.median(map(Fraction, values))))
    return elected(case)


def reached(case: Case, values: list[Any]) -> bool:
    """Whether a threshold rule's value has enough ballots."""
    needed = {"any_of": 1, "all_of": len(case.votes)}.get(case.rule) or case.args[0]
    return values.count(case.args[-1]) >= needed


def elected(case: Case) -> Outcome:
    """The outcome of a vote by the most ballots or weight."""
    tied = top(case)
    if not tied:
        return ("nobody",)
    if len(tied) == 1 or case.ties == "declared":
        return ("won", tied[0])
    return {"error": ("tie error",), "abstain": ("nobody",), "step": ("tied", tied)}[case.ties]


def top(case: Case) -> tuple[Any, ...]:
    """The values that share the first place, in declared order or by the first voter that has a say."""
    weight: Counter[Any] = Counter()
    first: dict[Any, int] = {}
    for index, value in case.valid():
        if weight_of(case, index):
            weight[value] += weight_of(case, index)
            first.setdefault(value, index)
    tied = [value for value in first if weight[value] == max(weight.values())]
    return tuple(sorted(tied, key=first.__getitem__ if case.declared is None else case.declared.index))


def weight_of(case: Case, index: int) -> Fraction:
    """What the ballot of a voter weighs."""
    return Fraction(str(case.args[0][f"v{index}"])) if case.rule == "weighted" else Fraction(1)


def share_of(case: Case, value: Any) -> float | None:
    """The part of the valid weight that equals a value; None where there is none."""
    whole = sum(weight_of(case, index) for index, _ in case.valid())
    part = sum(weight_of(case, index) for index, vote in case.valid() if vote == value)
    return float(part / whole) if whole else None


def certain(case: Case) -> Outcome | None:
    """The outcome that every completion gives, or None where they differ."""
    outcomes: set[Outcome] = set()
    for completion in case.completions():
        outcomes.add(outcome(completion))
        if len(outcomes) > 1:
            return None
    return outcomes.pop()
