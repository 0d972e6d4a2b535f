"""Rules that elect a value: the most ballots, the most weight, more than half."""

from __future__ import annotations

import math
import numbers
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fanfold.core.numbers import as_written
from fanfold.errors import UsageError
from fanfold.folds.counting import Count, Elects, MayElect, Terms, Verdict, listed
from fanfold.folds.tally import Groups

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence


class MostWeight(Count[Any]):
    """The group of most weight wins; the ties policy says what a shared top is."""

    def settled(self) -> bool:
        """Exact: see `Count.settled`."""
        groups = self.groups
        if not groups.pending:
            return True
        # The common case, and cheap: those who are out outweigh the lead.
        if groups.contested and groups.pending > max(groups.weight.values(), default=0):
            return False
        leaders = groups.leaders()
        if not leaders:
            return False
        # A rival does best when all who are out vote for it; it can draw level in no other way.
        margin, place = groups.weight[leaders[0]] - groups.pending, groups.place(leaders[0])
        if self.terms.ties == "declared":
            return not any((weight, -then) > (margin, -place) for weight, then in groups.rivals(leaders[0]))
        return not any(weight >= margin for weight, _ in groups.rivals(leaders[0]))

    def verdict(self) -> Verdict[Any]:
        """The group that leads, or what the ties policy makes of several."""
        leaders = self.groups.leaders()
        if not leaders:
            return Verdict(None, note="no voter with a weight gave a valid ballot")
        tied = tuple(map(self.groups.spelled, leaders)) if len(leaders) > 1 else ()
        note = f"{listed(tied)} tied" if tied else ""
        if tied and self.terms.ties in {"error", "abstain"}:
            return Verdict(None, tied=tied, note=note)
        # Whichever of them a step chooses, its part is the same.
        share, bounds = self.groups.share(leaders[0]), self.groups.share_bounds(leaders[0])
        if tied and self.terms.ties == "step":
            return Verdict(None, share, bounds, tied, note)
        return Verdict(self.groups.spelled(leaders[0]), share, bounds, tied, self._broken(tied) if tied else "")

    def _broken(self, tied: Sequence[Any]) -> str:
        order = "voter" if self.groups.places is None else "declared"
        return f"{listed(tied)} tied, and {order} order decides"


class MoreThanHalf(Count[Any]):
    """A group with more than half of the valid ballots wins, else none does. It cannot tie."""

    def settled(self) -> bool:
        """Exact: see `Count.settled`."""
        groups, winners = self.groups, self._winners()
        if not winners:
            most = max((weight for weight, _ in groups.rivals()), default=0)
            return 2 * (most + groups.pending) <= groups.total + groups.pending
        return not groups.contested or 2 * groups.weight[winners[0]] > groups.total + groups.pending

    def verdict(self) -> Verdict[Any]:
        """The group with the majority, or no winner."""
        groups, winners = self.groups, self._winners()
        if not winners:
            return Verdict(None, note="no value has more than half of the valid ballots")
        return Verdict(groups.spelled(winners[0]), groups.share(winners[0]), groups.share_bounds(winners[0]))

    def _winners(self) -> list[Hashable]:
        """The group with the majority; a list, because a user's own `key` may give None."""
        groups = self.groups
        return [group for group in groups.leaders() if 2 * groups.weight[group] > groups.total]


@dataclass(frozen=True, slots=True, repr=False)
class Plurality(Elects):
    """The value with the most ballots."""

    def start(self, terms: Terms) -> Count[Any]:
        """A count by plurality."""
        return MostWeight(terms)

    def __repr__(self) -> str:
        return "plurality()"


@dataclass(frozen=True, slots=True, repr=False)
class Majority(MayElect):
    """The value with more than half of the valid ballots, or None."""

    def start(self, terms: Terms) -> Count[Any]:
        """A count by majority."""
        return MoreThanHalf(terms)

    def __repr__(self) -> str:
        return "majority()"


Weight = float | Decimal | Fraction


@dataclass(frozen=True, slots=True, repr=False)
class Weighted(MayElect):
    """The value with the most weight; None where no voter with a weight gave a valid ballot."""

    weights: Mapping[str, Weight] = field(hash=False)

    def __post_init__(self) -> None:
        exact = [_exact(voter, weight) for voter, weight in self.weights.items()]
        if not any(exact):
            raise UsageError("weighted() needs a weight above 0: with none, no voter could elect anything")
        if sum(exact) > _MOST:
            raise UsageError("the weights of weighted() add up to more than a float can hold: scale them down")

    @property
    def symmetric(self) -> bool:
        """Voters differ, unless all weights are the same; even then they are told apart by name."""
        return False

    @property
    def elects_always(self) -> bool:
        """Whether a valid ballot is enough for a winner: no voter is without a say."""
        return all(self.weights.values())

    def check(self, names: Sequence[str]) -> None:
        """Every voter has a weight, and every weight a voter."""
        missing = [name for name in names if name not in self.weights]
        if missing:
            raise UsageError(f"weighted() has no weight for {listed(missing)}: give one (0 leaves a voter no say)")
        unknown = sorted(set(self.weights) - set(names))
        if unknown:
            raise UsageError(f"weighted() weighs {listed(unknown)}, but the voters are {listed(names)}")

    def start(self, terms: Terms) -> Count[Any]:
        """A count by weight, in whole parts of the weights' common denominator."""
        exact = [_exact(name, self.weights[name]) for name in terms.names]
        scale = math.lcm(*(weight.denominator for weight in exact))
        weights = [int(weight * scale) for weight in exact]
        return MostWeight(terms, Groups(len(weights), places=terms.places, weights=weights, scale=scale))

    def __repr__(self) -> str:
        return f"weighted({dict(self.weights)!r})"


_MOST = Fraction(sys.float_info.max)


def _exact(voter: str, weight: Weight) -> Fraction:
    """The weight as it is written; raises `UsageError` for what is none."""
    whole = isinstance(weight, numbers.Rational)  # which is finite, and may be more than a float can be asked
    fit = isinstance(weight, numbers.Real | Decimal) and not isinstance(weight, bool)
    if not fit or not (whole or math.isfinite(weight)) or weight < 0:
        raise UsageError(f"the weight of {voter!r} is {weight!r}; a weight is a finite number, 0 or more")
    return as_written(weight)
