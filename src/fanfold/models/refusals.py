"""What servers say when they say no: the words, the code and the wait in a refusal, whatever its shape."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.clock import today
from fanfold.errors import BILLING
from fanfold.models.loose import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

ABSURD = 1e6
"""Seconds, eleven days: no limit has so long a window, so who says more is mistaken."""

UNREAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for a body that is no JSON, or is nested too deep for anybody."""

_any = msgspec.json.Decoder(Any)


def error_text(data: bytes) -> str:
    """What a server says of an error, from any of the shapes that servers use; never more than a few lines."""
    try:
        body = decoded(_any, data)
    except UNREAD:
        return start_of(data)
    error = _inner(body)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return error[:500] if isinstance(error, str) else start_of(data)


def error_code(data: bytes) -> str:
    """The machine-readable code (or type) of an error, or an empty string; a word for money goes before others."""
    return code_of(_error(data))


def code_of(error: object) -> str:
    """The same for an error that is decoded already."""
    if not isinstance(error, dict):
        return ""
    details = error.get("details")  # where Anthropic has it
    said = [details.get("error_code") if isinstance(details, dict) else None, error.get("code"), error.get("type")]
    words = [str(word) for word in said if word]
    return next((word for word in words if word in BILLING), words[0] if words else "")


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What the server itself says of trying again, in ``x-should-retry``; None where it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait, or None where it says nothing or nonsense.

    In ``retry-after-ms``, or in ``Retry-After`` as a number of seconds or as a date (RFC 9110, section 10.2.3). A date
    counts from the server's own ``Date``, so that a clock that is wrong on either side does no harm; one that has
    passed is 0. Negative, infinite and absurd times, and what is no time at all, are nonsense.
    """
    finer = _number(headers.get("retry-after-ms", ""))
    told = headers.get("Retry-After", "")
    seconds = _number(told) if finer is None or not finer >= 0 else finer / 1000
    if seconds is None:
        moment = _moment(told)
        if moment is None:
            return None
        seconds = max(0.0, (moment - (_moment(headers.get("Date", "")) or today())).total_seconds())
    return seconds if 0 <= seconds < ABSURD else None


def _number(told: str) -> float | None:
    try:
        return float(told)
    except ValueError:
        return None


def _moment(told: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(told)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def start_of(data: bytes) -> str:
    """The start of a body, as text."""
    return data[:300].decode("utf-8", "replace") or "(empty)"


def _error(data: bytes) -> dict[str, Any]:
    try:
        body = decoded(_any, data)
    except UNREAD:
        return {}
    error = _inner(body)
    return error if isinstance(error, dict) else {}


def _inner(body: object) -> object:
    """The error in a body: some put it into a list (Google), others beside all else (Mistral)."""
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    return body.get("error") or body if isinstance(body, dict) else body
