"""From a row to the step's input, and from its output to the columns of a new table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from fanfold.data.reading import Unreadable
from fanfold.errors import UsageError
from fanfold.folds.shapes import record_in, shape
from fanfold.steps.templates import ordered, own_names

Keep = Literal["all", "none"] | tuple[str, ...]

OUTPUT = "output"
"""The column of an output that is a plain value."""

ROW = "row"
"""The column of the row's number, where the order of the rows does not tell it."""


class Item(msgspec.Struct, frozen=True):
    """One row of a table as it was read; `number` counts from 0."""

    number: int
    row: Mapping[str, Any]

    def check(self) -> None:
        """Raise `UsageError` where it could not be read."""
        if isinstance(self.row, Unreadable):
            raise self.row.why


class Columns(msgspec.Struct, frozen=True):
    """Which columns mean what: `input` is the step's input (None: the row), `key` names the row (None: its number).

    `keep` says which columns of the input are in the output, too; the key always is. `numbered` adds the row's number.
    """

    input: str | None = None
    key: str | None = None
    keep: Keep = "all"
    numbered: bool = False

    def given(self, item: Item) -> Any:
        """The step's input; raises `UsageError` where the row lacks it, or what is to be kept of it."""
        item.check()
        if self.numbered or not isinstance(self.keep, str):
            self.kept(item)  # now, and not when the row was paid for
        return item.row if self.input is None else _column(item, self.input, "--input")

    def key_of(self, item: Item) -> str:
        """What names the row; raises `UsageError` where the row lacks it."""
        item.check()
        return str(item.number if self.key is None else _column(item, self.key, "--key"))

    def kept(self, item: Item) -> dict[str, Any]:
        """What the output takes over from the input; raises `UsageError` where the row lacks it."""
        kept: dict[str, Any] = {ROW: item.number} if self.numbered else {}
        if self.key is not None:
            kept[self.key] = item.row[self.key]
        names = item.row if self.keep == "all" else () if self.keep == "none" else self.keep
        if self.numbered and (ROW in names or self.key == ROW):
            raise UsageError(f"the input has a column {ROW!r}, as has the output; leave it out of --keep")
        if self.keep == "all":
            kept.update(item.row)  # at once, for most tables have it so
        else:
            kept.update((name, _column(item, name, "--keep")) for name in names)
        return kept

    def names(self, there: Iterable[str], returns: Any) -> list[str]:
        """The columns of an output without rows: the input has these, and the step declares this type."""
        kept = there if self.keep == "all" else () if self.keep == "none" else self.keep
        record = record_in(returns)
        first = [ROW] * self.numbered + [self.key] * (self.key is not None)
        return list(dict.fromkeys([*first, *kept, *([OUTPUT] if record is None else shape(record))]))

    def row(self, item: Item, output: Any) -> dict[str, Any]:
        """The row of the output; a record's or a mapping's own names are columns of it."""
        row, made = self.kept(item), own_names(output) or {OUTPUT: output}
        for given, value in made.items():
            name = str(given)
            if name in row:
                if name not in self.kept(item):
                    raise UsageError(f"row {item.number}: the step's output has two columns {name!r}")
                raise UsageError(
                    f"row {item.number}: the step's output has a column {name!r}, as has the input; choose with --keep "
                    "(none, or the names of columns) what the output takes over"
                )
            row[name] = ordered(value)
        return row


def parse_keep(text: str) -> Keep:
    """``all``, ``none``, or names of columns with commas between."""
    whole: dict[str, Keep] = {"all": "all", "none": "none"}
    return whole.get(text) or tuple(name.strip() for name in text.split(",") if name.strip())


def _column(item: Item, name: str, option: str) -> Any:
    if name not in item.row:
        there = ", ".join(map(str, item.row))
        raise UsageError(f"row {item.number} has no column {name!r}, which {option} names (it has: {there})")
    return item.row[name]
