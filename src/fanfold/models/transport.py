"""The transport seam: all HTTP of the wires goes through these two small faces, and nothing else knows who does it.

Cancelling a task closes its request at once, before and after the response headers. Every transport behind this seam
has to (the tests over sockets say how), and gives up what fails as a `ConnectError` in the words below.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeAlias, cast, get_args

from fanfold.errors import ConnectError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import ModuleType, TracebackType

KEEPALIVE = 15.0
"""Seconds an idle connection is kept; servers' own limits are longer, so that we close first."""

CONNECT = 30.0
"""Seconds that making a connection may take."""

TransportName: TypeAlias = Literal["aiohttp", "wreq"]
"""What does the HTTP: the default, and one that comes as the extra of its name."""

DEFAULT: TransportName = "aiohttp"


class Exchange(Protocol):
    """One POST and its response; an async context manager that gives the connection back, or closes it."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, by name in any case."""
        ...

    async def read(self) -> bytes:
        """The whole body; raises `ConnectError` where it ends too soon."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises `ConnectError` where it ends too soon."""
        ...


class Transport(Protocol):
    """The connections of one session, on one loop. It sets no limit and no timeout: the road has both."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Begin a POST; redirects are not followed, for a key must not travel to another host."""
        ...

    async def get(self, url: str, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        """A quick GET (a list of models, say): its status and body."""
        ...

    def sockets(self) -> int:
        """How many connections are taken by a request, now."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def chosen(name: str | None = None) -> TransportName:
    """The transport that is meant: this one, else FANFOLD_TRANSPORT of the environment, else aiohttp.

    Raises `UsageError` for a name that is none, and for one that is not installed.
    """
    wanted = name or os.environ.get("FANFOLD_TRANSPORT") or DEFAULT
    if wanted not in get_args(TransportName):
        names = " or ".join(map(repr, get_args(TransportName)))
        raise UsageError(f"there is no transport {wanted!r}: write {names} (transport=, or FANFOLD_TRANSPORT)")
    found = cast("TransportName", wanted)
    if found != DEFAULT:
        load(found)
    return found


def load(name: TransportName) -> ModuleType:
    """The module of a transport, which alone imports its library; raises `UsageError` where that is missing."""
    try:
        return import_module(f"fanfold.models.{name}_transport")
    except ImportError as error:
        raise UsageError(f"transport={name!r} needs {name} ({error}): pip install 'fanfold[{name}]'") from error


def open_transport(name: TransportName) -> Transport:
    """New connections of that kind, none of which is made before it is needed."""
    opened: Transport = load(name).open_transport()
    return opened


def unreached(host: object, why: object) -> ConnectError:
    """The error where nobody answers at `host`."""
    error = ConnectError(f"no server answers at {host} ({why}); is it running, is the URL right?")
    error.reached = False
    return error


def broken(host: object, reason: object) -> ConnectError:
    """The error where a connection to `host` broke off."""
    return ConnectError(f"the connection to {host} broke before the reply was whole ({reason})")
