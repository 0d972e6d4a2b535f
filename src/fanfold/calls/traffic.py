"""The traffic to one model under one key: its queue, who of it may leave, and what is out.

`condition` says when a send may leave, the session's `turnstile` whether there is a slot for it. While neither keeps it
waiting, a send passes without an await.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import islice, takewhile
from math import inf
from typing import TYPE_CHECKING, Any

from fanfold.calls.condition import AT_ONCE, NOTHING, Condition
from fanfold.calls.levels import LaneStatistics, levels
from fanfold.core.clock import TICK, clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from fanfold.calls.allowance import Need
    from fanfold.calls.passage import Sending
    from fanfold.calls.turnstile import Turnstile
    from fanfold.core.records import Limits


class Waiter:
    """A send in the queue."""

    __slots__ = ("arrival", "blocked", "future", "need", "sending")

    def __init__(self, sending: Sending, arrival: int, blocked: float) -> None:
        self.sending = sending
        self.arrival = arrival
        self.blocked = blocked
        """What the queue's clock of rate waits stood at when it came."""
        self.need: Need = NOTHING
        self.future: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()


class AtOnce:
    """What to await where there is nothing to wait for: it gives no tick away."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


NO_WAIT = AtOnce()


class Traffic:
    """All sends to one model under one key. First come, first served; one that is cancelled leaves nothing behind."""

    def __init__(self, condition: Condition, gate: Turnstile) -> None:
        self.condition = condition
        self.gate = gate
        self.kin: list[Traffic] = [self]
        """Those who share an allowance with it, itself among them."""
        self.clock = clock()
        self.queue: OrderedDict[int, Waiter] = OrderedDict()
        self.again: OrderedDict[int, Waiter] = OrderedDict()
        """Those of the queue that the server has failed before; while it is down they and the others take turns."""
        self.fresh: OrderedDict[int, Waiter] = OrderedDict()
        """The others."""
        self._fresh_next = False
        self.standing = False
        self._blocked = 0.0
        self._blocked_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- in and out ------------------------------------------------------------------------------------------------

    def enter(self, sending: Sending) -> Awaitable[None]:
        """Wait for the turn of one send; who enters leaves. Raises `QueueFull`, or that the server is down."""
        at, condition, gate = self.clock.time(), self.condition, self.gate
        if not self.queue and gate.in_use < gate.limit:
            need = condition.need(sending.passage.request)
            if condition.lack(need, at)[0] <= AT_ONCE:
                gate.in_use += 1
                sending.turn = condition.take(need, at)
                return NO_WAIT
        if condition.hopeless(at):
            condition.unsent += 1
            raise condition.gone(at)
        return self._queue(sending, at)

    def leave(self, sending: Sending) -> None:
        """One send is over."""
        turn, sending.turn = sending.turn, None
        if turn is None:
            return
        at = self.clock.time()
        self.gate.in_use -= 1
        if sending.sent_at is None and sending.reply is None:
            self.condition.undo(turn)
        else:
            self.condition.judge(sending, turn, at)
        # Who stands lacks nothing but a slot, and a reply takes nothing from it.
        if (self.queue and not (self.standing and sending.reply is not None)) or self.condition.ramp.active:
            self.look(at)
        self.gate.turn(at)

    def hear(self, told: Limits) -> None:
        """The server told of its limits."""
        self.condition.hear(told, self.clock.time())

    # -- the queue -------------------------------------------------------------------------------------------------

    async def _queue(self, sending: Sending, at: float) -> None:
        waiter = Waiter(sending, self.gate.arrive(self.condition.label), self._blocked_until(at))
        self._enqueue(waiter)
        try:
            if not self.standing or len(self.queue) == 1:  # else one stands before it, without a slot for that one
                self.look(at)
                self.gate.turn(at)
            while True:
                gone = await waiter.future
                if gone is not None:
                    raise gone
                # Give way for a tick: the reply that freed the slot may have decided that the call is not needed.
                await TICK
                at = self.clock.time()
                if not self.condition.paused(at):
                    return
                self._step_back(waiter, at)  # a refusal came within that tick
        except BaseException:
            self._withdraw(waiter)
            raise

    def step_up(self, arrival: int, at: float) -> None:
        """A slot is free for the first in the queue, if it still may leave and still is who stood up for it."""
        head = self._head()
        if head is not None and head.arrival == arrival and self._lack(head, at)[0] <= AT_ONCE:
            self._forget(arrival)
            self.gate.in_use += 1
            self._fresh_next = self.condition.health.down and head.sending.again
            head.sending.turn = self.condition.take(head.need, at)
            head.sending.rate_wait = self._blocked_until(at) - head.blocked
            head.future.set_result(None)
        self.look(at)

    def look(self, at: float) -> None:
        """See what the first in the queue lacks: nothing but a slot, or a time to come back at."""
        end = self.condition.hopeless_at(at)
        if self.queue and at >= end - AT_ONCE:
            self._give_up(lambda: self.condition.gone(at))
        head = self._head()
        if head is None:
            self._block(at, rated=False)
            self._wake_at(None)
            self.condition.ramp.end(at)
            return
        lack, rated = self._lack(head, at)
        self._block(at, rated=rated and lack > AT_ONCE)
        if lack <= AT_ONCE:
            self.gate.stand(head.arrival, self)
        when = end if lack <= AT_ONCE else min(at + lack, end)
        self._wake_at(when if when < inf else None)

    def _lack(self, head: Waiter, at: float) -> tuple[float, bool]:
        if head.need is NOTHING:
            head.need = self.condition.need(head.sending.passage.request)
        return self.condition.lack(head.need, at)

    def _head(self) -> Waiter | None:
        """The first that waits; those that were cancelled in this very tick do not know it yet.

        While the server is down it is the first that failed, then the first that did not, in turn: a server that fails
        each call once would fail all that come, and never be found well; and one that fails some requests for good, and
        no others, would never be found well by these.
        """
        while self.queue:
            queue = self.queue
            if self.condition.health.down:
                queue = (self.fresh or self.again) if self._fresh_next else (self.again or self.fresh)
            arrival, waiter = next(iter(queue.items()))
            if not waiter.future.done():
                return waiter
            self._forget(arrival)
        return None

    def _enqueue(self, waiter: Waiter) -> None:
        self.queue[waiter.arrival] = waiter
        (self.again if waiter.sending.again else self.fresh)[waiter.arrival] = waiter

    def _forget(self, arrival: int) -> bool:
        self.again.pop(arrival, None)
        self.fresh.pop(arrival, None)
        if self.queue.pop(arrival, None) is None:
            return False
        self.gate.waiting -= 1
        return True

    def _withdraw(self, waiter: Waiter) -> None:
        """Somebody does not wait any more."""
        at = self.clock.time()
        if self._forget(waiter.arrival):
            waiter.sending.rate_wait = self._blocked_until(at) - waiter.blocked
        self._give_back(waiter.sending)
        self.look(at)
        self.gate.turn(at)

    def _give_back(self, sending: Sending) -> None:
        turn, sending.turn = sending.turn, None
        if turn is not None:
            self.gate.in_use -= 1
            self.condition.undo(turn)

    def _step_back(self, waiter: Waiter, at: float) -> None:
        """The turn that it had is void: it is where it was in the queue again, among the first."""
        self._give_back(waiter.sending)
        waiter.future = asyncio.get_running_loop().create_future()
        self.gate.waiting += 1
        self._enqueue(waiter)
        for queue in (self.queue, self.again, self.fresh):
            if waiter.arrival in queue:
                _put_back(queue, waiter.arrival)
        self.look(at)
        self.gate.turn(at)

    def close(self) -> None:
        """The session is closed: tell those who wait."""
        self._give_up(self.gate.gone)
        self.look(self.clock.time())

    def _give_up(self, gone: Callable[[], Exception]) -> None:
        """Tell those who wait why they need not, rather than let them wait for ever."""
        waiting = [waiter for waiter in self.queue.values() if not waiter.future.done()]
        self.gate.waiting -= len(self.queue)
        self.queue.clear()
        self.again.clear()
        self.fresh.clear()
        self.condition.unsent += len(waiting)
        for waiter in waiting:
            waiter.future.set_result(gone())

    # -- time ------------------------------------------------------------------------------------------------------

    def _wake_at(self, when: float | None) -> None:
        timer = self._timer
        if timer is not None:
            if when is not None and timer.when() == when:
                return
            timer.cancel()
        self._timer = None if when is None else asyncio.get_running_loop().call_at(when, self._wake, when)

    def _wake(self, when: float) -> None:
        self._timer = None
        at = max(when, self.clock.time())
        for lane in self.kin:  # those who share a limit go by arrival, too
            lane.look(at)
        self.gate.turn(at)

    def _block(self, at: float, *, rated: bool) -> None:
        """Keep the clock of rate waits: it runs while a rate is what the first in the queue waits for."""
        if self._blocked_since is not None:
            self._blocked += at - self._blocked_since
        self._blocked_since = at if rated else None

    def _blocked_until(self, at: float) -> float:
        return self._blocked + (0.0 if self._blocked_since is None else at - self._blocked_since)

    def statistics(self) -> LaneStatistics:
        """How it stands, now."""
        at, it = self.clock.time(), self.condition
        return LaneStatistics(
            it.label,
            it.in_use,
            len(self.queue),
            it.window.room,
            levels(it.allowances, it.guess, at),
            max(0.0, it.account.until - at),
            None if it.health.since is None else at - it.health.since,
            it.sends,
            it.refusals,
            it.failures,
            it.unsent,
            it.why,
        )


def _put_back(queue: OrderedDict[int, Waiter], last: int) -> None:
    """Move the last of a queue to where it belongs by its arrival, which is among the first."""
    queue.move_to_end(last, last=False)
    earlier = list(takewhile(lambda arrival: arrival < last, islice(queue, 1, None)))
    for arrival in reversed(earlier):
        queue.move_to_end(arrival, last=False)
