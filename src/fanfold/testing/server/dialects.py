"""The two dialects a server speaks: how each reads requests, writes replies, refuses, and tells its limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from fanfold.core.records import Reply
from fanfold.testing.server import completions, messages
from fanfold.testing.server.completions import Asked
from fanfold.testing.server.meter import Standing
from fanfold.testing.server.refusals import Answer, Refusal
from fanfold.testing.server.telling import anthropic_headers, openai_headers


class Outgoing(Protocol):
    """A reply on its way out, in one dialect."""

    def whole(self) -> bytes:
        """The body of a plain reply."""
        ...

    @property
    def length(self) -> int:
        """How many pieces a streamed reply has; at least one."""
        ...

    def piece(self, position: int) -> bytes:
        """The events of one piece."""
        ...

    def ending(self) -> bytes:
        """The events that close a streamed reply."""
        ...


class Dialect(msgspec.Struct, frozen=True):
    """One dialect: `vendor` is whose, and by whose list the prices go."""

    vendor: str
    path: str
    read: Callable[[bytes], Asked]
    write: Callable[[int, Asked, Reply, str], Outgoing]
    refuse: Callable[[Refusal, int], Answer]
    tell: Callable[[Sequence[Standing]], dict[str, str]]
    last: bytes
    """How the event begins by which a stream says that it is whole."""
    broken: bytes
    """An event that is no JSON."""
    failed: bytes
    """The data of an event inside a 200 that says that it went wrong."""
    billing: dict[str, Refusal]
    """What it answers to those who have no money."""

    def failure(self, *, stream: bool) -> bytes:
        """What goes wrong inside a 200: an event, or a whole body."""
        if not stream:
            return self.failed
        event = b"event: error\n" if self.vendor == "anthropic" else b""
        return b"%bdata: %b\n\n" % (event, self.failed)


def _event(data: Any) -> bytes:
    return msgspec.json.encode(data)


_QUOTA = "You exceeded your current quota, please check your plan and billing details."

OPENAI = Dialect(
    "openai",
    "/v1/chat/completions",
    completions.read,
    completions.Completion,
    lambda refusal, _number: refusal.openai(),
    openai_headers,
    b"data: [DONE]",
    b'data: {"id":"chatcmpl-fanfold","object":"chat.completion.chunk","choices":[{"index":0,"del\n\n',
    _event({"error": {"message": "The server had an error", "type": "server_error", "param": None, "code": None}}),
    {
        "quota": Refusal(429, _QUOTA, code="insufficient_quota", kind="insufficient_quota"),
        "credit": Refusal(
            429, "Your credit balance is used up.", code="credit_balance_exhausted", kind="billing_error"
        ),
        "spend": Refusal(
            429, "Billing hard limit has been reached.", code="billing_hard_limit_reached", kind="insufficient_quota"
        ),
    },
)

ANTHROPIC = Dialect(
    "anthropic",
    "/v1/messages",
    messages.read,
    messages.Answered,
    lambda refusal, number: refusal.anthropic(number),
    anthropic_headers,
    b"event: message_stop",
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"del\n\n',
    _event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    {
        "quota": Refusal(402, "There is a problem with your billing or payment method."),
        "credit": Refusal(
            400, "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
        ),
        "spend": Refusal(
            429, "You have reached your specified API usage limits. You will regain access on the first of the month."
        ),
    },
)
