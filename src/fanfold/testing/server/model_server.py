"""The model server: an answerer, a pace and a face, and the life of the socket that they share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, Unpack

from aiohttp import web

from fanfold.core import door
from fanfold.errors import LoopError, UsageError
from fanfold.testing.server.face import Face
from fanfold.testing.server.service import Conditions, Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from fanfold.testing.server.answers import Answers
    from fanfold.testing.server.bill import Bill
    from fanfold.testing.server.book import Seen, ServerStatistics
    from fanfold.testing.server.faults import Faults, GivenFaults
    from fanfold.testing.server.limits import Limits

BACKLOG = 4096
"""Connections that may wait to be accepted: a fan opens all of its own at once."""


class ModelServer:
    """A server of OpenAI's chat completions and Anthropic's messages that answers with recorded or made-up text.

    `answers` is ``"recorded"`` (real recorded answers; a request that was never recorded is a 404), ``"fake"``
    (seeded made-up text of the type asked for, for any model's name), a list of texts taken in turn, a function from
    the `Request` to a text (or to an exception: a `StatusError` becomes that status), or a model such as a `FakeModel`.

    The sample that a request gets is the last part of its ``x-fanfold-draw`` header; without one the n-th identical
    request gets the n-th sample. Tests say under which conditions it serves (`Service` explains each): `latency`,
    `first_token` and `between_tokens` in seconds, fixed, drawn or ``"recorded"``, which `speed` divides; `limits`, a
    `Limits`; `faults`, as ``["503:0.1", "outage:5+20"]``; `price` in USD per million (input, output) tokens;
    `reasoning`, a share. By `seed` all of it repeats. `seen` lists the requests, the last `keep` of them, and `bill`
    what they cost.

    Use it as ``async with``, or as ``with`` from a script or a test that is not async: then it runs beside it, in a
    thread. A client that goes away ends the work for it at once.
    """

    def __init__(
        self,
        answers: Answers = "recorded",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        **conditions: Unpack[Conditions],
    ) -> None:
        self._service = Service(answers, **conditions)
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        where = "not running" if self._runner is None else f"url={self.url!r}"
        pace = f"latency={self._service.pace.latency!r}, speed={self._service.pace.speed}"
        return f"ModelServer({self._service.answerer.kind!r}, {where}, {pace})"

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
        return self._service.book.seen

    @property
    def models(self) -> tuple[str, ...]:
        """The names it lists; a server of made-up answers knows any other as well."""
        return self._service.answerer.models()

    @property
    def bill(self) -> Bill:
        """What each request cost, and all of them."""
        return self._service.bill

    @property
    def limits(self) -> Limits:
        """What it grants; may be set while it runs, as ``server.limits = server.limits.but(rpm=30)``."""
        return self._service.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._service.limits = limits

    @property
    def faults(self) -> Faults:
        """What goes wrong; may be set while it runs, as ``server.faults = ["503"]``."""
        return self._service.faults

    @faults.setter
    def faults(self, faults: GivenFaults) -> None:
        self._service.faults = faults

    def reset(self) -> None:
        """Begin anew: an empty bill, windows that nothing was taken from, request number 0 at second 0."""
        self._service.reset()

    def statistics(self) -> ServerStatistics:
        """The counts so far, and how it was told to pace."""
        return self._service.statistics()

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise LoopError(f"the model server runs already, at {self.url}: leave it first, or make another")
        await asyncio.to_thread(self._service.load)
        application = Face(self._service).application()
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
        self._service.book.closing = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._service.book.closing = True
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
