"""What passes between the driver, the hub and the workers of a map. What is the user's travels as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from fanfold.calls.amounts import NOTHING, Amount, Limit
from fanfold.calls.levels import LaneStatistics
from fanfold.calls.turnstile import SlotStatistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fanfold.calls.allowance import RateLimit
    from fanfold.calls.policy import Policy
    from fanfold.errors import FanfoldError
    from fanfold.models.names import Settings
    from fanfold.steps.step import Step

Message = tuple[Any, ...]
"""What it is, then what it says."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker has to know before its first row; it may hold keys that the step's own models were given."""

    step: Step[Any, Any]
    settings: Settings
    slots: int
    rate_limits: RateLimit | dict[str, RateLimit] | None
    patience: float | None
    timeout: float | None
    policy: Policy
    row_timeout: float | None
    journal: tuple[Any, Any] | None
    """The mode and the content of the driver's journal."""
    money: Limit | None
    ceiling: int | None
    counts_money: bool


class Mail(msgspec.Struct, frozen=True):
    """What the hub has for the driver, and how it stands."""

    messages: list[Message]
    slots: SlotStatistics
    lanes: tuple[LaneStatistics, ...] = ()
    spent: Amount = NOTHING
    workers: int = 0


class Cluster(Protocol):
    """What runs a hub and workers, and brings messages to the hub.

    `lost` is called with what went wrong when the hub or all workers are gone for good, and every call of that raises
    `WorkersError`.
    """

    def dumps(self, thing: Any) -> bytes:
        """Anything as bytes, for another process; raises `UsageError` for what cannot be pickled."""
        ...

    def loads(self, data: bytes) -> Any:
        """What these bytes are."""
        ...

    async def start(self, order: bytes, ledger: dict[str, Any], lost: Callable[[FanfoldError], None]) -> None:
        """Start a hub with this order and a `Ledger` of these options, and workers; raises `WorkersError`."""
        ...

    def call(self, method: str, *given: Any) -> Awaitable[Any]:
        """Ask the hub."""
        ...

    async def close(self) -> None:
        """End what was started, and wait until it is gone."""
        ...
