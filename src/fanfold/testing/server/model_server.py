"""The model server: an answerer, a pace and a face, and the life of the socket that they share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from aiohttp import web

from fanfold.core import door
from fanfold.errors import LoopError, UsageError
from fanfold.testing.server.answers import answerer_of
from fanfold.testing.server.book import Book, Seen, ServerStatistics
from fanfold.testing.server.face import Face
from fanfold.testing.server.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from fanfold.testing.server.answers import Answers
    from fanfold.testing.server.pace import Seconds

BACKLOG = 4096
"""Connections that may wait to be accepted: a fan opens all of its own at once."""


class ModelServer:
    """A server of OpenAI's chat completions and Anthropic's messages that answers with recorded or made-up text.

    `answers` is ``"recorded"`` (real recorded answers; a request that was never recorded is a 404), ``"fake"``
    (seeded made-up text of the type asked for, for any model's name), a list of texts taken in turn, a function from
    the `Request` to a text (or to an exception: a `StatusError` becomes that status), or a model such as a `FakeModel`.

    The sample that a request gets is the last part of its ``x-fanfold-draw`` header; without one the n-th identical
    request gets the n-th sample. `latency`, `first_token` and `between_tokens` are in seconds; ``latency="recorded"``
    draws measured ones, by `seed`; `speed` divides them all (see `Pace`). `seen` lists the requests, the last `keep`
    of them.

    Use it as ``async with``, or as ``with`` from a script or a test that is not async: then it runs beside it, in a
    thread. A client that goes away ends the work for it at once.
    """

    def __init__(
        self,
        answers: Answers = "recorded",
        *,
        latency: Seconds = 0.0,
        first_token: float | None = None,
        between_tokens: float = 0.0,
        speed: float = 1.0,
        seed: int | str = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        keep: int = 100_000,
    ) -> None:
        self._answerer = answerer_of(answers, seed)
        self._pace = Pace(latency, first_token=first_token, between_tokens=between_tokens, speed=speed, seed=seed)
        self._book = Book(keep)
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        where = "not running" if self._runner is None else f"url={self.url!r}"
        pace = f"latency={self._pace.latency!r}, speed={self._pace.speed}"
        return f"ModelServer({self._answerer.kind!r}, {where}, {pace})"

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"{self.origin}/v1"

    @property
    def origin(self) -> str:
        """Scheme, host and port, as Azure's and Anthropic's clients want it."""
        if self._runner is None:
            raise LoopError("the model server is not running: enter it with `async with` or `with`")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._runner.addresses[0][1]}"

    @property
    def seen(self) -> list[Seen]:
        """The requests, in the order in which they came."""
        return self._book.seen

    @property
    def models(self) -> tuple[str, ...]:
        """The names it lists; a server of made-up answers knows any other as well."""
        return self._answerer.models()

    def statistics(self) -> ServerStatistics:
        """The counts so far, and how it was told to pace."""
        counts = self._book.counts
        return ServerStatistics(
            counts["requests"],
            counts["in_flight"],
            counts["answered"],
            counts["refused"],
            counts["disconnected"],
            counts["samples"],
            self._answerer.kind,
            self._pace.latency,
            self._pace.speed,
        )

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._load)
        application = Face(self._answerer, self._pace, self._book, self.statistics).application()
        # Who is told to close does not wait for replies: it is a test's server.
        runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=BACKLOG).start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            raise UsageError(
                f"cannot listen on {self._host}:{self._port} ({error}): is it taken? port=0 finds a free one"
            ) from error
        self._runner = runner
        self._book.closing = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._book.closing = True
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def __enter__(self) -> Self:
        return door.run_sync(self.__aenter__(), "starting a model server")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        door.run_sync(self.__aexit__(kind, error, trace), "stopping a model server")

    async def run_forever(self, ready: Callable[[Self], None]) -> None:
        """Serve until cancelled (Ctrl-C under `asyncio.run`); `ready` is called once it answers."""
        async with self:
            ready(self)
            await asyncio.get_running_loop().create_future()

    def _load(self) -> None:
        self._answerer.load()
        self._pace.load()
