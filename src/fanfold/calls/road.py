"""The one road of a call:

    journal > attempt (retry, hedge) > budget > rate > slot > wire

Every call of every pattern passes here and nowhere else. What was answered before is given by the journal. Else
the call is sent: each send, a first one, one more after a failure, or one beside
another that is slow, takes its worst case out of the budget, waits for the rate limit and for a slot, and holds them
only while it is on the wire; so a call that backs off holds nothing. A call's timeout starts with its first turn and
covers all that follows. Its record is written in the moment in which its reply is whole.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fanfold.calls.attempts import attempts, held_back, held_up, last_failure
from fanfold.calls.condition import kind_of
from fanfold.calls.passage import Passage, told
from fanfold.core.ends import Ends
from fanfold.core.scope import current
from fanfold.core.timeouts import within
from fanfold.errors import CallError, LoopError, StepTimeout

if TYPE_CHECKING:
    from fanfold.calls.lanes import Lanes
    from fanfold.calls.policy import Policy
    from fanfold.core.records import Model, Rate, Reply, Request


class Road:
    """The stages that the calls of one session share."""

    def __init__(self, lanes: Lanes, timeout: float | None, policy: Policy) -> None:
        self.lanes = lanes
        self.timeout = timeout
        self.ends = Ends()
        """Of the calls that have the session's timeout."""
        self.policy = policy
        self.calls = 0

    async def call(
        self,
        model: Model,
        rate: Rate | None,
        request: Request,
        *,
        timeout: float | None = None,
        policy: Policy | None = None,
        key: bytes | None = None,
    ) -> Reply:
        """Send `request` to `model` and give its reply; `timeout` (seconds) and `policy` replace the session's.

        `key` is that of the request, where it is known.

        Raises `CallError`, `StepTimeout`, or `ScopeEnded` where the calling step is over.
        """
        scope = current()
        if scope is None:
            raise LoopError("a call needs a run around it: await the step, or its .run()")
        scope.check()
        passage = Passage(scope, self.lanes.of(model, rate), request, policy or self.policy, key)
        self.calls += 1
        seconds, ends = (self.timeout, self.ends) if timeout is None else (timeout, None)
        keeping = passage.keeping
        try:
            with within(seconds, f"a call to {model.label}", later=True, ends=ends) as timer:
                if keeping is not None and not keeping.book.new and (reply := await keeping.recall()) is not None:
                    return reply
                return await attempts(passage, timer)
        except asyncio.CancelledError:
            failure, limit = held_up(passage), held_back(passage)
            if failure is not None:
                scope.hold_up(kind_of(failure) if scope.held else told(failure, held=False))
            elif limit is not None:
                scope.hold_up(limit, failed=False)
            raise
        except Exception as error:
            if isinstance(error, StepTimeout) and (reply := passage.whole()) is not None:
                return reply  # in time: only the end of its stream was not
            if isinstance(error, StepTimeout) and (failure := last_failure(passage)) is not None:
                error.args = (f"{error}; the last of its sends that failed: {failure}",)
                error.__cause__ = failure
            passage.error = error
            if isinstance(error, CallError):
                error.place = scope.place
            raise
        finally:
            passage.end()
