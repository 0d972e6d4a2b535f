"""Rules that ask whether one value got enough ballots: at least k, any, all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fanfold.core.numbers import counted, is_count
from fanfold.errors import UsageError
from fanfold.folds.counting import Count, Reach, Rule, Terms, Verdict, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class EnoughOf(Count[bool]):
    """Whether `needed` ballots equal the value: once they do, that stands, whatever else is missing."""

    def __init__(self, terms: Terms, needed: int, value: Any) -> None:
        super().__init__(terms)
        self.needed = needed
        self.group = terms.key(value)

    def reach(self) -> Reach:
        """Reached or open by what is in and what is out."""
        have = self.groups.weight.get(self.group, 0)
        if have >= self.needed:
            return "reached"
        return "open" if have + self.groups.pending >= self.needed else "closed"

    def settled(self) -> bool:
        """Exact: see `Count.settled`."""
        return self.reach() != "open"

    def verdict(self) -> Verdict[bool]:
        """Whether it is reached; the share is that of the value."""
        reached = self.reach() == "reached"
        return Verdict(reached, self.groups.share(self.group), self.groups.share_bounds(self.group))


@dataclass(frozen=True, slots=True, repr=False)
class Threshold(Rule[T, bool]):
    """Whether at least `k` voters say `value`; where `k` is None, whether all do."""

    name: Literal["at_least", "any_of", "all_of"]
    k: int | None
    value: T = field(hash=False)

    def __post_init__(self) -> None:
        if self.k is not None and not is_count(self.k):
            raise UsageError(f"at_least() takes a number of voters from 1 up, not {self.k!r}")
        if callable(self.value):
            raise UsageError(
                f"{self.name}() counts a value, not what a function is true of: give each voter as step | function"
            )
        if self.value is None:
            raise UsageError(f"{self!r} can count nothing: a voter whose value is None abstains")

    def check(self, names: Sequence[str]) -> None:
        """There are as many voters as the threshold asks for."""
        if self.k is not None and self.k > len(names):
            raise UsageError(f"{self!r} cannot be reached by {counted(len(names), 'voter')}: lower k or add voters")

    def quorum(self, voters: int) -> int:
        """All of them: an errored voter must not pass for one that said no."""
        return voters

    def least(self, voters: int) -> int:
        """As many as have to say it."""
        return voters if self.k is None else self.k

    def start(self, terms: Terms) -> Count[bool]:
        """A count of one value."""
        count = EnoughOf(terms, len(terms.names) if self.k is None else self.k, self.value)
        if terms.places is not None and count.group not in terms.places:
            raise UsageError(f"{self!r} counts a value that is not among the choices {listed(terms.choices or ())}")
        return count

    def __repr__(self) -> str:
        return f"{self.name}({f'{self.k}, ' if self.name == 'at_least' else ''}{self.value!r})"
