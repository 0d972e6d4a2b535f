"""A server that refuses all and does not say for how long: when there may be room is worked out, not tried."""

import pytest

from fanfold.calls.guess import Guess
from fanfold.calls.pause import Account, Patience
from fanfold.calls.pulse import Pulse
from fanfold.calls.shut import Shut


def spread(pulse: Pulse, start: int, seconds: int, each: int = 1) -> None:
    """So many accepted in each of these seconds."""
    for second in range(start, start + seconds):
        for _ in range(each):
            pulse.count(second + 0.5)


def test_a_pulse_tells_when_the_last_minute_will_hold_no_more_than_so_many() -> None:
    """Of one a second for a minute, 45 are left when the first 15 are a minute ago; what it holds already is now."""
    pulse = Pulse()
    spread(pulse, 0, 60)
    assert pulse.until(45, 60.0) == pytest.approx(15, abs=1)
    assert pulse.until(30, 60.0) == pytest.approx(30, abs=1)
    assert pulse.until(0, 60.0) == pytest.approx(60, abs=1)
    assert pulse.until(60, 60.0) == 0
    assert pulse.until(0, 500.0) == 0


def test_what_a_pulse_tells_of_a_drained_minute_comes_true() -> None:
    """It counts by the second: one after the moment that it names there are so few, one before there were more."""
    pulse = Pulse()
    spread(pulse, 0, 20, each=7)
    spread(pulse, 20, 40, each=2)
    for level in (200, 150, 100, 50, 10):
        at = 60.0 + pulse.until(level, 60.0)
        assert pulse.a_minute(at + 1.0) <= level < pulse.a_minute(at - 1.0)


def test_a_window_is_tried_when_its_oldest_are_out_then_at_half_of_it_then_at_half_of_that() -> None:
    """A hundred a minute, evenly: room for three after two seconds, for half of it after half a minute."""
    pulse, shut = Pulse(), Shut()
    spread(pulse, 0, 60, each=2)
    shut.begin(pulse.a_minute(60.0), 60.0)
    waits = []
    for _ in range(3):
        shut.again()
        waits.append(shut.wait(pulse, 60.0, 3))
    assert shut.row == 3
    assert waits == [pytest.approx(2, abs=1), pytest.approx(32, abs=2), pytest.approx(48, abs=2)]


def test_the_end_of_a_fixed_window_is_tried_before_half_of_what_it_held() -> None:
    """Once, where it is not yet over, and where that is sooner."""
    pulse = Pulse()
    spread(pulse, 0, 60, each=2)
    for due, later in ((70.0, 10.0), (60.5, 32.0), (150.0, 32.0)):
        shut = Shut()
        shut.begin(pulse.a_minute(60.0), due)
        shut.wait(pulse, 60.0, 3)
        assert shut.wait(pulse, 60.0, 3) == pytest.approx(later, abs=2)
    shut.begin(pulse.a_minute(60.0), 70.0)
    waits = [shut.wait(pulse, 60.0, 3) for _ in range(3)]
    assert waits == sorted(waits)


def test_each_refusal_that_may_have_been_counted_lowers_what_is_waited_for() -> None:
    """A server that counts what it refuses has less room after each try."""
    pulse, quiet, tried = Pulse(), Shut(), Shut()
    spread(pulse, 0, 60, each=1)
    for shut in (quiet, tried):
        shut.begin(60.0, 60.0)
        shut.wait(pulse, 60.0, 3)
    for _ in range(4):
        tried.again()
    assert tried.wait(pulse, 60.0, 3) >= quiet.wait(pulse, 60.0, 3) + 3


def test_of_few_accepted_sends_nothing_is_worked_out() -> None:
    """Nine in a minute are no measure of a window."""
    pulse, shut = Pulse(), Shut()
    spread(pulse, 0, 9)
    shut.begin(pulse.a_minute(9.0), 20.0)
    shut.again()
    assert shut.wait(pulse, 9.0, 3) == 0


# -- what a lane and its account make of it -----------------------------------------------------------------------


def busy(guess: Guess, pulse: Pulse, start: float, end: float) -> float:
    """Send as fast as it allows; gives when it ended."""
    at = start
    while at < end:
        pulse.count(at)
        guess.take(at)
        at += max(guess.wait(at), 0.05)
    return at


def refused_again(guess: Guess, pulse: Pulse, at: float) -> None:
    """One more goes out at `at`, and is refused."""
    pulse.count(at)
    guess.take(at)
    pulse.uncount(at)
    guess.refused(at, at, told=False)


def after_a_window(full: float) -> tuple[Guess, Pulse, float]:
    """A guess that was refused at `full`, waited for the rest of a minute and has gone on until now."""
    pulse = Pulse()
    guess = Guess(pulse)
    busy(guess, pulse, 0.0, full)
    guess.refused(full, full)
    guess.resume(60.0)
    return guess, pulse, busy(guess, pulse, 60.0, 100.0)


def test_where_windows_pass_a_try_that_is_refused_too_waits_for_half_of_a_window() -> None:
    """The third refusal in a row asks until half of what was sent since the window opened is a minute ago."""
    guess, pulse, at = after_a_window(6.0)
    drained = []
    for _ in range(3):
        refused_again(guess, pulse, at)
        drained.append(guess.patience.drained)
        at += 3.0
        guess.resume(at)
    assert drained[0] == 0
    assert drained[1] < drained[2] - 15
    assert 30 <= drained[2] <= 45
    assert guess.patience.row == 2


def test_a_bucket_that_has_nothing_when_two_are_due_is_taken_for_half_of_what_it_was() -> None:
    """Found by a search, so no window: refused, and again before anything was accepted."""
    pulse = Pulse()
    guess = Guess(pulse)
    busy(guess, pulse, 0.0, 1.0)
    guess.refused(1.0, 1.0)
    guess.resume(2.0)
    at = 2.0
    for _ in range(3):  # the coarse search, the fine one, and what they found
        at = busy(guess, pulse, at, at + 8.0)
        guess.refused(at, at)
        guess.resume(at + 1.0)
        at += 1.0
    before = guess.rate
    at = busy(guess, pulse, at, at + 12.0)
    refused_again(guess, pulse, at)
    guess.resume(at + 1.0)
    refused_again(guess, pulse, at + 1.1)
    guess.resume(at + 2.0)
    assert guess.rate <= 0.55 * before


def test_an_account_waits_as_a_lane_knows_and_else_longer_each_time() -> None:
    """What a lane worked out holds in full; the row that it counts is the one that pauses grow with."""
    account = Account()
    assert account.refused(0.0, None, 0.1, 0.0, Patience(4.0, 0)) == pytest.approx(2.0)
    assert account.refused(5.0, None, 5.1, 0.0, Patience(4.0, 1)) == pytest.approx(8.0)
    assert account.refused(20.0, None, 20.1, 0.0, Patience(4.0, 1, 31.0)) == 31
    assert account.refused(60.0, None, 60.1, 1.0, Patience(4.0, 0)) == pytest.approx(4.0)
    assert account.refused(70.0, None, 70.1, 1.0) == pytest.approx(4.0)
    assert account.refused(80.0, 3.0, 80.1, 1.0, Patience(4.0, 3, 31.0)) == 3


def test_what_refuses_soon_again_and_again_but_accepts_between_is_no_window() -> None:
    """A bucket that was taken for one: after two refusals that came soon, its rate is halved, not lowered a little."""
    guess, pulse, at = after_a_window(1.0)
    rates = []
    for _ in range(3):
        guess.refused(at, at, told=False)
        guess.resume(at + 1.0)
        rates.append(guess.rate)
        for step in (1.1, 1.6, 2.1):
            pulse.count(at + step)
            guess.take(at + step)
        at += 3.0
    assert rates[1] >= 0.7 * rates[0]
    assert rates[2] <= 0.55 * rates[1]
