"""What the tests of cancellation share: one run of a pattern, cut at some moment, and what must not be left then."""

import asyncio
import operator
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from fanfold import Budget, Hedge, Session
from fanfold.calls.hedging import ENOUGH, Waits
from fanfold.core.clock import now, sleep
from fanfold.core.records import Event, Reply, Request
from fanfold.errors import ConnectError
from fanfold.journal import Journal
from fanfold.models.prices import FlatRate
from fanfold.testing import FakeModel
from tests.journal.on_loop import on_the_disk

TICK = 1e-6
FINAL = {"ok", "error", "cancelled", "unsent"}

LATE = 3 * TICK
"""After so long the first token of a trial that hedges is late."""

EAGER = Hedge(percentile=50, at_most=1.0)

Work = Callable[[Session], Awaitable[Any]]
Way = Literal["once", "again", "timeout"]
When = Callable[[], Awaitable[None]]


class Flown(FakeModel):
    """A fake model that knows what of each call is under way, and how much it was sent."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.flying: Counter[Any] = Counter()
        self.sends = 0
        self.replied = 0

    async def send(self, request: Request, watch: Any) -> Reply:
        self.sends += 1
        self.flying[request.draw, request.key()] += 1
        try:
            reply = await super().send(request, watch)
        finally:
            self.flying[request.draw, request.key()] -= 1
        self.replied += 1
        return reply

    @property
    def out(self) -> int:
        """How many sends are under way now."""
        return self.flying.total()

    @property
    def most(self) -> int:
        """Most sends of one call that are under way now: 2, where one flies beside another."""
        return max(self.flying.values(), default=0)


@dataclass
class Trial:
    """One session, one run of a pattern, and what it said.

    `holds` says that the pattern holds back what its branches say. With `hedges` a call whose first token is late is
    sent twice, and some are.
    """

    seed: int
    work: Work
    holds: bool = False
    attempts: int = 1
    hedges: bool = False
    journal: Journal | None = None
    events: list[Event] = field(default_factory=list)
    doubled: bool = False
    """Whether two sends of one call were under way when it was cut."""
    kept: bool = False
    """Whether a call had its reply then, and waited for the disk."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.model = Flown(self._answer, structured=False, latency=self._latency)
        self.model.given_rate = FlatRate(1.0, 1.0)
        slots = self.chance.choice([2, 3, 64, 64] if self.hedges else [1, 2, 3, 64])
        limits = {"hedge": EAGER, "timeout": 200 * TICK, "idle_timeout": self.chance.choice([None, 100 * TICK])}
        self.session = Session(
            self.model,
            max_in_flight=slots,
            attempts=self.attempts,
            budget=Budget(usd=self.chance.choice([0.1, 1000.0])),
            journal=self.journal,
            on_event=self.events.append,
            **(limits if self.hedges else {}),
        )
        if self.hedges:
            self._warm()

    def _warm(self) -> None:
        """Let its lane know how long first tokens take, for prompts of any size."""
        lane = self.session.road.lanes.of(self.model, self.model.given_rate)
        lane.hedging.saved = 20.0
        for size in range(16):
            waits = lane.hedging.waits[size] = Waits()
            for _ in range(2 * ENOUGH):
                waits.learn(LATE)

    def _answer(self, request: Request) -> str | Exception:
        asked = str(request.messages)
        if "Flaky" in asked and self.chance.random() < 0.4:
            return ConnectError("gone")
        answers = ["yes", "no"] if "Yes or no" in asked else ["a", "b", "a b", "?", "Score: 7"]
        return self.chance.choice(answers)

    def _latency(self, _: Request) -> float:
        return self.chance.choice([0, 2, 20, 40, 90, 180] if self.hedges else [0, 1, 1, 2, 3, 5, 9]) * TICK

    async def uncut(self) -> tuple[int, float]:
        """Ticks and seconds that the pattern takes where nobody cancels it."""
        task = asyncio.ensure_future(self.work(self.session))
        began, ticks = now(), 0
        while not task.done():
            await sleep(0)
            ticks += 1
        seconds = now() - began
        await asyncio.gather(task, return_exceptions=True)
        await self.end()
        return ticks, seconds

    async def cut(self, when: When, way: Way = "once") -> str:
        """End the pattern when `when` returns; gives how it ended, and checks what is left.

        `way` is a cancellation, several, or the end of a timeout around the whole.
        """
        outer = asyncio.timeout(None)
        task = asyncio.ensure_future(self._inside(outer) if way == "timeout" else self.work(self.session))
        await when()
        if way == "timeout":
            await sleep(0)  # it has to have begun
        under_way = not task.done()
        self.doubled = under_way and self.model.most > 1
        self.kept = under_way and self.session.gate.in_use > self.model.out
        if under_way and way == "timeout":
            outer.reschedule(now())
        else:
            task.cancel()
        for pause in [self.seed % 3, self.seed % 5, 0] if way == "again" else []:
            await after_ticks(pause)
            task.cancel()
        (came,) = await asyncio.gather(task, return_exceptions=True)
        # At the very end of a timeout it may end by itself; that it was cancelled is never what is told.
        told = isinstance(came, asyncio.CancelledError)
        assert told == (under_way and way != "timeout"), f"ended with {came!r}"
        await self.end()
        return type(came).__name__

    async def _inside(self, outer: asyncio.Timeout) -> Any:
        async with outer:
            return await self.work(self.session)

    async def end(self) -> None:
        """Check what is left; where there is a journal, once it has written what it was told."""
        if self.journal is not None:
            await on_the_disk(self.journal)
            assert self.journal.statistics().runs == 0
        self.check()
        await self.session.close()

    def check(self) -> None:
        """Whatever began has ended, once."""
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not timers(), "a timer is left"
        held = self.session.statistics()
        assert (held.slots.in_use, held.slots.waiting, held.sockets) == (0, 0, 0)
        assert (held.budget.usd.reserved, held.budget.waiting) == (0, 0)
        assert self.model.most == 0
        said = Counter(event.kind for event in self.events)
        ends = said["branch.ended"] + said["branch.late"] + said["branch.cancelled"]
        assert said["run.started"] == said["run.ended"]
        # What a held branch said as it ended stays inside with the rest, unless the branch is released.
        equal = operator.ge if self.holds else operator.eq
        assert equal(said["step.started"], said["step.ended"])
        assert equal(said["branch.started"], ends)
        assert [event.number for event in self.events] == list(range(len(self.events)))
        assert not self.events or self.events[-1].kind == "run.ended"
        self._check_calls()

    def _check_calls(self) -> None:
        queued = [event.call.number for event in self.events if event.kind == "call.queued"]
        ended = [event.call for event in self.events if event.kind == "call.ended"]
        assert sorted(queued) == sorted(call.number for call in ended)
        assert {call.state for call in ended} <= FINAL
        assert all(call.usage is not None for call in ended if call.state == "ok")
        assert all(call.cost.usd == 0 for call in ended if call.state == "unsent")
        sends = [attempt for call in ended for attempt in call.attempts if attempt.sent is not None]
        assert len(sends) == self.model.sends
        assert {attempt.state for attempt in sends} <= FINAL - {"unsent"}
        for told in self.session.statistics().retries:
            assert told.hedges.hedges == sum(attempt.hedge for attempt in sends)
            assert told.hedges.won <= told.hedges.hedges


def timers() -> list[asyncio.TimerHandle]:
    """The timers that would still fire."""
    scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled
    return [timer for timer in scheduled if not timer.cancelled()]


async def after_ticks(count: int) -> None:
    """So many turns of the loop."""
    for _ in range(count):
        await sleep(0)
