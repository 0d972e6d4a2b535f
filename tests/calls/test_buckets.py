"""Buckets and estimates by themselves: no window ever sees more than its limit, whatever the sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.calls.allowance import Allowance, Given, Need, RateLimit
from fanfold.calls.appetite import Appetite
from fanfold.calls.buckets import Bucket
from fanfold.core.records import Limit, Limits, Message, Request, Usage
from fanfold.errors import UsageError


def left(bucket: Bucket, needs: list[float], rests: list[float]) -> list[tuple[float, float]]:
    """Take each need as soon as it may leave, after its rest; gives when what left."""
    at, out = 0.0, []
    for need, rest in zip(needs, rests, strict=False):
        at += rest
        at += bucket.wait(need, at)
        bucket.take(need, at)
        out.append((at, need))
    return out


@given(
    st.floats(10, 1e6),
    st.lists(st.floats(0.0001, 0.5), max_size=80),
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.5, 20.0, 100.0]), min_size=80, max_size=80),
)
def test_no_minute_wherever_it_begins_sees_more_than_the_limit(limit, shares, rests) -> None:
    """Sizes up to half of the limit, rests of any length: the sum of every 60 seconds is at most the limit."""
    out = left(Bucket(limit, 60.0, "given"), [share * limit for share in shares], rests)
    for at, _ in out:
        assert sum(need for later, need in out if at <= later < at + 60) <= limit * (1 + 1e-6)


@given(st.integers(10, 100_000))
def test_a_steady_stream_has_97_in_100_of_the_limit(limit: int) -> None:
    """Of ones in a row between 97 and 98 in 100 of the limit leave, beside the first burst."""
    bucket = Bucket(limit, 60.0, "given", most=10.0)
    at = 0.0
    for _ in range(300):
        at += bucket.wait(1.0, at)
        bucket.take(1.0, at)
    assert 0.97 * limit * at / 60 <= 300 <= 0.98 * limit * at / 60 + 11


def test_a_burst_is_a_sixtieth_of_the_window_and_at_most_ten_requests() -> None:
    """Eight of five hundred leave at once, ten of a million; and after a refusal none but one."""

    def at_once(bucket: Bucket, at: float = 0.0) -> int:
        many = 0
        while bucket.wait(1.0, at) <= 1e-9:
            bucket.take(1.0, at)
            many += 1
        return many

    assert at_once(Bucket(500, 60.0, "given", most=10.0)) == 8
    assert at_once(Bucket(1e6, 60.0, "given", most=10.0)) == 10
    refused = Bucket(1e6, 60.0, "given", most=10.0)
    refused.calm(0.0)
    assert at_once(refused) == 0
    assert at_once(refused, 30.0) == 1
    assert at_once(refused, 60.0) == 1


def test_refusals_without_bursts_slow_a_bucket_by_a_tenth_at_most() -> None:
    """0.98 of the limit, then 0.95, 0.92, and 0.9 for good."""
    bucket = Bucket(60.0, 60.0, "given")
    paces = []
    for at in range(6):
        bucket.calm(float(at))
        paces.append(round(bucket.pace, 3))
    assert paces == [0.98, 0.951, 0.922, 0.9, 0.9, 0.9]


def test_a_need_above_the_limit_waits_for_all_of_it_but_not_for_ever() -> None:
    """What can never fit is for the server to refuse."""
    bucket = Bucket(100.0, 60.0, "given")
    assert bucket.wait(1e9, 0.0) == 0
    bucket.take(1e9, 0.0)
    assert 60 <= bucket.wait(1e9, 0.0) <= 62


def test_what_others_took_counts_until_the_servers_window_is_over() -> None:
    """600 a minute of which the server has 10 left, for 20 s more: after ten there is a wait of what is left of it."""
    bucket = Bucket(600.0, 60.0, "headers")
    bucket.hear(600.0, 10.0, 20.0, 0.0)
    assert bucket.used(0.0) == 590
    left(bucket, [1.0] * 10, [0.0] * 10)
    assert bucket.wait(1.0, 1.0) == pytest.approx(19.0)
    assert bucket.used(20.0) == 10


def test_what_others_take_of_a_limit_beyond_ours_keeps_nobody_waiting() -> None:
    """100 of a key's 1000 are ours: 500 that others took leave us all of them, and 980 that they took leave us 20."""
    for remaining, used in ((500.0, 1), (99.0, 1), (20.0, 80)):
        bucket = Bucket(100.0, 60.0, "given")
        bucket.take(1.0, 0.0)
        bucket.hear(1000.0, remaining, 30.0, 0.1)
        assert bucket.used(0.1) == used
        assert (bucket.limit, bucket.source) == (100.0, "given")


def test_what_the_server_has_left_for_less_than_a_moment_is_not_heard() -> None:
    """A server without bursts always has nothing left, for a tenth of a second."""
    bucket = Bucket(600.0, 60.0, "headers")
    bucket.take(1.0, 0.0)
    bucket.hear(600.0, 0.0, 0.1, 0.02)
    assert bucket.used(0.02) == 1


def test_a_correction_gives_back_or_takes_more() -> None:
    """A reply of 50 tokens that was taken for 250 leaves 200; one of 400 takes 150 more."""
    for real in (50.0, 400.0):
        bucket = Bucket(60_000.0, 60.0, "given")
        entry = bucket.take(250.0, 0.0)
        level = bucket.level(0.0)
        bucket.correct(entry, real)
        assert bucket.used(0.0) == real
        assert bucket.level(0.0) == pytest.approx(level + 250 - real)


def test_no_debt_is_longer_than_a_window() -> None:
    """After a reply of five times the limit, and after a limit that fell to a hundredth, a wait is about a window."""
    bucket = Bucket(30_000.0, 60.0, "headers")
    bucket.correct(bucket.take(1_000.0, 0.0), 150_000.0)
    assert bucket.used(0.0) == 30_000
    assert 60 <= bucket.wait(1_000.0, 0.0) <= 65
    bucket.hear(300.0, None, None, 1.0)
    assert 60 <= bucket.wait(1.0, 1.0) <= 65


def test_a_limit_that_grows_gives_nothing_at_once() -> None:
    """A debt stays one: twice the rate pays it back in half of the time."""
    bucket = Bucket(60.0, 60.0, "headers")
    for _ in range(3):
        bucket.take(1.0, 0.0)
    before = bucket.wait(1.0, 0.0)
    assert bucket.hear(120.0, None, None, 0.0)
    assert 0 < bucket.wait(1.0, 0.0) < before
    assert not bucket.hear(120.0, None, None, 0.0)


# -- allowances ---------------------------------------------------------------------------------------------------


def test_an_allowance_says_what_is_new() -> None:
    """The first headers, and every limit that changes; not what stays."""
    allowance = Allowance()
    told = Limits(requests=Limit(500, 499, 1.0), tokens=Limit(None, 5, 1.0))
    assert allowance.hear(told, 0.0) == ["the server told its limit of 500 requests in 60 s"]
    assert allowance.hear(told, 1.0) == []
    assert allowance.hear(Limits(requests=Limit(250)), 2.0) == ["the server's limit is now 250 requests in 60 s"]
    assert not allowance.tokens
    allowance.hear(Limits(input_tokens=Limit(9_000)), 3.0)
    assert allowance.tokens


def test_a_send_takes_from_every_limit() -> None:
    """One request, its input, its output, and both together."""
    limit = RateLimit(requests=60, tokens=6_000, input_tokens=6_000, output_tokens=6_000)
    allowance = Allowance(limit)
    allowance.take(Need(70.0, 30.0), 0.0)
    used = {name: bucket.used(0.0) for name, bucket in allowance.buckets.items()}
    assert used == {"requests": 1, "tokens": 100, "input_tokens": 70, "output_tokens": 30}


def test_limits_are_found_by_model_then_for_all() -> None:
    """A model's own limit goes before the one for everyone; a provider's is one for all its models."""
    named = Given({"a:m": RateLimit(requests=1), "b": RateLimit(requests=2, per=30.0)})
    assert named.own("a:m").buckets["requests"].limit == 1
    assert not named.own("a:n").buckets
    assert named.shared("a:m") is None
    assert named.shared("b:x") is named.shared("b:y") is not None
    assert named.own("b:x").per == 30.0
    everyone = Given(RateLimit(tokens=7))
    assert everyone.own("a:m").buckets["tokens"].limit == 7
    assert everyone.own("a:m") is not everyone.own("a:m")


def test_a_limit_that_is_no_rate_limit_is_refused() -> None:
    """A bare number would not say of what."""
    with pytest.raises(UsageError, match=r"'openai': 500.*RateLimit\(requests"):
        Given({"openai": 500})
    with pytest.raises(UsageError, match="rate_limits=500"):
        Given(500)


# -- estimates ----------------------------------------------------------------------------------------------------


def asked(text: str = "x" * 400, **options: object) -> Request:
    return Request((Message("user", text),), **options)


def test_an_estimate_takes_the_ceiling_where_the_server_does() -> None:
    """OpenAI meters `max_tokens`, for each sample; Anthropic what comes out, and a ceiling only bounds it."""
    ceiling, used = Appetite(by_ceiling=True), Appetite(by_ceiling=False)
    assert ceiling.estimate(asked(max_tokens=1_000, n=3)).output_tokens == 3_000
    assert used.estimate(asked(max_tokens=1_000)).output_tokens == 256
    assert used.estimate(asked(max_tokens=100)).output_tokens == 100
    assert ceiling.estimate(asked()).output_tokens == 256
    assert ceiling.estimate(asked()).of("tokens") == 101 + 256


def test_estimates_learn_from_what_replies_told() -> None:
    """After some replies of 200 tokens in and 40 out, that is what the next is expected to need."""
    appetite = Appetite(by_ceiling=False)
    for _ in range(100):
        appetite.learn(asked(), Usage(200, 40))
    need = appetite.estimate(asked())
    assert need.input_tokens == pytest.approx(201, abs=1)
    assert need.output_tokens == pytest.approx(40, abs=1)


def test_a_picture_counts_as_a_thousand_tokens_however_large_its_data() -> None:
    """A megabyte of base64 is no quarter of a million tokens."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    request = Request((Message("user", [{"type": "text", "text": "é" * 10}, picture]),))
    assert Appetite(by_ceiling=True).estimate(request).input_tokens == (20 + 4_000) / 4 + 1
