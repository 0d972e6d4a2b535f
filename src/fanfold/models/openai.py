"""The OpenAI-shaped wire: one request of chat completions to one model, plain or streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fanfold.errors import BILLING, ModelError
from fanfold.models import chat
from fanfold.models.endpoints import Endpoint, beside_key, endpoint, known, shown
from fanfold.models.wire import Named, Refused, Wire

if TYPE_CHECKING:
    from fanfold.core.records import Reply, Request
    from fanfold.models.transport import Transport

NEW_CEILING = ("o1", "o3", "o4", "gpt-5")
"""OpenAI models that take `max_completion_tokens` and refuse `max_tokens`."""

OLD_ANSWERS = ("gpt-3.5", "gpt-35", "gpt-4-", "gpt-4o-2024-05-13", "chatgpt", "o1-mini", "o1-preview")
"""OpenAI models without structured output; gpt-4 itself is one more."""


class OpenAI(Named, frozen=True, kw_only=True):
    """A model on any server that speaks OpenAI's chat completions.

    `name` is the model's name there. `base_url` defaults to the provider's own; a key from the environment goes
    only to its vendor's host, `api_key` goes where you point. `price` is USD per million (input, output)
    tokens, for models without a list price. `structured` says whether it honours a JSON Schema (default: known
    for known providers), `max_tokens_field` how it calls the ceiling. `allow_http` lets plain HTTP leave this machine.
    """

    provider: str = "openai"
    base_url: str | None = None
    api_key: str | None = None
    headers: Mapping[str, str] | None = None
    query: Mapping[str, str] | None = None
    price: tuple[float, float] | None = None
    structured: bool | None = None
    max_tokens_field: str | None = None
    allow_http: bool = False

    def __repr__(self) -> str:
        return f"OpenAI({self.label!r}, base_url={self.base_url and shown(self.base_url)!r})"

    def __rich_repr__(self) -> list[tuple[str, str | None]]:
        # Rich would show every field, the key among them.
        return [("name", self.label), ("base_url", self.base_url and shown(self.base_url))]

    @property
    def label(self) -> str:
        """``provider:name``; prices follow it."""
        return f"{self.provider}:{self.name}"

    @property
    def answers_schema(self) -> bool:
        """Whether it honours a JSON Schema."""
        return _structured(self)

    def open(self, transport: Transport) -> ChatWire:
        """The wire to it over `transport`; raises `ModelError` for a missing key or a refused host."""
        if self.provider == "anthropic":
            raise ModelError(f"{self.label} speaks a dialect of its own: say Anthropic({self.name!r}) instead")
        target = endpoint(
            self.provider,
            self.name,
            base_url=self.base_url,
            api_key=self.api_key,
            headers=self.headers,
            query=self.query,
            allow_http=self.allow_http,
        )
        return ChatWire(self, target, transport)


class ChatWire(Wire):
    """An open way to one model of OpenAI's dialect."""

    meters_ceiling = True

    def __init__(self, spec: OpenAI, target: Endpoint, transport: Transport) -> None:
        super().__init__(spec.label, target, transport, structured=_structured(spec), price=spec.price)
        self.name = spec.name
        self.ceiling = spec.max_tokens_field or _ceiling(spec)

    def body_of(self, request: Request, *, structured: bool) -> bytes:
        """The body to send."""
        return chat.body_of(self.name, request, ceiling=self.ceiling, structured=structured)

    def reply_of(self, data: bytes) -> Reply:
        """The reply in a whole body."""
        return chat.reply_of(data, self.label)

    def incoming(self, request: Request) -> chat.StreamedReply:
        """What puts a streamed reply together."""
        return chat.StreamedReply(self.label, chat.samples_of(request))

    def is_billing(self, refused: Refused) -> bool:
        """By its code."""
        return refused.code in BILLING


def _structured(spec: OpenAI) -> bool:
    """Whether to send a JSON Schema: said, or known; an unknown server behind a base URL might refuse it."""
    if spec.structured is not None:
        return spec.structured
    vendor = known(spec.provider)
    if spec.provider == "openai" and (spec.name == "gpt-4" or spec.name.startswith(OLD_ANSWERS)):
        return False
    elsewhere = spec.base_url is not None or (vendor.url and beside_key(vendor))
    return vendor.structured and (vendor.local or not elsewhere)


def _ceiling(spec: OpenAI) -> str:
    new = spec.provider in {"openai", "azure"} and spec.name.startswith(NEW_CEILING)
    return "max_completion_tokens" if new else "max_tokens"
