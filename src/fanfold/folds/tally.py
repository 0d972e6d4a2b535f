"""Counting: ballots gathered into groups of equal value, and the tally that a result shows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

Key = Callable[[Any], Hashable]
"""What two values must share to count as one: `fanfold.folds.canonical.ballot_key`, or one's own."""


NOBODY: Hashable = object()
"""A group that no value is in; None would not do, for a user's own key may give that."""


class Tally(Mapping[T, float]):
    """Value to count (or weight), most first, ties in declared or voter order.

    It is looked up by the ballots' own measure of equality, so `tally["Spam."]` finds ``spam``, ``True``
    and ``1`` are two values, and lists count too, which a dict could not hold.
    """

    __slots__ = ("_entries", "_key")

    def __init__(self, pairs: Iterable[tuple[T, float]], key: Key) -> None:
        self._key = key
        self._entries = {key(value): (value, count) for value, count in pairs}

    def __getitem__(self, value: T) -> float:
        try:
            return self._entries[self._key(value)][1]
        except KeyError:
            raise KeyError(value) from None

    def __iter__(self) -> Iterator[T]:
        return (value for value, _ in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return len(self) == len(other) and all(self.get(value) == count for value, count in other.items())

    def __hash__(self) -> int:
        # Equal tallies may be spelled differently; their counts they share.
        return hash(tuple(sorted(self.values())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{value!r}: {count!r}" for value, count in self._entries.values())
        return f"Tally({{{shown}}})"


class Groups:
    """The valid ballots by group, and the voters still out: what every rule that compares values reads.

    Weights are whole numbers (`scale` of them make 1), so sums are exact and no order of arrival shows in
    them. A voter of weight 0 is tallied and counts towards a quorum, but has no say: neither in who wins
    nor in a tie.
    """

    def __init__(
        self,
        voters: int,
        *,
        places: Mapping[Hashable, int] | None = None,
        weights: Sequence[int] | None = None,
        scale: int = 1,
    ) -> None:
        self.voters = voters
        self.places = places
        self.weights = [1] * voters if weights is None else weights
        self.scale = scale
        self.weight: dict[Hashable, int] = {}
        self.total = 0
        # Not a plain dict: finding the first key of one that is emptied from its front is linear.
        self.out = OrderedDict((index, weight) for index, weight in enumerate(self.weights) if weight)
        self.pending = sum(self.weights)
        # Where only one choice is declared, nothing that comes can speak against it.
        self.contested = places is None or len(places) > 1
        self._first: dict[Hashable, int] = {}
        self._spelling: dict[Hashable, tuple[int, Any]] = {}

    def arrive(self, index: int) -> None:
        """The voter at `index` is no longer out, whatever it brought."""
        self.pending -= self.out.pop(index, 0)

    def add(self, index: int, group: Hashable, value: Any) -> None:
        """Count one valid ballot."""
        weight = self.weights[index]
        self.weight[group] = self.weight.get(group, 0) + weight
        self.total += weight
        if weight:
            self._first[group] = min(index, self._first.get(group, index))
        if index <= self._spelling.get(group, (index,))[0]:
            self._spelling[group] = (index, value)

    def spelled(self, group: Hashable) -> Any:
        """The group's value as its first voter, in voter order, put it."""
        return self._spelling[group][1]

    def place(self, group: Hashable) -> int:
        """Where a group stands in ties: by declared order, else by its first voter with a say."""
        return self._first.get(group, self.voters) if self.places is None else self.places[group]

    def leaders(self) -> list[Hashable]:
        """The groups of most weight, in order of their places; none while nobody with a say has voted."""
        top = max(self.weight.values(), default=0)
        tied = [group for group, weight in self.weight.items() if weight == top and top]
        return sorted(tied, key=self.place)

    def rivals(self, leader: Hashable = NOBODY) -> Iterator[tuple[int, int]]:
        """Weight now, and place once all who are out vote for it, of every value that is not the leader's.

        Without declared choices that includes a value nobody has voted for yet.
        """
        if self.places is not None:
            others = ((group, place) for group, place in self.places.items() if group != leader)
            yield from ((self.weight.get(group, 0), place) for group, place in others)
            return
        nearest = next(iter(self.out), self.voters)
        for group, weight in self.weight.items():
            if group != leader:
                yield weight, min(self.place(group), nearest)
        yield 0, nearest

    def share(self, group: Hashable) -> float:
        """The group's part of the valid weight."""
        return self.weight.get(group, 0) / self.total

    def share_bounds(self, group: Hashable) -> tuple[float, float]:
        """The least and the most that `share` can still become, whatever comes from the voters still out."""
        weight, whole = self.weight.get(group, 0), self.total + self.pending
        least = weight / whole if self.contested else self.share(group)
        return least, (weight + self.pending) / whole

    def tally(self, key: Key) -> Tally[Any]:
        """Every group under its spelling, most weight first."""
        order = sorted(self.weight, key=lambda g: (-self.weight[g], self.place(g), self._spelling[g][0]))
        counts = ((self.spelled(g), self._shown(self.weight[g])) for g in order)
        return Tally(counts, key)

    def _shown(self, weight: int) -> float:
        return weight if self.scale == 1 else weight / self.scale
