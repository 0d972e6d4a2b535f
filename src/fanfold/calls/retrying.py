"""Which failures are sent again, as one table, and how long a call waits before it is.

The codes and headers are OpenAI's and Anthropic's ("Error codes", "Errors", "Rate limits"), the waits RFC 9110's
(section 10.2.3), and full jitter is Brooker, "Exponential Backoff And Jitter" (AWS, 2015).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fanfold.core.clock import chance
from fanfold.errors import (
    BILLING,
    BillingError,
    CallError,
    ConnectError,
    FatalError,
    ReplyError,
    StatusError,
    StreamCut,
)

Verdict = Literal["retry", "fail", "fatal"]
Kind = Literal["refused", "connection", "reply", "cut", "fatal", "other"]
Header = Literal["should retry", "should not retry", "retry after", "no retry after"]

FIRST = 0.5
"""Seconds at most of the first backoff that no server asked for; each one doubles it."""

LAST = 8.0
"""Seconds at most of any backoff that no server asked for."""

LONGEST = 86_400.0
"""Seconds, a day: a longer wait is not sat out, whatever the deadline; the call fails and says how long it was told."""


class Row(msgspec.Struct, frozen=True):
    """One row: to which failures it applies (None and the empty set: to any), what it says, and why.

    `first` and `last` bound the statuses of a refusal.
    """

    verdict: Verdict
    why: str
    kind: Kind | None = None
    first: int = 0
    last: int = 999
    codes: frozenset[str] = frozenset()
    header: Header | None = None


SPEND = frozenset({"enforced_spend_limit_reached"})
"""A limit that may come back by itself: then its refusal says when."""

FINAL = frozenset(
    {
        *("invalid_request_error", "authentication_error", "permission_error", "not_found_error"),
        *("request_too_large", "context_length_exceeded", "content_filter", "invalid_api_key", "model_not_found"),
        *("400", "401", "402", "403", "404", "413", "422"),  # so OpenRouter writes them
    }
)
"""Codes inside a 200 that stand for what would be a 4xx outside."""

TABLE: tuple[Row, ...] = (
    Row("fatal", "the key is wrong, lacks permission, or has no money left", "fatal"),
    Row("fatal", "money is gone, and waiting does not bring it back", codes=BILLING - SPEND),
    Row("fatal", "the spend limit is reached, and nobody says until when", codes=SPEND, header="no retry after"),
    Row("fatal", "money is gone, and waiting does not bring it back", "refused", 402, 402),
    Row("fatal", "the key is wrong or lacks permission", "refused", 401, 401),
    Row("fatal", "the key is wrong or lacks permission", "refused", 403, 403),
    Row("retry", "the server says that trying again may help", "refused", header="should retry"),
    Row("fail", "the server says that trying again does not help", "refused", header="should not retry"),
    Row("retry", "a limit is reached for now", "refused", 429, 429),
    Row("retry", "the server waited too long for the request", "refused", 408, 408),
    Row("retry", "the request came into the way of another", "refused", 409, 409),
    Row("retry", "the server is in trouble or has too much to do", "refused", 500, 999),
    Row("fail", "the same request would be refused again", "refused"),
    Row("retry", "the connection failed, which is no fault of the request", "connection"),
    Row("fail", "text has reached who reads it, and cannot be taken back", "cut"),
    Row("fail", "the same request would be refused again", "reply", codes=FINAL),
    Row("retry", "the reply was broken before anybody read of it", "reply"),
    Row("fail", "nothing says that trying again may help", "other"),
)
"""The first row that fits decides; the last one of each kind fits every failure of it."""


def row_for(error: CallError, *, heard: bool = False) -> Row:
    """The row for a failure; `heard` says that some of the reply's text has reached who reads it."""
    kind, code = _kind(error, heard=heard), str(getattr(error, "code", ""))
    status = error.status if isinstance(error, StatusError) else 0
    asked = _asked(error)
    return next(
        row
        for row in TABLE
        if (row.kind is None or row.kind == kind)
        and row.first <= status <= row.last
        and (not row.codes or code in row.codes)
        and (row.header is None or row.header in asked)
    )


def as_fatal(error: CallError) -> CallError:
    """What ends the run, for a failure that the table calls fatal; a model of one's own may not know the class."""
    if isinstance(error, FatalError):
        return error
    fatal = BillingError(str(error), model=error.model, retry_after=error.retry_after)
    fatal.__cause__ = error
    return fatal


def backoff(error: CallError, tries: int) -> float:
    """Seconds until the next send after `tries` of them: as told, never sooner; else full jitter."""
    told = error.retry_after
    jitter = chance().uniform(0.0, min(LAST, FIRST * 2.0 ** min(tries - 1, 16)))
    if told is None:
        return jitter
    # After a 429 the lane holds every call of the account and lets them out one by one. Others that were told the
    # same moment would come back as one, so each adds some chance of its own.
    return told if told and is_throttle(error) else told + jitter


def is_throttle(error: BaseException | None) -> bool:
    """Whether the server said that a limit is reached."""
    return isinstance(error, StatusError) and error.status == 429


def is_overload(error: BaseException | None) -> bool:
    """Whether the server said that it, or this account of it, has too much to do."""
    return isinstance(error, StatusError) and error.status in {429, 503, 529}


def _kind(error: CallError, *, heard: bool) -> Kind:
    if isinstance(error, FatalError):
        return "fatal"
    if heard:
        return "cut"
    if isinstance(error, StatusError):
        return "refused"
    if isinstance(error, ConnectError):
        return "connection"
    if isinstance(error, StreamCut):
        return "reply"  # with nobody who has read of it, it is like any broken reply
    if isinstance(error, ReplyError) or error.retryable:
        return "reply"
    return "other"


def _asked(error: CallError) -> set[Header]:
    asked: set[Header] = {"no retry after" if error.retry_after is None else "retry after"}
    said = error.should_retry if isinstance(error, StatusError) else None
    if said is not None:
        asked.add("should retry" if said else "should not retry")
    return asked
