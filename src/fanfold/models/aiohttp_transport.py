"""HTTP by aiohttp: the transport that comes with fanfold."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from yarl import URL

from fanfold.core.clock import sleep
from fanfold.models.proxies import Proxies
from fanfold.models.transport import CONNECT, KEEPALIVE, broken, unreached

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from fanfold.errors import ConnectError

FIELD = 1 << 18
"""Bytes that one header of a response may have: gateways put whole policies there, and the reply is paid for."""

FAILURES = (aiohttp.ClientError, OSError, UnicodeError)
"""What a request may raise; the last for a host's name that cannot be looked up."""


class AiohttpExchange:
    """One POST and its response; an async context manager that gives the connection back, or closes it."""

    __slots__ = ("_context", "_open", "_response", "url")

    def __init__(self, context: Any, url: str, exchanges: set[AiohttpExchange]) -> None:
        self._context = context
        self._open = exchanges
        self._response: aiohttp.ClientResponse
        self.url = url

    async def __aenter__(self) -> Self:
        self._open.add(self)
        try:
            self._response = await self._context.__aenter__()
        except BaseException as error:
            self._open.discard(self)
            if isinstance(error, FAILURES):
                raise _connect_error(error, self.url) from _cause(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.discard(self)
        if kind is not None:
            self._response.close()
        await self._context.__aexit__(kind, error, trace)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, by name in any case."""
        return self._response.headers

    async def read(self) -> bytes:
        """The whole body."""
        try:
            return await self._response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _connect_error(error, self.url) from _cause(error)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise _connect_error(error, self.url) from _cause(error)


class AiohttpTransport:
    """The connections of one session, on one loop. It sets no limit and no timeout: the road has both."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE)
        self._client = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
            skip_auto_headers=("User-Agent",),
            max_field_size=FIELD,
        )
        self._proxies = Proxies()
        self._open: set[AiohttpExchange] = set()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> AiohttpExchange:
        """Begin a POST; redirects are not followed, for a key must not travel to another host."""
        target = _parsed(url)
        proxy = self._proxies.of(target.scheme, target.raw_host, target.port)
        context = self._client.post(target, headers=headers, data=body, allow_redirects=False, proxy=proxy)
        return AiohttpExchange(context, url, self._open)

    async def get(self, url: str, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        """A quick GET (a list of models, say): its status and body."""
        target, timeout = _parsed(url), aiohttp.ClientTimeout(total=seconds)
        proxy = self._proxies.of(target.scheme, target.raw_host, target.port)
        try:
            async with self._client.get(
                target, headers=headers, timeout=timeout, allow_redirects=False, proxy=proxy
            ) as response:
                return response.status, await response.read()
        except FAILURES as error:
            raise _connect_error(error, url) from _cause(error)

    def sockets(self) -> int:
        """How many connections are taken by a request, now."""
        return len(self._open)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()
        # aiohttp closes sockets in callbacks; give them the tick they need, so that none outlives the session.
        await sleep(0)


def open_transport() -> AiohttpTransport:
    """A transport with no connection yet."""
    return AiohttpTransport()


@functools.lru_cache(maxsize=256)
def _parsed(url: str) -> URL:
    return URL(url, encoded=True)


def _cause(error: BaseException) -> BaseException | None:
    """The library's own error, unless it shows the whole URL: a query may hold a key."""
    return None if isinstance(error, aiohttp.ClientResponseError) else error


def _connect_error(error: BaseException, url: str) -> ConnectError:
    host = _parsed(url).origin()
    if isinstance(error, aiohttp.ClientConnectorError):
        return unreached(host, error.strerror or error)
    if isinstance(error, UnicodeError):
        return unreached(host, f"no host has such a name: {error}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return unreached(host, "no connection in time")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return unreached(host, f"the proxy answered {error.status}")  # its own words hold the proxy's password
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return broken(host, said or type(error).__name__)
