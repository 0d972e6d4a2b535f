"""For users' own tests, in pytest: runs that are recorded once and replayed from then on, without a network.

pytest finds it by itself once fanfold is installed. A test that asks for the fixture `fanfold_replay` gets a `Journal`:

    def test_label(fanfold_replay):
        with Session("openai:gpt-4o-mini", journal=fanfold_replay):
            assert label.run_sync("Win a prize!").output == "spam"

``pytest --fanfold-record`` asks the models and writes the recordings, one file of JSON lines a test, into the folder
``recordings`` beside the test's file; commit them. A test that does not pass leaves its recording as it was; only
where there is none, one that skips itself writes it. Without the option they are replayed: nothing is sent, and what
was not recorded fails the test with `ReplayMiss`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from fanfold.journal import Journal


LONGEST = 150
"""Bytes of a test's name that stand in that of its recording; file systems take about 250."""

LOCAL = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})
"""What systems call the machine itself, beside the names that end in ``.localhost`` (RFC 6761)."""

_GOOD = pytest.StashKey[list[bool | None]]()
"""Whether each subtest of a test has ended as it should, and then the test itself; None of what was skipped."""

LEFT = "the recording was left as it was: only a test that passes writes it"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option."""
    group = parser.getgroup("fanfold")
    group.addoption(
        "--fanfold-record",
        action="store_true",
        help="ask the models and record what they answer, for the tests that use the fixture fanfold_replay; without "
        "it they are replayed",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how a test ended, for its recording; one that fails while it is recorded says what became of that."""
    report = yield
    if report.when == "setup":
        item.stash[_GOOD] = []
    elif report.when == "call":
        # A failure that is expected has to be replayed, too.
        good = report.passed or hasattr(report, "wasxfail")
        item.stash.setdefault(_GOOD, []).append(None if report.skipped and not good else good)
    asked = "fanfold_replay" in getattr(item, "fixturenames", ())
    if report.failed and report.when != "teardown" and asked and item.config.getoption("--fanfold-record"):
        report.sections.append(("fanfold", LEFT))
    return report


@pytest.fixture
def fanfold_replay(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Journal]:
    """The test's recording, as a journal for ``Session(journal=...)``; recorded anew under ``--fanfold-record``."""
    from fanfold.journal import Journal
    from fanfold.journal.moving import bring_in, export, owned

    recording = _recording(request)
    path = tmp_path / "fanfold-recording.db"
    if request.config.getoption("--fanfold-record"):
        with owned(path):
            pass  # an empty journal: a test that asks nothing has a recording, too
        yield Journal(path, mode="record")
        ended = request.node.stash.get(_GOOD, [])
        # Who skips itself has to be found when it is replayed, to be skipped there.
        if ended and False not in ended and (ended[-1] or not recording.exists()):
            recording.parent.mkdir(parents=True, exist_ok=True)
            recording.write_bytes(b"".join(export(path)))
        return
    if not recording.exists():
        pytest.fail(f"there is no recording {recording}: run this test once with --fanfold-record", pytrace=False)
    with recording.open("rb") as lines:
        bring_in(path, lines)
    _close_the_way_out(monkeypatch)
    yield Journal(path, mode="replay")


def _recording(request: pytest.FixtureRequest) -> Path:
    """The file of a test's recording: by its module, and by its name with its parameters."""
    folder: Path = request.path.parent / "recordings" / request.path.stem
    # Not by its node id: where tests are sent to several processes by groups, that ends with the group's name.
    chain = request.node.listchain()
    inside = max((at for at, node in enumerate(chain, 1) if isinstance(node, pytest.File)), default=-1)
    return folder / f"{_named('::'.join(node.name for node in chain[inside:]))}.jsonl"


def _named(test: str) -> str:
    """A test's name as that of a file; where this cannot say all of it, a digest tells it from others alike."""
    name, bracket, parameters = test.partition("[")
    whole = name.replace("::", "-") + (f"-{parameters.removesuffix(']')}" if bracket else "")
    said = re.sub(r"[^\w.-]+", "-", whole).encode()[:LONGEST].decode(errors="ignore")
    if said == whole:
        return said
    return f"{said}-{blake2b(test.encode(), digest_size=4).hexdigest()}"


def _close_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing else leave this machine while a recording is replayed, and no name be looked up."""
    for method in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, method, _guarded(getattr(socket.socket, method)))
    for lookup in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        monkeypatch.setattr(socket, lookup, _guarded_lookup(getattr(socket, lookup)))


def _guarded(method: Any) -> Any:
    def reach(self: socket.socket, *given: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            _check(given[-1][0])
        return method(self, *given)

    return reach


def _guarded_lookup(lookup: Any) -> Any:
    def look_up(host: Any, *given: Any, **options: Any) -> Any:
        if host:
            _check(host)
        return lookup(host, *given, **options)

    return look_up


def _check(host: Any) -> None:
    """Refuse a host, by its address or by its name, that is not this machine; no name is looked up."""
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(name)
        address = getattr(address, "ipv4_mapped", None) or address
        here = address.is_loopback or address.is_unspecified
    except ValueError:
        called = name.lower().rstrip(".")
        here = called in LOCAL or called.endswith(".localhost") or name == socket.gethostname()
    if not here:
        raise ConnectionRefusedError(f"a replayed test may not reach {name}: record it with --fanfold-record")
