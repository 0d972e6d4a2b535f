"""A journal whose file is elsewhere: rows run in several processes, and the one that owns the file writes for all.

The owner begins the book of each row, and sends along a `Page`: what was recorded of it before. A worker encodes what
happens, without its secrets, and waits until the owner has it on the disk before a reply counts as kept.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from fanfold.errors import JournalError
from fanfold.journal.book import RunBook
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


class Owner:
    """The side of the process that has the file: the books of the rows that are under way, by the rows' numbers."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._books: dict[int, tuple[RunBook, str]] = {}

    def begun(self, number: int, book: Book | None, step: str) -> Page | None:
        """A row's book was opened for the `step` of this fingerprint; None where there is no journal."""
        if not isinstance(book, RunBook):
            return None
        self._books[number] = book, step
        return Page(book.run, book.secret, book.history, book.key)

    async def again(self, number: int) -> Page | None:
        """The book of a row that another takes over, with all that was recorded by now."""
        found = self._books.get(number)
        if found is None:
            return None
        book, step = found
        history = book.history if book.replays else await self.journal.again(book.run, step)
        return Page(book.run, book.secret, history, book.key)

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Write what a worker sent; done when it is on the disk. Raises `JournalError`."""
        await asyncio.gather(*[self.journal.write_foreign(entry) for entry in entries])

    def ended(self, number: int) -> None:
        """A row is not under way any more."""
        found = self._books.pop(number, None)
        if found is not None:
            self.journal.ended(found[0])


class FarJournal(Journal):
    """The side of a worker: what it keeps goes to `send`, what it looks up beyond its pages is asked by `ask`."""

    def __init__(
        self,
        *,
        mode: Mode,
        content: Content,
        send: Callable[[Entry], asyncio.Future[None]],
        ask: Callable[..., Awaitable[Any]],
    ) -> None:
        super().__init__("elsewhere", mode=mode, content=content)
        self._send = send
        self._ask = ask
        self._pages: dict[str | None, Page] = {}

    def expect(self, key: str, page: Page) -> None:
        """The next run that begins with this `key` has this page."""
        self._pages[key] = page

    async def open(self) -> None:
        """Nothing is to open here."""

    async def close(self) -> None:
        """Nothing is to close here."""

    async def begin(self, name: str, step: str, given: bytes, key: str | RowKey | None) -> Book:
        """The book that was sent along."""
        del name, step, given
        page = self._pages.pop(key if isinstance(key, str) else None)
        return RunBook(self, page.run, page.secret, page.history, key=page.key, replays=self.mode == "replay")

    def ended(self, book: RunBook) -> None:
        """The owner knows by itself."""

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
