"""The one road of a call:

    journal > attempt (retry, hedge) > budget > rate > slot > wire

Every call of every pattern passes here and nowhere else. What was answered before is in the journal (which has its
place here, and comes later). Else the call is sent: each send, a first one, one more after a failure, or one beside
another that is slow, takes its worst case out of the budget, waits for the rate limit and for a slot, and holds them
only while it is on the wire; so a call that backs off holds nothing. A call's timeout starts with its first turn and
covers all that follows. Its record is written in the moment in which its reply is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.calls.attempts import attempts
from fanfold.calls.hedging import RetryStatistics
from fanfold.calls.lanes import Lane
from fanfold.calls.passage import Passage
from fanfold.core.scope import current
from fanfold.core.timeouts import within
from fanfold.errors import CallError, LoopError

if TYPE_CHECKING:
    from fanfold.calls.policy import Policy
    from fanfold.calls.slots import Slots
    from fanfold.core.records import Model, Rate, Reply, Request


class Road:
    """The stages that the calls of one session share."""

    def __init__(self, slots: Slots, timeout: float | None, policy: Policy) -> None:
        self.slots = slots
        self.timeout = timeout
        self.policy = policy
        self.calls = 0
        self.lanes: dict[int, Lane] = {}

    def lane(self, model: Model, rate: Rate | None) -> Lane:
        """The lane of an open model; the session keeps its models, so an identity is not used twice."""
        found = self.lanes.get(id(model))
        if found is None:
            found = self.lanes[id(model)] = Lane(model, rate, self.slots)
        return found

    def retries(self) -> tuple[RetryStatistics, ...]:
        """What each lane may still send beyond first sends, and how its hedges went."""
        return tuple(
            RetryStatistics(lane.model.label, lane.quota.statistics(), lane.hedging.statistics())
            for lane in self.lanes.values()
        )

    async def call(
        self,
        model: Model,
        rate: Rate | None,
        request: Request,
        *,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> Reply:
        """Send `request` to `model` and give its reply; `timeout` (seconds) and `policy` replace the session's.

        Raises `CallError`, `StepTimeout`, or `ScopeEnded` where the calling step is over.
        """
        scope = current()
        if scope is None:
            raise LoopError("a call needs a run around it: await the step, or its .run()")
        scope.check()
        passage = Passage(scope, self.lane(model, rate), request, policy or self.policy)
        self.calls += 1
        seconds = self.timeout if timeout is None else timeout
        try:
            async with within(seconds, f"a call to {model.label}", later=True) as timer:
                return await attempts(passage, timer)
        except Exception as error:
            passage.error = error
            if isinstance(error, CallError):
                error.place = scope.place
            raise
        finally:
            passage.end()
