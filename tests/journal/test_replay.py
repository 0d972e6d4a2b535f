"""Replays: the same run again, without a network, whichever branch is quicker this time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fanfold import Anthropic, Budget, OpenAI, Session, best_of, map_over, prompt, sample, sections, step, vote
from fanfold.errors import FanfoldError, ReplayMiss, StepTimeout
from fanfold.journal import Journal
from fanfold.testing.server import ModelServer
from tests.journal.patterns import Moody, document, outcome_of, ran, spam, untimed
from tests.patterns.every import EVERY


class Closed(Moody):
    """A model that nobody may ask."""

    async def send(self, request: Any, watch: Any) -> Any:
        raise AssertionError("a replay asked")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("seed", range(3))
def test_a_replay_is_the_run_again(tmp_path: Path, name: str, seed: int) -> None:
    """A replay has the output, the detail or the error of its recording, asks nothing, and is the same each time."""
    path = tmp_path / "j.db"
    pattern = EVERY[name]
    recorded = ran(path, pattern, model=Moody(seed), mode="record")
    documents = set()
    for again in range(4):
        replayed = ran(path, pattern, model=Closed(seed + again), mode="replay", max_in_flight=(1, 8, 64)[again % 3])
        assert not isinstance(replayed, ReplayMiss), replayed
        assert outcome_of(replayed) == outcome_of(recorded)
        documents.add(document(replayed))
        run = replayed.run if isinstance(replayed, FanfoldError) else replayed
        assert all(call.replayed for call in run.calls)
        assert run.calls
    assert len(documents) == 1


def test_a_vote_that_stopped_early_replays_twenty_times(tmp_path: Path) -> None:
    """Twenty replays at 1, 8 and 64 in flight: identical documents, the same ballots and winner, nothing asked."""
    path = tmp_path / "j.db"
    pattern = EVERY["nested"]
    recorded = ran(path, pattern, model=Moody(7), mode="record")
    replays = [
        ran(path, pattern, model=Closed(again), mode="replay", max_in_flight=(1, 8, 64)[again % 3])
        for again in range(20)
    ]
    assert len({document(run) for run in replays}) == 1
    assert {(run.output, untimed(run.detail)) for run in replays} == {(recorded.output, untimed(recorded.detail))}


def test_a_replay_needs_neither_key_nor_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded over HTTP, a run replays without a key, without a server, and without anything that could connect."""
    path = tmp_path / "j.db"
    ask = prompt("{input}", returns=list[str])

    async def record() -> Any:
        async with ModelServer("fake") as server:
            model = OpenAI("m", base_url=server.url, api_key="sk-1", structured=True)
            async with Session(model, journal=Journal(path, mode="record")):
                return await ask.run("x")

    async def replay() -> Any:
        nowhere = OpenAI("m", base_url="http://127.0.0.1:9/v1", structured=True)
        async with Session(nowhere, journal=Journal(path, mode="replay")) as session:
            run = await ask.run("x")
            assert session._transport is None
            return run

    recorded = asyncio.run(record())
    assert asyncio.run(replay()).output == recorded.output

    def closed(*_: object) -> None:
        raise AssertionError("a replay opened a socket")

    monkeypatch.setattr("aiohttp.TCPConnector", closed)
    assert asyncio.run(replay()).output == recorded.output


@pytest.mark.parametrize("spec", ["openai:gpt-4o-mini", "anthropic:claude-sonnet-4-5", Anthropic("claude-sonnet-4-5")])
def test_models_without_a_key_replay(tmp_path: Path, spec: Any) -> None:
    """A model by its name is known in a replay though no key is there; what was not recorded is said."""

    async def main() -> None:
        async with Session(spec, journal=Journal(path, mode="replay")) as session:
            line = session.line(None)
            assert line.model.structured is True
            assert line.model.label == getattr(spec, "label", spec)
            with pytest.raises(ReplayMiss, match="does not send"):
                await line.model.send(None, None)
            with pytest.raises(ReplayMiss, match="holds no run of 'spam' on this input"):
                await spam.run("never recorded")

    path = tmp_path / "j.db"
    ran(path, spam, mode="record")
    asyncio.run(main())


@pytest.mark.parametrize("policy", ["skip", "fail"])
def test_a_miss_ends_the_run(tmp_path: Path, policy: Any) -> None:
    """A call that was not recorded raises ReplayMiss through every policy; nothing is sent."""
    path = tmp_path / "j.db"
    recorded = sections({"a": prompt("a {input}"), "b": prompt("b {input}")}, on_error=policy)
    changed = sections({"a": prompt("a {input}"), "b": prompt("different {input}")}, on_error=policy)
    ran(path, recorded, mode="record")
    missed = ran(path, changed, model=Closed(), mode="replay")
    assert isinstance(missed, ReplayMiss)
    assert "its step has changed since" in str(missed)


def test_a_function_that_gives_something_else_is_told(tmp_path: Path) -> None:
    """Where plain Python decides otherwise than it did, a fan that was decided is not; a replay says so."""
    path = tmp_path / "j.db"
    said = ["yes"]
    fickle = vote({name: lambda _, name=name: said[0] if said[0] == "yes" else name for name in "abcde"})
    assert ran(path, fickle, mode="record").output == "yes"
    said[0] = "no"
    missed = ran(path, fickle, mode="replay")
    assert isinstance(missed, ReplayMiss)
    assert "a function in it gives other values" in str(missed)


def test_a_function_that_gives_something_else_is_heard_out(tmp_path: Path) -> None:
    """Resumed, such a fan goes on with the branches that it had left out."""
    path = tmp_path / "j.db"
    said = ["yes"]
    fickle = vote({name: lambda _, name=name: said[0] if said[0] == "yes" else name for name in "abcde"})
    ran(path, fickle)
    said[0] = "no"
    heard = ran(path, fickle)
    assert {ballot.value for ballot in heard.detail.ballots} == set("abcde")


SHRINKING: dict[str, Any] = {"budget": Budget(calls=2), "if_unaffordable": "shrink"}


@pytest.mark.parametrize("name", ["map_over", "sample"])
def test_what_shrank_in_order_is_resumed_and_not_replayed(tmp_path: Path, name: str) -> None:
    """Branches that were never begun are a ReplayMiss; resumed, the budget covers more of them, beside what is kept."""
    path, ask = tmp_path / "j.db", prompt("say {input}")
    pattern = map_over(ask, **SHRINKING) if name == "map_over" else sample(ask, n=5, **SHRINKING)
    first = ran(path, pattern, "abcde" if name == "sample" else [*"abcde"], Moody(1))
    assert len(first.output) == 2
    missed = ran(path, pattern, "abcde" if name == "sample" else [*"abcde"], Closed(), mode="replay")
    assert isinstance(missed, ReplayMiss)
    assert f"no such call was recorded at '{name}/2'" in str(missed)
    more = ran(path, pattern, "abcde" if name == "sample" else [*"abcde"], model := Moody(2))
    assert (more.output[:2], len(more.output), model.asked) == (first.output, 4, 2)


@step
async def told(value: Any) -> str:
    """What was said, as a text."""
    return str(value)


ask = prompt("Is it? {input}", returns=bool, max_tokens=10)
few: dict[str, Any] = {"budget": Budget(calls=4), "if_unaffordable": "shrink"}
FEWER: dict[str, Any] = {
    "a vote": vote(ask, n=5, **few),
    "all of a vote": vote(ask, n=5, stop=None, **few),
    "best of": best_of(prompt("Say {input}", max_tokens=10), 5, judge=len, **few),
    "a second vote": vote(ask, n=5, stop=None) | told | vote(ask, n=5, **few),
}


@pytest.mark.parametrize("name", FEWER)
@pytest.mark.parametrize("mode", ["replay", "resume"])
@pytest.mark.parametrize("seed", range(4))
def test_what_shrank_by_count_comes_again_as_it_was(tmp_path: Path, mode: str, name: str, seed: int) -> None:
    """Of a run that has ended as many branches are launched as then; another fan at their place was not shrunk."""
    path = tmp_path / "j.db"
    first = ran(path, FEWER[name], model=Moody(seed), mode="record")
    assert not isinstance(first, FanfoldError), first
    assert outcome_of(ran(path, FEWER[name], model=Closed(), mode=mode)) == outcome_of(first)


@pytest.mark.parametrize("name", ["vote", "map", "sections", "guard", "best of, listwise"])
def test_a_run_that_ended_is_given_again_under_a_smaller_budget(tmp_path: Path, name: str) -> None:
    """Answers that are found again take nothing of a budget, so no fan of theirs is refused."""
    path = tmp_path / "j.db"
    first = ran(path, EVERY[name], model=Moody(5, fails=0.0))
    again = ran(path, EVERY[name], model=Closed(), budget=Budget(calls=1))
    assert outcome_of(again) == outcome_of(first)


@pytest.mark.parametrize("sittings", [(None, 4), (4, None)], ids=["less", "more"])
def test_the_last_sitting_says_how_many_there_were(tmp_path: Path, sittings: tuple[int | None, ...]) -> None:
    """A vote that was cut short under one budget and ended under another is replayed as it ended."""
    path = tmp_path / "j.db"
    pattern = vote(ask, n=5, stop=None, if_unaffordable="shrink") | told

    async def sitting(calls: int | None, latency: float) -> Any:
        budget = None if calls is None else Budget(calls=calls)
        async with Session(Moody(1, slow=latency), journal=path):
            return await pattern.run("mail", budget=budget, timeout=0.05 if latency else None)

    with pytest.raises(StepTimeout):
        asyncio.run(sitting(sittings[0], 10.0))
    last = asyncio.run(sitting(sittings[1], 0.0))
    assert outcome_of(ran(path, pattern, model=Closed(), mode="replay")) == outcome_of(last)


def test_a_replay_takes_the_newest_recording(tmp_path: Path) -> None:
    """Recorded twice, the later one is replayed."""
    path = tmp_path / "j.db"
    for seed in (1, 2):
        last = ran(path, prompt("say {input}", name="say"), model=Moody(seed), mode="record")
    assert ran(path, prompt("say {input}", name="say"), mode="replay").output == last.output


def test_replays_write_nothing(tmp_path: Path) -> None:
    """A replay leaves the file as it is, byte for byte, and makes no lock."""
    path = tmp_path / "j.db"
    ran(path, EVERY["plain"], mode="record")
    before = path.read_bytes()
    (tmp_path / "j.db.lock").unlink()
    ran(path, EVERY["plain"], mode="replay")
    assert path.read_bytes() == before
    assert not (tmp_path / "j.db.lock").exists()


@pytest.mark.parametrize("pattern", [prompt("{input}"), sections({"a": prompt("{input}"), "b": step(str.upper)})])
def test_a_replay_of_a_run_that_was_broken_off_says_so(tmp_path: Path, pattern: Any) -> None:
    """Its last call was cut off with it: nobody cuts that off again, and the replay waited for it for ever."""
    path = tmp_path / "j.db"

    async def broken_off() -> None:
        async with Session(Moody(slow=600.0), journal=Journal(path)):
            run = asyncio.create_task(pattern.run("mail"))
            await asyncio.sleep(0.05)
            run.cancel()
            await asyncio.wait({run})

    asyncio.run(broken_off())
    missed = ran(path, pattern, model=Closed(), mode="replay")
    assert isinstance(missed, ReplayMiss)
    assert "cut off" in str(missed)
    assert not isinstance(ran(path, pattern, model=Moody()), FanfoldError)
