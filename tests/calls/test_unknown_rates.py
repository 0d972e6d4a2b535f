"""Limits that nobody told: found from what is refused, and followed when they change."""

import itertools
from typing import Any

import pytest

from fanfold.calls.guess import Guess
from fanfold.calls.pulse import Pulse
from fanfold.testing import run_virtual
from tests.calls.limited import Server, keep_busy, lane_to, within

SERVERS = {
    "bucket": {"kind": "bucket"},
    "small bucket": {"kind": "bucket", "burst": 10},
    "no bursts": {"kind": "bucket", "burst": 1, "jitter": 0.0},
    "fixed": {"kind": "fixed"},
    "sliding": {"kind": "sliding"},
    "fixed, counts refusals": {"kind": "fixed", "count_rejected": True},
    "sliding, counts refusals": {"kind": "sliding", "count_rejected": True},
}
RATES = [20, 60, 200, 600, 2000, 6000]
FEW = 10
"""Refusals of ten minutes at 20 a minute, where 3 in 100 are six: each look for more costs at least one."""

PROBES = 3
"""Refusals in the minute after a limit of 60 is halved, where 5 in 100 of what comes are one: that there is another
limit, that a short wait does not mend it, and where it is."""

HALVED, DOUBLED = 0.5, 2.0
LONG = [pytest.mark.long, pytest.mark.timeout(300)]


def grid(*quick: int, least: int = 20, seeds: int = 3) -> Any:
    """Each kind of server, with and without Retry-After, at `least` to 6,000 a minute; a few of them are quick."""
    cases = []
    for rpm, kind, retry, seed in itertools.product(RATES, SERVERS, [True, False], range(seeds)):
        if rpm < least or (rpm >= 600 and seed >= 3):
            continue
        if rpm >= 2000 and (seed or "counts" in kind or kind == "small bucket"):
            continue  # more sends, not other ones
        marks = [] if rpm in quick and seed == 0 and (rpm == 200) == retry else LONG
        name = f"{kind}, {rpm} a minute, {'retry-after' if retry else 'no word'}, seed {seed}"
        cases.append(pytest.param(kind, rpm, retry, seed, id=name, marks=marks))
    return pytest.mark.parametrize(("kind", "rpm", "retry", "seed"), cases)


def kept_busy(kind: str, rpm: int, retry: bool, seed: int, change: float = 1.0) -> Server:
    """A server after ten minutes of as many calls as there may be; after five the limit changes."""
    server = Server(rpm=rpm, retry=retry, **SERVERS[kind])
    clients = next(many for most, many in [(120, 8), (400, 16), (2000, 64), (20_000, 256)] if rpm * change <= most)

    async def main() -> None:
        lane = lane_to(server, limit=clients)
        await keep_busy(lane, server, 300, clients)
        server.resize(requests=rpm * change)
        await keep_busy(lane, server, 300, clients)

    run_virtual(main(), seed=seed)
    return server


@grid(20, 60, 200)
def test_of_an_unknown_limit_90_in_100_are_used_after_a_minute_with_at_most_3_429s_in_100(
    kind: str, rpm: int, retry: bool, seed: int
) -> None:
    """From the second minute to the tenth; refusals count from the first call on. What was out when the first refusal
    came is refused whatever one does: below 200 a minute, where so few calls are a large share, that volley does not
    count. At 20 a minute there may be ten beside it, and 87 in 100 are used: there 3 in 100 are six. To find a limit
    takes about three, and a look whether it was doubled takes one more each: three looks in ten minutes are too few.
    """
    server = kept_busy(kind, rpm, retry, seed)
    volley = within(server.refused, 0, server.refused[0] + 0.05) - 1 if rpm < 200 else 0
    assert within(server.accepted, 60, 600) >= (0.9 if rpm >= 60 else 0.87) * rpm * 9
    assert len(server.refused) - volley <= max(0.03 * len(server.came), FEW if rpm == 20 else 0)


@grid(60, 200, least=60, seeds=10)
def test_a_limit_that_is_halved_costs_at_most_5_429s_in_100_in_the_next_minute(
    kind: str, rpm: int, retry: bool, seed: int
) -> None:
    """At 60 a minute, where 8 to 35 come, up to three: 5 in 100 are one or none, and no server tells of another limit
    but by refusing. Two minutes later at least four fifths of what is left are used.
    """
    server = kept_busy(kind, rpm, retry, seed, HALVED)
    assert within(server.refused, 300, 360) <= max(0.05 * within(server.came, 300, 360), PROBES if rpm == 60 else 0)
    assert within(server.accepted, 420, 600) >= 0.8 * rpm * HALVED * 3


@grid(60, 200)
def test_of_a_limit_that_is_doubled_90_in_100_are_used_within_two_minutes(
    kind: str, rpm: int, retry: bool, seed: int
) -> None:
    """Some half minute that ends no later than two minutes after it has nine tenths of the new limit. At 20 a minute,
    where two minutes are 40 requests, it takes up to five.
    """
    server = kept_busy(kind, rpm, retry, seed, DOUBLED)
    if rpm >= 60:
        best = max(within(server.accepted, end - 30, end) for end in range(330, 421))
        assert best >= 0.9 * rpm * DOUBLED / 2
        assert within(server.accepted, 420, 600) >= 0.75 * rpm * DOUBLED * 3
    else:
        assert within(server.accepted, 540, 600) >= 0.75 * rpm * DOUBLED


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
    """Others may have used up the key: two sends are no measure, so the search begins at one in three seconds."""
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
