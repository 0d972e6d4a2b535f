"""A run while it runs: the one event stream, which everything else reads and nothing else collects."""

from __future__ import annotations

import asyncio
import functools
import logging
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from fanfold.core.clock import chance, clock, wall
from fanfold.core.records import Call, Event

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("fanfold")


class RunState:
    """The events and calls of one run so far.

    `streaming` says that somebody reads the text as it comes, so tail calls should stream. An `on_event` that
    raises is logged and left out from then on; it never breaks the run.
    """

    def __init__(
        self, session: Any, name: str, on_event: Callable[[Event], None] | None, *, streaming: bool = False
    ) -> None:
        self.session = session
        self.name = name
        self.on_event = on_event
        self.streaming = streaming
        self.clock = clock()
        """That of the run's loop."""
        self.began = self.clock.time()
        self.began_wall = wall()
        self.events: list[Event] = []
        self.wall = 0.0
        """Seconds that it took, once it has ended."""
        self.detail: Any = None
        """How its output came about, once it has ended."""
        self.closed = False
        self.draws: dict[tuple[str, bytes] | int, int] = {}
        """How often each request (by its hash: they are long) was made in each place; see `Scope.count`."""
        self._parts: dict[str, list[Event]] = {}
        self._free: dict[str, list[int]] = {}
        self._numbers = 0
        self._readers: set[asyncio.Future[None]] | None = None

    @functools.cached_property
    def secret(self) -> bytes:
        """What makes this run's fences unguessable."""
        return chance().randbytes(16)

    def emit(
        self, at: float, kind: str, place: str, value: Any, error: BaseException | None, call: Call | None
    ) -> None:
        """Append one event and wake the readers."""
        event = Event(len(self.events), at - self.began, kind, place, value, error, call)
        self.events.append(event)
        if self._parts:
            self._tell_parts(event)
        if self.on_event is not None:
            self._tell(event)
        if self._readers:
            self._wake()

    @property
    def calls(self) -> list[Call]:
        """The calls that have ended."""
        return [event.call for event in self.events if event.kind == "call.ended" and event.call is not None]

    def begin_part(self, place: str) -> tuple[str, list[Event]]:
        """A step begins at `place` that will have a record of its own; gives its own place, and its events to be.

        Of several at once in one place each has the lowest number that is free, the first none.
        """
        # Each part gets its events as they come: to look for them among all would cost n parts at once their square.
        free = self._free.setdefault(place, [0])
        own = place
        while True:
            number = heappop(free)
            if not free:
                free.append(number + 1)
            own = f"{place}~{number}" if number else place
            if own not in self._parts:
                break
        events = self._parts[own] = []
        return own, events

    def end_part(self, place: str, own: str) -> None:
        """It has ended."""
        del self._parts[own]
        heappush(self._free[place], int(own[len(place) + 1 :] or 0))

    def _tell_parts(self, event: Event) -> None:
        place = event.place
        while place:
            events = self._parts.get(place)
            if events is not None:
                events.append(event)
            place = place.rpartition("/")[0]

    def next_call(self) -> int:
        """The number of a new call."""
        self._numbers += 1
        return self._numbers - 1

    def end(self, place: str, output: Any, detail: Any, error: BaseException | None) -> None:
        """The step has ended, in this way; no event follows."""
        at = self.clock.time()
        self.wall, self.detail = at - self.began, detail
        self.emit(at, "run.ended", place, output, error, None)
        self.close()

    def close(self) -> None:
        """Say that no event follows."""
        self.closed = True
        self._wake()

    async def past(self, position: int) -> bool:
        """Wait until there is an event number `position`; False if the run is over before."""
        while position >= len(self.events):
            if self.closed:
                return False
            await self._more()
        return True

    async def _more(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._readers is None:
            self._readers = set()
        self._readers.add(waiter)
        try:
            await waiter
        finally:
            self._readers.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._readers or ():
            if not waiter.done():
                waiter.set_result(None)

    def _tell(self, event: Event) -> None:
        try:
            if self.on_event is not None:
                self.on_event(event)
        except Exception:
            logger.exception("on_event raised and gets no further events of this run")
            self.on_event = None
