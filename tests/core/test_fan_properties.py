"""The fan under any branches, any fold and any cancellation: nothing is left, and every branch is accounted for."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from fanfold.core import scope as scopes
from fanfold.core.clock import now, sleep
from fanfold.core.fan import fan
from fanfold.core.records import Arrival, Branch, Go, Why
from fanfold.errors import FatalError
from fanfold.runs.state import RunState
from fanfold.testing import VirtualLoop
from tests.core.fanning import Outcome

ENDS = {"branch.ended", "branch.late", "branch.cancelled"}

# Few values, so that branches, timeouts and cancellations do fall into the same tick.
TIMES = st.sampled_from([0.0, 1e-6, 2e-6, 4e-6, 1.0, 1.000001, 1.000003, 2.0, 3.0])


@dataclass(frozen=True)
class Arm:
    """One branch: it works, ends in some way, and may resist a cancellation for a while."""

    works: float
    ends: str
    resists: float
    gives_way: bool

    def branch(self, name: str) -> Branch[Any]:
        return Branch(name, lambda: self._fly(name))

    async def _fly(self, name: str) -> str:
        try:
            if self.works:
                await sleep(self.works)
        except asyncio.CancelledError:
            await self._resist()
            if self.gives_way:
                raise
        if self.ends == "error":
            raise ValueError(name)
        if self.ends == "fatal":
            raise FatalError(name)
        if self.ends == "cancels itself":
            asyncio.current_task().cancel()
            await sleep(0)
        return name

    async def _resist(self) -> None:
        until = now() + self.resists
        while now() < until:
            try:
                await sleep(until - now())
            except asyncio.CancelledError:
                continue


@dataclass(frozen=True)
class Plan:
    """A fold: how many at first, how many more at each arrival, after how many it has enough, when it breaks."""

    first: int
    more: int
    enough: int | None
    breaks: int | None


class Planned:
    """The fold that a plan describes; it checks what it is told."""

    def __init__(self, plan: Plan, *, staggered: bool) -> None:
        self.plan = plan
        self.staggered = staggered
        self.folded: list[int] = []
        self.asked = plan.first
        self.why: Why | None = None
        self.over = False

    def begin(self, names: Sequence[str]) -> Go:
        self.n = len(names)
        return Go(more=self.plan.first, enough=self.plan.enough == 0)

    def add(self, arrival: Arrival[Any], flying: int) -> Go:
        assert not self.over, "folded after enough"
        assert arrival.index not in self.folded, "folded twice"
        assert not isinstance(arrival.error, FatalError), "a fold saw a fatal error"
        assert (arrival.value is None) == (arrival.error is not None)
        self.folded.append(arrival.index)
        owed = min(self.asked, self.n) - len(self.folded)
        assert flying <= owed if self.staggered else flying == owed
        if len(self.folded) == self.plan.breaks:
            raise LookupError("a broken fold")
        self.asked += self.plan.more
        self.over = len(self.folded) == self.plan.enough
        return Go(more=self.plan.more, enough=self.over)

    def end(self, why: Why) -> str:
        self.why = why
        return "the answer"


arms = st.builds(
    Arm,
    works=TIMES,
    ends=st.sampled_from(["value", "value", "value", "error", "fatal", "cancels itself"]),
    resists=st.sampled_from([0.0, 0.0, 1e-6, 0.5, 3.0]),
    gives_way=st.booleans(),
)
plans = st.builds(
    Plan,
    first=st.integers(0, 9),
    more=st.integers(0, 2),
    enough=st.none() | st.integers(0, 7),
    breaks=st.none() | st.integers(1, 7),
)


@given(
    branches=st.lists(arms, max_size=8),
    plan=plans,
    timeout=st.none() | TIMES.filter(bool),
    stagger=st.none() | TIMES,
    cancels=st.lists(TIMES, max_size=3),
    tick=st.sampled_from([1e-6, 5e-7, 1e-9]),
)
@settings(max_examples=250)
def test_every_branch_that_began_ends_in_exactly_one_way(
    branches: list[Arm], plan: Plan, timeout: float | None, stagger: float | None, cancels: list[float], tick: float
) -> None:
    """Whatever happens, no task is left, and each branch that began is folded, late or cancelled, once."""
    fold = Planned(plan, staggered=stagger is not None)
    state = RunState(None, "run", None)

    async def fanning() -> Any:
        scopes.enter(scopes.Scope(state, "run"))
        flown = [arm.branch(str(at)) for at, arm in enumerate(branches)]
        return await fan(flown, fold, timeout=timeout, stagger=stagger)

    async def main() -> Any:
        state.began = now()
        work = asyncio.create_task(fanning())
        for seconds in cancels:
            await sleep(seconds)
            work.cancel()
        with Outcome() as outcome:
            outcome.came = await work
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return outcome.came

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(tick)) as runner:
        came = runner.run(main())
    event(type(came).__name__)
    _check(state, fold, came)


def _check(state: RunState, fold: Planned, came: Any) -> None:
    assert [one.number for one in state.events] == list(range(len(state.events)))
    began = Counter(one.place for one in state.events if one.kind == "branch.started")
    ended = Counter(one.place for one in state.events if one.kind in ENDS)
    assert began == ended
    assert not began or set(began.values()) == {1}
    by_kind = {kind: [int(one.place[4:]) for one in state.events if one.kind == kind] for kind in ENDS}
    fatal = isinstance(came, FatalError)
    assert not isinstance(came, AssertionError), came
    assert by_kind["branch.ended"][: len(fold.folded)] == fold.folded
    # A fatal error is said and not folded; a cancellation that comes while the fan closes takes its place.
    unfolded = len(by_kind["branch.ended"]) - len(fold.folded)
    assert unfolded == fatal or (unfolded, type(came)) == (1, asyncio.CancelledError)
    _check_outcome(state, fold, came, by_kind)


def _check_outcome(state: RunState, fold: Planned, came: Any, by_kind: dict[str, list[int]]) -> None:
    endings = [one.value for one in state.events if one.kind == "fan.ended"]
    if came != "the answer":
        assert endings == []
        assert fold.why is None
        assert isinstance(came, FatalError | LookupError | asyncio.CancelledError)
        return
    (ending,) = endings
    assert ending["why"] == fold.why
    assert ending["folded"] == fold.folded
    assert ending["late"] == by_kind["branch.late"]
    assert ending["launched"] == len(ending["folded"] + ending["late"] + by_kind["branch.cancelled"])
    assert fold.over == (fold.why == "enough") or fold.plan.enough == 0
    if fold.why == "all":
        assert len(fold.folded) == min(fold.asked, fold.n)
