"""The threads that touch the file, so that the event loop never waits for a disk.

What comes in one turn of the loop is handed over together, once somebody waits for any of it; what nobody waits for
may lie a moment. The writer takes whatever has come since it last looked, puts it into one transaction, and tells all
who wait with one call into the loop: so the slower the disk, the larger the batches, and a thousand calls a second cost
few commits.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from fanfold.core.clock import outside
from fanfold.errors import FanfoldError, JournalError
from fanfold.journal import store as stores
from fanfold.journal.entries import Entry
from fanfold.journal.lock import OwnerLock
from fanfold.journal.points import reach

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


T = TypeVar("T")

logger = logging.getLogger("fanfold")

BATCH = 512
"""Entries and questions after which no more of them are taken into a transaction."""

LATER = 0.01
"""Seconds that an entry may lie which nobody waits for, and that a crash may cost.

Written at once it would be a commit of its own, for which the replies of others waited.
"""

Item = tuple[Any, asyncio.Future[Any] | None]
"""An entry or a question, and who waits for it."""

Outcome = tuple[Any, Any, FanfoldError | None]
"""Who waits, the answer, the error."""

LOOKED = 1.0
"""Seconds of its entries after which the writer looks whether its file is still there: each look is a system call."""

STOPS = "the journal %s stops: an entry could not be written"

_STOP = object()


class WorkerStatistics(msgspec.Struct, frozen=True):
    """What a thread has done: entries written, transactions, questions answered, and what waits for it."""

    written: int = 0
    commits: int = 0
    answered: int = 0
    waiting: int = 0


class Worker:
    """A thread with a connection of its own, and a queue to it. This one reads.

    It belongs to the loop that made it. `broken` is the error after which nothing more is taken.
    """

    name = "fanfold-journal-reader"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: JournalError | None = None
        self.loop = asyncio.get_running_loop()
        self._coming: list[Item] = []
        self._queue: SimpleQueue[list[Item]] = SimpleQueue()
        self.answered = self.written = self.commits = 0
        self._handed = self._done = 0
        """What the thread was given to do, its opening and its end among it, and how much of that it has done."""
        self._soon = False
        """Whether what has come is handed over at the end of this turn."""
        self._later: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None] | None = None
        """When the thread has ended, once that is asked for."""
        outside.add(self)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> asyncio.Future[None]:
        """Open the file, on the thread; the future raises what comes of it, and this where there can be no thread."""
        ready: asyncio.Future[None] = self.loop.create_future()
        self._handed += 1
        self._queue.put([(None, ready)])
        try:
            self._thread.start()
        except RuntimeError as error:  # the system allows no further one, and nothing has to end
            self._over = self.loop.create_future()
            self._over.set_result(None)
            raise JournalError(f"the journal {self.path} cannot be opened: {error}") from error
        return ready

    def ask(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Let the thread do `work` on its connection."""
        return self._ask(work)

    def check(self) -> None:
        """Raise what has broken it, or that it is to stop: what came after its end nobody would do."""
        if self.broken is not None:
            raise JournalError(str(self.broken)) from self.broken
        if self._over is not None:
            raise self._closed()

    async def stop(self) -> None:
        """Do what was asked so far, close the file, end the thread; also where the file could not be opened."""
        if self._over is None:
            self._over = self.loop.create_future()
            self._put(_STOP, self._over)
            self._hand_over()
        await asyncio.shield(self._over)

    def busy(self) -> bool:
        """Whether the thread has something to do."""
        return self._thread.is_alive() and self._handed != self._done

    def statistics(self) -> WorkerStatistics:
        """What it has done so far."""
        waiting = self._handed + len(self._coming) - self._done
        return WorkerStatistics(self.written, self.commits, self.answered, waiting)

    def _ask(self, item: Any) -> asyncio.Future[Any]:
        self.check()
        waiting: asyncio.Future[Any] = self.loop.create_future()
        self._put(item, waiting)
        return waiting

    def _put(self, item: Any, waiting: asyncio.Future[Any] | None, *, soon: bool = True) -> None:
        if soon and not self._soon:
            self._soon = True
            self.loop.call_soon(self._hand_over)
        elif not soon and not self._soon and self._later is None:
            self._later = self.loop.call_later(LATER, self._hand_over)
        self._coming.append((item, waiting))

    def _hand_over(self) -> None:
        """Wake the thread once for all that has come."""
        self._soon = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._coming:
            self._handed += len(self._coming)
            self._pass_on(self._coming)
            self._coming = []

    def _pass_on(self, batch: list[Item]) -> None:
        self._queue.put(batch)

    # -- on the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        ((_, ready),) = self._queue.get()
        store = None
        try:
            store = self._open()
        except Exception as error:
            if not isinstance(error, (FanfoldError, OSError, ValueError)):
                logger.exception("the journal %s cannot be opened", self.path)
            self.broken = error if isinstance(error, JournalError) else JournalError(f"{self.path}: {error}")
        self._done += 1
        self._tell([(ready, None, self.broken)])
        self._turn(store)

    def _turn(self, store: sqlite3.Connection | None) -> None:
        """Do what comes until the end comes; of a file that could not be opened, refuse it."""
        over = None
        while over is None:
            batch = self._taken()
            if batch[-1][0] is _STOP:
                over = batch.pop()[1]
            self._tell(self._refused(batch) if store is None else self._perform(store, batch))
            self._done += len(batch)
        self._refuse_all()
        try:
            if store is not None:
                self._close(store)
        finally:
            self._done += 1
            self._tell([(over, None, None)])

    def _taken(self) -> list[Item]:
        """What has come by now; nothing that came after the end."""
        batch = self._queue.get()
        try:
            while len(batch) < BATCH and batch[-1][0] is not _STOP:
                batch += self._queue.get_nowait()
        except Empty:
            pass
        return batch

    def _open(self) -> sqlite3.Connection:
        return stores.open_to_read(self.path)

    def _close(self, store: sqlite3.Connection) -> None:
        store.close()

    def _perform(self, store: sqlite3.Connection, batch: list[Item]) -> list[Outcome]:
        return [self._answered(store, work, waiting) for work, waiting in batch]

    def _answered(self, store: sqlite3.Connection, work: Any, waiting: Any) -> Outcome:
        """As `_answer`; whatever else is raised is told to who waits, and the thread goes on."""
        try:
            return self._answer(store, work, waiting)
        except Exception as error:
            logger.exception("the journal %s could not be read", self.path)
            return waiting, None, JournalError(f"the journal {self.path} could not be read: {error!r}")

    def _answer(self, store: sqlite3.Connection, work: Any, waiting: Any) -> Outcome:
        self.answered += 1
        try:
            return waiting, work(store), None
        except stores.TROUBLE as error:
            return waiting, None, stores.told(error, self.path)
        except FanfoldError as error:
            return waiting, None, error

    def _refuse_all(self) -> None:
        """What came too late must not wait for ever."""
        left: list[Outcome] = []
        try:
            while True:
                left += self._refused(self._queue.get_nowait())
        except Empty:
            self._tell(left)

    def _refused(self, batch: list[Item]) -> list[Outcome]:
        error = self.broken or self._closed()
        return [(waiting, None, error) for _, waiting in batch]

    def _closed(self) -> JournalError:
        return JournalError(f"the journal {self.path} is closed")

    def _tell(self, outcomes: list[Outcome]) -> None:
        heard = [outcome for outcome in outcomes if outcome[0] is not None]
        try:
            if heard:
                self.loop.call_soon_threadsafe(_settle, heard)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more


class _Beginning(NamedTuple):
    """A question whose answer is written along."""

    work: Callable[[list[Entry], sqlite3.Connection], Any]


class Writer(Worker):
    """The thread of the one connection that writes and checkpoints; it holds the lock of the file's owner."""

    name = "fanfold-journal-writer"

    def __init__(self, path: Path, *, cache: bool = False) -> None:
        super().__init__(path)
        self.cache = cache
        self._lock: OwnerLock | None = None
        self._standing: stores.Standing | None = None
        self._looked = 0.0
        """When the last entry was made after which it looked at its file."""

    def write(self, entry: Entry) -> asyncio.Future[None]:
        """Append an entry; the future is done when it is on the disk. Raises `JournalError` once one could not be."""
        return self._ask(entry)

    def tell(self, entry: Entry, *, soon: bool = False) -> None:
        """Append an entry that nobody waits for; raises `JournalError` as above.

        It lies for `LATER` seconds at most, unless it is wanted `soon`; no entry that comes after it is written before.
        """
        self.check()
        self._put(entry, None, soon=soon)

    def begin(self, work: Callable[[list[Entry], sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Let the thread do `work`, which may add to the entries that are about to be written with it."""
        return self._ask(_Beginning(work))

    def fail(self, error: Exception) -> JournalError:
        """An entry could not be made: so nothing more is taken. Gives what is to be raised."""
        self.broken = JournalError(f"the journal {self.path} cannot be written: {error!r}")
        return self.broken

    def _open(self) -> sqlite3.Connection:
        self._lock = OwnerLock(self.path)
        try:
            store = stores.open_to_write(self.path, cache=self.cache)
            try:
                self._lock.hold()
            except BaseException:
                store.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self._standing = stores.Standing(self.path)
        return store

    def _look(self) -> None:
        if self._standing is not None:
            self._standing.check()

    def _close(self, store: sqlite3.Connection) -> None:
        if self.broken is None:
            try:
                self._look()
            except JournalError as error:
                logger.warning("%s", error)
        store.close()
        if self._lock is not None:
            self._lock.release()

    def _perform(self, store: sqlite3.Connection, batch: list[Item]) -> list[Outcome]:
        """One transaction. Where it fails, so does the journal: what was not acknowledged is not there."""
        if self.broken is None:
            try:
                return self._commit(store, batch)
            except stores.TROUBLE as error:
                self.broken = stores.told(error, self.path)
            except JournalError as error:
                self.broken = error
            except Exception as error:
                logger.exception(STOPS, self.path)
                self.fail(error)
            _roll_back(store)
        return self._refused(batch)

    def _commit(self, store: sqlite3.Connection, batch: list[Item]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        entries: list[Entry] = []
        for item, waiting in batch:
            if isinstance(item, Entry):
                entries.append(item)
                if waiting is not None:
                    outcomes.append((waiting, None, None))
            elif isinstance(item, _Beginning):
                outcomes.append(self._answer(store, partial(item.work, entries), waiting))
            else:
                outcomes.append(self._answer(store, item, waiting))
        reach("before_commit")
        stores.append(store, entries)
        if entries and abs(entries[-1].at - self._looked) >= LOOKED:
            self._looked = entries[-1].at
            self._look()
        reach("after_commit")
        self.written += len(entries)
        self.commits += bool(entries)
        return outcomes


def _roll_back(store: sqlite3.Connection) -> None:
    try:
        if store.in_transaction:
            store.execute("ROLLBACK")
    except sqlite3.Error:
        return  # SQLite rolls back by itself where it cannot go on


def _settle(outcomes: list[Outcome]) -> None:
    """In the loop: tell everybody of a batch; who was cancelled meanwhile has gone."""
    for waiting, value, error in outcomes:
        if waiting.done():
            continue
        if error is None:
            waiting.set_result(value)
        else:
            waiting.set_exception(error)
            waiting.exception()  # seen: not everybody who writes waits, and then the next one to write is told
