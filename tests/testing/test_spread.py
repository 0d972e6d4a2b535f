"""Drawn latencies: their short form and their shape."""

import statistics

import pytest

from fanfold.core.records import Reply, Usage
from fanfold.errors import UsageError
from fanfold.testing.server.pace import Pace, Timing
from fanfold.testing.server.spread import Spread, spread

REPLY = Reply(("a b c",), Usage(1, 3))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (0.5, Spread("fixed", 0.5)),
        ("0.5", Spread("fixed", 0.5)),
        ("uniform:0.2,0.8", Spread("uniform", 0.2, 0.8)),
        ("lognormal:0.5,0.4", Spread("lognormal", 0.5, 0.4)),
    ],
)
def test_a_spread_is_written_short(text, found):
    """A number, or a word with its two figures."""
    assert spread("latency", text) == found


@pytest.mark.parametrize(
    "text", ["soon", "-1", "nan", "inf", "uniform:1", "uniform:2,1", "normal:1,1", "lognormal:-1,1", "uniform:a,b", ""]
)
def test_what_is_no_spread_is_refused(text):
    """It says what there is, under the name of the option."""
    with pytest.raises(UsageError, match=r"first_token=.*uniform:LOW,HIGH or lognormal:MEDIAN,SIGMA"):
        spread("first_token", text)


def drawn(pace, stream=True, count=3000):
    return [pace.timing(REPLY, 3, str(key), stream=stream).first for key in range(count)]


def test_a_uniform_latency_lies_between_its_ends():
    """All of them do, and their mean is in the middle."""
    times = drawn(Pace("uniform:0.2,0.8"), stream=False)
    assert 0.2 <= min(times) < 0.22
    assert 0.78 < max(times) <= 0.8
    assert statistics.mean(times) == pytest.approx(0.5, rel=0.03)


def test_a_lognormal_latency_has_its_median_and_its_tail():
    """Half are above the median; the 99th percentile is where the law has it (median x exp(2.326 sigma))."""
    times = sorted(drawn(Pace(0, first_token="lognormal:0.5,0.4"), count=5000))
    assert times[2500] == pytest.approx(0.5, rel=0.05)
    assert times[4950] == pytest.approx(0.5 * 2.536, rel=0.15)


def test_a_plain_reply_can_take_the_time_of_its_stream():
    """With latency="stream" both take the first token's time and a pause for each further word."""
    pace = Pace("stream", first_token=1.0, between_tokens=0.5)
    assert pace.timing(REPLY, 3, "", stream=False) == pace.timing(REPLY, 3, "") == Timing(1.0, 1.0)
    assert Pace("stream", between_tokens=0.5).timing(REPLY, 3, "") == Timing(0.0, 1.0)


def test_stragglers_wait_longer_for_the_first_word_only():
    """Slowness multiplies the time until the first word, not the pauses between the others."""
    pace = Pace("stream", first_token=1.0, between_tokens=0.5)
    assert pace.timing(REPLY, 3, "", slower=10) == Timing(10.0, 1.0)


def test_drawn_times_repeat_for_a_seed():
    """By seed and request."""
    assert drawn(Pace("uniform:0,1", seed=1), count=50) == drawn(Pace("uniform:0,1", seed=1), count=50)
    assert drawn(Pace("uniform:0,1", seed=1), count=50) != drawn(Pace("uniform:0,1", seed=2), count=50)
