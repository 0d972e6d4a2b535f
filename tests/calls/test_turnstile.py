"""The queue before the wire: first come, first served; bounded; never more out than allowed; nothing left behind."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold import RateLimit, Session, prompt
from fanfold.calls.condition import AT_ONCE
from fanfold.calls.lanes import Lane, Lanes
from fanfold.calls.turnstile import Turnstile
from fanfold.core.clock import now, sleep
from fanfold.core.records import Limit, Limits, Reply
from fanfold.errors import CallError, ConnectError, QueueFull, StatusError, UsageError
from fanfold.testing import FakeModel, run_virtual
from tests.calls.limited import Sent, Server, send

LATENCY = 0.5


def plain(label: str = "test:model", **options: Any) -> Server:
    """A server that takes half a second and refuses nothing."""
    return Server(label=label, latency=(LATENCY, LATENCY), jitter=0.0, **options)


def timers() -> int:
    """How many timers of lanes are pending on the running loop."""
    scheduled = asyncio.get_running_loop()._scheduled
    return sum("Traffic._wake" in repr(handle) for handle in scheduled if not handle.cancelled())


# -- order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [None, RateLimit(requests=600)], ids=["slots", "rate"])
def test_the_first_to_come_is_the_first_to_leave(limits: RateLimit | None) -> None:
    """Whatever they wait for."""
    left: list[int] = []

    async def main() -> None:
        lane = Lanes(Turnstile(3), limits).of(plain(), None)

        async def call(number: int) -> None:
            sending = Sent()
            await lane.enter(sending)
            left.append(number)
            await sleep(0.1)
            lane.leave(sending)

        await asyncio.gather(*(call(number) for number in range(40)))

    run_virtual(main())
    assert left == list(range(40))


def test_a_lane_that_waits_for_its_rate_keeps_no_other_lane_waiting() -> None:
    """While one model has to wait a second a call, the slots are another's."""
    slow, quick = plain("a:slow"), plain("b:quick")

    async def main() -> None:
        lanes = Lanes(Turnstile(2), {"a:slow": RateLimit(requests=60)})
        waiting = [asyncio.create_task(send(lanes.of(slow, None), slow)) for _ in range(10)]
        await sleep(0)
        await asyncio.gather(*(send(lanes.of(quick, None), quick) for _ in range(10)))
        assert now() < 6 * (LATENCY + 0.02) + 1
        await asyncio.gather(*waiting)

    run_virtual(main())
    assert len(slow.came) == len(quick.came) == 10


def test_lanes_that_wait_for_a_slot_take_turns_by_arrival() -> None:
    """Of two lanes with one slot between them, the call that came first is first, whichever lane it is in."""
    left: list[str] = []

    async def main() -> None:
        lanes = Lanes(Turnstile(1))
        one, two = lanes.of(plain("a:one"), None), lanes.of(plain("b:two"), None)

        async def call(lane: Lane, name: str) -> None:
            sending = Sent()
            await lane.enter(sending)
            left.append(name)
            await sleep(0.1)
            lane.leave(sending)

        calls = [call(one, "1a"), call(one, "1b"), call(two, "2c"), call(one, "1d"), call(two, "2e"), call(two, "2f")]
        await asyncio.gather(*calls)

    run_virtual(main())
    assert left == ["1a", "1b", "2c", "1d", "2e", "2f"]


def test_a_call_that_need_not_wait_passes_without_giving_way() -> None:
    """With room and no limits there is no tick between asking and leaving."""

    async def main() -> None:
        lane = Lanes(Turnstile(2)).of(plain(), None)
        assert list(lane.enter(Sent()).__await__()) == []

    run_virtual(main())


def test_while_a_server_is_down_calls_that_failed_and_others_try_it_in_turn() -> None:
    """One that failed is first, each kind goes by arrival among themselves; once it is back, all go by arrival."""
    left: list[str] = []

    async def main() -> None:
        lane = Lanes(Turnstile(8)).of(plain(), None)

        async def call(name: str) -> None:
            sending = Sent(again=name.startswith("again"))
            await lane.enter(sending)
            left.append(name)
            sending.sent_at = now()
            await sleep(0.01)
            if len(left) < 5:
                sending.error = StatusError("x", status=503)
            else:
                sending.reply = Reply(("x",), None)
            lane.leave(sending)

        for _ in range(5):
            sending = Sent()
            await lane.enter(sending)
            sending.sent_at, sending.error = now(), StatusError("x", status=503)
            lane.leave(sending)
        assert lane.down
        await asyncio.gather(*map(call, ["new 1", "again 2", "new 3", "again 4", "new 5", "new 6", "again 7", "new 8"]))

    run_virtual(main())
    assert left == ["again 2", "new 1", "again 4", "new 3", "again 7", "new 5", "new 6", "new 8"]


# -- the bound ----------------------------------------------------------------------------------------------------


def test_more_waiting_calls_than_the_bound_are_refused_at_once() -> None:
    """The bound counts what waits, not what is out; the refusal names it, and the others go on."""
    model = FakeModel(["x"], latency=1.0)
    ask = prompt("{input}")

    async def main() -> list[Any]:
        async with Session(model, max_in_flight=2, max_queued=3) as session:
            runs = [asyncio.create_task(ask.run(str(at), session=session)) for at in range(8)]
            await sleep(0.5)
            assert sum(run.done() for run in runs) == 3
            outcomes = await asyncio.gather(*runs, return_exceptions=True)
            assert session.statistics().slots.waiting == 0
            return outcomes

    outcomes = run_virtual(main())
    refused = [outcome for outcome in outcomes if isinstance(outcome, QueueFull)]
    assert len(refused) == 3
    assert "max_queued=3" in str(refused[0])
    assert refused[0].model == "fake:"
    assert not refused[0].retryable
    assert refused[0].cost.usd == 0
    assert [isinstance(outcome, QueueFull) for outcome in outcomes] == [False] * 5 + [True] * 3


def test_a_bound_of_nothing_lets_nobody_wait() -> None:
    """With max_queued=0 a call that cannot leave at once is refused; a negative bound is a mistake."""

    async def main() -> None:
        lane = Lanes(Turnstile(1, 0)).of(plain(), None)
        await lane.enter(Sent())
        with pytest.raises(QueueFull):
            await lane.enter(Sent())

    run_virtual(main())
    with pytest.raises(UsageError, match="max_queued=-1"):
        Session(FakeModel(), max_queued=-1)


# -- nothing is left behind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tick", range(30))
@pytest.mark.parametrize("limits", [None, RateLimit(requests=6000, tokens=1_000_000)], ids=["slots", "rate"])
def test_a_call_cancelled_at_any_tick_leaves_nothing_behind(limits: RateLimit | None, tick: int) -> None:
    """No slot, no place in the queue, no timer; and those who waited behind it get their turn."""

    async def main() -> None:
        gate = Turnstile(1)
        lane = Lanes(gate, limits).of(plain(), None)
        done: list[int] = []

        async def call(number: int) -> None:
            sending = Sent()
            await lane.enter(sending)
            try:
                sending.sent_at = now()
                await sleep(0)
                await sleep(0)
                sending.reply = Reply(("x",), None)
                done.append(number)
            finally:
                lane.leave(sending)

        tasks = [asyncio.create_task(call(number)) for number in range(6)]
        for _ in range(tick):
            await sleep(0)
        for task in tasks[1:5]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert done[0] == 0
        assert done[-1] == 5
        assert done == sorted(done)
        assert (gate.in_use, gate.waiting, lane.traffic.condition.in_use, len(lane.traffic.queue)) == (0, 0, 0, 0)
        assert timers() == 0
        assert lane.traffic.statistics().sends >= len(done)
        await call(6)

    run_virtual(main())


def test_a_lane_that_nobody_waits_in_has_no_timer() -> None:
    """The last to be cancelled takes the timer along, in the same tick."""

    async def main() -> None:
        lane = Lanes(Turnstile(8), RateLimit(requests=60)).of(plain(), None)
        tasks = [asyncio.create_task(send(lane, plain())) for _ in range(3)]
        await sleep(0)
        assert timers() == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert timers() == 0

    run_virtual(main())


def test_those_who_step_back_are_in_their_old_order() -> None:
    """Three that had their turn when a refusal came are the first three again, in order."""
    left: list[int] = []

    async def main() -> None:
        lane = Lanes(Turnstile(4)).of(plain(), None)
        out = [Sent() for _ in range(4)]
        for sending in out:
            await lane.enter(sending)
            sending.sent_at = now()

        async def call(number: int) -> None:
            await lane.enter(Sent())
            left.append(number)

        calls = [asyncio.create_task(call(number)) for number in range(4)]
        await sleep(0)
        for sending in out[:3]:
            sending.reply = Reply(("x",), None)
            lane.leave(sending)
        out[3].error = StatusError("x", status=429, retry_after=5.0)
        lane.leave(out[3])
        await sleep(1)
        assert not left
        await asyncio.gather(*calls)
        assert now() >= 5

    run_virtual(main())
    assert left == [0, 1, 2, 3]


def test_who_is_let_go_a_rounding_before_the_end_of_a_pause_leaves() -> None:
    """It was put back for that rounding and let go again, for ever where the clock stands still between two turns."""

    async def main() -> None:
        lane = Lanes(Turnstile(4)).of(plain(), None)

        async def call() -> None:
            await lane.enter(Sent())

        refused = Sent()
        await lane.enter(refused)
        refused.sent_at = now()
        refused.error = StatusError("x", status=429, retry_after=5.0)
        lane.leave(refused)
        calls = [asyncio.create_task(call())]
        await sleep(5 - AT_ONCE / 2)
        calls.append(asyncio.create_task(call()))
        for _ in range(20):
            await sleep(0)
        assert calls[0].done()
        await calls[1]

    run_virtual(main(), tick=0.0)


def test_what_was_taken_for_a_send_that_never_left_is_given_back() -> None:
    """A call that is cancelled in its turn leaves the rate limit as it was."""

    async def main() -> None:
        lane = Lanes(Turnstile(4), RateLimit(requests=600, tokens=60_000)).of(plain(), None)

        def levels() -> list[Any]:
            return [limit.used for limit in lane.traffic.statistics().limits]

        before = levels()
        sending = Sent()
        await lane.enter(sending)
        assert levels() != before
        lane.leave(sending)
        lane.leave(sending)
        assert levels() == before == [0, 0]
        assert lane.traffic.statistics().sends == 0

    run_virtual(main())


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 5)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("end"), st.sampled_from(["ok", "ok", "ok", "429", "429 wait", "503", "lost", "cancelled"])),
        st.tuples(st.just("pass"), st.sampled_from([0.0, 0.0, 0.01, 0.3, 3.0])),
        st.tuples(st.just("hear"), st.sampled_from([1.0, 50.0, 5000.0])),
    ),
    max_size=60,
)

ENDS: dict[str, BaseException | None] = {
    "ok": None,
    "429": StatusError("x", status=429),
    "429 wait": StatusError("x", status=429, retry_after=0.5),
    "503": StatusError("x", status=503),
    "lost": ConnectError("x"),
    "cancelled": asyncio.CancelledError(),
}


class House:
    """Three lanes under one turnstile, and every call in them."""

    def __init__(self, limit: int, limits: RateLimit | None, max_queued: int | None) -> None:
        self.gate = Turnstile(limit, max_queued)
        lanes = Lanes(self.gate, limits)
        self.lanes = [lanes.of(plain(f"{name}:m", account=name[0]), None) for name in ("a", "ab", "c")]
        self.out: list[tuple[Lane, Sent]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.order: dict[tuple[int, bool], list[int]] = {(at % 3, at >= 3): [] for at in range(6)}
        self.came = 0

    async def call(self, lane: int, again: bool, number: int) -> None:
        """One send, which stays out until it is ended."""
        sending = Sent(again=again)
        await self.lanes[lane].enter(sending)
        sending.sent_at = sending.alive_at = now()
        self.order[lane, again].append(number)
        self.out.append((self.lanes[lane], sending))

    def check(self) -> None:
        """What holds at every moment."""
        gate = self.gate
        assert 0 <= gate.in_use <= gate.limit
        assert gate.waiting >= sum(len(lane.traffic.queue) for lane in self.lanes) >= 0
        assert gate.in_use == sum(lane.traffic.condition.in_use for lane in self.lanes) >= len(self.out)
        if gate.max_queued is not None:
            assert gate.waiting <= gate.max_queued + gate.limit  # what steps back after a refusal waits, too
        assert timers() <= len(self.lanes)
        for lane in self.lanes:
            queue, again = lane.traffic.queue, lane.traffic.again
            assert list(queue) == sorted(queue)
            assert list(again) == [arrival for arrival, waiter in queue.items() if waiter.sending.again]
            assert list(lane.traffic.fresh) == [arrival for arrival in queue if arrival not in again]
        for order in self.order.values():
            assert order == sorted(order)

    def end(self, how: str) -> None:
        """The oldest send ends."""
        if self.out:
            lane, sending = self.out.pop(0)
            if ENDS[how] is None:
                sending.reply = Reply(("x",), None)
            sending.error = ENDS[how]
            lane.leave(sending)

    async def act(self, action: tuple[str, Any]) -> None:
        """Do one thing."""
        kind, value = action
        if kind == "enter":
            self.tasks.append(asyncio.create_task(self.call(value % 3, value >= 3, self.came)))
            self.came += 1
        elif kind == "cancel":
            waiting = [task for task in self.tasks if not task.done()]
            if waiting:
                waiting[value % len(waiting)].cancel()
        elif kind == "end":
            self.end(value)
        elif kind == "hear":
            self.lanes[0].hear(Limits(requests=Limit(value, 0.0, 0.2)))
        else:
            await sleep(value)

    async def rest(self) -> None:
        """End all that is out until nothing waits."""
        for _ in range(2000):
            if all(task.done() for task in self.tasks):
                break
            while self.out:
                self.end("ok")
            await sleep(0.5)
        while self.out:
            self.end("ok")
        await asyncio.gather(*self.tasks, return_exceptions=True)


@settings(max_examples=150)
@given(
    actions=ACTIONS,
    limit=st.integers(1, 4),
    limits=st.sampled_from([None, RateLimit(requests=120), RateLimit(requests=6000, tokens=200_000)]),
    max_queued=st.sampled_from([None, 0, 3]),
)
def test_at_every_moment_no_more_is_out_than_allowed_and_at_rest_nothing_is(
    actions: list[tuple[str, Any]], limit: int, limits: RateLimit | None, max_queued: int | None
) -> None:
    """Whatever comes, is cancelled, succeeds, is refused or fails, in any order: ``0 <= in_use <= limit``; first come,
    first served in each lane, of those that failed before and of the others; one timer a lane; and at the end no slot,
    no place in the queue, no timer.
    """

    async def main() -> None:
        house = House(limit, limits, max_queued)
        for action in actions:
            await house.act(action)
            await sleep(0)
            house.check()
        await house.rest()
        house.check()
        assert (house.gate.in_use, house.gate.waiting) == (0, 0)
        assert timers() == 0
        unfinished = [task for task in house.tasks if not task.cancelled() and task.exception() is not None]
        assert all(isinstance(task.exception(), CallError) for task in unfinished)

    run_virtual(main())
