"""A worker of a map: it runs the rows of its blocks; turns, money and the journal are asked of the hub.

What it says goes in order and in batches: while one is on its way, the next one gathers. When it hears that its lease
is over, or the hub is gone, it must not go on, for what it held may be another's by now: `fence` ends it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from fanfold.calls.sharing import SharedPurse
from fanfold.core.scope import segment
from fanfold.core.tasks import begin_task
from fanfold.errors import FanfoldError
from fanfold.journal.far import FarJournal
from fanfold.session import Session
from fanfold.steps.engines import row_run, unkept
from fanfold.steps.row import record_of
from fanfold.steps.workers.packing import packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fanfold.calls.allowance import Need
    from fanfold.calls.ledger import LaneName, Money
    from fanfold.core.records import Limits
    from fanfold.journal.entries import Entry
    from fanfold.steps.workers.messages import Cluster, Message, Order


class Worker:
    """One worker, called `name` (``actor:life``), of the hub that `cluster` reaches."""

    def __init__(self, cluster: Cluster, name: str, fence: Callable[[], None]) -> None:
        self.cluster = cluster
        self.name = name
        self.fence = fence
        self.order: Order | None = None
        self.post = _Post(self)
        self.running: dict[int, asyncio.Task[None]] = {}
        self.session: Session | None = None
        self.purse: SharedPurse | None = None
        self.journal: FarJournal | None = None
        self.left = False
        """Whether it has ended in good order: it holds nothing, and has no lease to renew."""
        self._polling: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> bool:
        """Join, and open what the rows share; False where nobody needs it any more."""
        data = await self.cluster.call("join", self.name)
        if data is None:
            return False
        order: Order = self.cluster.loads(data)
        self.order = order
        if order.journal is not None:
            mode, content = order.journal
            post = self.post
            self.journal = FarJournal(mode=mode, content=content, send=post.entry, ask=post.ask, over=post.over)
        if order.money is not None:
            ceiling = order.ceiling
            self.purse = SharedPurse(order.money, ceiling, self.post.money, counts_money=order.counts_money)
        self.session = _session(order, self.journal)
        self.session.road.lanes.shares = self.post
        await self.session.__aenter__()
        self._polling = begin_task(self._poll())
        return True

    async def block(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Run the rows of a block that are still to be run; of a block that comes again, what is under way goes on."""
        claimed = await self.cluster.call("claim", self.name, [number for number, _ in rows])
        if self._closing is not None:
            return
        if claimed is None:
            self.lost()
            return
        again = dict(claimed)
        tasks = []
        for number, data in rows:
            if number in again:
                task = self.running.get(number)
                if task is None or task.cancelling():
                    task = self.running[number] = begin_task(self._fly(number, data, again=again[number]))
                tasks.append(task)
        if tasks:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                if not task.cancelled():
                    task.result()  # an error here is not the row's, but of its way
        await self.post.sent()

    def lost(self) -> None:
        """The lease is over, or the hub is gone: end, unless nothing is held any more."""
        if not self.left:
            self.fence()

    async def _close(self) -> None:
        """All is done: say goodbye."""
        for task in list(self.running.values()):
            task.cancel()
        await asyncio.gather(*self.running.values(), return_exceptions=True)
        if self.session is not None:
            await self.session.close()
        await self.post.sent()
        self.left = True
        with suppress(FanfoldError):
            await self.cluster.call("leave", self.name)

    async def _fly(self, number: int, data: bytes, *, again: bool) -> None:
        """One row, from start to its record at the hub."""
        try:
            await self._row(number, data, again=again)
        finally:
            if self.running.get(number) is asyncio.current_task():
                del self.running[number]

    async def _row(self, number: int, data: bytes, *, again: bool) -> None:
        order, session = self.order, self.session
        if order is None or session is None:
            raise AssertionError("it was started")
        page, given = self.cluster.loads(data)
        if again and page is not None:
            page = await self.post.ask("again", number)
        key = None
        if page is not None and self.journal is not None:
            key = f"{segment(order.step.name)}#{number}"
            self.journal.expect(number, key, page)
        run, error = await row_run(order.step, session, given, order.row_timeout, key, self.purse)
        journaled = order.journal is not None and order.journal[0] == "resume"
        record, left = (record_of(0, "", None, one, error) for one in (run, unkept(run, journaled=journaled)))
        self.post.say("row", number, packed(record, left, self.cluster))

    async def _poll(self) -> None:
        """Hear what the hub says."""
        with suppress(FanfoldError):
            while (messages := await self.cluster.call("poll", self.name)) is not None:
                for message in messages:
                    self._hear(message)
        self.lost()

    def _hear(self, message: Message) -> None:
        kind, *said = message
        if kind == "drop" and said[0] in self.running:
            self.running[said[0]].cancel()
        elif kind == "stop":
            self._closing = begin_task(self._close())
        elif kind == "loan" and self.purse is not None:
            self.purse.lent(said[0])
        elif kind == "shortage" and self.purse is not None:
            self.purse.hear(said[0])
        elif kind in {"permit", "kept", "answer"}:
            self.post.answered(kind, *said)


class _Post:
    """What a worker says to the hub, and the answers to it; to the road it is where the shares come from."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._out: list[Message] = []
        self._entries: list[tuple[Entry, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._numbers = count(1)
        self._waiting: dict[tuple[str, int], list[asyncio.Future[Any]]] = {}

    def say(self, *message: Any) -> None:
        """Say something, after all that was said before."""
        self._gather()
        self._out.append(message)
        self._send()

    async def sent(self) -> None:
        """Wait until all was said."""
        while self._sending is not None:
            await asyncio.shield(self._sending)

    def answered(self, kind: str, number: int, value: Any = None, error: BaseException | None = None) -> None:
        """An answer came; who waited may have gone."""
        for future in self._waiting.pop((kind, number), ()):
            if future.done():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
                future.exception()  # seen: not everybody waits

    # -- the journal -------------------------------------------------------------------------------------------------

    def entry(self, entry: Entry) -> asyncio.Future[None]:
        """Send an entry of the journal; the future is done when it is on the driver's disk."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._entries.append((entry, kept))
        self._send()
        return kept

    async def ask(self, *question: Any) -> Any:
        """Ask the driver."""
        number, answer = self._wait_for("answer")
        self.say("ask", number, *question)
        return await answer

    def over(self, row: int, run: int) -> None:
        """Say that a run inside a row has ended."""
        self.say("over", row, run)

    def money(self, money: Money) -> None:
        """Say how the purse stands."""
        self.say("money", money)

    # -- the shares --------------------------------------------------------------------------------------------------

    async def permit(self, lane: LaneName, need: Need) -> int:
        """Wait for the permit of one send; who is cancelled holds none."""
        number, granted = self._wait_for("permit")
        self.say("permit", number, lane, need)
        try:
            await granted
        except BaseException:
            self._waiting.pop(("permit", number), None)
            self.end(number, lane, None, sent=False)
            raise
        return number

    def end(self, number: int, lane: LaneName, need: Need | None, *, sent: bool) -> None:
        """A send with a permit is over."""
        self.say("end", number, lane, need, sent)

    def hear(self, lane: LaneName, told: Limits) -> None:
        """A server told of its limits."""
        self.say("limits", lane, told)

    def refused(self, lane: LaneName, pause: float) -> None:
        """A server refused a send as too much."""
        self.say("refused", lane, pause)

    # -- the way -----------------------------------------------------------------------------------------------------

    def _wait_for(self, kind: str) -> tuple[int, asyncio.Future[Any]]:
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[kind, number] = [future]
        return number, future

    def _gather(self) -> None:
        """The entries so far as one message: what is said after them has to come after them."""
        if not self._entries:
            return
        gathered, self._entries = self._entries, []
        number = next(self._numbers)
        self._waiting["kept", number] = [kept for _, kept in gathered]
        self._out.append(("entries", number, [entry for entry, _ in gathered]))

    def _send(self) -> None:
        if self._sending is None:
            self._sending = begin_task(self._sends())

    async def _sends(self) -> None:
        try:
            while True:
                self._gather()
                batch, self._out = self._out, []
                if not batch:
                    return
                if not await self.worker.cluster.call("post", self.worker.name, batch):
                    self.worker.lost()
        except FanfoldError:
            self.worker.lost()
        finally:
            self._sending = None


def _session(order: Order, journal: FarJournal | None) -> Session:
    """A session like the driver's."""
    settings, policy = order.settings, order.policy
    return Session(
        settings.model,
        base_url=settings.base_url,
        providers=settings.providers,
        allow_http=settings.allow_http,
        transport=settings.transport,
        max_in_flight=order.slots,
        rate_limits=order.rate_limits,
        patience=order.patience,
        timeout=order.timeout,
        idle_timeout=policy.idle_timeout,
        attempts=policy.attempts,
        hedge=policy.hedge,
        journal=journal,
    )
