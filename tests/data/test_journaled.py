"""A table with its journal: what was answered is not asked again, whatever becomes of the rows."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fanfold import Reply, Request, chain, prompt, vote
from fanfold.core.records import Watch
from fanfold.data.columns import Columns
from fanfold.data.files import Places
from fanfold.data.state import read_state
from fanfold.errors import AccessError, JournalLocked, RowError, UsageError
from fanfold.journal import Journal
from fanfold.session import Session
from fanfold.steps.step import Step
from fanfold.testing import FakeModel
from tests.data import tables
from tests.data.tables import column, make, names, numbered, read


class Asked(FakeModel):
    """A model that counts what it answers, and breaks off with a wrong key after so many."""

    def __init__(self, most: int = 1_000_000) -> None:
        super().__init__(self.say, latency=lambda request: 0.001 * (len(str(request.messages)) % 5))
        self.left = most
        self.count = 0

    def say(self, request: Request) -> str | Exception:
        self.left -= 1
        if self.left < 0:
            return AccessError("the key was withdrawn", model="fake:")
        return f"{request.messages[-1].content}, {request.draw.ordinal}"

    async def send(self, request: Request, watch: Watch) -> Reply:
        reply = await super().send(request, watch)
        self.count += 1
        return reply


def two_calls(asked: Asked) -> Step[Any, Any]:
    """Two calls a row, one after the other."""
    return chain(prompt("A {text}", model=asked), prompt("B {input}", model=asked))


@pytest.mark.usefixtures("same_step")
def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    """Broken off in the middle of rows, it asks on the whole no call twice that was answered, and ends the same."""
    source = numbered(tmp_path / "in.jsonl", 40)
    make(two_calls(Asked()), source, whole := tmp_path / "whole.jsonl")
    out, calls, broken = tmp_path / "out.jsonl", 0, 0
    for most in (11, 17, 5, 30, 1_000):
        asked = Asked(most)
        try:
            standing = make(two_calls(asked), source, out, journal=True)
        except AccessError:
            broken += 1
        calls += asked.count
    assert broken == 4
    assert calls == 80
    assert out.read_bytes() == whole.read_bytes()
    assert standing.done == 40
    assert standing.spent.replayed >= 1
    together = standing.spent + standing.spent_before
    assert 80 <= together.calls + together.replayed <= 80 + broken * 2 * 16  # with a journal so many rows run at once


@pytest.mark.usefixtures("same_step")
def test_rows_may_be_far_ahead(tmp_path: Path) -> None:
    """While the first row takes its time, others finish; broken off then, only the first is asked again.

    Or the last beside it, whose reply may not be on the disk yet when the first fails.
    """
    source, out = numbered(tmp_path / "in.jsonl", 9), tmp_path / "out.jsonl"

    def late(request: Request) -> str | Exception:
        first = request.messages[-1].content == "row 0"
        return AccessError("no", model="fake:") if first and not allowed else "ok"

    allowed: list[int] = []
    seen: list[str] = []
    all_seen = asyncio.Event()

    class Slow(FakeModel):
        async def send(self, request: Request, watch: Watch) -> Reply:
            seen.append(request.messages[-1].content)
            if len(seen) == 9:
                all_seen.set()
            if request.messages[-1].content == "row 0" and not allowed:
                await all_seen.wait()
            return await super().send(request, watch)

    step = prompt("{text}", model=Slow(late))
    with pytest.raises(AccessError):
        make(step, source, out, journal=True, in_flight=2)
    assert read_state(Places(out).state).rows == 0
    allowed.append(1)
    seen.clear()
    assert make(step, source, out, journal=True).done == 9
    assert "row 0" in seen
    assert len(seen) <= 2


def test_only_what_changed_is_asked(tmp_path: Path) -> None:
    """With `reuse` the table is made anew, and of a changed step only the changed calls are asked."""
    source, out = numbered(tmp_path / "in.jsonl", 10), tmp_path / "out.jsonl"
    asked = Asked()
    make(two_calls(asked), source, out, journal=True)
    assert asked.count == 20
    changed = chain(prompt("A {text}", model=asked), prompt("C {input}", model=asked))
    with pytest.raises(UsageError, match="changed since: the step or a prompt in it"):
        make(changed, source, out, journal=True)
    asked.count = 0
    standing = make(changed, source, out, journal=True, reuse=True)
    assert (asked.count, standing.spent.replayed, standing.spent.calls) == (10, 10, 10)
    assert column(read(out), "output")[3].startswith("C A row 3")
    asked.count = 0
    assert make(changed, source, out, journal=True, restart=True).spent.replayed == 0
    assert asked.count == 20


def test_failed_rows_are_tried_again(tmp_path: Path) -> None:
    """A table that is done is made anew with `reuse`: what failed is asked again, and nothing else."""
    source, out = numbered(tmp_path / "in.jsonl", 10), tmp_path / "out.jsonl"
    broken = {"row 3", "row 7"}
    seen: list[str] = []

    def say(request: Request) -> str | Exception:
        text = request.messages[-1].content
        seen.append(text)
        return AssertionError("not now") if text in broken else text.upper()

    def ask() -> Step[Any, Any]:
        return prompt("{text}", model=FakeModel(say))

    make(ask(), source, out, journal=True, on_error="skip", columns=Columns(keep="none"))
    assert column(read(Places(out).failed), "row") == [3, 7]
    broken.clear()
    seen.clear()
    standing = make(ask(), source, out, journal=True, reuse=True, columns=Columns(keep="none"))
    assert sorted(seen) == ["row 3", "row 7"]
    assert (standing.done, standing.failed) == (10, 0)
    assert column(read(out), "output") == [f"ROW {at}" for at in range(10)]
    assert not Places(out).failed.exists()


def test_a_row_is_known_by_its_key(tmp_path: Path) -> None:
    """With a key column, rows that moved or came new in the input keep their answers."""
    source, out = numbered(tmp_path / "in.jsonl", 6), tmp_path / "out.jsonl"
    asked = Asked()
    step = prompt("{text}", model=asked)
    make(step, source, out, journal=True, columns=Columns(key="id"))
    rows = read(source)
    tables.write_rows(source, [{"id": "new", "text": "row new"}, *reversed(rows)])
    asked.count = 0
    assert make(step, source, out, journal=True, reuse=True, columns=Columns(key="id")).done == 7
    assert asked.count == 1


DOUBLE = r"rows 1 and 4 have the same key 'b'"


def with_a_double(path: Path) -> Path:
    """Six rows, of which two have the same key."""
    return tables.write_rows(path, ({"id": key, "text": f"row {at}"} for at, key in enumerate("abcdbe")))


@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_key_names_one_row(tmp_path: Path, in_flight: int) -> None:
    """A second row with the same key fails, with both their numbers, whether or not the first is still under way."""
    source, asked = with_a_double(tmp_path / "in.jsonl"), Asked()
    step, keyed = prompt("{text}", model=asked), Columns(key="id")
    with pytest.raises(RowError, match=DOUBLE):
        make(step, source, tmp_path / "a.jsonl", journal=True, columns=keyed, in_flight=in_flight)
    out = tmp_path / "b.jsonl"
    asked.count = 0
    made = make(step, source, out, journal=True, columns=keyed, in_flight=in_flight, on_error="skip")
    assert (made.done, made.failed, asked.count) == (5, 1, 5)
    (failed,) = read(Places(out).failed)
    assert (failed["row"], failed["key"], failed["error"]["type"]) == (4, "b", "UsageError")
    assert failed["error"]["message"].startswith("rows 1 and 4 have the same key 'b', and what is kept of a row")
    assert [row["output"].partition(",")[0] for row in read(out)] == [f"row {at}" for at in (0, 1, 2, 3, 5)]


@pytest.mark.usefixtures("same_step")
def test_a_key_names_one_row_of_all_sittings(tmp_path: Path) -> None:
    """Of a table that was broken off, too: the row that has the key may be written and done."""
    source, out, keyed = with_a_double(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", Columns(key="id")
    with pytest.raises(AccessError):
        make(prompt("{text}", model=Asked(3)), source, out, journal=True, columns=keyed, in_flight=1)
    step = prompt("{text}", model=Asked())
    with pytest.raises(RowError, match=DOUBLE):
        make(step, source, out, journal=True, columns=keyed, in_flight=1)
    tables.write_rows(source, read(source)[:4])
    assert make(step, source, out, journal=True, columns=keyed, reuse=True).spent.replayed == 4


def test_without_a_journal_a_key_is_a_column(tmp_path: Path) -> None:
    """Nothing is found by it then, so two rows may have the same, and each has its own answer."""
    source, out = with_a_double(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    assert make(prompt("{text}", model=Asked()), source, out, columns=Columns(key="id")).done == 6
    assert column(read(out), "id") == [*"abcdbe"]
    assert column(read(out), "output") == [f"row {at}, 0" for at in range(6)]


@pytest.mark.parametrize("mode", ["resume", "record", "cache"])
def test_a_key_names_one_row_of_a_map(tmp_path: Path, mode: Any) -> None:
    """In a program, too; another map of the same rows, in the same session, finds what the first one kept."""
    asked = Asked()
    step = prompt("{text}", model=asked)
    rows = [{"id": key, "text": key} for key in "aba"]

    async def main() -> list[Any]:
        async with Session("fake:", journal=Journal(tmp_path / "j.db", mode=mode)) as session:
            terms: Any = {"key": "id", "session": session, "on_error": "skip", "max_in_flight": 1}
            return [row for some in (rows, rows[1:]) async for row in step.map(some, **terms)]

    found = asyncio.run(main())
    assert [row.output and row.output[0] for row in found] == ["a", "b", None, "b", "a"]
    assert "rows 0 and 2 have the same key 'a'" in str(found[2].error)
    assert (found[2].calls, asked.count) == (0, 4 if mode == "record" else 2)


def test_reuse_needs_a_journal(tmp_path: Path) -> None:
    """There is nothing to take answers from without one."""
    source = numbered(tmp_path / "in.jsonl", 1)
    for wrong in ({"journal": False}, {"journal": True, "restart": True}):
        with pytest.raises(UsageError, match="--reuse-unchanged takes answers from the journal"):
            make(prompt("{text}"), source, tmp_path / "out.jsonl", reuse=True, **wrong)


def test_a_journal_that_another_has(tmp_path: Path) -> None:
    """The table is not made, and what is there stays."""
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"

    async def main() -> None:
        async with Session("fake:", journal=Journal(Places(out).journal)):
            with pytest.raises(JournalLocked, match="one owner at a time"):
                await tables.table(prompt("{text}"), source, out, journal=True).make()

    asyncio.run(main())
    assert not out.exists()


def test_a_done_table_opens_no_journal(tmp_path: Path) -> None:
    """The same command again does not even look into it."""
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    step = prompt("{text}", model="fake:")
    make(step, source, out, journal=True)
    Places(out).journal.write_bytes(b"broken")
    assert make(step, source, out, journal=True).before == 3


def test_the_journal_stays_beside_the_output(tmp_path: Path) -> None:
    """Readable for nobody else."""
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    make(prompt("{text}", model="fake:"), source, out, journal=True)
    assert "out.jsonl.journal" in names(tmp_path)
    assert Places(out).journal.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("same_step")
def test_cost_is_counted_once(tmp_path: Path) -> None:
    """Of calls that were answered before a failure and found again after it, the table's tokens hold each once."""
    source, out = numbered(tmp_path / "in.jsonl", 20), tmp_path / "out.jsonl"
    whole = make(vote(prompt("{text}", model=Asked()), 3, stop=None), source, tmp_path / "whole.jsonl")
    broken = Asked(32)  # three calls a row: it breaks off within one
    broken.latency = 0.0  # and what was said has been heard by then
    with pytest.raises(AccessError):
        make(vote(prompt("{text}", model=broken), 3, stop=None), source, out, journal=True, in_flight=4)
    standing = make(vote(prompt("{text}", model=Asked()), 3, stop=None), source, out, journal=True)
    assert standing.spent.replayed > 0
    together = standing.spent + standing.spent_before
    assert together.usage == whole.spent.usage


def test_a_map_in_a_program_follows_its_session(tmp_path: Path) -> None:
    """`step.map` under a session with a journal resumes; two steps may have rows of the same keys."""
    asked = Asked()
    first, second = (
        prompt("1 {text}", model=asked, name="first"),
        prompt("2 {text}", model=asked, name="second"),
    )
    rows = [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]

    async def main() -> list[Any]:
        async with Session("fake:", journal=tmp_path / "j.db") as session:
            found = []
            for step in (first, second):
                found += [row async for row in step.map(rows, key="id", session=session)]
            found += [row async for row in first.map(rows, session=session)]
            return found

    before = asyncio.run(main())
    assert asked.count == 6
    again = asyncio.run(main())
    assert asked.count == 6
    assert [row.output for row in again] == [row.output for row in before]
    assert [row.replayed for row in again] == [1] * 6
    assert [row.paid.usd for row in again] == [0.0] * 6


def test_a_failed_row_of_a_program(tmp_path: Path) -> None:
    """What a map had been answered before it failed is there for the next."""
    asked = Asked()

    def picky(text: str) -> str:
        if "row 2" in text and broken:
            raise ValueError("no")
        return text

    broken = [1]
    step = chain(prompt("{input}", model=asked), picky)

    async def main() -> list[Any]:
        async with Session("fake:", journal=tmp_path / "j.db") as session:
            return [row.output async for row in step.map(["row 1", "row 2", "row 3"], session=session)]

    with pytest.raises(RowError):
        asyncio.run(main())
    broken.clear()
    assert len(asyncio.run(main())) == 3
    assert asked.count == 3


# -- commit points --------------------------------------------------------------------------------------------------

CHILD = """
import asyncio, itertools, json, os, signal, sys
from pathlib import Path
from fanfold import Session, prompt, vote
from fanfold.data.table import Plan, Table
from fanfold.journal.points import armed
from fanfold.testing import FakeModel

folder, point, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
asked = folder / "asked"
reached = itertools.count(1)

def die():
    if next(reached) == number:
        os.kill(os.getpid(), signal.SIGKILL)

def say(request):
    with asked.open("a") as file:
        file.write("x")
    return request.messages[-1].content.upper()

async def main():
    step = vote(prompt("{text}", model=FakeModel(say)), 3, stop=None)
    plan = Plan(step, folder / "in.jsonl", folder / "out.jsonl")
    await Table(plan, lambda path: Session("fake:", max_in_flight=4, journal=path)).make()

with armed(point, die):
    asyncio.run(main())
print(json.dumps(next(reached) - 1))
"""


def child(folder: Path, point: str, number: int) -> subprocess.CompletedProcess[str]:
    """Make a table of 40 rows, and die at the number-th commit."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, str(folder), point, str(number)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def die_at(folder: Path, point: str, number: int) -> bool:
    """Die there, go on, and look at what is left; False where there were not so many commits."""
    folder.mkdir()
    numbered(folder / "in.jsonl", 40)
    died = child(folder, point, number)
    if died.returncode != -9:
        assert json.loads(died.stdout) < number, died.stderr
        return False
    done = child(folder, point, 0)
    assert done.returncode == 0, done.stderr
    assert read(folder / "out.jsonl") == [
        {"id": f"k{at}", "text": f"row {at}", "output": f"ROW {at}"} for at in range(40)
    ]
    assert (folder / "asked").stat().st_size <= 120 + 4
    with closing(sqlite3.connect(folder / "out.jsonl.journal")) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return True


@pytest.mark.parametrize(("point", "number"), [("before_commit", 1), ("after_commit", 9), ("before_commit", 25)])
def test_a_crash_at_a_commit(tmp_path: Path, point: str, number: int) -> None:
    """Before or after a commit of the journal: the table goes on right, and only what was in flight is asked again."""
    assert die_at(tmp_path / "t", point, number)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
def test_a_crash_at_every_commit(tmp_path: Path, point: str) -> None:
    """The same at each one of them, the last ones too: how many there are differs a little from run to run."""
    survived, number = 0, 0
    while survived < 3:
        number += 1
        survived = 0 if die_at(tmp_path / str(number), point, number) else survived + 1
    assert number > 40
