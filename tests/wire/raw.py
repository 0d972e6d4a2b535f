"""Servers that say exactly the bytes a test gives them."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

OK = "200 OK"
JSON = "application/json"
EVENTS = "text/event-stream"


@dataclass
class Heard:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass
class Raw:
    """A running server: where it is, and what it has heard."""

    origin: str
    heard: list[Heard] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"{self.origin}/v1"


Say = Callable[[asyncio.StreamWriter, Heard], Awaitable[None]]


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """Let `talk` have each connection to a place on loopback; it is closed when that returns, or the block ends."""
    talks: set[asyncio.Task[None]] = set()

    async def have(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
            return
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(have, "127.0.0.1", 0, ssl=tls)
    try:
        yield Raw(f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def raw_server(say: Say | bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """Serve on loopback: `say` answers each request, and then the connection is closed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await _read(reader)
        raw.heard.append(heard)
        if isinstance(say, bytes):
            writer.write(say)
            await writer.drain()
        else:
            await say(writer, heard)

    async with listening(talk, tls) as raw:
        yield raw


async def _read(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Heard(method, target, headers, body)


def whole(body: bytes | str | dict[str, Any], status: str = OK, **headers: str) -> bytes:
    """A response with a length; header names are written with underscores."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    fields = {"Content-Type": JSON, "Content-Length": str(len(data)), "Connection": "close"}
    return _head(status, {**fields, **headers}) + data


def open_ended(content: str = EVENTS, status: str = OK) -> bytes:
    """The head of a response that ends when the connection does."""
    return _head(status, {"Content-Type": content, "Connection": "close"})


def in_chunks(content: str = EVENTS, status: str = OK) -> bytes:
    """The head of a response in chunks, each made by `chunk`; b"" as a chunk is its end."""
    return _head(status, {"Content-Type": content, "Transfer-Encoding": "chunked"})


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _head(status: str, headers: dict[str, str]) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode()


def reply(text: str = "hello", **more: Any) -> dict[str, Any]:
    """A whole chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}, "model": "m", **more}


def event(data: Any, end: str = "\n") -> bytes:
    """One server-sent event."""
    said = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {said}{end}{end}".encode()


def piece(text: str | None = None, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    """One chunk of a streamed completion."""
    delta = {} if text is None else {"content": text}
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def stream(*texts: str, finish: str | None = "stop", done: bool = True, end: str = "\n") -> list[bytes]:
    """The events of a whole streamed reply."""
    events = [event(piece(text), end) for text in texts]
    if finish:
        events.append(event(piece(finish=finish), end))
    events.append(event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}, end))
    return [*events, event("[DONE]", end)] if done else events
