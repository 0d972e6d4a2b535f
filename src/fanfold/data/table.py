"""A step over a table: it reads, runs and writes row by row, and the same again goes on where it was."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fanfold.calls.amounts import Budget
from fanfold.calls.tab import Tab
from fanfold.core.clock import chance, now, sleep
from fanfold.core.numbers import counted
from fanfold.data.choosing import Choice, remaining
from fanfold.data.columns import Columns, Item
from fanfold.data.files import Files, Places, settle
from fanfold.data.formats import format_of, open_rows
from fanfold.data.logs import claimed
from fanfold.data.state import Made, Spent, State, identity, read_state, write_state
from fanfold.errors import UsageError
from fanfold.folds.collect import OnError
from fanfold.steps.fingerprints import fingerprint
from fanfold.steps.row import Terms
from fanfold.steps.rows import Rows
from fanfold.steps.step import Step

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from fanfold.data.reading import Reader
    from fanfold.session import Session, SessionStatistics
    from fanfold.steps.row import Row

T = TypeVar("T")

READ = 64
"""Rows that are read together: to change the thread for each would cost more than the row."""

GATHER = 0.01
"""Seconds in which finished rows are gathered and then written together, for the same reason.

Only where a journal has their answers by then: without one a row is done when it is written.
"""


class Plan(msgspec.Struct, frozen=True):
    """What to make: `step` over the rows of `source` as the table `out`.

    `model` names the model of the session, `timeout` is seconds a row, `budget` what all of it may cost, earlier
    runs included. A `journal` beside the output keeps what was answered. `restart` forgets all there is; `reuse` makes
    the table anew as well, but what the journal holds is not asked again. The rows run where `engine` says.
    """

    step: Step[Any, Any]
    source: Path
    out: Path
    columns: Columns = Columns()
    choice: Choice = Choice()
    model: str = ""
    max_in_flight: int | None = None
    on_error: OnError = "fail"
    max_failures: int | None = None
    timeout: float | None = None
    budget: Budget | None = None
    journal: bool = True
    restart: bool = False
    reuse: bool = False
    engine: str = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.reuse and (self.restart or not self.journal):
            raise UsageError("--reuse-unchanged takes answers from the journal: leave out --restart and --no-journal")
        self.terms(State(Made("", "", "", {})))

    @property
    def skips(self) -> bool:
        """Whether a row that fails is left out, rather than the end of it all."""
        return self.on_error == "skip" or self.max_failures is not None

    def terms(self, state: State) -> Terms:
        """How to run the rest of the rows; raises `UsageError` where that cannot be."""
        terms = Terms(
            key=self.columns.key_of,
            ordered=not self.columns.numbered,
            max_in_flight=self.max_in_flight,
            on_error=self.on_error,
            max_failures=self.max_failures,
            timeout=self.timeout,
            budget=self._left(state),
            # Without a journal a row that is done and not written would be paid again after a crash.
            window=None if self.journal else 1,
            given=self.columns.given,
            number=_number,
            map=state.map,
            engine=self.engine,
            workers=self.workers,
        )
        if self.max_failures is None:
            return terms
        most, failed = self.max_failures, state.failed
        if failed > most:
            again = "let --reuse-unchanged ask them again" if self.journal else "--restart"
            have = counted(failed, "row has", "rows have")
            raise UsageError(f"{have} failed, more than --max-failures {most}: allow more, or {again}")
        return msgspec.structs.replace(terms, max_failures=most - failed)

    def _left(self, state: State) -> Budget | None:
        """The budget without what earlier runs may have spent."""
        if self.budget is None or self.budget.usd is None:
            return self.budget
        if state.most >= self.budget.usd:
            most = "" if state.most <= (state.spent.cost.at_most or 0) else f", and may have cost ${state.most:.6f}"
            raise UsageError(
                f"the budget of ${self.budget.usd:.6f} is spent: earlier runs cost {state.spent.cost}{most}; give more"
            )
        return msgspec.structs.replace(self.budget, usd=self.budget.usd - state.most)

    def check_places(self) -> None:
        """Raise `UsageError` where the output cannot be where it is to be. It looks at the disk."""
        if not self.out.parent.is_dir():
            raise UsageError(f"there is no directory {self.out.parent}: make it, or give another output")
        if self.out.exists() and not self.out.is_file():
            what = "a directory" if self.out.is_dir() else "no file"
            raise UsageError(f"{self.out} is {what}: give the name of a file for the output")
        written = Places(self.out)
        if realpath(self.source) in map(realpath, (written.out, written.failed)):
            raise UsageError(f"{self.source} is the input and would be written over: give another output")

    def made(self) -> Made:
        """What the table is made of; it reads a part of the input."""
        options = {name: value for name, value in self._options().items() if value is not None}
        return Made(fingerprint(self.step), self.model, identity(self.source), {k: str(v) for k, v in options.items()})

    def _options(self) -> dict[str, Any]:
        columns, choice = self.columns, self.choice
        keep = columns.keep if isinstance(columns.keep, str) else ",".join(columns.keep)
        return {
            "input": columns.input,
            "key": columns.key,
            "keep": keep,
            "as-finished": "yes" if columns.numbered else None,
            "limit": choice.limit,
            "sample": choice.sample,
            "seed": choice.seed if choice.sample else None,
        }


class Standing(msgspec.Struct, frozen=True):
    """How a table stands: `done` rows came out well and `failed` ones did not, `before` of both in earlier runs.

    `total` is how many there will be, as far as is known: `exact`, or from how much of the file was read. `spent` is
    what this run took, and `spent_before` those before it; `seconds` is how long this run has gone on.
    """

    done: int
    failed: int
    before: int
    total: int | None
    spent: Spent
    spent_before: Spent
    seconds: float
    exact: bool = True

    @property
    def rate(self) -> float:
        """Rows a second, in this run."""
        return (self.done + self.failed - self.before) / self.seconds if self.seconds else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that the other rows will take at this rate."""
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.done - self.failed) / self.rate

    @property
    def projected(self) -> float | None:
        """USD that all rows of the table will cost at this run's price of a row; None where that is not known."""
        rows, cost = self.done + self.failed - self.before, self.spent.cost
        if self.total is None or not rows or cost.at_most is None:
            return None
        left = max(0, self.total - self.done - self.failed)
        return self.spent_before.cost.at_least + cost.at_least * (rows + left) / rows


class Table:
    """One making of a table; see `Plan`. Its `standing` may be asked at any time.

    `sessions` makes the session that the rows share, with a journal at this path (None: without one); that is only
    done once this process is known to be the one that makes the table.
    """

    def __init__(self, plan: Plan, sessions: Callable[[Path | None], Session]) -> None:
        format_of(plan.source)
        format_of(plan.out)
        self.plan = plan
        self.sessions = sessions
        self.session: Session | None = None
        self.places = Places(plan.out)
        self.files: Files | None = None
        self.state: State | None = None
        self.before = 0
        self.began = now()
        self.read = 0
        self.over = False
        self._rows: Rows[Any] | None = None
        self._reader: Reader | None = None
        # A thread of its own: those that steps use may all be taken, and it has to write even then.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fanfold-table")

    async def make(self) -> Standing:
        """Make the table, or the rest of it; raises what ends the map, with all that was done kept.

        Raises `UsageError` where what is there was made of something else, or by somebody else.
        """
        self.began = now()
        try:
            if await self._blocking(self._open):
                async with self.sessions(self.places.journal if self.plan.journal else None) as self.session:
                    await self._run(self.session)
                await self._blocking(partial(self._opened().finish, self._names))
        finally:
            await asyncio.shield(self._blocking(self._close))
            self._thread.shutdown(wait=False)
        return self.standing()

    def standing(self) -> Standing:
        """How it stands, now."""
        files, state = self.files, self.state if self.files is None else self.files.state
        spent, earlier = (Spent(), Spent()) if files is None else (files.spent, files.earlier)
        if state is None:
            return Standing(0, 0, 0, None, spent, earlier, 0.0)
        if files is None:
            earlier = state.spent
        total: int | None = state.rows + state.failed
        exact = self._reader is None or self.over or self.plan.choice.sample is not None
        if self._reader is not None:
            total = self.plan.choice.total(self.read, self._reader.fraction, over=self.over)
        return Standing(state.rows, state.failed, self.before, total, spent, earlier, now() - self.began, exact)

    def traffic(self) -> SessionStatistics | None:
        """How the calls stand, now; None where there are none yet."""
        if self.session is None or self._rows is None:
            return None
        return self._rows.traffic() or self.session.statistics()

    # -- on the loop ----------------------------------------------------------------------------------------

    async def _run(self, session: Session) -> None:
        plan, files = self.plan, self._opened()
        tab = Tab(lambda most: self._blocking(partial(files.promise, most)))
        terms = msgspec.structs.replace(plan.terms(files.state), tab=tab)
        rows: Rows[Any] = Rows(plan.step, self._items(), session, terms)
        self._rows = rows
        held: list[Row[Any]] = []
        try:
            async with rows:
                async for row in rows:
                    held.append(row)
                    if plan.journal:
                        await sleep(GATHER)
                    together, held = held + rows.ready(), []
                    await self._blocking(partial(files.write, together))
        finally:
            end = partial(files.end, held + rows.ready(), rows.lost(), tab.charged)
            await asyncio.shield(self._blocking(end))

    async def _items(self) -> AsyncGenerator[Item, None]:
        items = await self._blocking(self._remaining)
        while batch := await self._blocking(lambda: list(islice(items, READ))):
            for item in batch:
                yield item
        self.over = True

    async def _blocking(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _opened(self) -> Files:
        if self.files is None:
            raise AssertionError("it is opened before anything is written")
        return self.files

    # -- in the thread --------------------------------------------------------------------------------------

    def _open(self) -> bool:
        """Find out how far it is, and open its files; False where nothing is left to do."""
        places = self.places
        self.plan.check_places()
        made = self.plan.made()
        found = self._found(made)
        if found is not None and found.phase != "running":
            self.state = found if found.phase == "done" else self._settled(found, made)
            self.before = found.rows + found.failed
            self._check_there()
            return False
        self._reader = open_rows(self.plan.source)
        begun = found or State(made)
        if not begun.map:
            begun = msgspec.structs.replace(begun, map=chance().randbytes(8).hex())
        self.files = Files(places, self.plan.columns, begun, journaled=self.plan.journal)
        self._check_still(found, made)
        if found is None:
            self.files.clear()
        else:
            write_state(places.state, begun)  # for what had no rows may have been begun with something else
        if self.plan.restart:
            for name in ("", "-wal", "-shm"):
                places.journal.with_name(f"{places.journal.name}{name}").unlink(missing_ok=True)
        return True

    def _found(self, made: Made) -> State | None:
        """What is there of this table; raises `UsageError` where it is not of this."""
        if self.plan.restart:
            return None
        found, out = read_state(self.places.state), self.plan.out
        if found is None and out.exists():
            raise UsageError(f"{out} is there, and not known as this command's: give another, or use --restart")
        if self.plan.reuse:
            return None
        changes = [] if found is None else found.made.changes(made)
        if found is not None and changes and self._is_empty(found):
            return State(made, spent=found.spent, tab=found.tab)
        if changes:
            raise UsageError(
                f"{out} was begun with something else: changed since: {', '.join(changes)}. Use --reuse-unchanged to "
                "make it anew and ask only what changed, --restart to ask all of it, or give another output"
            )
        return found

    def _settled(self, found: State, made: Made) -> State:
        """Put the files of a whole table into their places, unless the process that made it is about to."""
        with claimed(self.places.log):
            self._check_still(found, made)
            return settle(self.places, found, self._names)

    def _names(self) -> list[str]:
        """The columns of the output as far as they are known without a row."""
        with open_rows(self.plan.source) as rows:
            return self.plan.columns.names(rows.names(), self.plan.step.returns)

    def _check_still(self, found: State | None, made: Made) -> None:
        """Raise `UsageError` where the table was another one a moment ago."""
        if self._found(made) != found:
            raise UsageError(f"another process has just been writing {self.plan.out}: look, and try again")

    def _check_there(self) -> None:
        """Raise `UsageError` where a table that is done was taken away."""
        out, kept = self.plan.out, self.plan.journal and self.places.journal.exists()
        if not out.exists():
            how = "--reuse-unchanged makes it anew from its journal" if kept else "--restart makes it anew"
            raise UsageError(f"{out} was made, and is gone: {how}")

    def _is_empty(self, found: State) -> bool:
        """Whether no row has come of it yet, so that nothing is lost by another beginning."""
        logs = (self.places.log, self.places.failed_log)
        begun = found.phase != "running" or found.rows or found.failed
        return not begun and not any(log.exists() and log.stat().st_size for log in logs)

    def _remaining(self) -> Iterator[Item]:
        """The rows that are still to be run, with those read so far counted."""
        files = self._opened()
        done, first = files.done()
        self.before = files.state.rows + files.state.failed
        if self._reader is None:
            raise AssertionError("it is opened before anything is read")
        return remaining(self._counted(self.plan.choice.items(self._reader)), done, first)

    def _counted(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            self.read += 1
            yield item

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self.files is not None:
            if self.files.state.phase == "running":
                self.files.sync()
            self.files.close()


def _number(item: Item) -> int:
    return item.number
