"""Counts that only fields need: what lists have in common, the exact middle of whole numbers, and fields left empty."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fanfold.folds.counting import Count, Rule, Terms, Verdict
from fanfold.folds.numeric import Numbers
from fanfold.folds.tally import Groups, Tally

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Bounds = tuple[float, float]


class Members(Count[Any]):
    """What is in more than half of the valid ballots' lists (or sets) is in the result, else it is out.

    How often a list has an item does not count. Items are spelled, and stand, as the first voters in voter order that
    mention them have it. It cannot tie. `terms` are those of the items.
    """

    def __init__(self, terms: Terms, make: type[Any]) -> None:
        super().__init__(terms, Groups(len(terms.names)))
        self.make = make
        self.times: dict[Hashable, int] = {}
        self.first: dict[Hashable, tuple[int, int, Any]] = {}

    def refused(self, group: Hashable, value: Any) -> str | None:
        """What is no list, or has an item that is none of the choices."""
        del group
        if not isinstance(value, list | tuple | AbstractSet):
            return f"{value!r:.60} is no list"
        return next(filter(None, (super(Members, self).refused(self.terms.key(item), item) for item in value)), None)

    def take(self, index: int, group: Hashable, value: Any) -> None:
        """Count every item of one list once."""
        super().take(index, group, value)
        # A set has no order that is the same in every process; its items get one here.
        items = sorted(value, key=repr) if isinstance(value, AbstractSet) else value
        seen: dict[Hashable, tuple[int, int, Any]] = {}
        for at, item in enumerate(items):
            seen.setdefault(self.terms.key(item), (index, at, item))
        for key, mention in seen.items():
            self.times[key] = self.times.get(key, 0) + 1
            if key not in self.first or mention[:2] < self.first[key][:2]:
                self.first[key] = mention

    def settled(self) -> bool:
        """Exact: an item's fate is open while those who are out can still carry it over the half, or keep it under.

        So is the order of a list's items, while two of them stand behind a voter who is out and may put them otherwise.
        """
        total, out = self.groups.total, self.groups.pending
        if 2 * out > total + out and self._unseen():
            return False
        decided = all(2 * times > total + out or 2 * (times + out) <= total + out for times in self.times.values())
        return decided and (not out or not self._movable())

    def _movable(self) -> bool:
        if issubclass(self.make, AbstractSet):
            return False
        nearest = next(iter(self.groups.out))
        return sum(self.first[key][0] > nearest for key in self.times if self._is_in(key)) > 1

    def verdict(self) -> Verdict[Any]:
        """The items that are in; the share is the least agreement on any one item, in or out."""
        chosen = [key for key in sorted(self.first, key=self._place) if self._is_in(key)]
        winner = self.make(self.first[key][2] for key in chosen)
        return Verdict(winner, self._share(), self._bounds())

    def tally(self) -> Tally[Any]:
        """Every item with the number of lists that have it."""
        order = sorted(self.first, key=lambda key: (-self.times[key], self._place(key)))
        return Tally(((self.first[key][2], self.times[key]) for key in order), self.terms.key)

    def _place(self, key: Hashable) -> tuple[int, int]:
        return self.first[key][:2]

    def _is_in(self, key: Hashable) -> bool:
        return 2 * self.times[key] > self.groups.total

    def _unseen(self) -> bool:
        """Whether an item may still come that nobody has mentioned."""
        return self.terms.places is None or len(self.times) < len(self.terms.places)

    def _agreeing(self) -> list[int]:
        """For every item, how many lists are as the result is."""
        total = self.groups.total
        return [times if self._is_in(key) else total - times for key, times in self.times.items()]

    def _share(self) -> float:
        return min(self._agreeing(), default=self.groups.total) / self.groups.total

    def _bounds(self) -> Bounds:
        total, out = self.groups.total, self.groups.pending
        agreeing = self._agreeing() + [total] * (out > 0 and self._unseen())
        least = min(agreeing, default=total + out)
        return least / (total + out), (min(self._agreeing(), default=total) + out) / (total + out)


class LowerMiddle(Numbers):
    """The median of whole or decimal numbers, exactly: of an even number of ballots the lower of the middle two.

    So it is a number that a voter gave, and of the field's own type.
    """

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.said: dict[Any, tuple[int, Any]] = {}

    def read(self, value: Any) -> Any:
        """The number as it is: a float could not hold every whole one."""
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            return super().read(value)
        # A whole number is finite however long it is, and one of more than 308 digits has no float to ask.
        return value if isinstance(value, int) or value.is_finite() else None

    def take(self, index: int, group: Hashable, value: Any) -> None:
        """Count a number; equal ones (1.0 and 1.00) are spelled as the first voter has it."""
        number = self.read(value)
        self.said[number] = min(self.said.get(number, (index, value)), (index, value), key=lambda said: said[0])
        super().take(index, group, value)

    def settled(self) -> bool:
        """Exact: ballots move it most when all lie at one end, so those two bound all completions."""
        out = self.groups.pending
        return bool(self._middle(below=out) == self._middle(above=out))

    def average(self) -> Any:
        """The middle of what is in."""
        return self.said[self._middle()][1]

    def _middle(self, below: int = 0, above: int = 0) -> Any:
        return self.at((self.groups.total + below + above - 1) // 2, below)


class Maybe(Count[Any]):
    """A field that may be None: None wins with more than half of the valid ballots, else those that say more decide."""

    def __init__(self, terms: Terms, inner: Count[Any]) -> None:
        super().__init__(terms.declaring(None))
        self.inner = inner
        self.nothing = terms.key(None)

    def arrive(self, index: int) -> None:
        """The voter is in, here and among those who may say more."""
        super().arrive(index)
        self.inner.arrive(index)

    def refused(self, group: Hashable, value: Any) -> str | None:
        """What is neither None nor counted by the rule."""
        return None if value is None else self.inner.refused(group, value)

    def take(self, index: int, group: Hashable, value: Any) -> None:
        """Count a value, or that there is none."""
        super().take(index, group, value)
        if value is not None:
            self.inner.take(index, group, value)

    def settled(self) -> bool:
        """Exact: either None has its half for certain, or it cannot get it and nothing can change the value."""
        empty, total, out = self._empty(), self.groups.total, self.groups.pending
        if 2 * empty > total + out:
            return True
        return 2 * (empty + out) <= total + out and self.inner.settled()

    def verdict(self) -> Verdict[Any]:
        """None, or the verdict on the values; the share counts those with None as against it."""
        groups = self.groups
        if 2 * self._empty() > groups.total:
            return Verdict(None, groups.share(self.nothing), groups.share_bounds(self.nothing))
        found = self.inner.verdict()
        if found.share is None or found.bounds is None:
            return found
        filled, out = groups.total - self._empty(), groups.pending
        whole = groups.total + out
        share = min(found.share, filled / groups.total)
        bounds = (min(found.bounds[0], filled / whole), min(found.bounds[1], (filled + out) / whole))
        return Verdict(found.winner, share, bounds, found.tied, found.note, found.fields)

    def tally(self) -> Tally[Any]:
        """The tally of the values, and how often there was none."""
        counts = list(self.inner.tally().items())
        if self._empty():
            counts.append((None, self._empty()))
        return Tally(sorted(counts, key=lambda pair: -pair[1]), self.terms.key)

    def _empty(self) -> int:
        return self.groups.weight.get(self.nothing, 0)


@dataclass(frozen=True, slots=True, repr=False)
class Membership(Rule[Any, Any]):
    """The items that are in more than half of the lists; `make` makes a list of them, `choices` are declared items."""

    make: type[Any]
    choices: Sequence[Any] | None

    def start(self, terms: Terms) -> Count[Any]:
        """A count of items."""
        return Members(terms.declaring(self.choices), self.make)

    def __repr__(self) -> str:
        return "membership"


@dataclass(frozen=True, slots=True, repr=False)
class LowerMedian(Rule[Any, Any]):
    """The median of whole or decimal numbers, as one that a voter gave."""

    def start(self, terms: Terms) -> Count[Any]:
        """A count towards the lower middle."""
        return LowerMiddle(terms)

    def __repr__(self) -> str:
        return "median()"
