"""The files of a table that is being made: its rows so far, its failed ones, its state; and their places at the end."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.calls.amounts import PICO
from fanfold.core.clock import now
from fanfold.data.choosing import Numbers
from fanfold.data.columns import ROW, Columns, Item
from fanfold.data.formats import format_of, logged, publish, replace, suffix_of
from fanfold.data.jsonl import line_of
from fanfold.data.logs import Log
from fanfold.data.state import Phase, Spent, State, most_of, write_state
from fanfold.errors import UsageError, noted_fields, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fanfold.steps.row import Row

EVERY = 1.0
"""Seconds between two times that the rows are made to reach the disk."""


class Places(msgspec.Struct, frozen=True):
    """Where the files of the table `out` are; those that end in ``.partial`` are only there while it is made."""

    out: Path

    @property
    def log(self) -> Path:
        """The rows so far."""
        return self.out.with_name(f"{self.out.name}.partial")

    @property
    def failed(self) -> Path:
        """The rows that failed, with their errors."""
        return self.out.with_name(f"{self.out.name}.failed.jsonl")

    @property
    def failed_log(self) -> Path:
        """Those so far."""
        return self.failed.with_name(f"{self.failed.name}.partial")

    @property
    def state(self) -> Path:
        """How far it is."""
        return self.out.with_name(f"{self.out.name}.state.json")

    @property
    def journal(self) -> Path:
        """The calls that were answered."""
        return self.out.with_name(f"{self.out.name}.journal")


def written_to(out: Path) -> Path:
    """The file that an output is: the one that a link leads to, for what replaced the link would leave that as it was.

    A table that stands by the link's own name goes on there. Raises `UsageError` where the name that was given tells no
    format, for a link that leads to itself, and for one to a name of another format, or of none.
    """
    suffix = format_of(out)
    if not out.is_symlink() or Places(out).state.exists():
        return out
    real = Path(os.path.realpath(out))
    if real.is_symlink():
        raise UsageError(f"{out} is a link that leads to itself: give the name of a file for the output")
    if suffix_of(real) != suffix:
        raise UsageError(f"{out} is a link that leads to {real}, which is no {suffix} by its name: give another output")
    return real


class Files:
    """The files of one table while this process makes it. All of it blocks, and is done by one thread.

    A row that failed is on the disk before any row after it is written, so that the rows that are there, in their
    order, are the first ones that did not fail: what a crash leaves says by itself which rows are done.
    """

    def __init__(self, places: Places, columns: Columns, state: State, *, journaled: bool = False) -> None:
        self.places = places
        self.columns = columns
        self.state = state
        self.journaled = journaled
        self.earlier = state.spent
        self.earlier_tab = state.most
        self.spent = Spent()
        self.log = Log(places.log)
        try:
            self.failed_log = Log(places.failed_log)
        except BaseException:
            self.log.close()
            raise
        self.next = 0
        self.stopped = False
        self.synced = now()

    def clear(self) -> None:
        """Begin anew, with the state as it is."""
        self.log.clear()
        self.failed_log.clear()
        write_state(self.places.state, self.state)

    def done(self) -> tuple[Numbers, int]:
        """Which rows are there: by their numbers, and beside those the first so many."""
        rows = self.log.count()
        self.state = msgspec.structs.replace(self.state, rows=rows, failed=self.failed_log.count())
        failed = _numbers(self.places.failed_log)
        if self.columns.numbered:
            return Numbers(chain(failed, _numbers(self.places.log))), 0
        return Numbers(failed), rows

    def write(self, rows: Sequence[Row[Any]]) -> None:
        """Append rows; where their order counts, only those that follow without a gap.

        The others were paid for all the same, unless a journal keeps their calls for when they are run again. Once a
        row could not be written none is any more, for it would take its place; raises why it could not.
        """
        if not self.journaled:
            self.charge(rows)
        if self.stopped:
            return
        self.stopped = True
        following = [row for row in rows if self._follows(row)]
        failed, well, wrong = self._lines(following)
        if failed:
            self.failed_log.append(failed)
            self.failed_log.sync()
        self.log.append(well)
        made, lost = self.state.rows + len(well), self.state.failed + len(failed)
        self.state = msgspec.structs.replace(self.state, rows=made, failed=lost)
        if self.journaled:
            self.charge(following[: len(well) + len(failed)])
        if wrong is not None:
            raise wrong
        self.stopped = False
        if now() - self.synced >= EVERY:
            self.sync()

    def charge(self, rows: Sequence[Row[Any]]) -> None:
        """Count what rows took, written or not."""
        self.spent = sum(map(spent_on, rows), self.spent)
        self.state = msgspec.structs.replace(self.state, spent=self.earlier + self.spent)

    def promise(self, picos: int) -> None:
        """Let the disk know that this run may spend so many picodollars; they are not spent before."""
        self._owe(picos / PICO)
        write_state(self.places.state, self.state)

    def end(self, ready: Sequence[Row[Any]], lost: Sequence[Row[Any]], picos: int) -> None:
        """This run has ended: write what is `ready`, and count what was `lost`.

        So much was charged to its budget; one without a budget is known by what its rows cost.
        """
        if ready:
            self.write(ready)
        self.charge(lost)
        self._owe(max(picos / PICO, most_of(self.spent.paid)))

    def _owe(self, usd: float) -> None:
        self.state = msgspec.structs.replace(self.state, tab=self.earlier_tab + usd)

    def sync(self, phase: Phase = "running") -> None:
        """Let the rows reach the disk, and the state with them."""
        self.log.sync()
        self.state = msgspec.structs.replace(self.state, phase=phase)
        write_state(self.places.state, self.state)
        self.synced = now()

    def finish(self, names: Callable[[], Sequence[str]]) -> None:
        """Put the files into their places; what a crash leaves of that, `settle` completes."""
        self.sync("whole")
        self.state = settle(self.places, self.state, names)

    def close(self) -> None:
        """Give the files free for others."""
        self.log.close()
        self.failed_log.close()

    def _lines(self, rows: Sequence[Row[Any]]) -> tuple[list[bytes], list[bytes], UsageError | None]:
        """The lines of the failed rows and of those that came out well, up to one that cannot be written."""
        failed, well = list[bytes](), list[bytes]()
        for row in rows:
            try:
                if row.error is None:
                    well.append(line_of(self.columns.row(row.input, row.output)))
                else:
                    failed.append(line_of(_failure(row, row.error)))
            except UsageError as error:
                return failed, well, error
            except (RecursionError, TypeError, ValueError) as error:
                what = f"row {row.input.number}: the step's output cannot be written ({error}): let it give plain data"
                return failed, well, UsageError(what)
        return failed, well, None

    def _follows(self, row: Row[Any]) -> bool:
        if self.columns.numbered:
            return True
        follows = row.number == self.next
        self.next += follows
        return follows


def settle(places: Places, state: State, names: Callable[[], Sequence[str]]) -> State:
    """Put the files of a table that is whole into their places; gives its last state.

    `names` gives the columns of one without rows.
    """
    if places.failed_log.exists():
        if state.failed:
            replace(places.failed_log, places.failed)
        else:
            places.failed_log.unlink()
            places.failed.unlink(missing_ok=True)
    if places.log.exists():
        publish(places.log, places.out, *(() if state.rows else names()))
    done = msgspec.structs.replace(state, phase="done")
    write_state(places.state, done)
    return done


def spent_on(row: Row[Any]) -> Spent:
    """What one row took."""
    return Spent(
        row.calls,
        row.throttled,
        row.usage,
        row.cost,
        row.seconds,
        row.made_up,
        replayed=row.replayed,
        paid=row.paid,
        billed=row.billed,
    )


def _failure(row: Row[Any], error: BaseException) -> dict[str, Any]:
    item: Item = row.input
    told = {"type": type(error).__name__, "message": words_of(error)} | noted_fields(error)
    return {ROW: item.number, "key": row.key, "error": told, "input": item.row}


def _numbers(path: Path) -> Iterator[int]:
    for row in logged(path):
        yield row[ROW]
