"""Lanes: what all calls with one key to one model share, so that they keep to its limits together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.calls.hedging import Hedging
from fanfold.calls.quota import Quota

if TYPE_CHECKING:
    from fanfold.calls.passage import Sending
    from fanfold.calls.slots import Slots
    from fanfold.core.records import Limits, Model, Rate


class Lane:
    """One model under one key, open: the way of all calls to it."""

    def __init__(self, model: Model, rate: Rate | None, slots: Slots) -> None:
        self.model = model
        self.rate = rate
        self.slots = slots
        self.quota = Quota()
        self.hedging = Hedging()
        self.down = False
        """Whether its server is out of order, so that its calls wait in the queue while one at a time tries."""

    async def enter(self, sending: Sending) -> None:
        """Wait for the turn of one send; who enters leaves."""
        del sending
        await self.slots.enter()

    def leave(self, sending: Sending) -> None:
        """One send is over."""
        del sending
        self.slots.leave()

    def hear(self, told: Limits) -> None:
        """The server told of its limits."""
