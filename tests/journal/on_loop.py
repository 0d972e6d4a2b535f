"""A journal without threads: its disk takes virtual time, so that what waits for it can be cut at any turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fanfold.journal import Journal
from fanfold.journal import journal as journals
from fanfold.journal.worker import _STOP, Worker, Writer

TAKES = 3e-6
"""Seconds that a commit takes."""


class OnLoop(Worker):
    """Does on the loop, a little later, what the thread does."""

    def start(self) -> asyncio.Future[None]:
        self.batches: deque[list[Any]] = deque()
        self.store = self._open()
        self.begun: asyncio.Future[None] = self.loop.create_future()
        self.begun.set_result(None)
        return self.begun

    async def stop(self) -> None:
        if hasattr(self, "store"):  # else it could not be opened
            await super().stop()

    def _pass_on(self, batch: list[Any]) -> None:
        self.batches.append(batch)
        self.loop.call_later(TAKES, self._take)

    def _take(self) -> None:
        batch = self.batches.popleft()
        over = batch.pop()[1] if batch[-1][0] is _STOP else None
        self._tell(self._perform(self.store, batch))
        self._done += len(batch)
        if over is not None:
            self._close(self.store)
            self._done += 1
            over.set_result(None)


class WritesOnLoop(OnLoop, Writer):
    """The one that writes."""


@asynccontextmanager
async def on_loop(path: Path, patch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[Journal]:
    """A journal, open, that works on this loop."""
    patch.setattr(journals, "Worker", OnLoop)
    patch.setattr(journals, "Writer", WritesOnLoop)
    journal = Journal(path, **options)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def on_the_disk(journal: Journal) -> None:
    """Wait until all that the journal was told is there: what is asked now is answered behind it.

    That may tell more: a run that was cancelled while it began gets its end when it has begun.
    """
    await journal._owned().ask(lambda _: None)
    while journal.statistics().writer.waiting:
        await journal._owned().ask(lambda _: None)
