"""What holds in every test: no network, no blocked event loop, nobody's keys, no luck."""

import gc
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from blockbuster import BlockBuster
from hypothesis import settings

from fanfold.models.wreq_transport import WreqTransport

# A failure must be the same on every machine and every day; a slow machine is no failure.
settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")

# Where code may block although a loop runs.
MAY_BLOCK = [
    # The heavy packages load when a session opens, and some read their data then; that is by design.
    ("<frozen importlib._bootstrap>", {"_find_and_load"}),
    # Under coverage two threads that meet a file for the first time wait for each other.
    ("coverage/collector.py", {"lock_data"}),
]

OURS_TO_SET = re.compile(r"(?i)^(?:ANTHROPIC|AZURE|FANFOLD|OPENAI)_|_(?:API_KEY|BASE_URL|PROXY)$")


def pytest_collection_finish() -> None:
    """What ten thousand tests are made of stays to the end: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _nobodys_keys() -> Iterator[None]:
    """The environment of the person at the keyboard plays no part."""
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(OURS_TO_SET.search, list(os.environ)):
            patch.delenv(name)
        yield


@pytest.fixture(params=["aiohttp", "wreq"])
def either_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What does the HTTP of the sessions in a test: each of the transports in turn."""
    monkeypatch.setenv("FANFOLD_TRANSPORT", request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def outside() -> Iterator[list[str]]:
    """Close the way out of this machine; gives the list of what was tried.

    An attempt fails the test at once, and, should the code under test swallow that, once more at its end.
    Names under `.invalid` fail to resolve, as they do everywhere: they are for tests of that.
    """
    tried: list[str] = []
    real = socket.getaddrinfo

    def refuse(host: str) -> None:
        tried.append(host)
        pytest.fail(f"a test may not reach {host}: only loopback")

    def guarded(method: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(address[0]):
                refuse(address[0])
            return method(self, address)

        return connect

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_loopback(name):
            refuse(name)
        return real(host, *args, **options)

    def way(self: WreqTransport, url: str) -> dict[str, Any]:
        host = urlsplit(url).hostname or ""
        options = towards(self, url)
        if not options and not host.endswith(".invalid") and not _is_loopback(host):
            refuse(host)
        return options

    towards = WreqTransport._way  # its sockets are not Python's
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        patch.setattr(WreqTransport, "_way", way)
        yield tried


@pytest.fixture(autouse=True)
def _no_network(outside: list[str]) -> Iterator[None]:
    outside.clear()
    yield
    assert not outside, f"tried to reach {outside}"


@pytest.fixture(scope="session")
def _detector() -> BlockBuster:
    detector = BlockBuster("fanfold")
    for function in detector.functions.values():
        for file, names in MAY_BLOCK:
            function.can_block_in(file, names)
    return detector


@pytest.fixture(autouse=True)
def blockbuster(_detector: BlockBuster) -> Iterator[BlockBuster]:
    """A call of ours that blocks the event loop raises; a test may `deactivate()` it and say why."""
    _detector.activate()
    yield _detector
    _detector.deactivate()


def _is_loopback(host: str | None) -> bool:
    """Whether a host is this machine; None and "" are the addresses that a server binds to."""
    if not host or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback or host in {"0.0.0.0", "::"}
    except ValueError:
        return False
