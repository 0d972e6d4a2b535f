"""What every transport behind the seam promises beyond the wires' own tests, and how one is chosen."""

import asyncio
import gzip
import os
import socket
import subprocess
import sys
import time
import zlib
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fanfold import OpenAI, Session, prompt
from fanfold.errors import ConnectError, UsageError
from fanfold.models import aiohttp_transport, wreq_transport
from fanfold.models.aiohttp_transport import AiohttpTransport
from fanfold.models.proxies import Proxies
from fanfold.models.transport import chosen, open_transport
from fanfold.models.wreq_transport import WreqTransport
from fanfold.testing import ModelServer, no_leaks
from tests.wire import raw

ASK = prompt("{input}")
KEY = "sk-planted-secret-0123456789"

SEEN_WITHIN = 0.05
"""Seconds within which the other side has to see that a request was given up."""

both = pytest.mark.usefixtures("either_transport")


@asynccontextmanager
async def transport(name: str | None = None) -> Any:
    """A transport, closed in the end."""
    opened = open_transport(chosen(name))
    try:
        yield opened
    finally:
        await opened.close()


async def post(opened: Any, url: str, headers: Any = None, body: bytes = b"{}") -> tuple[int, bytes]:
    """One exchange: its status and body."""
    async with opened.post(url, headers or {}, body) as exchange:
        return exchange.status, await exchange.read()


async def until(condition: Any, seconds: float = SEEN_WITHIN) -> float:
    """Wait until it holds; gives the seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.001)
    return time.monotonic() - began


# -- the choice ----------------------------------------------------------------------------------------------------


def test_the_transport_is_the_one_given_else_the_environment_s_else_aiohttp(monkeypatch):
    """`transport=` goes before FANFOLD_TRANSPORT, and aiohttp is what both leave."""
    assert Session().settings.transport == "aiohttp"
    assert Session(transport="wreq").settings.transport == "wreq"
    monkeypatch.setenv("FANFOLD_TRANSPORT", "wreq")
    assert Session().settings.transport == "wreq"
    assert Session(transport="aiohttp").settings.transport == "aiohttp"
    monkeypatch.setenv("FANFOLD_TRANSPORT", "")
    assert Session().settings.transport == "aiohttp"


@pytest.mark.parametrize(("name", "kind"), [("aiohttp", AiohttpTransport), ("wreq", WreqTransport)])
def test_a_session_opens_the_transport_it_was_given(name, kind):
    """It is made when the first model needs it, and a call goes through it."""

    async def main():
        async with (
            ModelServer(["yes"]) as server,
            Session(OpenAI("m", base_url=server.url), transport=name) as session,
            no_leaks(session),
        ):
            run = await ASK.run("q", session=session)
            return run.output, type(session._transport), len(server.seen)

    assert asyncio.run(main()) == ("yes", kind, 1)


@pytest.mark.parametrize("where", ["given", "environment"])
def test_an_unknown_transport_is_refused_with_those_there_are(where, monkeypatch):
    """The error names the transports, and where one is chosen."""
    if where == "environment":
        monkeypatch.setenv("FANFOLD_TRANSPORT", "httpx")
    with pytest.raises(UsageError, match=r"'httpx': write 'aiohttp' or 'wreq'.*FANFOLD_TRANSPORT"):
        Session(transport="httpx" if where == "given" else None)


def test_a_transport_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    """The session is refused at once, with what to install."""
    monkeypatch.setitem(sys.modules, "wreq", None)
    monkeypatch.delitem(sys.modules, "fanfold.models.wreq_transport")
    with pytest.raises(UsageError, match=r"pip install 'fanfold\[wreq\]'"):
        Session(transport="wreq")


def test_the_command_takes_it_from_the_environment():
    """`FANFOLD_TRANSPORT` reaches the command's sessions; a wrong one is wrong usage, told in one line."""
    command = [sys.executable, "-m", "fanfold", "vote", "Is it?", "--model", "fake:", "--choices", "a,b", "--quiet"]
    environment = {**os.environ, "FANFOLD_TRANSPORT": "carrier-pigeon"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, input="x", check=False)
    assert done.returncode == 2
    assert "no transport 'carrier-pigeon'" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_the_other_transport_aiohttp_is_not_loaded():
    """A session of wreq takes neither aiohttp's memory nor its time to load."""
    code = (
        "import asyncio, sys\n"
        "from fanfold import OpenAI, Session\n"
        "async def main():\n"
        "    async with Session(OpenAI('m', base_url='http://127.0.0.1:9/v1'), transport='wreq') as session:\n"
        "        session.line(None)\n"
        "asyncio.run(main())\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "wreq" in loaded
    assert "aiohttp" not in loaded


# -- what is sent --------------------------------------------------------------------------------------------------


def test_wreq_sends_our_headers_those_of_http_and_no_others():
    """It names no browser, nor itself, and keeps path and query as they are written."""

    async def main():
        async with raw.raw_server(raw.whole({})) as server, transport("wreq") as opened:
            sent = {"Content-Type": raw.JSON, "Authorization": f"Bearer {KEY}"}
            await post(opened, f"{server.url}/a%2Fb?q=%20x&y=a+b", sent, b'{"a": 1}')
            return server.heard[0]

    heard = asyncio.run(main())
    assert set(heard.headers) == {"content-type", "authorization", "host", "content-length", "accept-encoding"}
    assert (heard.method, heard.target, heard.body) == ("POST", "/v1/a%2Fb?q=%20x&y=a+b", b'{"a": 1}')
    assert heard.headers["accept-encoding"].replace(" ", "") == "gzip,deflate"


@both
def test_headers_of_a_response_are_found_in_any_case():
    """By name, in whatever case either side writes it; odd bytes in a value raise nothing."""

    async def main():
        said = raw.whole(b"", X_Own="7", X_Odd="sch\xf6n")
        async with (
            raw.raw_server(said) as server,
            transport() as opened,
            opened.post(server.url, {}, b"") as exchange,
        ):
            held = exchange.headers
            assert (held["x-own"], held.get("X-OWN"), held.get("x-none"), held.get("x-none", "0")) == (
                "7",
                "7",
                None,
                "0",
            )
            assert ("x-Own" in held, "x-none" in held) == (True, False)
            assert {name.lower() for name in held} == {"content-type", "content-length", "connection", "x-own", "x-odd"}
            assert len(held) == 5
            assert held["x-odd"].startswith("sch")
            with pytest.raises(KeyError):
                held["x-none"]

    asyncio.run(main())


@both
def test_a_long_header_does_not_cost_the_reply():
    """Gateways send policies and traces of many thousand characters along."""

    async def main():
        async with raw.raw_server(raw.whole(b"{}", X_Trace="x" * 60_000)) as server, transport() as opened:
            return await post(opened, server.url)

    assert asyncio.run(main()) == (200, b"{}")


@both
def test_the_proxy_of_the_environment_is_asked_for_other_hosts(monkeypatch):
    """By HTTP_PROXY and HTTPS_PROXY, with their user, who is in no error; NO_PROXY takes a host out."""
    lines = []

    async def proxy(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines.append((head.partition(" HTTP/1.1\r\n")[0], "Basic dTpw" in head))
        writer.write(raw.whole(b"", "502 Bad Gateway"))

    async def main():
        async with raw.listening(proxy) as server:
            for name in ("http_proxy", "https_proxy"):
                monkeypatch.setenv(name, server.origin.replace("//", "//u:p@"))
            async with transport() as opened:
                assert await post(opened, "http://example.org:81/v1") == (502, b"")
                with pytest.raises(ConnectError, match="no server answers at https://example") as caught:
                    await post(opened, "https://example.org/v1")
            monkeypatch.setenv("no_proxy", "example..invalid")
            async with transport() as opened:
                with pytest.raises(ConnectError, match="no server answers"):
                    await post(opened, "https://example..invalid/v1")
        return caught.value

    error = asyncio.run(main())
    assert lines == [("POST http://example.org:81/v1", True), ("CONNECT example.org:443", True)]
    assert not error.reached
    assert "u:p" not in str(error)


@pytest.mark.parametrize(
    ("left_out", "url", "proxied"),
    [
        ("models.example:8000", "http://models.example:8000", False),
        ("models.example:8000", "http://models.example:8001", True),
        ("models.example:8000", "http://gpu.models.example:8000", False),
        ("models.example:443", "https://models.example", False),
        ("models.example:443", "http://models.example", True),
        ("models.example", "https://models.example:8000", False),
        ("[fd00::1]:8000", "http://[fd00::1]:8000", False),
        ("fd00::1", "http://[fd00::1]:8000", False),
        ("fd00::1", "http://[fd00::2]:8000", True),
        ("10.0.0.0/8", "http://10.1.2.3:8000", False),
        ("10.1.2.3/8", "http://10.9.9.9", False),
        ("10.0.0.0/8", "http://11.1.2.3:8000", True),
        ("10.0.0.0/8", "http://models.example", True),
        ("fd00::/8", "https://[fd00::2]", False),
        ("10.0.0.0/99, models.example", "http://10.1.2.3", True),
        ("*.example", "https://gpu.models.example", False),
        ("*.models.example:8000", "http://gpu.models.example:8000", False),
        ("*.models.example:8000", "http://gpu.models.example:8001", True),
        ("*.models.example", "https://mymodels.example", True),
        (".models.example", "https://gpu.models.example", False),
    ],
)
def test_no_proxy_takes_out_a_host_at_one_port_or_at_all(monkeypatch, left_out, url, proxied):
    """An entry with a port is for that port alone, also where the URL leaves it unsaid."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", f"other.example, {left_out}")
    parts = urlsplit(url)
    assert bool(Proxies().of(parts.scheme, parts.hostname, parts.port)) == proxied


@pytest.mark.parametrize("name", ["all_proxy", "ALL_PROXY"])
def test_all_proxy_stands_for_those_that_are_missing(monkeypatch, name):
    """As with curl, requests and httpx; what is named for a scheme goes before it, and NO_PROXY before all."""
    monkeypatch.setenv(name, "http://all.example:3128")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "models.example")
    proxies = Proxies()
    assert proxies.of("http", "other.example", None) == "http://all.example:3128"
    assert proxies.of("https", "other.example", None) == "http://proxy.example:3128"
    assert proxies.of("http", "models.example", None) is None
    assert proxies.of("http", "127.0.0.1", 80) is None


def test_a_proxy_of_socks_is_never_spoken_to_in_http(monkeypatch):
    """The one transport speaks it; where the other is chosen the error says so."""
    monkeypatch.setenv("all_proxy", f"socks5h://user:{KEY}@127.0.0.1:9")

    async def main(name):
        async with transport(name) as opened:
            await post(opened, "https://example.org/v1")

    with pytest.raises(UsageError, match=r"ALL_PROXY.* speaks SOCKS.*fanfold\[wreq\].*transport='wreq'") as caught:
        asyncio.run(main("aiohttp"))
    assert KEY not in str(caught.value)
    with pytest.raises(ConnectError):
        asyncio.run(main("wreq"))


@both
@pytest.mark.parametrize(
    "named",
    [
        "user:{}@proxy.invalid:3128",
        "http://user:{}@proxy.invalid:port",
        "proxy.invalid",
        "ftp://user:{}@proxy.invalid:21",
    ],
)
def test_a_proxy_that_is_no_url_is_refused_with_how_one_looks(monkeypatch, named):
    """The variable is named, and what stands in it is not shown."""
    monkeypatch.setenv("https_proxy", named.format(KEY))

    async def main():
        async with transport() as opened:
            await post(opened, "https://example.org/v1")

    with pytest.raises(UsageError, match=r"HTTPS_PROXY.*http://host:port") as caught:
        asyncio.run(main())
    assert KEY not in str(caught.value)


# -- trust -----------------------------------------------------------------------------------------------------------


def test_wreq_trusts_who_the_system_or_ssl_cert_file_trusts_and_speaks_http_1(monkeypatch):
    """A certificate nobody vouches for is refused before the request; SSL_CERT_FILE vouches. HTTP/2 is not offered."""
    import ssl

    pem = Path(__file__).with_name("loopback.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    spoken = []

    async def say(writer, _heard):
        spoken.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.write(raw.whole(b"hello"))

    async def main():
        async with raw.raw_server(say, tls) as server:
            async with transport("wreq") as opened:
                with pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                    await post(opened, server.url)
            monkeypatch.setenv("SSL_CERT_FILE", str(pem))
            async with transport("wreq") as opened:
                answered = await post(opened, server.url)
            return caught.value.reached, answered, len(server.heard)

    assert asyncio.run(main()) == (False, (200, b"hello"), 1)
    assert spoken == ["http/1.1"]


# -- failures --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def full() -> Any:
    """A place whose queue of connections is full: nobody answers there, and nobody refuses."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        await asyncio.sleep(0.01)
        try:
            yield listening.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


@both
def test_where_nobody_answers_nothing_was_reached(monkeypatch):
    """Refused, or not connected in time: a ConnectError with `reached` False, whose words leave the query out."""
    for module in (aiohttp_transport, wreq_transport):
        monkeypatch.setattr(module, "CONNECT", 0.05)

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            nobody = taken.getsockname()[1]
        errors = []
        async with full() as port, transport() as opened:
            for place in (nobody, port):
                with pytest.raises(ConnectError) as caught:
                    await post(opened, f"http://127.0.0.1:{place}/v1?key={KEY}")
                errors.append((f"http://127.0.0.1:{place}", caught.value))
            assert opened.sockets() == 0
        return errors

    for origin, error in asyncio.run(main()):
        assert not error.reached
        assert str(error).startswith(f"no server answers at {origin} (")
        assert KEY not in str(error)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("models..example", "no host has such a name"),
        ("m" * 64, "no host has such a name"),
        ("modelle-für-alle", "Name or service not known"),
    ],
)
def test_a_name_that_no_host_has_is_no_answer(monkeypatch, host, words):
    """What Python cannot even look up, and a name beyond ASCII, are told as what nobody answers at."""

    def look_up(name, *_given, **_more):
        name.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def main():
        async with transport("aiohttp") as opened:
            with pytest.raises(ConnectError, match=f"no server answers at https://m.*{words}") as caught:
                await post(opened, f"https://{host}.invalid/v1")
            with pytest.raises(ConnectError, match=words):
                await opened.get(f"https://{host}.invalid/v1", {}, 1.0)
            assert opened.sockets() == 0
        return caught.value

    assert not asyncio.run(main()).reached


def test_no_cause_of_a_failure_of_wreq_holds_the_url():
    """The library's own errors show the whole URL, and a query may hold a key: they are not passed on."""

    async def main():
        errors = []
        for said in (b"", b"nonsense\r\n\r\n", raw.whole(b"hello")[:-2], raw.in_chunks() + b"zz\r\n"):
            async with raw.raw_server(said) as server, transport("wreq") as opened:
                for streamed in (False, True):
                    with pytest.raises(ConnectError) as caught:
                        await body(opened, f"{server.url}?key={KEY}", streamed=streamed)
                    errors.append(caught.value)
        return errors

    for error in asyncio.run(main()):
        assert error.__cause__ is None
        assert error.__context__ is None
        assert "broke before the reply was whole (" in str(error)
        assert "wreq" not in str(error)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            'wreq::Error { uri: http://h/?k="a", source: Some(Os { code: 1, message: "Refused" })), connect_info: X }',
            "Refused",
        ),
        (
            "wreq::Error { kind: Request, source: E { source: Some(netty::Error(IncompleteMessage)) } }",
            "IncompleteMessage",
        ),
        (
            "wreq::Error { kind: Request, source: Some(netty::Error(Parse(Version))), connect_info: Big }",
            "Parse Version",
        ),
        ("wreq::Error { kind: Connect, uri: http://h/?Secret }", ""),
        ("", ""),
    ],
)
def test_the_words_for_people_are_found_in_an_error_for_programmers(said, words):
    """The innermost words, or else the innermost kinds; nothing outside of the source, where the URL stands."""
    assert wreq_transport._reason(said) == words


HEAD = b"HTTP/1.1 200 OK\r\n"
MALFORMED = [
    HEAD + b"Content-Length: 10\r\nContent-Length: 5\r\n\r\nhello",
    HEAD + b"Content-Length: -1\r\n\r\nhello",
    HEAD + b"Bad Header\r\n\r\nhello",
    HEAD + b"X: " + b"a" * 1_000_000 + b"\r\n\r\nhello",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    HEAD + b"Content-Length: 10\r\n\r\nhello",
]


async def body(opened: Any, url: str, *, streamed: bool) -> bytes:
    """The body of one exchange, read at once or as it comes."""
    async with opened.post(url, {}, b"") as exchange:
        return b"".join([chunk async for chunk in exchange.chunks()]) if streamed else await exchange.read()


@both
@pytest.mark.parametrize("said", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize("streamed", [False, True])
def test_a_malformed_or_cut_response_is_an_error_and_never_a_short_body(said, streamed):
    """Whatever is wrong with lengths, headers or chunks, no body comes of it."""

    async def main():
        async with raw.raw_server(said) as server, transport() as opened:
            with pytest.raises(ConnectError):
                await body(opened, server.url, streamed=streamed)
            assert opened.sockets() == 0

    asyncio.run(main())


@both
@pytest.mark.parametrize("streamed", [False, True])
def test_a_compressed_body_is_unpacked_and_a_cut_one_is_an_error(streamed):
    """What was asked for packed comes unpacked, with trailers passed over."""
    packed = gzip.compress(b"hello " * 100)

    async def main(said):
        async with raw.raw_server(said) as server, transport() as opened:
            return await body(opened, server.url, streamed=streamed)

    for name, data in (("gzip", packed), ("GZIP", packed), ("Deflate", zlib.compress(b"hello " * 100))):
        assert asyncio.run(main(raw.whole(data, Content_Encoding=name))) == b"hello " * 100
    trailed = raw.in_chunks() + raw.chunk(b"hello") + b"0\r\nX-Trailer: 1\r\n\r\n"
    assert asyncio.run(main(trailed)) == b"hello"
    for name in ("gzip", "GZIP"):
        with pytest.raises(ConnectError):
            asyncio.run(main(raw.whole(packed, Content_Encoding=name)[:-9]))
        with pytest.raises(ConnectError):
            asyncio.run(main(raw.whole(b"plain", Content_Encoding=name)))


@both
def test_a_request_that_dies_on_a_kept_connection_is_not_sent_twice():
    """Only the road sends again: a server that took a request and hung up has heard it once."""
    bodies = []

    async def talk(reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            bodies.append(await reader.readexactly(1))
            if bodies[-1] == b"b":
                break
            writer.write(HEAD + b"Content-Length: 0\r\n\r\n")

    async def main():
        async with raw.listening(talk) as server, transport() as opened:
            await post(opened, server.url, body=b"a")
            with pytest.raises(ConnectError, match="broke") as caught:
                await post(opened, server.url, body=b"b")
        return caught.value.reached

    assert asyncio.run(main()) is True
    assert bodies == [b"a", b"b"]


@both
def test_a_quick_get_ends_when_its_time_is_over():
    """A server that says nothing is a ConnectError after the seconds given."""

    async def silent(writer, _heard):
        await writer.wait_closed()

    async def main():
        async with raw.raw_server(silent) as server, transport() as opened:
            began = time.monotonic()
            with pytest.raises(ConnectError):
                await opened.get(server.url, {}, 0.05)
            return time.monotonic() - began

    assert 0.04 < asyncio.run(main()) < 1


# -- being given up --------------------------------------------------------------------------------------------------


async def given_up(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for it."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def connecting(port: int) -> int:
    """How many sockets of this machine wait for that port to answer."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and line[3] == "02" for line in lines)


@both
@pytest.mark.timing
def test_a_connection_that_is_being_made_is_given_up_at_once():
    """Cancelled while nobody has answered yet, its socket is gone within 50 ms."""

    async def main():
        async with full() as port, transport() as opened:
            others = connecting(port)
            task = asyncio.create_task(post(opened, f"http://127.0.0.1:{port}/"))
            await until(lambda: connecting(port) > others, 2)
            await given_up(task)
            await until(lambda: connecting(port) == others)
            return opened.sockets()

    assert asyncio.run(main()) == 0


SILENT = {
    "before TLS": b"",
    "before headers": b"",
    "inside headers": HEAD + b"X: ",
    "inside a body": HEAD + b"Content-Length: 9\r\n\r\nhi",
}


@both
@pytest.mark.timing
@pytest.mark.parametrize("moment", SILENT)
def test_the_server_sees_within_50_ms_that_a_request_is_given_up(moment):
    """Whatever it has said by then, or not."""
    heard, gone = [], []

    async def talk(reader, writer):
        heard.append(await reader.read(1000))
        writer.write(SILENT[moment])
        try:
            while await reader.read(1000):
                pass
        except ConnectionError:
            pass
        gone.append(time.monotonic())

    async def main():
        async with raw.listening(talk) as server, transport() as opened:
            url = server.url.replace("http", "https") if moment == "before TLS" else server.url
            task = asyncio.create_task(post(opened, url))
            await until(lambda: heard, 2)
            await asyncio.sleep(0.02)
            at = time.monotonic()
            await given_up(task)
            await until(lambda: gone)
            assert opened.sockets() == 0
        return gone[0] - at

    assert asyncio.run(main()) <= SEEN_WITHIN


@both
def test_a_reader_that_pauses_stops_the_server():
    """A body of 256 MB that nobody reads on stays with its server but for what buffers hold."""
    wrote = [0]

    async def flood(writer, _heard):
        writer.write(raw.open_ended())
        for _ in range(4096):
            writer.write(bytes(65536))
            await writer.drain()
            wrote[0] += 65536

    async def main():
        async with raw.raw_server(flood) as server, transport() as opened:
            async with opened.post(server.url, {}, b"") as exchange:
                assert await anext(aiter(exchange.chunks()))
                before = -1
                while before != wrote[0]:
                    before = wrote[0]
                    await asyncio.sleep(0.05)
            assert opened.sockets() == 0

    asyncio.run(main())
    assert wrote[0] < 32 * 2**20


@both
@pytest.mark.timing
def test_a_closed_session_leaves_no_connection():
    """Kept connections are closed with their session, and the servers see it within 50 ms."""
    gone = []

    async def talk(reader, writer):
        while True:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            await asyncio.sleep(0.02)
            writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        gone.append(writer)

    async def main():
        async with raw.listening(talk) as server:
            async with transport() as opened:
                await asyncio.gather(*(post(opened, server.url, body=b"") for _ in range(20)))
                assert gone == []
            await until(lambda: len(gone) == 20)

    asyncio.run(main())


def threads() -> int:
    """How many threads of wreq run in this process."""
    names = [path.read_text("ascii").strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith("fanfold-wreq") for name in names)


def test_the_thread_of_wreq_ends_with_its_session():
    """One thread a session, and none after it."""

    async def main():
        async with raw.raw_server(raw.whole(b"")) as server:
            before = threads()
            async with transport("wreq") as opened:
                await post(opened, server.url)
                during = threads()
            await until(lambda: threads() == before, 2)
            return during - before

    assert asyncio.run(main()) == 1


@both
def test_what_waits_when_its_session_is_closed_fails_and_is_not_cancelled():
    """A request that still waits for its headers is a ConnectError: nobody cancelled its task."""

    async def silent(writer, _heard):
        await writer.wait_closed()

    async def main():
        async with raw.raw_server(silent) as server:
            opened = open_transport(chosen())
            task = asyncio.create_task(post(opened, server.url))
            await until(lambda: server.heard, 2)
            await opened.close()
            with pytest.raises(ConnectError, match="broke"):
                await asyncio.wait_for(task, 2)
            return opened.sockets()

    assert asyncio.run(main()) == 0


def test_a_closed_transport_of_wreq_takes_nothing_more():
    """Sessions refuse first; the transport by itself says what is wrong."""

    async def main():
        opened = open_transport("wreq")
        await opened.close()
        await opened.close()
        with pytest.raises(RuntimeError, match="closed"):
            opened.post("http://127.0.0.1:9/", {}, b"")

    asyncio.run(main())
