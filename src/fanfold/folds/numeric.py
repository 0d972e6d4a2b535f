"""Rules that average numbers: mean and median."""

from __future__ import annotations

import math
import numbers
from abc import abstractmethod
from bisect import insort
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fanfold.errors import UsageError
from fanfold.folds.counting import Count, Rule, Terms, Verdict

if TYPE_CHECKING:
    from collections.abc import Hashable


def number(value: Any) -> float | None:
    """The value as a float; None where it is no finite number (a bool is none either)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        return None
    try:
        # Adding 0.0 makes -0.0 plain zero, so that no sign tells which of the two came first.
        found = float(value) + 0.0
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None


class Numbers(Count[float]):
    """The distinct numbers in order with how often each came, and the extremes of what may still come."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.values: list[float] = []
        self.times: dict[float, int] = {}
        declared = [self._declared(choice) for choice in terms.choices or ()]
        self.least = min(declared, default=-math.inf)
        self.most = max(declared, default=math.inf)

    @staticmethod
    def _declared(choice: Any) -> float:
        found = number(choice)
        if found is None:
            raise UsageError(f"the choice {choice!r} is not a number: mean() and median() average numbers")
        return found

    def refused(self, group: Hashable, value: Any) -> str | None:
        """What is no number, or none of the choices."""
        return f"{value!r:.60} is not a number" if self.read(value) is None else super().refused(group, value)

    def take(self, index: int, group: Hashable, value: Any) -> None:
        """Count a number."""
        found = self.read(value)
        if found not in self.times:
            insort(self.values, found)
        self.times[found] = self.times.get(found, 0) + 1
        super().take(index, group, value)

    def read(self, value: Any) -> Any:
        """The number that a value counts as, or None."""
        return number(value)

    def verdict(self) -> Verdict[float]:
        """The average of what is in; it is no voter's value, so nothing has a share."""
        return Verdict(self.average())

    def at(self, rank: int, below: int = 0) -> float:
        """The number at a rank in order, if so many more come at the least that may come, and any at the most."""
        rank -= below
        if rank < 0:
            return self.least
        for value in self.values:
            rank -= self.times[value]
            if rank < 0:
                return value
        return self.most

    @abstractmethod
    def average(self) -> float:
        """The average of the valid ballots."""


class Middle(Numbers):
    """The median: the middle number, or the mean of the two middle ones."""

    def settled(self) -> bool:
        """Exact: ballots move a median most when all lie at one end, so those two bound all completions."""
        out = self.groups.pending
        return self._median(below=out) == self._median(above=out)

    def average(self) -> float:
        """The median of what is in."""
        return self._median()

    def _median(self, below: int = 0, above: int = 0) -> float:
        """The median with so many more ballots at the least, or at the most, that may still come."""
        ranks = self.groups.total + below + above
        low, high = self.at((ranks - 1) // 2, below), self.at(ranks // 2, below)
        if low == high or math.isinf(low):
            return low
        return high if math.isinf(high) else float((Fraction(low) + Fraction(high)) / 2)


class Average(Numbers):
    """The arithmetic mean, from an exact sum: no order of arrival shows in its last digit."""

    def settled(self) -> bool:
        """Only when all are in: any number may still come, and moves it."""
        return not self.groups.pending

    def average(self) -> float:
        """The mean of what is in."""
        return float(sum(Fraction(value) * times for value, times in self.times.items()) / self.groups.total)


@dataclass(frozen=True, slots=True, repr=False)
class Mean(Rule[float, float]):
    """The arithmetic mean of the valid ballots."""

    def start(self, terms: Terms) -> Count[float]:
        """A count towards the mean."""
        return Average(terms)

    def __repr__(self) -> str:
        return "mean()"


@dataclass(frozen=True, slots=True, repr=False)
class Median(Rule[float, float]):
    """The median of the valid ballots."""

    def start(self, terms: Terms) -> Count[float]:
        """A count towards the median."""
        return Middle(terms)

    def __repr__(self) -> str:
        return "median()"
