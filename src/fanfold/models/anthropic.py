"""The Anthropic wire: one request of messages to one model, plain or streamed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fanfold.errors import UsageError
from fanfold.models import messages
from fanfold.models.endpoints import Endpoint, endpoint, shown
from fanfold.models.wire import Named, Refused, Wire

if TYPE_CHECKING:
    from fanfold.core.records import Reply, Request
    from fanfold.models.transport import Transport

VERSION = "2023-06-01"
"""The version of the dialect, sent along with every request; `headers` may name another.

Not 2026-10-21, which refuses `temperature` for every model; what else we send and read is the same in both.
"""

CEILING = 8192
"""Output tokens at most where nobody said otherwise: the dialect wants a ceiling, and thinking counts towards it."""

OLD_ANSWERS = (
    *("claude-2", "claude-instant", "claude-3", "claude-4-", "claude-opus-4-0", "claude-opus-4-1"),
    *("claude-opus-4-2025", "claude-sonnet-4-0", "claude-sonnet-4-2025"),
)
"""Claude models from before structured output (Anthropic, "Structured outputs": Claude 4.5 and later have it)."""

SPENT = re.compile(r"credit balance is too low|reached your (\w+ ){0,4}API usage limits", re.IGNORECASE)
"""Its words for money that is gone; they come as a 400, or a 429 without a time to wait ("Errors", "Rate limits")."""


class Anthropic(Named, frozen=True, kw_only=True):
    """A model on Anthropic's API, or on any server that speaks its messages.

    `name` is the model's name there. `base_url` defaults to Anthropic's own; a key from the environment goes only
    there, `api_key` goes where you point. `price` is USD per million (input, output) tokens, for models without a
    list price. `structured` says whether it honours a JSON Schema (default: known for Claude). `max_tokens` is
    the ceiling of a reply whose prompt names none (8192). `allow_http` lets plain HTTP leave this machine.
    """

    base_url: str | None = None
    api_key: str | None = None
    headers: Mapping[str, str] | None = None
    price: tuple[float, float] | None = None
    structured: bool | None = None
    max_tokens: int = CEILING
    allow_http: bool = False

    def __repr__(self) -> str:
        return f"Anthropic({self.name!r}, base_url={self.base_url and shown(self.base_url)!r})"

    def __rich_repr__(self) -> list[tuple[str, str | None]]:
        # Rich would show every field, the key among them.
        return [("name", self.name), ("base_url", self.base_url and shown(self.base_url))]

    @property
    def label(self) -> str:
        """``anthropic:name``; prices follow it."""
        return f"anthropic:{self.name}"

    @property
    def answers_schema(self) -> bool:
        """Whether it honours a JSON Schema."""
        return _structured(self)

    def open(self, transport: Transport) -> MessagesWire:
        """The wire to it over `transport`; raises `ModelError` for a missing key or a refused host."""
        target = endpoint(
            "anthropic",
            self.name,
            base_url=self.base_url,
            api_key=self.api_key,
            headers={**_version(self.headers or {}), **(self.headers or {})},
            allow_http=self.allow_http,
        )
        return MessagesWire(self, target, transport)


class MessagesWire(Wire):
    """An open way to one model of Anthropic's dialect."""

    def __init__(self, spec: Anthropic, target: Endpoint, transport: Transport) -> None:
        super().__init__(spec.label, target, transport, structured=_structured(spec), price=spec.price)
        self.name = spec.name
        self.ceiling = spec.max_tokens

    def body_of(self, request: Request, *, structured: bool) -> bytes:
        """The body to send; raises `UsageError` for several samples."""
        if request.n != 1:
            raise UsageError(f"{self.label} gives one sample a request, not n={request.n}: ask it several times")
        return messages.body_of(self.name, request, ceiling=self.ceiling, structured=structured)

    def reply_of(self, data: bytes) -> Reply:
        """The reply in a whole body."""
        return messages.reply_of(data, self.label)

    def incoming(self, request: Request) -> messages.StreamedReply:
        """What puts a streamed reply together."""
        return messages.StreamedReply(self.label)

    def is_billing(self, refused: Refused) -> bool:
        """By its code or its words; a limit that says when to come back is no such thing."""
        if refused.code == "billing_error":
            return True
        spent = refused.code == "enforced_spend_limit_reached" or SPENT.search(refused.said) is not None
        return spent and refused.status in {400, 403, 429} and refused.wait is None


def _version(own: Mapping[str, str]) -> dict[str, str]:
    named = any(name.lower() == "anthropic-version" for name in own)
    return {} if named else {"anthropic-version": VERSION}


def _structured(spec: Anthropic) -> bool:
    """Whether to send a JSON Schema: said, or known; an unknown server behind a base URL might refuse it."""
    if spec.structured is not None:
        return spec.structured
    return spec.base_url is None and spec.name.startswith("claude-") and not spec.name.startswith(OLD_ANSWERS)
