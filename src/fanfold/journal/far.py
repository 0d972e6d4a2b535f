"""A journal whose file is elsewhere: rows run in several processes, and the one that owns the file writes for all.

The owner begins the book of each row, and sends along a `Page`: what was recorded of it before. The book of a run that
begins inside a row, as of a map there, is asked of the owner. A worker encodes what happens, without its secrets, and
waits until the owner has it on the disk before a reply counts as kept.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from fanfold.errors import JournalError
from fanfold.journal.book import RunBook
from fanfold.journal.entries import digest_of
from fanfold.journal.journal import Journal
from fanfold.journal.writing import entry_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fanfold.core.journaling import Book, Found, RowKey
    from fanfold.journal.book import History
    from fanfold.journal.entries import Content, Draft, Entry
    from fanfold.journal.journal import Mode


class Page(NamedTuple):
    """The book of one run on its way to who runs it."""

    run: int
    secret: bytes
    history: History | None
    key: str | None


class _Row:
    """A row that is under way: its book, the fingerprint of its step, and the books of the runs inside it.

    `open` has those that have not ended, by their numbers. `nameless` has those without a key, by what they are known
    by and in the order in which they began, and `taken` how many of each its worker has begun: who takes the row over
    is given the same.
    """

    __slots__ = ("book", "nameless", "open", "step", "taken")

    def __init__(self, book: RunBook, step: str) -> None:
        self.book = book
        self.step = step
        self.open: dict[int, RunBook] = {}
        self.nameless: dict[tuple[str, bytes], list[RunBook]] = {}
        self.taken: dict[tuple[str, bytes], int] = {}


class Owner:
    """The side of the process that has the file: the books of the rows that are under way, by the rows' numbers."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._rows: dict[int, _Row] = {}

    def begun(self, number: int, book: Book | None, step: str) -> Page | None:
        """A row's book was opened for the `step` of this fingerprint; None where there is no journal."""
        if not isinstance(book, RunBook):
            return None
        self._rows[number] = _Row(book, step)
        return _page(book, book.history)

    async def again(self, number: int) -> Page | None:
        """The book of a row that another takes over, with all that was recorded by now."""
        row = self._rows.get(number)
        if row is None:
            return None
        row.taken.clear()
        self._close(row)
        return await self._by_now(row.book, row.step)

    async def begin(self, number: int, name: str, step: str, given: bytes, key: RowKey | None) -> Page | None:
        """The book of a run that begins inside a row; None where the row is not under way any more."""
        row = self._rows.get(number)
        if row is None:
            return None
        # A worker cannot look into all that the step is made of: what the driver found of the row's own counts, too.
        step = digest_of(row.step.encode(), step.encode()).hex()
        known, at = row.nameless.setdefault((name, given), []), row.taken.get((name, given), 0)
        if key is None:
            row.taken[name, given] = at + 1
            if at < len(known):
                return await self._by_now(known[at], step)
        book = await self.journal.begin(name, step, given, key)
        if not isinstance(book, RunBook) or self._rows.get(number) is not row:
            book.end(asyncio.CancelledError())
            return None
        row.open[book.run] = book
        if key is None:
            known.append(book)
        return _page(book, book.history)

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Write what a worker sent; done when it is on the disk. Raises `JournalError`."""
        await asyncio.gather(*[self.journal.write_foreign(entry) for entry in entries])

    def ended_inside(self, number: int, run: int) -> None:
        """A run inside a row has ended."""
        row = self._rows.get(number)
        book = None if row is None else row.open.pop(run, None)
        if book is not None:
            self.journal.ended(book)

    def ended(self, number: int) -> None:
        """A row is not under way any more."""
        row = self._rows.pop(number, None)
        if row is not None:
            self._close(row)
            self.journal.ended(row.book)

    def _close(self, row: _Row) -> None:
        """Nobody runs what began inside a row."""
        for book in row.open.values():
            self.journal.ended(book)
        row.open.clear()

    async def _by_now(self, book: RunBook, step: str) -> Page:
        return _page(book, book.history if book.replays else await self.journal.again(book.run, step))


def _page(book: RunBook, history: History | None) -> Page:
    return Page(book.run, book.secret, history, book.key)


_row: ContextVar[int] = ContextVar("fanfold_far_row")
"""The number of the row that runs here."""


class FarJournal(Journal):
    """The side of a worker: what it keeps goes to `send`, what is not on its pages is asked by `ask`.

    `over` is told the number of a row, and of a run inside it that has ended.
    """

    def __init__(
        self,
        *,
        mode: Mode,
        content: Content,
        send: Callable[[Entry], asyncio.Future[None]],
        ask: Callable[..., Awaitable[Any]],
        over: Callable[[int, int], None],
    ) -> None:
        super().__init__("elsewhere", mode=mode, content=content)
        self._send = send
        self._ask = ask
        self._over = over
        self._pages: dict[str, Page] = {}
        self._inside: dict[int, int] = {}

    def expect(self, number: int, key: str, page: Page) -> None:
        """The row of this number runs here, and the run that begins with this `key` has this page."""
        _row.set(number)
        self._pages[key] = page

    async def open(self) -> None:
        """Nothing is to open here."""

    async def close(self) -> None:
        """Nothing is to close here."""

    async def begin(self, name: str, step: str, given: bytes, key: str | RowKey | None) -> Book:
        """The book that was sent along; of a run inside a row, the one that the owner begins."""
        page = self._pages.pop(key, None) if isinstance(key, str) else None
        if page is None:
            number = _row.get()
            page = await self._ask("begin", number, name, step, given, key)
            if page is None:
                raise JournalError(f"row {number} is not under way any more")
            self._inside[page.run] = number
        return RunBook(self, page.run, page.secret, page.history, key=page.key, replays=self.mode == "replay")

    def ended(self, book: RunBook) -> None:
        """The owner knows by itself when a row has ended, and is told of the runs inside."""
        number = self._inside.pop(book.run, None)
        if number is not None:
            self._over(number, book.run)

    def check(self) -> None:
        """The owner says it where nothing more is taken."""

    def write(self, draft: Draft) -> asyncio.Future[None]:
        """Send an entry to the owner; the future is done when it is on the disk."""
        if self.mode == "replay":
            raise JournalError("a replay writes nothing")
        return self._send(entry_of(draft, self.redactor))

    def tell(self, draft: Draft, *, soon: bool = False) -> None:
        """Send an entry that nobody waits for."""
        del soon  # it goes out with all that is said in a turn
        _ = self.write(draft)

    async def cached(self, digest: bytes, ordinal: int) -> Found | None:
        """The newest answer to a request, where the journal is a cache."""
        if self.mode != "cache":
            return None
        found: Found | None = await self._ask("cached", digest, ordinal)
        return found
