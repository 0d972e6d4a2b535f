"""The driver's side of a map over workers: it hands rows out, owns the journal and the budget, and takes what comes."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.calls.amounts import NOTHING, Amount, Limit
from fanfold.calls.budget import Purse
from fanfold.calls.ledger import UNITS
from fanfold.calls.turnstile import SlotStatistics
from fanfold.core.clock import now
from fanfold.core.tasks import begin_task
from fanfold.errors import FanfoldError, UsageError, WorkersError
from fanfold.journal.far import Owner
from fanfold.session import SessionStatistics
from fanfold.steps.keys import book_of, step_digest
from fanfold.steps.row import Row
from fanfold.steps.workers.hub import LIVES
from fanfold.steps.workers.messages import Mail, Order
from fanfold.steps.workers.packing import outcome, unpacked

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from fanfold.calls.budget import Lease, Till
    from fanfold.calls.tab import Tab
    from fanfold.core.journaling import RowKey
    from fanfold.session import Session
    from fanfold.steps.engines import Outcome
    from fanfold.steps.row import Terms
    from fanfold.steps.step import Step
    from fanfold.steps.workers.messages import Cluster, Message

GRACE = 0.7
"""Seconds that workers have to tell what rows had cost that are called off."""

UNMANNED = 30.0
"""Seconds without any worker after which it is said that rows wait."""

logger = logging.getLogger("fanfold")


class Crew:
    """Runs rows by the workers of a cluster; a `Runner`."""

    ahead = 2
    """Rows wait for their block while others run."""

    def __init__(
        self, step: Step[Any, Any], session: Session, terms: Terms, purse: Till | None, cluster: Cluster
    ) -> None:
        self.step = step
        self.session = session
        self.terms = terms
        self.purse = purse
        self.cluster = cluster
        self.owner = None if session.journal is None else Owner(session.journal)
        self.mail = Mail([], SlotStatistics(session.gate.limit, 0, 0))
        self.broken: FanfoldError | None = None
        self._flying: dict[int, asyncio.Future[Outcome | None]] = {}
        self._out: list[Message] = []
        self._sending: asyncio.Task[None] | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._doing: set[asyncio.Task[None]] = set()
        self._lease: Lease | None = None
        self._until: float | None = None
        self._started = self._closing = False
        self._manned = 0.0

    # -- open and close ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start the hub and the workers; raises `UsageError` for what cannot be shared with them."""
        check(self.session)
        money = await self._leased()
        order = self._order(money)
        try:
            data = self.cluster.dumps(order)
        except UsageError as error:
            raise UsageError(
                f"the step {self.step.name!r} cannot be sent to workers ({error}): what it holds, closes over or names "
                "has to be picklable; open files, locks and clients inside the step"
            ) from error
        ledger = {"slots": order.slots, "rate_limits": order.rate_limits, "money": money}
        if self._tab() is not None:
            ledger["covered"] = 0
        self._started = True
        await self.cluster.start(data, ledger, self._lost)
        self._manned = now()
        self._receiving = begin_task(self._receive())

    async def close(self) -> None:
        """End the workers and the hub, and settle what was spent; once is enough."""
        await self._goodbye()
        tasks = [task for task in (self._receiving, self._sending, *self._doing) if task is not None]
        self._receiving = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        lease, self._lease = self._lease, None
        try:
            if lease is not None:
                lease.settle(await self._spent(lease))
        finally:
            await self.cluster.close()

    async def _goodbye(self) -> None:
        """Let the hub stop, and answer what it was asked last: to break a question off is an error to some clients."""
        if self._receiving is not None and self.broken is None:
            self._closing = True
            with suppress(FanfoldError, TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self.cluster.call("stop")
                    await self._receiving

    async def _spent(self, lease: Lease) -> Amount:
        """What the map has spent; where nobody can say, all that it might."""
        if not self._started:
            return NOTHING
        try:
            async with asyncio.timeout(GRACE):
                spent: Amount = await self.cluster.call("spending")
        except (FanfoldError, TimeoutError):
            return lease.worst
        return spent

    def traffic(self) -> SessionStatistics | None:
        """The calls of all workers, as the hub knew them a moment ago."""
        return SessionStatistics(self.mail.slots, 0, 0, self.mail.lanes)

    def _order(self, money: Limit | None) -> Order:
        session, road = self.session, self.session.road
        settings = session.settings
        model = settings.model or os.environ.get("FANFOLD_MODEL")
        journal = session.journal
        given = road.lanes.given
        purse = self.purse
        return Order(
            self.step,
            msgspec.structs.replace(settings, model=model),
            session.gate.limit,
            given.everyone or given.named or None,
            None if road.lanes.patience is None else road.lanes.patience,
            road.timeout,
            road.policy,
            self.terms.timeout,
            None if journal is None or journal.mode == "off" else (journal.mode, journal.content),
            money,
            None if purse is None else purse.ceiling,
            purse is not None and purse.counts_money,
        )

    async def _leased(self) -> Limit | None:
        """What all rows may spend, taken out of the purses around: the hub lends it on. Raises `BudgetError`."""
        purse = self.purse
        if purse is None:
            return None
        purses = [till for till in purse.chain() if isinstance(till, Purse)]
        left = [min(_left(purses, unit), default=None) for unit in UNITS]
        # Of what is all spent one more is asked for, and refused as a call would be.
        whole = Amount(*(0 if one is None else max(1, one) for one in left))
        self._lease = await purse.lease(whole, f"a map of {self.step.name!r}")
        return Limit(*(None if one is None else max(1, one) for one in left))

    # -- rows --------------------------------------------------------------------------------------------------------

    async def run(self, number: int, key: RowKey | None, given: Any) -> Outcome:
        """Let a worker run one row."""
        began = now()
        try:
            opening = book_of(self.session, self.step, given, key)
            book = None if opening is None else await opening
            page = None if self.owner is None else self.owner.begun(number, book, step_digest(self.step))
            if self.broken is not None:
                raise self.broken
            data = self._packed(page, given)
            self._flying[number] = asyncio.get_running_loop().create_future()
            self._say("row", number, data)
            found = await asyncio.shield(self._flying[number])
            return found or _empty(began, asyncio.CancelledError())
        except (FanfoldError, asyncio.CancelledError) as error:
            left = await self._called_off(number) if isinstance(error, asyncio.CancelledError) else None
            if left is None:
                return _empty(began, error)
            return outcome(msgspec.structs.replace(left.row, error=error), left.unkept(left.row))
        finally:
            self._flying.pop(number, None)
            if self.owner is not None:
                self.owner.ended(number)

    def _packed(self, page: Any, given: Any) -> bytes:
        try:
            return self.cluster.dumps((page, given))
        except UsageError as error:
            raise UsageError(f"the row, a {type(given).__name__}, cannot be sent to workers: {error}") from error

    async def _called_off(self, number: int) -> Outcome | None:
        """Call a row off, and wait a little for what it had cost by then."""
        flying = self._flying.get(number)
        if flying is None or self.broken is not None:
            return None
        self._say("drop", number)
        self._until = self._until or now() + GRACE
        try:
            async with asyncio.timeout_at(self._until):
                return await asyncio.shield(flying)
        except (TimeoutError, asyncio.CancelledError, FanfoldError):
            return None

    # -- messages ----------------------------------------------------------------------------------------------------

    def _say(self, *message: Any) -> None:
        self._out.append(message)
        if self._sending is None:
            self._sending = begin_task(self._send())

    async def _send(self) -> None:
        try:
            while self._out:
                batch, self._out = self._out, []
                await self.cluster.call("add", batch)
        except FanfoldError as error:
            self._lost(error)
        finally:
            self._sending = None

    async def _receive(self) -> None:
        try:
            while not self._closing:
                self.mail = await self.cluster.call("mail")
                self._look()
                for message in self.mail.messages:
                    self._hear(message)
        except FanfoldError as error:
            self._lost(error)

    def _look(self) -> None:
        """Say it where rows wait for a cluster that starts no worker: it may do so for ever."""
        at = now()
        if self.mail.workers or not self._flying:
            self._manned = at
        elif at - self._manned >= UNMANNED:
            self._manned = at
            logger.warning(
                "%d rows wait, for engine=%r has had no worker for %.0f s: it may have no CPU or memory free",
                len(self._flying),
                self.terms.engine,
                UNMANNED,
            )

    def _hear(self, message: Message) -> None:
        kind, *said = message
        if kind == "row":
            number, data = said
            flying = self._flying.get(number)
            if flying is not None and not flying.done():
                self._land(flying, data)
        elif kind == "entries":
            self._do(self._keep(*said))
        elif kind == "ask":
            self._do(self._answer(*said))
        elif kind == "over":
            self._do(self._over(*said))
        elif kind == "cover":
            self._do(self._cover(*said))
        elif kind == "fallen":
            self._lost(WorkersError(f"row {said[0]} was begun {LIVES} times, and each time its worker died"))

    def _land(self, flying: asyncio.Future[Outcome | None], data: bytes | None) -> None:
        try:
            flying.set_result(None if data is None else unpacked(data, self.cluster))
        except UsageError as error:
            flying.set_exception(error)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = begin_task(work)
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    def _tab(self) -> Tab | None:
        """Where it is written down what may be spent, before it is lent."""
        return None if self.purse is None else self.purse.tab

    async def _cover(self, picos: int) -> None:
        tab = self._tab()
        if tab is None:
            return
        try:
            self._say("covered", await tab.allow(picos))
        except OSError as error:
            self._lost(WorkersError(f"what the table may spend cannot be written down: {error}"))

    async def _keep(self, worker: str, number: int, entries: Any) -> None:
        """Write what a worker sent, and say so when it is on the disk."""
        error: Exception | None = None
        try:
            if self.owner is not None:
                await self.owner.keep(entries)
        except FanfoldError as failed:
            error = failed
        self._say("kept", worker, number, None, error)

    async def _answer(self, worker: str, number: int, what: str, *given: Any) -> None:
        value: Any = None
        error: Exception | None = None
        try:
            if what == "again" and self.owner is not None:
                value = await self.owner.again(*given)
            elif what == "begin" and self.owner is not None:
                value = await self.owner.begin(*given)
            elif what == "cached" and self.session.journal is not None:
                value = await self.session.journal.cached(*given)
        except FanfoldError as failed:
            error = failed
        self._say("answer", worker, number, value, error)

    async def _over(self, _: str, number: int, run: int) -> None:
        """A run inside a row has ended; a task, as what was said before it is one."""
        if self.owner is not None:
            self.owner.ended_inside(number, run)

    def _lost(self, error: FanfoldError) -> None:
        """The cluster is gone: nothing that flies comes back."""
        if self.broken is None:
            self.broken = error
        for flying in self._flying.values():
            if not flying.done():
                flying.set_exception(self.broken)
                flying.exception()  # seen: a row that was called off waits no more


def check(session: Session) -> None:
    """Raise `UsageError` for a session that has what its workers cannot."""
    settings = session.settings
    if settings.api_key is not None or any("api_key" in given for given in settings.providers.values()):
        raise UsageError(
            "a session's api_key is not sent to workers: set the key in their environment (OPENAI_API_KEY and the "
            "like), and leave it out here"
        )
    if session.on_event is not None:
        raise UsageError("on_event hears nothing of what workers do: leave it out")
    if session.gate.max_queued is not None:
        raise UsageError("max_queued= counts the calls that wait in one process: leave it out where workers run rows")


def _left(purses: list[Purse], unit: str) -> Iterator[int]:
    """What each purse with a limit in this unit has left."""
    for purse in purses:
        limit = getattr(purse.limit, unit)
        if limit is not None:
            yield limit - getattr(purse.charged, unit) - getattr(purse.reserved, unit)


def _empty(began: float, error: BaseException) -> Outcome:
    """What became of a row of which nothing is known but that it failed."""
    row: Row[Any] = Row(0, "", None, error=error, seconds=now() - began)
    return outcome(row, row)
