"""What every test of the command has: a process as it was before, and models without a network."""

import sys
from collections.abc import Iterator

import pytest

from fanfold.cli.loading import LOADED
from fanfold.testing import ModelServer
from tests.cli.calling import end_all


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """A file that a test loads is gone after it, and so are its processes."""
    path = sys.path[:]
    yield
    end_all()
    sys.path[:] = path
    sys.modules.pop(LOADED, None)


@pytest.fixture
def nobody() -> str:
    """The base URL of a server that is not there."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}/v1"


@pytest.fixture
def slow() -> Iterator[ModelServer]:
    """A model server that takes half a minute for an answer."""
    with ModelServer("fake", latency=30.0) as server:
        yield server
