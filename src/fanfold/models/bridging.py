"""What the bridges to other frameworks' models share: one call, what it brought, and what its errors mean.

How a bridged request travels is its framework's own affair. So a bridge gives no promise about connections, keys in
error texts or the draw's header; it keeps those about slots, timeouts, events, usage and errors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from fanfold.core.halves import Pieces, mended
from fanfold.errors import (
    BILLING,
    AccessError,
    BillingError,
    CallError,
    ConnectError,
    FanfoldError,
    LoopError,
    ReplyError,
    StatusError,
    StreamCut,
    UsageError,
)
from fanfold.models.anthropic import SPENT
from fanfold.models.prices import FlatRate
from fanfold.models.refusals import error_code, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanfold.core.records import Rate, Reply, Request, Watch

Prepared = TypeVar("Prepared")

PROVIDERS: Mapping[str, str] = {
    "amazon_bedrock": "aws",
    "bedrock": "aws",
    "google": "gemini",
    "google-cloud": "gemini",
    "google-gla": "gemini",
    "google_genai": "gemini",
    "google_vertexai": "gemini",
    "mistralai": "mistral",
}
"""Names of providers there, where ours are others; prices follow ours."""

BROKEN = frozenset(
    {"APIConnectionError", "ModelConnectionError", "ModelTimeoutError", "TransportError", "HTTPClientError"}
)
"""Classes of errors, by name, that say that no whole reply came: of the SDKs, both frameworks, httpx, botocore."""

UNREACHED = frozenset(
    {"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "gaierror", "EndpointConnectionError"}
)
"""Those of them that say that there was no connection at all."""


class Hearing:
    """The watch of one bridged call, and what was heard so far."""

    def __init__(self, watch: Watch, label: str) -> None:
        self.watch = watch
        self.label = label
        self.pieces: list[str] = []
        self._incoming = Pieces()
        self.reply: Reply | None = None

    def text(self, piece: str) -> None:
        """A piece of text came; empty ones are nothing."""
        piece = self._incoming.feed(piece)
        if piece:
            self.pieces.append(piece)
            self.watch.text(piece)

    def done(self, reply: Reply) -> None:
        """The reply is whole; raises `ReplyError` where it says itself that it ended with an error."""
        if reply.finish == "error":
            raise self.failed("its provider ended it with an error")
        self.text(self._incoming.rest())
        reply = msgspec.structs.replace(reply, texts=tuple(map(mended, reply.texts)))
        self.reply = reply
        self.watch.done(reply)

    def failed(self, why: str) -> ReplyError:
        """The error of a reply that is none: a cut where some of its text was heard."""
        seen = "".join(self.pieces)
        said = f"{self.label}: the reply is not whole: {why}"
        return StreamCut(said, text=seen, model=self.label) if seen else ReplyError(said, model=self.label)


class Bridge(ABC, Generic[Prepared]):
    """A model of another framework as a model of ours; a subclass speaks to the framework."""

    def __init__(
        self, label: str, *, made_up: bool, structured: bool, price: tuple[float, float] | None = None
    ) -> None:
        self.label = label
        self.made_up = made_up
        self.structured = structured
        self.given_rate: Rate | None = None if price is None else FlatRate(*price)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r})"

    @abstractmethod
    def prepared(self, request: Request, *, structured: bool) -> Prepared:
        """The request as the framework takes it; raises `UsageError` for what it cannot take."""

    @abstractmethod
    async def ask(self, prepared: Prepared, hearing: Hearing) -> None:
        """Send it and tell `hearing` the whole reply, without an `await` after it is there."""

    @abstractmethod
    async def listen(self, prepared: Prepared, hearing: Hearing) -> None:
        """`ask`, telling each piece of text as it comes."""

    def error_of(self, error: Exception, seen: str) -> FanfoldError:
        """What an error of the framework is here; `seen` is the text that had come."""
        return call_error(error, self.label, seen)

    async def send(self, request: Request, watch: Watch) -> Reply:
        """Send one request and give its reply; raises `CallError`, or `UsageError` where it cannot be sent."""
        if request.n != 1:
            raise UsageError(f"{self.label} gives one sample a request, not n={request.n}: ask it several times")
        structured = self.structured if request.structured is None else request.structured
        prepared = self.prepared(request, structured=structured and request.schema is not None)
        hearing = Hearing(watch, self.label)
        watch.sent()
        try:
            await (self.listen if request.stream else self.ask)(prepared, hearing)
        except Exception as error:
            if hearing.reply is None:
                raise self.error_of(error, "".join(hearing.pieces)) from error
        if hearing.reply is None:
            raise CallError(f"{self.label} ended without a reply", model=self.label)
        return hearing.reply


def label_of(provider: str, name: str) -> str:
    """``provider:name`` with our name of the provider."""
    return f"{PROVIDERS.get(provider, provider)}:{name}"


def call_error(error: Exception, label: str, seen: str = "") -> FanfoldError:
    """The `CallError` that an SDK's or a framework's error stands for; one of ours stays as it is.

    It reads what such errors have in common (a status, a response with headers, a cause), so that no SDK has to be
    there to be understood. `seen` is the text that had come: with it, the stream was cut.
    """
    if isinstance(error, FanfoldError):
        return error
    if isinstance(error, RuntimeError) and "Event loop is closed" in str(error):
        return LoopError(
            f"{label}: the connections of this model's own client belong to an event loop that is closed: make the "
            "model object anew in the loop that uses it, or stay in one loop"
        )
    message = f"{label}: {type(error).__name__}: {str(error)[:500] or 'no words'}"
    status, wait = _status(error), _wait(error)
    if seen:
        return StreamCut(message, text=seen, model=label)
    if _is_billing(error, status, wait):
        return BillingError(message, model=label)
    if status in {401, 403}:
        return AccessError(message, model=label)
    if status is not None:
        return StatusError(message, status=status, body=str(error)[:500], model=label, retry_after=wait)
    if _names(error) & BROKEN or any(isinstance(one, OSError) for one in _chain(error)):
        broken = ConnectError(message, model=label, retry_after=wait)
        broken.reached = not (_names(error) & UNREACHED)
        return broken
    code = _reported(error)
    return (
        CallError(message, model=label, retry_after=wait)
        if code is None
        else ReplyError(message, code=code, model=label)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, nearest first."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}


def _status(error: BaseException) -> int | None:
    for one in _chain(error):
        response = getattr(one, "response", None)
        told = [getattr(one, "status_code", None), getattr(response, "status_code", None), getattr(one, "code", None)]
        if isinstance(response, dict):  # botocore's
            told.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        for status in told:
            if isinstance(status, int) and 400 <= status < 600:
                return status
    return None


def _reported(error: BaseException) -> str | None:
    """The code of an error that a server told inside a reply, where no status speaks; None where there is none."""
    for one in _chain(error):
        for told in (getattr(one, "body", None), *one.args):
            if isinstance(told, dict) and told.keys() & {"error", "message"}:
                return error_code(msgspec.json.encode(told, enc_hook=str))
        if type(one).__name__ == "APIError":  # what the SDKs raise themselves in a stream; its kinds have names
            return ""
    return None


def _wait(error: BaseException) -> float | None:
    for one in _chain(error):
        told = getattr(one, "retry_after", None)
        if isinstance(told, int | float):
            return float(told)
        headers = getattr(getattr(one, "response", None), "headers", None)
        if headers is not None and (seconds := retry_after(headers)) is not None:
            return seconds
    return None


def _is_billing(error: BaseException, status: int | None, wait: float | None) -> bool:
    if status == 402 or "ModelQuotaExceededError" in _names(error):
        return True
    words = ("code", "type", "provider_error_code", "provider_error_type")
    codes = {getattr(one, word, None) for one in _chain(error) for word in words if _is_text(getattr(one, word, None))}
    return bool(codes & BILLING) or (
        status in {400, 403, 429} and wait is None and SPENT.search(str(error)) is not None
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
