"""The sends of one call: how many, how far apart, what they hold, and how they end."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold import Session, map_over, prompt, sample, step
from fanfold.calls.health import ROW
from fanfold.calls.quota import CAPACITY, Quota
from fanfold.core.clock import now, sleep
from fanfold.core.records import Request
from fanfold.core.scope import current
from fanfold.errors import (
    AccessError,
    BillingError,
    CallError,
    ConnectError,
    FanfoldError,
    QueueFull,
    ReplyError,
    ScopeEnded,
    StatusError,
    StepTimeout,
    StreamCut,
    UsageError,
)
from fanfold.testing import no_leaks, run_virtual
from tests.calls.scripted import ASK, Scripted, failed, in_turn, lost, ran, status
from tests.wire.test_broken_servers import read

LATE = 0.05
"""Seconds by which a call may outlive its deadline."""


def notes(error):
    return " ".join(getattr(error, "__notes__", []))


# -- that it is sent again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [lost(), status(503), status(429), status(529), ReplyError("malformed")])
def test_what_may_pass_is_sent_again(failure):
    """A call that fails for a reason that passes gives the reply of a later send."""
    model = in_turn([0.1, failure], [0.1, failure], [0.2, "yes"])
    run = ran(model)
    assert (run.output, len(model.sends)) == ("yes", 3)
    assert all(a.request is b.request for a in model.sends for b in model.sends)


@pytest.mark.parametrize("failure", [status(400), status(404), status(413), status(422), CallError("else")])
def test_what_would_fail_again_is_not_sent_again(failure):
    """A call whose fault is its own fails after one send, and says why that was the only one."""
    model = in_turn([failure], ["never"])
    error = failed(model, CallError)
    assert error is failure
    assert (len(model.sends), error.attempts, error.place) == (1, 1, "prompt")
    assert "not sent again" in notes(error)


@pytest.mark.parametrize("attempts", [1, 2, 4, 7])
def test_a_call_is_sent_at_most_so_often(attempts):
    """`attempts` is the most sends of one call; 1 is no retry, and 4 is the default."""
    model = in_turn([status(409)])
    error = failed(model, StatusError, attempts=attempts)
    assert (len(model.sends), error.attempts) == (attempts, attempts)
    assert "attempts=" in notes(error)
    default = in_turn([status(500)])
    failed(default, StatusError)
    assert len(default.sends) == 4


def test_attempts_are_at_least_one():
    """No send at all is no call."""
    with pytest.raises(UsageError, match="attempts=0"):
        Session(attempts=0)


def test_reading_again_is_another_matter():
    """A reply that does not parse makes a new call, which has its own sends; they do not multiply in a call."""
    model = in_turn([status(500)], ["not a number"], [status(500)], ["7"])
    run = ran(model, ask=prompt("{input}", returns=int, retries=1))
    assert run.output == 7
    assert [len(call.attempts) for call in run.calls] == [2, 2]


def test_every_send_is_in_the_record():
    """Each send has its times, status, error and backoff, and the call goes on in the events."""
    model = in_turn([1.0, status(503, retry_after=2.0)], [1.0, lost()], [1.0, "yes"])
    run = ran(model)
    (call,) = run.calls
    first, second, third = call.attempts
    assert (call.state, call.error, run.output) == ("ok", None, "yes")
    assert [attempt.state for attempt in call.attempts] == ["error", "error", "ok"]
    assert [attempt.status for attempt in call.attempts] == [503, None, None]
    assert [attempt.number for attempt in call.attempts] == [0, 1, 2]
    assert "StatusError" in str(first.error)
    assert "ConnectError" in str(second.error)
    assert 2.0 <= first.backoff <= 2.5
    assert 0.0 < second.backoff <= 1.0
    assert third.backoff == 0.0
    assert second.sent == pytest.approx(first.ended + first.backoff, abs=1e-3)
    assert third.sent == pytest.approx(second.ended + second.backoff, abs=1e-3)
    kinds = [event.kind for event in run.events if event.kind.startswith("call.")]
    assert kinds == ["call.queued", "call.sent", "call.attempt", "call.attempt", "call.ended"]


def test_it_holds_nothing_while_it_waits():
    """A call that backs off has no slot: another takes it meanwhile."""

    def script(number, request):
        asked = request.messages[-1].content
        return [status(503, retry_after=10.0)] if asked == "a" and number == 0 else [1.0, asked]

    model = Scripted(script)

    async def main():
        async with Session(model, max_in_flight=1) as session, no_leaks(session):
            first = asyncio.ensure_future(ASK.run("a", session=session))
            await sleep(0.5)
            held = session.statistics().slots
            second = await ASK.run("b", session=session)
            when = now()
            return held.in_use, when, second.output, (await first).output

    in_use, when, *outputs = run_virtual(main())
    assert (in_use, outputs) == (0, ["b", "a"])
    assert when < 2


def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing():
    """A cancellation ends the backoff at once, and nothing is sent after it."""
    model = in_turn([status(503, retry_after=100.0)])

    async def main():
        async with Session(model) as session, no_leaks(session):
            task = asyncio.ensure_future(ASK.run("q", session=session))
            await sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert now() < 1.1
            await sleep(200)
        return len(model.sends)

    assert run_virtual(main()) == 1


def test_no_send_is_made_under_a_step_that_is_over():
    """Where the calling step ends during a backoff, the next send is refused."""

    async def over():
        async with Session() as session, no_leaks(session):
            scopes = []

            class Seen(Scripted):
                async def send(self, request, watch):
                    scopes.append(current())
                    return await super().send(request, watch)

            seen = Seen(lambda number, _: [status(503, retry_after=5.0)] if not number else ["yes"])
            task = asyncio.ensure_future(prompt("{input}", model=seen).run("q", session=session))
            await sleep(1)
            scopes[0].ended = True
            with pytest.raises(ScopeEnded):
                await task
            return len(seen.sends)

    assert run_virtual(over()) == 1


# -- deadlines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["call", "session", "run", "pattern"])
def test_a_wait_that_outlasts_the_time_given_is_not_begun(where):
    """With less time left than the server asks to wait, the call fails at once, with `retry_after` on its error."""
    model = in_turn([1.0, status(429, retry_after=30.0)], ["never"])
    ask = prompt("{input}", timeout=20 if where == "call" else None)
    options = {"timeout": 20} if where == "session" else {"timeout": None}

    async def main():
        async with Session(model, **options) as session, no_leaks(session):
            if where == "pattern":
                run = map_over(ask, timeout=20).run(["q"], session=session)
            else:
                run = ask.run("q", session=session, timeout=20 if where == "run" else None)
            with pytest.raises(FanfoldError) as caught:
                await run
            return caught.value, now()

    error, when = run_virtual(main())
    cause = error.__cause__ if where == "pattern" else error
    assert isinstance(cause, StatusError)
    assert (cause.retry_after, len(model.sends)) == (30.0, 1)
    assert str(cause) == "answered 429; the wait of 30 s that it asks for would outlast the time given"
    assert when < 1.1
    assert "outlast" in notes(cause)


def test_a_wait_that_fits_is_sat_out():
    """With time enough, a long wait is obeyed to its end."""
    model = in_turn([status(429, retry_after=300.0)], ["yes"])
    run = ran(model)
    assert run.output == "yes"
    assert model.sends[1].began - model.sends[0].ended >= 300.0


@pytest.mark.parametrize("timeout", [None, 1e9])
def test_nobody_waits_for_days(timeout):
    """A wait of more than a day ends the call, whatever time it has."""
    model = in_turn([status(503, retry_after=100_000.0)])
    error = failed(model, StatusError, timeout=timeout)
    assert (error.retry_after, len(model.sends)) == (100_000.0, 1)
    assert "the wait of 1e+05 s before the next send would outlast a day" in notes(error)


FAILURES = st.one_of(
    st.builds(
        lambda code, wait: status(code, retry_after=wait),
        st.sampled_from([408, 429, 500, 503, 529]),
        st.one_of(st.none(), st.floats(0, 40)),
    ),
    st.builds(lost),
    st.just(None),
)


@settings(max_examples=200)
@given(
    sends=st.lists(st.tuples(st.floats(0, 20), FAILURES), min_size=1, max_size=6),
    attempts=st.integers(1, 6),
    idle=st.one_of(st.none(), st.floats(0.5, 20)),
    call=st.one_of(st.none(), st.floats(0.5, 40)),
    deadline=st.floats(0.5, 40),
    seed=st.integers(0, 1000),
)
def test_a_call_ends_in_time_whatever_the_policies(sends, attempts, idle, call, deadline, seed):
    """It returns within its deadline and 50 ms, no backoff runs into it, and nothing is sent after it."""
    scripts = [[seconds, failure or "yes"] for seconds, failure in sends]
    model = in_turn(*scripts)

    async def main():
        async with Session(model, attempts=attempts, timeout=call, idle_timeout=idle) as session, no_leaks(session):
            run = None
            try:
                run = await ASK.run("q", session=session, timeout=deadline)
            except FanfoldError as error:
                run = error.run
            ended = now()
            await sleep(200)
            return run, ended

    run, ended = run_virtual(main(), seed=seed)
    least = min(deadline, call or deadline)
    assert ended <= least + LATE
    assert all(sent.began <= least and sent.ended <= least + LATE for sent in model.sends)
    # Five failures in a row take the lane down; from then on the lane says how often its server is tried.
    spared = attempts >= ROW
    assert len(model.sends) <= attempts or spared
    (done,) = run.calls
    assert all(attempt.ended + attempt.backoff < least + 1e-6 for attempt in done.attempts if attempt.backoff)
    for before, after in zip(done.attempts, done.attempts[1:], strict=False):
        assert after.queued >= before.ended + before.backoff - 1e-6
        assert after.sent is not None or spared


# -- the quota -------------------------------------------------------------------------------------------------


def outage(calls, failure, *, in_flight=64, attempts=4):
    """So many calls into a server that only fails: how many sends that makes, and what its quota says."""
    model = in_turn([0.01, failure])

    async def main():
        async with Session(model, max_in_flight=in_flight, attempts=attempts) as session, no_leaks(session):
            with pytest.raises(FanfoldError):
                await map_over(ASK, on_error="skip").run([str(item) for item in range(calls)], session=session)
            return session.statistics().retries[0].quota

    quota = run_virtual(main())
    return len(model.sends), quota


def test_an_outage_does_not_multiply():
    """10,000 calls that all fail are at most 1.10 sends a call, however many each may have."""
    sends, quota = outage(10_000, status(409))
    assert 10_000 <= sends <= 11_000
    assert sends == 10_000 + CAPACITY
    assert (quota.left, quota.spent) == (0, CAPACITY)
    assert quota.refused > 0


def test_a_server_that_is_away_gets_far_fewer_sends_than_there_are_calls():
    """Where all are 503s the lane goes down: one call at a time tries, and the others are told after its patience."""
    sends, quota = outage(10_000, status(503))
    assert 64 <= sends <= 200
    assert quota.spent <= 64


def test_an_empty_quota_is_said():
    """The error of a call that was not sent again for want of quota says so."""

    async def main():
        model = in_turn([status(409)])
        async with Session(model) as session:
            session.line(None)
            with pytest.raises(StatusError):
                await ASK.run("q", session=session)
            session.road.lanes.of(model, None).quota.left = 0.5
            with pytest.raises(StatusError) as caught:
                await ASK.run("q", session=session)
            return notes(caught.value), len(model.sends)

    words, sends = run_virtual(main())
    assert "quota is empty" in words
    assert sends == 5


def test_a_call_given_up_before_its_next_send_takes_nothing_from_the_quota():
    """Cancelled in the pause before it, as the losers of a vote are, it leaves the quota as it was."""
    model = in_turn([lost()])

    async def main():
        async with Session(model) as session, no_leaks(session):
            for _ in range(3):
                task = asyncio.ensure_future(ASK.run("q", session=session))
                await sleep(1e-5)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            return session.statistics().retries[0].quota

    quota = run_virtual(main())
    assert (len(model.sends), quota.spent, quota.left) == (3, 0, CAPACITY)


def test_throttles_do_not_empty_the_quota():
    """A 429 is the lane's to hold back, so that a limited account does not lose its retries to it."""
    model = in_turn([status(429, retry_after=1.0)], [status(429)], ["yes"])

    async def main():
        async with Session(model) as session:
            await ASK.run("q", session=session)
            return session.statistics().retries[0].quota

    assert run_virtual(main()).spent == 0


@given(st.lists(st.booleans(), max_size=3000))
def test_sends_beyond_the_first_are_bounded_by_the_capacity_and_half_of_the_replies(steps):
    """In any order of failures and replies, never more than 500 and half of the replies are spent."""
    quota, replies = Quota(), 0
    for reply in steps:
        if reply:
            quota.give_back()
            replies += 1
        else:
            quota.take()
        assert 0 <= quota.left <= CAPACITY
        assert quota.spent <= CAPACITY + replies / 2


def test_the_quota_never_blocks_for_good():
    """After an outage, replies fill it again: half a send each."""
    quota = Quota()
    while quota.take():
        pass
    assert not quota.take()
    quota.give_back()
    assert not quota.take()
    quota.give_back()
    assert quota.take()
    assert (quota.statistics().spent, quota.statistics().refused) == (CAPACITY + 1, 3)


# -- what ends the run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [BillingError("no credit"), status(429, "insufficient_quota", retry_after=1.0), status(402), AccessError("key")],
)
def test_money_that_is_gone_stops_the_run(failure):
    """A spend limit has no retry: the run ends, and no call begins but those that were under way (at most C - 1)."""
    in_flight, before = 8, 20

    def script(number, _):
        return [0.5, "yes"] if number < before else [0.1, failure]

    model = Scripted(script)

    async def main():
        async with Session(model, max_in_flight=in_flight) as session, no_leaks(session):
            with pytest.raises(AccessError) as caught:
                await map_over(ASK, on_error="skip").run([str(item) for item in range(200)], session=session)
            return caught.value

    error = run_virtual(main())
    assert before < len(model.sends) <= before + in_flight
    assert error.place.startswith("map_over")
    assert isinstance(error, BillingError) == (type(failure) is not AccessError)
    assert all(len(call.attempts) <= 1 for call in error.run.calls)


# -- text that somebody has read -------------------------------------------------------------------------------


def listened(model, **options):
    """The text that a reader of a stream got, and how it ended."""

    async def main():
        pieces, error = [], None
        async with (
            Session(model, **options) as session,
            no_leaks(session),
            ASK.text("q", session=session) as text,
        ):
            try:
                await read(text, pieces)
            except FanfoldError as failed:
                error = failed
        return pieces, error

    return run_virtual(main())


def test_before_the_first_text_a_stream_is_sent_again():
    """Who reads a stream gets the one reply of a later send, and nothing of the failed ones."""
    assert listened(in_turn([lost()], [0.1, status(503)], ["yes ", "it is"])) == (["yes ", "it is"], None)


@pytest.mark.parametrize("failure", [lost(), status(500), ReplyError("broken"), StreamCut("cut", text="one two ")])
def test_after_the_first_text_a_break_is_an_error_with_the_text(failure):
    """Text that was read cannot be taken back: the call ends with a `StreamCut` that has all of it."""
    model = in_turn(["one ", 0.1, "two ", 0.1, failure], ["other"])
    pieces, error = listened(model)
    assert pieces == ["one ", "two "]
    assert isinstance(error, StreamCut)
    assert error.text == "one two "
    assert (len(model.sends), error.attempts) == (1, 1)
    assert error is failure or error.__cause__ is failure


def test_text_that_nobody_read_is_no_reason_to_give_up():
    """A stream that is only streamed inside is sent again after it broke, and its reply is that of one send."""
    model = in_turn(["one ", "two ", StreamCut("cut", text="one two ")], ["three"])
    run = ran(model, idle_timeout=10)
    assert (run.output, len(model.sends)) == ("three", 2)


def test_a_stream_that_breaks_every_time_keeps_its_last_text():
    """When the sends are used up, the error has what the last one brought."""
    model = in_turn(["one", lost()], ["two", lost()])
    error = failed(model, StreamCut, idle_timeout=10, attempts=2)
    assert (error.text, error.attempts) == ("two", 2)
    assert isinstance(error.__cause__, ConnectError)


# -- a lane that is down ---------------------------------------------------------------------------------------


class Gated:
    """What a lane with a circuit does, as far as its calls see it: it lets one at a time try while it is down."""

    def __init__(self, lane, until):
        self.lane, self.until, self.tries, self.refusing = lane, until, 0, False
        self.health = lane.traffic.condition.health
        lane.enter, lane.leave = self.enter, self.leave

    async def enter(self, sending):
        if self.refusing:
            raise ConnectError("down for too long")
        if self.lane.down:
            self.tries += 1
            await sleep(1.0)

    def leave(self, sending):
        if isinstance(sending.error, StatusError | ConnectError):
            self.health.since = 0.0
        elif sending.error is None:
            self.health.since = None


def test_a_call_into_a_lane_that_is_down_goes_back_to_the_queue():
    """It takes neither a send of the call nor the quota, and the lane alone sets the pace."""
    model = in_turn(*[[status(503)]] * 20, ["yes"])

    async def main():
        async with Session(model, attempts=2) as session:
            gate = Gated(session.road.lanes.of(model, None), 0)
            run = await ASK.run("q", session=session)
            return run, gate, session.statistics().retries[0].quota

    run, gate, quota = run_virtual(main())
    assert (run.output, len(model.sends), gate.tries, quota.spent) == ("yes", 21, 20, 0)
    assert all(attempt.backoff == 0 for attempt in run.calls[0].attempts)


def test_a_lane_that_gives_up_ends_its_calls():
    """What the lane raises instead of a turn is the end, even if it is of a kind that is sent again elsewhere."""
    model = in_turn([status(503)])

    async def main():
        async with Session(model) as session:
            gate = Gated(session.road.lanes.of(model, None), 0)
            gate.refusing = True
            with pytest.raises(ConnectError, match="down for too long") as caught:
                await ASK.run("q", session=session)
            return notes(caught.value), len(model.sends)

    words, sends = run_virtual(main())
    assert ("not let through" in words, sends) == (True, 0)


def test_a_throttle_is_never_spared():
    """A 429 says that the server is there: it counts as a send, down or not."""
    model = in_turn([status(429)])

    async def main():
        async with Session(model, attempts=3) as session:
            session.road.lanes.of(model, None).traffic.condition.health.since = 0.0
            with pytest.raises(StatusError):
                await ASK.run("q", session=session)
            return len(model.sends)

    assert run_virtual(main()) == 3


def test_samples_keep_their_draws_when_they_are_sent_again():
    """A retry asks for the same sample, not for a new one."""
    model = Scripted(lambda number, request: [status(500)] if number < 3 else [str(request.draw.ordinal)])
    run = ran(model, ask=sample(ASK, n=3))
    assert sorted(run.output) == ["0", "1", "2"]


def test_the_time_of_a_call_covers_its_sends():
    """A call's timeout is for all of its sends and waits together."""
    model = in_turn([3.0, status(500)])
    error = failed(model, (StepTimeout, StatusError), ask=prompt("{input}", timeout=7.0), attempts=50)
    assert isinstance(error, StepTimeout | StatusError)
    assert len(model.sends) <= 3


def test_a_call_whose_time_is_over_says_how_it_had_failed():
    """The timeout alone would not tell a slow server from one that refuses."""
    model = in_turn([status(429, retry_after=3.0)], [60.0])
    error = failed(model, StepTimeout, ask=prompt("{input}", timeout=7.0))
    assert str(error).endswith("timeout of 7 s; the last of its sends that failed: answered 429")
    assert isinstance(error.__cause__, StatusError)
    assert "failed" not in str(failed(in_turn([60.0]), StepTimeout, timeout=7.0))


def test_a_call_that_finds_the_queue_full_when_it_is_sent_again_says_how_it_had_failed():
    """A full queue is not all there is to know of a call that had been sent."""
    failures: list[BaseException] = []
    model = in_turn([1.0, status(503, retry_after=0.5)], [60.0])

    async def one(session, text):
        try:
            await ASK.run(text, session=session)
        except QueueFull as error:
            failures.append(error)

    async def main():
        async with Session(model, max_in_flight=1, max_queued=1) as session:
            first = asyncio.ensure_future(one(session, "a"))
            await sleep(1.2)
            others = [asyncio.ensure_future(one(session, text)) for text in "bc"]
            await asyncio.gather(first, *others)

    run_virtual(main())
    (error,) = failures
    assert error.attempts == 1
    assert str(error).endswith("; the send before it had failed: answered 503")
    assert isinstance(error.__cause__, StatusError)


def test_the_time_of_a_part_is_known_to_its_calls() -> None:
    """A run with a timeout inside a run: the wait that a server asks for is not begun where it would outlast that."""
    model = in_turn([0.1, status(429, retry_after=30.0)], [0.1, "late"])

    @step
    async def part(text: str) -> str:
        with pytest.raises(StatusError, match="would outlast the time given"):
            await ASK.run(text, timeout=2.0)
        return str(round(now(), 1))

    assert ran(model, ask=part).output == "0.1"


def test_the_time_of_a_part_is_no_other_parts() -> None:
    """Beside a part that has little time another has all it needs; and once both have ended, no end is left over."""
    refused: set[str] = set()

    def script(_: int, request: Request) -> list[Any]:
        text = str(request.messages[0].content)
        if text != "quick" and text not in refused:
            refused.add(text)
            return [0.1, status(503, retry_after=3.0)]
        return [0.1, text]

    @step
    async def parts(_: str) -> list[str]:
        beside = [ASK.run("quick", timeout=1.0), ASK.run("patient"), ASK.run("slow", timeout=10.0)]
        return [run.output for run in [*await asyncio.gather(*beside), await ASK.run("afterwards")]]

    assert ran(Scripted(script), ask=parts).output == ["quick", "patient", "slow", "afterwards"]
