"""The HTTP face of a model service: paths, bodies, connections, and clients that go away."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from fanfold.errors import FanfoldError, UsageError
from fanfold.testing.server.delivery import send
from fanfold.testing.server.dialects import ANTHROPIC, OPENAI, Dialect
from fanfold.testing.server.limits import Limits
from fanfold.testing.server.refusals import Answer, Refusal, decoded, json_answer, refusal_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from fanfold.testing.server.book import Seen
    from fanfold.testing.server.service import Service

    Handler = Callable[[web.Request, Seen, "Connection"], Awaitable[None]]

_log = logging.getLogger("fanfold")

LARGEST = 64 * 1024 * 1024
"""Bytes of the largest body it reads: a few images."""

MESSAGES = "/v1/messages"

AZURE = re.compile(r"/openai/deployments/[^/]+/chat/completions")


class Face:
    """Brings HTTP requests to a `Service`, and its answers back."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", partial(self._answer, OPENAI)),
            MESSAGES: ("POST", partial(self._answer, ANTHROPIC)),
            "/v1/models": ("GET", self._models),
            "/health": ("GET", self._health),
            "/bill": ("GET", self._bill),
            "/limits": ("POST", self._limits),
            "/faults": ("POST", self._faults),
            "/reset": ("POST", self._reset),
        }

    def application(self) -> web.Application:
        """It as an application for aiohttp."""
        application = web.Application(client_max_size=LARGEST)
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; whatever is wrong with it is an error in JSON."""
        connection = Connection(request)
        peer = request.transport and request.transport.get_extra_info("peername")
        seen = self.service.book.open(request.method, request.rel_url, request.headers, peer)
        try:
            await self._route(request)(request, seen, connection)
        except (Refusal, FanfoldError) as error:
            dialect = ANTHROPIC if _speaks_messages(request) else OPENAI
            await send(dialect.refuse(refusal_of(error), seen.number), connection, seen)
        except ConnectionError:
            # The client went away between two writes. Raised further, it would be logged as an error of ours.
            return web.Response()
        finally:
            self.service.book.close(seen)
        return connection.response or web.Response()

    def _route(self, request: web.Request) -> Handler:
        path = request.rel_url.raw_path
        if AZURE.fullmatch(path):
            path = "/v1/chat/completions"
        if path not in self.routes:
            raise Refusal(404, f"nothing is at {path[:200]!r}: there is {', '.join(self.routes)}")
        method, handler = self.routes[path]
        if request.method not in {method, "HEAD" if method == "GET" else method}:
            raise Refusal(405, f"{path} takes {method}, not {request.method}", headers={"Allow": method})
        return handler

    async def _answer(self, dialect: Dialect, request: web.Request, seen: Seen, connection: Connection) -> None:
        seen.raw = await _body(request)
        try:
            await self.service.respond(seen, dialect, connection)
        except (Refusal, FanfoldError, ConnectionError):
            raise
        except Exception as error:
            # As a function may raise that was given to choose the faults.
            _log.exception("the model server raised")
            raise Refusal(500, f"{type(error).__name__}: {error}", kind="server_error") from error

    async def _models(self, request: web.Request, seen: Seen, connection: Connection) -> None:
        names = self.service.answerer.models()
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "fanfold"} for name in names]
        await send(_json({"object": "list", "data": listed}), connection, seen)

    async def _health(self, request: web.Request, seen: Seen, connection: Connection) -> None:
        state: dict[str, Any] = {"status": "ok", **msgspec.structs.asdict(self.service.statistics())}
        await send(_json(state), connection, seen)

    async def _bill(self, request: web.Request, seen: Seen, connection: Connection) -> None:
        lines = request.query.get("charges") != "no"
        # In a thread: the first price that is looked up loads the list.
        document = await asyncio.to_thread(self.service.bill.document, lines=lines)
        await send(_json(document), connection, seen)

    async def _limits(self, request: web.Request, seen: Seen, connection: Connection) -> None:
        changes = decoded(msgspec.json.Decoder(dict[str, Any]).decode, await _body(request), "an object of limits")
        try:
            self.service.limits = msgspec.convert({**msgspec.structs.asdict(self.service.limits), **changes}, Limits)
        except (msgspec.ValidationError, ValueError) as error:
            raise Refusal(400, str(error)) from None
        await send(_json(msgspec.structs.asdict(self.service.limits)), connection, seen)

    async def _faults(self, request: web.Request, seen: Seen, connection: Connection) -> None:
        given = decoded(msgspec.json.Decoder(list[str]).decode, await _body(request), "a list of faults")
        try:
            self.service.faults = given
        except UsageError as error:
            raise Refusal(400, str(error)) from None
        await send(_json([str(fault) for fault in self.service.faults.listed]), connection, seen)

    async def _reset(self, request: web.Request, seen: Seen, connection: Connection) -> None:
        self.service.reset()
        await send(_json({"status": "ok"}), connection, seen)


class Connection:
    """One request's connection, as the outlet of its answer."""

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.response: web.StreamResponse | None = None

    async def whole(self, answer: Answer) -> None:
        """Send a whole answer, here and not after the handler, so that its time is known."""
        self.response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        await self.response.prepare(self.request)
        await self.response.write_eof()

    async def begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """Send a head."""
        self.response = web.StreamResponse(status=status, headers=headers)
        self.response.content_length = length
        await self.response.prepare(self.request)

    async def write(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._open().write(data)

    async def end(self) -> None:
        """Say that the body is whole."""
        await self._open().write_eof()

    async def cut(self, *, reset: bool) -> None:
        """Close the connection, or reset it; aiohttp then ends the work on it, as if the client had gone."""
        transport = self.request.transport
        if transport is None:
            return
        if reset:
            # Closing with nothing lingering is what sends RST and not FIN.
            lingering: socket.socket = transport.get_extra_info("socket")
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        await asyncio.get_running_loop().create_future()

    def _open(self) -> web.StreamResponse:
        if self.response is None:
            raise AssertionError("its head was sent")
        return self.response


def _speaks_messages(request: web.Request) -> bool:
    """Who asks Anthropic's paths, or asks any as its clients do, is told in its words what is wrong."""
    return request.path.startswith(MESSAGES) or "anthropic-version" in request.headers


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refusal(413, f"the body is larger than {LARGEST} bytes") from None
    except web.RequestPayloadError as error:
        raise Refusal(400, f"the body cannot be read: {error}") from None


def _json(value: Any) -> Answer:
    return json_answer(msgspec.json.encode(value))
