"""Starting a step now and awaiting it later, as with futures; what a step starts does not outlive it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fanfold.core.fan import gone
from fanfold.core.records import Branch
from fanfold.core.scope import Scope, current, enter
from fanfold.core.tasks import begin_task
from fanfold.errors import LoopError

if TYPE_CHECKING:
    from collections.abc import Generator

    from fanfold.steps.step import Step

Out_co = TypeVar("Out_co", covariant=True)

logger = logging.getLogger("fanfold")


class Handle(Generic[Out_co]):
    """A step that runs: await it for its value, as often as you like.

    It belongs to the step that started it. When that one returns, it waits for its handles, and an error that nobody
    awaited is raised there; when it fails or is cancelled, so are they.
    """

    def __init__(self, task: asyncio.Task[Out_co], name: str, of: str, number: int) -> None:
        self.name = name
        self.of = of
        """The name of its step."""
        self.number = number
        """How many of that name were started before it."""
        self.task = task
        self.awaited = False

    def __repr__(self) -> str:
        return f"<handle {self.name!r}, {'done' if self.task.done() else 'running'}>"

    def __await__(self) -> Generator[Any, None, Out_co]:
        self.awaited = True
        # Shielded: who gives up waiting gives up waiting, and the step around decides what becomes of it.
        return asyncio.shield(self.task).__await__()

    def done(self) -> bool:
        """Whether it has ended."""
        return self.task.done()


def start(step: Step[Any, Out_co], given: Any) -> Handle[Out_co]:
    """Start `step` under the step around; raises `LoopError` where there is none."""
    here = around = current()
    while around is not None and around.started is None:
        around = around.outer  # as inside gather(), whose branches are no steps and could not see its end
    if here is None or around is None or around.started is None:
        raise LoopError(f"{step.name}.start() belongs to a step: call it inside one (an async function with @step)")
    here.check()
    # From the newest on: to look at all for each would cost who starts thousands of one step their square.
    number = next((handle.number + 1 for handle in reversed(around.started) if handle.of == step.name), 0)
    name = f"{step.name}~{number}" if number else step.name
    arm = around.arm(Branch(name, lambda: step.timed(given)))
    arm.hold = here.hold
    loop = _loop(step)
    handle = Handle(begin_task(_fly(step, given, arm), loop), name, step.name, number)
    around.started.append(handle)
    return handle


def _loop(step: Step[Any, Any]) -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise LoopError(f"{step.name}.start() needs the loop: call it in an `async def`, not in a thread") from None


async def _fly(step: Step[Any, Out_co], given: Any, arm: Scope) -> Out_co:
    enter(arm)
    arm.emit("branch.started")
    try:
        value = await step.timed(given)
    except asyncio.CancelledError:
        arm.emit("branch.cancelled")
        raise
    except BaseException as error:
        arm.emit("branch.ended", error=error)
        raise
    finally:
        arm.ended = True
    arm.emit("branch.ended", value)
    return value


async def finish(scope: Scope) -> None:
    """At the good end of a step: wait for what it started; the first error that nobody has awaited is raised."""
    while True:
        for handle in _handles(scope):
            task = handle.task
            if task.done() and not handle.awaited and not task.cancelled() and task.exception() is not None:
                task.result()
        pending = [handle.task for handle in _handles(scope) if not handle.task.done()]
        if not pending:
            return
        await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)


async def abandon(scope: Scope) -> None:
    """At the bad end of a step: cancel what it started, and wait until that is gone."""
    flying = {handle.task for handle in _handles(scope) if not handle.task.done()}
    for task in flying:
        task.cancel()
    interrupted = await gone(flying, _name_resisting)
    for handle in _handles(scope):
        if not handle.task.cancelled():
            handle.task.exception()  # seen: another error already tells the story
    if interrupted is not None:
        raise interrupted


def _handles(scope: Scope) -> list[Handle[Any]]:
    return list(scope.started or ())


def _name_resisting(pending: set[asyncio.Task[Any]]) -> None:
    logger.warning("%d started steps resist their cancellation; the step around waits for them", len(pending))
