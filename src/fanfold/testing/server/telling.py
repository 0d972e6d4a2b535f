"""How limits are told: the headers of both dialects, and the forms of Retry-After."""

from __future__ import annotations

from datetime import timedelta
from email.utils import formatdate
from math import ceil, isfinite
from typing import TYPE_CHECKING

from fanfold.core.clock import today, wall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.testing.server.limits import Limits
    from fanfold.testing.server.meter import Standing

FORMS = ("seconds", "float", "ms", "date", "none")
"""Forms of Retry-After; whatever else is given is sent as it stands."""


def openai_headers(standings: Sequence[Standing]) -> dict[str, str]:
    """``x-ratelimit-*``, with resets as durations (OpenAI, "Rate limits: headers")."""
    told = {}
    for one in standings:
        told[f"x-ratelimit-limit-{one.name}"] = f"{one.limit:.0f}"
        told[f"x-ratelimit-remaining-{one.name}"] = f"{_floor(one.remaining)}"
        told[f"x-ratelimit-reset-{one.name}"] = duration(one.reset)
    return told


def anthropic_headers(standings: Sequence[Standing]) -> dict[str, str]:
    """``anthropic-ratelimit-*``, with resets as times of day (Anthropic, "Rate limits: response headers")."""
    told = {}
    for one in standings:
        told[f"anthropic-ratelimit-{one.name}-limit"] = f"{one.limit:.0f}"
        told[f"anthropic-ratelimit-{one.name}-remaining"] = f"{_floor(one.remaining)}"
        told[f"anthropic-ratelimit-{one.name}-reset"] = moment(one.reset)
    return told


def duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: ``20ms``, ``1s``, ``1.5s``, ``6m0s``, ``1h0m0s``; never too short."""
    milliseconds = ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{max(0, milliseconds)}ms" if milliseconds > 0 else "0s"
    whole, rest = divmod(milliseconds, 1000)
    minutes, left = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    said = f"{left}.{rest:03}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{said}"
    return f"{minutes}m{said}" if minutes else said


def moment(seconds: float) -> str:
    """The time of day in so many seconds, as RFC 3339 has it, with milliseconds; never too early."""
    at = today() + timedelta(seconds=seconds, microseconds=999)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def retry_headers(limits: Limits, wait: float) -> dict[str, str]:
    """What a refused request is told about trying again; a wait without an end is not told."""
    told = should_retry(limits)
    if limits.retry_after not in FORMS:
        told["Retry-After"] = limits.retry_after
    elif isfinite(wait) and limits.retry_after != "none":
        name = "retry-after-ms" if limits.retry_after == "ms" else "Retry-After"
        told[name] = _form(limits.retry_after, wait)
    return told


def should_retry(limits: Limits) -> dict[str, str]:
    """The header that says whether to try again at all, where it is wanted."""
    if limits.should_retry is None:
        return {}
    return {"x-should-retry": "true" if limits.should_retry else "false"}


def _form(form: str, wait: float) -> str:
    if form == "date":
        return formatdate(ceil(wall() + wait), usegmt=True)
    if form == "float":
        return f"{ceil(wait * 1000) / 1000}"
    return f"{ceil(wait * 1000)}" if form == "ms" else f"{ceil(wait - 1e-9)}"


def _floor(value: float) -> int:
    return int(value + 1e-6)
