"""Refusals that no limit makes: they are told from those of a limit, and do not make the rate go to nothing."""

import pytest

from fanfold import Session, map_over, prompt
from fanfold.calls.random_loss import CLEAR, FIRST, RandomLoss
from fanfold.core.clock import now
from fanfold.testing import SimulatedModel, run_virtual
from tests.calls.limited import Server, keep_busy, lane_to, within

CALLS, LATENCY, AT_ONCE = 2_000, 2.0, 50
IDEAL = CALLS * LATENCY / AT_ONCE


def took(fault: str) -> tuple[float, int]:
    """Seconds that the calls take at a server with this fault, and how many were refused."""
    model = SimulatedModel("fake", latency=LATENCY, faults=[fault])

    async def main() -> float:
        async with Session(model, max_in_flight=AT_ONCE, timeout=None) as session:
            began = now()
            each = map_over(prompt("{input}", max_tokens=20))
            await each.run([str(number) for number in range(CALLS)], session=session)
            return now() - began

    return run_virtual(main()), model.bill.by_status[429]


@pytest.mark.parametrize("share", [0.005, 0.01, 0.02, 0.05, 0.1])
def test_refusals_by_chance_cost_a_bounded_time(share: float) -> None:
    """Taken for a limit, 1 in 100 made it take four times as long, 5 in 100 ninety times."""
    seconds, refused = took(f"429:{share}")
    assert refused >= CALLS * share * 0.7
    assert seconds <= 2.0 * IDEAL


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_refusals_by_chance_that_say_how_long_to_wait_cost_that_and_a_bounded_time(share: float) -> None:
    """All calls wait for as long as the server asks, each time."""
    seconds, refused = took(f"429=1:{share}")
    assert refused <= seconds <= refused + 2.0 * IDEAL


@pytest.mark.parametrize("kind", ["bucket", "sliding", "fixed"])
def test_a_limit_is_found_at_a_server_that_also_refuses_by_chance(kind: str) -> None:
    """Where nothing was made of refusals for minutes, a limit shows by how many there are then."""
    server = Server(kind, rpm=6_000)
    server.by_chance = 0.02

    async def main() -> None:
        lane = lane_to(server, limit=16)
        await keep_busy(lane, server, 240, 16)
        server.resize(requests=300)
        await keep_busy(lane, server, 300, 16)

    run_virtual(main(), seed=0)
    assert within(server.accepted, 180, 240) >= 900
    assert server.share_refused(300, 540) <= 0.15
    assert within(server.accepted, 300, 540) >= 0.5 * 300 * 4


def tried(loss: RandomLoss, times: int, *, accepted: int = 20, most: float = 1e9, windowed: bool = False) -> list[bool]:
    """What so many refusals come to."""
    return [loss.first(accepted, 2.0, most, windowed=windowed) for _ in range(times)]


def believed(loss: RandomLoss, sends: int) -> int:
    """After how many refusals, each so many sends after the one before, there is a limit."""
    return next(number for number in range(1, 1_000) if loss.again(sends, 0.0))


def test_after_some_refusals_it_is_tried_whether_there_is_a_limit() -> None:
    """Those that come one upon the other do not count."""
    loss = RandomLoss()
    assert not any(tried(loss, 50, accepted=2))
    assert tried(loss, FIRST) == [False] * (FIRST - 1) + [True]
    assert loss.trying


def test_who_refused_all_in_between_is_not_tried() -> None:
    """So does a limit."""
    loss = RandomLoss()
    for _ in range(5):
        assert not any(tried(loss, FIRST - 1))
        loss.doubt()
    assert not any(tried(RandomLoss(), FIRST, windowed=True))


def test_nothing_is_tried_where_other_limits_would_hide_what_comes_of_it() -> None:
    """They have to allow more than twice as much."""
    assert not any(tried(RandomLoss(), 50, most=2.0 * CLEAR - 0.1))
    assert any(tried(RandomLoss(), FIRST, most=2.0 * CLEAR))


def test_a_limit_ends_the_trial_after_a_few_and_the_next_comes_after_twice_as_many() -> None:
    """Of every three sends one is refused."""
    loss = RandomLoss()
    tried(loss, FIRST)
    assert believed(loss, 2) <= 4
    assert tried(loss, 2 * FIRST) == [False] * (2 * FIRST - 1) + [True]


def test_where_more_was_accepted_than_the_limit_would_it_takes_many_to_believe_in_one() -> None:
    """At one in ten nothing is made of them; at one in two it is soon a limit, and is tried again as at first."""
    loss = RandomLoss()
    tried(loss, FIRST)
    assert not any(loss.again(9, 2.0 * 60 * 2) for _ in range(200))
    assert loss.proven
    assert 8 <= believed(loss, 1) <= 40
    assert tried(loss, FIRST)[-1]
