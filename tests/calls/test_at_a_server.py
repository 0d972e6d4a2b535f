"""Retries against the model server's faults and its bill, in virtual time and in both dialects."""

import asyncio

import pytest

from fanfold import Cost, Hedge, OpenAI, Session, map_over, prompt
from fanfold.core.clock import now
from fanfold.errors import BillingError
from fanfold.testing import ModelServer, SimulatedModel, no_leaks, run_virtual

ASK = prompt("{input}", max_tokens=50)
PRICE = (1.0, 2.0)


def asked(*faults, dialect="openai", **options):
    """The same questions under faults: what came of them, and the server with its bill."""
    model = SimulatedModel("fake", dialect=dialect, faults=list(faults), price=PRICE, latency=0.5)

    async def main():
        async with Session(model, **options) as session, no_leaks(session):
            return await map_over(ASK).run([f"question {number}" for number in range(3)], session=session)

    return run_virtual(main()), model


ONCE = [
    *("503#1", "429=2#1", "529#1", "500#1", "408#1", "409#1", "reset#1", "reset=late#1", "malformed#1", "empty#1"),
    *("error=0#1", "cut=100b#1"),
]
STREAMED = ["cut=3#1", "end=3#1", "reset=3#1", "malformed=3#1", "error=3#1", "stall=3#1", "stall#1"]


@pytest.mark.parametrize("at_once", [1, 8, 20])
@pytest.mark.parametrize("fault", ["503#1", "reset#1"])
@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_fails_each_call_once_is_not_given_up(fault, at_once, seed):
    """Five failures in a row take its lane down; then those that failed try it, and every call needs two sends.

    It takes a few seconds more than the calls do: those are half a second each.
    """
    model = SimulatedModel("fake", faults=[fault], latency=0.5)

    async def main():
        async with Session(model, max_in_flight=at_once) as session, no_leaks(session):
            run = await map_over(ASK).run([f"question {number}" for number in range(20)], session=session)
            return run, now()

    run, took = run_virtual(main(), seed=seed)
    assert [len(call.attempts) for call in run.calls] == [2] * 20
    assert took <= 20 * 0.5 / at_once + 6


@pytest.mark.timing
@pytest.mark.usefixtures("either_transport")
def test_a_real_server_that_fails_each_call_once_is_not_given_up():
    """The same over sockets: 20 calls, eight at once, all answered within seconds."""

    async def main():
        async with (
            ModelServer("fake", faults=["503#1"]) as server,
            Session(OpenAI("m", base_url=server.url), max_in_flight=8) as session,
            no_leaks(session),
        ):
            began = now()
            run = await map_over(ASK).run([f"question {number}" for number in range(20)], session=session)
            return run, now() - began

    run, took = asyncio.run(main())
    assert [call.state for call in run.calls] == ["ok"] * 20
    assert took < 8


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", ONCE)
def test_what_fails_once_succeeds_the_second_time(fault, dialect):
    """Every fault that passes costs one more send a call, and the answers are those of a server without faults."""
    plain, _ = asked(dialect=dialect)
    run, model = asked(fault, dialect=dialect)
    assert run.output == plain.output
    assert [len(call.attempts) for call in run.calls] == [2, 2, 2]
    assert len(model.seen) == 6


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", STREAMED)
def test_a_stream_that_breaks_once_is_whole_the_second_time(fault, dialect):
    """With replies streamed inside, every break and every stall is sent again, and no reply is short."""
    plain, _ = asked(dialect=dialect)
    run, model = asked(fault, dialect=dialect, idle_timeout=5.0)
    assert run.output == plain.output
    assert [len(call.attempts) for call in run.calls] == [2, 2, 2]
    assert len(model.seen) == 6


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", ["dribble", "split", "no-done"])
def test_a_stream_that_is_odd_but_whole_is_sent_once(fault, dialect):
    """Bytes one at a time, characters in halves and a missing last event lose nothing and repeat nothing."""
    plain, _ = asked(dialect=dialect)
    run, model = asked(fault, dialect=dialect, idle_timeout=5.0)
    assert run.output == plain.output
    assert len(model.seen) == 3


@pytest.mark.parametrize("fault", ["503#1", "reset=late#1", "malformed#1", "cut=3#1"])
def test_the_bill_lies_within_what_the_run_says_it_cost(fault):
    """All sends are in the cost, refused ones for nothing: it is never below the server's bill."""
    run, model = asked(fault, idle_timeout=5.0)
    assert run.cost.at_least <= model.bill.usd <= run.cost.at_most
    if fault == "503#1":
        assert model.bill.usd == pytest.approx(run.cost.usd)


@pytest.mark.parametrize(("fault", "dialect"), [("quota", "openai"), ("credit", "anthropic"), ("spend", "anthropic")])
def test_no_money_is_not_asked_twice(fault, dialect):
    """Each vendor's words for money that is gone end the run: no retry, and at most C - 1 other calls under way."""
    in_flight = 8
    model = SimulatedModel("fake", dialect=dialect, faults=[f"{fault}@20-"], price=PRICE, latency=0.5)

    async def main():
        async with Session(model, max_in_flight=in_flight) as session, no_leaks(session):
            with pytest.raises(BillingError) as caught:
                await map_over(ASK, on_error="skip").run([str(item) for item in range(200)], session=session)
            return caught.value.run

    run = run_virtual(main())
    assert 20 < len(model.seen) <= 20 + in_flight
    assert max(len(call.attempts) for call in run.calls) == 1


def test_stragglers_are_hedged_and_billed():
    """With 3 % stragglers at most one call in a hundred waits for one, and the cost covers the bill of both sends."""
    slow = {"first_token": "lognormal:0.4,0.2", "between_tokens": 0.01, "latency": "stream", "seed": 5}
    model = SimulatedModel("fake", faults=["stragglers:0.03x20"], price=PRICE, **slow)

    async def main():
        async with Session(model, hedge=Hedge()) as session, no_leaks(session):
            runs = [
                await map_over(ASK).run([f"question {fan} {number}" for number in range(10)], session=session)
                for fan in range(60)
            ]
            return runs, session.statistics().retries[0].hedges

    runs, told = run_virtual(main())
    waits = sorted(call.first - call.sent for run in runs for call in run.calls)
    assert waits[int(len(waits) * 0.99)] < 1.5
    assert 10 < told.hedges <= 30
    assert len(model.seen) == 600 + told.hedges
    cost = sum((run.cost for run in runs), Cost())
    assert cost.at_least <= model.bill.usd <= cost.at_most
