"""The ledger of leases: what several workers may send together, and what each of them holds of it. Pure.

A worker's lease is over when it was not renewed for `EXPIRY` seconds, or when the worker is known to be gone. Its slots
are free then. The rate that it took stays taken, for it may have sent, and so does money that it had not settled: so
the sum of what is held never passes a limit, whoever dies when.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from math import inf
from typing import TYPE_CHECKING

import msgspec

from fanfold.calls.allowance import Given, Need
from fanfold.calls.amounts import NOTHING, Amount, Limit
from fanfold.calls.levels import LimitStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanfold.calls.allowance import Allowance, RateLimit, Taken
    from fanfold.core.records import Limits

EXPIRY = 10.0
"""Seconds after its last renewal at which a lease is over."""

AT_ONCE = 1e-6
"""Seconds of a wait that are none: what rounding leaves over."""

MORE = 7
"""How many times more than it lacks a worker is lent, at most: each loan is a message there and back."""

SHARE = 4
"""And at most this part of an even share of what is free, for what a worker holds when it dies counts as spent."""

LaneName = tuple[str, str]
"""The account (a key at a host) and the model's label."""

UNITS = ("picos", "tokens", "calls")


class Money(msgspec.Struct, frozen=True):
    """What a worker says of its purse: all it was `charged` so far, what it gives back now, what it lacks.

    `hope` says that money may come back to it from what is under way, and `heard` is the last shortage that it was
    told of and has given its idle money back for.
    """

    charged: Amount
    returned: Amount = NOTHING
    lacks: Amount = NOTHING
    hope: bool = False
    heard: int = 0


class Loan(msgspec.Struct, frozen=True):
    """The answer to a worker that lacks money: so much more, or (`refused`) that none will come; `spent` by all."""

    holder: str
    amount: Amount
    refused: bool
    spent: Amount


class _Lane:
    """One model under one key."""

    def __init__(self, allowances: list[Allowance]) -> None:
        self.allowances = allowances
        self.queue: deque[tuple[int, str, int, Need]] = deque()

    def wait(self, at: float) -> float:
        need = self.queue[0][3]
        return max((allowance.wait(need, at) for allowance in self.allowances), default=0.0)

    def forget(self, holder: str, number: int | None = None) -> None:
        self.queue = deque(one for one in self.queue if one[1] != holder or number not in {None, one[2]})


class _Holder:
    """One worker: until when its lease runs, the permits that it has, and its money."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.permits: dict[int, list[tuple[Allowance, Taken]]] = {}
        self.granted = NOTHING
        self.money = Money(NOTHING)

    @property
    def worst(self) -> Amount:
        """What it may have spent, settled or not."""
        return self.money.charged + self.granted.beyond(self.money.charged)


class Ledger:
    """The leases of all workers on `slots` calls at once, on rates, and on a budget; every moment is told to it.

    `money` is what they may spend together (None: no budget), of which no more is lent than the `covered` picodollars
    (None: all of it may be).
    """

    def __init__(
        self,
        slots: int,
        rate_limits: RateLimit | Mapping[str, RateLimit] | None = None,
        money: Limit | None = None,
        covered: int | None = None,
        expiry: float = EXPIRY,
    ) -> None:
        self.slots = slots
        self.given = Given(rate_limits)
        self.money = money
        self.covered = covered
        self.uncovered = 0
        """How many picodollars would have to be covered for who lacks money now."""
        self.expiry = expiry
        self.holders: dict[str, _Holder] = {}
        self.lanes: dict[LaneName, _Lane] = {}
        self.paused: dict[str, float] = {}
        self.gone = NOTHING
        """What those spent, or may have spent, that have left."""
        self.shortage = 0
        """Counts the times that somebody lacked money that was not free."""
        self._arrivals = count(1)
        self._poor: dict[str, tuple[Amount, int]] = {}

    # -- who is there ------------------------------------------------------------------------------------------------

    def join(self, holder: str, at: float) -> None:
        """A worker is there."""
        self.holders[holder] = _Holder(at + self.expiry)
        self.holders[holder].money = Money(NOTHING, heard=self.shortage)

    def renew(self, holder: str, at: float) -> bool:
        """It still is; False where its lease is over, and it has to end."""
        self.expire(at)
        found = self.holders.get(holder)
        if found is not None:
            found.until = at + self.expiry
        return found is not None

    def leave(self, holder: str, *, settled: bool = False) -> None:
        """It is gone, or its lease is over: its slots are free. Unless it is `settled`, its money counts as spent."""
        found = self.holders.pop(holder, None)
        if found is None:
            return
        self._poor.pop(holder, None)
        self.gone += found.money.charged if settled else found.worst
        for lane in self.lanes.values():
            lane.forget(holder)

    def expire(self, at: float) -> list[str]:
        """End the leases that were not renewed; gives whose."""
        over = [name for name, holder in self.holders.items() if holder.until <= at]
        for name in over:
            self.leave(name)
        return over

    @property
    def in_use(self) -> int:
        """The slots that are taken."""
        return sum(len(holder.permits) for holder in self.holders.values())

    @property
    def waiting(self) -> int:
        """Sends that wait."""
        return sum(len(lane.queue) for lane in self.lanes.values())

    # -- slots and rates ---------------------------------------------------------------------------------------------

    def ask(self, holder: str, number: int, lane: LaneName, need: Need) -> None:
        """A worker wants to send; `number` is its own for it."""
        if holder in self.holders:
            self._lane(lane).queue.append((next(self._arrivals), holder, number, need))

    def end(self, holder: str, number: int, lane: LaneName, need: Need | None, *, sent: bool) -> None:
        """A send is over, or was given up while it waited; `need` is what it took after all, where that is known."""
        found = self.holders.get(holder)
        if found is None:
            return
        taken = found.permits.pop(number, None)
        if taken is None:
            self._lane(lane).forget(holder, number)
            return
        for allowance, entries in taken:
            if not sent:
                allowance.correct(entries, None)
            elif need is not None:
                allowance.correct(entries, need)

    def serve(self, at: float) -> list[tuple[str, int]]:
        """Give the sends that may leave their permits, by arrival; gives whose, and their numbers."""
        served: list[tuple[str, int]] = []
        free = self.slots - self.in_use
        while len(served) < free:
            ready = [(lane.queue[0][0], name) for name, lane in self._queues() if self._wait(name, lane, at) <= AT_ONCE]
            if not ready:
                break
            lane = self.lanes[min(ready)[1]]
            _, holder, number, need = lane.queue.popleft()
            taken = [(allowance, allowance.take(need, at)) for allowance in lane.allowances]
            self.holders[holder].permits[number] = taken
            served.append((holder, number))
        return served

    def wake_at(self, at: float) -> float:
        """When to look again, if nothing happens until then."""
        ends = min((holder.until for holder in self.holders.values()), default=inf)
        if self.in_use >= self.slots:
            return ends
        return min([ends, *(at + self._wait(name, lane, at) for name, lane in self._queues())])

    def hear(self, lane: LaneName, told: Limits, at: float) -> None:
        """A server told a worker of its limits."""
        self._lane(lane).allowances[0].hear(told, at)

    def refused(self, lane: LaneName, pause: float, at: float) -> None:
        """A 429 came: all workers keep this pause, and leave more evenly."""
        self.paused[lane[0]] = max(self.paused.get(lane[0], -inf), at + pause)
        for allowance in self._lane(lane).allowances:
            allowance.calm(at)
            if pause:
                allowance.relent(at + pause)

    def limits(self, lane: LaneName, at: float) -> tuple[LimitStatistics, ...]:
        """The limits of a lane as they stand."""
        return tuple(
            LimitStatistics(name, bucket.limit, bucket.per, bucket.source, bucket.used(at), bucket.level(at))
            for allowance in self._lane(lane).allowances
            for name, bucket in allowance.buckets.items()
        )

    def _queues(self) -> Iterator[tuple[LaneName, _Lane]]:
        return ((name, lane) for name, lane in self.lanes.items() if lane.queue)

    def _wait(self, name: LaneName, lane: _Lane, at: float) -> float:
        return max(self.paused.get(name[0], -inf) - at, lane.wait(at))

    def _lane(self, name: LaneName) -> _Lane:
        found = self.lanes.get(name)
        if found is None:
            shared = self.given.shared(name[1])
            allowances = [self.given.own(name[1]), *([] if shared is None else [shared])]
            found = self.lanes[name] = _Lane(allowances)
        return found

    # -- money -------------------------------------------------------------------------------------------------------

    @property
    def spent(self) -> Amount:
        """What all workers were charged, and what those may have spent that are gone."""
        return sum((holder.money.charged for holder in self.holders.values()), self.gone)

    def at_most(self, doubtful: set[str]) -> Amount:
        """`spent`, where of these workers nobody knows what else they spend: all that was lent to them."""
        each = (one.worst if name in doubtful else one.money.charged for name, one in self.holders.items())
        return sum(each, self.gone)

    def free(self) -> Amount:
        """What nobody holds; endless units count as nothing."""
        held = self._held()
        most = [getattr(self.money, unit) or 0 for unit in UNITS]
        if self.covered is not None:
            most[0] = min(most[0], self.covered)
        return Amount(*(max(0, one - getattr(held, unit)) for one, unit in zip(most, UNITS, strict=True)))

    def hears(self, holder: str, money: Money) -> None:
        """A worker says how its purse stands."""
        found = self.holders.get(holder)
        if found is None:
            return
        found.money = money
        found.granted -= money.returned
        if money.lacks:
            self._poor.setdefault(holder, (money.lacks, 0))
            self._poor[holder] = (money.lacks, self._poor[holder][1])
        else:
            self._poor.pop(holder, None)

    def lend(self) -> list[Loan]:
        """Answer those who lack money, first come, first served, as far as that can be said now."""
        loans: list[Loan] = []
        for name, (lacks, shortage) in list(self._poor.items()):
            free = self._limited(self.free())
            beyond = lacks.beyond(free).picos and self._beyond(lacks)
            if beyond:
                self.uncovered = beyond
                break
            if not lacks.beyond(free):
                loans.append(self._lent(name, lacks, free))
            elif self._hopeless(shortage):
                del self._poor[name]
                loans.append(Loan(name, NOTHING, refused=True, spent=self.spent))
            else:
                if not shortage:
                    self.shortage += 1
                    self._poor[name] = (lacks, self.shortage)
                break
        return loans

    def _held(self) -> Amount:
        return sum((holder.granted for holder in self.holders.values()), self.gone)

    def _beyond(self, lacks: Amount) -> int:
        """The picodollars that are to be covered before this can be lent; 0 where that would not help."""
        wanted, most = self._held().picos + lacks.picos, None if self.money is None else self.money.picos
        if self.covered is None or most is None or wanted > most or wanted <= self.covered:
            return 0
        return wanted

    def _lent(self, name: str, lacks: Amount, free: Amount) -> Loan:
        even = SHARE * len(self.holders)
        more = [
            min(MORE * getattr(lacks, unit), (getattr(free, unit) - getattr(lacks, unit)) // even) for unit in UNITS
        ]
        amount = lacks + Amount(*more)
        self.holders[name].granted += amount
        del self._poor[name]
        return Loan(name, amount, refused=False, spent=self.spent)

    def _limited(self, free: Amount) -> Amount:
        """What is free, where a unit without a limit has always enough."""
        return Amount(*(1 << 62 if getattr(self.money, unit, None) is None else getattr(free, unit) for unit in UNITS))

    def _hopeless(self, shortage: int) -> bool:
        """Whether all have heard of the shortage, have given back what they do not use, and expect nothing back."""
        if not shortage:
            return False
        return all(one.money.heard >= shortage and not one.money.hope for one in self.holders.values())
