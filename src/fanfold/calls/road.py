"""The one road of a call:

    slot > attempt > wire

Every call of every pattern passes here and nowhere else. A call takes a slot only while it is on the wire, its
timeout starts when it has its slot, and its record is written in the moment in which its reply is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.calls.passage import Passage
from fanfold.core.scope import current
from fanfold.core.timeouts import within
from fanfold.errors import CallError, LoopError

if TYPE_CHECKING:
    from fanfold.calls.slots import Slots
    from fanfold.core.records import Model, Rate, Reply, Request


class Road:
    """The stages that the calls of one session share."""

    def __init__(self, slots: Slots, timeout: float | None) -> None:
        self.slots = slots
        self.timeout = timeout
        self.calls = 0

    async def call(self, model: Model, rate: Rate | None, request: Request, *, timeout: float | None = None) -> Reply:
        """Send `request` to `model` and give its reply; `timeout` (seconds) replaces the session's.

        Raises `CallError`, `StepTimeout`, or `ScopeEnded` where the calling step is over.
        """
        scope = current()
        if scope is None:
            raise LoopError("a call needs a run around it: await the step, or its .run()")
        scope.check()
        passage = Passage(scope, model, rate, request)
        self.calls += 1
        try:
            async with self.slots:
                scope.check()  # again: the wait for the slot may have outlived it
                async with within(self.timeout if timeout is None else timeout, f"a call to {model.label}"):
                    return await model.send(request, passage)
        except Exception as error:
            passage.error = error
            if isinstance(error, CallError):
                error.place = scope.place
            raise
        finally:
            passage.end()
