"""A step over rows: streamed with backpressure, in order or as they finish, a run each, nothing left behind."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fanfold import Budget, Request, Session, prompt, step, vote
from fanfold.core.clock import now, sleep
from fanfold.errors import AccessError, BudgetError, CallError, LoopError, RowError, StatusError, UsageError
from fanfold.steps.engines import Here
from fanfold.steps.row import AHEAD, Row
from fanfold.steps.rows import Rows
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.steps.running import taking

BACKWARDS = {"a": 3.0, "b": 1.0, "c": 2.0}


@step
async def waits(row: Any) -> str:
    """Takes as long as its row says."""
    await sleep(BACKWARDS.get(row, 1.0))
    return row.upper() if isinstance(row, str) else f"row {row}"


@step
async def picky(row: int) -> int:
    """Does not like multiples of five, but 0."""
    await sleep(0.1 * (1 + row % 3))
    if row and row % 5 == 0:
        raise ValueError(f"{row} will not do")
    return 10 * row


class Counted:
    """Rows that know how far they were read."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read = 0
        self.closed = False

    async def rows(self) -> AsyncIterator[int]:
        try:
            for row in range(self.count):
                self.read += 1
                yield row
        finally:
            self.closed = True


def outputs(rows: list[Row[Any]]) -> list[Any]:
    return [row.output for row in rows]


async def until_it_ends(rows: Rows[Any]) -> tuple[list[Row[Any]], BaseException]:
    """All that a map hands over, and what ends it."""
    found: list[Row[Any]] = []
    keep = found.append  # a comprehension would lose what came before the error

    async def read() -> None:
        async for row in rows:
            keep(row)

    with pytest.raises(Exception) as raised:
        await read()
    return found, raised.value


def test_rows_come_in_their_order() -> None:
    """Handed over in the order in which they were read, whatever the order in which they finish."""

    async def main() -> None:
        began = now()
        rows = [row async for row in waits.map(["a", "b", "c"])]
        assert outputs(rows) == ["A", "B", "C"]
        assert [row.number for row in rows] == [0, 1, 2]
        assert [row.key for row in rows] == ["0", "1", "2"]
        assert [row.input for row in rows] == ["a", "b", "c"]
        assert [round(row.seconds, 3) for row in rows] == [3.0, 1.0, 2.0]
        assert round(now() - began, 3) == 3.0

    run_virtual(main())


def test_or_as_they_finish() -> None:
    """With `ordered=False` each comes as soon as it is done."""

    async def main() -> None:
        assert outputs([row async for row in waits.map(["a", "b", "c"], ordered=False)]) == ["B", "C", "A"]

    run_virtual(main())


def test_an_async_iterable_is_read_as_it_gives() -> None:
    """Rows that come late are run while others are handed over."""

    async def late() -> AsyncIterator[str]:
        yield "b"
        await sleep(10)
        yield "c"

    async def main() -> None:
        began = now()
        found = [(row.output, round(now() - began, 3)) async for row in waits.map(late())]
        assert found == [("B", 1.0), ("C", 12.0)]

    run_virtual(main())


def test_no_rows_at_all() -> None:
    """A table without rows has no results."""

    async def main() -> None:
        assert [row async for row in waits.map([])] == []

    run_virtual(main())


@pytest.mark.parametrize("ordered", [True, False])
def test_a_slow_reader_stops_the_reading(ordered: bool) -> None:
    """However many rows there are, only so many are read before one is taken; taking one lets one more in."""

    async def main() -> None:
        source = Counted(10_000)
        window = 4 * AHEAD if ordered else 4
        async with waits.map(source.rows(), ordered=ordered, max_in_flight=4) as rows:
            await anext(rows)
            await sleep(100)
            assert source.read == window
            await anext(rows)
            await sleep(100)
            assert source.read == window + 1
            assert rows.statistics().waiting == window - 1
        assert source.closed
        assert source.read == window + 1

    run_virtual(main())


def test_at_most_so_many_run_at_once() -> None:
    """`max_in_flight` rows run at once, by default as many as the session has slots; no fewer while there are rows."""
    running = most = 0

    @step
    async def counting(row: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await sleep(1)
        running -= 1
        return row

    async def main() -> None:
        nonlocal most
        began = now()
        assert len([row async for row in counting.map(range(40), max_in_flight=8)]) == 40
        assert most == 8
        assert round(now() - began, 3) == 5.0
        most = 0
        async with Session("fake:", max_in_flight=3) as session:
            assert len([row async for row in counting.map(range(12), session=session)]) == 12
        assert most == 3

    run_virtual(main())


def test_a_straggler_does_not_stop_the_others() -> None:
    """While the oldest row takes its time, up to eight times `max_in_flight` others are done behind it."""

    @step
    async def uneven(row: int) -> int:
        await sleep(7.5 if row == 0 else 1.0)
        return row

    async def main() -> None:
        began = now()
        rows = [row async for row in uneven.map(range(32), max_in_flight=4)]
        assert outputs(rows) == list(range(32))
        assert now() - began < 11  # 31 rows by three beside the straggler, and by four after it

    run_virtual(main())


# -- keys, records ------------------------------------------------------------------------------------------------


@dataclass
class Mail:
    id: int
    text: str


def test_keys_are_a_field_or_a_function() -> None:
    """A row is named by a field of it, by a function of it, or by its number."""

    async def main() -> None:
        table = [{"id": "x7", "text": "a"}, {"id": "x8", "text": "b"}]
        ask = prompt("{text}", model=FakeModel(["one", "two"]))
        assert [row.key async for row in ask.map(table, key="id")] == ["x7", "x8"]
        assert [row.key async for row in ask.map([Mail(3, "a")], key="id")] == ["3"]
        assert [row.key async for row in ask.map(table, key=lambda row: row["text"] * 2)] == ["aa", "bb"]

    run_virtual(main())


def test_a_row_without_its_key_ends_the_map() -> None:
    """A column that is not there is the program's mistake, and the message names those that are."""

    async def main() -> None:
        with pytest.raises(UsageError, match=r"row 1 has no 'id', which is to be its key \(it has: input, text\)"):
            async for _ in prompt("{text}", model="fake:").map([{"id": 1, "text": ""}, {"text": ""}], key="id"):
                pass

    run_virtual(main())


def test_or_fails_by_itself() -> None:
    """With "skip", and with `max_failures`, one row that lacks its key is a failed row, and nothing was asked."""

    async def main() -> None:
        model = FakeModel(["fine"])
        given = [{"id": 1, "text": ""}, {"text": ""}, {"id": 3, "text": ""}]
        for options in ({"on_error": "skip"}, {"max_failures": 1}):
            rows = [row async for row in prompt("{text}", model=model).map(given, key="id", **options)]
            assert [(row.key, row.output, row.calls) for row in rows] == [
                ("1", "fine", 1),
                ("1", None, 0),
                ("3", "fine", 1),
            ]
            assert "row 1 has no 'id'" in str(rows[1].error)
        function = [row async for row in picky.map([1, 2], key=lambda row: {1: "a"}[row], on_error="skip")]
        assert [type(row.error) for row in function] == [type(None), KeyError]
        with pytest.raises(RowError, match="more than max_failures=0 rows failed"):
            async for _ in prompt("{text}", model=model).map(given, key="id", max_failures=0):
                pass

    run_virtual(main())


def test_what_a_runner_raises_ends_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error beside the row's own would leave its place empty, and its reader waiting."""

    async def breaks(*_: Any) -> Any:
        raise TypeError("no outcome")

    monkeypatch.setattr(Here, "run", breaks)

    async def main() -> None:
        async with asyncio.timeout(60):
            with pytest.raises(TypeError, match="no outcome"):
                async for _ in picky.map([1, 2, 3]):
                    pass

    run_virtual(main())


def test_a_row_is_a_record_of_its_run() -> None:
    """Its calls, usage, cost and detail are those of its own run."""

    async def main() -> None:
        model = FakeModel(["yes", "yes", "no"])
        jury = vote(prompt("{text}", model=model), 3, stop=None)
        (row,) = [row async for row in jury.map([{"text": "?"}])]
        assert row.output == "yes"
        assert row.detail.tally == {"yes": 2, "no": 1}
        assert row.calls == 3
        assert row.usage.total_tokens > 0
        assert row.made_up
        assert row.error is None
        assert row.cost.usd is None or row.cost.usd == 0
        with pytest.raises(TypeError, match="not a truth value"):
            bool(row)

    run_virtual(main())


def test_refusals_for_speed_are_counted() -> None:
    """What was refused with 429 is counted, also in a row that fails by it."""
    too_fast = StatusError("slow down", status=429, model="m", should_retry=False)

    async def main() -> None:
        model = FakeModel(lambda _: too_fast)
        (row,) = [row async for row in prompt("{input}", model=model).map(["x"], on_error="skip")]
        assert isinstance(row.error, CallError)
        assert row.throttled == row.calls >= 1

    run_virtual(main())


def test_nothing_of_a_row_stays() -> None:
    """What a row's run held is gone once its record was handed over: a map keeps no events."""
    from fanfold.runs.state import RunState

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, RunState) for thing in gc.get_objects())

    async def main() -> None:
        of_other_tests = alive()
        async for row in prompt("{input}", model="fake:").map(map(str, range(300)), max_in_flight=4):
            if row.number % 100 == 99:
                assert alive() - of_other_tests <= 4 * AHEAD

    run_virtual(main())


# -- failures -----------------------------------------------------------------------------------------------------


def test_a_failed_row_ends_the_map() -> None:
    """With on_error "fail" the rows that had finished are handed over, the others cancelled, then it raises."""

    async def main() -> None:
        found, error = await until_it_ends(picky.map(range(100), max_in_flight=6))
        assert [row.number for row in found] == [0, 1, 2, 3, 4, 6]
        assert str(error) == "row 5 failed: ValueError: 5 will not do"
        assert isinstance(error, RowError)
        assert error.row.number == 5
        assert isinstance(error.__cause__, ValueError)
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())


def test_or_is_handed_over_with_its_error() -> None:
    """With "skip" a failed row is a result like any other, at its place."""

    async def main() -> None:
        rows = [row async for row in picky.map(range(12), on_error="skip")]
        assert outputs(rows) == [0, 10, 20, 30, 40, None, 60, 70, 80, 90, None, 110]
        assert [str(row.error) for row in rows if row.error is not None] == ["5 will not do", "10 will not do"]

    run_virtual(main())


def test_too_many_failures_end_it() -> None:
    """`max_failures` implies skip; one more than that many, and the map ends; the failed are among the results."""

    async def main() -> None:
        rows = [row async for row in picky.map(range(12), max_failures=2)]
        assert len(rows) == 12
        found, error = await until_it_ends(picky.map(range(100), max_failures=2, max_in_flight=2))
        assert str(error) == "row 15 failed: more than max_failures=2 rows failed; the last: ValueError: 15 will not do"
        assert {5, 10, 15} <= {row.number for row in found}
        assert len(found) < 20

    run_virtual(main())


def test_a_fatal_error_ends_it_always() -> None:
    """A wrong key is not skipped: the error itself is raised, after what had finished."""

    async def main() -> None:
        wrong_key = AccessError("wrong key", model="m")
        model = FakeModel(lambda request: wrong_key if "b" in str(request.messages) else "fine")
        found, error = await until_it_ends(
            prompt("{input}", model=model).map(list("ab" * 99), on_error="skip", max_in_flight=2)
        )
        assert outputs(found) == ["fine"]
        assert isinstance(error, AccessError)

    run_virtual(main())


@pytest.mark.parametrize("error", [GeneratorExit(), ExceptionGroup("tasks", [AccessError("wrong key", model="m")])])
def test_an_odd_error_of_a_row_ends_it_too(error: BaseException) -> None:
    """A group that has a fatal one, as tasks raise it; and what nobody raises, which would leave the map to wait."""

    async def main() -> None:
        with pytest.raises(type(error)):
            async for _ in taking(1, error).map(["a"], on_error="skip"):
                pass

    run_virtual(main())


def test_a_key_that_has_no_place_in_its_message() -> None:
    """The error of a named row names it."""

    async def main() -> None:
        with pytest.raises(RowError, match=r"row 0 \(key 'z'\) failed"):
            async for _ in picky.map([5], key=lambda _: "z"):
                pass

    run_virtual(main())


def test_rows_that_break_off_end_it() -> None:
    """What the rows' own iterator raises ends the map, after the rows that were read before."""

    def broken() -> Iterator[str]:
        yield "b"
        raise OSError("the disk is gone")

    async def main() -> None:
        found, error = await until_it_ends(waits.map(broken()))
        assert outputs(found) == ["B"]
        assert str(error) == "the disk is gone"

    run_virtual(main())


def test_rows_cancelled_by_nobody_end_it() -> None:
    """A CancelledError that the rows' own iterator raises, of a task that it awaited, is not the end of the rows."""

    async def broken() -> AsyncIterator[str]:
        yield "b"
        fetching = asyncio.create_task(sleep(9))
        fetching.cancel()
        await fetching
        yield "c"

    async def main() -> None:
        async with no_leaks():
            found, error = await until_it_ends(waits.map(broken()))
            assert outputs(found) == ["B"]
            assert str(error) == "the rows were cancelled where they are read: there may be more of them"
            assert isinstance(error.__cause__, asyncio.CancelledError)

    run_virtual(main())


def test_a_row_cancelled_by_nobody_has_failed() -> None:
    """A CancelledError that the row's own code raises is its error, and the map goes on."""

    @step
    async def gives_up(row: int) -> int:
        if row == 1:
            raise asyncio.CancelledError
        return row

    async def main() -> None:
        rows = [row async for row in gives_up.map(range(3), on_error="skip")]
        assert outputs(rows) == [0, None, 2]

    run_virtual(main())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_in_flight": 0}, "at least one row"),
        ({"max_failures": -1}, "0 or more"),
        ({"on_error": "ignore"}, "it is 'fail' or 'skip'"),
    ],
)
def test_wrong_terms_are_told_at_once(options: dict[str, Any], message: str) -> None:
    """A mistake in the options is told before a row is read."""
    with pytest.raises(UsageError, match=message):
        waits.map([], **options)


@pytest.mark.parametrize("rows", ["a text", 5, b""])
def test_what_is_no_table_is_refused(rows: Any) -> None:
    """A text is not its letters."""
    with pytest.raises(UsageError, match="needs rows"):
        waits.map(rows)


def test_a_budget_covers_all_rows() -> None:
    """Rows are run while it lasts; then the map ends with what had finished, and no further call is sent."""

    async def main() -> None:
        model = FakeModel(["yes"])
        found, error = await until_it_ends(
            prompt("{input}", model=model).map(list("abcdefgh"), budget=Budget(calls=5), max_in_flight=1)
        )
        assert outputs(found) == ["yes"] * 5
        assert isinstance(error, BudgetError)
        with pytest.raises(UsageError, match="give a Budget"):
            waits.map([], budget=5)

    run_virtual(main())


def test_the_budget_around_holds() -> None:
    """Inside a step, the rows spend the budget of that step's run."""

    @step
    async def outer(rows: list[str]) -> int:
        return len([row async for row in prompt("{input}", model="fake:").map(rows, max_in_flight=1)])

    async def main() -> None:
        assert (await outer.run(["a", "b"], budget=Budget(calls=2))).output == 2
        with pytest.raises(BudgetError):
            await outer.run(["a", "b", "c"], budget=Budget(calls=2))

    run_virtual(main())


def test_what_was_lost_is_told() -> None:
    """Rows that a map broke off, with what they had cost, are known after it."""

    async def main() -> None:
        def said(request: Request) -> str | Exception:
            return AccessError("no", model="m") if request.messages[0].content == "c" else "ok"

        model = FakeModel(said, latency=lambda request: 5.0 if request.messages[0].content == "d" else 0.0)
        async with prompt("{input}", model=model).map(["a", "d", "c", "d"], max_in_flight=2) as rows:
            assert outputs((await until_it_ends(rows))[0]) == ["ok"]
            assert [(row.number, row.calls, type(row.error)) for row in rows.lost()] == [
                (2, 1, AccessError),
                (1, 1, asyncio.CancelledError),
            ]

    run_virtual(main())


# -- leaving --------------------------------------------------------------------------------------------------------


def test_leaving_cancels_what_runs() -> None:
    """After `async with` no task is left, and the rows' iterator is closed."""

    async def main() -> None:
        source = Counted(100)
        async with Session("fake:") as session, no_leaks(session):
            async with waits.map(source.rows(), session=session) as rows:
                async for _ in rows:
                    break
            assert len(asyncio.all_tasks()) == 1
            assert source.closed

    run_virtual(main())


def test_dropping_it_cancels_what_runs() -> None:
    """Who breaks off a bare `async for` leaves nothing behind either, once the loop has turned."""

    async def main() -> None:
        async for _ in waits.map(Counted(100).rows()):
            break
        gc.collect()
        for _ in range(8):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())


def test_cancelling_its_reader_cancels_what_runs() -> None:
    """A reader that is cancelled while it waits takes its rows with it, and ends as cancelled."""

    async def read() -> None:
        async with waits.map(["a"] * 50) as rows:
            async for _ in rows:
                pass

    async def main() -> None:
        reader = asyncio.create_task(read())
        await sleep(0.5)
        assert len(asyncio.all_tasks()) > 50
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())


def test_never_begun() -> None:
    """Entered and left without a row taken: nothing was read."""

    async def main() -> None:
        source = Counted(5)
        async with waits.map(source.rows()):
            pass
        assert source.read == 0

    run_virtual(main())


# -- from inside a step, from a script ------------------------------------------------------------------------------


def test_inside_a_step_it_uses_that_session() -> None:
    """A map inside a step is made under the session of the run around it."""
    model = FakeModel(["seen"] * 3)

    @step
    async def outer(rows: list[str]) -> list[str]:
        return [row.output async for row in prompt("{input}").map(rows)]

    async def main() -> None:
        async with Session(model) as session:
            assert (await outer.run(["a", "b", "c"], session=session)).output == ["seen"] * 3
        assert session.statistics().calls == 3

    run_virtual(main())


def test_from_a_script() -> None:
    """`map_sync` gives the same rows, and leaving its block ends them."""
    ask = prompt("{input}", model="fake:", returns=int)
    with ask.map_sync(["a", "b", "c"]) as rows:
        found = list(rows)
        assert rows.statistics().handed == 3
    assert [row.number for row in found] == [0, 1, 2]
    assert all(isinstance(row.output, int) for row in found)
    with picky.map_sync(range(20)) as rows, pytest.raises(RowError):
        list(rows)


def test_from_a_script_one_may_leave() -> None:
    """Leaving the block in the middle ends what runs."""
    with waits.map_sync(["b"] * 1000, max_in_flight=2) as rows:
        for _ in rows:
            break
    assert rows.statistics().running == 0


def test_a_script_s_door_is_closed_inside_a_step() -> None:
    """As all of them."""

    @step
    async def wrong(row: str) -> int:
        with waits.map_sync([row]) as rows:
            return len(list(rows))

    async def main() -> None:
        with pytest.raises(LoopError, match=r"waits.map_sync\(\) blocks"):
            await wrong("a")

    run_virtual(main())
