"""The hub of a map over workers: it hands out rows in blocks, keeps the ledger of leases, and passes messages on.

It is one actor on the cluster, and only its own loop touches it. A block is kept until all its rows are done: a worker
that is gone leaves its blocks to others, who are told which of the rows somebody began before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

from fanfold.calls.ledger import Ledger
from fanfold.calls.levels import LaneStatistics
from fanfold.calls.turnstile import SlotStatistics
from fanfold.core.clock import now, sleep
from fanfold.steps.workers.messages import Mail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.calls.amounts import Amount
    from fanfold.steps.workers.messages import Message

BLOCK = 32
"""Rows of a block, at most."""

LINGER = 0.1
"""Seconds that a block waits for more rows: each is work for the cluster."""

POLL = 1.0
"""Seconds until a question for news is answered, even by none."""

LIVES = 5
"""Workers that may die while they run a row; then it is taken for the reason, and the map ends."""

ALONE = 60.0
"""Seconds without a word of the driver's after which it is taken for dead, and the hub ends."""


class _Box:
    """Messages for one reader, who waits for them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.rows: set[int] = set()
        """The rows that the reader has begun, and has not told of since."""
        self.closed = False
        self._come = asyncio.Event()

    def put(self, *message: Any) -> None:
        self.messages.append(message)
        self._come.set()

    def close(self) -> None:
        self.closed = True
        self._come.set()

    async def take(self) -> list[Message]:
        if not self.messages and not self.closed:
            try:
                async with asyncio.timeout(POLL):
                    await self._come.wait()
            except TimeoutError:
                return []
        taken, self.messages = self.messages, []
        if not self.closed:
            self._come.clear()
        return taken


class _Given:
    """A row that is not done: the block that it is in, and who has begun it."""

    __slots__ = ("block", "lives", "worker")

    def __init__(self, block: int) -> None:
        self.block = block
        self.worker: str | None = None
        self.lives = 0


class Hub:
    """See above. `order` is what each of `count` workers gets when it joins, `ledger` the options of the `Ledger`."""

    def __init__(self, order: bytes, ledger: dict[str, Any], count: int) -> None:
        self.order = order
        self.count = count
        self.ledger = Ledger(**ledger)
        self.driver = _Box()
        self.workers: dict[str, _Box] = {}
        self.over = False
        self.heard = now()
        self._rows: deque[tuple[int, bytes]] = deque()
        self._given: dict[int, _Given] = {}
        self._blocks: dict[int, list[tuple[int, bytes]]] = {}
        self._left: dict[int, int] = {}
        self._more = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._shortage = self._covering = 0

    # -- the driver --------------------------------------------------------------------------------------------------

    async def add(self, messages: Sequence[Message]) -> None:
        """What the driver says: rows to run, rows to drop, answers for workers."""
        self.heard = now()
        for kind, *said in messages:
            if kind == "row":
                self._rows.append((said[0], said[1]))
                self._more.set()
            elif kind == "drop":
                self._drop(said[0])
            elif kind == "covered":
                self.ledger.covered = said[0]
                self._serve()
            elif said[0] in self.workers:
                self.workers[said[0]].put(kind, *said[1:])

    async def mail(self) -> Mail:
        """What the workers say, as soon as there is something."""
        self.heard = now()
        messages = await self.driver.take()
        self.heard = now()
        ledger = self.ledger
        slots = SlotStatistics(ledger.slots, ledger.in_use, ledger.waiting)
        return Mail(messages, slots, self._lanes(), ledger.spent, len(self.workers))

    async def stop(self) -> None:
        """No more rows: the reader of blocks ends, the workers are told to."""
        self.over = True
        self._more.set()
        self.driver.put("stop")
        for box in self.workers.values():
            box.put("stop")

    async def spending(self) -> Amount:
        """What all workers have spent; of who still runs rows, all that it might."""
        return self.ledger.at_most({name for name, box in self.workers.items() if box.rows})

    async def alone(self) -> bool:
        """Whether the driver has not been heard of for so long that it must be dead."""
        return now() - self.heard > ALONE

    # -- the blocks --------------------------------------------------------------------------------------------------

    async def take(self, index: int) -> list[tuple[int, bytes]] | None:
        """The block of that number, the same one whenever it is asked for; None where no more will come."""
        if index in self._left:
            return self._blocks.get(index, [])
        while not self._rows and not self.over:
            self._more.clear()
            await self._more.wait()
        if self.over:
            return None
        if len(self._rows) < BLOCK * self.count:
            await sleep(LINGER)
        size = min(BLOCK, -(-len(self._rows) // self.count))  # enough for all
        rows = [self._rows.popleft() for _ in range(size)]
        self._blocks[index] = rows
        self._left[index] = len(rows)
        for number, _ in rows:
            self._given[number] = _Given(index)
        return rows

    async def claim(self, worker: str, numbers: Sequence[int]) -> list[tuple[int, bool]] | None:
        """Which of the rows of a block are to be run, and whether somebody began them before; None: not by you."""
        if not self._alive(worker):
            return None
        claimed: list[tuple[int, bool]] = []
        for number in () if self.over else numbers:
            found = self._given.get(number)
            if found is None:
                continue
            before, found.worker = found.worker, worker
            if before in self.workers and before != worker:
                self.workers[before].put("drop", number)
            claimed.append((number, before is not None))
            self.workers[worker].rows.add(number)
            found.lives += before != worker  # a block may come twice to who has it
            if found.lives > LIVES:
                self.driver.put("fallen", number)
        return claimed

    def _drop(self, number: int) -> None:
        found = self._given.get(number)
        if found is not None and found.worker in self.workers:
            self.workers[found.worker].put("drop", number)  # it tells what the row has cost by then
            return
        self._rows = deque(row for row in self._rows if row[0] != number)
        self._done(number)
        self.driver.put("row", number, None)

    def _done(self, number: int) -> bool:
        found = self._given.pop(number, None)
        if found is None:
            return False
        self._left[found.block] -= 1
        if not self._left[found.block]:
            del self._blocks[found.block]
        return True

    # -- the workers -------------------------------------------------------------------------------------------------

    async def join(self, worker: str) -> bytes | None:
        """A worker is there: ``actor:life``; an earlier life of the same actor is over. None: it is not needed."""
        actor = worker.partition(":")[0]
        for other in [name for name in self.workers if name.partition(":")[0] == actor]:
            self.ledger.leave(other)
            self._gone(other)
        if self.over:
            return None
        self.ledger.join(worker, now())
        self.workers[worker] = _Box()
        self._serve()
        return self.order

    async def beat(self, worker: str) -> bool:
        """Renew the lease of a worker; False where it is over, and the worker has to end."""
        return self._alive(worker)

    async def post(self, worker: str, messages: Sequence[Message]) -> bool:
        """What a worker says; False where its lease is over, and the worker has to end."""
        alive = self._alive(worker)
        for kind, *said in messages:
            if kind == "row":
                if worker in self.workers:
                    self.workers[worker].rows.discard(said[0])
                given = self._given.get(said[0])
                if given is not None and given.worker == worker and self._done(said[0]):
                    self.driver.put(kind, *said)
            elif kind in {"entries", "ask", "over"}:
                self.driver.put(kind, worker, *said)  # of a dead one, too: what was answered is worth keeping
            elif alive:
                self._hear(worker, kind, said)
        self._serve()
        return alive

    async def poll(self, worker: str) -> list[Message] | None:
        """What there is for a worker; None where its lease is over."""
        box = self.workers.get(worker)
        if box is None or not self._alive(worker):
            return None
        messages = await box.take()
        return messages if self._alive(worker) else None

    async def leave(self, worker: str) -> None:
        """A worker has ended, with nothing under way."""
        self.ledger.leave(worker, settled=True)
        self._gone(worker)
        self._serve()

    def _alive(self, worker: str) -> bool:
        alive = self.ledger.renew(worker, now())
        for other in [name for name in self.workers if name not in self.ledger.holders]:
            self._gone(other)
        return alive

    def _gone(self, worker: str) -> None:
        box = self.workers.pop(worker, None)
        if box is not None:
            box.close()

    def _hear(self, worker: str, kind: str, said: Sequence[Any]) -> None:
        ledger = self.ledger
        if kind == "permit":
            number, lane, need = said
            ledger.ask(worker, number, lane, need)
        elif kind == "end":
            number, lane, need, sent = said
            ledger.end(worker, number, lane, need, sent=sent)
        elif kind == "limits":
            ledger.hear(said[0], said[1], now())
        elif kind == "refused":
            ledger.refused(said[0], said[1], now())
        elif kind == "money":
            ledger.hears(worker, said[0])

    def _serve(self) -> None:
        """Give out what can be had, and come back when more can."""
        at = now()
        for worker in self.ledger.expire(at):
            self._gone(worker)
        for worker, number in self.ledger.serve(at):
            self.workers[worker].put("permit", number)
        for loan in self.ledger.lend():
            self.workers[loan.holder].put("loan", loan)
        if self.ledger.uncovered > self._covering:
            self._covering = self.ledger.uncovered
            self.driver.put("cover", self._covering)
        if self.ledger.shortage != self._shortage:
            self._shortage = self.ledger.shortage
            for box in self.workers.values():
                box.put("shortage", self._shortage)
        if self._timer is not None:
            self._timer.cancel()
        when = self.ledger.wake_at(at)
        self._timer = None if when == inf else asyncio.get_running_loop().call_at(max(when, at), self._serve)

    def _lanes(self) -> tuple[LaneStatistics, ...]:
        at, ledger = now(), self.ledger
        return tuple(
            LaneStatistics(
                name[1],
                ledger.in_use,
                len(lane.queue),
                ledger.slots,
                ledger.limits(name, at),
                max(0.0, ledger.paused.get(name[0], -inf) - at),
                *(None, 0, 0, 0, 0, ""),
            )
            for name, lane in ledger.lanes.items()
        )
