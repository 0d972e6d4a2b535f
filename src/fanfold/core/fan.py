"""The fan: the one primitive of every pattern. It launches branches together, and nothing outlives it.

A fan does what its fold says: it launches as many branches as asked for, hands over each arrival in the order
in which they come, and at *enough* cancels what still flies and waits until that is gone. It knows nothing of
models, votes or money. Costs are linear in the number of branches: a branch is one task, and the fan waits on
one future that the next arrival sets, never on all pending tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fanfold.core import scope as scopes
from fanfold.core.journaling import Folded
from fanfold.core.records import Arrival, Branch, Fold, Go, Why
from fanfold.core.tasks import begin_task
from fanfold.core.timeouts import check_seconds
from fanfold.errors import QuorumError, StepTimeout, is_fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger("fanfold")

PATIENCE = 1.0
"""Seconds after which a branch that resists its cancellation is named in the log."""


async def fan(
    branches: Sequence[Branch[T]],
    fold: Fold[T, R],
    *,
    timeout: float | None = None,
    stagger: float | None = None,
) -> R:
    """Run `branches` together and give what `fold` makes of them.

    `timeout` (seconds) is the fan's own: at its end the fold answers with what it has. `stagger` spaces the
    launches asked for at the beginning by that many seconds; a later wish for more is met at once.

    Raises what the fold raises, the first `FatalError` of a branch, or the cancellation of the caller; in every
    case all branches are gone before it returns.
    """
    check_seconds(timeout)
    scope = scopes.current()
    if scope is None or scope.book is None:
        return await Fan(branches, fold, stagger).run(timeout)
    nth = scope.count(scope.place, b"fan")
    told = scope.book.folded(scope.place, nth, len(branches), settled=scope.settled)
    if told is None:
        return await Fan(branches, fold, stagger, nth).run(timeout)
    from fanfold.core.refolding import Refolding  # stands on this file

    replays = scope.book.replays
    return await Refolding(branches, fold, told, replays=replays).run(None if replays else timeout)


class Fan(Generic[T, R]):
    """One execution of `fan`: what has been launched, what has arrived, what is still owed.

    `nth` is its number among the fans of its place, where its run has a journal that keeps how it ends.
    """

    settled = False
    """Whether all that its branches do was recorded before."""

    def __init__(
        self, branches: Sequence[Branch[T]], fold: Fold[T, R], stagger: float | None, nth: int | None = None
    ) -> None:
        self.branches = branches
        self.fold = fold
        self.stagger = stagger
        self.nth = nth
        self.scope = scopes.current()
        self.loop = asyncio.get_running_loop()
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.arms: dict[int, scopes.Scope] = {}
        self.arrived: deque[Arrival[T]] = deque()
        self.folded: list[int] = []
        self.flying: list[int] = []
        self.launched = 0
        self.begun = 0
        self.released: set[int] = set()
        self.owed = 0
        self.closing = False
        self.expired = False
        self.wake: asyncio.Future[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.next_start: asyncio.TimerHandle | None = None
        self.deadline: float | None = None

    async def run(self, timeout: float | None) -> R:
        """Launch, fold, close, answer."""
        if timeout is not None:
            self.deadline = self.loop.time() + timeout
            self.timer = self.loop.call_at(self.deadline, self._expire)
        try:
            why = await self.fold_all()
        finally:
            await self._close()
        self._report(why)
        try:
            answer = self.fold.end(why)
        except Exception as error:
            self._keep(why, failed=True)
            if why == "timeout" and self.scope is not None and isinstance(error, StepTimeout | QuorumError):
                late = self.scope.why_late
                error.args = (f"{error}{late}",)
                if isinstance(error, QuorumError):
                    error.late = late
            raise
        self._keep(why, failed=False)
        return answer

    async def fold_all(self) -> Why:
        """From the first launch to the last arrival; gives why there was no other."""
        if self._obey(self.fold.begin([branch.name for branch in self.branches]), begin=True):
            return "enough"
        return await self.fold_rest()

    async def fold_rest(self) -> Why:
        """Fold what comes."""
        while True:
            if self.arrived:
                arrival = self.arrived.popleft()
                if self._obey(self.fold_one(arrival, self.launched - len(self.folded) - 1)):
                    return "enough"
            elif self.expired:
                return "timeout"
            elif self.tasks or self.owed:
                await self.next_arrival()
            else:
                return "all"

    def fold_one(self, arrival: Arrival[T], flying: int) -> Go:
        """Fold one arrival; a fatal error is raised, and no fold hears of it."""
        arm = self.arms.get(arrival.index)
        if arm is not None:
            arm.emit("branch.ended", arrival.value, arrival.error)
        if arrival.error is not None and _is_fatal(arrival.error):
            raise arrival.error
        self.folded.append(arrival.index)
        self.flying.append(flying)
        if arm is not None:
            arm.counted = None
        return self.fold.add(arrival, flying)

    def heed(self, go: Go) -> bool:
        """Release what the fold releases; gives whether it has enough."""
        for index in go.release:
            self.released.add(index)
            if index in self.arms:
                self._release(index)
        return go.enough

    def _obey(self, go: Go, *, begin: bool = False) -> bool:
        self.heed(go)
        if not go.enough and go.more:
            if begin and self.stagger is not None:
                self.owed = min(go.more, len(self.branches))
                self._launch_owed()
            else:
                self._launch(go.more)
                self._set_next_start()
        return go.enough

    def _release(self, index: int) -> None:
        hold = self.arms[index].hold
        if hold is not None and self.branches[index].held:
            hold.release()

    async def next_arrival(self) -> None:
        """Wait until there is something to do."""
        self.wake = self.loop.create_future()
        try:
            await self.wake
        finally:
            self.wake = None

    def _rouse(self) -> None:
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)

    def _expire(self) -> None:
        self.expired = True
        if self.scope is not None:
            self.scope.forget()
        self._rouse()

    # -- launching ------------------------------------------------------------------------------------------

    def _launch(self, count: int) -> None:
        for index in range(self.launched, min(self.launched + count, len(self.branches))):
            self.launch_one(index)
        self.owed = min(self.owed, len(self.branches) - self.launched)

    def launch_one(self, index: int) -> None:
        """Start this branch."""
        self.launched = max(self.launched, index + 1)
        self.tasks[index] = begin_task(self._fly(index), self.loop)

    def _launch_owed(self) -> None:
        """Launch one of the staggered branches and set the time of the next."""
        if self.owed and not self.closing:
            self.owed -= 1
            self._launch(1)
            self._set_next_start()

    def _set_next_start(self) -> None:
        """The next staggered branch starts that much after the one just launched, also where that came early."""
        if self.next_start is not None:
            self.next_start.cancel()
            self.next_start = None
        if self.owed and self.stagger is not None:
            self.next_start = self.loop.call_later(self.stagger, self._launch_owed)

    async def _fly(self, index: int) -> None:
        """One branch, from start to arrival; its last act is to say that it is there."""
        branch = self.branches[index]
        started = self.loop.time()
        self.begun += 1
        value: T | None = None
        error: BaseException | None = None
        try:
            if self.scope is not None:
                self._enter(index, self.scope.arm(branch), started)
            value = await branch.start()
        except BaseException as failed:
            # Only the fan cancels its branches. Cancelled by anybody else, a branch has failed; and whatever
            # fails is an arrival, for a fan that never heard of it would wait for ever.
            dropped = isinstance(failed, GeneratorExit) and not self._runs(index)
            if dropped or (self.closing and isinstance(failed, asyncio.CancelledError)):
                raise
            error = failed
        finally:
            if index in self.arms:
                self.arms[index].ended = True
        del self.tasks[index]
        self.arrived.append(Arrival(index, branch.name, value, error, started, self.loop.time()))
        self._rouse()

    def _runs(self, index: int) -> bool:
        """Whether a branch's task runs now: a coroutine that is thrown away is closed by somebody else."""
        return asyncio.current_task(self.loop) is self.tasks[index]

    def _enter(self, index: int, arm: scopes.Scope, started: float) -> None:
        """Put the running task under the scope of its branch."""
        self.arms[index] = arm
        arm.until(self.deadline)
        arm.settled = arm.settled or self.settled
        if index in self.released:
            self._release(index)
        scopes.enter(arm)
        arm.emit("branch.started", at=started)

    # -- ending ---------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        """Cancel what flies and wait until it is gone, however often the caller itself is cancelled."""
        self.closing = True
        for timer in (self.timer, self.next_start):
            if timer is not None:
                timer.cancel()
        cancelled = dict(self.tasks)
        for task in cancelled.values():
            task.cancel()
        interrupted = await gone(set(cancelled.values()), self._name_resisting)
        for index in cancelled:
            if index in self.tasks:
                self._say_cancelled(index)
        for arrival in self.arrived:
            self._say("branch.late", arrival)
            # A decision makes the others' errors unimportant, but not what is meant for the interpreter.
            if arrival.error is not None and _is_for_all(arrival.error):
                raise arrival.error
        if interrupted is not None:
            raise interrupted

    def _name_resisting(self, pending: set[asyncio.Task[Any]]) -> None:
        names = sorted(self.branches[index].name for index, task in self.tasks.items() if task in pending)
        logger.warning("branches %s resist their cancellation; the fan waits for them", ", ".join(names))

    # -- saying what happened -------------------------------------------------------------------------------

    def _say(self, kind: str, arrival: Arrival[T]) -> None:
        arm = self.arms.get(arrival.index)
        if arm is not None:
            arm.emit(kind, arrival.value, arrival.error)

    def _say_cancelled(self, index: int) -> None:
        arm = self.arms.get(index)
        if arm is not None:
            arm.emit("branch.cancelled")

    def _report(self, why: Why) -> None:
        """Record which branches were folded, in which order, and why the fan ended."""
        late = [arrival.index for arrival in self.arrived]
        if self.scope is not None:
            fanned: dict[str, Any] = {
                "why": why,
                "folded": self.folded,
                "late": late,
                "launched": self.begun,
                "branches": max(self.begun, sum(not branch.spare for branch in self.branches)),
            }
            self.scope.emit("fan.ended", fanned)

    def _keep(self, why: Why, *, failed: bool) -> None:
        """Let the journal know how it ended: a resumed run folds the same again."""
        if self.nth is None or self.scope is None or self.scope.book is None:
            return
        late = tuple(arrival.index for arrival in self.arrived)
        order, flying = tuple(self.folded), tuple(self.flying)
        counted = tuple(one for arm in self.arms.values() for one in arm.counted or ())
        told = Folded(order, flying, why, self.begun, len(self.branches), late, failed, counted)
        self.scope.book.keep_fan(self.scope.place, self.nth, told)


def _is_fatal(error: BaseException) -> bool:
    """Whether no fold gets to see it."""
    return is_fatal(error) or _is_for_all(error)


def _is_for_all(error: BaseException) -> bool:
    """Whether it is meant for the interpreter, as SystemExit."""
    return not isinstance(error, Exception | asyncio.CancelledError)


async def gone(
    tasks: set[asyncio.Task[Any]], name_resisting: Callable[[set[asyncio.Task[Any]]], None]
) -> asyncio.CancelledError | None:
    """Wait until every cancelled task is done; give the caller's own cancellation, if it came meanwhile."""
    interrupted: asyncio.CancelledError | None = None
    named = False
    while tasks:
        try:
            _, tasks = await asyncio.wait(tasks, timeout=PATIENCE)
        except asyncio.CancelledError as again:
            interrupted = again
            tasks = {task for task in tasks if not task.done()}
            continue
        if tasks and not named:
            named = True
            name_resisting(tasks)
    return interrupted
