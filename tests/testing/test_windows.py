"""The windows of a rate limit: pure figures, held against a plain count of what was admitted."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.errors import UsageError
from fanfold.testing import Limits
from fanfold.testing.server.meter import Meter
from fanfold.testing.server.windows import NEVER, Bucket, Fixed, Sliding

KINDS = {"bucket": Bucket, "fixed": Fixed, "sliding": Sliding}

WINDOWS = pytest.mark.parametrize("kind", list(KINDS))


def admitted(window, moments, cost=1):
    """The moments at which a request was admitted."""
    found = []
    for at in moments:
        if window.wait(cost, at) == 0:
            window.take(cost, at)
            found.append(at)
    return found


@WINDOWS
def test_a_full_window_is_there_from_the_start(kind):
    """So many requests as the limit fit at once, and not one more."""
    window = KINDS[kind](10, 60, 0)
    assert len(admitted(window, [0.0] * 30)) == 10
    assert window.remaining(0) == 0


def test_a_bucket_fills_evenly():
    """At 60 a minute with a burst of one, a request fits each second, from the very first."""
    window = Bucket(60, 60, 0, burst=1)
    assert admitted(window, [tenth / 10 for tenth in range(51)]) == [0, 1, 2, 3, 4, 5]


def test_a_fixed_window_begins_anew():
    """What was used is forgotten at the end of the window, all at once."""
    window = Fixed(3, 60, 0)
    assert admitted(window, [50, 51, 52, 53, 59.9, 60, 60, 60, 60]) == [50, 51, 52, 60, 60, 60]


def test_a_sliding_window_forgets_each_request_by_itself():
    """What was taken leaves exactly a window later."""
    window = Sliding(3, 60, 0)
    assert admitted(window, [0, 10, 20, 59, 60, 65, 70, 80, 81]) == [0, 10, 20, 60, 70, 80]


@WINDOWS
@given(
    gaps=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    costs=st.lists(st.integers(1, 8), min_size=60, max_size=60),
)
def test_who_waits_as_told_is_admitted(kind, gaps, costs):
    """After the wait that a window names the request fits, and half of that wait before it does not."""
    window, at = KINDS[kind](10, 60, 0), 0.0
    for gap, cost in zip(gaps, costs, strict=False):
        at += gap
        wait = window.wait(cost, at)
        assert 0 <= wait <= 120
        if wait > 1e-3:
            assert window.wait(cost, at + wait / 2) > 0
        at += wait
        assert window.wait(cost, at) == 0
        window.take(cost, at)


@WINDOWS
@given(moments=st.lists(st.floats(0, 600), min_size=1, max_size=80).map(sorted))
def test_no_window_admits_more_than_it_may(kind, moments):
    """In any minute a sliding window admits at most the limit, the others at most two (one stored, one that came)."""
    taken = admitted(KINDS[kind](10, 60, 0), moments)
    most = max(sum(at <= other < at + 59.999 for other in taken) for at in taken)
    assert most <= (10 if kind == "sliding" else 20)


@WINDOWS
def test_what_is_larger_than_the_limit_never_fits(kind):
    """A request beyond the whole limit has to wait for ever."""
    assert KINDS[kind](10, 60, 0).wait(11, 0) == NEVER


@WINDOWS
def test_the_reset_is_when_all_is_there_again(kind):
    """At the reset that is told, everything remains; shortly before, something is missing."""
    window = KINDS[kind](10, 60, 0)
    assert window.reset(5) == 0
    for at in (5, 15, 25):
        window.take(2, at)
    reset = window.reset(30)
    assert 0 < reset <= 60
    assert window.remaining(30 + reset - 1) < 10
    assert window.remaining(30 + reset) == pytest.approx(10)


@WINDOWS
def test_a_changed_limit_keeps_what_was_counted(kind):
    """Doubled in the middle, so much more fits at once (or flows in); halved, that much less."""
    window = KINDS[kind](10, 60, 0)
    admitted(window, [0.0] * 10)
    window.resize(20, 30)
    more = len(admitted(window, [30.0] * 30))
    assert more == {"bucket": 5, "fixed": 10, "sliding": 10}[kind]
    window.resize(4, 30)
    assert window.wait(5, 200) == NEVER
    assert len(admitted(window, [200.0] * 30)) == 4


def test_a_burst_of_its_own_stays_when_the_rate_changes():
    """A bucket with a burst of one keeps it at any rate."""
    window = Bucket(60, 60, 0, burst=1)
    window.resize(600, 0)
    assert admitted(window, [0, 0.05, 0.1, 0.15, 0.2]) == [0, 0.1, 0.2]


@pytest.mark.parametrize(("kind", "after"), [("bucket", 1), ("fixed", 60), ("sliding", 60)])
def test_rejected_requests_can_close_a_window(kind, after):
    """Where rejected requests count, who hammers gets nothing until the last rejection is forgotten."""
    window = KINDS[kind](60, 60, 0)
    admitted(window, [0.0] * 60)
    for tenth in range(1, 300):
        at = tenth / 10
        if window.wait(1, at) > 0:
            window.refuse(1, at)
    if kind == "bucket":
        # What flowed in between two rejections was lost, and there is no debt.
        assert window.wait(1, 29.9) == pytest.approx(1)
    else:
        assert window.wait(1, 29.9) > 30
    assert window.wait(1, 29.9 + after) == 0


def test_what_was_used_beforehand_is_a_debt_of_a_bucket():
    """Tokens counted after the fact may overdraw a bucket; it has to fill up from below nothing."""
    window = Bucket(60, 60, 0)
    window.take(90, 0)
    assert window.remaining(0) == 0
    assert window.wait(1, 0) == pytest.approx(31)


class TestMeter:
    """The windows of one key together."""

    def test_all_windows_must_have_room(self):
        """A request that fits one window and not the other takes nothing from either."""
        meter = Meter(Limits(rpm=10, tpm=100), 0)
        assert meter.admit(10, 40, 0) is None
        excess = meter.admit(10, 50, 0)
        assert (excess.name, excess.limit, excess.remaining, excess.requested) == ("tokens", 100, 50, 60)
        assert [(one.name, one.remaining) for one in meter.standings(0)] == [("requests", 9), ("tokens", 50)]

    def test_the_longest_wait_is_named(self):
        """Where several windows are full, the one that takes longest is told, for it decides."""
        meter = Meter(Limits(rpm=1, tpm=120, per=60), 0)
        assert meter.admit(20, 100, 0) is None
        excess = meter.admit(5, 5, 0)
        assert (excess.name, excess.wait) == ("requests", 60)
        assert meter.admit(20, 100, 60) is None

    def test_tokens_at_admission_are_input_and_ceiling(self):
        """OpenAI's way: what might be written counts when the request comes, and what was written does not."""
        meter = Meter(Limits(tpm=1000, assumed_output=300), 0)
        meter.admit(100, 200, 0)
        meter.settle(5, 0)
        assert meter.standings(0)[0].remaining == 700
        meter.admit(100, None, 0)
        assert meter.standings(0)[0].remaining == 300

    def test_tokens_as_used_are_counted_when_they_were_made(self):
        """Anthropic's way: input counts when the request comes, output when it has been written."""
        meter = Meter(Limits(input_tpm=1000, output_tpm=500, tpm=2000, meter="used"), 0)
        assert meter.admit(100, 4000, 0) is None
        meter.settle(600, 0)
        left = {one.name: one.remaining for one in meter.standings(0)}
        assert left == {"tokens": 1300, "input-tokens": 900, "output-tokens": 0}
        # In debt by 100 of 500 a minute: one more is there after 101.
        assert meter.admit(1, 1, 0).wait == pytest.approx(101 * 60 / 500)

    def test_a_rejected_request_takes_nothing_unless_told_to(self):
        """By default rejections are free; with count_rejected they count as requests."""
        for counts in (False, True):
            meter = Meter(Limits(rpm=1, window="sliding", count_rejected=counts), 0)
            assert meter.admit(1, 1, 0) is None
            for tenth in range(1, 300):
                assert meter.admit(1, 1, tenth / 10) is not None
            assert (meter.admit(1, 1, 60) is None) == (not counts)

    def test_windows_of_another_kind_begin_anew(self):
        """Limits that are counted in another way do not inherit what was counted."""
        meter = Meter(Limits(rpm=2), 0)
        meter.admit(1, 1, 0)
        meter.change(Limits(rpm=2, tpm=50), 0)
        assert [(one.name, one.remaining) for one in meter.standings(0)] == [("requests", 1), ("tokens", 50)]
        meter.change(Limits(rpm=2, window="sliding"), 0)
        assert [(one.name, one.remaining) for one in meter.standings(0)] == [("requests", 2)]


class TestLimits:
    """The record that users write."""

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"rpm": 0}, "rpm=0: give a number above 0"),
            ({"tpm": -1}, "tpm=-1"),
            ({"per": float("inf")}, "per=inf"),
            ({"rpm": float("nan")}, "rpm=nan"),
            ({"at_once": 0}, "at_once=0"),
            ({"window": "slide"}, "bucket, fixed, sliding"),
            ({"meter": "guess"}, "admission, used"),
            ({"by": "user"}, "server, key, model, key.model"),
            ({"over": "drop"}, "queue, 503, 529"),
            ({"burst": 0.5}, "never admits any"),
            ({"window": "fixed", "burst": 2}, "a fixed window has no burst"),
            ({"window": "sliding", "burst_tokens": 2}, "a sliding window has no burst"),
            ({"retry_after": "a\nb"}, "printable ASCII"),
        ],
    )
    def test_what_cannot_be_is_refused(self, wrong, words):
        """A limit without a sense is a usage error that names it."""
        with pytest.raises(UsageError, match=words):
            Limits(**wrong)

    def test_some_of_them_can_be_changed(self):
        """`but` gives limits that differ in what is named, and refuses what is none."""
        limits = Limits(rpm=60, window="fixed")
        assert limits.but(rpm=30) == Limits(rpm=30, window="fixed")
        with pytest.raises(UsageError, match="there is no limit 'rps'"):
            limits.but(rps=3)
        with pytest.raises(UsageError, match="rpm=0"):
            limits.but(rpm=0)


def test_every_kind_of_window_gives_the_rate_it_says():
    """Asked all the time for ten minutes, each kind admits its limit a minute (and a bucket what it held)."""
    for kind, made in KINDS.items():
        moments = itertools.takewhile(lambda at: at < 600, itertools.count(0, 0.25))
        count = len(admitted(made(30, 60, 0), moments))
        assert count == pytest.approx(330 if kind == "bucket" else 300, abs=1), kind
