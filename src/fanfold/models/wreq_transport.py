"""HTTP by wreq, a client in Rust, at a fraction of aiohttp's CPU (extra: ``fanfold[wreq]``).

It can pass for a browser; here it sends our own headers, those of HTTP and no others.
"""

from __future__ import annotations

import asyncio
import functools
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

import wreq
from wreq import exceptions

from fanfold.core.clock import sleep
from fanfold.errors import UsageError
from fanfold.models.proxies import HTTP, NO_URL, SOCKS, Proxies
from fanfold.models.transport import CONNECT, KEEPALIVE, broken, unreached

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from types import TracebackType

    from fanfold.errors import ConnectError

T = TypeVar("T")

UNREACHED = (exceptions.ConnectionError, exceptions.ProxyConnectionError)
"""What is raised before a server has heard anything."""

FAILURES = (
    *UNREACHED,
    exceptions.BodyError,
    exceptions.BuilderError,
    exceptions.ConnectionResetError,
    exceptions.DecodingError,
    exceptions.RequestError,
    exceptions.TimeoutError,
    exceptions.TlsError,
    exceptions.UpgradeError,
)
"""What a request may raise; they have no class of their own in common."""

PACKED = frozenset({"gzip", "deflate"})
"""Encodings of a body that zlib unpacks."""

_QUOTED = re.compile(r'\b(?:message|error|reason): "([^"]+)"')
_KIND = re.compile(r"\b(?!Custom\b|Error\b|Io\b|Kind\b|Os\b|Some\b|None\b)[A-Z]\w+")


class Headers(Mapping[str, str]):
    """A response's headers, by name in any case; decoded when they are looked at."""

    __slots__ = ("_held",)

    def __init__(self, held: wreq.HeaderMap) -> None:
        self._held = held

    def __getitem__(self, name: str) -> str:
        value = self._held.get(name)
        if value is None:
            raise KeyError(name)
        return _text(value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._held

    def __iter__(self) -> Iterator[str]:
        return map(_text, self._held.keys())

    def __len__(self) -> int:
        return self._held.keys_len()


class WreqExchange:
    """One POST and its response; an async context manager that gives the connection back, or closes it."""

    __slots__ = ("_request", "_response", "_streamer", "_transport", "url")

    def __init__(self, request: Awaitable[wreq.Response], url: str, transport: WreqTransport) -> None:
        self._request = request
        self._transport = transport
        self._response: wreq.Response
        self._streamer: wreq.Streamer | None = None
        self.url = url

    async def __aenter__(self) -> Self:
        taken = self._transport.taken
        taken.add(self)
        try:
            self._response = await self._transport.told(self._request, self.url)
        except BaseException:
            taken.discard(self)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.taken.discard(self)
        if self._streamer is not None:
            await self._streamer.__aexit__(None, None, None)
        elif kind is not None:
            await self._response.close()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status.as_int()

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, by name in any case."""
        return Headers(self._response.headers)

    async def read(self) -> bytes:
        """The whole body."""
        data = bytes(await self._transport.told(self._response.bytes(), self.url))
        return self._unpacking()(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; no more is read ahead than buffers of the system hold."""
        self._streamer, unpack = self._response.stream(), self._unpacking()
        try:
            async for part in self._streamer:
                if isinstance(part, memoryview):  # what else comes are trailers
                    yield unpack(bytes(part))
            return
        except FAILURES as error:
            failed = _connect_error(error, self.url)
        raise failed

    def _unpacking(self) -> Callable[[bytes], bytes]:
        """What unpacks the body: the library knows the name of an encoding in lower case only, and leaves it there."""
        if self.headers.get("Content-Encoding", "").strip().lower() not in PACKED:
            return bytes
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)

        def unpack(data: bytes) -> bytes:
            try:
                return unpacker.decompress(data)
            except zlib.error as error:
                raise broken(_origin(self.url), f"its content is not packed as it says: {error}") from error

        return unpack


class WreqTransport:
    """The connections of one session, on one loop, with a thread of their own that ends with them.

    It sets no limit and no timeout: the road has both.
    """

    def __init__(self) -> None:
        self.taken: set[WreqExchange] = set()
        self._proxies = Proxies(HTTP | SOCKS)
        self._client: wreq.Client | None = wreq.Client(
            # One thread keeps pace with the loop, on as many cores as there may be.
            runtime=wreq.Runtime(workers=1, thread_name="fanfold-wreq"),
            # A connection of HTTP/2 bears about a hundred requests, and its loss breaks them all.
            http1_only=True,
            connect_timeout=timedelta(seconds=CONNECT),
            pool_idle_timeout=timedelta(seconds=KEEPALIVE),
            redirect=wreq.Policy.none(),
            referer=False,
            gzip=True,
            deflate=True,
            brotli=False,
            zstd=False,
            no_proxy=True,  # each request has its own
            tls_verify=wreq.CertStore(default_paths=True),  # with SSL_CERT_FILE and SSL_CERT_DIR
            dns_options=wreq.DnsOptions(system_dns=True),
        )

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WreqExchange:
        """Begin a POST; redirects are not followed, for a key must not travel to another host."""
        request = self._open().post(url, headers=headers, body=body, **self._way(url))
        return WreqExchange(request, url, self)

    async def get(self, url: str, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        """A quick GET (a list of models, say): its status and body."""
        most = timedelta(seconds=seconds)
        response = await self.told(self._open().get(url, headers=headers, timeout=most, **self._way(url)), url)
        return response.status.as_int(), bytes(await self.told(response.bytes(), url))

    def sockets(self) -> int:
        """How many connections are taken by a request, now."""
        return len(self.taken)

    async def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        # With the last name for it go its idle connections and its thread.
        del client
        await sleep(0)

    async def told(self, waited: Awaitable[T], url: str) -> T:
        """What is waited for; raises `ConnectError` where it fails.

        The library's own error is no cause of that: it shows the whole URL, and a query may hold a key.
        """
        try:
            return await waited
        except FAILURES as error:
            failed = _connect_error(error, url)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._client is not None or task is None or task.cancelling():
                raise
            failed = broken(_origin(url), "the session was closed")
        raise failed

    def _open(self) -> wreq.Client:
        if self._client is None:
            raise RuntimeError("this transport is closed")
        return self._client

    def _way(self, url: str) -> dict[str, Any]:
        """The option that sends a request by way of the environment's proxy, if it has one for this host."""
        parts = _parsed(url)
        proxy = self._proxies.of(parts.scheme, parts.hostname, parts.port)
        return {} if proxy is None else {"proxy": _proxy(proxy)}


def open_transport() -> WreqTransport:
    """A transport with no connection yet."""
    return WreqTransport()


@functools.lru_cache(maxsize=256)
def _parsed(url: str) -> SplitResult:
    return urlsplit(url)


@functools.lru_cache(maxsize=16)
def _proxy(url: str) -> wreq.Proxy:
    try:
        return wreq.Proxy.all(url)
    except exceptions.BuilderError:
        pass  # its own words hold the proxy's password
    raise UsageError(NO_URL)


def _origin(url: str) -> str:
    parts = _parsed(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _connect_error(error: Exception, url: str) -> ConnectError:
    reason = _reason(str(error)) or type(error).__name__
    return unreached(_origin(url), reason) if isinstance(error, UNREACHED) else broken(_origin(url), reason)


def _reason(said: str) -> str:
    """The words for people in an error that is written for programmers, and nothing of the URL that is in it."""
    inner = said.partition("source: ")[2].partition(", connect_info:")[0]
    quoted = _QUOTED.findall(inner)
    return quoted[-1] if quoted else " ".join(_KIND.findall(inner))


def _text(value: memoryview) -> str:
    return str(value, "utf-8", "surrogateescape")
