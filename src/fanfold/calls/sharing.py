"""What the road does differently where its limits are shared with other processes: a turn, and money, come from there.

A process keeps for itself what it learns of a server's health, and how fast to go where nobody told a limit. Slots, the
limits that are given or told, the pause after a 429 and the budget are everybody's: see `fanfold.calls.ledger`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fanfold.calls.allowance import Allowance, Need
from fanfold.calls.amounts import NOTHING, PICO, Amount, Budget, Limit
from fanfold.calls.budget import Purse, refusal
from fanfold.calls.ledger import UNITS, Money
from fanfold.calls.queue import Queue
from fanfold.calls.traffic import Traffic
from fanfold.core.clock import now
from fanfold.errors import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanfold.calls.allowance import Taken
    from fanfold.calls.condition import Condition
    from fanfold.calls.ledger import LaneName, Loan
    from fanfold.calls.passage import Sending
    from fanfold.calls.turnstile import Turnstile
    from fanfold.core.records import Limits
    from fanfold.errors import BudgetError

WAITED = 0.05
"""Seconds of a wait for a permit from which on a send counts as having left at its end."""


class Shares(Protocol):
    """The other end of what is shared."""

    async def permit(self, lane: LaneName, need: Need) -> int:
        """Wait for the permit of one send, with its slot and its part of the rate; gives its number."""
        ...

    def end(self, number: int, lane: LaneName, need: Need | None, *, sent: bool) -> None:
        """A send with a permit is over; `need` is what it took after all, where that is known."""
        ...

    def hear(self, lane: LaneName, told: Limits) -> None:
        """The server told of its limits."""
        ...

    def refused(self, lane: LaneName, pause: float) -> None:
        """The server refused a send as too much: nobody sends for so many seconds."""
        ...


class FarAllowance(Allowance):
    """An allowance that is kept elsewhere: here it only says what is limited."""

    __slots__ = ()

    def __init__(self, given: Allowance) -> None:
        super().__init__()
        self.buckets = given.buckets
        self.per = given.per
        self.tokens = given.tokens

    def wait(self, need: Need, now: float) -> float:
        """No time: the permit has waited."""
        del need, now
        return 0.0

    def take(self, need: Need, now: float) -> Taken:
        """Nothing: the permit has taken it."""
        del need, now
        return {}


class SharedTraffic(Traffic):
    """Traffic whose sends need a permit beside their turn: the turn comes first, for who waits for it holds nothing."""

    def __init__(self, condition: Condition, gate: Turnstile, shares: Shares, account: object) -> None:
        super().__init__(condition, gate)
        self.shares = shares
        # What a key is called is the same in all processes; what an object is called is not.
        self.name: LaneName = (account if isinstance(account, str) else "", condition.label)
        self._permits: dict[Sending, int] = {}

    async def enter(self, sending: Sending) -> None:
        """Wait for the turn of one send, and for its permit."""
        await super().enter(sending)
        while True:
            asked = now()
            need = self.condition.need(sending.passage.request)
            try:
                self._permits[sending] = await self.shares.permit(self.name, need)
            except BaseException:
                self.leave(sending)
                raise
            at = now()
            if not self.condition.paused(at):
                break
            self._end(sending, sent=False)  # a refusal came meanwhile
            super().leave(sending)
            await super().enter(sending)
        if at - asked > WAITED and sending.turn is not None:
            sending.rate_wait += at - asked
            self.condition.undo(sending.turn)
            sending.turn = self.condition.take(need, at)

    def leave(self, sending: Sending) -> None:
        """One send is over."""
        super().leave(sending)
        self._end(sending, sent=sending.sent_at is not None or sending.reply is not None)
        if isinstance(sending.error, StatusError) and sending.error.status == 429:
            self.shares.refused(self.name, max(0.0, self.condition.account.until - now()))

    def hear(self, told: Limits) -> None:
        """The server told of its limits."""
        super().hear(told)
        self.shares.hear(self.name, told)

    def _end(self, sending: Sending, *, sent: bool) -> None:
        number = self._permits.pop(sending, None)
        if number is None:
            return
        usage = None if self.condition.appetite.by_ceiling else sending.usage
        need = None if usage is None else Need(usage.input_tokens, usage.output_tokens)
        self.shares.end(number, self.name, need, sent=sent)


class SharedPurse(Purse):
    """A purse whose money is lent from elsewhere, a little at a time; what it holds is its limit.

    `most` is what all may spend together, `tell` takes what there is to say of this purse.
    """

    def __init__(
        self, most: Limit, ceiling: int | None, tell: Callable[[Money], None], *, counts_money: bool = True
    ) -> None:
        usd = None if most.picos is None else most.picos / PICO
        budget = Budget(usd=usd, tokens=most.tokens, calls=most.calls)
        super().__init__(budget)
        self.ceiling = ceiling
        self.counts_money = counts_money
        self.most = most
        self.tell = tell
        self.queue = Queue(self._refusal)
        self.granted = NOTHING
        self.spent = NOTHING
        """What all have spent together, as far as was told."""
        self.heard = 0
        self._short = self._asked = NOTHING
        self._refused = False
        self._measure()

    def lacks(self, need: Amount) -> bool:
        """Whether `need` does not fit now; whoever then waits for it lets more be lent."""
        self._short = need
        return super().lacks(need)

    def never_has(self, need: Amount) -> bool:
        """Whether nobody could ever lend so much."""
        return self.most.passed(self.charged + need) is not None

    def can_return(self) -> bool:
        """Whether money can come back, or more be lent."""
        if self._refused:
            return super().can_return()
        lacks = self._limited((self.charged + self.reserved + self._short).beyond(self.granted))
        if lacks.beyond(self._asked):
            self._asked = lacks
            self._say()
        return True

    def release(self, released: Amount, spent: Amount) -> tuple[Amount, Amount]:
        """Move it from reserved to charged, and say so."""
        given = super().release(released, spent)
        self._say()
        return given

    def lent(self, loan: Loan) -> None:
        """An answer came: more money, or that there is none."""
        self.spent, self._asked = loan.spent, NOTHING
        self.granted += loan.amount
        self._measure()
        self._refused = loan.refused
        self.queue.serve(self)
        self._refused = False

    def hear(self, shortage: int) -> None:
        """Somebody lacks money: give back what is not used, from now on at once."""
        self.heard = shortage
        self._say()

    def _say(self) -> None:
        idle = NOTHING
        if self.heard:
            idle = self._limited(self.granted.beyond(self.charged + self.reserved))
            self.granted -= idle
            self._measure()
        self.tell(Money(self.charged, idle, self._asked, super().can_return(), self.heard))

    def _measure(self) -> None:
        """What is held is the limit."""
        held = [None if getattr(self.most, unit) is None else getattr(self.granted, unit) for unit in UNITS]
        self.limit = Limit(*held)

    def _limited(self, amount: Amount) -> Amount:
        return Amount(*(0 if getattr(self.most, unit) is None else getattr(amount, unit) for unit in UNITS))

    def _refusal(self, what: str, need: Amount, purse: Purse) -> BudgetError:
        """The refusal, with the figures of all."""
        del purse
        whole = Purse(self.budget)
        whole.charged = self.spent + self.charged.beyond(self.spent)
        if whole.limit.passed(whole.charged + need) is None:
            free = Amount(*(getattr(whole.limit, unit) or 0 for unit in UNITS)).beyond(whole.charged)
            whole.reserved = free
        return refusal(what, need, whole)
