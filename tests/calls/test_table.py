"""Which failures are sent again: the table, row by row, and the words of servers that lead to it."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fanfold.calls import retrying
from fanfold.calls.retrying import FIRST, LAST, TABLE, as_fatal, backoff, row_for
from fanfold.core.clock import seeded, today
from fanfold.errors import (
    AccessError,
    BillingError,
    CallError,
    ConnectError,
    FatalError,
    NotRecorded,
    ReplyError,
    SilenceError,
    StatusError,
    StreamCut,
)
from fanfold.models.refusals import error_code, retry_after, should_retry
from tests.calls.scripted import lost, status

YES, NO = True, False


@pytest.mark.parametrize(
    ("code", "word", "asked", "wait", "verdict"),
    [
        (400, "invalid_request_error", None, None, "fail"),
        (400, "invalid_request_error", YES, None, "retry"),
        (400, "enforced_spend_limit_reached", None, None, "fatal"),
        (400, "billing_error", YES, 1.0, "fatal"),
        (401, "invalid_api_key", None, None, "fatal"),
        (401, "invalid_api_key", YES, None, "fatal"),
        (402, "", None, None, "fatal"),
        (403, "permission_error", YES, 5.0, "fatal"),
        (404, "model_not_found", None, None, "fail"),
        (408, "", None, None, "retry"),
        (408, "", NO, None, "fail"),
        (409, "conflict_error", None, None, "retry"),
        (413, "request_too_large", None, None, "fail"),
        (418, "", None, None, "fail"),
        (422, "unprocessable", None, None, "fail"),
        (429, "rate_limit_exceeded", None, 3.0, "retry"),
        (429, "rate_limit_exceeded", None, None, "retry"),
        (429, "rate_limit_exceeded", NO, 3.0, "fail"),
        (429, "insufficient_quota", None, 3.0, "fatal"),
        (429, "insufficient_quota", YES, None, "fatal"),
        (429, "credit_balance_exhausted", None, None, "fatal"),
        (429, "billing_hard_limit_reached", None, None, "fatal"),
        (429, "enforced_spend_limit_reached", None, None, "fatal"),
        (429, "enforced_spend_limit_reached", None, 60.0, "retry"),
        (500, "api_error", None, None, "retry"),
        (500, "api_error", NO, None, "fail"),
        (501, "", None, None, "retry"),
        (502, "", None, None, "retry"),
        (503, "overloaded", None, 2.0, "retry"),
        (504, "timeout_error", None, None, "retry"),
        (529, "overloaded_error", None, None, "retry"),
        (529, "overloaded_error", NO, 1.0, "fail"),
        (307, "", None, None, "fail"),
    ],
)
def test_a_refusal_is_decided_by_status_code_and_header(code, word, asked, wait, verdict):
    """Each combination of status, code, ``x-should-retry`` and ``Retry-After`` has the verdict its vendor documents."""
    row = row_for(status(code, word, should_retry=asked, retry_after=wait))
    assert row.verdict == verdict
    assert row.why


@pytest.mark.parametrize(
    ("error", "heard", "verdict"),
    [
        (lost(), False, "retry"),
        (lost(), True, "fail"),
        (SilenceError("silent", seconds=3), False, "retry"),
        (ReplyError("malformed"), False, "retry"),
        (ReplyError("malformed"), True, "fail"),
        (ReplyError("overloaded", code="overloaded_error"), False, "retry"),
        (ReplyError("no", code="invalid_request_error"), False, "fail"),
        (ReplyError("no money", code="insufficient_quota"), False, "fatal"),
        (ReplyError("no money", code="insufficient_quota"), True, "fatal"),
        (StreamCut("cut", text="half"), False, "retry"),
        (StreamCut("cut", text="half"), True, "fail"),
        (StreamCut("cut", text="half", code="insufficient_quota"), False, "fatal"),
        (NotRecorded("no such answer"), False, "fail"),
        (AccessError("wrong key"), False, "fatal"),
        (BillingError("no credit"), True, "fatal"),
        (CallError("something else"), False, "fail"),
    ],
)
def test_what_is_no_refusal_is_decided_by_its_kind(error, heard, verdict):
    """Connections and replies that break are sent again until somebody has read of them; then nothing is."""
    assert row_for(error, heard=heard).verdict == verdict


def test_a_call_error_of_ones_own_says_itself_whether_to_retry():
    """A model of the user's own may raise a class of its own; `retryable` decides."""

    class Hiccup(CallError):
        retryable = True

    assert row_for(Hiccup("hic")).verdict == "retry"


def test_every_row_of_the_table_decides_something(monkeypatch):
    """No row is shadowed by one above it."""
    used = set()
    errors = [
        *(
            status(code, word, should_retry=asked, retry_after=wait)
            for code in range(300, 600)
            for word in ("", "insufficient_quota", "enforced_spend_limit_reached")
            for asked in (None, True, False)
            for wait in (None, 1.0)
        ),
        *(lost(), ReplyError("x"), ReplyError("x", code="not_found_error"), CallError("x"), AccessError("x")),
    ]
    for error in errors:
        used |= {TABLE.index(row_for(error)), TABLE.index(row_for(error, heard=True))}
    # Everything with a code for money is caught before its status is looked at.
    assert used == set(range(len(TABLE)))
    assert retrying.TABLE[-1].why


def test_what_is_fatal_ends_the_run_whatever_class_it_came_as():
    """A plain refusal with a code for money becomes a `BillingError`; one that is fatal already stays itself."""
    plain = status(429, "insufficient_quota", model="m", retry_after=3.0)
    fatal = as_fatal(plain)
    assert isinstance(fatal, BillingError)
    assert isinstance(fatal, FatalError)
    assert (fatal.model, fatal.retry_after, fatal.__cause__) == ("m", 3.0, plain)
    access = AccessError("wrong key")
    assert as_fatal(access) is access


# -- how long to wait ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tries", range(1, 12))
def test_without_a_word_from_the_server_the_wait_is_full_jitter(tries):
    """It is drawn evenly between nothing and 0.5 s doubled per send, never more than 8 s."""
    most = min(LAST, FIRST * 2 ** (tries - 1))
    with seeded(tries):
        waits = [backoff(lost(), tries) for _ in range(500)]
    assert 0 <= min(waits) < most * 0.02
    assert most * 0.98 < max(waits) <= most
    assert abs(sum(waits) / len(waits) - most / 2) < most * 0.05


@pytest.mark.parametrize("told", [0.001, 1.0, 7.5, 3600.0])
def test_never_sooner_than_told(told):
    """A wait that the server asked for is a least one; after a 429 it is exact, for there the lane spaces the calls."""
    waits = [backoff(status(503, retry_after=told), 1) for _ in range(200)]
    assert min(waits) >= told
    assert max(waits) <= told + FIRST
    assert len(set(waits)) > 100
    assert backoff(status(429, retry_after=told), 3) == told


def test_a_wait_of_nothing_is_not_a_storm():
    """``Retry-After: 0`` may be obeyed at once, and all who were told so come back spread out."""
    waits = [backoff(status(429, retry_after=0.0), 1) for _ in range(200)]
    assert min(waits) >= 0
    assert len(set(waits)) > 100


WHEN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def date(seconds):
    return format_datetime(WHEN + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 7 "}, 7.0),
        ({"Retry-After": "1.25"}, 1.25),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-10"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e400"}, None),
        ({"Retry-After": "999999999"}, None),
        ({"Retry-After": "86400"}, 86400.0),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
        ({"Retry-After": "Sun, 06 Nov 99999 08:49:37 GMT"}, None),
        ({"Retry-After": date(30), "Date": date(0)}, 30.0),
        ({"Retry-After": date(-30), "Date": date(0)}, 0.0),
        ({"Retry-After": date(1e7), "Date": date(0)}, None),
        ({"Retry-After": "Sun Mar  1 12:00:05 2026", "Date": date(0)}, 5.0),
        ({"Retry-After": "Sunday, 01-Mar-26 12:00:06 GMT", "Date": date(0)}, 6.0),
        ({"Retry-After": "1", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "1", "retry-after-ms": "-3"}, 1.0),
        ({"Retry-After": "1", "retry-after-ms": "nan"}, 1.0),
        ({"Retry-After": "1", "retry-after-ms": "soon"}, 1.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "inf"}, None),
    ],
)
def test_the_time_to_wait_is_read_from_every_form_and_nonsense_from_none(headers, seconds):
    """Seconds, floats, HTTP dates (against the server's own clock) and milliseconds are times; the rest is not."""
    assert retry_after(headers) == seconds


def test_a_date_without_a_clock_of_the_server_counts_from_ours():
    """Without a ``Date`` header, or with a broken one, today is the best there is."""
    later = format_datetime(today() + timedelta(seconds=60), usegmt=True)
    assert 55 < retry_after({"Retry-After": later}) <= 60
    assert 55 < retry_after({"Retry-After": later, "Date": "yesterday"}) <= 60


@pytest.mark.parametrize(
    ("said", "heard"), [("true", True), ("false", False), (" TRUE ", True), ("", None), ("yes", None), (None, None)]
)
def test_x_should_retry_is_true_false_or_nothing(said, heard):
    """Other words say nothing."""
    assert should_retry({} if said is None else {"x-should-retry": said}) is heard


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": "insufficient_quota", "type": "x"}}', "insufficient_quota"),
        (b'{"error": {"code": "429", "type": "insufficient_quota"}}', "insufficient_quota"),
        (b'{"error": {"code": null, "type": "server_error"}}', "server_error"),
        (b'{"error": {"code": 503}}', "503"),
        (b'{"error": {"type": "billing_error", "details": {"error_code": "other"}}}', "billing_error"),
        (b'{"error": {"type": "rate_limit_error", "details": {"error_code": "why"}}}', "why"),
        (b'{"error": "text"}', ""),
        (b"<html>", ""),
    ],
)
def test_a_code_is_found_where_servers_put_it(body, code):
    """A word for money goes before every other, wherever it stands."""
    assert error_code(body) == code


def test_no_row_speaks_of_a_vendor():
    """The reasons are for users, in plain words."""
    assert not [row.why for row in TABLE if re.search("openai|anthropic", row.why, re.IGNORECASE)]


def test_the_kinds_the_table_knows_are_all_in_the_tree():
    """A connection that never came about, and one that broke, are both connections."""
    never = ConnectError("no server")
    never.reached = False
    assert row_for(never).kind == row_for(lost()).kind == "connection"
    assert isinstance(status(404), StatusError)
