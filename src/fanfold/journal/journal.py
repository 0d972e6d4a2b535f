"""The journal: one SQLite file that is cache, resume log, recording and audit trail at once."""

from __future__ import annotations

import asyncio
import itertools
import logging
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from fanfold.core.clock import chance, wall
from fanfold.core.fan import gone
from fanfold.core.halves import spelled
from fanfold.core.journaling import RowKey
from fanfold.errors import JournalError, LoopError, ReplayMiss, UsageError
from fanfold.journal import store as stores
from fanfold.journal.book import History, RunBook, found_in
from fanfold.journal.entries import Again, Begun, Content, Draft, Entry, Kind, digest_of
from fanfold.journal.known import Known
from fanfold.journal.redaction import Redactor
from fanfold.journal.worker import STOPS, Worker, WorkerStatistics, Writer
from fanfold.journal.writing import entry_of

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Sequence

    from fanfold.core.journaling import Book, Found

logger = logging.getLogger("fanfold")

Mode = Literal["off", "record", "resume", "cache", "replay"]
MODES: tuple[Mode, ...] = ("off", "record", "resume", "cache", "replay")

# With "kind IN ('run', 'again')" as the index has it, in these very words: without them SQLite reads the whole file.
NEWEST = """
    SELECT run FROM entries
    WHERE kind IN ('run', 'again') AND digest = ? AND kind = 'run' AND nth = ? ORDER BY seq DESC LIMIT 1
"""
SITTING = "SELECT count(*) FROM entries WHERE kind IN ('run', 'again') AND digest = ? AND seq > ?"


class JournalStatistics(msgspec.Struct, frozen=True):
    """What an open journal holds and has done: runs under way, what was found instead of asked, its two threads."""

    runs: int = 0
    found: int = 0
    writer: WorkerStatistics = WorkerStatistics()
    reader: WorkerStatistics = WorkerStatistics()


class Journal:
    """The record of runs in one SQLite file, for ``Session(journal=...)``.

    `mode` says what it is used for:

    - ``"resume"`` (default): a run with the same key goes on where it ended; what was answered is not asked again.
    - ``"record"``: always ask, and keep.
    - ``"cache"``: an equal request of any run is answered from the journal, if that is at most `max_age` seconds old.
    - ``"replay"``: no network at all; what was not recorded raises `ReplayMiss`.
    - ``"off"``: as if there were none.

    A run's key is its step's name and its input, and the how-manieth such run of this sitting it is; or the `key` that
    ``step.run(..., key=...)`` gives. ``content="hash"`` keeps digests of prompts and replies only: an audit trail,
    which can be recorded but not resumed from.

    One process owns a journal; a second one is refused (`JournalLocked`). Replays only read, and any number may.
    A reply is on the disk before its call returns. Raises `JournalError` when it cannot be kept: nothing goes on
    without it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Mode = "resume",
        content: Content = "full",
        max_age: float | None = None,
    ) -> None:
        _check(mode, content, max_age)
        self.path = Path(path)
        self.mode = mode
        self.content = content
        self.max_age = max_age
        self.redactor = Redactor()
        self.clean = self.redactor.clean
        self._users = 0
        self._door = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._reader: Worker | None = None
        self._open_runs: set[int] = set()
        self._keys: dict[str | None, RowKey | None] = {}
        self._since = 0
        self._numbers = itertools.count(1)
        self._seed = b""
        self._fences = itertools.count()
        self._known = Known()
        self._replayed: dict[bytes, int] = {}
        self._found = 0

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r}, mode={self.mode!r})"

    # -- open and close -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the file; each `open` has a `close`, and the last one closes it.

        Raises `JournalLocked`, `JournalCorrupt`, `JournalError`, and `LoopError` where it is open in another loop.
        """
        running = asyncio.get_running_loop()
        if not self._users:
            self._loop, self._door = running, asyncio.Lock()  # it may have been open in another loop before
        elif self._loop is not running:
            raise LoopError(
                f"the journal {self.path} is open in another event loop: close the session that opened it there (enter "
                "it with `async with`, or with `with` where you use run_sync), or give this one a journal of its own"
            )
        self._users += 1
        try:
            async with self._door:
                if self.mode != "off" and self._reader is None:
                    await self._open()
        except BaseException:
            self._users -= 1
            raise

    async def close(self) -> None:
        """Write what there is to write; the last `close` ends the threads and gives the file free.

        That comes to its end however often who closes is cancelled meanwhile: else the file stayed locked. The writer
        goes last: only the last connection to close moves the log into the file, and the other one may not write.
        """
        self._users -= 1
        if self._users > 0:
            return
        workers = [worker for worker in (self._reader, self._writer) if worker is not None]
        self._writer = self._reader = None
        stop = asyncio.ensure_future(_stop(workers))
        interrupted = await gone({stop}, self._name_resisting)
        stop.result()
        if interrupted is not None:
            raise interrupted

    def _name_resisting(self, _: set[asyncio.Task[None]]) -> None:
        logger.warning("the journal %s has not written all yet; closing it waits for that", self.path)

    async def _open(self) -> None:
        self._replayed.clear()
        self._seed = chance().randbytes(32)
        if self.mode == "replay":
            await self._read()
            return
        writer = Writer(self.path, cache=self.mode == "cache")
        try:
            await writer.start()
            self._since, last, self._known = await writer.ask(_last)
            self._numbers = itertools.count(last + 1)
            await self._read()
        except BaseException:
            await writer.stop()
            raise
        self._writer = writer

    async def _read(self) -> None:
        reader = Worker(self.path)
        try:
            await reader.start()
        except BaseException:
            await reader.stop()
            raise
        self._reader = reader

    def hide(self, secrets: Iterable[str]) -> None:
        """Take these out of everything that is written from now on."""
        self.redactor.hide(secrets)

    def statistics(self) -> JournalStatistics:
        """What it holds and has done; no runs at rest."""
        writer = WorkerStatistics() if self._writer is None else self._writer.statistics()
        reader = WorkerStatistics() if self._reader is None else self._reader.statistics()
        return JournalStatistics(len(self._open_runs), self._found, writer, reader)

    # -- runs -----------------------------------------------------------------------------------------------

    async def begin(self, name: str, step: str, given: bytes, key: str | RowKey | None) -> Book:
        """Open the book of a run of the step `name` with the fingerprint `step`, on the input with the digest `given`.

        Raises `ReplayMiss` where a replay has no such run, and `UsageError` for a `key` that is no text, is under way,
        or is that of another row of the same map.
        """
        row, key = (key, key.text) if isinstance(key, RowKey) else (None, key)
        _check_key(key)
        digest = digest_of(b"run", name.encode(), given) if key is None else digest_of(b"key", key.encode())
        if self.mode == "replay":
            return await self._replay(digest, name, step, key)
        writer = self._owned()
        secret = self._secret()
        begun = Begun(name, step, given.hex(), secret.hex(), self.mode, *_numbered(row))
        self._claim(key, row)
        try:
            if not self._known.add(digest):
                # It is surely new, and stands in the queue before all that follows: there is nothing to wait for.
                run, history = next(self._numbers), None
                self.tell(Draft("run", run, key or "", 0, 0, digest, wall(), begun))
            else:
                since = None if key is not None else self._since
                asked = _Asked(digest, begun, key or "", since, self.mode == "resume", row)
                asking = writer.begin(partial(self._begin, asked))
                run, secret, history = await self._begun(asking, key)
        except BaseException:
            self._keys.pop(key, None)
            raise
        return self._book(run, secret, history, key)

    def ended(self, book: RunBook) -> None:
        """A run is not under way any more."""
        self._open_runs.discard(book.run)
        self._keys.pop(book.key, None)

    def check(self) -> None:
        """Raise `JournalError` where nothing more is taken."""
        self._owned().check()

    def write(self, draft: Draft) -> asyncio.Future[None]:
        """Append an entry; the future is done when it is on the disk. Raises `JournalError`."""
        writer = self._owned()
        return writer.write(self._entry(draft, writer))

    def write_foreign(self, entry: Entry) -> asyncio.Future[None]:
        """Append an entry that another process encoded and cleaned; what is secret here is looked for here."""
        body = self.redactor.without_known(entry.body)
        return self._owned().write(entry if body == entry.body else entry._replace(body=body).signed())

    async def again(self, run: int, step: str) -> History:
        """What stands of a run under way by now: for whoever takes it over from one that was lost."""
        return await self._owned().begin(partial(_so_far, run, step))

    def tell(self, draft: Draft, *, soon: bool = False) -> None:
        """Append an entry that nobody waits for, though it may be wanted `soon`; raises `JournalError`."""
        writer = self._owned()
        writer.tell(self._entry(draft, writer), soon=soon)

    async def cached(self, digest: bytes, ordinal: int) -> Found | None:
        """The newest answer to a request, where the journal is a cache and it is young enough."""
        if self.mode != "cache" or self._reader is None:
            return None
        oldest = 0.0 if self.max_age is None else wall() - self.max_age
        found = await self._reader.ask(partial(_newest, digest, ordinal, oldest))
        self._found += found is not None
        return found

    def found_one(self) -> None:
        """A call was found and not asked."""
        self._found += 1

    def _entry(self, draft: Draft, writer: Writer) -> Entry:
        try:
            return entry_of(draft, self.redactor)
        except Exception as error:
            logger.exception(STOPS, self.path)
            raise writer.fail(error) from error

    async def _replay(self, digest: bytes, name: str, step: str, key: str | None) -> Book:
        nth = 0 if key is not None else self._replayed.get(digest, 0)
        self._replayed[digest] = nth + 1
        if self._reader is None:
            raise JournalError(f"the journal {self.path} is not open")
        found = await self._reader.ask(partial(_recorded, digest, nth, step))
        if found is None:
            which = f"with the key {key!r}" if key is not None else f"of {name!r} on this input (number {nth})"
            raise ReplayMiss(f"the journal {self.path} holds no run {which}; nothing was sent; record it first")
        run, secret, history = found
        return self._book(run, secret, history, key)

    def _begin(
        self, asked: _Asked, pending: list[Entry], store: sqlite3.Connection
    ) -> tuple[int, bytes, History | None]:
        """Take a run up again, or begin one; on the writer's thread, so that two that begin at once are two."""
        nth, found = 0, None
        if asked.since is not None:
            begun = sum(one.digest == asked.digest and one.kind in {"run", "again"} for one in pending)
            nth = begun + stores.number(store, SITTING, (asked.digest, asked.since))
        elif (asked.resumes or asked.row) and _stands_in(pending, asked.digest):
            stores.append(store, pending)  # the run may have ended a moment ago
            pending.clear()
        if asked.resumes or asked.row:
            found = _earlier(asked, nth, store, pending)
        if found is not None:
            again = Again(asked.begun.step, *_numbered(asked.row))
            pending.append(entry_of(asked.draft(found[0], nth, again), self.redactor))
            return found
        run = next(self._numbers)
        pending.append(entry_of(asked.draft(run, nth, asked.begun), self.redactor))
        return run, bytes.fromhex(asked.begun.fences), None

    async def _begun(
        self, asking: asyncio.Future[tuple[int, bytes, History | None]], key: str | None
    ) -> tuple[int, bytes, History | None]:
        """The answer; a run that is cancelled while it waits for it has begun all the same, and so has an end."""
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(partial(self._abandon, key))
            raise

    def _abandon(self, key: str | None, asking: asyncio.Future[tuple[int, bytes, History | None]]) -> None:
        if not asking.cancelled() and asking.exception() is None:
            run, secret, history = asking.result()
            RunBook(self, run, secret, history, key=key, replays=False).keep_end(asyncio.CancelledError())

    def _book(self, run: int, secret: bytes, history: History | None, key: str | None) -> RunBook:
        self._open_runs.add(run)
        return RunBook(self, run, secret, history, key=key, replays=self.mode == "replay")

    def _secret(self) -> bytes:
        """What makes a run's fences unguessable; to ask the system for each would give the interpreter's lock away."""
        return blake2b(next(self._fences).to_bytes(8, "big"), key=self._seed, digest_size=16).digest()

    def _claim(self, key: str | None, row: RowKey | None) -> None:
        if key in self._keys:
            other = self._keys[key]
            if row is not None and other is not None:
                row.check(other.row, other.map)
            raise UsageError(f"the run with key={key!r} is under way: a key names one run")
        if key is not None:
            self._keys[key] = row

    def _owned(self) -> Writer:
        if self._writer is None:
            raise JournalError(f"the journal {self.path} is not open: use it through a Session")
        return self._writer


class _Asked(NamedTuple):
    """What is asked of the file when a run begins.

    `since` is the end of the log when this sitting began (None: the key names one run, whichever sitting). `row` is
    the row that the run is.
    """

    digest: bytes
    begun: Begun
    named: str
    since: int | None
    resumes: bool
    row: RowKey | None

    def draft(self, run: int, nth: int, content: Begun | Again) -> Draft:
        """The entry with which it begins, or goes on."""
        kind: Kind = "run" if isinstance(content, Begun) else "again"
        return Draft(kind, run, self.named, nth, nth, self.digest, wall(), content)


def _numbered(row: RowKey | None) -> tuple[int | None, str]:
    """Which row a run is, as its entry says it."""
    return (None, "") if row is None or not row.map else (row.row, row.map)


def _so_far(run: int, step: str, pending: list[Entry], store: sqlite3.Connection) -> History:
    """All of a run, with what is about to be written of it written first."""
    stores.append(store, pending)
    pending.clear()
    return History(stores.select(store, "run = ? ORDER BY seq", (run,)), step)


def _stands_in(pending: Sequence[Entry], digest: bytes) -> bool:
    """Whether a run with this digest is about to be written."""
    return any(one.digest == digest and one.kind in {"run", "again"} for one in pending)


def _earlier(
    asked: _Asked, nth: int, store: sqlite3.Connection, pending: list[Entry]
) -> tuple[int, bytes, History] | None:
    """The run that is taken up again; raises `UsageError` where it is that of another row of the same map."""
    found = _recorded(asked.digest, nth, asked.begun.step, store, pending)
    if found is not None and asked.row is not None:
        asked.row.check(found[2].row, found[2].map)
    return found if asked.resumes else None


def _recorded(
    digest: bytes, nth: int, step: str, store: sqlite3.Connection, pending: list[Entry] | None = None
) -> tuple[int, bytes, History] | None:
    """The newest run with this digest and number, and all that stands of it; what is `pending` of it is written first.

    No more than that: to write has its price, and a map begins its runs by the hundred.
    """
    run = stores.number(store, NEWEST, (digest, nth))
    if not run:
        return None
    if pending and any(one.run == run for one in pending):
        stores.append(store, pending)
        pending.clear()
    history = History(stores.select(store, "run = ? ORDER BY seq", (run,)), step)
    return run, history.secret, history


def _newest(digest: bytes, ordinal: int, oldest: float, store: sqlite3.Connection) -> Found | None:
    """The newest answer to a request."""
    where = "kind = 'call' AND digest = ? AND ordinal = ? AND at >= ? ORDER BY seq DESC"
    for entry in stores.select(store, where, (digest, ordinal, oldest)):
        found = found_in(entry)
        if found is not None and found.reply is not None:
            return found
    return None


async def _stop(workers: Sequence[Worker]) -> None:
    """One after the other."""
    for worker in workers:
        await worker.stop()


def _last(store: sqlite3.Connection) -> tuple[int, int, Known]:
    """The end of the log, its last run, and the digests of all runs."""
    known = Known()
    for (digest,) in store.execute("SELECT digest FROM entries WHERE kind IN ('run', 'again')"):
        known.add(digest)
    last = stores.number(store, "SELECT max(seq) FROM entries"), stores.number(store, "SELECT max(run) FROM entries")
    return *last, known


def _check(mode: str, content: str, max_age: float | None) -> None:
    if mode not in MODES:
        raise UsageError(f"mode={mode!r}: it is one of {', '.join(MODES)}")
    if content not in {"full", "hash"}:
        raise UsageError(f"content={content!r}: it is 'full', or 'hash' for digests only")
    if content == "hash" and mode not in {"off", "record"}:
        raise UsageError(
            f"content='hash' keeps no replies, so there is nothing to give back in mode {mode!r}: use mode='record'"
        )
    if max_age is not None and (mode != "cache" or not max_age > 0):
        raise UsageError("max_age= is the age in seconds up to which answers are good: give it with mode='cache'")


def _check_key(key: object) -> None:
    if key is not None and not (isinstance(key, str) and spelled(key) == key):
        raise UsageError(f"key={key!r}: the key of a run is text, as key={str(spelled(str(key)))!r}")
    if key == "":
        raise UsageError("key='': an empty key names no run; leave it out, or give each run its own")
