"""What patterns share that keep every branch's value: the policy for those that fail, and the fan that follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fanfold.core.fan import fan
from fanfold.folds.collect import Collect, Collected, OnError, check_policy
from fanfold.steps.step import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.core.records import Branch

In = TypeVar("In")


class Policy(msgspec.Struct, frozen=True):
    """What a failed branch does, and how many must succeed; raises `UsageError` for what is no policy."""

    on_error: OnError
    quorum: int | None

    def __post_init__(self) -> None:
        check_policy(self.on_error, self.quorum)


class CollectingStep(Step[In, Any]):
    """A pattern whose branches are all kept, by name; its timeout is its fan's."""

    fans = True

    def __init__(self, policy: Policy, name: str, timeout: float | None) -> None:
        super().__init__(name, timeout)
        self.policy = policy

    async def collect(self, branches: Sequence[Branch[Any]]) -> Collected[Any]:
        """Run the branches together; gives their values and what is missing, or raises what the policy says."""
        fold = Collect[Any](self.policy.on_error, self.policy.quorum, self.timeout)
        return await fan(branches, fold, timeout=self.timeout)
