"""A fan that ended before, once more: only what was folded then is launched, and folded in the order of then.

So a vote that stopped early has the same ballots and the same winner again, whichever of its branches is quicker this
time. No timer counts, for why it ended is known; but where something is asked that was not asked then, it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fanfold.core.fan import Fan
from fanfold.errors import ReplayMiss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.core.journaling import Folded
    from fanfold.core.records import Arrival, Branch, Fold, Go, Why

T = TypeVar("T")
R = TypeVar("R")


class Refolding(Fan[T, R]):
    """One execution of a fan by what the journal holds of it."""

    def __init__(self, branches: Sequence[Branch[T]], fold: Fold[T, R], told: Folded, *, replays: bool) -> None:
        super().__init__(branches, fold, None)
        self.told = told
        self.replays = replays
        self.settled = True

    async def fold_all(self) -> Why:
        """Fold in the recorded order; where the fold now wants to go on, which a recorded one did not, it does."""
        self._count()
        early: dict[int, Arrival[T]] = {}
        enough = self._let(self.fold.begin([branch.name for branch in self.branches]))
        for index, flying in zip(self.told.order, self.told.flying, strict=True):
            while not enough and index not in early:
                if self.arrived:
                    arrival = self.arrived.popleft()
                    early[arrival.index] = arrival
                elif self.expired and self._anew():
                    self.arrived.extend(early.values())
                    return "timeout"
                elif index in self.tasks:
                    await self.next_arrival()
                else:  # what it waited for went otherwise than it did
                    self.arrived.extend(early.values())
                    return await self._go_on()
            if enough:
                break
            enough = self._let(self.fold_one(early.pop(index), flying))
        if not enough and (self.told.why == "enough" or (self.told.why == "timeout" and self._anew())):
            return await self._go_on()
        return "enough" if enough else self.told.why

    def _count(self) -> None:
        """Count what the branches that were not folded asked: at once, for another fan may be in the same place."""
        for place, what in self.told.counted:
            if self.scope is not None:
                self.scope.count(place, what)

    def _anew(self) -> bool:
        """Whether a branch asked something that was not asked then, as of another model: then another time counts."""
        return any(not arm.settled for arm in self.arms.values())

    def _let(self, go: Go) -> bool:
        """Launch what the fold lets begin, of that only what was folded; gives whether it has enough.

        Not all at once: a check on an answer begins when that is there.
        """
        enough = self.heed(go)
        if go.more and not enough:
            first, self.launched = self.launched, min(self.launched + go.more, len(self.branches))
            for index in self.told.order:
                if first <= index < self.launched:
                    self.launch_one(index)
        return enough

    async def _go_on(self) -> Why:
        """What a branch gave is not what it gave then, as where a plain function is none: the record ends here."""
        if self.replays:
            raise ReplayMiss(
                "a fan was recorded as decided, and on the same replies it is not: a function in it gives other "
                "values than it gave then, or the fold has changed; record it again"
            )
        self.settled = False
        for place, what in self.told.counted:
            if self.scope is not None:
                self.scope.uncount(place, what)
        for index in range(self.launched):
            if index not in self.told.order:
                self.launch_one(index)
        return await self.fold_rest()
