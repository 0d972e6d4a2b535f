"""Who waits for money, in which order it is served, and when it is told that none will come."""

from __future__ import annotations

import asyncio
from collections import deque
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from fanfold.core.clock import sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fanfold.calls.amounts import Amount


class Waiter:
    """One who waits for `need` out of `till`; `what` names it in an error, `place` is its place in the order."""

    __slots__ = ("error", "future", "need", "place", "queued", "taken", "till", "what")

    def __init__(self, till: Any, need: Amount, what: str, place: tuple[int, int]) -> None:
        self.till = till
        self.need = need
        self.what = what
        self.place = place
        self.queued = False
        self.taken = False
        self.error: Exception | None = None
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, error: Exception | None = None) -> None:
        """It has its money, or never will."""
        self.taken = error is None
        self.error = error
        self.future.set_result(None)


class Queue:
    """All that wait for money of one tree of purses.

    Branches that have begun are served before what is still to begin, so that what was begun is brought to its end;
    else first come, first served, in every purse. Who waits for one purse does not stop those who pay from another.
    """

    def __init__(self, refusal: Callable[[str, Amount, Any], Exception]) -> None:
        self.refusal = refusal
        self.keepers: set[Any] = set()
        """The funds and pockets from which money comes back by itself, in time."""
        self._lines: dict[Any, deque[Waiter]] = {}
        self._waiting = 0
        self._came = 0

    def __len__(self) -> int:
        return self._waiting

    async def take(self, till: Any, need: Amount, what: str) -> None:
        """Take `need` out of `till` as soon as it fits and it is its turn; else it has taken nothing when it raises."""
        self._came += 1
        waiter = Waiter(till, need, what, (-till.depth, self._came))
        never = till.shortage(need).never
        if never is not None:
            raise self.refusal(what, need, never)
        self._join(waiter)
        self.serve()
        try:
            if not waiter.future.done():
                await waiter.future
                if waiter.taken:
                    await sleep(0)  # what freed this money may have decided that the call is not needed
        except BaseException:
            if waiter.taken:
                till.untake(need)
            else:
                self._leave(waiter)
                self.serve()
            raise
        if waiter.error is not None:
            raise waiter.error

    def serve(self) -> None:
        """Give money to all who can have it by now, and a refusal to all who never will."""
        while self._waiting and self._round():
            pass

    def _round(self) -> bool:
        """Serve in turn; then, where somebody waits for money that nothing will bring, look again.

        Before one is refused, who could go on with what there is goes on, out of turn: that may bring the money.
        """
        stuck: tuple[Waiter, Any] | None = None
        passed: Waiter | None = None
        blocked: set[Any] = set()
        for waiter in self._in_turn():
            shortage = waiter.till.shortage(waiter.need)
            if shortage.never is not None:
                self._refuse(waiter, shortage.never)
            elif shortage.short:
                blocked.update(shortage.short)
                poor = next((till for till in shortage.short if not till.can_return()), None)
                stuck = stuck or (None if poor is None else (waiter, poor))
            elif blocked.isdisjoint(waiter.till.chain()):
                self._serve(waiter)
            else:
                passed = passed or waiter
        if stuck is None:
            return False
        if passed is None:
            self._refuse(*stuck)
        elif not passed.till.shortage(passed.need).short:
            self._serve(passed)
        return True

    def _in_turn(self) -> Iterator[Waiter]:
        """The first of each line, and who is first after it where it was served, by their places."""
        heads = [(line[0].place, till) for till, line in self._lines.items()]
        heapify(heads)
        while heads:
            _, till = heappop(heads)
            first = self._lines[till][0]
            if not first.future.cancelled():
                yield first
            if first.future.done():
                self._leave(first)
                if till in self._lines:
                    heappush(heads, (self._lines[till][0].place, till))

    def _serve(self, waiter: Waiter) -> None:
        waiter.till.take(waiter.need)
        waiter.answer()
        self._leave(waiter)

    def _refuse(self, waiter: Waiter, till: Any) -> None:
        waiter.answer(self.refusal(waiter.what, waiter.need, till))
        self._leave(waiter)

    def _join(self, waiter: Waiter) -> None:
        self._lines.setdefault(waiter.till, deque()).append(waiter)
        waiter.queued = True
        self._count(waiter, 1)

    def _leave(self, waiter: Waiter) -> None:
        if not waiter.queued:
            return
        waiter.queued = False
        line = self._lines[waiter.till]
        line.remove(waiter)
        if not line:
            del self._lines[waiter.till]
        self._count(waiter, -1)

    def _count(self, waiter: Waiter, by: int) -> None:
        self._waiting += by
        for till in waiter.till.chain():
            till.waits += by
