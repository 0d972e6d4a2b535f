"""How limits are told: durations, times of day, and the forms of Retry-After."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

from fanfold.testing import Limits
from fanfold.testing.server.meter import Standing
from fanfold.testing.server.telling import anthropic_headers, duration, moment, openai_headers, retry_headers

STANDINGS = [Standing("requests", 60, 59.9999999, 1), Standing("tokens", 150000, 149984.2, 360)]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (0.0004, "1ms"),
        (0.02, "20ms"),
        (0.0171, "18ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (72.5, "1m12.5s"),
        (3600, "1h0m0s"),
        (90061.001, "25h1m1.001s"),
    ],
)
def test_a_duration_is_written_as_openai_writes_it(seconds, said):
    """The forms that OpenAI's page shows, rounded up to a millisecond and never to nothing."""
    assert duration(seconds) == said


def test_openai_is_told_durations():
    """Limit, remaining and reset of each window, whole numbers, resets as durations."""
    assert openai_headers(STANDINGS) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "60",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }


def test_anthropic_is_told_times_of_day():
    """Limit, remaining and reset of each window, resets as RFC 3339 in UTC."""
    told = anthropic_headers([Standing("input-tokens", 1000, 10, 30)])
    assert told["anthropic-ratelimit-input-tokens-limit"] == "1000"
    assert told["anthropic-ratelimit-input-tokens-remaining"] == "10"
    reset = told["anthropic-ratelimit-input-tokens-reset"]
    assert reset.endswith("Z")
    assert timedelta(seconds=29) < datetime.fromisoformat(reset) - datetime.now(UTC) < timedelta(seconds=31)


def test_a_moment_is_never_too_early():
    """A time of day rounded to milliseconds is not before the moment it means."""
    for milliseconds in range(0, 50, 7):
        before = datetime.now(UTC)
        told = datetime.fromisoformat(moment(milliseconds / 1000))
        assert told >= before + timedelta(milliseconds=milliseconds) - timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("form", "header", "value"),
    [
        ("seconds", "Retry-After", "3"),
        ("float", "Retry-After", "2.501"),
        ("ms", "retry-after-ms", "2501"),
        ("-10", "Retry-After", "-10"),
        ("nan", "Retry-After", "nan"),
        ("", "Retry-After", ""),
        ("soon, honest", "Retry-After", "soon, honest"),
    ],
)
def test_a_wait_is_told_in_the_form_that_was_asked_for(form, header, value):
    """Each form rounds up, so that who obeys is not refused; any other text goes out as it stands."""
    assert retry_headers(Limits(retry_after=form), 2.5001) == {header: value}


def test_a_wait_as_a_date_is_one():
    """An HTTP date in whole seconds, not before the wait is over."""
    told = parsedate_to_datetime(retry_headers(Limits(retry_after="date"), 5)["Retry-After"])
    assert timedelta(seconds=4.9) <= told - datetime.now(UTC) <= timedelta(seconds=6)


def test_a_wait_can_be_left_out():
    """With none nothing is told; nor of a wait that never ends; x-should-retry comes where it is wanted."""
    assert retry_headers(Limits(retry_after="none"), 5) == {}
    assert retry_headers(Limits(), float("inf")) == {}
    assert retry_headers(Limits(retry_after="none", should_retry=False), 5) == {"x-should-retry": "false"}
    assert retry_headers(Limits(should_retry=True), 5) == {"x-should-retry": "true", "Retry-After": "5"}
