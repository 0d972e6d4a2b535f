"""A timeline in the Trace Event Format, which Perfetto and chrome://tracing read.

The run is the process, each place in it a thread. Steps, branches, calls and their phases are complete events ("X"),
first tokens and the ends of fans instants ("i"). Viewers want the complete events of one thread to lie inside one
another or apart; what overlaps in one place, as a hedge does, gets one more thread of that place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fanfold.runs.places import Fanned
    from fanfold.runs.timeline import Bar, Row, Send, Timeline

PROCESS = 1

COUNTS = ("input", "output", "cached", "reasoning", "cache_write")
"""What the numbers of a bar's `tokens` are."""

NAMES = {
    "rate": "rate wait",
    "queue": "queue wait",
    "wire": "on the wire",
    "stream": "stream",
    "backoff": "backoff",
}


class _Slice(msgspec.Struct, frozen=True):
    """One stretch of time with a name, and what lies inside it."""

    name: str
    category: str
    start: int
    end: int
    told: dict[str, Any]
    inside: tuple[_Slice, ...] = ()


def trace(timeline: Timeline) -> bytes:
    """The timeline as one JSON document."""
    threads = _Threads()
    for row in timeline.rows:
        threads.slices(row.place, _row_slices(row))
        threads.instants(row.place, map(_fan_event, row.fans))
        if row.bar >= 0:
            bar = timeline.bars[row.bar]
            threads.slices(row.place, _call_slices(row, bar))
            threads.instants(row.place, _call_instants(bar))
    process = _metadata("process_name", 0, name=f"{timeline.kind} {timeline.name}".strip())
    document = {
        "traceEvents": [process, *threads.events()],
        "displayTimeUnit": "ms",
        "otherData": {"summary": timeline.summary, "notes": " ".join(timeline.notes)},
    }
    return msgspec.json.encode(document) + b"\n"


class _Threads:
    """Which thread shows what: those of a place are its lanes, as many as it needs."""

    def __init__(self) -> None:
        self._slices: dict[str, list[_Slice]] = {}
        self._instants: dict[str, list[dict[str, Any]]] = {}
        self._count = 0

    def slices(self, place: str, found: Iterable[_Slice]) -> None:
        """What took its time in a place."""
        self._slices.setdefault(place, []).extend(found)

    def instants(self, place: str, found: Iterable[dict[str, Any]]) -> None:
        """What happened in a place at once; its first thread shows it."""
        self._instants.setdefault(place, []).extend(found)

    def events(self) -> Iterator[dict[str, Any]]:
        """All events, each with its thread, and what the threads are called."""
        for place, found in self._slices.items():
            lanes: list[list[_Slice]] = [[]]
            first = self._count + 1
            for one in sorted(found, key=lambda each: (each.start, -each.end)):
                yield from _complete(first + _lane_for(one, lanes), one)
            for instant in self._instants[place]:
                yield instant | {"tid": first}
            self._count += len(lanes)
            for lane in range(len(lanes)):
                yield from _named(first + lane, f"{place} ({lane + 1})" if lane else place)


def _lane_for(one: _Slice, lanes: list[list[_Slice]]) -> int:
    """The first lane with room for the next slice, by the order in which they begin; each keeps what is open in it."""
    for at, open_ in enumerate(lanes):
        while open_ and open_[-1].end <= one.start:
            open_.pop()
        if not open_ or (one.end <= open_[-1].end and not open_[-1].inside):
            open_.append(one)
            return at
    lanes.append([one])
    return len(lanes) - 1


def _named(thread: int, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """How a thread is called, and its place in the order of all."""
    return _metadata("thread_name", thread, name=name), _metadata("thread_sort_index", thread, sort_index=thread)


def _row_slices(row: Row) -> Iterator[_Slice]:
    told = {"kind": row.kind, "calls": row.calls, "tokens": row.tokens, "cost": row.cost}
    for span in row.spans:
        yield _Slice(row.name, row.kind or "place", _us(span.start), _us(span.end), told | {"state": span.state})


def _call_slices(row: Row, bar: Bar) -> Iterator[_Slice]:
    """A call with its sends inside it; hedges stand beside it."""
    told = {
        "number": bar.number,
        "model": bar.model,
        "state": row.state if bar.state == "ok" else bar.state,
        "late": bar.late,
        "tokens": dict(zip(COUNTS, bar.tokens or (), strict=False)),
        "cost": bar.cost,
        "error": bar.error or row.error,
    }
    plain = tuple(_send_slice(send, at) for at, send in enumerate(bar.sends) if not send.hedge)
    end = max([_us(bar.ended), *(one.end for one in plain)])
    yield _Slice(f"{row.name} · {bar.model}", "call", _us(bar.queued), end, told, plain)
    yield from (_send_slice(send, at) for at, send in enumerate(bar.sends) if send.hedge)


def _call_instants(bar: Bar) -> Iterator[dict[str, Any]]:
    if bar.first is not None:
        yield _instant("first token", "call", bar.first, {"number": bar.number})


def _send_slice(send: Send, number: int) -> _Slice:
    told = {"state": send.state, "status": send.status, "error": send.error, "cost": send.cost, "hedge": send.hedge}
    inside = tuple(_Slice(NAMES[one.kind], one.kind, _us(one.start), _us(one.end), {}) for one in send.phases)
    begin = min([one.start for one in inside], default=_us(send.ended))
    end = max([one.end for one in inside], default=_us(send.ended))
    return _Slice(f"hedge {number}" if send.hedge else f"send {number}", "send", begin, end, told, inside)


def _fan_event(fan: Fanned) -> dict[str, Any]:
    told = {"why": fan.why, "folded": fan.folded, "late": fan.late, "launched": fan.launched, "branches": fan.branches}
    return _instant(f"fan ended: {fan.why}", "fan", fan.decided, told)


def _complete(thread: int, one: _Slice) -> Iterator[dict[str, Any]]:
    yield {
        "ph": "X",
        "name": one.name,
        "cat": one.category,
        "ts": one.start,
        "dur": one.end - one.start,
        "pid": PROCESS,
        "tid": thread,
        "args": {name: value for name, value in one.told.items() if value or type(value) in {int, float}},
    }
    for inner in one.inside:
        yield from _complete(thread, inner)


def _instant(name: str, category: str, at: float, told: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "i", "name": name, "cat": category, "ts": _us(at), "pid": PROCESS, "s": "t", "args": told}


def _metadata(what: str, thread: int, **told: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "ts": 0, "pid": PROCESS, "tid": thread, "args": told}


def _us(seconds: float) -> int:
    """The format counts microseconds."""
    return round(seconds * 1e6)
