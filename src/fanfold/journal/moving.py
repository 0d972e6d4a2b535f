"""Journals as lines of JSON: to read, to keep beside tests, to bring into another journal."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fanfold.errors import JournalCorrupt, JournalError
from fanfold.journal import store as stores
from fanfold.journal.entries import ADVICE, Entry
from fanfold.journal.lock import OwnerLock

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Iterator

FORMAT = 2
"""The version of the lines; the first line of an export says it."""

BATCH = 512


class Head(msgspec.Struct, frozen=True):
    """The first line."""

    fanfold_journal: int


class Line(msgspec.Struct, frozen=True):
    """An entry as a line: its body stands in it as JSON, bytes as hexadecimal digits."""

    kind: str
    run: int
    place: str
    nth: int
    ordinal: int
    digest: str
    at: float
    body: msgspec.Raw
    checksum: str


class Verified(NamedTuple):
    """What `verify` found: how many entries and runs are whole, and what is not."""

    entries: int
    runs: int
    damaged: tuple[str, ...]


@contextmanager
def owned(path: str | os.PathLike[str]) -> Iterator[sqlite3.Connection]:
    """A journal's writing connection, with its lock; raises `JournalLocked` where somebody has it open."""
    lock = OwnerLock(Path(path))
    try:
        with stores.reported(Path(path)), closing(stores.open_to_write(Path(path))) as store:
            lock.hold()
            yield store
    finally:
        lock.release()


def export(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """A journal as lines, in the order of its history; raises `JournalCorrupt`."""
    with stores.reading(Path(path)) as store:
        yield msgspec.json.encode(Head(FORMAT)) + b"\n"
        for entry in stores.select(store, "1 ORDER BY seq"):
            yield msgspec.json.encode(_line(entry)) + b"\n"


def bring_in(path: str | os.PathLike[str], lines: Iterable[bytes]) -> int:
    """Add exported lines to a journal, as runs of their own; gives how many entries those were.

    All of them or none: raises `JournalCorrupt` for a line that is not what was exported.
    """
    with owned(path) as store:
        store.execute("BEGIN IMMEDIATE")
        first = stores.number(store, "SELECT max(run) FROM entries")
        entries = [entry._replace(run=first + entry.run).signed() for entry in read(lines)]
        stores.append(store, entries)
        store.execute("COMMIT")
    return len(entries)


def verify(path: str | os.PathLike[str]) -> Verified:
    """Check the structure of the file and every entry in it; raises `JournalError` where there is no journal."""
    damaged: list[str] = []
    whole, runs = 0, set()
    with stores.reading(Path(path)) as store:
        try:
            with stores.reported(Path(path)):
                stores.check_structure(store, Path(path))
        except JournalCorrupt as error:
            damaged.append(str(error))
        for number in _numbers(store, Path(path), damaged):
            try:
                with stores.reported(Path(path)):
                    for entry in stores.select(store, "seq = ?", (number,)):
                        whole += 1
                        runs.add(entry.run)
            except JournalCorrupt as error:
                damaged.append(f"entry {number}: {str(error).removesuffix(ADVICE)}")
    return Verified(whole, len(runs), tuple(damaged))


def _numbers(store: sqlite3.Connection, path: Path, damaged: list[str]) -> list[int]:
    """The numbers of all entries that the file still lists; where it cannot go on, that is `damaged`."""
    numbers: list[int] = []
    try:
        with stores.reported(path):
            for (number,) in store.execute("SELECT seq FROM entries ORDER BY seq"):
                numbers.append(number)
    except JournalCorrupt as error:
        damaged.append(f"what comes after entry {numbers[-1] if numbers else 0} cannot be listed: {error}")
    return numbers


def _line(entry: Entry) -> Line:
    given = entry._asdict()
    given |= {"digest": entry.digest.hex(), "checksum": entry.checksum.hex(), "body": msgspec.Raw(entry.body.encode())}
    return Line(**given)


def read(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of exported lines; raises `JournalCorrupt` for a line that is not what was exported."""
    head = True
    for number, line in enumerate(lines, 1):
        try:
            if head:
                version = msgspec.json.decode(line, type=Head).fanfold_journal
                if version > FORMAT:
                    raise JournalError(
                        f"these lines were exported by a newer fanfold (format {version}): update this one"
                    )
                head = False
            elif line.strip():
                yield _entry(msgspec.json.decode(line, type=Line)).check()
        except (msgspec.MsgspecError, ValueError) as error:
            raise JournalCorrupt(f"line {number} is not an exported entry: {error}") from error
        except JournalCorrupt as error:
            raise JournalCorrupt(f"line {number}: {error}") from error
    if head:
        raise JournalCorrupt("there is not one line: an export begins with a line that says its format")


def _entry(line: Line) -> Entry:
    return Entry(
        line.kind,
        line.run,
        line.place,
        line.nth,
        line.ordinal,
        bytes.fromhex(line.digest),
        line.at,
        bytes(line.body).decode(),
        bytes.fromhex(line.checksum),
    )
