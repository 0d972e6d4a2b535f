"""Hedges: what they gain, what they cost, when they are not made, and that one reply comes of two sends."""

import asyncio
import random

import pytest

from fanfold import Budget, Hedge, Session, prompt, sample
from fanfold.calls.amounts import Limit
from fanfold.calls.hedging import ENOUGH, SAVED, Hedging, Waits, size_of
from fanfold.core.clock import now, sleep
from fanfold.core.records import Message, Reply, Request, Usage
from fanfold.errors import AccessError, ConnectError, FanfoldError, FatalError, StatusError, UsageError
from fanfold.testing import no_leaks, run_virtual
from tests.calls.scripted import ASK, Scripted, failed, lost, ran, status

GONE = 0.05
"""Seconds within which the slower of two has to be cancelled."""


class Drawn:
    """A server whose first tokens and lengths are drawn: `first` and `rest` give seconds."""

    made_up = structured = True
    label = "fake:"
    given_rate = None

    def __init__(self, first, rest):
        self.first, self.rest, self.sends = first, rest, 0

    async def send(self, request, watch):
        self.sends += 1
        watch.sent()
        watch.alive()
        await sleep(self.first())
        watch.text("a")
        await sleep(self.rest())
        watch.text("b")
        reply = Reply(("ab",), Usage(1, 1))
        watch.done(reply)
        return reply


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def firsts(seed, stragglers):
    """First tokens around 0.4 s; a share of `stragglers` of the sends, independent of the request, takes 4 to 12 s."""
    chance = random.Random(seed)
    return lambda: chance.uniform(4.0, 12.0) if chance.random() < stragglers else 0.4 * chance.lognormvariate(0, 0.25)


def fans(hedge, *, seed, stragglers, rest, fans=300, width=10):
    """So many fans of ten: first-token times and totals of their calls, totals of the fans, sends a call."""
    model = Drawn(firsts(seed, stragglers), rest)
    lone, first, totals, whole = sample(ASK, n=width), [], [], []

    async def main():
        async with Session(model, hedge=hedge) as session, no_leaks(session):
            for _ in range(fans):
                began = now()
                run = await lone.run("q", session=session)
                whole.append(now() - began)
                first.extend(call.first - call.sent for call in run.calls)
                totals.extend(call.seconds for call in run.calls)

    run_virtual(main(), seed=seed)
    return first, totals, whole, model.sends / (fans * width)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_stragglers_lose_their_weight(seed):
    """With 3 % of them, first-token p99 falls by 65 %, the p95 of a fan of ten by 70 %, at 5 % more sends at most."""
    rest = random.Random(f"rest {seed}").uniform
    plain = fans(None, seed=seed, stragglers=0.03, rest=lambda: rest(0.1, 0.3))
    rest = random.Random(f"rest {seed}").uniform
    hedged = fans(Hedge(), seed=seed, stragglers=0.03, rest=lambda: rest(0.1, 0.3))
    assert percentile(hedged[0], 0.99) <= 0.35 * percentile(plain[0], 0.99)
    assert percentile(hedged[2], 0.95) <= 0.30 * percentile(plain[2], 0.95)
    assert plain[3] == 1
    assert 1 < hedged[3] <= 1.05


@pytest.mark.parametrize("seed", [1, 2])
def test_where_only_the_length_is_slow_nothing_changes(seed):
    """Long replies are no stragglers: the median is within 1 %, at at most 5 % more sends."""
    rest = random.Random(f"rest {seed}").expovariate
    plain = fans(None, seed=seed, stragglers=0.0, rest=lambda: rest(0.2))
    rest = random.Random(f"rest {seed}").expovariate
    hedged = fans(Hedge(), seed=seed, stragglers=0.0, rest=lambda: rest(0.2))
    assert percentile(hedged[1], 0.5) == pytest.approx(percentile(plain[1], 0.5), rel=0.01)
    assert hedged[3] <= 1.05


# -- one reply of two sends ------------------------------------------------------------------------------------

OFTEN = Hedge(percentile=90, at_most=1.0)
USUAL = 0.1


def after_warming(*sends, stream=False, hedge=OFTEN, ask=ASK, before=lambda session: None, warm=ENOUGH, **options):
    """A call of which all is known: first tokens come after 0.1 s. Its sends are scripted; gives what came of it."""

    def script(number, _):
        return [USUAL, "warm"] if number < warm else sends[min(number - warm, len(sends) - 1)]

    model = Scripted(script)

    async def main():
        async with Session(model, hedge=hedge, **options) as session, no_leaks(session):
            for _ in range(warm):
                await ASK.run("q", session=session)
            before(session)
            pieces, run = [], None
            try:
                if stream:
                    async with ask.text("q", session=session) as text:
                        while (piece := await anext(text, None)) is not None:
                            pieces.append(piece)
                        run = text.run
                else:
                    run = await ask.run("q", session=session)
            except FanfoldError as error:
                return error.run, error, pieces, session.statistics()
            return run, None, pieces, session.statistics()

    run, error, pieces, held = run_virtual(main())
    return run.calls[0], run, error, pieces, held.retries[0], model.sends[warm:]


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_to_bring_text_is_heard_and_the_other_cancelled(stream):
    """The slow send ends within 50 ms of the other's text; one reply reaches the user; both are in the record."""
    call, run, error, pieces, told, sends = after_warming([5.0, "slow"], [0.1, "fast ", 0.5, "one"], stream=stream)
    slow, fast = sends
    assert (run.output, error) == ("fast one", None)
    assert pieces == (["fast ", "one"] if stream else [])
    assert fast.began == pytest.approx(slow.began + USUAL, abs=0.01)
    assert slow.cancelled
    assert slow.ended <= fast.began + 0.1 + GONE
    assert [(attempt.hedge, attempt.state) for attempt in call.attempts] == [(False, "cancelled"), (True, "ok")]
    assert (told.hedges.hedges, told.hedges.won, told.quota.spent) == (1, 1, 1)
    assert call.state == "ok"


@pytest.mark.parametrize("stream", [False, True])
def test_a_first_send_that_comes_after_all_wins(stream):
    """Where the first send brings text before its hedge, the hedge is the one that goes."""
    call, run, _, pieces, told, sends = after_warming([0.15, "first ", 0.5, "one"], [5.0, "hedge"], stream=stream)
    first, hedge = sends
    assert run.output == "first one"
    assert pieces == (["first ", "one"] if stream else [])
    assert hedge.cancelled
    assert hedge.ended <= first.began + 0.15 + GONE
    assert [attempt.state for attempt in call.attempts] == ["ok", "cancelled"]
    assert (told.hedges.hedges, told.hedges.won) == (1, 0)


def test_both_are_paid():
    """The one that was cancelled costs from nothing to its worst case, and the call costs both."""

    class Priced:
        def price(self, usage):
            return 0.01 * usage.total_tokens

    Scripted.given_rate = Priced()
    try:
        ask = prompt("{input}", max_tokens=10)
        call, *_ = after_warming([5.0, "slow"], [0.1, "fast"], ask=ask)
    finally:
        Scripted.given_rate = None
    cancelled, heard = (attempt.cost for attempt in call.attempts)
    assert heard.usd == pytest.approx(0.02)
    assert (cancelled.at_least, cancelled.at_most > 0.1) == (0.0, True)
    assert (call.cost.at_least, call.cost.at_most) == pytest.approx((0.02, 0.02 + cancelled.at_most))


def test_no_hedge_after_the_first_text():
    """Once text came, however slowly the rest comes, nothing is sent beside it."""
    call, run, *_ = after_warming([0.05, "a", 60.0, "b"], ["never"])
    assert (run.output, len(call.attempts)) == ("ab", 1)


def test_a_first_send_that_fails_waits_for_its_hedge():
    """A failure of one is no failure of the call while the other flies."""
    call, run, error, *_, sends = after_warming([1.0, lost()], [3.0, "hedge"])
    assert (run.output, error, len(sends)) == ("hedge", None, 2)
    assert [attempt.state for attempt in call.attempts] == ["error", "ok"]


def test_a_hedge_that_fails_leaves_the_first_send_alone():
    """The first send goes on as if there had been none."""
    call, run, error, *_ = after_warming([1.0, "first"], [0.2, lost()])
    assert (run.output, error) == ("first", None)
    assert [attempt.state for attempt in call.attempts] == ["ok", "error"]


def test_two_that_fail_are_two_of_the_sends():
    """Hedges count among the sends of a call, and a retry follows only where there is one left."""
    call, _, error, *_ = after_warming([1.0, lost()], [1.0, lost()], attempts=3)
    assert isinstance(error, ConnectError)
    assert len(call.attempts) == 3
    assert [attempt.hedge for attempt in call.attempts] == [False, True, False]
    alone, *_ = after_warming([5.0, "slow"], ["never"], attempts=1)
    assert len(alone.attempts) == 1


@pytest.mark.parametrize("refusal", [status(400), status(503, retry_after=7.0)])
def test_a_hedge_that_still_waits_is_not_sent_after_a_failure(refusal):
    """Its call failed before it had its turn: what follows is what follows any failure, and no sooner than told."""
    call, run, error, _, told, sends = after_warming([1.0, refusal], [0.1, "again"], max_in_flight=1)
    assert [(attempt.hedge, attempt.state) for attempt in call.attempts][:2] == [(False, "error"), (True, "unsent")]
    assert (told.hedges.hedges, told.quota.spent) == (0, len(sends) - 1)
    if refusal.status == 400:
        assert (error, len(sends)) == (refusal, 1)
    else:
        assert (run.output, call.attempts[2].hedge) == ("again", False)
        assert sends[1].began >= sends[0].ended + 7


def test_of_two_failures_the_longer_wait_is_kept():
    """What the first was told holds, though its hedge failed later and was told nothing."""
    _, run, *_, sends = after_warming([0.5, status(503, retry_after=7.0)], [1.0, lost()], [0.05, "third"])
    assert run.output == "third"
    assert sends[2].began >= sends[1].ended + 7


def test_of_two_failures_one_that_no_send_mends_is_the_end():
    """A request that is refused for good is not sent again because its hedge lost its connection."""
    _, _, error, *_, sends = after_warming([0.5, status(400)], [1.0, lost()], ["never"])
    assert (error.status, len(sends)) == (400, 2)


def test_a_loser_that_swallows_its_cancellation_is_not_heard():
    """Whatever it ends with: the reply is that of the send whose text came first, and is waited for."""

    class Deaf(Scripted):
        async def send(self, request, watch):
            try:
                return await super().send(request, watch)
            except asyncio.CancelledError:
                return Reply(("of the loser",), Usage(1, 1))

    model = Deaf(
        lambda number, _: [USUAL, "warm"] if number < ENOUGH else [[5.0, "slow"], [0.1, "a", 0.5, "b"]][number - ENOUGH]
    )

    async def main():
        async with Session(model, hedge=OFTEN) as session, no_leaks(session):
            return [(await ASK.run("q", session=session)).output for _ in range(ENOUGH + 1)][-1]

    assert run_virtual(main()) == "ab"


def test_a_fatal_error_of_either_ends_both():
    """A wrong key is not waited for."""
    _, _, error, *_, sends = after_warming([60.0, "slow"], [0.1, AccessError("wrong key")])
    assert isinstance(error, FatalError)
    assert sends[0].cancelled
    assert sends[0].ended - sends[0].began < 1


def test_a_reply_without_text_is_a_reply():
    """A send that is whole without a word is heard like any other."""
    call, run, *_ = after_warming([5.0, "slow"], [0.1])
    assert (run.output, [attempt.state for attempt in call.attempts]) == ("", ["cancelled", "ok"])


def test_a_cut_that_nobody_read_is_sent_again_after_a_hedge():
    """The one that was heard may still break: then the call goes on as after any failure."""
    call, run, error, *_ = after_warming([5.0, "slow"], [0.1, "half", lost()], [0.05, "whole"])
    assert (run.output, error) == ("whole", None)
    assert [attempt.state for attempt in call.attempts] == ["cancelled", "error", "ok"]


@pytest.mark.parametrize("seconds", [0.05, 0.1005, 0.2, 0.4])
def test_a_cancelled_call_takes_both_with_it(seconds):
    """Whoever cancels the call, at whatever moment, leaves no send behind."""
    model = Scripted(lambda number, _: [USUAL, "warm"] if number < ENOUGH else [3.0, "slow"])

    async def main():
        async with Session(model, hedge=OFTEN) as session, no_leaks(session):
            for _ in range(ENOUGH):
                await ASK.run("q", session=session)
            task = asyncio.ensure_future(ASK.run("q", session=session))
            await sleep(seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return model.sends[ENOUGH:]

    sends = run_virtual(main())
    assert len(sends) == (1 if seconds <= USUAL else 2)
    assert all(sent.cancelled for sent in sends)


# -- when none is made -----------------------------------------------------------------------------------------


def quiet(session):
    """The lane of the session's only model."""
    (lane,) = session.road.lanes
    return lane


def low(session):
    quiet(session).quota.left = 249.0


def throttled(session):
    quiet(session).hedging.hear(status(429))


def overloaded(session):
    quiet(session).hedging.hear(status(529))


def down(session):
    quiet(session).traffic.condition.health.since = 0.0


def spent(session):
    quiet(session).hedging.saved = -0.5


@pytest.mark.parametrize("trouble", [low, throttled, overloaded, down, spent])
def test_no_hedge_in_trouble(trouble):
    """None while the quota is low, after a 429 or 529, in a lane that is down, or beyond its share of the calls."""
    call, run, _, _, told, sends = after_warming([5.0, "slow"], ["never"], before=trouble)
    assert (run.output, len(sends), told.hedges.hedges) == ("slow", 1, 0)
    assert len(call.attempts) == 1


def test_a_hedge_has_no_slot_of_its_own():
    """It waits for its turn like any send; one that had none before its call had its text costs nothing."""
    call, run, _, _, told, sends = after_warming([5.0, "slow"], ["never"], max_in_flight=1)
    assert (run.output, len(sends)) == ("slow", 1)
    assert [attempt.state for attempt in call.attempts] == ["ok", "unsent"]
    assert call.attempts[1].cost.usd == 0
    assert (told.hedges.hedges, told.quota.spent, told.quota.left) == (0, 0, 500)


def test_trouble_passes():
    """Half a minute after the last 429 hedges are made again."""

    def heard(session):
        throttled(session)
        quiet(session).hedging.cool_at -= 31

    assert len(after_warming([5.0, "slow"], [0.1, "fast"], before=heard)[5]) == 2


def test_an_overload_of_its_own_sends_is_heard():
    """A 529 on one call ends the hedges of the next."""
    model = Scripted(
        lambda number, _: [USUAL, "warm"] if number < ENOUGH else [status(529)] if number == ENOUGH else [5.0, "slow"]
    )

    async def main():
        async with Session(model, hedge=OFTEN) as session:
            for _ in range(ENOUGH + 2):
                run = await ASK.run("q", session=session)
            return run, len(model.sends)

    run, sends = run_virtual(main())
    assert (run.output, sends) == ("slow", ENOUGH + 3)


def test_none_before_enough_is_known():
    """Fewer than 20 first tokens are no ground to call one late."""
    assert len(after_warming([5.0, "slow"], ["never"], warm=ENOUGH - 1)[5]) == 1
    assert len(after_warming([5.0, "slow"], [0.1, "fast"], warm=ENOUGH)[5]) == 2


def test_off_by_default_and_by_word():
    """Without `hedge=` no call is hedged nor streamed; a prompt may have its own, or none."""
    sends = after_warming([5.0, "slow"], ["never"], hedge=None)[5]
    assert [sent.request.stream for sent in sends] == [False]
    assert len(after_warming([5.0, "slow"], ["never"], ask=prompt("{input}", hedge=False))[5]) == 1
    own = prompt("{input}", hedge=OFTEN)
    model = Scripted(
        lambda number, _: [USUAL, "w"] if number < ENOUGH else [5.0, "slow"] if number == ENOUGH else ["x"]
    )

    async def main():
        async with Session(model) as session:
            return [(await own.run("q", session=session)).output for _ in range(ENOUGH + 1)][-1]

    assert run_virtual(main()) == "x"


def test_a_model_that_does_not_stream_is_not_hedged():
    """Without first tokens nothing is learned, and nothing is called late."""

    class Whole(Scripted):
        async def _do(self, things, request, watch):
            return await super()._do(things, Request(request.messages), watch)

    model = Whole(lambda number, _: [USUAL, "x"] if number < 50 else [60.0, "slow"])

    async def main():
        async with Session(model, hedge=OFTEN) as session:
            for _ in range(51):
                await ASK.run("q", session=session)
            return session.statistics().retries[0].hedges

    told = run_virtual(main())
    assert (told.known, told.hedges, len(model.sends)) == (0, 0, 51)


def test_a_hedge_without_money_is_none():
    """A hedge that is refused before it is sent is no failure: the first send goes on."""

    class Empty(FanfoldError):
        """No room in the budget."""

    def poor(session):
        lane = quiet(session)
        enter = lane.enter

        async def only_first(sending):
            if sending.hedge:
                raise Empty("no room")
            await enter(sending)

        lane.enter = only_first

    _, run, error, _, told, sends = after_warming([2.0, "slow"], ["never"], before=poor)
    assert (run.output, error, len(sends)) == ("slow", None, 1)
    assert (told.hedges.hedges, told.quota.spent) == (0, 0)
    assert [attempt.state for attempt in run.calls[0].attempts] == ["ok", "unsent"]


def unreached():
    """A connection that was never there, so it costs nothing."""
    error = lost()
    error.reached = False
    return error


def unpaid(session):
    session.purse.limit = Limit.of(Budget(calls=ENOUGH + 1))


def refused(session):
    session.gate.max_queued = 0


@pytest.mark.parametrize(
    ("before", "options"), [(unpaid, {"budget": Budget(calls=100)}), (refused, {"max_in_flight": 1})]
)
def test_a_hedge_that_was_never_sent_is_none_of_the_sends(before, options):
    """A call has all of its `attempts`, and its error counts what was sent."""
    sends = [1.0, lost()], [1.0, lost()]
    if before is unpaid:
        sends = ([1.0, unreached()], [1.0, lost()])
    _, _, error, _, told, sent = after_warming(*sends, attempts=2, before=before, **options)
    assert (error.attempts, len(sent), told.hedges.hedges) == (2, 2, 0)
    assert error.__notes__[0].startswith("not sent again: sent 2 times")


# -- what is learned -------------------------------------------------------------------------------------------


def test_the_share_of_calls_is_never_passed():
    """In any thousand calls at most 50 have a second send, even if every first token is late."""
    model = Scripted(lambda number, _: [USUAL if number < ENOUGH else 2.0 + number, "x"])

    async def main():
        async with Session(model, hedge=Hedge(percentile=50), timeout=None) as session:
            for _ in range(1000):
                await ASK.run("q", session=session)
            return session.statistics().retries[0].hedges

    told = run_virtual(main())
    assert 20 < told.hedges <= 50
    assert len(model.sends) == 1000 + told.hedges


def test_a_call_that_is_sent_again_is_one_call():
    """Its further sends add nothing to what may be hedged."""
    _, _, _, _, told, sends = after_warming([lost()], hedge=Hedge(at_most=0.001))
    assert (told.hedges.calls, len(sends)) == (ENOUGH + 1, 4)


def test_no_more_is_saved_up_than_a_burst():
    """A long calm is no licence for a flood."""
    hedging, request = Hedging(), Request((Message("user", "q"),))
    for _ in range(10_000):
        hedging.begin(Hedge(), request)
    assert hedging.saved == SAVED


@pytest.mark.parametrize(("share", "late"), [(50, 51.0), (90, 91.0), (95, 96.0), (99, 100.0)])
def test_late_is_what_the_percentile_says(share, late):
    """Of the first tokens 1 to 100, `percentile` came before it."""
    waits = Waits()
    for seconds in random.Random(0).sample(range(1, 101), 100):
        waits.learn(float(seconds))
    assert waits.late(share) == late


def test_late_follows_what_changes():
    """A server that became slower is not hedged for ever by what it once was."""
    waits = Waits()
    for seconds in [0.1] * 500 + [3.0] * 300:
        waits.learn(seconds)
        waits.late(95)
    assert waits.late(95) == 3.0


def test_sizes_are_told_apart():
    """A prompt four times as long is of another class, and parts count like text."""
    sizes = [size_of(Request((Message("user", "x" * length),))) for length in (10, 100, 1000, 10_000, 100_000)]
    assert sizes == sorted(set(sizes))
    assert size_of(Request((Message("user", "x" * 1000),))) == size_of(Request((Message("user", "x" * 900),)))


def test_a_send_given_up_for_its_hedge_counts_as_slow():
    """What was cancelled would have taken longer still; to forget it would make every next one look late."""

    def known(session):
        assert quiet(session).hedging.statistics().known == ENOUGH

    *_, told, _ = after_warming([60.0, "slow"], [0.1, "fast"], before=known)
    assert told.hedges.known == ENOUGH + 1


@pytest.mark.parametrize("options", [{"percentile": 0}, {"percentile": 100}, {"at_most": 0}, {"at_most": 1.5}])
def test_a_hedge_that_cannot_be_is_refused(options):
    """A percentile lies between 0 and 100, and a share between 0 and 1."""
    with pytest.raises(UsageError, match=f"Hedge\\({next(iter(options))}="):
        Hedge(**options)


def test_a_hedge_is_a_value():
    """It is frozen, equal to its like, and says what it is."""
    assert Hedge() == Hedge(95, 0.05)
    assert "percentile=95" in repr(Hedge())


def test_failures_of_a_hedged_call_are_those_of_any_call():
    """Retry, deadline and class of the error are the same with hedging on."""
    error = failed(Scripted(lambda *_: [status(503)]), StatusError, hedge=OFTEN)
    assert error.attempts == 4
    assert ran(Scripted(lambda number, _: [lost()] if number < 2 else ["yes"]), hedge=OFTEN).output == "yes"
