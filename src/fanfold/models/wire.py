"""What every wire of ours does, whatever its dialect: one exchange, plain or streamed, and what a refusal means."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from codecs import BOM_UTF8
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from fanfold.errors import (
    AccessError,
    BillingError,
    CallError,
    ConnectError,
    ModelError,
    NotRecorded,
    ReplyError,
    StatusError,
    StreamCut,
)
from fanfold.models.endpoints import shown
from fanfold.models.limits import limits_in
from fanfold.models.prices import flat
from fanfold.models.refusals import error_code, error_text, retry_after, should_retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fanfold.core.records import Rate, Reply, Request, Watch
    from fanfold.models.endpoints import Endpoint
    from fanfold.models.transport import Exchange, Transport

DRAW = "x-fanfold-draw"
"""The header that tells a model server on this machine which sample to give; no other host gets it."""

REPLIES = frozenset({200, 201, 203})
"""The statuses that come with a reply: some gateways say of every POST that it created something."""


BLANK, WHOLE = b" \t\r\n" + BOM_UTF8, (b"{", b"[", b"<")
"""What may stand before a body, and how one begins that is whole: some servers send one under the other's label."""

FIELDS = (b":", b"data", b"event", b"id", b"retry")
"""How the lines of a stream of events begin."""

LINGER = 0.1
"""Seconds that a server may take to end a stream after its last event; then the connection is closed."""


WORDS, SPEECH = 1 << 20, 5.0
"""Bytes and seconds that the body of a refusal may take: its status is known, and some have no end."""


class Incoming(Protocol):
    """A streamed reply that is being put together; it is whole only when the stream says so itself."""

    over: bool
    """Whether its last event has come."""

    def feed(self, chunk: bytes) -> str:
        """Take some bytes; gives the new text of the first sample."""
        ...

    def rest(self) -> str:
        """Take what is left when the stream has ended."""
        ...

    def finished(self) -> bool:
        """Whether the stream has said that the reply is whole."""
        ...

    def reply(self) -> Reply:
        """The whole reply; raises `ReplyError` where the stream ended too soon."""
        ...

    def text(self) -> str:
        """What came of the first sample so far."""
        ...


class Named(msgspec.Struct, frozen=True):
    """A model by its name on a server: the one thing that may be given without saying what it is."""

    name: str

    def __post_init__(self) -> None:
        given: object = self.name
        if not given or not isinstance(given, str):
            raise ModelError(f"{type(self).__name__}({given!r}): give the name of a model, as text")
        flat(getattr(self, "price", None))  # raises for what is no price
        for option in ("base_url", "api_key"):
            value = getattr(self, option, None)
            if value is not None and not isinstance(value, str):
                raise ModelError(f"{option}= takes text, not {type(value).__name__}")
        if not _is_fields(getattr(self, "headers", None) or {}):
            raise ModelError("headers= takes a mapping from texts to texts")


def _is_fields(fields: object) -> bool:
    """Whether it is names and values, all of them text."""
    return isinstance(fields, Mapping) and all(isinstance(one, str) for pair in fields.items() for one in pair)


class Refused(msgspec.Struct, frozen=True):
    """An answer that is no reply: its status, the server's words and code, and the seconds it asks to wait."""

    status: int
    said: str
    code: str
    wait: float | None


class Wire(ABC):
    """An open way to one model; a subclass speaks the dialect."""

    made_up = False

    meters_ceiling = False
    """Whether the server takes the ceiling of a reply off the token limit when it admits a request."""

    def __init__(
        self, label: str, target: Endpoint, transport: Transport, *, structured: bool, price: tuple[float, float] | None
    ) -> None:
        self.label = label
        self.target = target
        self.account = target.account()
        """Whose limits the requests count towards: the host and a digest of the key."""
        self.transport = transport
        self.structured = structured
        self.given_rate: Rate | None = flat(price)

    @abstractmethod
    def body_of(self, request: Request, *, structured: bool) -> bytes:
        """The body to send; `structured` says whether a JSON Schema may go along."""

    @abstractmethod
    def reply_of(self, data: bytes) -> Reply:
        """The reply in a whole body; raises `ReplyError` where it is not one."""

    @abstractmethod
    def incoming(self, request: Request) -> Incoming:
        """What puts a streamed reply together."""

    @abstractmethod
    def is_billing(self, refused: Refused) -> bool:
        """Whether a refusal is about money, so that no waiting mends it; 402 always is."""

    async def send(self, request: Request, watch: Watch) -> Reply:
        """Send one request and give its reply; raises `CallError`, with `self.label` as its model."""
        structured = self.structured if request.structured is None else request.structured
        body = self.body_of(request, structured=structured)
        headers = self.target.headers
        if self.target.loopback:
            headers = {**headers, DRAW: request.draw.header()}
        watch.alive()  # from here on silence means something, for this model tells of all that comes
        watch.sent()
        try:
            async with self.transport.post(self.target.url, headers, body) as exchange:
                watch.alive()
                told = limits_in(exchange.headers)
                if told is not None:
                    watch.limits(told)
                if exchange.status not in REPLIES:
                    refusal = await self._refusal(exchange)
                elif request.stream or _is_labelled(exchange):
                    return await self._streamed(exchange, request, watch)
                else:
                    reply = self.reply_of(await exchange.read())
                    watch.done(reply)
                    return reply
            # Raised out here, so that a refused request gives its connection back instead of closing it.
            raise refusal
        except CallError as error:
            error.model = self.label
            self._hide_secrets(error)
            raise

    def _hide_secrets(self, error: CallError) -> None:
        """Let an error say nothing of what was sent along.

        What stands behind it goes: a library's own error holds the whole URL, the headers and a proxy's password, and
        that of a reply which broke off the server's words as they came.
        """
        error.args = tuple(self.target.hide(str(arg)) for arg in error.args)
        if isinstance(error, StatusError | ReplyError):
            error.code = self.target.hide(error.code)
        error.__cause__ = error.__context__ = None

    async def _streamed(self, exchange: Exchange, request: Request, watch: Watch) -> Reply:
        incoming, chunks = self.incoming(request), exchange.chunks()

        def hear(piece: str) -> None:
            if piece and request.stream:  # some servers stream whether asked to or not
                watch.text(piece)

        labelled, whole, parts = _is_labelled(exchange), None, []
        try:
            async for chunk in chunks:
                watch.alive()
                whole = _is_whole(chunk, labelled=labelled) if whole is None else whole
                if whole:
                    parts.append(chunk)
                else:
                    hear(incoming.feed(chunk))
                if incoming.over:
                    break
            hear(incoming.rest())
            reply = self.reply_of(b"".join(parts)) if whole else incoming.reply()
        except CallError as error:
            if incoming.finished():
                reply = incoming.reply()  # cut after the end of the answer: it is whole, and paid
                watch.done(reply)
                return reply
            if incoming.text():
                code = error.code if isinstance(error, ReplyError) else ""
                raise StreamCut(str(error), text=incoming.text(), code=code, model=self.label) from error
            raise
        watch.done(reply)
        await _close(chunks)
        return reply

    async def _refusal(self, exchange: Exchange) -> CallError:
        """The error for a status that comes with no reply."""
        data = await _start(exchange.chunks())
        said = self.target.hide(error_text(data))
        refused = Refused(exchange.status, said, error_code(data), retry_after(exchange.headers))
        message = f"{self.label} answered {refused.status}: {said}"
        elsewhere = exchange.headers.get("Location")
        if elsewhere and 300 <= refused.status < 400:
            there = self.target.hide(shown(elsewhere)[:200])
            message += f" (it points to {there}; redirects are not followed, so give the base URL there)"
        if refused.status == 402 or self.is_billing(refused):
            return BillingError(message, model=self.label)
        if refused.status in {401, 403}:
            return AccessError(message + self._key_hint(), model=self.label)
        if refused.code == "not_recorded":
            return NotRecorded(said, model=self.label)
        return StatusError(
            message,
            status=refused.status,
            body=said,
            code=refused.code,
            model=self.label,
            retry_after=refused.wait,
            should_retry=should_retry(exchange.headers),
        )

    def _key_hint(self) -> str:
        if self.target.withheld:
            return (
                f" (the key in {self.target.withheld} was not sent, for this host is not its vendor's: "
                "give api_key= if it is meant for it)"
            )
        return ""


def _is_labelled(exchange: Exchange) -> bool:
    """Whether a server calls its body a stream of events."""
    return "event-stream" in exchange.headers.get("Content-Type", "").lower()


def _is_whole(chunk: bytes, *, labelled: bool) -> bool | None:
    """Whether a body that begins so is no stream of events, whatever its label says; None where only blanks came.

    Without the label of one, what begins otherwise is none either: what it says must not be lost.
    """
    begun = chunk.lstrip(BLANK)
    if not begun or labelled:
        return begun[:1] in WHOLE if begun else None
    return not any(begun.startswith(field) or field.startswith(begun) for field in FIELDS)


async def _start(chunks: AsyncIterator[bytes]) -> bytes:
    """As much of a refusal as comes in time: what stands there first says why."""
    data = bytearray()
    with suppress(TimeoutError, ConnectError):
        async with asyncio.timeout(SPEECH):
            async for chunk in chunks:
                data += chunk
                if len(data) > WORDS:
                    break
    return bytes(data)


async def _close(chunks: AsyncIterator[bytes]) -> None:
    """Read to the end of a stream that has said that it is over; then its connection may be used again.

    A server that does not end it holds nobody up.
    """
    with suppress(TimeoutError, ConnectError):
        async with asyncio.timeout(LINGER):
            async for _ in chunks:
                pass
