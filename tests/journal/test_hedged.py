"""Hedged calls in a journal: one reply is kept, both sends are in the ledger, and what comes again is the winner's."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fanfold import Hedge, Run, Session, map_over, prompt
from fanfold.core.records import Request
from fanfold.journal import Journal
from fanfold.journal.book import found_in
from fanfold.models.prices import FlatRate
from fanfold.testing import no_leaks
from tests.calls.scripted import Doing, Scripted
from tests.journal.books import entries

LONG = 30.0
"""Seconds that no test would wait."""

ASK = map_over(prompt("{input}", max_tokens=10))
KNOWN = [f"number {at:02}" for at in range(32)]
"""So many calls that the lane knows when a first token is late."""

HEDGED = "number XX"

WINS: dict[str, list[list[Doing]]] = {
    "the hedge": [[LONG, "of the first"], ["of the hedge"]],
    "the first": [[0.1, "of the first"], [LONG, "of the hedge"]],
}


def model(*sends: Iterable[Doing]) -> Scripted:
    """A server that answers all at once, but for one request, whose sends do as told."""
    left = iter(sends)

    def script(_: int, request: Request) -> Iterable[Doing]:
        return next(left) if request.messages[0].content == HEDGED else ["known"]

    made = Scripted(script)
    made.given_rate = FlatRate(1_000_000.0, 1_000_000.0)
    return made


def asked(model: Scripted) -> int:
    """How often the request that is hedged was sent."""
    return sum(sent.request.messages[0].content == HEDGED for sent in model.sends)


async def runs(path: Path, model: Scripted, mode: Any = "record") -> list[Run[Any]]:
    """A map that teaches the lane how long first tokens take, and one over the request that is hedged."""
    journal, hedge = Journal(path, mode=mode), Hedge(percentile=50, at_most=1)
    async with Session(model, journal=journal, hedge=hedge) as session, no_leaks(session):
        return [await ASK.run(items) for items in (KNOWN, [HEDGED])]


def ran(path: Path, model: Scripted, mode: Any = "record") -> Run[Any]:
    """The run of the request that is hedged."""
    return asyncio.run(runs(path, model, mode))[1]


def of_the_hedged(path: Path, run: Run[Any]) -> dict[str, list[Any]]:
    """The journal's entries for the request that was hedged, by kind."""
    (call,) = run.calls
    last = max(entry.run for entry in entries(path))
    found: dict[str, list[Any]] = {"call": [], "bill": []}
    for entry in entries(path):
        if entry.run == last and entry.place == call.draw.place and entry.kind in found:
            found[entry.kind].append(entry)
    return found


@pytest.mark.parametrize("winner", WINS)
def test_of_a_hedged_call_one_reply_is_kept_and_both_sends(tmp_path: Path, winner: str) -> None:
    """The winner's reply is the only one in the journal; the bill beside it has the loser with what it may cost."""
    path, server = tmp_path / "j.db", model(*WINS[winner])
    run = ran(path, server)
    text = f"of {winner}"
    assert asked(server) == 2
    assert run.output == [text]
    found = of_the_hedged(path, run)
    (kept,), (bill,) = found["call"], found["bill"]
    assert found_in(kept).reply.text == text
    call = found_in(kept, bill).call
    won, lost = sorted(call.attempts, key=lambda attempt: attempt.state != "ok")
    assert (won.state, lost.state) == ("ok", "cancelled")
    assert won.hedge == (winner == "the hedge")
    assert lost.hedge != won.hedge
    assert (won.cost.at_least, won.cost.at_most) == (2.0, 2.0)
    assert lost.cost.at_least == 0
    assert lost.cost.at_most >= 10  # its ten tokens of output, and its input
    assert (call.cost.at_least, call.cost.at_most) == (2.0, 2.0 + lost.cost.at_most)
    assert run.cost == call.cost


@pytest.mark.parametrize("winner", WINS)
@pytest.mark.parametrize("mode", ["replay", "resume"])
def test_a_hedged_call_comes_again_as_it_was(tmp_path: Path, winner: str, mode: str) -> None:
    """The winner's reply, without a send, with both sends in its record; what it costs in all is the same."""
    path, server = tmp_path / "j.db", model(*WINS[winner])
    first, again = ran(path, server), ran(path, server, mode)
    assert asked(server) == 2
    assert len(server.sends) == len(KNOWN) + 2
    assert again.output == first.output == [f"of {winner}"]
    assert again.cost == first.cost
    assert again.paid.at_most == 0
    (then,), (now,) = first.calls, again.calls
    assert now.attempts == then.attempts
    assert now.replayed


def test_what_was_hedged_replays_without_hedges(tmp_path: Path) -> None:
    """Hedges are no part of what is looked up."""
    path, server = tmp_path / "j.db", model(*WINS["the hedge"])
    first = ran(path, server)

    async def plain() -> Run[Any]:
        async with Session(server, journal=Journal(path, mode="replay")):
            return await ASK.run([HEDGED])

    assert asyncio.run(plain()).output == first.output


def test_a_crash_between_the_reply_and_its_bill_loses_no_reply(tmp_path: Path) -> None:
    """Its call comes again as it stood when the reply was whole: then the loser was still out, and has no cost yet."""
    path, server = tmp_path / "j.db", model(*WINS["the hedge"])
    run = ran(path, server)
    found = of_the_hedged(path, run)
    call = found_in(found["call"][0]).call
    assert [attempt.state for attempt in call.attempts] == ["sent", "ok"]
