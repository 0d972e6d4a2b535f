"""Lanes: what all calls with one key to one model share, so that they keep to its limits together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.calls.allowance import Given
from fanfold.calls.condition import Condition
from fanfold.calls.hedging import Hedging, RetryStatistics
from fanfold.calls.pause import Account
from fanfold.calls.quota import Quota
from fanfold.calls.sharing import FarAllowance, SharedTraffic
from fanfold.calls.traffic import Traffic
from fanfold.core.clock import now
from fanfold.core.numbers import is_seconds
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanfold.calls.allowance import Allowance, RateLimit
    from fanfold.calls.levels import LaneStatistics
    from fanfold.calls.sharing import Shares
    from fanfold.calls.turnstile import Turnstile
    from fanfold.core.records import Model, Rate

PATIENCE = 60.0
"""Seconds that a server may be down before calls to it fail without being sent, where the user did not say.

It is less for a server that was never seen well; a patience of the user's own holds for such a one, too.
"""


class Lane:
    """One model, open, and its traffic: the way of all calls to it.

    `await lane.enter(sending)` waits for the turn of one send, `lane.leave(sending)` ends it, `lane.hear(limits)` takes
    what its server told, `lane.rest(seconds)` waits between two sends, and `lane.check()` raises once the session is
    closed.
    """

    def __init__(self, model: Model, rate: Rate | None, traffic: Traffic, quota: Quota, hedging: Hedging) -> None:
        self.model = model
        self.rate = rate
        self.traffic = traffic
        self.quota = quota
        self.hedging = hedging
        self.enter = traffic.enter
        self.leave = traffic.leave
        self.hear = traffic.hear
        self.check = traffic.gate.check
        self.rest = traffic.gate.rest

    @property
    def down(self) -> bool:
        """Whether its server fails again and again, so that one call at a time tries it and all others wait."""
        return self.traffic.condition.health.down

    @property
    def obstacle(self) -> BaseException | None:
        """The failure for which those wait that wait for their turn, if it is one."""
        return self.traffic.condition.obstacle(now())


class Lanes:
    """The lanes of a session. Those with one key and model share all but the price, and all with one key its pauses."""

    def __init__(
        self,
        gate: Turnstile,
        rate_limits: RateLimit | Mapping[str, RateLimit] | None = None,
        patience: float | None = PATIENCE,
    ) -> None:
        if patience is not None and not is_seconds(patience):
            raise UsageError(f"patience={patience!r}: give a positive number of seconds, or None to wait for ever")
        self.gate = gate
        self.given = Given(rate_limits)
        self.patience = patience
        self.shares: Shares | None = None
        """Where turns and limits come from that are shared with other processes; None: all are this one's own."""
        self._lanes: dict[int, Lane] = {}
        self._accounts: dict[object, Account] = {}
        self._first: dict[tuple[object, str], Lane] = {}
        self._sharing: dict[int, list[Traffic]] = {}

    def of(self, model: Model, rate: Rate | None) -> Lane:
        """The lane of an open model; the session keeps its models, so an identity is not used twice."""
        found = self._lanes.get(id(model))
        if found is None:
            account = getattr(model, "account", None) or id(model)
            first = self._first.get((account, model.label))
            if first is None:
                found = Lane(model, rate, self._traffic(model, account), Quota(), Hedging())
                self._first[account, model.label] = found
            else:
                found = Lane(model, rate, first.traffic, first.quota, first.hedging)
            self._lanes[id(model)] = found
        return found

    def close(self) -> None:
        """The session is closed: nothing is sent any more, and who waits for its turn is told."""
        self.gate.close()
        for lane in self._first.values():
            lane.traffic.close()

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def statistics(self) -> tuple[LaneStatistics, ...]:
        """How each stands, in order of first use."""
        return tuple(lane.traffic.statistics() for lane in self._first.values())

    def retries(self) -> tuple[RetryStatistics, ...]:
        """What each may still send beyond first sends, and how its hedges went."""
        return tuple(
            RetryStatistics(lane.model.label, lane.quota.statistics(), lane.hedging.statistics())
            for lane in self._first.values()
        )

    def _traffic(self, model: Model, account: object) -> Traffic:
        allowances: list[Allowance] = [self.given.own(model.label)]
        shared = self.given.shared(model.label)
        if shared is not None:
            allowances.append(shared)
        if self.shares is not None:
            allowances = [FarAllowance(allowance) for allowance in allowances]
        condition = Condition(
            model.label,
            self.gate.limit,
            self._accounts.setdefault(account, Account()),
            allowances,
            self.patience,
            by_ceiling=getattr(model, "meters_ceiling", False),
            steadfast=self.patience is not PATIENCE,  # who writes 60 means 60
        )
        traffic = Traffic(condition, self.gate)
        if self.shares is not None:
            traffic = SharedTraffic(condition, self.gate, self.shares, account)
        if shared is not None:
            kin = self._sharing.setdefault(id(shared), [])
            kin.append(traffic)
            traffic.kin = kin
        return traffic
