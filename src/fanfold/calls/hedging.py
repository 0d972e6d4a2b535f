"""Hedging: a second send beside one whose first token is late, as a few servers are slow for no reason of the request.

On the first token, not on the whole reply: how long a reply takes is mostly its length, which a second send has too
(Dean and Barroso, "The Tail at Scale", 2013, hedge their first bytes the same way).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.calls.quota import QuotaStatistics
from fanfold.calls.retrying import is_overload, row_for
from fanfold.core.clock import now
from fanfold.core.fan import gone
from fanfold.core.numbers import is_amount
from fanfold.core.tasks import begin_task
from fanfold.errors import CallError, FatalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fanfold.calls.lanes import Lane
    from fanfold.calls.passage import Passage, Sending
    from fanfold.core.records import Reply, Request

logger = logging.getLogger("fanfold")

ENOUGH = 20
"""First tokens of a size that have to be known before one is called late."""

KEPT = 256
"""First tokens of a size that are remembered."""

STALE = 16
"""Observations after which the percentile is worked out anew."""

SAVED = 20.0
"""Hedges that may be saved up at most: what a sudden slowness of all calls can cost at once."""

COOLING = 30.0
"""Seconds without hedges after a server said that it has too much to do."""


class Hedge(msgspec.Struct, frozen=True):
    """When to send a request a second time beside the first: after the usual wait for a first token.

    Once no text has come for as long as `percentile` of such requests (one model, prompts of about one size) have
    waited for theirs, the request is sent again; who brings text first is heard, the other is cancelled. Both are paid.
    At most `at_most` of all calls get a second send: 0.05 is one in twenty.
    """

    percentile: float = 95.0
    at_most: float = 0.05

    def __post_init__(self) -> None:
        if not is_amount(self.percentile) or self.percentile >= 100:
            raise UsageError(f"Hedge(percentile={self.percentile!r}): give a number between 0 and 100, as 95")
        if not is_amount(self.at_most) or self.at_most > 1:
            raise UsageError(f"Hedge(at_most={self.at_most!r}): give a share of the calls, as 0.05")


class HedgeStatistics(msgspec.Struct, frozen=True):
    """`calls` might have been hedged and `hedges` were, of which `won` were heard; `known` first tokens are learned."""

    calls: int
    hedges: int
    won: int
    known: int


class RetryStatistics(msgspec.Struct, frozen=True):
    """What one model under one key sends beyond first sends: its retry quota, and its hedges."""

    model: str
    quota: QuotaStatistics
    hedges: HedgeStatistics


class Waits:
    """How long first tokens of one size of prompt took lately."""

    __slots__ = ("_at", "_late", "_unread", "times")

    def __init__(self) -> None:
        self.times: deque[float] = deque(maxlen=KEPT)
        self._late = 0.0
        self._at = 0.0
        self._unread = STALE

    def learn(self, seconds: float) -> None:
        """One more."""
        self.times.append(seconds)
        self._unread += 1

    def late(self, percentile: float) -> float | None:
        """The wait that `percentile` of them stayed under; None while too few are known."""
        if len(self.times) < ENOUGH:
            return None
        if self._unread >= STALE or self._at != percentile:
            ordered = sorted(self.times)
            self._late = ordered[min(len(ordered) - 1, int(len(ordered) * percentile / 100))]
            self._at, self._unread = percentile, 0
        return self._late


class Hedging:
    """What one lane knows for its hedges: the usual waits, and what may still be spent on being faster."""

    __slots__ = ("calls", "cool_at", "hedges", "saved", "waits", "won")

    def __init__(self) -> None:
        self.waits: dict[int, Waits] = {}
        self.saved = 0.0
        self.cool_at = 0.0
        self.calls = 0
        self.hedges = 0
        self.won = 0

    def begin(self, hedge: Hedge, request: Request, *, again: bool = False) -> tuple[Waits, float | None]:
        """One more call, or one that is sent `again`: what is known of its size, and when its first token is late."""
        if not again:
            self.calls += 1
            self.saved = min(SAVED, self.saved + float(hedge.at_most))
        waits = self.waits.setdefault(size_of(request), Waits())
        return waits, waits.late(hedge.percentile)

    def hear(self, error: BaseException | None) -> None:
        """A send failed."""
        if is_overload(error):
            self.cool_at = now() + COOLING

    def take(self, lane: Lane) -> bool:
        """Take one hedge, if all allow it: the share of calls, the quota, and a lane that is not in trouble.

        A budget has its say last, when the hedge takes its lease; and the hedge waits for its turn like any send.
        """
        calm = now() >= self.cool_at and not lane.down
        if self.saved < 1.0 or not calm or lane.quota.low or not lane.quota.take():
            return False
        self.saved -= 1.0
        self.hedges += 1
        return True

    def give_back(self, lane: Lane) -> None:
        """One that was taken was never sent: its call had its text, or the hedge had no money, before its turn."""
        self.saved += 1.0
        self.hedges -= 1
        lane.quota.untake()

    def statistics(self) -> HedgeStatistics:
        """How it stands, now."""
        return HedgeStatistics(
            self.calls, self.hedges, self.won, sum(len(waits.times) for waits in self.waits.values())
        )


def size_of(request: Request) -> int:
    """The class of a request's size; each is four times the one below."""
    return (sum(len(message.content) for message in request.messages).bit_length() + 1) // 2


async def hedged(
    passage: Passage, hedge: Hedge, room: int, send: Callable[[bool], Coroutine[Any, Any, Reply]]
) -> Reply:
    """One send, and one beside it where its first token is late; `send` makes one (a hedge, if so told).

    `room` is how many sends the call has left.
    """
    lane = passage.lane
    first = len(passage.attempts)
    waits, late = lane.hedging.begin(hedge, passage.request, again=first > 0)
    try:
        if late is None or room < 2:
            return await send(False)
        return await _Race(passage, late, send).run()
    finally:
        if len(passage.attempts) > first:
            _learn(waits, passage.attempts[first])


def _learn(waits: Waits, sending: Sending) -> None:
    """Learn from a first send. One given up for its hedge would have taken longer: that much is known, and is kept."""
    if sending.sent_at is None or sending.state == "error":
        return
    until = sending.first_at
    if until is None and sending.reply is None and sending.passage.chosen not in {None, sending}:
        until = sending.ended_at
    if until is not None:
        waits.learn(until - sending.sent_at)


class _Race:
    """Two sends of one call at most, of which one is heard."""

    def __init__(self, passage: Passage, late: float, send: Callable[[bool], Coroutine[Any, Any, Reply]]) -> None:
        self.passage = passage
        self.late = late
        self.send = send
        self.loop = asyncio.get_running_loop()
        self.first = len(passage.attempts)
        self.tasks: dict[bool, asyncio.Task[Reply]] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.news: asyncio.Future[None] | None = None
        self.failure: BaseException | None = None
        self.hedged = False

    async def run(self) -> Reply:
        """Give the reply of the one that is heard, or raise the failure that says most of what to do now."""
        self.passage.race = self
        try:
            self._launch(hedge=False)
            while True:
                reply = self._taken()
                if reply is not None:
                    return reply
                self.news = self.loop.create_future()
                await self.news
        finally:
            self.passage.race = None
            await self._clear()

    def sent(self, sending: Sending) -> None:
        """A send goes out: from now on its first token may be late."""
        if not sending.hedge and self.timer is None:
            self.timer = self.loop.call_later(self.late, self._is_late)

    def chosen(self, sending: Sending) -> None:
        """The first text came: the other send is given up at once."""
        if sending.hedge:
            self.passage.lane.hedging.won += 1
        loser = self.tasks.get(not sending.hedge)
        if loser is not None:
            loser.cancel()

    def failed(self, sending: Sending) -> None:
        """It ends without a reply: a hedge that still waits would be the next send, and that one waits as it is told.

        This comes before the turn of the one that failed is given on.
        """
        if not sending.hedge and True in self.tasks and not self._was_sent():
            self.tasks[True].cancel()

    def _launch(self, *, hedge: bool) -> None:
        task = self.tasks[hedge] = begin_task(self.send(hedge), self.loop)
        task.add_done_callback(self._stir)

    def _is_late(self) -> None:
        passage = self.passage
        if passage.chosen is None and False in self.tasks and passage.lane.hedging.take(passage.lane):
            self.hedged = True
            self._launch(hedge=True)

    def _stir(self, _: Any = None) -> None:
        if self.news is not None and not self.news.done():
            self.news.set_result(None)

    def _taken(self) -> Reply | None:
        """The reply, once it is there; raises where none can come any more, or where going on has no sense."""
        for hedge, task in [*self.tasks.items()]:
            if not task.done():
                continue
            del self.tasks[hedge]
            if task.cancelled():
                continue
            error, chosen = task.exception(), self.passage.chosen
            if chosen is not None and chosen.hedge != hedge:
                continue  # the other is heard; a model may end otherwise than cancelled, though it was
            if error is None:
                return task.result()
            self._fail(error, hedge=hedge)
        if not self.tasks:
            raise self.failure or asyncio.CancelledError
        return None

    def _fail(self, error: BaseException, *, hedge: bool) -> None:
        """One has failed; raises where that ends both."""
        if hedge and not self._was_sent():
            return  # no room in a budget, or no turn: then there is no hedge, and that is no failure
        if isinstance(error, FatalError) or not isinstance(error, Exception):
            raise error
        if self.failure is None or _weight(error) >= _weight(self.failure):
            self.failure = error

    def _was_sent(self) -> bool:
        return any(sent.hedge and sent.sent_at is not None for sent in self.passage.attempts[self.first :])

    async def _clear(self) -> None:
        """Nothing of it is left, however often the caller is cancelled meanwhile."""
        if self.timer is not None:
            self.timer.cancel()
        left = set(self.tasks.values())
        for task in left:
            task.cancel()
        interrupted = await gone(left, self._name_resisting) if left else None
        for task in left:
            if not task.cancelled():
                task.exception()  # it is in the record; nobody else asks for it
        if self.hedged and not self._was_sent():
            self.passage.lane.hedging.give_back(self.passage.lane)
        if interrupted is not None:
            raise interrupted

    def _name_resisting(self, _: set[asyncio.Task[Any]]) -> None:
        logger.warning("a call to %s resists its cancellation; its hedge waits for it", self.passage.lane.model.label)


def _weight(error: BaseException) -> tuple[bool, float]:
    """Of two failures of one request the heavier counts: one that no send mends, else the one that asks to wait."""
    if not isinstance(error, CallError):
        return True, 0.0
    return row_for(error).verdict != "retry", error.retry_after or 0.0
