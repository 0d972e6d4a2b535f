"""The retry quota: what all calls of one lane may send beyond their first sends, so that an outage does not multiply.

After AWS's standard retry mode and gRPC's retry throttling (proposal A6): one account, from which every retry and
every hedge takes, and to which successes give back.
"""

from __future__ import annotations

import msgspec

CAPACITY = 500.0
"""What a lane begins with, and the most it ever has."""

PRICE = 1.0
"""What one send beyond the first takes."""

REFUND = 0.5
"""What one reply gives back."""


class QuotaStatistics(msgspec.Struct, frozen=True):
    """`left` of `capacity` sends beyond the first are allowed now; `spent` were made, and `refused` were not."""

    capacity: float
    left: float
    spent: int
    refused: int


class Quota:
    """One lane's account.

    Its sends beyond the first are never more than its capacity and half of its replies: 10,000 calls into a dead
    server are at most 10,500 sends. Throttled calls (429) do not draw on it: these the lane itself holds back.
    """

    __slots__ = ("left", "refused", "spent")

    def __init__(self) -> None:
        self.left = CAPACITY
        self.spent = 0
        self.refused = 0

    def take(self) -> bool:
        """Take one send, if there is one left."""
        if self.left < PRICE:
            self.refused += 1
            return False
        self.left -= PRICE
        self.spent += 1
        return True

    def untake(self) -> None:
        """What was taken was not sent after all."""
        self.left = min(CAPACITY, self.left + PRICE)
        self.spent -= 1

    def give_back(self) -> None:
        """A reply came."""
        if self.left < CAPACITY:
            self.left = min(CAPACITY, self.left + REFUND)

    @property
    def low(self) -> bool:
        """Whether less than half is left: then nothing is sent to be faster, only what failed is sent again."""
        return self.left < CAPACITY / 2

    def statistics(self) -> QuotaStatistics:
        """How it stands, now."""
        return QuotaStatistics(CAPACITY, self.left, self.spent, self.refused)
