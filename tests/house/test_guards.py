"""The guards around every test hold."""

import asyncio
import os
import socket

import pytest
from blockbuster import BlockingError

from fanfold.models.transport import open_transport
from tests.house.tree import PACKAGE

ELSEWHERE = "192.0.2.1"  # set aside for documentation: nobody is there


def test_no_test_reaches_another_machine(outside: list[str]) -> None:
    """Connecting anywhere but to loopback fails the test, even if the error is swallowed."""
    with socket.socket() as sock, pytest.raises(pytest.fail.Exception, match="only loopback"):
        sock.connect((ELSEWHERE, 80))
    with pytest.raises(pytest.fail.Exception, match="only loopback"):
        socket.getaddrinfo("example.org", 443)
    with pytest.raises(pytest.fail.Exception, match="only loopback"):
        open_transport("wreq").post(f"https://{ELSEWHERE}/v1", {}, b"")
    assert outside == [ELSEWHERE, "example.org", ELSEWHERE]
    outside.clear()


def test_loopback_is_open() -> None:
    """A test may talk to its own servers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()


def test_an_invalid_name_is_not_found() -> None:
    """A name under .invalid fails as it does everywhere."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("no-such-server.invalid", 443)


def test_blocking_the_event_loop_raises() -> None:
    """A blocking call made by the package while a loop runs raises."""
    code = "import time\nasync def block(): time.sleep(0)"
    scope: dict[str, object] = {}
    exec(compile(code, PACKAGE / "made_up.py", "exec"), scope)
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        asyncio.run(scope["block"]())


def test_nobodys_keys_are_seen() -> None:
    """No key or proxy of the person at the keyboard is in the environment."""
    assert not [name for name in os.environ if name.upper().endswith(("_API_KEY", "_PROXY"))]
