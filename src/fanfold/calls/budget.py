"""The purse: what is charged and reserved of a budget, who waits for money, and how it comes back.

Before a send its worst case is leased from every purse around it, in one step; after it the lease is settled. So
in every purse ``charged + reserved <= limit`` at any time, and the bill, which is at most what is charged, never passes
the limit. What does not fit now waits until money comes back; it is refused as soon as none can.

Purses stand in a tree. Between them stand the funds of fans, which keep the money of branches that are still to begin,
and the pockets of branches that run: a pocket holds the worst case of its branch, its sends pay from it, and what is
left goes back when the branch ends. Who needs more than its pocket holds leases the rest from outside.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from fanfold.calls.amounts import NOTHING, PICO, Amount, Budget, Limit, check_budget, shown
from fanfold.calls.queue import Queue
from fanfold.core.scope import current
from fanfold.errors import BudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanfold.calls.queue import Waiter
    from fanfold.calls.tab import Tab

IfUnaffordable = Literal["refuse", "shrink"]
"""What becomes of a fan whose worst case the budget does not cover: an error before its first call, or less of it."""


class Spending(msgspec.Struct, frozen=True):
    """One unit of a budget (dollars, tokens or calls): `charged` and `reserved` of `limit`, and what `remains`."""

    limit: float
    charged: float
    reserved: float
    remains: float


class BudgetStatistics(msgspec.Struct, frozen=True):
    """A budget now, by unit (None where that has no limit); `waiting` sends wait for money.

    With nothing under way, nothing is reserved.
    """

    usd: Spending | None
    tokens: Spending | None
    calls: Spending | None
    waiting: int


class Till:
    """One place in the tree that money passes through; this one only passes it on.

    `leases` counts the leases under it that are not settled, `waiting` are those who wait for money under it, of whom
    none needs more than `largest`, and `keepers` the funds and pockets from which money comes back by itself. `ceiling`
    is the `max_tokens` of calls that name none (None: no budget around counts tokens), and `counts_money` says whether
    one around counts dollars. `tab` is where what is spent has to be written down before it is, and `flying` the worst
    case, in picodollars, of the sends for which that was done. `depth` is the number of begun branches around it that
    have a pocket.
    """

    def __init__(self, outer: Till | None) -> None:
        self.outer = outer
        self.leases = 0
        self.waiting: set[Waiter] = set()
        self.largest = NOTHING
        self.keepers: set[Keeper] = set()
        self.flying = 0
        self.tab: Tab | None = None if outer is None else outer.tab
        self.depth: int = 0 if outer is None else outer.depth
        self.ceiling: int | None = None if outer is None else outer.ceiling
        self.counts_money: bool = outer is not None and outer.counts_money
        self.queue: Queue = Queue(refusal) if outer is None else outer.queue

    # -- taking ---------------------------------------------------------------------------------------------------

    async def lease(self, worst: Amount, what: str) -> Lease:
        """Take `worst` out of every purse around, for `what`; waits while it does not fit, first come, first served.

        Either it gives a lease, or it raises (`BudgetError` once no money can come back, or the cancellation) and
        has taken nothing.
        """
        await self.queue.take(self, worst, what)
        return Lease(self, worst)

    def try_lease(self, worst: Amount) -> Lease | None:
        """`lease` without waiting: None where it does not fit now, or others wait for money."""
        if not self.spares(worst):
            return None
        self.take(worst)
        return Lease(self, worst)

    def spares(self, worst: Amount) -> bool:
        """Whether `try_lease` would give it."""
        return not len(self.queue) and not self.shortage(worst).short

    async def fund(self, worst: Sequence[Amount], what: str) -> Fund:
        """The worst cases of several branches at once, all or nothing; waits and raises as `lease` does."""
        total = sum(worst, NOTHING)
        if not total:
            return Fund(self, total)
        lease = await self.lease(total, what)
        fund = Fund(self, total)
        lease.end()
        return fund

    async def pocket(self, worst: Amount, what: str) -> Pocket:
        """The worst case of one branch that begins now; waits and raises as `lease` does."""
        fund = await self.fund([worst], what)
        pocket = fund.open(worst)
        pocket.alone = True
        return pocket

    # -- the money ------------------------------------------------------------------------------------------------

    def shortage(self, need: Amount) -> Shortage:
        """Where `need` does not fit: now, and for good (even if all that is under way cost nothing)."""
        short: list[Purse] = []
        never: Purse | None = None
        best = need
        for till in self.chain():
            if isinstance(till, Purse):
                if till.lacks(need):
                    short.append(till)
                if never is None and till.never_has(best):
                    never = till
            need, best = till.rest(need), till.rest(best, hoping=True)
        return Shortage(short, never)

    def chain(self) -> Iterator[Till]:
        """This one and all around it."""
        till: Till | None = self
        while till is not None:
            yield till
            till = till.outer

    def take(self, need: Amount) -> None:
        """Reserve `need` here and around; it has been seen to fit."""
        for till in self.chain():
            till.leases += 1
            need = till.reserve(need)

    def untake(self, need: Amount) -> None:
        """Undo `take`."""
        Lease(self, need).settle(NOTHING)

    def give_back(self, released: Amount, spent: Amount) -> None:
        """Of what was reserved `released` is so no longer; `spent` was charged."""
        for till in self.chain():
            released, spent = till.release(released, spent)

    def rest(self, need: Amount, *, hoping: bool = False) -> Amount:
        """What of `need` has to come from outside; `hoping` that all under way costs nothing."""
        del hoping
        return need

    def reserve(self, need: Amount) -> Amount:
        """Reserve `need` in this one; gives what has to be reserved outside."""
        return need

    def release(self, released: Amount, spent: Amount) -> tuple[Amount, Amount]:
        """Take back `released` and charge `spent` in this one; gives what that means outside."""
        return released, spent

    def hope(self) -> None:
        """Somebody has begun or ceased to wait for money under it."""

    def can_return(self) -> bool:
        """Whether money can come back to it: from a send under way, or a branch that does not itself wait for money."""
        return bool(self.leases) or any(keeper.keeps() for keeper in self.keepers)


class Purse(Till):
    """A budget and what is charged and reserved of it; `outer` is the purse around it.

    ``charged + reserved <= limit`` in every unit, at any time, unless a server bills more than it was allowed to; with
    nothing under way, nothing is reserved.
    """

    def __init__(self, budget: Budget, outer: Till | None = None) -> None:
        super().__init__(outer)
        self.budget = budget
        self.limit = Limit.of(budget)
        self.charged = NOTHING
        self.reserved = NOTHING
        self.counts_money = self.counts_money or budget.usd is not None
        if budget.limits_tokens:
            self.ceiling = min(budget.max_tokens, self.ceiling or budget.max_tokens)

    def reserve(self, need: Amount) -> Amount:
        """Reserve `need`."""
        self.reserved += need
        return need

    def release(self, released: Amount, spent: Amount) -> tuple[Amount, Amount]:
        """Move it from reserved to charged."""
        self.reserved -= released
        self.charged += spent
        if spent and self.waiting and self.never_has(self.largest):
            self.queue.charged()
        return released, spent

    def lacks(self, need: Amount) -> bool:
        """Whether `need` does not fit now."""
        return self.limit.passed(self.charged + self.reserved + need) is not None

    def never_has(self, need: Amount) -> bool:
        """Whether it would not fit even if all that is under way cost nothing."""
        return self.limit.passed(self.charged + need) is not None

    def awaited(self) -> str:
        """What to say where somebody's time was over while it waited for money of this one."""
        limit, fix = Limit.of(self.budget), ", or lower max_tokens=" if self.budget.limits_tokens else ""
        limits = ((unit, getattr(limit, unit)) for unit in ("picos", "tokens", "calls"))
        what = " and ".join(shown(unit, most) for unit, most in limits if most is not None)
        return f"the budget of {what}, reserved by calls under way: raise the budget or the timeout{fix}"

    def statistics(self) -> BudgetStatistics:
        """What is charged, reserved and left, and how many sends wait for money."""
        return BudgetStatistics(
            self._spending("picos", PICO), self._spending("tokens", 1), self._spending("calls", 1), len(self.waiting)
        )

    def _spending(self, unit: str, scale: int) -> Spending | None:
        limit: int | None = getattr(self.limit, unit)
        if limit is None:
            return None
        charged, reserved = getattr(self.charged, unit), getattr(self.reserved, unit)
        left = max(0, limit - charged - reserved)
        if scale == 1:
            return Spending(limit, charged, reserved, left)
        return Spending(limit / scale, charged / scale, reserved / scale, left / scale)


def on_tab(purse: Till | None, tab: Tab) -> None:
    """Let `tab` be written for `purse`, before anything is paid from it; for a purse without dollars there is none."""
    if isinstance(purse, Purse) and purse.limit.picos is not None:
        purse.tab = tab
        tab.purse = purse


def purse_of(budget: Budget | None, outer: Till | None) -> Till | None:
    """A purse for `budget` inside `outer`; without a budget, `outer`."""
    return outer if budget is None else Purse(check_budget(budget), outer)


@contextmanager
def paying(budget: Budget) -> Iterator[None]:
    """Let the step that runs here spend at most `budget`, with all that is under it."""
    scope = current()
    if scope is None:
        yield
        return
    outer = scope.purse
    scope.purse = Purse(budget, outer)
    try:
        yield
    finally:
        scope.purse = outer


def ceiling(purse: Till | None) -> int | None:
    """The `max_tokens` of a call under `purse` that names none, or None."""
    return None if purse is None else purse.ceiling


class Keeper(Till):
    """Money that is kept for what runs under it, and comes back by itself unless somebody there waits for more."""

    def __init__(self, outer: Till | None) -> None:
        super().__init__(outer)
        self.closed = False
        self.hope()

    def hope(self) -> None:
        """Let all around it know whether it is one of those whose money comes back."""
        for till in self.chain():
            if self.closed or self.waiting:
                till.keepers.discard(self)
            else:
                till.keepers.add(self)

    def keeps(self) -> Amount:
        """What would come back from it."""
        raise NotImplementedError


class Fund(Keeper):
    """What a fan leased for branches that have not begun; close it when the fan has ended."""

    def __init__(self, outer: Till, kept: Amount) -> None:
        super().__init__(outer)
        self.kept = kept

    def open(self, worst: Amount) -> Pocket:
        """The pocket of a branch that begins."""
        self.kept -= worst
        return Pocket(self, worst)

    def close(self) -> None:
        """Give back what was kept for branches that never began."""
        kept, self.kept = self.kept, NOTHING
        self.give_back(kept, NOTHING)
        self.closed = True
        self.hope()
        self.queue.serve(self)

    def keeps(self) -> Amount:
        """What branches that have not begun would leave, if they do not begin."""
        return self.kept


class Pocket(Keeper):
    """What one branch holds: `held` in all, of which `out` is leased by its sends. Close it when the branch ends."""

    def __init__(self, outer: Till, held: Amount) -> None:
        super().__init__(outer)
        self.depth += 1
        self.held = held
        self.out = NOTHING
        self.alone = False
        """Whether the fund around it is its own."""

    def rest(self, need: Amount, *, hoping: bool = False) -> Amount:
        """What it does not hold."""
        return need.beyond(self.held if hoping else self.held - self.out)

    def reserve(self, need: Amount) -> Amount:
        """Take it out of what is held; what is missing comes in from outside and is held from now on."""
        missing = self.rest(need)
        self.held += missing
        self.out += need
        return missing

    def release(self, released: Amount, spent: Amount) -> tuple[Amount, Amount]:
        """What was not spent stays in the pocket, until that is closed."""
        self.out -= released
        gone = spent.within(self.held)
        self.held -= gone
        if self.closed:
            gone += self._emptied()
        self.queue.eased(self)
        return gone, spent

    def close(self) -> None:
        """Give back what is left."""
        self.closed = True
        left = self._emptied()
        if self.outer is not None:
            self.outer.give_back(left, NOTHING)
        self.hope()
        if self.alone and isinstance(self.outer, Fund):
            self.outer.close()
        self.queue.serve(self)

    def keeps(self) -> Amount:
        """All that it holds."""
        return self.held

    def _emptied(self) -> Amount:
        left = self.held.beyond(self.out)
        self.held -= left
        return left


class Lease:
    """The worst case of one send, taken; `settle` it exactly once."""

    __slots__ = ("flying", "open", "till", "worst")

    def __init__(self, till: Till, worst: Amount) -> None:
        self.till = till
        self.worst = worst
        self.open = True
        self.flying = 0

    async def fly(self) -> None:
        """Its send goes out now: where there is a tab, return once it is written down that this may be paid."""
        tab = self.till.tab
        if tab is not None:
            self.flying = self.worst.picos
            for till in self.till.chain():
                till.flying += self.flying
            await tab.cover()

    def settle(self, spent: Amount) -> None:
        """Charge what was spent and give back the rest; raises RuntimeError where that was done before."""
        self.end()
        self.till.give_back(self.worst, spent)
        self.till.queue.serve(self.till)

    def end(self) -> None:
        """It is a send under way no longer; its money stays where it is."""
        if not self.open:
            raise RuntimeError("a lease is settled once")
        self.open = False
        for till in self.till.chain():
            till.leases -= 1
            till.flying -= self.flying


class Shortage(msgspec.Struct, frozen=True):
    """The purses in which an amount does not fit now, and one in which it never will."""

    short: list[Purse]
    never: Purse | None


def refusal(what: str, need: Amount, purse: Purse) -> BudgetError:
    """What to say where `what` gets `need` out of `purse` neither now nor later."""
    passed = purse.limit.passed  # first by what is spent for good: what is reserved may come back, and changes nothing
    unit = passed(purse.charged + need) or passed(purse.charged + purse.reserved + need) or "calls"
    limit: int = getattr(purse.limit, unit)
    charged, reserved, needed = (getattr(amount, unit) for amount in (purse.charged, purse.reserved, need))
    left = max(0, limit - charged - reserved)
    under_way = f", {shown(unit, reserved)} reserved" if reserved else ""
    fix = "" if unit == "calls" else ", or lower max_tokens="
    name, scale = ("usd", PICO) if unit == "picos" else (unit, 1)
    return BudgetError(
        f"the budget of {shown(unit, limit)} cannot cover {what}, which may take {shown(unit, needed)}: "
        f"{shown(unit, charged)} spent{under_way}, {shown(unit, left)} left; raise the budget{fix}",
        unit=name,
        limit=limit / scale,
        spent=charged / scale,
        needed=needed / scale,
        left=left / scale,
    )
