"""Resuming: what was answered is not asked again, whatever it was that ended the run."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fanfold import Session, map_over, prompt, rules, sections, step, vote
from fanfold.core.clock import sleep
from fanfold.core.records import Request
from fanfold.errors import BranchError, FanfoldError, JournalError, StatusError, UsageError
from fanfold.journal import Journal
from fanfold.journal.looking import runs_in
from fanfold.journal.points import armed
from fanfold.models.recordings import recordings
from fanfold.testing import FakeModel, no_leaks
from tests.journal.books import entries
from tests.journal.patterns import Moody, document, outcome, outcome_of, ran, runs, spam
from tests.patterns.every import EVERY


async def cut_short(path: Path, pattern: Any, model: Any, *, ticks: int) -> bool:
    """Run a pattern and cancel it after so many turns of the loop; gives whether it was still running."""
    async with Session(model, journal=path, attempts=1) as session, no_leaks(session):
        task = asyncio.create_task(outcome(pattern, "mail"))
        for _ in range(ticks):
            await asyncio.sleep(0)
            if task.done():
                break
        running = task.cancel()
        await asyncio.wait([task])
        return running


@pytest.mark.parametrize("name", EVERY)
def test_a_finished_run_is_given_again(tmp_path: Path, name: str) -> None:
    """A run that has ended well is given again from the journal: the same outcome, and nothing is asked."""
    path = tmp_path / "j.db"
    first = ran(path, EVERY[name], model=Moody(1))
    if isinstance(first, FanfoldError):
        return  # it did not end well: the next test
    model = Moody(2)
    again = ran(path, EVERY[name], model=model)
    assert outcome_of(again) == outcome_of(first)
    assert model.asked == 0
    assert again.paid.usd == 0
    assert document(ran(path, EVERY[name])) == document(again)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("seed", range(3))
def test_what_was_answered_is_never_asked_again(tmp_path: Path, name: str, seed: int) -> None:
    """Cut short at three random moments and resumed, a run asks for no answer that it had; then it ends as runs end."""
    path = tmp_path / "j.db"
    chance = random.Random(f"{name} {seed}")
    answered: Counter[str] = Counter()
    for sitting in range(3):
        model = Moody(seed, fails=0.0, slow=0.0005)
        asyncio.run(cut_short(path, EVERY[name], model, ticks=chance.randrange(1, 80)))
        answered.update(model.answered)
        assert max(answered.values(), default=1) == 1, (sitting, answered)
    model = Moody(seed, fails=0.0)
    last = ran(path, EVERY[name], model=model)
    assert not isinstance(last, FanfoldError), last
    answered.update(model.answered)
    assert max(answered.values()) == 1


@pytest.mark.parametrize("name", ["vote", "plain", "map", "guard", "race"])
def test_every_reply_that_came_is_kept(tmp_path: Path, name: str) -> None:
    """Cancelled at any turn of the loop: each reply that the model finished is in the journal."""
    for ticks in range(1, 60, 2):
        path = tmp_path / f"{ticks}.db"
        model = Moody(fails=0.0, slow=0.0)
        running = asyncio.run(cut_short(path, EVERY[name], model, ticks=ticks))
        replies = [entry for entry in entries(path, "kind = 'call'") if '"reply":{' in entry.body]
        assert len(replies) == len(model.answered)
        if not running:
            break


def test_a_failure_is_tried_again(tmp_path: Path) -> None:
    """A run that failed asks only for what failed: what the others finished is not paid twice."""
    path = tmp_path / "j.db"
    both = sections({"good": prompt("good {input}"), "bad": prompt("bad {input}")})

    def answers(request: Request) -> str | Exception:
        bad = str(request.messages[-1].content).startswith("bad")
        return StatusError("no", status=422) if bad else "fine"

    first = ran(path, both, model=FakeModel(answers, latency=lambda request: 0.001 * ("bad" in str(request))))
    assert isinstance(first, BranchError)
    model = Moody()
    second = ran(path, both, model=model)
    assert second.output["good"] == "fine"
    assert model.asked == 1


def test_a_changed_rule_counts_the_same_ballots_anew(tmp_path: Path) -> None:
    """Where the step changed, what it folded does not count, and every answer that it still asks for does."""
    path = tmp_path / "j.db"
    label = prompt("{input}", returns=bool)
    model = FakeModel(["true", "true", "true", "false", "false"])
    assert ran(path, vote(label, n=5, stop=None), model=model).output is True
    other = Moody()
    changed = vote(label, n=5, rule=rules.any_of(False), stop=None)
    assert ran(path, changed, model=other).output is True
    assert other.asked == 0
    longer = vote(label, n=7, stop=None)
    assert ran(path, longer, model=other).detail.tally[True] >= 3
    assert other.asked == 2


def test_equal_runs_of_a_sitting_are_different_runs(tmp_path: Path) -> None:
    """The n-th run of a step on an input is the n-th one of the sitting before; one more is a new one."""
    path = tmp_path / "j.db"
    say = prompt("say {input}", name="say")

    def texts(count: int, model: Moody) -> list[str]:
        return [run.output for run in runs(path, [(say, "x")] * count, model)]

    def different(seed: int) -> Moody:
        model = Moody(seed)
        model._say = lambda _: f"answer {model.asked} of {seed}"
        model.answers = model._say
        return model

    first = texts(3, different(1))
    assert len(set(first)) == 3
    again = different(2)
    assert texts(4, again) == [*first, "answer 1 of 2"]
    assert again.asked == 1


def test_equal_runs_at_once_are_different_runs(tmp_path: Path) -> None:
    """Runs that begin at the same moment do not take each other's answers."""
    say = prompt("say {input}")

    async def main() -> list[str]:
        asked = 0

        def answer(_: Request) -> str:
            nonlocal asked
            asked += 1
            return str(asked)

        async with Session(FakeModel(answer), journal=tmp_path / "j.db"):
            done = await asyncio.gather(*(say.run("x") for _ in range(5)))
            return [run.output for run in done]

    assert sorted(asyncio.run(main())) == ["1", "2", "3", "4", "5"]


def test_a_key_names_one_run(tmp_path: Path) -> None:
    """With key= the same run is meant, also twice in one sitting, and whatever its input; not twice at once."""
    path = tmp_path / "j.db"
    model = Moody()

    async def main() -> None:
        async with Session(model, journal=path):
            first = await spam.run("mail", key="row 1")
            again = await spam.run("mail", key="row 1")
            assert (first.output, model.asked) == (again.output, 1)
            await spam.run("mail", key="row 2")
            assert model.asked == 2
            with pytest.raises(UsageError, match="is under way"):
                await asyncio.gather(spam.run("a", key="row 3"), spam.run("a", key="row 3"))

            @step
            async def around(given: str) -> object:
                return await spam.run(given, key="row 4")

            with pytest.raises(UsageError, match="inside another run"):
                await around("x")

    asyncio.run(main())


@pytest.mark.parametrize("slow", [0.0, 1.0], ids=["in time", "late again"])
@pytest.mark.parametrize("change", ["model", "input"])
def test_what_was_late_is_waited_for_where_another_is_asked(tmp_path: Path, change: str, slow: float) -> None:
    """That a branch had no answer in time says nothing of another model's, nor of another input's: it has its time."""
    path = tmp_path / "j.db"
    parts = map_over(
        prompt("{input}", name="ask"), items=lambda text: [f"{text} {n}" for n in "012"], on_error="skip", timeout=0.1
    )

    async def sitting(given: str, latency: float, label: str) -> Any:
        model = FakeModel(
            lambda request: str(request.messages[-1].content),
            latency=lambda request: latency if "1" in str(request.messages[-1].content) else 0.0,
            label=label,
        )
        async with Session(model, journal=path):
            return await parts.run(given, key="row")

    first = asyncio.run(sitting("a", 1.0, "fake:"))
    assert (first.output, list(first.detail.missing)) == (["a 0", "a 2"], ["1"])
    assert outcome_of(asyncio.run(sitting("a", 0.0, "fake:"))) == outcome_of(first)
    other = asyncio.run(sitting("b", slow, "fake:") if change == "input" else sitting("a", slow, "fake:other"))
    given = "b" if change == "input" else "a"
    assert other.output == [f"{given} {n}" for n in ("02" if slow else "012")]


@pytest.mark.parametrize("key", [None, "row"])
def test_a_run_that_is_cancelled_while_it_begins_has_an_end(tmp_path: Path, key: str | None) -> None:
    """The writer has begun it all the same: nobody is to take it for one that goes on; and its key is free at once."""
    path = tmp_path / "j.db"

    async def main() -> None:
        async with Session(Moody(), journal=path):
            await spam.run("mail", key=key)
            beginning = asyncio.create_task(spam.run("mail", key=key))
            await asyncio.sleep(0)
            beginning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await beginning
            await spam.run("mail", key=key)

    asyncio.run(main())
    assert [info.ended for info in runs_in(path).runs] == (["ok"] if key else ["ok", "cancelled", "ok"])


def test_an_input_that_nobody_could_tell_again_is_refused(tmp_path: Path) -> None:
    """An input that has no text of its own needs a key; recording alone does not need to find it again."""
    path = tmp_path / "j.db"
    count = step(name="count")(lambda given: 1)
    refused = ran(path, count, object())
    assert isinstance(refused, UsageError)
    assert "give the run a key=" in str(refused)
    assert ran(path, count, object(), mode="record").output == 1

    async def keyed() -> int:
        async with Session(Moody(), journal=path):
            return (await count.run(object(), key="this")).output

    assert asyncio.run(keyed()) == 1


@pytest.mark.parametrize("key", [17, b"row", "row \ud800", ""])
def test_a_key_is_text(tmp_path: Path, key: Any) -> None:
    """A number for a key, as that of a database's row, is told as a mistake of the call."""

    async def main() -> None:
        async with Session(Moody(), journal=tmp_path / "j.db"):
            with pytest.raises(UsageError, match="key="):
                await spam.run("mail", key=key)
            assert (await spam.run("mail", key="17")).output

    asyncio.run(main())


def test_a_step_can_keep_its_result(tmp_path: Path) -> None:
    """A function with journal=True is not run again where its result is known; for another input it is."""
    path = tmp_path / "j.db"
    ran_for: list[Any] = []

    @step(journal=True)
    async def slow(given: str) -> dict[str, Any]:
        ran_for.append(given)
        return {"said": await spam(given), "n": [1, 2.5, None, True]}

    twice = map_over(slow, items=lambda given: [given, "other"])
    first = ran(path, twice)
    model = Moody(5)
    assert ran(path, twice, model=model).output == first.output
    assert (sorted(ran_for), model.asked) == (["mail", "other"], 0)

    @step(journal=True)
    def opaque(given: str) -> object:
        return {given}

    refused = ran(tmp_path / "k.db", opaque)
    assert isinstance(refused, UsageError)
    assert "leave out journal=True" in str(refused)
    assert opaque.run_sync("x").output == {"x"}  # without a journal it is a step like any other


def test_a_kept_result_is_found_by_what_it_was_made_of(tmp_path: Path) -> None:
    """An input that has no text cannot be told from another in the next process, so nothing is kept for it."""

    class Plain:
        pass

    @step(journal=True)
    async def kept(given: object) -> str:
        return "x"

    @step
    async def outer(_: str) -> str:
        return await kept(Plain())

    assert "its input holds a Plain, which has no text of its own" in str(ran(tmp_path / "k.db", outer))


def test_a_slot_is_held_until_the_reply_is_kept(tmp_path: Path) -> None:
    """No more replies can be lost in a crash than there are slots: a slot is free when its reply is on the disk."""
    seen: list[int] = []

    async def main() -> None:
        async with Session(Moody(slow=0.0), journal=tmp_path / "j.db", max_in_flight=2) as session:
            with armed("before_commit", lambda: seen.append(session.statistics().slots.in_use)):
                await EVERY["map"].run("mail")
        assert session.statistics().slots.in_use == 0

    asyncio.run(main())
    assert {1, 2} & set(seen)
    assert max(seen) <= 2


@pytest.mark.parametrize("name", ["map", "sections that skip", "vote of a panel", "race", "retry", "nested"])
def test_a_journal_that_fails_ends_the_run(tmp_path: Path, name: str) -> None:
    """Nothing goes on unjournaled: no fold skips it, no retry tries it, and at most what was in flight is asked."""

    def fail() -> None:
        raise OSError(28, "No space left on device")

    model = Moody(fails=0.0)

    async def main() -> None:
        session = Session(model, journal=tmp_path / "j.db", max_in_flight=2, attempts=3)
        async with session, no_leaks(session):
            await spam.run("before")
            with armed("before_commit", fail), pytest.raises(JournalError, match="No space left"):
                await EVERY[name].run("mail")
            with pytest.raises(JournalError, match="No space left"):
                await spam.run("after")

    asyncio.run(main())
    assert model.asked <= 3


def test_a_call_that_was_sent_twice_is_kept_with_both(tmp_path: Path) -> None:
    """The record of a call that was retried holds every send, and a replay tells of them."""
    path = tmp_path / "j.db"
    tries: list[int] = []

    def second(_: Request) -> str | Exception:
        tries.append(1)
        return StatusError("busy", status=503, retry_after=0.0) if len(tries) == 1 else "ok"

    async def main(model: Any, mode: Any) -> Any:
        async with Session(model, journal=Journal(path, mode=mode), attempts=2):
            return await prompt("{input}").run("x")

    asyncio.run(main(FakeModel(second), "record"))
    (call,) = asyncio.run(main(Moody(), "replay")).calls
    assert [attempt.state for attempt in call.attempts] == ["error", "ok"]
    assert call.attempts[0].status == 503
    assert (call.state, call.replayed, call.sent) == ("ok", True, None)


def test_text_is_streamed_again(tmp_path: Path) -> None:
    """A replayed call's text comes, in one piece."""
    path = tmp_path / "j.db"
    say = prompt("say {input}")

    async def text(mode: Any) -> list[str]:
        async with Session(Moody(), journal=Journal(path, mode=mode)), say.text("x") as pieces:
            return [piece async for piece in pieces]

    first = asyncio.run(text("record"))
    assert asyncio.run(text("replay")) == ["".join(first)]


def test_off_is_as_if_there_were_none(tmp_path: Path) -> None:
    """mode="off" makes no file."""
    assert ran(tmp_path / "j.db", spam, mode="off").output in {"spam", "ham"}
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_says_what_it_cost_in_all_and_what_now(tmp_path: Path) -> None:
    """`cost` is the run's, over all sittings; `paid` what this sitting paid; the summary says both."""
    path = tmp_path / "j.db"
    question = recordings()[0].question

    async def main() -> Any:
        async with Session("recorded:gpt-35-turbo", journal=path):
            return await prompt("{input}").run(question)

    first, again = asyncio.run(main()), asyncio.run(main())
    assert first.cost.usd == first.paid.usd > 0
    assert (again.cost, again.paid.usd) == (first.cost, 0.0)
    assert "1 from the journal" in again.summary()
    assert "journal" not in first.summary()


def test_time_in_a_run_without_a_journal_is_untouched() -> None:
    """Without a journal nothing of it is loaded, nor waited for."""

    async def main() -> int:
        async with Session(Moody()) as session:
            await spam.run("x")
            await sleep(0)
            return 0 if session.journal is None else 1

    assert asyncio.run(main()) == 0


def test_one_step_at_the_same_place_twice_at_once_finds_its_own_calls(tmp_path: Path) -> None:
    """What one of them left out, since it was cut off, counts for the other from the beginning: it hung on that."""
    path = tmp_path / "j.db"
    label = vote(prompt("{input}", returns=bool), n=3, name="label")

    @step
    async def twice(text: str) -> list[bool]:
        other = label.start(text)
        return [await label(text), await other]

    def answers(request: Request) -> str:
        return "false" if request.draw.nth and request.draw.place.endswith("1") else "true"

    def late(request: Request) -> float:
        return 0.05 if request.draw.place.endswith("2") and not request.draw.nth else 0.0

    first = ran(path, twice, model=FakeModel(answers, latency=late))
    assert sorted(call.state for call in first.calls) == ["cancelled", *["ok"] * 5]
    again = ran(path, twice, model=Moody())
    assert (again.output, sum(call.replayed for call in again.calls)) == (first.output, 5)
