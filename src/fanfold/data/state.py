"""What is known of a table that is being made, beside its output: what makes it, how far it is, what it cost."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import msgspec

from fanfold.core.records import Cost, Usage
from fanfold.data.formats import replace
from fanfold.data.reading import opened
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 1 << 20
"""Bytes of the input that are read at once, to tell it from another."""

VERSION = 1

Phase = Literal["running", "whole", "done"]
"""A table that is `whole` has all its rows, and only its files are still to be put in their places."""


class Made(msgspec.Struct, frozen=True):
    """What a table is made of; another of it makes another table."""

    step: str
    model: str
    input: str
    options: dict[str, str]

    def changes(self, now: Made) -> list[str]:
        """What is different `now`, in words."""
        found = []
        if self.step != now.step:
            found.append("the step or a prompt in it")
        if self.model != now.model:
            found.append(f"the model ({self.model or 'none'} before, {now.model or 'none'} now)")
        if self.input != now.input:
            found.append("the input file")
        names = [name for name in {**self.options, **now.options} if self.options.get(name) != now.options.get(name)]
        return found + [f"--{name}" for name in names]


class Spent(msgspec.Struct, frozen=True):
    """What rows took together.

    Beside the `calls` that were sent `replayed` ones were found in a journal; `paid` is the cost without these. An
    answer may have been `made_up`, and a call `billed`.
    """

    calls: int = 0
    throttled: int = 0
    usage: Usage = Usage()
    cost: Cost = Cost()
    seconds: float = 0.0
    made_up: bool = False
    replayed: int = 0
    paid: Cost = Cost()
    billed: bool = False

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.calls + other.calls,
            self.throttled + other.throttled,
            self.usage + other.usage,
            self.cost + other.cost,
            self.seconds + other.seconds,
            self.made_up or other.made_up,
            self.replayed + other.replayed,
            self.paid + other.paid,
            self.billed or other.billed,
        )

    @property
    def free(self) -> bool:
        """Whether nothing was paid, as all of it was made up."""
        return self.made_up and not self.billed


class State(msgspec.Struct, frozen=True):
    """The state of a table: its rows that came out well and its `failed` ones, in all runs so far.

    `tab` is the most, in USD, that all runs may have spent so far; it is written before it is spent. `spent` is what is
    known of that by the rows that were written.
    `map` names this making of it: another one may give a key to another row.
    """

    made: Made
    phase: Phase = "running"
    rows: int = 0
    failed: int = 0
    spent: Spent = Spent()
    tab: float = 0.0
    map: str = ""
    version: int = VERSION

    @property
    def most(self) -> float:
        """USD that all runs may have spent so far."""
        return max(self.tab, most_of(self.spent.cost))


def most_of(cost: Cost) -> float:
    """USD that something may have cost; of a cost that has no upper end, the least."""
    return cost.at_least if cost.at_most is None else cost.at_most


def read_state(path: Path) -> State | None:
    """The state that was left, or None; raises `UsageError` where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} says how far the table is, and cannot be read ({error}): use --restart") from None


def write_state(path: Path, state: State) -> None:
    """Write the state; at no moment is there half of one."""
    making = path.with_name(f"{path.name}.making")
    with making.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    replace(making, path)


def identity(path: Path) -> str:
    """What a file is: its size, and a digest of all of it, which takes less than to read its rows."""
    size, digest = 0, blake2b(digest_size=16)
    with opened(path) as file:
        try:
            while piece := file.read(PIECE):
                size += len(piece)
                digest.update(piece)
        except OSError as error:
            raise UsageError(f"{path} cannot be read after byte {size}: {error.strerror or error}") from None
    return f"{size} bytes, {digest.hexdigest()}"
