"""The tab of a budget: what may be paid is written down before it goes out, by few writes."""

import asyncio
import random
from typing import Any

import pytest

from fanfold import Budget, Session, chain, prompt, vote
from fanfold.calls.amounts import picos
from fanfold.calls.budget import Purse, on_tab
from fanfold.calls.tab import PARTS, Tab
from fanfold.core.clock import sleep
from fanfold.core.records import Usage
from fanfold.errors import BudgetError
from fanfold.steps.row import Terms
from fanfold.steps.rows import Rows
from fanfold.testing import no_leaks, run_virtual
from tests.budget.billing import OUTCOMES, Billed

ASK = prompt("{input}", max_tokens=20)
STEPS = {
    "prompt": ASK,
    "votes": vote(ASK, n=3),
    "a chain with a budget of its own": chain(ASK, vote(ASK, 3), str.upper),
}


class Disk:
    """Where a tab is written: it takes its time, and knows when."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.seconds = seconds
        self.written: list[int] = []

    async def write(self, most: int) -> None:
        """Write it down."""
        await sleep(self.seconds)
        self.written.append(most)

    @property
    def last(self) -> int:
        """What it would say after a crash."""
        return self.written[-1] if self.written else 0


class Watched(Billed):
    """A server that looks, whenever it bills something, whether the disk says that it may have been billed."""

    def __init__(self, disk: Disk, **options: Any) -> None:
        super().__init__(**options)
        self.disk = disk
        self.tab = Tab(disk.write)
        self.unsaid: list[int] = []
        """What the disk did not say; kept for the test, for an error here would only be one more failed row."""

    def _bill(self, usage: Usage) -> None:
        super()._bill(usage)
        if self.picos > self.disk.last:
            self.unsaid.append(self.picos - self.disk.last)


async def mapped(model: Watched, step: Any, budget: Budget, *, rows: int = 400, stop: int | None = None) -> None:
    """A map over rows with a tab, of which the reader takes `stop`."""
    terms = Terms(budget=budget, tab=model.tab, on_error="skip")
    async with (
        Session(model, max_in_flight=16, attempts=2) as session,
        no_leaks(session),
        Rows(step, (f"row {at}" for at in range(rows)), session, terms) as handed,
    ):
        taken = 0
        async for _ in handed:
            taken += 1
            if taken == stop:
                break


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("seed", range(4))
def test_what_may_be_paid_is_written_down_before(name: str, seed: int) -> None:
    """At any moment the disk says at least what the bill is, whatever fails, is sent again or cut off."""
    stop = random.Random(seed).choice([5, 30, None])
    model = Watched(Disk(), seed=seed, outcomes=OUTCOMES)
    run_virtual(mapped(model, STEPS[name], Budget(usd=100), rows=60, stop=stop))
    tab = model.tab
    assert tab.purse is not None
    assert model.calls > 5
    assert not model.unsaid
    assert model.picos <= tab.charged <= tab.written == model.disk.last
    assert tab.purse.flying == 0


def test_a_budget_is_written_down_in_parts() -> None:
    """So many writes at most as it has parts, and a few for the first calls; none says more than the budget."""
    model, limit = Watched(Disk()), 0.01
    with pytest.raises(BudgetError):
        run_virtual(mapped(model, ASK, Budget(usd=limit)))
    written = model.disk.written
    assert model.calls > 100
    assert not model.unsaid
    assert len(written) <= PARTS + 16
    assert written == sorted(written)
    assert written[-1] <= picos(limit)
    assert 0.9 * picos(limit) <= model.tab.charged <= written[-1]


def test_one_writes_for_all_who_wait() -> None:
    """Sixteen calls that go out at once take two writes: of the first alone, and of all that came meanwhile."""
    model = Watched(Disk(seconds=1.0), usual=1.0)
    run_virtual(mapped(model, ASK, Budget(usd=1e-4 * PARTS), rows=16))
    assert model.calls == 16
    assert not model.unsaid
    assert len(model.disk.written) == 2


def test_a_disk_that_fails_lets_nothing_out() -> None:
    """Then no call is sent, and nothing stays reserved."""

    class Full(Disk):
        async def write(self, most: int) -> None:
            raise OSError(f"no space for {most}")

    model = Watched(Full())
    run_virtual(mapped(model, ASK, Budget(usd=1), rows=20))
    assert model.calls == 0
    assert model.tab.purse is not None
    assert (model.tab.purse.flying, model.tab.purse.reserved.picos, model.tab.charged) == (0, 0, 0)


def test_a_budget_without_dollars_has_no_tab() -> None:
    """There is nothing to write down."""
    purse = Purse(Budget(calls=3))
    tab = Tab(Disk().write)
    on_tab(purse, tab)
    on_tab(None, tab)
    assert purse.tab is None
    assert (tab.purse, tab.charged, tab.due) == (None, 0, 0)
    asyncio.run(tab.cover())
