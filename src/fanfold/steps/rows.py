"""A step over rows: any number of them come in, one by one, and a record of each comes out, in bounded memory.

A map over a table is not a run: a run keeps all its events, and a table may have ten million rows. Here each row is a
run of its own under one session, and all that stays of it is its `Row`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import msgspec

from fanfold.calls.budget import on_tab, purse_of
from fanfold.core.clock import chance
from fanfold.core.door import run_sync
from fanfold.core.fan import gone
from fanfold.core.journaling import RowKey
from fanfold.core.scope import current
from fanfold.core.tasks import begin_task
from fanfold.errors import FanfoldError, RowError, UsageError, described, is_fatal
from fanfold.session import Session, session_for
from fanfold.steps.engines import runner_for
from fanfold.steps.row import AHEAD, Row, RowsStatistics, Source, Terms, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from fanfold.session import SessionStatistics
    from fanfold.steps.engines import Runner
    from fanfold.steps.step import Step

Out = TypeVar("Out")

logger = logging.getLogger("fanfold")


class Rows(Generic[Out]):
    """The rows of a map as they are done: iterate it with ``async for``.

    Leaving ``async with`` around it cancels what still runs, and nothing outlives the block. Without one, what runs is
    cancelled when the iterator is dropped. The iteration raises what ends the map; all rows that had finished by then
    are handed over before.
    """

    def __init__(self, step: Step[Any, Out], rows: Source, session: Session | None, terms: Terms) -> None:
        if isinstance(rows, str | bytes) or not isinstance(rows, AsyncIterable | Iterable):
            raise UsageError(f"map() needs rows: an iterable or an async iterable, not {type(rows).__name__}")
        self._work = _Work(step, rows, session, terms)
        # The work must not know its reader: so a reader that is dropped is closed, and closes the work.
        self._reader = _read(self._work)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Row[Out]:
        return await anext(self._reader)

    def ready(self) -> list[Row[Out]]:
        """The rows that could be handed over at once, and are, without waiting; often none."""
        return list(iter(self._work.take, None))

    def lost(self) -> list[Row[Out]]:
        """Of a map that has ended: the rows that it will not hand over, with what they had cost until then.

        What a journal kept of them is not lost, and not among it.
        """
        return [*self._work.lost, *([] if self._work.journaled else self._work.done.values())]

    async def aclose(self) -> None:
        """Cancel what still runs, and wait until it is gone."""
        await self._reader.aclose()
        await self._work.close()

    def statistics(self) -> RowsStatistics:
        """How far it is, now."""
        return self._work.statistics()

    def traffic(self) -> SessionStatistics | None:
        """The calls of all its workers now; None where its session makes them itself, and knows."""
        runner = self._work.runner
        return None if runner is None else runner.traffic()

    def sync(self, what: str) -> SyncRows[Out]:
        """The same for code that does not await."""
        return SyncRows(self, what)


class SyncRows(Generic[Out]):
    """The rows of a map for scripts: a context manager around an iterator; rows go on while the script reads."""

    def __init__(self, rows: Rows[Out], what: str) -> None:
        self._rows = rows
        self._what = what

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run_sync(self._rows.aclose(), self._what)

    def __iter__(self) -> Iterator[Row[Out]]:
        while batch := run_sync(self._batch(), self._what):
            yield from batch

    def statistics(self) -> RowsStatistics:
        """How far it is, now."""
        return self._rows.statistics()

    async def _batch(self) -> list[Row[Out]]:
        """All that is there: to change the thread for each row would cost more than the row."""
        first = await anext(self._rows, None)
        return [] if first is None else [first, *self._rows.ready()]


async def _read(work: _Work[Out]) -> AsyncGenerator[Row[Out], None]:
    await work.begin()
    try:
        while True:
            row = work.take()
            if row is not None:
                yield row
                work.free()
            elif work.over:
                break
            else:
                await work.change()
    finally:
        await work.close()
    while (row := work.take_any()) is not None:
        yield row
    if work.failure is not None:
        raise work.failure


class _Work(Generic[Out]):
    """One map under way: a task that reads, a task for each row, and what has finished and was not handed over."""

    def __init__(self, step: Step[Any, Out], rows: Source, session: Session | None, terms: Terms) -> None:
        self.step = step
        self.rows = rows
        self.session = session
        self.terms = terms
        self.runner: Runner | None = None
        self.map = terms.map or chance().randbytes(8).hex()
        self.limit = 0
        self.window = 0
        self.feeder: asyncio.Task[None] | None = None
        self.running: dict[int, asyncio.Task[None]] = {}
        self.done: dict[int, Row[Out]] = {}
        self.lost: list[Row[Out]] = []
        self.read = 0
        self.given = 0
        self.freed = 0
        self.failed = 0
        self.fed = False
        self.closing = False
        self.failure: BaseException | None = None
        self.broken = False
        self.journaled = False
        self._changed: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def over(self) -> bool:
        """Whether no row will be done that is not now; where only the reading failed, what was read goes on."""
        return (self.failure is not None and not self.broken) or (self.fed and not self.running)

    def statistics(self) -> RowsStatistics:
        return RowsStatistics(self.read, len(self.running), len(self.done), self.given, self.failed)

    # -- the reader's side ----------------------------------------------------------------------------------

    async def begin(self) -> None:
        around = current()
        inside = around is not None and self.session in {None, around.run.session}
        self.session = session = await session_for(self.session)
        purse = purse_of(self.terms.budget, around.purse if inside and around else session.purse)
        if self.terms.tab is not None:
            on_tab(purse, self.terms.tab)
        self.journaled = session.journal is not None and session.journal.mode == "resume"
        terms = self.terms
        self.runner = runner = runner_for(self.step, session, terms, purse)
        try:
            await runner.open()
        except BaseException:
            await runner.close()
            raise
        ahead = runner.ahead * (2 if self.journaled else 1)
        self.limit = terms.max_in_flight or session.statistics().slots.limit * ahead
        self.window = max(self.limit, terms.window or self.limit * (AHEAD if terms.ordered else 1))
        self.feeder = begin_task(self._feed())

    def take(self) -> Row[Out] | None:
        """The next row to hand over, if it is there."""
        if not self.done:
            return None
        number = self.given if self.terms.ordered else next(iter(self.done))
        row = self.done.pop(number, None)
        self.given += row is not None
        return row

    def take_any(self) -> Row[Out] | None:
        """Of a map that has ended: what finished, by number, even where one before it did not."""
        row = self.done.pop(min(self.done)) if self.done else None
        self.given += row is not None
        return row

    def free(self) -> None:
        """What was handed over is dealt with, for its reader is here again: others may begin in its place."""
        self.freed = self.given
        _set(self._room)

    async def change(self) -> None:
        """Wait until a row is done, or all are."""
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    async def close(self) -> None:
        """Cancel what runs and wait until it is gone, however often the caller itself is cancelled."""
        self.closing = True
        feeder = set() if self.feeder is None else {self.feeder}
        tasks = {task for task in feeder.union(self.running.values()) if not task.done()}
        for task in tasks:
            task.cancel()
        interrupted = await gone(tasks, self._name_resisting)
        if self.runner is not None:
            await self.runner.close()
        if interrupted is not None:
            raise interrupted

    def _name_resisting(self, pending: set[asyncio.Task[Any]]) -> None:
        numbers = [str(number) for number, task in self.running.items() if task in pending]
        logger.warning("rows %s of %r resist their cancellation", ", ".join(numbers) or "read", self.step.name)

    # -- reading and running --------------------------------------------------------------------------------

    async def _feed(self) -> None:
        """Read a row, once there is a place for it, and let it run."""
        try:
            await self._room_for_one()
            async with aclosing(_each(self.rows)) as rows:
                async for row in rows:
                    self._launch(row)
                    await self._room_for_one()
        except BaseException as error:
            task = asyncio.current_task()
            called = task is None or task.cancelling()
            told = _uncalled(error) if isinstance(error, asyncio.CancelledError) and not called else error
            if not isinstance(told, Exception):
                raise
            if self.failure is None:
                self.failure, self.broken = told, True
        finally:
            self.fed = True
            _set(self._changed)

    async def _room_for_one(self) -> None:
        while len(self.running) >= self.limit or self.read - self.freed >= self.window:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _launch(self, row: Any) -> None:
        number, terms = self.read, self.terms
        key = str(self._told(number, row))
        try:
            key = key_of(row, number, terms.key)
            given = row if terms.given is None else terms.given(row)
        except Exception as error:
            if terms.on_error == "fail" and terms.max_failures is None:
                raise
            self.read += 1
            self._finish(Row(number, key, row, error=error))  # it lacks what names it, or its input
            return
        self.read += 1
        self.running[number] = begin_task(self._fly(number, key, row, given))

    async def _fly(self, number: int, key: str, row: Any, given: Any) -> None:
        """One row, from start to its record."""
        if self.runner is None:
            raise AssertionError("it has begun")
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        try:
            outcome = await self.runner.run(number, self._run_key(number, key, row), given)
        except Exception as broken:  # the runner's own, not the row's: a map without the row would wait for ever
            self._end(broken)
            raise
        finally:
            del self.running[number]
            _set(self._room)
        done = msgspec.structs.replace(outcome.row, number=number, key=key, input=row)
        error = done.error
        # A coroutine that is thrown away is closed by somebody else; a row that raises this itself has failed.
        closed = asyncio.current_task(loop) is not task
        if isinstance(error, GeneratorExit if closed else asyncio.CancelledError) and (closed or self.closing):
            self.lost.append(outcome.unkept(done))
            raise error
        if not self._finish(done):
            self.lost.append(outcome.unkept(done))

    def _run_key(self, number: int, key: str, row: Any) -> RowKey | None:
        """What the journal knows the row's run by; without a key of its own it is known by its input, as any run."""
        if self.terms.key is None:
            return None
        return RowKey(self.step.name, key, self._told(number, row), self.map)

    def _told(self, number: int, row: Any) -> int:
        """A row's number among all, where rows before it were left out."""
        return number if self.terms.number is None else self.terms.number(row)

    def _finish(self, row: Row[Out]) -> bool:
        """Whether a row is handed over: one that fails may end the map, and is told by its error."""
        error, most = row.error, self.terms.max_failures
        self.failed += error is not None
        if error is not None and (is_fatal(error) or not isinstance(error, Exception | asyncio.CancelledError)):
            return self._end(error)  # a wrong key, say; or what is meant for the interpreter, as SystemExit
        if error is not None and most is None and self.terms.on_error == "fail":
            return self._end(self._failed(row, described(error)))
        self.done[row.number] = row
        if error is not None and most is not None and self.failed > most:
            last = described(error)
            self._end(self._failed(row, f"more than max_failures={most} rows failed; the last: {last}"))
        _set(self._changed)
        return True

    def _failed(self, row: Row[Out], why: str) -> RowError:
        return RowError(msgspec.structs.replace(row, number=self._told(row.number, row.input)), why)

    def _end(self, error: BaseException) -> bool:
        """A row ends the map, and all that runs; the first that does."""
        if self.failure is None or self.broken:
            self.failure = error
            self.broken = False
        _set(self._changed)
        return False


async def _each(rows: Source) -> AsyncGenerator[Any, None]:
    """The rows; a generator is closed with them, for nobody else can go on with it."""
    if isinstance(rows, AsyncIterable):
        try:
            async for row in rows:
                yield row
        finally:
            if isinstance(rows, AsyncGenerator):
                await rows.aclose()
    else:
        try:
            for row in rows:
                yield row
        finally:
            if isinstance(rows, Generator):
                rows.close()


def _uncalled(error: asyncio.CancelledError) -> FanfoldError:
    """What a cancellation in the reading is that nobody asked for: no end of the rows."""
    told = FanfoldError("the rows were cancelled where they are read: there may be more of them")
    told.__cause__ = error
    return told


def _set(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
