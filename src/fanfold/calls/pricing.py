"""What one call cost: exact where the server told its usage, a range where it was cut off, never a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fanfold.core.records import UNKNOWN_COST, CallState, Cost, Rate, Request, Usage
from fanfold.errors import AccessError, ConnectError, StatusError

if TYPE_CHECKING:
    from collections.abc import Sequence

PER_MESSAGE = 16
"""Tokens that a chat format may add around one message; a bound, larger than any vendor's."""


def input_bound(messages: Sequence[object]) -> int:
    """At most this many input tokens: a token of text is at least one byte of UTF-8."""
    return len(msgspec.json.encode(messages)) + PER_MESSAGE * len(messages)


def price_of(
    rate: Rate | None, request: Request, state: CallState, usage: Usage | None, error: BaseException | None
) -> Cost:
    """The list price of a call in `state`.

    Not sent, or refused by the server: nothing. Answered: by its usage. Cut off: from nothing to the whole
    request, or without an upper bound where `max_tokens` was not given.
    """
    if state in {"queued", "sent", "answering", "unsent"} or _refused(error):
        return Cost()
    if rate is None:
        return UNKNOWN_COST
    if usage is not None:
        exact = rate.price(usage)
        return Cost(exact, exact)
    if request.max_tokens is None:
        return UNKNOWN_COST
    worst = Usage(input_bound(request.messages), request.max_tokens * request.n)
    return Cost(0.0, rate.price(worst))


def _refused(error: BaseException | None) -> bool:
    """Whether the server said no before it did any work, or never heard of the request."""
    if isinstance(error, ConnectError):
        return not error.reached
    return isinstance(error, StatusError | AccessError)
