"""The records of a map over rows: what became of a row, how the map stands, and on which terms it runs."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from fanfold.calls.amounts import Budget, check_budget
from fanfold.calls.tab import Tab
from fanfold.core.numbers import is_count
from fanfold.core.records import Cost, Usage
from fanfold.core.timeouts import check_seconds
from fanfold.errors import UsageError
from fanfold.folds.collect import OnError
from fanfold.runs.run import may_cost
from fanfold.steps.templates import fields_of, names_of

if TYPE_CHECKING:
    from fanfold.runs.run import Run

Out = TypeVar("Out")

Source = AsyncIterable[Any] | Iterable[Any]
Key = str | Callable[[Any], Any] | None

AHEAD = 8
"""How many times `max_in_flight` rows may have begun and not been handed over yet, where their order is kept."""


class Row(msgspec.Struct, Generic[Out], frozen=True):
    """What became of one row: its `output`, or the `error` that it failed with (then `output` is None).

    `number` counts the rows as they were read, from 0; `key` names the row: what was asked for as its key, or its
    number. `detail` is how the output came about, as a run has it. `calls` counts the calls that were sent, `throttled`
    the refusals for coming too fast (429) among their sends; `cost` is their list price, and `seconds` the row's time.
    Beside those `replayed` ones were found in the session's journal, and not made; `paid` is the cost without them.
    `made_up` says that a fake model invented an answer, and `billed` that a call may have cost something.
    """

    number: int
    key: str
    input: Any
    output: Out | None = None
    error: BaseException | None = None
    detail: Any = None
    calls: int = 0
    throttled: int = 0
    usage: Usage = Usage()
    cost: Cost = Cost()
    seconds: float = 0.0
    made_up: bool = False
    replayed: int = 0
    paid: Cost = Cost()
    billed: bool = False

    def __bool__(self) -> bool:
        raise TypeError("a Row is a record, not a truth value: look at .error or .output")


class RowsStatistics(msgspec.Struct, frozen=True):
    """Counts of a map, now: rows `read`, `running`, `waiting` to be handed over, `handed` over, and `failed`."""

    read: int
    running: int
    waiting: int
    handed: int
    failed: int


class Terms(msgspec.Struct, frozen=True):
    """How to map: which rows may run at once, what a failed one does, in which order they are handed over.

    `timeout` is seconds a row, `budget` what all rows together may spend, and `tab` where that is written down before.
    `window` is the most rows that have begun and were not handed over; `given` makes the step's input of a row, and
    `number` tells its number where rows before it were left out. `map` names a map that is made in several sittings, so
    that no two of its rows have the same key. `engine` says where rows run, by how many `workers`.
    """

    key: Key = None
    ordered: bool = True
    max_in_flight: int | None = None
    on_error: OnError = "fail"
    max_failures: int | None = None
    timeout: float | None = None
    budget: Budget | None = None
    tab: Tab | None = None
    window: int | None = None
    given: Callable[[Any], Any] | None = None
    number: Callable[[Any], int] | None = None
    map: str = ""
    engine: str = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        check_seconds(self.timeout)
        if self.budget is not None:
            check_budget(self.budget)
        if self.max_in_flight is not None and not is_count(self.max_in_flight):
            raise UsageError(f"max_in_flight={self.max_in_flight!r}: at least one row has to run")
        if self.max_failures is not None and not is_count(self.max_failures, 0):
            raise UsageError(f"max_failures={self.max_failures!r}: it is the most rows that may fail, 0 or more")
        if self.on_error not in {"fail", "skip"}:
            raise UsageError(f"on_error={self.on_error!r}: it is 'fail' or 'skip'")
        check_engine(self.engine, self.workers)


def check_engine(engine: str, workers: int | None) -> None:
    """Raise `UsageError` for an engine that there is not, or workers that cannot be."""
    if engine not in {"local", "ray"} and not engine.startswith("ray://"):
        raise UsageError(f"engine={engine!r}: it is 'local', 'ray', 'ray://auto' or 'ray://HOST:PORT'")
    if workers is not None and engine == "local":
        raise UsageError(f"workers={workers} needs an engine that has some: engine='ray'")
    if workers is not None and not is_count(workers):
        raise UsageError(f"workers={workers!r}: at least one has to run the rows")


def record_of(number: int, key: str, given: Any, run: Run[Any], error: BaseException | None) -> Row[Any]:
    """What stays of a row's run."""
    if not run.calls:  # plain code: its rows may come by the ten thousand a second
        return Row(number, key, given, run.output, error, run.detail, seconds=run.wall)
    sends = [attempt for call in run.calls for attempt in call.attempts]
    return Row(
        number,
        key,
        given,
        run.output,
        error,
        run.detail,
        run.times_one_call,
        sum(attempt.status == 429 for attempt in sends),
        run.usage,
        run.cost,
        run.wall,
        run.made_up,
        sum(call.replayed for call in run.calls),
        run.paid,
        any(map(may_cost, run.calls)),
    )


def key_of(row: Any, number: int, key: Key) -> str:
    """What names a row; raises `UsageError` where it lacks that."""
    if key is None:
        return str(number)
    if callable(key):
        return str(key(row))
    fields = fields_of(row)
    if key not in fields:
        raise UsageError(f"row {number} has no {key!r}, which is to be its key (it has: {names_of(fields)})")
    return str(fields[key])
