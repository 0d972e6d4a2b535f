"""The OpenAI-shaped wire: one request of chat completions to one model, plain or streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from fanfold.errors import AccessError, BillingError, CallError, ConnectError, NotRecorded, StatusError, StreamCut
from fanfold.models import chat
from fanfold.models.endpoints import Endpoint, endpoint, known, shown
from fanfold.models.prices import FlatRate

if TYPE_CHECKING:
    from fanfold.core.records import Rate, Reply, Request, Watch
    from fanfold.models.transport import Exchange, Transport

DRAW = "x-fanfold-draw"
"""The header that tells a model server on this machine which sample to give; no other host gets it."""

BILLING = frozenset({"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"})
"""Error codes that no waiting mends (OpenAI's error-code guide; credit_balance_exhausted elsewhere)."""

NEW_CEILING = ("o1", "o3", "o4", "gpt-5")
"""OpenAI models that take `max_completion_tokens` and refuse `max_tokens`."""

OLD_ANSWERS = ("gpt-3.5", "gpt-35", "gpt-4-", "chatgpt")
"""OpenAI models from before structured output; gpt-4 itself is one more."""


class OpenAI(msgspec.Struct, frozen=True, kw_only=True):
    """A model on any server that speaks OpenAI's chat completions.

    `name` is the model's name there. `base_url` defaults to the provider's own; a key from the environment goes
    only to its vendor's host, `api_key` goes where you point. `price` is USD per million (input, output)
    tokens, for models without a list price. `structured` says whether it honours a JSON Schema (default: known
    for known providers), `max_tokens_field` how it calls the ceiling. `allow_http` lets plain HTTP leave this machine.
    """

    name: str
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

    def open(self, transport: Transport) -> Wire:
        """The wire to it over `transport`; raises `ModelError` for a missing key or a refused host."""
        target = endpoint(
            self.provider,
            self.name,
            base_url=self.base_url,
            api_key=self.api_key,
            headers=self.headers,
            query=self.query,
            allow_http=self.allow_http,
        )
        return Wire(self, target, transport)


class Wire:
    """An open way to one model."""

    made_up = False

    def __init__(self, spec: OpenAI, target: Endpoint, transport: Transport) -> None:
        self.label = spec.label
        self.name = spec.name
        self.target = target
        self.transport = transport
        self.structured = _structured(spec)
        self.ceiling = spec.max_tokens_field or _ceiling(spec)
        self.given_rate: Rate | None = None if spec.price is None else FlatRate(*spec.price)

    async def send(self, request: Request, watch: Watch) -> Reply:
        """Send one request and give its reply; raises `CallError`, with `self.label` as its model."""
        structured = self.structured if request.structured is None else request.structured
        body = chat.body_of(self.name, request, ceiling=self.ceiling, structured=structured)
        headers = self.target.headers
        if self.target.loopback:
            headers = {**headers, DRAW: request.draw.header()}
        watch.sent()
        try:
            async with self.transport.post(self.target.url, headers, body) as exchange:
                if exchange.status != 200:
                    refusal = await self._refusal(exchange)
                elif request.stream and "event-stream" in exchange.headers.get("Content-Type", ""):
                    return await self._streamed(exchange, watch)
                else:
                    reply = chat.reply_of(await exchange.read(), self.label)
                    watch.done(reply)
                    return reply
            # Raised out here, so that a refused request gives its connection back instead of closing it.
            raise refusal
        except CallError as error:
            error.model = self.label
            error.args = tuple(self.target.hide(str(arg)) for arg in error.args)
            raise

    async def _streamed(self, exchange: Exchange, watch: Watch) -> Reply:
        incoming = chat.StreamedReply(self.label)
        try:
            async for chunk in exchange.chunks():
                _pass_on(incoming.feed(chunk), watch)
            _pass_on(incoming.rest(), watch)
            reply = incoming.reply()
        except CallError as error:
            if incoming.finished():
                reply = incoming.reply()  # cut after the end of the answer: it is whole, and paid
                watch.done(reply)
                return reply
            if incoming.text():
                raise StreamCut(str(error), text=incoming.text(), model=self.label) from error
            raise
        watch.done(reply)
        return reply

    async def _refusal(self, exchange: Exchange) -> CallError:
        """The error for a status other than 200."""
        try:
            data = await exchange.read()
        except ConnectError:
            data = b""
        status = exchange.status
        said, code = self.target.hide(chat.error_text(data)), chat.error_code(data)
        message = f"{self.label} answered {status}: {said}"
        if status == 402 or code in BILLING:
            return BillingError(message, model=self.label)
        if status in {401, 403}:
            return AccessError(message + self._key_hint(), model=self.label)
        if code == "not_recorded":
            return NotRecorded(said, model=self.label)
        wait = _retry_after(exchange.headers)
        return StatusError(message, status=status, body=said, model=self.label, retry_after=wait)

    def _key_hint(self) -> str:
        if self.target.withheld:
            return (
                f" (the key in {self.target.withheld} was not sent, for this host is not its vendor's: "
                "give api_key= if it is meant for it)"
            )
        return ""


def _pass_on(piece: str, watch: Watch) -> None:
    if piece:
        watch.text(piece)


def _structured(spec: OpenAI) -> bool:
    """Whether to send a JSON Schema: said, or known; an unknown server behind a base URL might refuse it."""
    if spec.structured is not None:
        return spec.structured
    vendor = known(spec.provider)
    if spec.provider == "openai" and (spec.name == "gpt-4" or spec.name.startswith(OLD_ANSWERS)):
        return False
    return vendor.structured and (spec.base_url is None or vendor.local)


def _ceiling(spec: OpenAI) -> str:
    new = spec.provider in {"openai", "azure"} and spec.name.startswith(NEW_CEILING)
    return "max_completion_tokens" if new else "max_tokens"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e6 else None
