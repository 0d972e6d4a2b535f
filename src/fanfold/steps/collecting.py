"""What patterns share that keep every branch's value: the policy for those that fail, and the fan that follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fanfold.core.fan import fan
from fanfold.core.timeouts import Total
from fanfold.folds.collect import Collect, Collected, OnError, check_policy
from fanfold.steps.affording import Shrinks, Size, affording
from fanfold.steps.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fanfold.core.records import Branch

In = TypeVar("In")


class Policy(msgspec.Struct, frozen=True):
    """What a failed branch does, and how many must succeed; raises `UsageError` for what is no policy."""

    on_error: OnError
    quorum: int | None

    def __post_init__(self) -> None:
        check_policy(self.on_error, self.quorum)


class CollectingStep(Step[In, Any]):
    """A pattern whose branches are all kept, by name.

    `rest` is what may follow them (see `Total`): where a failed branch is skipped, they leave time for it.
    """

    fans = True

    def __init__(self, policy: Policy, name: str, timeout: float | None, rest: float | None = 0.0) -> None:
        super().__init__(name, timeout)
        self.policy = policy
        self.rest = rest if check_policy(policy.on_error, policy.quorum) else 0.0
        self.total()

    def total(self) -> Total:
        """Its timeout, for one execution."""
        return Total(self.timeout, f"{self.kind} {self.name!r}", self.rest)

    async def collect(
        self,
        branches: Sequence[Branch[Any]],
        total: Total,
        sizes: Iterable[Size],
        *,
        shrinks: Shrinks = "never",
        counts: Sequence[int] = (),
    ) -> Collected[Any]:
        """Run the branches together; gives their values and what is missing, or raises what the policy says.

        `sizes` are the branches as an estimate sees them; `shrinks` and `counts` are as in `affording`.
        """
        seconds = total.begin()
        fold = Collect[Any](self.policy.on_error, self.policy.quorum, seconds)
        async with affording(self, sizes, seconds, shrinks=shrinks, counts=counts) as money:
            collected = await fan(money.paid(branches), fold, timeout=money.seconds)
        left = {branch.name: money.left_out for branch in branches[money.count :]}
        return Collected(collected.values, {**collected.missing, **left}) if left else collected
