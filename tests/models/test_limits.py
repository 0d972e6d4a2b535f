"""What servers tell of their limits, in both dialects, and what of it makes no sense."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.core.records import Limit, Limits
from fanfold.models import limits
from fanfold.models.endpoints import Endpoint
from fanfold.models.limits import limits_in, seconds_of, seconds_until

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "today", lambda: NOON)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("1m30s", 90),
        ("8.64s", 8.64),
        ("7m12s", 432),
        ("1d2h", 93600),
        ("2m", 120),
        ("0s", 0),
        ("1.5", 1.5),
        ("3", 3),
        ("", None),
        ("soon", None),
        ("-1s", None),
        ("1s2m", None),
        ("nan", None),
        ("inf", None),
        ("1.2.3s", 0),
    ],
)
def test_durations_are_read_as_openai_writes_them(text: str, seconds: float | None) -> None:
    """Hours, minutes, seconds and milliseconds, in this order; a bare number is seconds, anything else nothing."""
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.integers(0, 10**7))
def test_every_duration_comes_back(milliseconds: int) -> None:
    """What is written in its parts is read as their sum."""
    minutes, rest = divmod(milliseconds, 60_000)
    assert seconds_of(f"{minutes}m{rest // 1000}s{rest % 1000}ms") == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2030-01-01T12:00:30Z", 30),
        ("2030-01-01T12:00:30.250Z", 30.25),
        ("2030-01-01T13:01:00+01:00", 60),
        ("2030-01-01T12:00:05", 5),
        ("2029-12-31T00:00:00Z", 0),
        ("later", None),
        ("", None),
        ("2030-13-01T00:00:00Z", None),
    ],
)
def test_moments_are_read_as_anthropic_writes_them(text: str, seconds: float | None) -> None:
    """RFC 3339, with a zone or in UTC; what has passed is now."""
    assert seconds_until(text) == seconds


def test_openais_headers_tell_requests_and_tokens() -> None:
    """Limit, what remains, and when all of it is back."""
    told = limits_in(
        {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-limit-tokens": "200000",
            "x-ratelimit-remaining-tokens": "199000",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    )
    assert told == Limits(Limit(500, 499, 0.12), Limit(200_000, 199_000, 360))


def test_anthropics_headers_tell_input_and_output_apart() -> None:
    """Four kinds, with the time of day at which each is whole again."""
    later = (NOON + timedelta(seconds=9)).isoformat().replace("+00:00", "Z")
    headers = {}
    for kind, limit in {"requests": 50, "tokens": 48_000, "input-tokens": 40_000, "output-tokens": 8_000}.items():
        headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{kind}-remaining"] = str(limit // 2)
        headers[f"anthropic-ratelimit-{kind}-reset"] = later
    told = limits_in(headers)
    assert told == Limits(Limit(50, 25, 9), Limit(48_000, 24_000, 9), Limit(40_000, 20_000, 9), Limit(8_000, 4_000, 9))


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"x-ratelimit-limit-requests": "many"},
        {"x-ratelimit-limit-requests": "0"},
        {"x-ratelimit-limit-requests": "-5"},
        {"x-ratelimit-limit-requests": "nan"},
        {"x-ratelimit-limit-requests": "inf"},
        {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "11"},
        {"x-ratelimit-remaining-requests": "5"},
        {"anthropic-ratelimit-requests-limit": ""},
    ],
)
def test_nonsense_is_not_heard(nonsense: dict[str, str]) -> None:
    """No number, a limit of nothing, more left than there is: as if it had not been said."""
    assert limits_in(nonsense) is None


def test_half_of_a_statement_is_heard() -> None:
    """A limit without the rest, or with a rest that is nonsense, is a limit."""
    told = limits_in({"x-ratelimit-limit-tokens": "1000", "x-ratelimit-reset-tokens": "?"})
    assert told == Limits(tokens=Limit(1000, None, None))


def test_an_account_is_the_host_and_the_key_and_shows_no_key() -> None:
    """Same key, same host: one account, whatever else is sent; and nothing in it can be read back."""

    def account(url: str = "https://a.example/v1/x", **headers: str) -> str:
        return Endpoint(url, headers, loopback=False).account()

    mine = account(Authorization="Bearer sk-secret-key")
    assert mine == account("https://a.example/v1/y?q=1", Authorization="Bearer sk-secret-key", other="x")
    assert mine != account(Authorization="Bearer sk-other-key")
    assert mine != account("https://b.example/v1/x", Authorization="Bearer sk-secret-key")
    assert "secret" not in mine
