"""Which rows of a table are run: all, the first, or some by chance; and which of them are there already."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from fanfold.core.clock import seeded_source
from fanfold.data.columns import Item
from fanfold.data.formats import open_rows
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fanfold.data.reading import Reader


class Choice(msgspec.Struct, frozen=True):
    """The first `limit` rows, or `sample` of them by chance, the same for the same `seed`; by default all."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, number in (("limit", self.limit), ("sample", self.sample)):
            if number is not None and number < 1:
                raise UsageError(f"--{name} {number}: it is a number of rows, 1 or more")
        if self.limit is not None and self.sample is not None:
            raise UsageError("--limit takes the first rows and --sample some by chance: give one of them")

    def items(self, reader: Reader) -> Iterator[Item]:
        """The chosen rows in their order. It blocks; a sample reads the file once before, to know how long it is."""
        if self.sample is None:
            yield from islice((Item(at, row) for at, row in enumerate(reader)), self.limit)
            return
        with open_rows(reader.path) as counted:
            total = sum(1 for _ in counted)
        numbers = seeded_source(self.seed).sample(range(total), min(self.sample, total))
        chosen = set(numbers)
        for at, row in enumerate(islice(reader, max(chosen, default=-1) + 1)):
            if at in chosen:
                yield Item(at, row)

    def total(self, read: int, fraction: float, *, over: bool) -> int | None:
        """How many rows there are in all, as far as can be known after `read` rows of them."""
        if over:
            return read
        most = self.limit if self.limit is not None else self.sample
        if self.sample is not None:
            return most
        guess = round(read / fraction) if fraction > 0 else None
        return guess if most is None else most if guess is None else min(most, guess)


class Numbers:
    """A set of row numbers that takes no room for those without a gap from 0 on."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self.low = 0
        self.more: set[int] = set()
        self.count = 0
        for number in numbers:
            self.add(number)

    def __contains__(self, number: int) -> bool:
        return number < self.low or number in self.more

    def __len__(self) -> int:
        return self.count

    def add(self, number: int) -> None:
        """Take one more."""
        if number in self:
            return
        self.count += 1
        self.more.add(number)
        while self.low in self.more:
            self.more.remove(self.low)
            self.low += 1


def remaining(items: Iterable[Item], done: Numbers, first: int) -> Iterator[Item]:
    """The items that are not `done`, and not the `first` so many beside those."""
    for item in items:
        if item.number in done:
            continue
        if first:
            first -= 1
        else:
            yield item
