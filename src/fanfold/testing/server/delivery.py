"""How a reply goes out: whole or piece by piece, each at its time, and with whatever is to go wrong on the way."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from fanfold.core.clock import now, sleep
from fanfold.testing.server.pace import Timing
from fanfold.testing.server.refusals import JSON, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanfold.core.records import Usage
    from fanfold.testing.server.book import Seen
    from fanfold.testing.server.dialects import Dialect, Outgoing
    from fanfold.testing.server.faults import Fault, Struck
    from fanfold.testing.server.refusals import Answer

TOGETHER = 0.001
"""Seconds within which words go out together: a timer is not finer."""

STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}

End = Literal["end", "cut", "reset", "stall", "late"]

_END: dict[str, End] = {"end": "end", "cut": "cut", "reset": "reset", "stall": "stall", "late": "late"}


class Outlet(Protocol):
    """Where an answer goes: a connection of an HTTP server, or straight to a client of this process."""

    async def whole(self, answer: Answer) -> None:
        """Send a whole answer."""
        ...

    async def begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """Send a head; `length` is that of the body, None for one that comes in chunks."""
        ...

    async def write(self, data: bytes) -> None:
        """Send a part of the body."""
        ...

    async def end(self) -> None:
        """Say that the body is whole."""
        ...

    async def cut(self, *, reset: bool) -> None:
        """Close the connection, or reset it; does not come back where the connection ends the work for it."""
        ...


class Work(msgspec.Struct, frozen=True):
    """The making of one reply, by the clock: it begins at `began`, and its first word is there `timing.first` later."""

    began: float
    timing: Timing
    pieces: int
    stream: bool

    @property
    def first(self) -> float:
        """When the first word is there."""
        return self.began + self.timing.first

    @property
    def pause(self) -> float:
        """Seconds from word to word."""
        return self.timing.rest / max(1, self.pieces - 1)

    def made(self, usage: Usage, at: float) -> Usage:
        """What has been made of it at a moment: the thinking before the first word, then the words as they come.

        A reply that is not streamed is made evenly until it is there.
        """
        if at >= self.first + self.timing.rest:
            return usage
        if not self.stream:
            return _part_of(usage, ceil(usage.output_tokens * self._passed(at, self.timing.first + self.timing.rest)))
        if at < self.first:
            return _part_of(usage, ceil(usage.reasoning_tokens * self._passed(at, self.timing.first)))
        return self.until_piece(usage, int((at - self.first) / self.pause) + 1)

    def until_piece(self, usage: Usage, pieces: int) -> Usage:
        """What has been made of it when so many pieces are out."""
        words = usage.output_tokens - usage.reasoning_tokens
        return _part_of(usage, usage.reasoning_tokens + ceil(words * min(1.0, pieces / self.pieces)))

    def _passed(self, at: float, seconds: float) -> float:
        return min(1.0, max(0.0, at - self.began) / seconds)


def _part_of(usage: Usage, output: int) -> Usage:
    made = min(usage.output_tokens, output)
    return msgspec.structs.replace(usage, output_tokens=made, reasoning_tokens=min(usage.reasoning_tokens, made))


class Part(msgspec.Struct, frozen=True):
    """Some bytes of a body, when they are due, and how many pieces of the reply are out with them."""

    due: float
    data: bytes
    pieces: int


class Plan(msgspec.Struct, frozen=True):
    """What is sent: the parts of a body, how long it says to be, how it ends, and whether that is too soon."""

    parts: tuple[Part, ...]
    length: int | None
    end: End
    short: bool

    def made(self, work: Work, usage: Usage) -> Usage:
        """What the model made for what is sent."""
        if not self.short or self.end == "late" or not work.stream:
            return usage
        return work.until_piece(usage, self.parts[-1].pieces) if self.parts else _part_of(usage, usage.reasoning_tokens)


def planned(work: Work, outgoing: Outgoing, dialect: Dialect, struck: Struck) -> Plan:
    """The way out of a reply, with the faults that it meets."""
    parts = list(_stream(work, outgoing, dialect, struck) if work.stream else _plain(work, outgoing, dialect, struck))
    length = None if work.stream else sum(len(part.data) for part in parts)
    error = struck.first("error")
    if error is not None and work.stream:
        kept = _before(parts, int(error.value or 0))
        last = kept[-1] if kept else Part(work.first, b"", 0)
        parts = [*kept, Part(last.due, dialect.failure(stream=True), last.pieces)]
        return Plan(tuple(parts), length, "end", short=True)
    fault = struck.first("cut", "end", "reset", "stall")
    if fault is None:
        return Plan(tuple(parts), length, "end", short=False)
    parts = _shortened(parts, fault, stream=work.stream)
    if fault.kind == "end":
        length = None if work.stream else sum(len(part.data) for part in parts)
    return Plan(tuple(parts), length, _END[fault.kind if fault.value != "late" else "late"], short=True)


def _stream(work: Work, outgoing: Outgoing, dialect: Dialect, struck: Struck) -> Iterator[Part]:
    if struck.first("empty"):
        return
    broken = struck.first("malformed")
    spoilt = None if broken is None else min(int(broken.value or 0), work.pieces - 1)
    due = work.first
    for position in range(work.pieces):
        data = dialect.broken if position == spoilt else outgoing.piece(position)
        # By the clock and not by pauses, so that late timers do not add up.
        yield Part(due + position * work.pause, data, position + 1)
    ending = outgoing.ending()
    if struck.first("no-done"):
        ending = ending[: ending.rindex(dialect.last)]
    yield Part(due + work.timing.rest, ending, work.pieces)


def _plain(work: Work, outgoing: Outgoing, dialect: Dialect, struck: Struck) -> Iterator[Part]:
    body = dialect.failure(stream=False) if struck.first("error") else outgoing.whole()
    if struck.first("malformed"):
        body = body[: len(body) * 2 // 3]
    if not struck.first("empty"):
        yield Part(work.first + work.timing.rest, body, work.pieces)


def _before(parts: list[Part], pieces: int) -> list[Part]:
    return [part for number, part in enumerate(parts) if number < pieces]


def _shortened(parts: list[Part], fault: Fault, *, stream: bool) -> list[Part]:
    """What is sent before the fault ends it: so many bytes, so many pieces, or of a plain reply the first half."""
    value = fault.value
    if value.endswith("b"):
        return list(_first_bytes(parts, int(value[:-1])))
    if value in {"", "late"}:
        return []
    if stream:
        return _before(parts, int(value))
    return list(_first_bytes(parts, sum(len(part.data) for part in parts) // 2 if int(value) else 0))


def _first_bytes(parts: list[Part], count: int) -> Iterator[Part]:
    for part in parts:
        if count <= 0:
            return
        yield Part(part.due, part.data[:count], part.pieces)
        count -= len(part.data)


async def deliver(
    plan: Plan, work: Work, outlet: Outlet, seen: Seen, headers: Mapping[str, str], struck: Struck
) -> None:
    """Send a reply as planned, each part at its time; those that are due together go out in one write."""
    delay = struck.delay()
    await until((work.first if work.stream else work.first + work.timing.rest) + delay)
    if plan.end == "late":
        return await _stop(plan.end, outlet, seen)
    if not work.stream and not plan.short and struck.first("dribble", "split") is None:
        return await send(json_answer(b"".join(part.data for part in plan.parts)).told(headers), outlet, seen)
    await outlet.begin(200, {**headers, **(STREAM if work.stream else JSON)}, plan.length)
    seen.status, seen.began = 200, now()
    ready = bytearray()
    for part in plan.parts:
        if part.due + delay > now() + TOGETHER:
            await _write(outlet, bytes(ready), struck)
            ready.clear()
            await until(part.due + delay)
        ready += part.data
    await _write(outlet, bytes(ready), struck)
    if plan.end != "end":
        return await _stop(plan.end, outlet, seen)
    seen.cut = plan.short
    await outlet.end()
    seen.answered = now()
    return None


async def send(answer: Answer, outlet: Outlet, seen: Seen) -> None:
    """Send a whole answer in one go."""
    seen.status = answer.status
    await outlet.whole(answer)
    seen.began = seen.answered = now()


async def _stop(end: End, outlet: Outlet, seen: Seen) -> None:
    if end == "stall":
        await forever()
    seen.cut = True
    await outlet.cut(reset=end != "cut")


async def _write(outlet: Outlet, data: bytes, struck: Struck) -> None:
    if not data:
        return
    if struck.first("dribble"):
        cuts = list(range(1, len(data)))
    elif struck.first("split"):
        cuts = [at for at in range(1, len(data)) if data[at] & 0xC0 == 0x80 and data[at - 1] >= 0xC0]
    else:
        await outlet.write(data)
        return
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        await outlet.write(data[start:stop])
        if stop < len(data):
            await sleep(0)  # so that the other end sees it as a part of its own


async def forever() -> None:
    """Wait until the client has had enough."""
    while True:
        await sleep(3600)


async def until(due: float) -> None:
    """Wait until a moment of the loop's clock."""
    wait = due - now()
    if wait > 0:
        await sleep(wait)
