"""What the tests of the journal share: calls without a road, written into a journal and read from its file."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from fanfold.core.journaling import Found
from fanfold.core.records import Call, Cost, Draw, Message, Reply, Request, Usage
from fanfold.journal import Journal
from fanfold.journal.book import RunBook
from fanfold.journal.entries import Entry
from fanfold.journal.store import select

T = TypeVar("T")

MODEL = "fake:"


def request(text: str = "hello", **options: Any) -> Request:
    """A request with one message."""
    return Request((Message("user", text),), **options)


def call(place: str = "run", nth: int = 0, *, state: Any = "ok", ordinal: int = 0, error: str | None = None) -> Call:
    """A call's record."""
    usage = Usage(3, 5) if state == "ok" else None
    return Call(0, place, MODEL, Draw(place, nth, ordinal), state, 0.0, 0.1, None, 0.5, usage, Cost(0.25, 0.25), error)


def with_journal(path: Path, work: Callable[[Journal], Awaitable[T]], **options: Any) -> T:
    """Open a journal, do `work` with it, close it; all on a loop of its own."""

    async def main() -> T:
        journal = Journal(path, **options)
        await journal.open()
        try:
            return await work(journal)
        finally:
            await journal.close()

    return asyncio.run(main())


async def begun(journal: Journal, name: str = "step", *, key: str | None = None, step: str = "1") -> RunBook:
    """The book of a run."""
    book = await journal.begin(name, step, b"given", key)
    assert isinstance(book, RunBook)
    return book


async def answered(book: RunBook, text: str, place: str = "run", nth: int = 0, *, asked: Request | None = None) -> None:
    """Keep one reply, and wait until it is on the disk."""
    key = (asked or request()).key()
    await book.keep(book.digest(MODEL, key), key, call(place, nth), Reply((text,), Usage(3, 5)))


def found(book: RunBook, place: str = "run", nth: int = 0, *, asked: Request | None = None) -> Found | None:
    """What the book has of a call."""
    return book.found(book.digest(MODEL, (asked or request()).key()), Draw(place, nth), settled=False)


def replied(book: RunBook, place: str = "run", nth: int = 0) -> str | None:
    """The text of the reply that the book has of a call."""
    there = found(book, place, nth)
    return None if there is None or there.reply is None else there.reply.text


def entries(path: Path, where: str = "1 ORDER BY seq") -> list[Entry]:
    """All that stands in a file."""
    store = sqlite3.connect(path)
    try:
        return list(select(store, where))
    finally:
        store.close()


def recorded(path: Path, *texts: str, key: str | None = None) -> None:
    """A journal with one run that has ended, of calls with these replies."""

    async def work(journal: Journal) -> None:
        book = await begun(journal, key=key)
        for nth, text in enumerate(texts):
            await answered(book, text, nth=nth)
        book.end(None)

    with_journal(path, work)
