"""Cancellation at every await where calls are hedged, and where a journal keeps their replies: nothing is left."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from fanfold.calls import health, retrying
from fanfold.core.clock import sleep
from fanfold.journal import Journal
from fanfold.testing import run_virtual
from tests.journal.books import entries
from tests.journal.on_loop import on_loop
from tests.steps.cancelling import TICK, Trial, When, after_ticks
from tests.steps.works import WORKS, trial


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between sends take a few ticks, so that they are cut at any of them, too."""
    monkeypatch.setattr(retrying, "FIRST", 4 * TICK)
    monkeypatch.setattr(health, "FIRST", 4 * TICK)
    monkeypatch.setattr(health, "LONGEST", 16 * TICK)


class Schedules:
    """Runs of one pattern that hedge, each cut at its own moment and in one of three ways; `ended` says how they did.

    `doubled` of them had two sends of one call under way then, and in `kept` a reply was there and not yet kept.
    """

    def __init__(self, name: str, journal: Journal | None = None) -> None:
        self.name = name
        self.journal = journal
        self.ended: Counter[str] = Counter()
        self.doubled = self.kept = self.replied = 0

    def trial(self, seed: int, attempts: int = 3) -> Trial:
        return trial(self.name, seed, attempts, hedges=True, journal=self.journal)

    async def run(self, count: int) -> "Schedules":
        lengths = [await self._uncut(seed) for seed in range(6)]
        for seed in range(count):
            await self._cut(seed, random.Random(-seed), lengths)
        return self

    async def _uncut(self, seed: int) -> tuple[int, float]:
        it = self.trial(seed)
        length = await it.uncut()
        self.replied += it.model.replied
        return length

    async def _cut(self, seed: int, chance: random.Random, lengths: list[tuple[int, float]]) -> None:
        it = self.trial(seed, chance.choice([2, 3]))
        ticks, seconds = chance.choice(lengths)
        whens: list[When] = [
            lambda: after_ticks(chance.randrange(ticks)),
            lambda: sleep(chance.uniform(0, seconds)),
            lambda: hedged(it, chance.randrange(4)),
            lambda: hedged(it, chance.randrange(60)),
        ]
        way: Any = chance.choice(["once", "once", "again", "timeout"])
        self.ended[await it.cut(whens[seed % 4], way)] += 1
        self.doubled += it.doubled
        self.kept += it.kept
        self.replied += it.model.replied


async def hedged(it: Trial, ticks: int) -> None:
    """So many ticks after the first hedge flies beside another, or once there was none for long."""
    for _ in range(400):
        if it.model.most > 1:
            break
        await sleep(0)
    await after_ticks(ticks)


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_any_time_a_pattern_that_hedges_leaves_nothing(name: str) -> None:
    """20 seeded schedules: each ends as it was told to, all that began has ended, and nothing is held.

    Of some of them two sends of one call were under way.
    """
    done = run_virtual(Schedules(name).run(20))
    assert sum(done.ended.values()) == 20
    assert done.ended["CancelledError"] + done.ended["TimeoutError"] > 6
    assert done.doubled >= 1


def test_in_all_a_third_of_the_cuts_meets_a_hedge() -> None:
    """Over all patterns, at least a third of the runs had two sends of one call under way when they were cut."""

    async def of_all() -> list[int]:
        return [(await Schedules(name).run(4)).doubled for name in WORKS]

    assert sum(run_virtual(of_all())) >= 4 * len(WORKS) // 3


@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_every_third_tick_a_pattern_that_hedges_leaves_nothing(name: str) -> None:
    """A run, cancelled at every third tick of the loop up to the one in which it ends."""

    async def every_tick() -> None:
        at = Schedules(name)
        ticks, _ = await at.trial(0).uncut()
        for tick in range(0, ticks + 1, 3):
            await at.trial(0).cut(lambda tick=tick: after_ticks(tick))

    run_virtual(every_tick())


@pytest.mark.long
@pytest.mark.parametrize("name", WORKS)
def test_cancelled_at_any_of_many_times_a_pattern_that_hedges_leaves_nothing(name: str) -> None:
    """The same over 5,000 schedules."""
    assert sum(run_virtual(Schedules(name).run(5_000)).ended.values()) == 5_000


# -- with a journal --------------------------------------------------------------------------------------------


@pytest.fixture
def _at_a_disk(blockbuster: BlockBuster) -> None:
    """The loop of these tests does what else a thread does."""
    blockbuster.deactivate()


def journaled(name: str, path: Path, count: int) -> Schedules:
    """Schedules under a journal whose disk takes a few ticks."""

    async def main() -> Schedules:
        with pytest.MonkeyPatch.context() as patch:
            async with on_loop(path, patch, mode="record") as journal:
                return await Schedules(name, journal).run(count)

    return run_virtual(main())


def runs_in(path: Path) -> Iterator[list[str]]:
    """The kinds of the entries of each run."""
    kinds: dict[int, list[str]] = {}
    for entry in entries(path):
        kinds.setdefault(entry.run, []).append(entry.kind)
    return iter(kinds.values())


def check(path: Path, done: Schedules) -> None:
    """Every reply that came is kept, and every run that did anything has its end."""
    assert sum(entry.kind == "call" and '"reply":{' in entry.body for entry in entries(path)) == done.replied
    for kinds in runs_in(path):
        # One that was cut while it was begun is like one that never was.
        assert kinds == ["run"] or (kinds[0], kinds[-1], kinds.count("end")) == ("run", "end", 1)


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.usefixtures("_at_a_disk")
def test_cancelled_at_any_time_under_a_journal_no_reply_is_lost(tmp_path: Path, name: str) -> None:
    """6 seeded schedules with hedges: nothing is left, each reply that came is kept, and each run has its end."""
    done = journaled(name, tmp_path / "j.db", 6)
    assert sum(done.ended.values()) == 6
    check(tmp_path / "j.db", done)


@pytest.mark.usefixtures("_at_a_disk")
def test_in_the_wait_for_the_disk_runs_are_cut_too(tmp_path: Path) -> None:
    """Of many runs some are cut between their reply and its place on the disk: it is there, and the slot is free."""
    done = journaled("vote", tmp_path / "j.db", 80)
    assert done.kept > 5
    check(tmp_path / "j.db", done)


@pytest.mark.long
@pytest.mark.parametrize("name", WORKS)
@pytest.mark.usefixtures("_at_a_disk")
def test_cancelled_at_any_of_many_times_under_a_journal_no_reply_is_lost(tmp_path: Path, name: str) -> None:
    """The same over 300 schedules."""
    check(tmp_path / "j.db", journaled(name, tmp_path / "j.db", 300))
