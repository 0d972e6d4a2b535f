"""A table made row by row: what is in its files at the end, after a failure, and when it goes on."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanfold import Session, prompt, step
from fanfold.core.clock import sleep
from fanfold.data.choosing import Choice
from fanfold.data.columns import Columns
from fanfold.data.files import Places, settle
from fanfold.data.formats import open_rows, publish
from fanfold.data.projecting import project
from fanfold.data.state import State, read_state, write_state
from fanfold.data.table import Plan
from fanfold.errors import AccessError, RowError, UsageError
from fanfold.testing import FakeModel
from tests.data import tables
from tests.data.tables import column, make, names, numbered, read


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    tables.RAN.clear()


@step
async def shout(row: dict[str, Any]) -> str:
    """Later rows of ten are quicker, so that they finish out of order."""
    tables.RAN.append(row["id"])
    await sleep(0.001 * (10 - len(tables.RAN) % 10))
    return str(row["text"]).upper()


@step
async def picky(row: dict[str, Any]) -> str:
    """Some rows will not do."""
    tables.RAN.append(row["id"])
    await sleep(0.001)
    if row["id"] in {"k3", "k11", "k12"}:
        raise ValueError(f"{row['id']} will not do")
    return str(row["text"]).upper()


async def until_ran(rows: int) -> None:
    """Wait until so many rows have begun."""
    for _ in range(10_000):
        if len(tables.RAN) >= rows:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("they never began")


@dataclass
class Verdict:
    """A record that a prompt may give."""

    label: str
    sure: bool


class Stops:
    """A step that works for so many rows, then is killed by a wrong key, as a process is by a signal."""

    def __init__(self, rows: int) -> None:
        self.left = rows
        self.step = step(self.once)

    async def once(self, row: dict[str, Any]) -> str:
        tables.RAN.append(row["id"])
        await sleep(0.001 * (len(tables.RAN) % 7))
        self.left -= 1
        if self.left < 0:
            raise AccessError("the key was withdrawn")
        return str(row["text"]).upper()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_table_of_each_format(tmp_path: Path, suffix: str) -> None:
    """All rows in their order, with the columns of the input and the output's; no other file but the state is left."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    source, out = numbered(tmp_path / "in.jsonl", 200), tmp_path / f"out.{suffix}"
    standing = make(shout, source, out)
    assert (standing.done, standing.failed, standing.before, standing.total) == (200, 0, 0, 200)
    rows = [{"id": f"k{at}", "text": f"row {at}", "output": f"ROW {at}"} for at in range(200)]
    assert read(out) == rows
    assert names(tmp_path) == ["in.jsonl", out.name, f"{out.name}.state.json"]
    assert read_state(Places(out).state).phase == "done"


def test_csv_rows_fill_templates(tmp_path: Path) -> None:
    """A row's columns are the fields of a prompt; with `input` one column is the input."""
    (tmp_path / "in.csv").write_text('id,text\n1,"hello, you"\n2,bye\n', encoding="utf-8")
    asked = []
    model = FakeModel(lambda request: asked.append(request.messages[0].content) or "ok")
    make(prompt("{id}: {text}", model=model), tmp_path / "in.csv", tmp_path / "a.jsonl", in_flight=1)
    make(
        prompt("<{input}>", model=model),
        tmp_path / "in.csv",
        tmp_path / "b.jsonl",
        in_flight=1,
        columns=Columns("text"),
    )
    assert asked == ["1: hello, you", "2: bye", "<hello, you>", "<bye>"]
    assert read(tmp_path / "b.jsonl") == [
        {"id": "1", "text": "hello, you", "output": "ok"},
        {"id": "2", "text": "bye", "output": "ok"},
    ]


def test_as_they_finish(tmp_path: Path) -> None:
    """Rows are written as they finish, with their numbers; all of them are there."""
    source, out = numbered(tmp_path / "in.jsonl", 60), tmp_path / "out.jsonl"
    make(shout, source, out, columns=Columns(keep="none", numbered=True))
    rows = read(out)
    assert column(rows, "row") != sorted(column(rows, "row"))
    assert sorted(rows, key=lambda row: row["row"]) == [{"row": at, "output": f"ROW {at}"} for at in range(60)]


def test_failed_rows_have_a_file(tmp_path: Path) -> None:
    """With "skip" they are in OUT.failed.jsonl, with their error and their input, and not in the output."""
    source, out = numbered(tmp_path / "in.jsonl", 20), tmp_path / "out.csv"
    standing = make(picky, source, out, on_error="skip", columns=Columns(key="id", keep="none"))
    assert (standing.done, standing.failed) == (17, 3)
    assert column(read(out), "id") == [f"k{at}" for at in range(20) if at not in {3, 11, 12}]
    failed = read(tmp_path / "out.csv.failed.jsonl")
    assert failed[0] == {
        "row": 3,
        "key": "k3",
        "error": {"type": "ValueError", "message": "k3 will not do"},
        "input": {"id": "k3", "text": "row 3"},
    }
    assert column(failed, "row") == [3, 11, 12]
    assert names(tmp_path) == ["in.jsonl", "out.csv", "out.csv.failed.jsonl", "out.csv.state.json"]


def test_a_failed_row_ends_it_and_it_goes_on(tmp_path: Path) -> None:
    """With "fail" what was done stays; the same again with "skip" runs only what is not there."""
    source, out = numbered(tmp_path / "in.jsonl", 40), tmp_path / "out.jsonl"
    with pytest.raises(RowError, match="row 3 failed: ValueError: k3 will not do"):
        make(picky, source, out, in_flight=4)
    assert not out.exists()
    done = column(read(Places(out).log), "id")
    assert done == ["k0", "k1", "k2"]
    tables.RAN.clear()
    standing = make(picky, source, out, in_flight=4, on_error="skip")
    assert (standing.done, standing.failed, standing.before) == (37, 3, 3)
    assert not set(done) & set(tables.RAN)
    assert column(read(out), "id") == [f"k{at}" for at in range(40) if at not in {3, 11, 12}]


def test_too_many_failures_end_it(tmp_path: Path) -> None:
    """Those of earlier runs count; with more allowed it goes on, and what failed stays failed."""
    source, out = numbered(tmp_path / "in.jsonl", 20), tmp_path / "out.jsonl"
    with pytest.raises(RowError, match="more than max_failures=1 rows failed; the last: ValueError: k11 will not do"):
        make(picky, source, out, in_flight=1, max_failures=1)
    with pytest.raises(UsageError, match="2 rows have failed, more than --max-failures 1"):
        make(picky, source, out, in_flight=1, max_failures=1)
    standing = make(picky, source, out, in_flight=1, max_failures=3)
    assert (standing.done, standing.failed) == (17, 3)
    assert column(read(tmp_path / "out.jsonl.failed.jsonl"), "row") == [3, 11, 12]


@pytest.mark.parametrize("as_finished", [False, True])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.usefixtures("same_step")
def test_broken_off_often_it_ends_the_same(tmp_path: Path, suffix: str, as_finished: bool) -> None:
    """Broken off after 7, 9, 11, ... rows, it ends as if it never had been; no row is run again that was written."""
    columns = Columns(numbered=as_finished)
    source = numbered(tmp_path / "in.jsonl", 120)
    make(shout, source, whole := tmp_path / f"whole.{suffix}", columns=columns)
    tables.RAN.clear()
    out, runs = tmp_path / f"out.{suffix}", 0
    for runs in range(100):
        try:
            make(Stops(7 + 2 * runs).step, source, out, columns=columns)
            break
        except AccessError:
            assert not out.exists()
    assert runs > 3
    if as_finished:
        assert sorted(map(str, read(out))) == sorted(map(str, read(whole)))
    else:
        assert out.read_bytes() == whole.read_bytes()
    assert len(tables.RAN) <= 120 + runs * 8  # beyond the rows at most those in flight, for each time it broke off
    assert names(tmp_path) == sorted(
        ["in.jsonl", *(f"{n}.{suffix}{e}" for n in ("out", "whole") for e in ("", ".state.json"))]
    )


@pytest.mark.usefixtures("same_step")
def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    """Whatever byte a crash ended the log at, it ends as if it never had been."""
    source, out = numbered(tmp_path / "in.jsonl", 12), tmp_path / "out.jsonl"
    with pytest.raises(AccessError):
        make(Stops(4).step, source, out, in_flight=2)
    log = Places(out).log
    left = log.read_bytes()
    assert left.count(b"\n") >= 2
    for end in (0, 1, len(left) // 2, len(left) - 1):
        state = Places(out).state.read_bytes()
        log.write_bytes(left[:end])
        assert make(shout, source, out).done == 12
        assert column(read(out), "output") == [f"ROW {at}" for at in range(12)]
        out.unlink()
        Places(out).state.write_bytes(state)


def test_a_table_that_is_done_is_not_made_again(tmp_path: Path) -> None:
    """It says what there is, runs nothing, and reads only the ends of the input."""
    source, out = numbered(tmp_path / "in.jsonl", 30), tmp_path / "out.jsonl"
    first = make(prompt("{text}", model=FakeModel(["ok"])), source, out)
    again = make(prompt("{text}", model=FakeModel(["ok"])), source, out)
    assert (again.done, again.before, again.spent.calls) == (30, 30, 0)
    assert again.spent_before == first.spent


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"step": prompt("{text}!", model="fake:")}, "the step or a prompt in it"),
        ({"model": "openai:b"}, r"the model \(none before, openai:b now\)"),
        ({"columns": Columns(keep="none")}, "--keep"),
        ({"columns": Columns(key="id")}, "--key"),
        ({"columns": Columns(numbered=True)}, "--as-finished"),
        ({"choice": Choice(limit=5)}, "--limit"),
    ],
)
@pytest.mark.parametrize("done", [True, False])
def test_something_else_is_not_mixed_in(tmp_path: Path, change: dict[str, Any], told: str, done: bool) -> None:
    """A changed step, model or option says so, whether the table is done or not; `restart` makes it anew."""
    source, out = numbered(tmp_path / "in.jsonl", 8), tmp_path / "out.jsonl"
    plan = {"step": prompt("{text}", model="fake:"), "columns": Columns()}
    make(source=source, out=out, **plan)
    if not done:
        state = read_state(Places(out).state)
        write_state(Places(out).state, msgspec.structs.replace(state, phase="running"))
    before = out.read_bytes()
    with pytest.raises(UsageError, match=f"changed since: {told}.*--restart"):
        make(source=source, out=out, **{**plan, **change})
    assert out.read_bytes() == before
    assert make(source=source, out=out, restart=True, **{**plan, **change}).before == 0


def test_a_changed_input_is_told(tmp_path: Path) -> None:
    """Rows added to the input make another table."""
    source, out = numbered(tmp_path / "in.jsonl", 8), tmp_path / "out.jsonl"
    make(shout, source, out)
    numbered(source, 9)
    with pytest.raises(UsageError, match="changed since: the input file"):
        make(shout, source, out)
    assert make(shout, source, out, restart=True).done == 9


def test_a_strange_file_is_not_overwritten(tmp_path: Path) -> None:
    """An output that is there and not ours stays, unless `restart` says otherwise."""
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    out.write_text("precious\n")
    with pytest.raises(UsageError, match="is there, and not known as this command's"):
        make(shout, source, out)
    assert out.read_text() == "precious\n"
    make(shout, source, out, restart=True)
    assert len(read(out)) == 3


def test_another_beginning_is_known_before_its_first_row(tmp_path: Path) -> None:
    """Killed in its first second, it has left rows: they are its own, not those of the beginning that had none."""
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    plan = Plan(shout, source, out, model="fake:other", journal=False)
    write_state(Places(out).state, State(plan.made(), map="m", tab=0.25))
    found = []

    @step
    async def look(row: dict[str, Any]) -> None:
        found.append(await asyncio.to_thread(read_state, Places(out).state))

    make(look, source, out)
    assert {(state.made.model, state.tab) for state in found} == {("", 0.25)}  # what that may have spent stays spent
    assert "m" not in {state.map for state in found}
    assert len({state.map for state in found} - {""}) == 1


def test_a_restart_leaves_nothing_old(tmp_path: Path) -> None:
    """The failed rows of the table before go with it."""
    source, out = numbered(tmp_path / "in.jsonl", 20), tmp_path / "out.jsonl"
    make(picky, source, out, on_error="skip")
    assert (tmp_path / "out.jsonl.failed.jsonl").exists()
    make(shout, source, out, restart=True)
    assert names(tmp_path) == ["in.jsonl", "out.jsonl", "out.jsonl.state.json"]


def test_a_crash_while_the_files_are_put_in_place(tmp_path: Path) -> None:
    """Whatever of that was done, the same again does the rest, and runs no row."""
    source, out = numbered(tmp_path / "in.jsonl", 20), tmp_path / "out.csv"
    make(picky, source, out, on_error="skip")
    places, made = Places(out), out.read_bytes()
    failed, log = places.failed.read_bytes(), b"".join(json.dumps(row).encode() + b"\n" for row in read(out))
    state = msgspec.structs.replace(read_state(places.state), phase="whole")
    tables.RAN.clear()
    for failed_there, out_there in [(False, False), (True, False), (True, True)]:
        write_state(places.state, state)
        places.failed.unlink(missing_ok=True)
        out.unlink(missing_ok=True)
        (places.failed if failed_there else places.failed_log).write_bytes(failed)
        (out if out_there else places.log).write_bytes(made if out_there else log)
        standing = make(picky, source, out, on_error="skip")
        assert (standing.done, standing.failed, tables.RAN) == (17, 3, [])
        assert out.read_bytes() == made
        assert places.failed.read_bytes() == failed
        assert names(tmp_path) == ["in.jsonl", "out.csv", "out.csv.failed.jsonl", "out.csv.state.json"]
    assert settle(places, state, list).phase == "done"


def names_in(path: Path) -> list[str]:
    with open_rows(path) as rows:
        return list(rows.names())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_without_rows_has_columns(tmp_path: Path, suffix: str) -> None:
    """The bug: a CSV file of no bytes, which the next map refused; after a crash, too."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    source, out = tmp_path / "in.csv", tmp_path / f"out.{suffix}"
    source.write_text("id,text,more\n")
    assert make(shout, source, out, columns=Columns(key="id", keep=("text",))).done == 0
    assert names_in(out) == ["id", "text", "output"]
    write_state(Places(out).state, msgspec.structs.replace(read_state(Places(out).state), phase="whole"))
    out.unlink()
    Places(out).log.touch()
    assert make(shout, source, out, columns=Columns(key="id", keep=("text",))).done == 0
    assert names_in(out) == ["id", "text", "output"]
    verdict = prompt("{text}", returns=Verdict, model="fake:")
    assert make(verdict, out, tmp_path / f"next.{suffix}", columns=Columns(numbered=True)).done == 0
    assert names_in(tmp_path / f"next.{suffix}") == ["row", "id", "text", "output", "label", "sure"]


def test_a_table_of_failures_has_columns(tmp_path: Path) -> None:
    """Those of the input's first row, where that can be read."""
    source, out = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text('{"id": "k3", "text": "x"}\n')
    assert make(picky, source, out, on_error="skip").failed == 1
    assert out.read_text() == "id,text,output\n"
    source.write_text("broken\n")
    assert make(picky, source, out, on_error="skip", restart=True).failed == 1
    assert out.read_text() == "output\n"


def test_a_second_is_refused_while_the_files_are_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To make CSV of ten million rows takes minutes, in which the command may well be given again."""
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.csv"
    refused: list[str] = []

    def publishing(log: Path, made: Path) -> None:
        if not refused:  # the second one comes here, too, unless it is refused
            refused.append("not refused")
            with pytest.raises(UsageError) as error:
                make(shout, source, out)
            refused[0] = str(error.value)
        publish(log, made)

    monkeypatch.setattr("fanfold.data.files.publish", publishing)
    assert make(shout, source, out).done == 3
    assert refused == [f"another process is writing {Places(out).log}: wait for it, or give another output"]
    assert column(read(out), "id") == ["k0", "k1", "k2"]


def test_two_at_once(tmp_path: Path) -> None:
    """The second is refused while the first works, and has nothing to do after it."""
    source, out = numbered(tmp_path / "in.jsonl", 30), tmp_path / "out.jsonl"

    async def main() -> None:
        first = asyncio.create_task(tables.table(shout, source, out).make())
        await until_ran(1)
        with pytest.raises(UsageError, match="another process is writing"):
            await tables.table(shout, source, out).make()
        assert (await first).done == 30
        assert (await tables.table(shout, source, out).make()).before == 30

    asyncio.run(main())


@pytest.mark.parametrize("as_finished", [False, True])
def test_cancelled_it_keeps_what_is_done(tmp_path: Path, as_finished: bool) -> None:
    """A cancellation in the middle leaves the rows that were done, and the rest goes on from there."""
    source, out = numbered(tmp_path / "in.jsonl", 300), tmp_path / "out.jsonl"
    terms = {"columns": Columns(numbered=as_finished), "in_flight": 4}

    async def main() -> None:
        task = asyncio.create_task(tables.table(shout, source, out, **terms).make())
        await until_ran(50)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        kept = await asyncio.to_thread(read_state, Places(out).state)
        assert 40 <= kept.rows == len(await asyncio.to_thread(read, Places(out).log)) <= 60
        tables.RAN.clear()
        standing = await tables.table(shout, source, out, **terms).make()
        assert (standing.done, standing.before) == (300, kept.rows)
        assert len(tables.RAN) == 300 - kept.rows

    asyncio.run(main())
    assert len(read(out)) == 300


def test_a_sample_goes_on_too(tmp_path: Path) -> None:
    """A sample that broke off is the same sample when it goes on."""
    source, out = numbered(tmp_path / "in.jsonl", 100), tmp_path / "out.jsonl"
    terms = {"choice": Choice(sample=20), "in_flight": 1}
    make(shout, source, tmp_path / "whole.jsonl", **terms)
    worked = column(read(tmp_path / "whole.jsonl"), "id")
    state = read_state(Places(tmp_path / "whole.jsonl").state)
    Places(out).log.write_bytes(b"".join((tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)[:7]))
    write_state(Places(out).state, msgspec.structs.replace(state, phase="running", rows=7))
    tables.RAN.clear()
    make(shout, source, out, **terms)
    assert worked[7:] == tables.RAN
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_broken_line_ends_it_after_those_before(tmp_path: Path) -> None:
    """The rows before a broken line are run and kept; mended, it goes on."""
    source, out = numbered(tmp_path / "in.jsonl", 20), tmp_path / "out.jsonl"
    good = source.read_bytes()
    source.write_bytes(good.replace(b'{"id": "k15"', b'{"id: "k15"'))
    with pytest.raises(UsageError, match=r"in.jsonl, line 16: this is not JSON"):
        make(shout, source, out)
    assert not out.exists()


@pytest.mark.parametrize("terms", [{"on_error": "skip"}, {"max_failures": 1}])
def test_or_is_among_the_failed(tmp_path: Path, terms: dict[str, Any]) -> None:
    """Where failed rows are left out, a broken line is one of them, with what stands in it."""
    source, out = numbered(tmp_path / "in.jsonl", 20), tmp_path / "out.jsonl"
    source.write_bytes(source.read_bytes().replace(b'{"id": "k15"', b'{"id: "k15"'))
    make(shout, source, out, **terms)
    assert column(read(out), "id") == [f"k{number}" for number in range(20) if number != 15]
    (failed,) = read(Places(out).failed)
    assert failed["row"] == 15
    assert "in.jsonl, line 16: this is not JSON" in failed["error"]["message"]
    assert failed["input"]["line"].startswith('{"id: "k15"')


def test_a_csv_row_with_too_few_values_is_among_the_failed(tmp_path: Path) -> None:
    """Where failed rows are left out, a CSV row that cannot be read is one of them; else it ends the map."""
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,text\nk0,a\nk1\nk2,c\n")
    with pytest.raises(UsageError, match=r"in.csv, line 3: the row has 1 value, the header 2"):
        make(shout, source, out)
    make(shout, source, out, on_error="skip", restart=True)
    assert column(read(out), "id") == ["k0", "k2"]
    (failed,) = read(Places(out).failed)
    assert failed["input"] == {"line": "k1"}


def test_a_projection_leaves_out_what_the_map_does(tmp_path: Path) -> None:
    """A broken line costs nothing where it is left out, and is told where it would end the map."""
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"input": "a"}\nbroken\n{"input": "b"}\n')
    plan = Plan(prompt("{input}"), source, out, on_error="skip")
    assert project(plan, Session("fake:")).estimate.calls.at_most == 2
    with pytest.raises(UsageError, match="line 2: this is not JSON"):
        project(msgspec.structs.replace(plan, on_error="fail"), Session("fake:"))


def test_columns_that_clash_end_it(tmp_path: Path) -> None:
    """An output whose column the input has, too, is the program's mistake."""

    @step
    async def wrong(row: dict[str, Any]) -> dict[str, Any]:
        return {"text": "new"}

    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    with pytest.raises(UsageError, match="the step's output has a column 'text'"):
        make(wrong, source, out)


def test_how_it_stands(tmp_path: Path) -> None:
    """Rate, time left and the cost of the whole come from this run's rows."""
    source, out = numbered(tmp_path / "in.jsonl", 50), tmp_path / "out.jsonl"
    seen = []

    async def main() -> None:
        slow = prompt("{text}", model=FakeModel(["ok"], latency=0.002))
        making = tables.table(slow, source, out, in_flight=2)
        assert making.standing().total is None
        task = asyncio.create_task(making.make())
        while not task.done():
            await asyncio.sleep(0.005)
            seen.append(making.standing())
        await task

    asyncio.run(main())
    middle = seen[len(seen) // 2]
    assert 0 < middle.done < 50
    assert middle.total == 50
    assert middle.rate == pytest.approx(middle.done / middle.seconds)
    assert middle.left == pytest.approx((50 - middle.done) / middle.rate)
    assert middle.projected is None  # what a fake costs is not known
    assert seen[-1].spent.calls == 50


def test_what_all_of_it_will_cost() -> None:
    """So much a row, for the rows that are left, beside what earlier runs cost."""
    from fanfold.core.records import Cost
    from fanfold.data.state import Spent
    from fanfold.data.table import Standing

    spent, before = Spent(cost=Cost(2.0, 2.0)), Spent(cost=Cost(1.0, 1.0))
    assert Standing(60, 0, 20, 100, spent, before, 4.0).projected == pytest.approx(1 + 2 + 2)
    assert Standing(60, 0, 60, 100, Spent(), before, 4.0).projected is None
    assert Standing(0, 0, 0, None, Spent(), Spent(), 0.0).left is None
