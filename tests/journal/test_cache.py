"""A run that a cache answered is a run like others: it is kept whole, and what it did not pay is not counted again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fanfold import Session, map_over, prompt, vote
from fanfold.core.records import Cost, Usage
from fanfold.errors import FanfoldError
from fanfold.journal import Journal
from fanfold.journal.forgetting import forget
from fanfold.journal.looking import runs_in, show
from fanfold.journal.moving import bring_in, export
from fanfold.models.prices import FlatRate
from fanfold.runs.run import Run
from fanfold.testing import FakeModel
from tests.journal.books import entries
from tests.journal.patterns import Moody, ran, spam

votes = vote(prompt("Is it? {input}", returns=bool, name="ask"), n=5, stop=None, name="votes")


class Priced(Moody):
    """It has a price."""

    made_up = False

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.given_rate = FlatRate(1.0, 2.0)


def fine(run: Run[Any] | FanfoldError) -> Run[Any]:
    """A run that did not fail."""
    assert isinstance(run, Run)
    return run


def answered_by_cache(path: Path) -> Run[Any]:
    """Two runs, the second one without a call of its own."""
    ran(path, votes, model=Priced(), mode="cache")
    model = Priced(7)
    run = fine(ran(path, votes, model=model, mode="cache"))
    assert model.asked == 0
    return run


def test_a_run_that_a_cache_answered_can_be_replayed(tmp_path: Path) -> None:
    """All that it was answered stands in it, too."""
    path = tmp_path / "j.db"
    run = answered_by_cache(path)
    replayed = fine(ran(path, votes, model=Moody(9), mode="replay"))
    assert (replayed.output, replayed.detail.ballots) == (run.output, run.detail.ballots)
    assert (replayed.cost, replayed.usage, replayed.paid) == (run.cost, run.usage, Cost())


def test_a_run_that_a_cache_answered_in_part_is_kept_whole(tmp_path: Path) -> None:
    """What was asked and what was found stand side by side, and it can be resumed with neither asked again."""
    path = tmp_path / "j.db"
    rows = map_over(spam)
    ran(path, rows, ["a", "b"], Priced(), mode="cache")
    first = fine(ran(path, rows, ["b", "c", "a"], Priced(1), mode="cache"))
    assert [call.replayed for call in sorted(first.calls, key=lambda call: call.place)] == [True, False, True]
    for mode in ("replay", "resume"):
        model = Priced(2)
        again = fine(ran(path, rows, ["b", "c", "a"], model, mode=mode))
        assert (again.output, again.cost, model.asked) == (first.output, first.cost, 0)


def test_what_a_cache_answered_costs_once(tmp_path: Path) -> None:
    """The sums over a journal's runs are what was paid."""
    path = tmp_path / "j.db"
    run = answered_by_cache(path)
    assert run.cost != Cost()
    first, second = runs_in(path).runs
    assert (first.calls, first.shared, first.cost) == (5, 0, run.cost)
    assert (second.calls, second.shared, second.cost, second.usage) == (5, 5, Cost(), Usage())
    assert [call.messages[0]["content"] for call in show(path, 2).calls] == ["Is it? mail"] * 5


def test_what_a_cache_answered_outlives_the_run_that_asked(tmp_path: Path) -> None:
    """It is found in the run that it was given to, also where that is all that was exported."""
    path, other = tmp_path / "j.db", tmp_path / "other.db"
    run = answered_by_cache(path)
    forget(path, run=1)
    bring_in(other, export(path))
    for there in (path, other):
        assert fine(ran(there, votes, model=Moody(9), mode="replay")).output == run.output
        model = Moody(9)
        assert fine(ran(there, votes, model=model, mode="cache")).cost == run.cost
        assert model.asked == 0


def test_what_a_cache_gives_again_grows_no_younger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is asked for every minute is as old as it is."""
    path = tmp_path / "j.db"
    model = Moody()

    async def main() -> None:
        async with Session(model, journal=Journal(path, mode="cache", max_age=60)):
            await spam.run("x")

    for seconds in (0, 40, 80):
        now = 1_800_000_000.0 + seconds
        monkeypatch.setattr("fanfold.journal.journal.wall", lambda now=now: now)
        monkeypatch.setattr("fanfold.journal.book.wall", lambda now=now: now)
        asyncio.run(main())
    assert model.asked == 2


def test_a_secret_that_became_known_is_no_part_of_what_a_cache_gives(tmp_path: Path) -> None:
    """What another sitting kept is looked through again."""
    path = tmp_path / "j.db"
    words = FakeModel(lambda _: "the word is aventurine")
    say = prompt("{input}", name="say")
    ran(path, say, model=words, mode="cache")

    async def main() -> None:
        journal = Journal(path, mode="cache")
        journal.hide(["aventurine"])
        async with Session(words, journal=journal):
            await say.run("mail")

    asyncio.run(main())
    bodies = [entry.body for entry in entries(path) if entry.kind == "call"]
    assert ["aventurine" in body for body in bodies] == [True, False]
