"""What servers tell of their limits in response headers, in both dialects; what makes no sense is not heard."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

from fanfold.core.clock import today
from fanfold.core.records import Limit, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OPENAI = "x-ratelimit-"
"""``x-ratelimit-limit-requests``, with resets as durations (OpenAI, "Rate limits: rate limits in headers")."""

ANTHROPIC = "anthropic-ratelimit-"
"""``anthropic-ratelimit-requests-limit``, with resets in RFC 3339 (Anthropic, "Rate limits: response headers")."""

KINDS = ("requests", "tokens", "input-tokens", "output-tokens")

_TOLD = (f"{OPENAI}limit-requests", f"{OPENAI}limit-tokens")
_TOLD_BY_ANTHROPIC = tuple(f"{ANTHROPIC}{kind}-limit" for kind in KINDS)

_DURATION = re.compile(
    r"(?:(?P<d>[\d.]+)d)?(?:(?P<h>[\d.]+)h)?(?:(?P<m>[\d.]+)m(?!s))?(?:(?P<s>[\d.]+)s)?(?:(?P<ms>[\d.]+)ms)?", re.ASCII
)
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def limits_in(headers: Mapping[str, str]) -> Limits | None:
    """What the headers of a response tell, or None where they tell nothing."""
    if _TOLD[0] in headers or _TOLD[1] in headers:
        return _limits(headers, lambda kind, field: f"{OPENAI}{field}-{kind}", seconds_of)
    for name in _TOLD_BY_ANTHROPIC:
        if name in headers:
            return _limits(headers, lambda kind, field: f"{ANTHROPIC}{kind}-{field}", seconds_until)
    return None


def seconds_of(text: str) -> float | None:
    """A duration as OpenAI writes it (``1s``, ``6m0s``, ``20ms``, ``1h2m3.5s``), in seconds; so is a bare number."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or not text.strip():
        return _number(text)
    parts = {unit: _number(amount) for unit, amount in found.groupdict().items() if amount is not None}
    return sum(amount * _SECONDS[unit] for unit, amount in parts.items() if amount is not None)


def seconds_until(text: str) -> float | None:
    """Seconds until a moment of RFC 3339; 0 where it has passed."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - today()).total_seconds())


def _limits(
    headers: Mapping[str, str], name: Callable[[str, str], str], reset_of: Callable[[str], float | None]
) -> Limits | None:
    found = [
        _limit(
            headers.get(name(kind, "limit")),
            headers.get(name(kind, "remaining")),
            headers.get(name(kind, "reset")),
            reset_of,
        )
        for kind in KINDS
    ]
    return Limits(*found) if any(found) else None


def _limit(
    limit: str | None, remaining: str | None, reset: str | None, reset_of: Callable[[str], float | None]
) -> Limit | None:
    """One limit; more left than there is, or a limit of nothing, is no statement at all."""
    most = None if limit is None else _number(limit)
    if not most:
        return None
    left = None if remaining is None else _number(remaining)
    if left is not None and left > most:
        return None
    return Limit(most, left, None if reset is None else reset_of(reset))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0 else None
