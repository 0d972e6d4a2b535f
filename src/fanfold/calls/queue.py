"""Who waits for money, in which order it is served, and when it is told that none will come."""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fanfold.calls.amounts import NOTHING
from fanfold.core.clock import sleep
from fanfold.core.scope import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fanfold.calls.amounts import Amount


SPARE = 64
"""How many that have left a line may still stand in it, beside as many as wait."""


class Waiter:
    """One who waits for `need` out of `till`; `what` names it in an error, `place` is its place in the order.

    `at` is the purse in whose line it stands: one that is short, or in which somebody before it waits.
    """

    __slots__ = ("at", "error", "future", "need", "place", "queued", "taken", "till", "what")

    def __init__(self, till: Any, need: Amount, what: str, place: tuple[int, int]) -> None:
        self.till = till
        self.need = need
        self.what = what
        self.place = place
        self.at: Any = None
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

    Each purse has a line, whose first speaks for all of it. Where money comes back, only the lines of the purses that
    it passes are looked at: to look at all who wait would cost a fan the square of its size. So before one of them is
    refused they are looked at again only where there is as much as the least of them needs.
    """

    def __init__(self, refusal: Callable[[str, Amount, Any], Exception]) -> None:
        self.refusal = refusal
        self._lines: dict[Any, list[tuple[tuple[int, int], Waiter]]] = {}
        self._least: dict[Any, Amount] = {}
        """Of the purses under which all were looked at and nobody could go on: the least that one of them needs."""
        self._waiting = 0
        self._gone = 0
        self._came = 0

    def __len__(self) -> int:
        return self._waiting

    async def take(self, till: Any, need: Amount, what: str) -> None:
        """Take `need` out of `till` as soon as it fits and it is its turn; else it has taken nothing when it raises."""
        self._came += 1
        waiter = Waiter(till, need, what, (-till.depth, self._came))
        self._join(waiter)
        self.serve(till)
        try:
            if not waiter.future.done():
                await waiter.future
                if waiter.taken:
                    await sleep(0)  # what freed this money may have decided that the call is not needed
        except BaseException:
            if waiter.taken:
                till.untake(need)
            else:
                scope = current()
                if scope is not None and waiter.at is not None:
                    scope.hold_up(waiter.at.awaited(), failed=False)
                self._leave(waiter)
                self.serve(till)
            raise
        if waiter.error is not None:
            raise waiter.error

    def serve(self, till: Any) -> None:
        """Something changed in `till`, and so around it: give money to all who can have it by now.

        Who waits for money that nothing will bring is told.
        """
        if not self._waiting:
            return
        changed = set(till.chain())
        while self._waiting and self._round(changed):
            pass

    def _round(self, changed: set[Any]) -> bool:
        """Serve these lines in turn; then, where the first of one waits for what nothing will bring, look again."""
        stuck: Waiter | None = None
        lines = changed & self._lines.keys()
        while (first := self._first(lines)) is not None:
            at = first.at
            if self._seek(first):
                lines.add(first.at)
                continue
            lines.discard(at)
            if stuck is None and not at.can_return():
                stuck = first
        if stuck is not None:
            changed.update(self._unstick(stuck).till.chain())
        return stuck is not None

    def _first(self, lines: Iterable[Any]) -> Waiter | None:
        """Who is first of all that stand in these lines."""
        heads = [head for line in lines if (head := self._head(line)) is not None]
        return min(heads, key=attrgetter("place"), default=None)

    def _head(self, at: Any) -> Waiter | None:
        """The first of one line."""
        line = self._lines.get(at)
        while line:
            waiter = line[0][1]
            if waiter.queued and not waiter.future.cancelled():
                return waiter
            heappop(line)
            self._gone -= 1
        self._lines.pop(at, None)
        return None

    def _seek(self, waiter: Waiter) -> bool:
        """Serve it, refuse it, or let it stand where it has to wait; False where that is where it stands."""
        shortage = waiter.till.shortage(waiter.need)
        if shortage.never is not None:
            self._refuse(waiter, shortage.never)
            return True
        at = shortage.short[0] if shortage.short else self._passes(waiter)
        if at is None:
            self._serve(waiter)
        elif at is waiter.at:
            return False
        else:
            self._stand(waiter, at)
        return True

    def _passes(self, waiter: Waiter) -> Any:
        """A purse around it in which somebody before it waits."""
        for till in waiter.till.chain():
            head = self._head(till)
            if head is not None and head.place < waiter.place:
                return till
        return None

    def _stand(self, waiter: Waiter, at: Any) -> None:
        if waiter.at is not None:
            heappop(self._lines[waiter.at])  # only who is first goes on to another line
        waiter.at = at
        heappush(self._lines.setdefault(at, []), (waiter.place, waiter))

    def _unstick(self, stuck: Waiter) -> Waiter:
        """Nothing will bring what `stuck` waits for: answer one under its purse, and say whom.

        Before one is refused, who can never go on is told, and who could go on with what there is goes on, out of
        turn: either may bring the money.
        """
        purse = stuck.at
        if self._may_go_on(purse):
            for waiter in self._under(purse):
                shortage = waiter.till.shortage(waiter.need)
                if shortage.never is not None:
                    self._refuse(waiter, shortage.never)
                    return waiter
                if not shortage.short:
                    self._serve(waiter)
                    return waiter
            self._least[purse] = stuck.need
            self.eased(purse)
        self._refuse(stuck, purse)
        return stuck

    def _may_go_on(self, purse: Any) -> bool:
        """Whether somebody under a purse may go on, or be told that it never can."""
        return purse not in self._least or not purse.lacks(self._least[purse])

    def eased(self, till: Any) -> None:
        """Those who wait under it may need less from around it than before."""
        if self._least:
            for waiter in till.waiting:
                self._lower(waiter)

    def charged(self) -> None:
        """So much was spent that somebody may never go on: one who waits in a purse further in, it may be."""
        self._least.clear()

    def _lower(self, waiter: Waiter) -> None:
        """It may go on where there is what it needs."""
        need = waiter.need
        for till in waiter.till.chain():
            if till in self._least:
                self._least[till] = self._least[till].within(need)
            need = till.rest(need)

    def _under(self, purse: Any) -> list[Waiter]:
        """All who wait under a purse, in their order."""
        return sorted((one for one in purse.waiting if not one.future.cancelled()), key=attrgetter("place"))

    def _serve(self, waiter: Waiter) -> None:
        waiter.till.take(waiter.need)
        waiter.answer()
        self._leave(waiter)

    def _refuse(self, waiter: Waiter, till: Any) -> None:
        waiter.answer(self.refusal(waiter.what, waiter.need, till))
        self._leave(waiter)

    def _join(self, waiter: Waiter) -> None:
        waiter.queued = True
        self._waiting += 1
        for till in waiter.till.chain():
            till.waiting.add(waiter)
            till.largest += waiter.need.beyond(till.largest)
            till.hope()
        self._lower(waiter)
        self._seek(waiter)

    def _leave(self, waiter: Waiter) -> None:
        if not waiter.queued:
            return
        waiter.queued = False
        self._waiting -= 1
        for till in waiter.till.chain():
            till.waiting.discard(waiter)
            till.hope()
            if not till.waiting:
                till.largest = NOTHING
                self._least.pop(till, None)
        self._gone += waiter.at is not None
        if not self._waiting or self._gone > self._waiting + SPARE:
            self._sweep()

    def _sweep(self) -> None:
        """Forget who has left."""
        lines = {at: [entry for entry in line if entry[1].queued] for at, line in self._lines.items()}
        self._lines = {at: line for at, line in lines.items() if line}
        self._gone = 0
        for line in self._lines.values():
            heapify(line)
