"""Reading a run while it runs: events, updates, text. Each is a view on the run's one stream of events."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from fanfold.core.door import run_sync
from fanfold.core.fan import gone
from fanfold.core.records import Event
from fanfold.core.tasks import begin_task
from fanfold.errors import UsageError
from fanfold.folds.ballots import Said
from fanfold.runs.run import ended
from fanfold.session import session_for
from fanfold.steps.running import new_state, run_alone
from fanfold.steps.templates import render

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from types import TracebackType

    from fanfold.runs.run import Run
    from fanfold.runs.state import RunState
    from fanfold.session import Session
    from fanfold.steps.step import Step

logger = logging.getLogger("fanfold")

Item = TypeVar("Item")
Out = TypeVar("Out")


class Listening(Generic[Item, Out]):
    """A run that has begun, and a view on it: enter it, iterate it; leaving it cancels what still runs.

    The iteration ends with the run, and raises the run's error if it failed; then `run` is the whole record.
    """

    streaming = False

    def __init__(self, step: Step[Any, Out], given: Any, session: Session | None) -> None:
        self._step = step
        self._given = given
        self._session = session
        self._state: RunState | None = None
        self._task: asyncio.Task[Run[Out]] | None = None
        self._position = 0
        self._over = False
        self._ready: deque[Item] = deque()

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise UsageError("this view has been entered before, and is of that one run: ask the step for another")
        self._state = new_state(self._step, await session_for(self._session), streaming=self.streaming)
        self._task = begin_task(self._run(self._state))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, state = self._begun()
        if not task.done():
            task.cancel()
            interrupted = await gone({task}, self._name_resisting)
            if interrupted is not None:
                raise interrupted
        state.close()  # a run that was cancelled before its first step has not done that itself
        if not task.cancelled():
            task.exception()  # seen: it was raised by the iteration, or its reader has left

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        task, state = self._begun()
        while not self._ready:
            position = self._position
            if await state.past(position):
                if position == self._position:  # else another reader of this view has taken it meanwhile
                    self._position += 1
                    self._ready.extend(self._view(state.events[position]))
            elif self._over:
                raise StopAsyncIteration
            else:
                self._over = True
                # A cancelled run raises its cancellation in nobody else's task.
                self._ready.extend(self._last(self.run if task.cancelled() else await task))
        return self._ready.popleft()

    @property
    def begun(self) -> bool:
        """Whether it was entered."""
        return self._task is not None

    @property
    def run(self) -> Run[Out]:
        """The record of the run, once the iteration is over; raises the run's error if it failed.

        Raises `UsageError` before that, and where its reader left before it was over.
        """
        task, _ = self._begun()
        if not task.done():
            raise UsageError("the run is not over yet: read .run after the iteration")
        if task.cancelled():
            raise UsageError("the run was cancelled before it was over, so it has no record: iterate to the end first")
        return task.result()

    def sync(self, what: str) -> SyncListening[Item, Out]:
        """The same view for code that does not await."""
        return SyncListening(self, what)

    async def _run(self, state: RunState) -> Run[Out]:
        return ended(state, await run_alone(state, self._step, self._given, None))

    def _begun(self) -> tuple[asyncio.Task[Run[Out]], RunState]:
        if self._task is None or self._state is None:
            view = type(self).__name__.lower()
            raise UsageError(
                f"enter it first, as in `async with step.{view}(x) as {view}:` or `with step.{view}_sync(x) as {view}:`"
            )
        return self._task, self._state

    def _name_resisting(self, _: object) -> None:
        logger.warning("the run of %r resists its cancellation; who leaves it waits for it", self._step.name)

    def _view(self, event: Event) -> Iterator[Item]:
        raise NotImplementedError

    def _last(self, run: Run[Out]) -> Iterator[Item]:
        del run
        return iter(())


class Events(Listening[Event, Out]):
    """Every event."""

    streaming = True

    def _view(self, event: Event) -> Iterator[Event]:
        yield event


class Updates(Listening[tuple[str, Any], Out]):
    """What ended with a value and is not inside a branch: the outermost branches, links, and the merge."""

    def __init__(self, step: Step[Any, Out], given: Any, session: Session | None) -> None:
        super().__init__(step, given, session)
        self._branches: set[str] = set()

    def _view(self, event: Event) -> Iterator[tuple[str, Any]]:
        if event.kind == "branch.started":
            self._branches.add(event.place)
        elif event.kind in {"branch.ended", "step.ended"} and event.error is None and not self._inside(event.place):
            value = event.value.value if isinstance(event.value, Said) else event.value
            yield event.place.partition("/")[2].replace("%2F", "/"), value

    def _inside(self, place: str) -> bool:
        """Whether a place lies under a branch (a branch itself does not lie under itself)."""
        above = place.rpartition("/")[0]
        while above:
            if above in self._branches:
                return True
            above = above.rpartition("/")[0]
        return False


class Text(Listening[str, Out]):
    """The pattern's text as it is written; an output that was not streamed comes whole, at the end."""

    streaming = True

    def __init__(self, step: Step[Any, Out], given: Any, session: Session | None) -> None:
        super().__init__(step, given, session)
        self._streamed = False

    def _view(self, event: Event) -> Iterator[str]:
        if event.kind == "call.text":
            self._streamed = True
            yield event.value

    def _last(self, run: Run[Out]) -> Iterator[str]:
        if not self._streamed:
            yield render(run.output)


_END = object()


class SyncListening(Generic[Item, Out]):
    """A view for scripts: the run goes on in the background loop while the script reads."""

    def __init__(self, listening: Listening[Item, Out], what: str) -> None:
        self._listening = listening
        self._what = what

    def __enter__(self) -> Self:
        try:
            run_sync(self._listening.__aenter__(), self._what)
        except KeyboardInterrupt as interrupt:
            # The run may have begun all the same, and nobody would leave it.
            if self._listening.begun:
                self.__exit__(type(interrupt), interrupt, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run_sync(self._listening.__aexit__(kind, error, trace), self._what)

    def __iter__(self) -> Iterator[Item]:
        while (item := run_sync(self._next(), self._what)) is not _END:
            yield item

    async def _next(self) -> Any:
        return await anext(self._listening, _END)

    @property
    def run(self) -> Run[Out]:
        """The record of the run, once the iteration is over."""
        return self._listening.run
