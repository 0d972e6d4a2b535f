"""The options of the two commands that run a model server, and what they mean; both read them here."""

from __future__ import annotations

from typing import Any

from fanfold.errors import UsageError
from fanfold.testing.server.faults import Fault
from fanfold.testing.server.limits import Limits

LIMITS: dict[str, str] = {
    "rpm": "requests a minute (or in --per seconds)",
    "tpm": "tokens a minute, input and output",
    "input_tpm": "input tokens a minute",
    "output_tpm": "output tokens a minute",
    "per": "seconds of a window",
    "window": "bucket, fixed or sliding",
    "burst": "requests that a bucket holds",
    "burst_tokens": "tokens that a bucket holds",
    "count_rejected": "count rejected requests, too",
    "meter": "take tokens at admission (input and max_tokens), or as used",
    "assumed_output": "output tokens taken at admission of a request without max_tokens",
    "by": "who shares a window: server, key, model or key+model",
    "headers": "tell the limits with every reply",
    "retry_after": "form of Retry-After: seconds, float, ms, date, none, or any other text as it stands",
    "should_retry": "add x-should-retry to a 429: true or false",
    "at_once": "requests served at the same time",
    "over": "what happens to more: queue, 503 or 529",
}
"""Every field of `Limits`, in the words of a command's help."""


def limits_of(**given: Any) -> Limits:
    """The limits that options describe; None is what was not given. Raises `UsageError`."""
    return Limits(**{name: value for name, value in given.items() if value is not None})


def seconds_of(name: str, given: str) -> float | str:
    """Seconds, or the name of something that makes them, left for `Pace` to judge."""
    try:
        return float(given)
    except ValueError:
        if given in {"recorded", "stream"} or ":" in given:
            return given
    raise UsageError(f"--{name} {given!r}: give seconds, recorded, stream, uniform:LOW,HIGH or lognormal:MEDIAN,SIGMA")


def faults_of(given: list[str]) -> list[Fault]:
    """The faults in short form."""
    return [Fault.parse(text) for text in given]


def price_of(given: list[str]) -> tuple[float, float] | dict[str, tuple[float, float]] | None:
    """A price for all models (``0.15,0.6``) or one for each (``MODEL=0.15,0.6``); raises `UsageError`."""
    if not given:
        return None
    named = {}
    for text in given:
        model, _, figures = text.rpartition("=")
        try:
            one, other = map(float, figures.split(","))
        except ValueError:
            raise UsageError(f"--price {text!r}: write INPUT,OUTPUT or MODEL=INPUT,OUTPUT, USD per million") from None
        named[model] = (one, other)
    if "" not in named:
        return named
    if len(named) > 1:
        raise UsageError("--price: give one price for all models, or one for each by name, not both")
    return named[""]
