"""A server that is away, or overloaded: it is not stormed, it is found when it is back, nobody waits for ever."""

import asyncio
import itertools
import re
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from fanfold import Session, map_over, prompt
from fanfold.calls.health import Health
from fanfold.calls.lanes import Lane
from fanfold.calls.ramp import Ramp
from fanfold.calls.window import Window
from fanfold.core.clock import chance, now, sleep
from fanfold.errors import AccessError, CallError, ConnectError, FanfoldError, ReplyError, StatusError, UsageError
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.calls.limited import Sent, Server, lane_to, send, within
from tests.calls.scripted import ASK, Scripted, lost, status

RATE = 20
BEGAN, BACK = 30.0, 90.0


class Away(Server):
    """It is away from 30 to 90 s of the test; calls come 20 a second until 120."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"latency": (0.4, 0.6)} | options)
        self.down = lambda at: BEGAN <= at < BACK
        self.done: list[float] = []
        self.lost: list[CallError] = []


def outage(server: Away, until: float = 120.0, seed: int = 0, **options: Any) -> Any:
    """Calls arrive evenly and are sent until they are answered; gives the lane's statistics at the end."""

    async def call(lane: Lane) -> None:
        while True:
            try:
                await send(lane, server)
                server.done.append(now())
                return
            except CallError as error:
                if "not sent" in str(error):
                    server.lost.append(error)
                    return
                if not lane.down:
                    await sleep(0.1)

    async def main() -> Any:
        lane = lane_to(server, **options)
        async with asyncio.TaskGroup() as group:
            while now() < until:
                group.create_task(call(lane))
                await sleep(1 / RATE)
        held = lane.traffic.gate.statistics()
        assert (held.in_use, held.waiting) == (0, 0)
        return lane.traffic.statistics()

    return run_virtual(main(), seed=seed)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
def test_an_outage_of_a_minute_is_not_stormed_and_is_over_within_ten_seconds(seed: int) -> None:
    """Sends during it are at most 1.1 times what arrived; ten seconds after it as much is answered as arrives; and no
    tenth of a second gets more than three times the mean of what arrives.
    """
    server = Away()
    outage(server, seed=seed, patience=90.0)
    arrived = RATE * (BACK - BEGAN)
    assert within(server.came, BEGAN, BACK) <= 1.1 * arrived
    assert within(server.done, BACK + 10, BACK + 20) >= 0.95 * RATE * 10
    bins = [within(server.came, BACK + step / 10, BACK + step / 10 + 0.1) for step in range(300)]
    assert max(bins) <= 3 * RATE / 10
    assert len(server.done) == RATE * 120


def test_while_a_server_is_down_one_call_at_a_time_tries_it() -> None:
    """After what was under way, probes go out singly: about one every two seconds."""
    server = Away()
    outage(server, until=60.0, patience=90.0)
    probes = [at for at in server.failed if at > BEGAN + 2]
    gaps = [later - before for before, later in itertools.pairwise(probes)]
    assert min(gaps) >= 0.9
    assert max(gaps) <= 2.1


@pytest.mark.parametrize("slots", [1, 2, 64])
@pytest.mark.parametrize("first", [0, 20])
def test_requests_that_fail_for_good_take_no_others_with_them(slots: int, first: int) -> None:
    """Six in a row at which a server breaks, of fifty, look like an outage: the others are answered all the same."""
    broken = {str(number) for number in range(first, first + 6)}
    model = Scripted(lambda _, request: [0.1, status(500) if request.messages[-1].content in broken else "yes"])

    async def main() -> Any:
        async with Session(model, max_in_flight=slots) as session, no_leaks(session):
            return await map_over(ASK, on_error="skip").run([str(number) for number in range(50)], session=session)

    run = run_virtual(main())
    assert len(run.output) == 44
    assert set(run.detail.missing) == broken


def test_who_waits_for_a_server_that_stays_away_is_told_after_its_patience() -> None:
    """Calls waiting then, and those that come later, fail at once and unsent; a due probe may still end it."""
    server = Away()
    stands = outage(server, patience=20.0)
    assert len(server.lost) == stands.unsent > 0
    first = server.lost[0]
    assert "has failed for 20 s" in str(first)
    assert "calls were not sent" in str(first)
    assert str(first).startswith("nobody there")
    assert isinstance(first, ConnectError)
    assert not first.reached
    assert within(server.failed, BEGAN + 21, BACK) >= 10
    assert within(server.done, BACK + 3, 120) >= 0.95 * RATE * (120 - BACK - 3)


class Failing(Away):
    """It has never been well: nobody answers (None), or it fails with this status."""

    def __init__(self, status: int | None, until: float = float("inf")) -> None:
        super().__init__()
        self.until = until
        self.down = lambda _at: False
        self.error = ConnectError("nobody there") if status is None else StatusError("busy", status=status)

    async def answer(self, request: Any, hear: Any) -> Any:
        if now() >= self.until:
            return await super().answer(request, hear)
        self.came.append(now())
        await sleep(0.01)
        raise self.error


STRANGERS = pytest.mark.parametrize(
    ("status", "seconds"), [(None, 5), (500, 20), (502, 20), (503, 20), (504, 20), (529, 20)]
)


@STRANGERS
def test_a_server_that_was_never_well_is_waited_for_20_s_and_nobody_for_5(status: int | None, seconds: int) -> None:
    """The error is of the kind of the last one and says so, as the statistics do; a due probe may still end it."""
    server = Failing(status)
    stands = outage(server, until=25.0)
    (kind,) = {type(error) for error in server.lost}
    assert kind is type(server.error)
    assert {getattr(error, "status", None) for error in server.lost} == {status}
    assert f"has failed for {seconds} s and has never answered well: " in str(server.lost[0])
    assert "given up" in stands.why
    assert "has never answered well; patience= says how long" in stands.why
    assert len(server.came) <= 30
    assert server.came[-1] > 22


@STRANGERS
def test_a_patience_that_was_given_holds_for_a_server_that_was_never_well(status: int | None, seconds: int) -> None:
    """Who starts a server beside the job says for how long it may take: 40 s of it lose no call with 50 s.

    The same number as the usual one is one that was given, too; and with 30 s calls are lost after 30.
    """
    patient, short, sixty = Failing(status, until=40.0), Failing(status), Failing(status, until=40.0)
    outage(patient, until=45.0, patience=50.0)
    outage(sixty, until=45.0, patience=float("60"))
    outage(short, until=31.0, patience=30.0)
    assert patient.lost == sixty.lost == []
    assert len(patient.done) == len(sixty.done) == RATE * 45
    assert "has failed for 30 s and has never answered well" in str(short.lost[0])
    assert seconds < 30


def test_a_server_that_starts_within_20_s_loses_no_call() -> None:
    """A gateway that says 503 while what is behind it starts costs a wait, and nothing else."""
    server = Failing(503, until=15.0)
    outage(server, until=20.0)
    assert server.lost == []
    assert len(server.done) == RATE * 20


def test_without_patience_calls_wait_for_as_long_as_it_takes() -> None:
    """With patience=None nothing is given up."""
    server = Away()
    outage(server, patience=None)
    assert not server.lost
    assert len(server.done) == RATE * 120


TROUBLE = pytest.mark.parametrize("error", [status(503), status(429), lost()], ids=str)


def two_fans(error: CallError, *, back: bool) -> tuple[list[Any], list[float]]:
    """Twenty calls at once into a server that fails all, five minutes of nothing, and twenty more; gives both runs.

    With `back` the server is well by then. The floats are the seconds that each took.
    """
    answers: list[Any] = [error]
    model = Scripted(lambda *_: [0.05, *answers])
    fan = map_over(prompt("{input}"), items=lambda _: [str(number) for number in range(20)], on_error="skip")
    took: list[float] = []

    async def one(session: Session) -> Any:
        began = now()
        try:
            run = await fan.run("q", session=session)
        except FanfoldError as failed:
            run = failed.run
        took.append(now() - began)
        return run

    async def main() -> list[Any]:
        async with Session(model, attempts=1) as session, no_leaks(session):
            first = await one(session)
            await sleep(300)
            if back:
                answers[:] = ["yes"]
            return [first, await one(session)]

    return run_virtual(main()), took


@TROUBLE
def test_a_server_that_nobody_tried_for_long_is_not_given_up_unheard(error: CallError) -> None:
    """What came of the last calls, minutes ago, loses none of a fan that comes when the server is well again."""
    (first, second), _ = two_fans(error, back=True)
    assert {call.state for call in first.calls} == {"error"}
    assert {call.state for call in second.calls} == {"ok"}


def test_a_server_that_is_still_away_is_given_up_as_soon_as_it_was_tried() -> None:
    """Those who came meanwhile wait for the first to hear of it, and no longer; what is said counts them alone."""
    (_, second), took = two_fans(lost(), back=False)
    assert took[1] < 1
    assert Counter(call.sent is not None for call in second.calls) == {True: 1, False: 19}
    assert any("(fake: has failed for 305 s" in call.error for call in second.calls)


def test_what_was_not_sent_is_counted_for_each_outage() -> None:
    """The error of a second outage does not count those that the first one lost."""

    def given_up(until: float) -> list[CallError]:
        server = Away(latency=(0.01, 0.02))
        server.down = lambda at: 10 <= at < 35 or at >= 60
        assert outage(server, until=until, patience=20.0).unsent == len(server.lost)
        return server.lost

    first, both = given_up(50.0), given_up(85.0)
    counts = [int(re.findall(r": (\d+) calls were not sent", str(error))[0]) for error in both]
    assert max(counts[: len(first)]) == len(first) > 0
    assert max(counts[len(first) :]) == len(both) - len(first) > 0


def test_patience_is_a_positive_time() -> None:
    """Zero seconds of it are a mistake."""
    with pytest.raises(UsageError, match="patience=0"):
        lane_to(Server(), patience=0)


# -- what counts as a failure -------------------------------------------------------------------------------------


async def ended(lane: Lane, outcome: BaseException | None, *, sent: bool = True) -> None:
    """One send that ends with this error, 10 ms later."""
    sending = Sent()
    await lane.enter(sending)
    sending.sent_at = sending.alive_at = now() if sent else None
    await sleep(0.01)
    sending.error = outcome
    lane.leave(sending)


@pytest.mark.parametrize(
    ("outcome", "down"),
    [
        (StatusError("x", status=500), True),
        (StatusError("x", status=529), True),
        (TimeoutError("silence"), True),
        (StatusError("x", status=400), False),
        (StatusError("x", status=404), False),
        (AccessError("x"), False),
        (ReplyError("x"), False),
        (asyncio.CancelledError(), False),
    ],
    ids=["500", "529", "silence", "400", "404", "access", "reply", "cancelled"],
)
def test_five_failures_in_a_row_take_a_lane_down_and_other_errors_do_not(outcome: BaseException, down: bool) -> None:
    """What says that this one request is wrong, or that somebody cancelled it, says nothing against the server."""

    async def main() -> list[bool]:
        lane = lane_to(Server())
        seen = []
        for _ in range(5):
            await ended(lane, outcome)
            seen.append(lane.down)
        return seen

    assert run_virtual(main()) == [False] * 4 + [down]


def test_any_answer_ends_an_outage() -> None:
    """A probe that is refused as wrong is a sign of life."""

    async def main() -> list[bool]:
        lane = lane_to(Server())
        for _ in range(5):
            await ended(lane, StatusError("x", status=503))
        was = lane.down
        await ended(lane, StatusError("x", status=400))
        return [was, lane.down]

    assert run_virtual(main()) == [True, False]


def test_a_probe_that_is_cancelled_lets_another_try() -> None:
    """Before it was sent at once, after it was sent when the next is due."""

    async def main() -> float:
        lane = lane_to(Server())
        for _ in range(5):
            await ended(lane, StatusError("x", status=503))
        began = now()
        await ended(lane, asyncio.CancelledError())
        await ended(lane, asyncio.CancelledError(), sent=False)
        await ended(lane, StatusError("x", status=503))
        return now() - began

    assert run_virtual(main()) <= 1.0


# -- the parts ----------------------------------------------------------------------------------------------------


def test_a_window_is_cut_once_a_round_trip() -> None:
    """Of sends that fail together only the first that makes it a quarter cuts; those that left after it cut again."""
    window = Window(64)
    assert window.open
    assert [window.failed(0.0, 32, 1.0) for _ in range(32)].index(True) == 4
    assert window.room == 23
    assert not any(window.failed(0.5, 23, 1.1) for _ in range(31))
    assert window.room == 23
    assert [window.failed(1.2, 23, 2.0) for _ in range(9)].count(True) == 1
    assert window.room == 16


def test_a_window_is_cut_by_what_failed_and_halved_at_most() -> None:
    """A quarter of failures takes a quarter of it; where a healthy time came before, more of them are needed."""
    window = Window(64)
    for at in range(100):
        window.succeeded(at, 64)
    assert sum(window.failed(100, 64, 101) for _ in range(4)) == 0
    assert window.failed(100, 64, 101)
    assert window.room == 46


def test_a_window_grows_only_while_it_is_used_and_never_beyond_the_limit() -> None:
    """Successes with room to spare say nothing; with none to spare it comes back, by one in two round trips."""
    window = Window(16)
    while not window.failed(0.0, 16, 1.0):
        pass
    for _ in range(100):
        window.succeeded(2.0, 3)
    assert window.room == 11
    for _ in range(2 * 11):
        window.succeeded(2.0, window.room)
    assert window.room == 12
    for _ in range(1000):
        window.succeeded(2.0, window.room)
    assert (window.room, window.open) == (16, True)


def test_a_window_never_closes() -> None:
    """However much fails, one call may be out."""
    window = Window(3)
    for at in range(100):
        window.failed(at + 0.5, 1, at + 1.0)
    assert window.room == 1


def test_what_fails_by_chance_costs_no_throughput() -> None:
    """Where one call in twenty fails, whatever is out, nine in ten of the slots stay in use."""

    class Unlucky(Server):
        async def answer(self, request: Any, hear: Any) -> Any:
            self.came.append(now())
            if chance().random() < 0.05:
                await sleep(0.05)
                raise StatusError("bad luck", status=503)
            return await super().answer(request, hear)

    server = Unlucky(latency=(0.4, 0.6))

    async def client(lane: Lane) -> None:
        while now() < 60:
            with suppress(CallError):
                await send(lane, server)

    async def main() -> None:
        lane = lane_to(server)
        await asyncio.gather(*(client(lane) for _ in range(64)))

    run_virtual(main())
    assert within(server.accepted, 5, 60) >= 0.9 * 64 / 0.5 * 55


def test_an_overloaded_server_is_asked_for_as_much_as_it_bears() -> None:
    """Where at most 8 are served at once and more is a 529, about 8 are out, and few are refused."""

    class Small(Server):
        async def answer(self, request: Any, hear: Any) -> Any:
            self.came.append(now())
            await sleep(0.01)
            if self.out >= 8:
                self.failed.append(now())
                raise StatusError("overloaded", status=529)
            return await super().answer(request, hear)

    server = Small(latency=(0.4, 0.6))

    async def client(lane: Lane) -> None:
        while now() < 120:
            try:
                await send(lane, server)
            except CallError:
                await sleep(0.2)

    async def main() -> None:
        lane = lane_to(server)
        await asyncio.gather(*(client(lane) for _ in range(64)))

    run_virtual(main())
    assert within(server.accepted, 30, 120) >= 0.85 * 8 / 0.53 * 90
    assert within(server.failed, 30, 120) <= 0.12 * within(server.accepted, 30, 120)


def test_probes_come_at_growing_times() -> None:
    """About 0.25, 0.5, 1 and then 2 s apart, each spread over half of that."""
    health = Health()
    for _ in range(4):
        assert not health.failed(ValueError(), 0.0, probe=False, luck=1.0)
    assert health.failed(ValueError(), 0.0, probe=False, luck=1.0)
    waits = []
    at = 0.0
    for _ in range(5):
        waits.append(health.wait(at))
        at += health.wait(at)
        health.failed(ValueError(), at, probe=True, luck=1.0)
    assert waits == [0.25, 0.5, 1.0, 2.0, 2.0]
    assert health.alive()
    assert not health.alive()


def test_a_ramp_is_twice_the_usual_rate_at_first() -> None:
    """Ten a second usually: twenty a second after an outage, and faster only after a while."""
    ramp = Ramp()
    ramp.begin(0.0, 10.0)
    at, many = 0.0, 0
    while at < 10:
        ramp.take(at, 64, 0.5)
        many += 1
        at += ramp.wait(at)
    assert many == pytest.approx(200, abs=2)
    ramp.end(-1.0)
    assert ramp.active
    ramp.end(at)
    assert ramp.wait(at) == 0


def test_a_ramp_without_a_history_goes_by_window_and_latency() -> None:
    """Eight at once of half a second each are sixteen a second, and twice that is its pace."""
    ramp = Ramp()
    ramp.begin(0.0, None)
    ramp.take(0.0, 8, 0.5)
    assert ramp.wait(0.0) == pytest.approx(1 / 32)
    ramp.begin(0.0, None)
    ramp.take(0.0, 8, None)
    assert ramp.wait(0.0) == 0


def test_a_send_that_was_given_up_before_the_server_spoke_is_no_sign_of_life() -> None:
    """That a request went out says nothing of its server, on a clock that moves with every instruction, too."""

    async def main() -> tuple[int, bool]:
        async with Session(FakeModel(latency=60.0)) as session:
            asking = asyncio.create_task(prompt("{input}")("x"))
            for _ in range(10):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            [lane] = session.road.lanes
            return lane.traffic.condition.sends, lane.traffic.condition.health.known

    assert asyncio.run(main()) == (1, False)
