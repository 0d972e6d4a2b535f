"""The idle timeout: what counts as silence, what it ends in, and what it leaves."""

import asyncio

import pytest

from fanfold import Hedge, Session, prompt
from fanfold.core.clock import now, sleep
from fanfold.core.records import Reply, Usage
from fanfold.errors import ConnectError, FanfoldError, SilenceError, StepTimeout, StreamCut, UsageError
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.calls.scripted import ASK, Scripted, failed, in_turn, ran
from tests.calls.test_retry import listened


def test_a_silent_reply_is_given_up_and_asked_for_again():
    """After `idle_timeout` without a sign of life a send ends, and the call goes on with another."""
    model = in_turn([1e9, "never"], ["yes"])
    run = ran(model, idle_timeout=5.0, timeout=None)
    first = run.calls[0].attempts[0]
    assert run.output == "yes"
    assert model.sends[0].cancelled
    assert first.ended - first.sent == pytest.approx(5.0, abs=1e-3)
    assert "SilenceError" in str(first.error)


def test_the_error_says_what_it_was():
    """It is a `ConnectError` that names the option and its seconds; what it cost is a range."""
    error = failed(in_turn([1e9]), SilenceError, idle_timeout=5.0, attempts=1)
    assert isinstance(error, ConnectError)
    assert (error.seconds, error.model, error.retryable) == (5.0, "fake:", True)
    assert "idle_timeout of 5 s" in str(error)
    assert error.run.cost.at_most is None


def test_the_silence_before_the_first_byte_counts():
    """A server that takes the request and never answers is silent from the send on."""
    assert ran(in_turn([4.9, "slow"]), idle_timeout=5.0).output == "slow"
    assert failed(in_turn([5.1, "slow"]), SilenceError, idle_timeout=5.0, attempts=1)


def test_the_wait_for_a_turn_is_no_silence():
    """A call that waits for its slot longer than the idle timeout is not silent."""
    model = in_turn([4.0, "yes"])

    async def main():
        async with Session(model, max_in_flight=1, idle_timeout=5.0) as session:
            runs = [ASK.run(str(item), session=session) for item in range(4)]
            return [run.output for run in await asyncio.gather(*runs)], now()

    outputs, seconds = run_virtual(main())
    assert outputs == ["yes"] * 4
    assert seconds >= 16


def test_a_slow_stream_is_not_silent():
    """A piece every now and then keeps a reply alive, however long it takes in all."""
    model = in_turn([4.0, "a "] * 100)
    assert ran(model, idle_timeout=5.0).output == "a " * 100


def test_a_sign_of_life_without_text_counts():
    """Bytes that are no text (pings, thinking) are no silence."""

    class Pinging(Scripted):
        async def send(self, request, watch):
            watch.sent()
            for _ in range(20):
                watch.alive()
                await sleep(4.0)
            reply = Reply(("thought",), Usage(1, 1))
            watch.done(reply)
            return reply

    assert ran(Pinging(lambda *_: []), idle_timeout=5.0).output == "thought"


def test_a_model_that_tells_of_nothing_is_not_called_silent():
    """A model of one's own that only gives whole replies has no idle timeout; its `timeout` is its end."""

    class Mute:
        label, made_up, structured, given_rate = "fake:", True, True, None

        async def send(self, request, watch):
            watch.sent()
            await sleep(60)
            reply = Reply(("whole",), Usage(1, 1))
            watch.done(reply)
            return reply

    assert ran(Mute(), idle_timeout=5.0).output == "whole"
    assert failed(Mute(), StepTimeout, idle_timeout=5.0, timeout=30)


@pytest.mark.parametrize("hedge", [None, Hedge()])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("ends", [{"timeout": 30.0}, {"idle_timeout": 5.0, "timeout": None}])
def test_a_reply_that_is_whole_is_neither_late_nor_silent(tmp_path, hedge, kept, ends):
    """No timeout of the call takes it away while its model still has something to do, as to close a stream."""

    class Lingering(Scripted):
        async def send(self, request, watch):
            reply = await super().send(request, watch)
            await sleep(60)
            return reply

    model = Lingering(lambda *_: ["whole"])
    run = ran(model, hedge=hedge, journal=tmp_path / "j.db" if kept else None, **ends)
    assert (run.output, run.calls[0].state, len(model.sends)) == ("whole", "ok", 1)


def test_after_text_that_was_read_silence_is_a_cut():
    """A stream that falls silent under its reader ends with a `StreamCut` that has all that was read."""
    model = in_turn(["one ", 0.1, "two ", 1e9, "three"], ["other"])
    pieces, error = listened(model, idle_timeout=5.0, timeout=None)
    assert pieces == ["one ", "two "]
    assert isinstance(error, StreamCut)
    assert error.text == "one two "
    assert isinstance(error.__cause__, SilenceError)
    assert len(model.sends) == 1


def test_text_that_nobody_read_may_fall_silent_and_is_asked_for_again():
    """Streamed only inside, a half reply is dropped and the next one is the reply."""
    assert ran(in_turn(["half ", 1e9], ["whole"]), idle_timeout=5.0).output == "whole"


def test_the_reply_streams_only_where_somebody_listens_for_it():
    """With an idle timeout the request asks for a stream; without, it does not, and no text event leaves either way."""
    with_it, without = in_turn(["yes"]), in_turn(["yes"])
    runs = [ran(with_it, idle_timeout=5.0), ran(without)]
    assert [model.sends[0].request.stream for model in (with_it, without)] == [True, False]
    assert not [event for run in runs for event in run.events if event.kind == "call.text"]


def test_a_prompts_own_replaces_the_sessions():
    """`prompt(idle_timeout=)` goes before the session's, in both directions."""
    assert failed(in_turn([3.0, "x"]), SilenceError, ask=prompt("{input}", idle_timeout=2), idle_timeout=9, attempts=1)
    assert ran(in_turn([8.0, "x"]), ask=prompt("{input}", idle_timeout=9), idle_timeout=2).output == "x"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_silence_is_a_positive_time(seconds):
    """Zero, less, and no number are refused, in the name of the option."""
    with pytest.raises(UsageError, match="idle_timeout="):
        Session(FakeModel(), idle_timeout=seconds)
    with pytest.raises(UsageError, match="idle_timeout="):
        prompt("{input}", idle_timeout=seconds)


def test_a_timeout_that_comes_first_is_that_timeout():
    """Where the call's time is over during a silence, that is what the error says."""
    assert failed(in_turn([1e9]), StepTimeout, idle_timeout=5.0, timeout=4.0)


def test_a_timeout_error_of_the_model_itself_stays_what_it_is():
    """Only our own silence is one."""
    assert failed(in_turn([TimeoutError("its own")]), TimeoutError, idle_timeout=5.0).args == ("its own",)


def test_one_timer_looks_after_a_whole_stream(monkeypatch):
    """A chunk only leaves its time behind: a thousand of them in four seconds set one timer, and leave none."""
    timers = []

    async def main():
        loop = asyncio.get_running_loop()
        call_at = loop.call_at

        def seen(when, callback, *args, **more):
            timers.append(getattr(callback, "__name__", ""))
            return call_at(when, callback, *args, **more)

        monkeypatch.setattr(loop, "call_at", seen)
        async with Session(in_turn([0.004, "a"] * 1000), idle_timeout=5.0) as session, no_leaks(session):
            await ASK.run("q", session=session)
            left = [handle for handle in loop._scheduled if not handle.cancelled()]
            return [handle for handle in left if "_look" in repr(handle)]

    assert run_virtual(main()) == []
    assert timers.count("_look") == 1


@pytest.mark.parametrize("seconds", [0.5, 4.999, 5.0, 5.001])
def test_a_cancellation_is_never_taken_for_a_silence(seconds):
    """Who cancels the call gets a cancellation, also at the very moment in which the silence ends."""

    async def main():
        async with Session(in_turn([1e9]), idle_timeout=5.0, attempts=1) as session, no_leaks(session):
            task = asyncio.ensure_future(ASK.run("q", session=session))
            await sleep(seconds)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return "cancelled"
            except FanfoldError as error:
                return type(error).__name__

    said = run_virtual(main())
    assert said == "cancelled" if seconds < 5 else said in {"cancelled", "SilenceError"}
