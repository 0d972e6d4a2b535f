"""The model service without sockets: a `Model` of this process under limits, faults and a bill, in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, Self, Unpack, cast

from multidict import CIMultiDict
from yarl import URL

from fanfold.core.tasks import begin_task
from fanfold.errors import ConnectError, FanfoldError, UsageError
from fanfold.models.anthropic import Anthropic
from fanfold.models.openai import OpenAI
from fanfold.testing.server.delivery import send
from fanfold.testing.server.dialects import ANTHROPIC, OPENAI
from fanfold.testing.server.refusals import Refusal, refusal_of
from fanfold.testing.server.service import Conditions, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fanfold.core.records import Rate, Reply, Request, Watch
    from fanfold.models.transport import Transport
    from fanfold.testing.server.answers import Answers
    from fanfold.testing.server.bill import Bill
    from fanfold.testing.server.book import Seen, ServerStatistics
    from fanfold.testing.server.dialects import Dialect
    from fanfold.testing.server.faults import Faults, GivenFaults
    from fanfold.testing.server.limits import Limits
    from fanfold.testing.server.refusals import Answer

ORIGIN = "http://127.0.0.1:1"
"""An address of this machine at which nothing listens: nothing is sent there."""

_SPOKEN: dict[str, tuple[Dialect, type[OpenAI | Anthropic]]] = {
    "openai": (OPENAI, OpenAI),
    "anthropic": (ANTHROPIC, Anthropic),
}


class SimulatedModel:
    """A model behind the same limits, faults, times and bill as a `ModelServer`, but without a socket.

    So it runs in virtual time: half an hour of a rate limit takes as long as its calls take the CPU. Requests and
    replies pass through the real wire of the `dialect`, byte for byte, so that what goes wrong is the same error as
    over a socket. `answers` and the conditions are those of `ModelServer`; `name` is the model's, `key` the API key
    that it uses, and a `price` is what both sides reckon with. `beside()` gives another model or key at the service.
    """

    def __init__(
        self,
        answers: Answers = "fake",
        *,
        name: str = "m",
        dialect: Literal["openai", "anthropic"] = "openai",
        key: str = "test-key",
        service: Service | None = None,
        **conditions: Unpack[Conditions],
    ) -> None:
        if dialect not in _SPOKEN:
            raise UsageError(f"dialect={dialect!r}: take one of {', '.join(_SPOKEN)}")
        self.service = service or Service(answers, **conditions)
        self.name = name
        self.dialect: Literal["openai", "anthropic"] = dialect
        spoken, vendor = _SPOKEN[dialect]
        spec = vendor(name=name, base_url=f"{ORIGIN}/v1", api_key=key, structured=True)
        self._wire = spec.open(cast("Transport", _Direct(self.service, spoken)))
        self.label = self._wire.label
        self.account = self._wire.account
        self.meters_ceiling = self._wire.meters_ceiling
        self.made_up = self.service.answerer.kind == "made-up"
        self.structured = True

    def __repr__(self) -> str:
        return f"SimulatedModel({self.label!r}, {self.bill!r})"

    @property
    def given_rate(self) -> Rate | None:
        """The price that the service bills by, where it was given one."""
        prices = self.service.bill.prices
        return prices.all or prices.own.get(self.name)

    @property
    def bill(self) -> Bill:
        """What each request cost, and all of them."""
        return self.service.bill

    @property
    def limits(self) -> Limits:
        """What the service grants; may be set at any time."""
        return self.service.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.service.limits = limits

    @property
    def faults(self) -> Faults:
        """What goes wrong; may be set while it runs, as ``model.faults = ["503"]``."""
        return self.service.faults

    @faults.setter
    def faults(self, faults: GivenFaults) -> None:
        self.service.faults = faults

    @property
    def seen(self) -> list[Seen]:
        """The requests, in the order in which they came."""
        return self.service.book.seen

    def statistics(self) -> ServerStatistics:
        """The counts so far."""
        return self.service.statistics()

    def reset(self) -> None:
        """Begin anew: an empty bill, windows that nothing was taken from, request number 0 at second 0."""
        self.service.reset()

    def beside(self, name: str | None = None, *, key: str = "test-key") -> SimulatedModel:
        """Another model, or the same with another key, at the same service."""
        return SimulatedModel(name=name or self.name, dialect=self.dialect, key=key, service=self.service)

    async def send(self, request: Request, watch: Watch) -> Reply:
        """Send one request; raises `CallError` as the wire does. Cancelling it is seen by the service at once."""
        return await self._wire.send(request, watch)


class _Direct:
    """What stands in for the transport: a POST goes to the service without a socket."""

    def __init__(self, service: Service, dialect: Dialect) -> None:
        self.service = service
        self.dialect = dialect

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> _Passing:
        """Begin a POST."""
        return _Passing(self.service, self.dialect, CIMultiDict(headers), body)


class _Broken(str):
    """Why the connection is gone."""

    __slots__ = ()


class _Passing:
    """One POST and its response: the exchange of the client's side, and the outlet of the service's."""

    def __init__(self, service: Service, dialect: Dialect, headers: CIMultiDict[str], body: bytes) -> None:
        self.service = service
        self.dialect = dialect
        self.sent = headers
        self.body = body
        self.status = 0
        self.headers: Mapping[str, str] = CIMultiDict()
        self._coming: asyncio.Queue[bytes | _Broken | None] = asyncio.Queue()
        self._left: int | None = None

    async def __aenter__(self) -> Self:
        self._head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = begin_task(self._served())
        self._task.set_name("simulated model")
        try:
            await asyncio.wait([self._head, self._task], return_when=asyncio.FIRST_COMPLETED)
            if not self._head.done():
                raise AssertionError("the service ended without an answer")
            await self._head
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        # A body that says how long it is is whole when so much of it has come, whatever happens then.
        while self._left != 0 and (chunk := await self._coming.get()) is not None:
            if isinstance(chunk, _Broken):
                raise ConnectError(f"the connection broke before the reply was whole ({chunk})")
            if self._left is not None:
                self._left -= len(chunk)
            yield chunk

    async def _end(self) -> None:
        self._task.cancel()
        # Not awaited itself: a cancellation of ours that falls in here must not be taken for the task's.
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _served(self) -> None:
        seen = self.service.book.open("POST", URL(self.dialect.path), self.sent, None)
        seen.raw = self.body
        try:
            await self.service.respond(seen, self.dialect, self)
        except (Refusal, FanfoldError) as error:
            await send(self.dialect.refuse(refusal_of(error), seen.number), self, seen)
        finally:
            self.service.book.close(seen)

    async def whole(self, answer: Answer) -> None:
        """Give a whole answer."""
        await self.begin(answer.status, answer.headers, len(answer.body))
        await self.write(answer.body)
        await self.end()

    async def begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """Give a head."""
        self.status, self.headers, self._left = status, CIMultiDict(headers), length
        if not self._head.done():
            self._head.set_result(None)

    async def write(self, data: bytes) -> None:
        """Give a part of the body."""
        self._coming.put_nowait(data)

    async def end(self) -> None:
        """Say that the body is whole."""
        self._coming.put_nowait(None)

    async def cut(self, *, reset: bool) -> None:
        """Break the connection."""
        why = "Connection reset by peer" if reset else "Server disconnected"
        if not self._head.done():
            self._head.set_exception(ConnectError(f"the connection broke before the reply was whole ({why})"))
        self._coming.put_nowait(_Broken(why))
