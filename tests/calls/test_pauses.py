"""After a 429 all calls with that key pause together, exactly as long as the server says, and come back one by one."""

import asyncio
from typing import Any

import pytest

from fanfold.calls.lanes import Lane, Lanes
from fanfold.calls.pause import Account
from fanfold.calls.turnstile import Turnstile
from fanfold.core.clock import now, sleep
from fanfold.core.records import Limit, Limits
from fanfold.errors import CallError, StatusError
from fanfold.testing import run_virtual
from tests.calls.limited import Server, lane_to, send, within


class Refusing(Server):
    """It refuses what comes in some stretches of time, saying `wait` (seconds until the stretch ends: None)."""

    def __init__(self, *stretches: tuple[float, float], wait: float | None = 5.0, **options: Any) -> None:
        super().__init__(**options)
        self.stretches = stretches
        self.wait = wait
        self.tell: Limits | None = None

    async def answer(self, request: Any, hear: Any) -> Any:
        at = now()
        if any(start <= at < end for start, end in self.stretches):
            self.came.append(at)
            await sleep(0.01)
            self.refused.append(at)
            if self.tell is not None:
                hear(self.tell)
            raise StatusError("slow down", status=429, retry_after=self.wait)
        return await super().answer(request, hear)


async def arriving(lane: Lane, server: Server, seconds: float, each: float = 0.05) -> None:
    """A call every `each` seconds, each sent until it is accepted."""

    async def call() -> None:
        while True:
            try:
                await send(lane, server)
                return
            except CallError:
                continue

    async with asyncio.TaskGroup() as group:
        for _ in range(round(seconds / each)):
            group.create_task(call())
            await sleep(each)


@pytest.mark.parametrize("wait", [0.3, 5.0, 60.0])
def test_after_a_429_nothing_is_sent_with_that_key_until_retry_after_is_over(wait: float) -> None:
    """0 sends for exactly so long, from the moment at which it was heard; then calls go out again, and none is lost."""
    server = Refusing((2.0, 2.04), wait=wait, jitter=0.0)

    async def main() -> None:
        await arriving(lane_to(server), server, 10)

    run_virtual(main())
    heard = server.refused[0] + 0.01
    assert within(server.came, heard + 1e-5, heard + wait) == 0
    assert within(server.came, heard + wait, heard + wait + 0.5) >= 1
    assert len(server.accepted) == 200


def test_other_keys_go_on_meanwhile_and_other_models_of_the_key_do_not() -> None:
    """The pause is the key's: another key at the same host sends on, another model with the same key waits."""
    refusing = Refusing((2.0, 2.04), label="a:one", account="key", jitter=0.0)
    same_key = Server(label="a:two", account="key", jitter=0.0)
    other_key = Server(label="a:one", account="other", jitter=0.0)

    async def main() -> None:
        lanes = Lanes(Turnstile(64))
        await asyncio.gather(
            *(arriving(lanes.of(server, None), server, 10) for server in (refusing, same_key, other_key))
        )

    run_virtual(main())
    assert within(refusing.came, 2.05, 7.0) == 0
    assert within(same_key.came, 2.04, 7.0) <= 1  # on its way already
    assert within(other_key.came, 2.0, 7.0) == 100


def test_a_send_that_had_its_turn_in_the_same_tick_waits_too() -> None:
    """A refusal frees a slot and pauses the key: who gets that slot gives it back, and stays first in the line."""
    server = Refusing((0.0, 0.05), wait=5.0)
    order: list[int] = []

    async def main() -> Any:
        lane = lane_to(server, limit=4)

        async def call(number: int) -> None:
            while True:
                try:
                    await send(lane, server)
                    order.append(number)
                    return
                except CallError:
                    continue

        server.latency = (0.1, 0.1)
        await asyncio.gather(*(call(number) for number in range(12)))
        return lane.traffic.gate.statistics()

    held = run_virtual(main())
    assert within(server.came, 0.011, 5.0) == 0
    assert order[:8] == list(range(4, 12))
    assert (held.in_use, held.waiting) == (0, 0)


@pytest.mark.parametrize(
    "told",
    [
        Limits(requests=Limit(500, 0, 3600.0)),
        Limits(requests=Limit(1, 0, 86400.0)),
        Limits(tokens=Limit(10, 0, 1e9)),
        Limits(requests=Limit(500, 500, 0.0), tokens=Limit(1, 1, None)),
    ],
    ids=["an hour", "one a day", "no tokens", "all is there"],
)
def test_contradictory_headers_never_stall_beyond_retry_after(told: Limits) -> None:
    """Whatever else a refusal says, the next send goes out when its Retry-After is over, and no sooner."""
    server = Refusing((2.0, 2.04), wait=5.0, jitter=0.0)
    server.tell = told

    async def main() -> None:
        lane = lane_to(server)
        await arriving(lane, server, 2.05)

    run_virtual(main())
    heard = server.refused[0] + 0.01
    later = [at for at in server.came if at > heard]
    assert later[0] == pytest.approx(heard + 5.0, abs=0.05)


def test_what_waited_for_the_end_of_a_pause_leaves_no_herd() -> None:
    """Of 100 calls that wait, no tenth of a second gets more than three times the mean of the seconds after it."""
    server = Refusing((2.0, 2.04), wait=5.0)

    async def main() -> None:
        await arriving(lane_to(server), server, 30)

    run_virtual(main())
    end = server.refused[0] + 5.01
    bins = [within(server.came, end + step / 10, end + step / 10 + 0.1) for step in range(100)]
    assert max(bins) <= 3 * max(sum(bins) / len(bins), 2)  # 2: what arrives in a tenth of a second


def test_without_a_word_the_pauses_are_short_and_grow_while_nothing_is_accepted() -> None:
    """Closed for a minute without Retry-After: a handful of tries, each pause longer than the last, up to 18 s."""
    server = Refusing((0.1, 60.0), wait=None, latency=(0.1, 0.1))

    async def main() -> None:
        lane = lane_to(server, limit=1)
        while len(server.accepted) < 2:
            try:
                await send(lane, server)
            except CallError:
                continue

    run_virtual(main())
    gaps = [later - before for before, later in zip(server.refused, server.refused[1:], strict=False)]
    assert 4 <= len(server.refused) <= 13
    assert 0.5 <= gaps[0] <= 1.1
    assert gaps[1] > gaps[0]
    assert max(gaps) <= 18


@pytest.mark.parametrize(("known", "seconds"), [(False, 20.0), (True, 90.0)], ids=["a stranger", "known"])
def test_a_server_that_refuses_everything_without_a_word_is_given_up(known: bool, seconds: float) -> None:
    """Calls that wait are told after 20 s if it never took any, else after its patience and half a minute."""
    server = Refusing((0.1 if known else 0.0, 1e9), wait=None, latency=(0.1, 0.1))
    lost: list[tuple[float, StatusError]] = []

    async def call(lane: Lane) -> None:
        while True:
            try:
                await send(lane, server)
            except StatusError as error:
                if "not sent" in str(error):
                    lost.append((now(), error))
                    return

    async def main() -> None:
        lane = lane_to(server)
        if known:
            await send(lane, server)
        await asyncio.gather(*(call(lane) for _ in range(10)))

    run_virtual(main())
    assert lost[0][0] == pytest.approx(seconds, abs=1.0)
    assert len(lost) == 10
    assert {error.status for _, error in lost} == {429}
    assert str(lost[0][1]).startswith("slow down (test:model has failed for")


def told(lane: Lane, server: Server, many: int) -> Any:
    """So many calls at once; gives each with when it was over, None for a reply."""

    async def call() -> tuple[float, CallError | None]:
        try:
            await send(lane, server)
        except CallError as error:
            return now(), error
        return now(), None

    return asyncio.gather(*(call() for _ in range(many)))


def test_a_pause_of_more_than_a_day_is_not_sat_out_by_those_who_wait() -> None:
    """They are told at once, with how long it is, whichever model of the key they are for; of a day they wait."""
    server = Refusing((0.0, 1.0), wait=200_000.0, jitter=0.0)
    kin, other = Server(label="test:kin"), Server(account="another key")

    async def main() -> None:
        lanes = Lanes(Turnstile(2), None)
        lane = lanes.of(server, None)
        waiting = await told(lane, server, 6)
        assert [at for at, _ in waiting] == pytest.approx([0.01] * 6, abs=0.01)
        for _, error in waiting[2:]:
            assert isinstance(error, StatusError)
            assert (error.status, error.retry_after) == (429, pytest.approx(200_000, abs=1))
            assert "slow down (all calls with this key are to wait for 200000 s more" in str(error)
        ((_, later),) = await told(lanes.of(kin, None), kin, 1)
        assert isinstance(later, StatusError)
        assert later.model == "test:kin"
        ((_, fine),) = await told(lanes.of(other, None), other, 1)
        assert fine is None
        await sleep(200_000 - 80_000)
        ((at, fine),) = await told(lane, server, 1)
        assert (fine, at > 200_000) == (None, True)

    run_virtual(main())
    assert len(server.refused) == 2


@pytest.mark.parametrize(("known", "seconds"), [(False, 20.0), (True, 90.0)], ids=["a stranger", "known"])
def test_a_key_that_is_refused_is_given_up_at_once_with_all_of_its_models(known: bool, seconds: float) -> None:
    """A model that is new waits as long as those that the key was seen well with, and is told of the refusal."""
    server = Refusing((0.1 if known else 0.0, 1e9), wait=None, latency=(0.05, 0.05))
    kin = Refusing((0.0, 1e9), wait=None, label="test:kin")

    async def main() -> None:
        lanes = Lanes(Turnstile(2), None)

        async def call(one: Server) -> tuple[float, StatusError]:
            while True:
                try:
                    await send(lanes.of(one, None), one)
                except StatusError as error:
                    if "not sent" in str(error):
                        return now(), error

        if known:
            await send(lanes.of(server, None), server)
        refused = asyncio.create_task(call(server))
        await sleep(0.5)
        at, error = await call(kin)
        await refused
        assert (error.status, error.model) == (429, "test:kin")
        assert at == pytest.approx(seconds, abs=1.0)
        assert ("never answered" in str(error)) is not known

    run_virtual(main())


# -- the account itself -------------------------------------------------------------------------------------------


def test_a_refusal_of_what_left_before_the_pause_makes_it_no_longer() -> None:
    """Ten refused at once are one pause, unless one of them says to wait longer."""
    account = Account()
    account.refused(0.0, None, 1.0, luck=1.0)
    until = account.until
    assert account.refused(0.5, None, 1.1, luck=1.0) == 0
    assert account.until == until
    account.refused(0.5, 9.0, 1.2, luck=1.0)
    assert account.until == pytest.approx(10.2)
    account.refused(0.5, 3.0, 1.3, luck=1.0)
    assert account.until == pytest.approx(10.2)


def test_what_is_accepted_makes_pauses_short_again() -> None:
    """Only what left after the pause began says that the server takes something again."""
    account = Account()
    for at in (0.0, 20.0, 40.0):
        account.refused(at, None, at + 0.1, luck=1.0)
    account.accepted(39.0)
    assert account.refused(60.0, None, 60.1, luck=1.0) == 16
    account.accepted(80.0)
    assert account.refused(81.0, None, 81.1, luck=1.0) == 1
