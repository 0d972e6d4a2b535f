"""Limits that nobody told: found from what is refused, and followed when they change."""

import itertools

import pytest

from fanfold.calls.guess import Guess
from fanfold.calls.pulse import Pulse
from fanfold.testing import run_virtual
from tests.calls.limited import Server, keep_busy, lane_to, within

RPM = 600
SERVERS = {
    "bucket": {"kind": "bucket"},
    "small bucket": {"kind": "bucket", "burst": 10},
    "no bursts": {"kind": "bucket", "burst": 1, "jitter": 0.0},
    "fixed": {"kind": "fixed"},
    "sliding": {"kind": "sliding"},
    "counts refusals": {"kind": "sliding", "count_rejected": True},
}
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 5))]

server_kinds = pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)
with_or_without_retry_after = pytest.mark.parametrize(
    "retry", [True, pytest.param(False, marks=pytest.mark.long)], ids=["retry-after", "no word"]
)
seeds = pytest.mark.parametrize("seed", SEEDS)


def kept_busy(server: Server, seed: int, change: float = 1.0) -> None:
    """Ten minutes of as many calls as there may be; after five the limit changes."""

    async def main() -> None:
        lane = lane_to(server)
        await keep_busy(lane, server, 300)
        server.resize(requests=RPM * change)
        await keep_busy(lane, server, 300)

    run_virtual(main(), seed=seed)


@seeds
@with_or_without_retry_after
@server_kinds
def test_of_an_unknown_limit_90_in_100_are_used_after_a_minute_with_at_most_3_429s_in_100(
    options: dict, retry: bool, seed: int
) -> None:
    """From the second minute to the tenth; refusals count from the first call on."""
    server = Server(rpm=RPM, retry=retry, **options)
    kept_busy(server, seed)
    assert within(server.accepted, 60, 600) >= 0.9 * RPM * 9
    assert server.share_refused(0, 600) <= 0.03


@seeds
@with_or_without_retry_after
@server_kinds
def test_a_limit_that_is_halved_costs_at_most_5_429s_in_100_in_the_next_minute(
    options: dict, retry: bool, seed: int
) -> None:
    """And two minutes later nearly all of what is left is used.

    A server that says no time is asked a few times while its window passes, when little is accepted: there it is 8.
    """
    server = Server(rpm=RPM, retry=retry, **options)
    kept_busy(server, seed, 0.5)
    assert server.share_refused(300, 360) <= (0.05 if retry else 0.08)
    assert within(server.accepted, 420, 600) >= 0.85 * RPM / 2 * 3


@seeds
@with_or_without_retry_after
@server_kinds
def test_of_a_limit_that_is_doubled_90_in_100_are_used_within_two_minutes(
    options: dict, retry: bool, seed: int
) -> None:
    """In some half minute of the two and a half after it, nine tenths of the new limit are sent."""
    server = Server(rpm=RPM, retry=retry, **options)
    kept_busy(server, seed, 2.0)
    best = max(within(server.accepted, start, start + 30) for start in range(300, 421, 5))
    assert best >= 0.9 * RPM * 2 / 2
    assert within(server.accepted, 420, 600) >= 0.75 * RPM * 2 * 3


# -- the guess itself ---------------------------------------------------------------------------------------------


def sending(guess: Guess, pulse: Pulse, start: float, seconds: float) -> tuple[int, float]:
    """Send as fast as the guess allows (at most 1000 a second); gives how many and when the next would be."""
    at, many = start, 0
    while at < start + seconds:
        pulse.count(at)
        guess.take(at)
        many += 1
        at += max(guess.wait(at), 0.001)
    return many, at


def test_nothing_is_limited_before_the_first_refusal() -> None:
    """There is no rate until a server refused something."""
    guess = Guess(Pulse())
    assert not guess.active
    assert guess.rate == float("inf")
    assert guess.wait(5.0) == 0


def test_a_long_pause_says_that_what_was_accepted_is_a_windows_worth() -> None:
    """600 accepted and then a wait of 54 s: that is 600 a minute, and we go on just below."""
    pulse = Pulse()
    guess = Guess(pulse)
    sending(guess, pulse, 0.0, 0.6)
    assert guess.refused(0.6, 0.6)
    assert guess.resume(54.6)
    assert guess.rate * 60 == pytest.approx(0.93 * 600, rel=0.02)


@pytest.mark.parametrize("pause", [1.0, 5.0, 30.0])
def test_a_refusal_after_too_few_sends_says_that_there_is_a_limit_but_not_which(pause: float) -> None:
    """Others may have used up the key: two sends a minute are no measure, so the search begins at one in three seconds."""
    pulse = Pulse()
    guess = Guess(pulse)
    for _ in range(2):
        pulse.count(0.0)
        guess.take(0.0)
    guess.refused(0.0, 0.1)
    guess.resume(0.1 + pause)
    assert guess.rate == pytest.approx(1 / min(pause, 3))
    _, at = sending(guess, pulse, 0.1 + pause, 25.0)
    assert guess.rate >= 5.0
    guess.refused(at, at)
    guess.resume(at + pause)
    assert guess.rate >= 2.5


def test_a_refusal_of_what_left_before_the_last_one_is_no_news() -> None:
    """64 refused at once are one event, not 64 cuts."""
    pulse = Pulse()
    guess = Guess(pulse)
    for _ in range(64):
        pulse.count(1.0)
        guess.take(1.0)
    assert guess.refused(1.0, 1.1)
    assert not any(guess.refused(1.0, 1.2) for _ in range(63))
    assert guess.resume(3.0)
    assert not guess.resume(3.1)


def test_without_waiting_calls_a_guess_does_not_grow() -> None:
    """A lane that sends a call a second under a limit of ten learns nothing about the limit."""
    pulse = Pulse()
    guess = Guess(pulse)
    sending(guess, pulse, 0.0, 0.6)
    guess.refused(0.6, 0.6)
    guess.resume(54.6)
    before = guess.rate
    for second in range(60, 600):
        guess.take(float(second))
    assert guess.rate == before


def test_the_longer_nothing_is_refused_the_faster_it_grows() -> None:
    """It stays near what was refused for half a minute, and has doubled after two."""
    pulse = Pulse()
    guess = Guess(pulse)
    sending(guess, pulse, 0.0, 0.6)
    guess.refused(0.6, 0.6)
    guess.resume(54.6)
    rates = [guess.rate]
    at = 54.6
    for _ in range(4):
        _, at = sending(guess, pulse, at, 30.0)
        rates.append(guess.rate)
    assert rates[1] <= 1.05 * rates[0]
    assert rates[4] >= 2 * rates[0]
    steps = [after - before for before, after in itertools.pairwise(rates)]
    assert steps == sorted(steps)


def test_what_never_left_is_taken_back() -> None:
    """A send that was cancelled in its turn does not use up the rate."""
    pulse = Pulse()
    guess = Guess(pulse)
    sending(guess, pulse, 0.0, 0.6)
    guess.refused(0.6, 0.6)
    guess.resume(54.6)
    guess.take(60.0)
    waiting = guess.wait(60.0)
    guess.untake()
    assert guess.wait(60.0) == 0 < waiting


# -- the pulse ----------------------------------------------------------------------------------------------------


def test_a_pulse_forgets_what_is_over_a_minute_ago() -> None:
    """What left counts in its second, for a little over a minute."""
    pulse = Pulse()
    for second in range(200):
        pulse.count(second + 0.5)
    assert pulse.a_minute(200.0) == 60
    assert pulse.accepted(0.0, 200.0) <= 64
    assert pulse.usual(200.0) == pytest.approx(1.0)


def test_what_turns_out_refused_does_not_count() -> None:
    """Nor may it be counted out twice, or when it is forgotten already."""
    pulse = Pulse()
    pulse.count(1.5)
    pulse.uncount(1.5)
    pulse.uncount(1.5)
    assert pulse.accepted(0.0, 2.0) == 0
    pulse.count(500.0)
    pulse.uncount(1.5)
    assert pulse.accepted(490.0, 501.0) == 1


def test_a_pulse_of_few_sends_says_nothing() -> None:
    """Nine sends are no rate."""
    pulse = Pulse()
    assert pulse.usual(0.0) is None
    for _ in range(9):
        pulse.count(1.0)
    assert pulse.usual(10.0) is None
    pulse.count(1.0)
    assert pulse.usual(10.0) == pytest.approx(10 / 9)
