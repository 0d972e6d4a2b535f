"""The HTTP face: paths, bodies, plain and streamed replies, and clients that go away."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aiohttp import web

from fanfold.core.clock import now, sleep
from fanfold.core.records import Draw
from fanfold.errors import FanfoldError
from fanfold.testing.server import completions, messages
from fanfold.testing.server.refusals import Refusal, refusal_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fanfold.core.records import Reply
    from fanfold.testing.server.answers import Answerer
    from fanfold.testing.server.book import Book, Seen, ServerStatistics
    from fanfold.testing.server.completions import Asked
    from fanfold.testing.server.pace import Pace, Timing

    Handler = Callable[[web.Request, Seen], Awaitable[web.StreamResponse]]

_log = logging.getLogger("fanfold")

LARGEST = 64 * 1024 * 1024
"""Bytes of the largest body it reads: a few images."""

TOGETHER = 0.001
"""Seconds within which words go out together: a timer is not finer."""

MESSAGES = "/v1/messages"

AZURE = re.compile(r"/openai/deployments/[^/]+/chat/completions")


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


class Face:
    """Answers requests from an `Answerer` at a `Pace`, and notes them in a `Book`."""

    def __init__(self, answerer: Answerer, pace: Pace, book: Book, statistics: Callable[[], ServerStatistics]) -> None:
        self.answerer = answerer
        self.pace = pace
        self.book = book
        self.statistics = statistics
        self.routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", partial(self._answer, completions.read, completions.Completion)),
            MESSAGES: ("POST", partial(self._answer, messages.read, messages.Answered)),
            "/v1/models": ("GET", self._models),
            "/health": ("GET", self._health),
        }

    def application(self) -> web.Application:
        """It as an application for aiohttp."""
        application = web.Application(client_max_size=LARGEST)
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; whatever is wrong with it is an error in JSON."""
        peer = request.transport and request.transport.get_extra_info("peername")
        seen = self.book.open(request.method, request.rel_url, request.headers, peer)
        try:
            return await self._route(request)(request, seen)
        except (Refusal, FanfoldError) as error:
            refusal = refusal_of(error)
            dialect = refusal.message(seen.number) if _speaks_messages(request) else refusal.response()
            return await _send(request, seen, dialect)
        except ConnectionError:
            # The client went away between two writes. Raised further, it would be logged as an error of ours.
            return web.Response()
        finally:
            self.book.close(seen)

    async def _answered(self, asked: Asked, draw: Draw) -> Reply:
        """What the answerer says; a bug on its side is a 500 that names it, and is logged."""
        request = msgspec.structs.replace(asked.request, draw=draw)
        try:
            return await self.answerer.answer(asked.model, request)
        except (Refusal, FanfoldError):
            raise
        except Exception as error:
            _log.exception("the model server's answers raised")
            raise Refusal(500, f"{type(error).__name__}: {error}", kind="server_error") from error

    def _route(self, request: web.Request) -> Handler:
        path = request.rel_url.raw_path
        if AZURE.fullmatch(path):
            path = "/v1/chat/completions"
        if path not in self.routes:
            raise Refusal(404, f"nothing is at {path[:200]!r}: there is {', '.join(self.routes)}")
        method, handler = self.routes[path]
        if request.method != method:
            raise Refusal(405, f"{path} takes {method}, not {request.method}", headers={"Allow": method})
        return handler

    async def _answer(
        self,
        read: Callable[[bytes], Asked],
        write: Callable[[int, Asked, Reply, str], Outgoing],
        request: web.Request,
        seen: Seen,
    ) -> web.StreamResponse:
        seen.raw = await _body(request)
        asked = read(seen.raw)
        ordinal = self.book.ordinal(seen, asked.request.n)
        seen.learn(asked, ordinal)
        reply = await self._answered(asked, Draw(ordinal=ordinal))
        outgoing = write(seen.number, asked, reply, self.answerer.kind)
        words = outgoing.length if asked.request.stream else None
        timing = self.pace.timing(reply, words, f"{seen.ordinal}|{seen.digest().hex()}")
        if asked.request.stream:
            response = await _stream(request, seen, outgoing, timing)
        else:
            await _until(seen.received + timing.first + timing.rest)
            response = await _send(request, seen, _json(outgoing.whole()))
        self.book.counts["samples"] += len(reply.texts)
        return response

    async def _models(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "fanfold"} for name in self.answerer.models()
        ]
        return await _send(request, seen, _json(msgspec.json.encode({"object": "list", "data": listed})))

    async def _health(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        state: dict[str, Any] = {"status": "ok", **msgspec.structs.asdict(self.statistics())}
        return await _send(request, seen, _json(msgspec.json.encode(state)))


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


async def _send(request: web.Request, seen: Seen, response: web.Response) -> web.Response:
    """Send a whole response, here and not after the handler, so that its time is known."""
    seen.status = response.status
    await response.prepare(request)
    seen.began = now()
    await response.write_eof()
    seen.answered = now()
    return response


async def _stream(request: web.Request, seen: Seen, outgoing: Outgoing, timing: Timing) -> web.StreamResponse:
    """Send a reply piece by piece, each at its time; those that are due together go out in one write."""
    due = seen.received + timing.first
    pause = timing.rest / max(1, outgoing.length - 1)
    await _until(due)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    seen.status = response.status
    await response.prepare(request)
    seen.began = now()
    ready = bytearray()
    for position in range(outgoing.length):
        # By the clock and not by pauses, so that late timers do not add up.
        if due + position * pause > now() + TOGETHER:
            await response.write(bytes(ready))
            ready.clear()
            await _until(due + position * pause)
        ready += outgoing.piece(position)
    await response.write(bytes(ready) + outgoing.ending())
    await response.write_eof()
    seen.answered = now()
    return response


async def _until(due: float) -> None:
    wait = due - now()
    if wait > 0:
        await sleep(wait)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
