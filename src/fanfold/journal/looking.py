"""What a journal holds, for people: its runs, and one run in full."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.records import Call, Cost, Reply, Usage
from fanfold.errors import UsageError
from fanfold.journal import store as stores
from fanfold.journal.entries import Begun, Bill, Ended, Kept
from fanfold.journal.redaction import Redactor

if TYPE_CHECKING:
    import os
    import sqlite3

    from fanfold.journal.entries import Entry


class RunInfo(msgspec.Struct, frozen=True):
    """A run in a journal: when it began and was last heard of (seconds since 1970), and how it ended.

    `ended` is ok, error, cancelled, or None for a run that goes on or crashed; `sittings` counts how often it was taken
    up. `calls` were answered, `failed` were not; `shared` of the answered ones were found in another run, where the
    journal was a cache, and their tokens and cost count there alone. `made_up` says that a fake model answered, and
    that nothing was paid.
    """

    run: int
    name: str
    key: str
    began: float
    last: float
    ended: str | None
    sittings: int
    calls: int
    failed: int
    usage: Usage
    cost: Cost
    made_up: bool = False
    shared: int = 0


class CallInfo(msgspec.Struct, frozen=True):
    """A call in a journal: its record, and what was asked and answered (None where only digests are kept)."""

    call: Call
    at: float
    messages: Any
    reply: Reply | None


class RunDetail(msgspec.Struct, frozen=True):
    """A run in full: its calls in the order of their ends, and how its fans ended."""

    info: RunInfo
    error: str | None
    calls: tuple[CallInfo, ...]
    fans: tuple[dict[str, Any], ...]


class Runs(msgspec.Struct, frozen=True):
    """Runs of a journal, the newest last, and how many came before them that are not among them."""

    runs: list[RunInfo]
    before: int = 0


def runs_in(path: str | os.PathLike[str], *, last: int | None = None, key: str | None = None) -> Runs:
    """The runs of a journal, or the `last` of them; with `key` those that have it. Raises `JournalError`."""
    chosen = "SELECT run FROM entries WHERE kind = 'run' AND (? IS NULL OR place = ?) ORDER BY seq"
    place = None if key is None else Redactor().clean(key)
    with stores.reading(Path(path)) as store:
        numbers = [number for (number,) in store.execute(chosen, (place, place))]
        before = 0 if last is None else max(0, len(numbers) - last)
        return Runs([_reading(store, number).info() for number in numbers[before:]], before)


def show(path: str | os.PathLike[str], run: int) -> RunDetail:
    """One run of a journal; raises `UsageError` where there is no such run."""
    with stores.reading(Path(path)) as store:
        return _reading(store, run).detail()


class _Reading:
    """One run, as its entries tell it."""

    def __init__(self, run: int) -> None:
        self.run = run
        self.begun: tuple[Entry, Begun] | None = None
        self.sittings = 1
        self.last = 0.0
        self.ended: Ended | None = None
        self.calls: dict[tuple[str, int, bytes], CallInfo] = {}
        self.fans: list[dict[str, Any]] = []

    def take(self, entry: Entry) -> None:
        """One more entry."""
        key = (entry.place, entry.nth, entry.digest)
        self.last = max(self.last, entry.at)
        match entry.kind:
            case "run":
                self.begun = (entry, msgspec.json.decode(entry.body, type=Begun))
            case "again":
                self.sittings += 1
                self.ended = None
            case "end":
                self.ended = msgspec.json.decode(entry.body, type=Ended)
            case "call":
                self.calls[key] = _call(entry)
            case "bill" if key in self.calls:
                call = msgspec.json.decode(entry.body, type=Bill).call
                self.calls[key] = msgspec.structs.replace(self.calls[key], call=call)
            case "fan":
                self.fans.append({"place": entry.place, "nth": entry.nth, **msgspec.json.decode(entry.body)})

    def info(self) -> RunInfo:
        """In short."""
        if self.begun is None:
            raise UsageError(f"the journal holds no run {self.run}: `fanfold runs` lists those there are")
        entry, begun = self.begun
        calls = [info.call for info in self.calls.values()]
        ok = sum(call.state == "ok" for call in calls)
        usage = sum((call.usage for call in calls if call.usage is not None), Usage())
        cost = sum((call.cost for call in calls), Cost())
        paid = any(not call.made_up and call.cost.at_most != 0 for call in calls)
        made_up = any(call.made_up for call in calls) and not paid
        ended = None if self.ended is None else self.ended.how
        return RunInfo(
            *(self.run, begun.name, entry.place, entry.at, self.last, ended, self.sittings),
            *(ok, len(calls) - ok, usage, cost, made_up, sum(call.replayed for call in calls)),
        )

    def detail(self) -> RunDetail:
        """In full."""
        error = None if self.ended is None else self.ended.error
        return RunDetail(self.info(), error, tuple(self.calls.values()), tuple(self.fans))


def _reading(store: sqlite3.Connection, run: int) -> _Reading:
    reading = _Reading(run)
    for entry in stores.select(store, "run = ? ORDER BY seq", (min(run, stores.LAST),)):
        reading.take(entry)
    return reading


def _call(entry: Entry) -> CallInfo:
    kept = msgspec.json.decode(entry.body, type=Kept)
    request = msgspec.json.decode(kept.request)
    return CallInfo(kept.call, entry.at, None if request is None else request["messages"], kept.reply)
