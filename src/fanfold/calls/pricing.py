"""What one call cost: exact where the server told its usage, a range where it was cut off, never a guess."""

from __future__ import annotations

from typing import Any
from unicodedata import normalize

import msgspec

from fanfold.core.numbers import is_count
from fanfold.core.records import UNKNOWN_COST, CallState, Cost, Rate, Request, Usage
from fanfold.errors import AccessError, ConnectError, StatusError

PER_MESSAGE = 16
"""Tokens that a chat format may add around one message; a bound, larger than any vendor's."""

PER_SCHEMA = 1000
"""Tokens that a vendor may add around the JSON Schema of a typed answer; a bound, larger than any vendor's."""

PER_PART = 50_000
"""Tokens that an image, or another part that is no text, may count for; a bound.

The dearest known is OpenAI's gpt-4o-mini: 2,833 tokens and 5,667 for each of at most 8 tiles ("Images and vision").
"""

_HOUR = b'"ttl":"1h"'
"""What a `cache_control` says that keeps what it marks for an hour (Anthropic, "Prompt caching")."""

MANY = Usage(10**9, 10**9)
"""What costs nothing at this usage is free."""

CEILINGS = ("max_tokens", "max_completion_tokens")
"""The fields of a request's `extra_body` that allow a longer reply than its `max_tokens`."""


def input_bound(request: Request) -> int:
    """At most this many input tokens: a token of text is at least one byte of UTF-8.

    What is no text counts at `PER_PART`, or at its bytes where these are more; the data of an image does not count.
    """
    size = sum(PER_MESSAGE + _size(message.content) for message in request.messages)
    if request.schema is not None:
        size += PER_SCHEMA + len(msgspec.json.encode(request.schema))
    if request.extra_body:
        size += len(msgspec.json.encode(request.extra_body, enc_hook=str))
    return size


def output_bound(request: Request) -> int | None:
    """At most this many output tokens, or None where nothing limits them, or something that no server has to heed."""
    extra = request.extra_body or {}
    ceilings: list[Any] = [extra[name] for name in CEILINGS if name in extra]
    samples: list[Any] = [extra["n"]] if "n" in extra else []
    if request.max_tokens is None or not all(is_count(one) for one in (*ceilings, *samples)):
        return None
    most: int = max([request.max_tokens, *ceilings]) * max([request.n, *samples])
    return most


def dearest(rate: Rate, request: Request, most: Usage) -> float:
    """The most that a request of at most so many tokens can cost, in USD.

    Its input may be written to a cache, which costs more with some vendors, and which some do unasked; for an hour,
    which costs most, only where the request says so.
    """
    sent = most.input_tokens
    hour = sent if _asks_for_an_hour(request) else 0
    written = Usage(sent, most.output_tokens, cache_write_tokens=sent, cache_write_1h_tokens=hour)
    return max(rate.price(most), rate.price(written))


def _asks_for_an_hour(request: Request) -> bool:
    contents = [message.content for message in request.messages if not isinstance(message.content, str)]
    if not contents and not request.extra_body:
        return False
    marks = [part.get("cache_control") for content in contents for part in content]
    return _HOUR in msgspec.json.encode((marks, request.extra_body), enc_hook=str)


def _size(content: str | list[dict[str, Any]]) -> int:
    if isinstance(content, str):
        return _text_size(content)
    return sum(_part_size(part) for part in content)


def _text_size(text: str) -> int:
    if text.isascii():
        return len(text)
    # Some tokenizers bring text into this form first, and a sign of three bytes can become thirty.
    both = (text, normalize("NFKC", text))
    return max(len(one.encode(errors="replace")) for one in both)


def _part_size(part: dict[str, Any]) -> int:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return PER_MESSAGE + _text_size(part["text"])
    size = len(msgspec.json.encode(part, enc_hook=str))
    return PER_PART if part.get("type") == "image_url" else max(PER_PART, size)


def price_of(
    rate: Rate | None, request: Request, state: CallState, usage: Usage | None, error: BaseException | None
) -> Cost:
    """The list price of a call in `state`.

    Not sent, or refused by the server: nothing. Answered: by its usage. Cut off, or answered without a usage: from
    nothing to the whole request, or without an upper bound where `max_tokens` was not given and tokens cost anything.
    """
    if state in {"queued", "sent", "answering", "unsent"} or (error is not None and was_refused(error)):
        return Cost()
    if rate is None:
        return UNKNOWN_COST
    if usage is not None:
        exact = rate.price(usage)
        return Cost(exact, exact)
    output = output_bound(request)
    if output is None:
        return UNKNOWN_COST if dearest(rate, request, MANY) else Cost()
    return Cost(0.0, dearest(rate, request, Usage(input_bound(request), output)))


def was_refused(error: BaseException | None) -> bool:
    """Whether the server said no before it did any work, or never heard of the request."""
    if isinstance(error, ConnectError):
        return not error.reached
    return isinstance(error, StatusError | AccessError)
