"""The SQLite file: how it is opened, checked and brought up to date, and the few statements that are run on it."""

from __future__ import annotations

import functools
import logging
import os
import sqlite3
from contextlib import closing, contextmanager
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanfold.errors import JournalCorrupt, JournalError
from fanfold.journal.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

logger = logging.getLogger("fanfold")

APPLICATION = 0x66616E66
"""SQLite's application id of a journal: ``fanf``."""

HEAD = 72
"""Bytes of a SQLite file up to the end of its application id."""

BUSY = 1000
"""Milliseconds to wait for a foreign connection that holds the file."""

CHECKED = 64 * 2**20
"""Bytes up to which a file's structure is checked each time it is opened; beyond, `fanfold journal verify` does."""

PAGE = 8192
"""Bytes of a page of a new file: an entry with a prompt and a reply takes about 2 KB, of which 4096 hold one."""

LOGGED = 4096
"""Pages in the log (32 MB) from which on it is taken into the file, which all who write then wait for.

SQLite's own 1,000 would come every second or two at a thousand calls a second, and be felt by one call in a hundred.
"""

CHUNK = 128
"""Entries a statement: each statement gives the interpreter's lock away and has to get it back."""

COLUMNS = len(Entry._fields)

BLOBS = Entry._fields.index("digest"), Entry._fields.index("checksum")
"""Columns that go to `sqlite3` as a `bytearray`: of `bytes` it asks each time whether somebody adapts them."""

TROUBLE = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second where its own words quote damaged bytes."""

LAST = 2**63 - 1
"""The largest number that SQLite takes."""

SELECT = "SELECT kind, run, place, nth, ordinal, digest, at, body, checksum FROM entries WHERE "
INSERT = "INSERT INTO entries (kind, run, place, nth, ordinal, digest, at, body, checksum) VALUES "


def migrations() -> list[str]:
    """The scripts that bring a file from one schema to the next, in order."""
    folder = files("fanfold.journal") / "migrations"
    found = sorted(part.name for part in folder.iterdir() if part.name.endswith(".sql"))
    return [(folder / name).read_text("utf-8") for name in found]


def open_to_write(path: Path, *, cache: bool = False) -> sqlite3.Connection:
    """The one writing connection, on the thread that calls this; makes the file where there is none.

    Raises `JournalCorrupt` for a damaged file and `JournalError` for one that is no journal or cannot be written.
    """
    _report_affected(sqlite3.sqlite_version_info)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.pread(file, HEAD, 0)[-4:] in {b"", APPLICATION.to_bytes(4, "big")}:
                os.fchmod(file, 0o600)  # before SQLite makes its companions, with this mode; no one else's file
        finally:
            os.close(file)
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be opened for writing: {error.strerror}") from error
    return _opened(path, f"{path.absolute().as_uri()}?mode=rw", write=True, cache=cache)


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, on the thread that calls this."""
    if not path.exists():
        raise JournalError(f"there is no journal {path}: record one first")
    # Without its companions, in a folder that nobody may write to, a file in WAL mode opens only as immutable.
    file = path.resolve()
    alone = not Path(f"{file}-wal").exists() and not os.access(file.parent, os.W_OK)
    return _opened(path, f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' * alone}", write=False, cache=False)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write; what SQLite says of the file meanwhile is raised as a `JournalError`."""
    with reported(path), closing(open_to_read(path)) as store:
        yield store


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Raise what SQLite says of the file as a `JournalError`."""
    try:
        yield
    except TROUBLE as error:
        raise told(error, path) from error


def _opened(path: Path, uri: str, *, write: bool, cache: bool) -> sqlite3.Connection:
    try:
        store = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=512, timeout=BUSY / 1000)
    except sqlite3.Error as error:
        raise told(error, path) from error
    try:
        _check_file(store, path)
        if write:
            store.execute(f"PRAGMA page_size = {PAGE}")
            store.execute("PRAGMA journal_mode = WAL")
            store.execute("PRAGMA synchronous = FULL")
            store.execute("PRAGMA secure_delete = ON")
            store.execute(f"PRAGMA wal_autocheckpoint = {LOGGED}")
        _migrate(store, path, write=write)
        if cache and write:
            store.execute("CREATE INDEX IF NOT EXISTS calls_by_digest ON entries (digest, ordinal) WHERE kind = 'call'")
    except TROUBLE as error:
        store.close()
        raise told(error, path) from error
    except BaseException:
        store.close()
        raise
    return store


def _check_file(store: sqlite3.Connection, path: Path) -> None:
    application = _one(store, "PRAGMA application_id")
    tables = _one(store, "SELECT count(*) FROM sqlite_master")
    if application != APPLICATION and tables:
        raise JournalError(f"{path} is a SQLite file, but not a journal of fanfold: give another path")
    if path.stat().st_size <= CHECKED:
        check_structure(store, path)


def check_structure(store: sqlite3.Connection, path: Path) -> None:
    """Raise `JournalCorrupt` where SQLite finds the file damaged."""
    said = _one(store, "PRAGMA integrity_check(1)")
    if said != "ok":
        raise JournalCorrupt(f"the journal {path} is damaged: {said}")


def _migrate(store: sqlite3.Connection, path: Path, *, write: bool) -> None:
    scripts = migrations()
    version = _one(store, "PRAGMA user_version")
    if version > len(scripts):
        raise JournalError(f"{path} was written by a newer fanfold (schema {version}): update this one")
    if version == len(scripts):
        return
    if not write and not version:
        raise JournalError(f"{path} is empty, and no journal yet: record one first")
    if not write:
        return  # the columns are the same in all schemas: what is only read need not be brought up to date
    for number, script in enumerate(scripts[version:], version + 1):
        store.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {number}; COMMIT;"
        )


class Standing:
    """The file and its log as they stood where their paths lead, for whoever has them open.

    SQLite writes on into a file that was removed, moved away or cut short, and no error says that all of it is lost.
    Its log may become shorter: whoever makes a copy may take it into the file first.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.resolve()  # for good: who has it open may go to another folder
        log = Path(f"{self._file}-wal")
        self._seen = {self._file: _stands(self._file), log: _stands(log)}
        self.path = path

    def check(self) -> None:
        """Raise `JournalError` where one of them is gone or is another, or where the file holds less than it did."""
        for file, seen in self._seen.items():
            found = _stands(file)
            cut = seen is not None and found is not None and file == self._file and found[2] < seen[2]
            if seen is not None and (found is None or found[:2] != seen[:2] or cut):
                what = "removed or moved away" if found is None else "replaced or cut short"
                raise JournalError(
                    f"the journal {self.path} cannot be kept: {file} was {what} while it was open, so what was written "
                    "in the last moments may be lost; put it back, or begin another one"
                )
            self._seen[file] = found


def _stands(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size


def append(store: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Write entries, all or none: one statement is a transaction by itself, and every further one costs time."""
    alone = len(entries) <= CHUNK or store.in_transaction
    if not alone:
        store.execute("BEGIN IMMEDIATE")
    for at in range(0, len(entries), CHUNK):
        chunk = entries[at : at + CHUNK]
        given: list[Any] = list(chain.from_iterable(chunk))
        for blob in BLOBS:
            given[blob::COLUMNS] = map(bytearray, given[blob::COLUMNS])
        store.execute(_insert(len(chunk)), given)
    if not alone:
        store.execute("COMMIT")


def select(store: sqlite3.Connection, where: str, given: Sequence[Any] = ()) -> Iterator[Entry]:
    """The entries that a condition (of ours) names, each checked; raises `JournalCorrupt`."""
    with closing(store.execute(SELECT + where, given)) as rows:
        for row in rows:
            yield Entry(*row).check()


def number(store: sqlite3.Connection, question: str, given: Sequence[Any] = ()) -> int:
    """The number that a question has for an answer; 0 for none."""
    found = store.execute(question, given).fetchone()
    return 0 if found is None or found[0] is None else int(found[0])


@functools.cache
def _insert(count: int) -> str:
    return INSERT + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * count)


def told(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> JournalError:
    """What went wrong with the file, as an error of the tree."""
    name = getattr(error, "sqlite_errorname", "")
    unnamed = not name and isinstance(error, sqlite3.DatabaseError | UnicodeDecodeError)
    if name == "SQLITE_NOTADB":
        return JournalCorrupt(f"{path} is no journal, or one whose beginning is damaged: it is not a SQLite file")
    if name.startswith("SQLITE_CORRUPT") or unnamed:
        return JournalCorrupt(f"the journal {path} is damaged: {error}")
    why = {"SQLITE_FULL": "the disk is full", "SQLITE_BUSY": "another program holds it"}.get(name, str(error))
    return JournalError(f"the journal {path} cannot be used: {why} ({name or type(error).__name__})")


def _one(store: sqlite3.Connection, question: str) -> Any:
    return store.execute(question).fetchone()[0]


def affected(version: Iterable[int]) -> bool:
    """Whether a SQLite can damage a WAL file when two connections write or checkpoint at the same instant.

    From 3.7.0 on; fixed in 3.51.3, and in 3.50.7 and 3.44.6 for those lines (SQLite's notes on these releases). We
    have one connection that does either, so it takes a foreign program to get there.
    """
    release = tuple(version)
    fixed = release >= (3, 51, 3) or (3, 50, 7) <= release < (3, 51) or (3, 44, 6) <= release < (3, 45)
    return release >= (3, 7) and not fixed


@functools.cache
def _report_affected(version: tuple[int, ...]) -> None:
    """Say once a process that this SQLite is an affected one; no warning, for it takes a foreign program to matter."""
    if affected(version):
        logger.info(
            "SQLite %s can damage a journal that another program writes to at the same time (fixed in 3.51.3, 3.50.7 "
            "and 3.44.6): let nothing but fanfold write to it",
            ".".join(map(str, version)),
        )
