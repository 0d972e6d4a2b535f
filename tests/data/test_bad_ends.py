"""Tables that end badly: what cannot be written, files that are in the way or gone; no row is lost, none is twice."""

import asyncio
import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fanfold import step
from fanfold.core.clock import sleep
from fanfold.data.choosing import Choice
from fanfold.data.columns import Columns
from fanfold.data.files import Files, Places
from fanfold.data.logs import Log
from fanfold.data.table import Table
from fanfold.errors import RowError, UsageError
from tests.data.tables import column, make, names, numbered, read, table, write_rows

FULL = OSError(errno.ENOSPC, "No space left on device")


@step
async def plain(row: dict[str, Any]) -> str:
    return str(row["text"])


@step
async def of_threes(row: dict[str, Any]) -> str:
    if row["id"].endswith("3"):
        raise ValueError("three")
    return str(row["text"])


def test_no_row_takes_the_place_of_one_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are done while another is refused are not written behind it: their count says which are there."""
    source, out = numbered(tmp_path / "in.jsonl", 12), tmp_path / "out.jsonl"
    writing, write = threading.Event(), Files.write
    behind: list[str] = []

    @step
    async def clashes(row: dict[str, Any]) -> dict[str, str]:
        if row["id"] in {"k6", "k7"}:
            while not writing.is_set():
                await sleep(0.001)
            behind.append(row["id"])
        return {"text" if row["id"] == "k5" else "out": row["text"]}

    def slowly(files: Files, rows: Any) -> None:
        if any(row.number == 5 for row in rows):
            writing.set()
            while len(behind) < 2:
                time.sleep(0.001)
            time.sleep(0.01)
        write(files, rows)

    monkeypatch.setattr(Files, "write", slowly)
    with pytest.raises(UsageError, match="row 5: the step's output has a column 'text'"):
        make(clashes, source, out)
    assert column(read(Places(out).log), "id") == [f"k{at}" for at in range(5)]


@pytest.mark.parametrize("numbered_rows", [False, True])
def test_a_disk_that_is_full_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, numbered_rows: bool
) -> None:
    """Half a line is taken back, nothing is written behind it, and the same again goes on with that row."""
    source, out = numbered(tmp_path / "in.jsonl", 40), tmp_path / "out.jsonl"
    terms = {"columns": Columns(numbered=numbered_rows)}
    append, appended = Log.append, 0

    class Short:
        """A file that takes a few bytes, and then no more."""

        def __init__(self, file: Any) -> None:
            self.file = file
            self.left = 7

        def write(self, data: bytes) -> int:
            if not self.left:
                raise FULL
            took, self.left = self.file.write(data[: self.left]), 0
            return int(took)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    def full_once(log: Any, lines: Any) -> None:
        nonlocal appended
        appended += bool(lines)
        whole = log.file
        log.file = Short(whole) if appended == 4 else whole
        try:
            append(log, lines)
        finally:
            log.file = whole

    monkeypatch.setattr(Log, "append", full_once)
    with pytest.raises(OSError, match="No space left"):
        make(plain, source, out, **terms)
    monkeypatch.undo()
    there = Places(out).log.read_bytes()
    assert there.endswith(b"\n")
    assert len(column(read(Places(out).log), "id")) < 40
    make(plain, source, out, **terms)
    assert sorted(column(read(out), "id")) == sorted(f"k{at}" for at in range(40))


def test_tables_of_one_stem_have_failed_rows_of_their_own(tmp_path: Path) -> None:
    """`out.csv` and `out.jsonl` beside each other: neither touches what is known of the other's failed rows."""
    source, csv, lines = numbered(tmp_path / "in.jsonl", 8), tmp_path / "out.csv", tmp_path / "out.jsonl"
    make(of_threes, source, csv, on_error="skip")
    make(plain, source, lines)
    assert column(read(Places(csv).failed), "row") == [3]
    assert names(tmp_path) == [
        *("in.jsonl", "out.csv", "out.csv.failed.jsonl", "out.csv.state.json", "out.jsonl", "out.jsonl.state.json")
    ]


def test_an_output_that_is_gone_is_told(tmp_path: Path) -> None:
    """A table that was made and then removed is not called done; it can be made anew."""
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.csv"
    make(plain, source, out, journal=True)
    out.unlink()
    with pytest.raises(UsageError, match=r"out\.csv was made, and is gone: --restart makes it anew$"):
        make(plain, source, out)
    with pytest.raises(UsageError, match="is gone: --reuse-unchanged makes it anew from its journal"):
        make(plain, source, out, journal=True)
    assert make(plain, source, out, journal=True, reuse=True).done == 3
    assert len(read(out)) == 3


def test_reusing_does_not_overwrite_a_strange_file(tmp_path: Path) -> None:
    """A file that is not known as this command's is only written over where that is said: by restart."""
    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.csv"
    out.write_text("mine\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not known as this command's"):
        make(plain, source, out, journal=True, reuse=True)
    assert out.read_text(encoding="utf-8") == "mine\n"


def test_a_column_to_keep_is_looked_for_before_a_row_is_run(tmp_path: Path) -> None:
    """A row that could not be written is not paid for."""
    source, out = numbered(tmp_path / "in.jsonl", 9), tmp_path / "out.jsonl"
    ran: list[str] = []

    @step
    async def counted(row: dict[str, Any]) -> str:
        ran.append(row["id"])
        return "x"

    with pytest.raises(UsageError, match="row 0 has no column 'subject', which --keep names"):
        make(counted, source, out, columns=Columns(keep=("subject",)))
    taken = write_rows(tmp_path / "taken.jsonl", [{"row": 7}])
    with pytest.raises(UsageError, match="the input has a column 'row'"):
        make(counted, taken, tmp_path / "b.jsonl", columns=Columns(numbered=True))
    assert ran == []


def test_a_row_without_its_columns_fails_by_itself(tmp_path: Path) -> None:
    """With "skip" one row that lacks what is its input, its key or to be kept does not end a table."""
    rows = [{"id": "a", "text": "x"}, {"id": "b"}, {"text": "z"}, {"id": "d", "text": "w"}]
    source, out = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"

    @step
    async def says(text: str) -> str:
        return text.upper()

    columns = Columns("text", "id", ("text",))
    with pytest.raises(UsageError, match="row 1 has no column 'text', which --keep names"):
        make(says, source, out, columns=columns)
    standing = make(says, source, out, columns=columns, on_error="skip")
    assert (standing.done, standing.failed, standing.before) == (2, 2, 1)
    assert read(out) == [{"id": "a", "text": "x", "output": "X"}, {"id": "d", "text": "w", "output": "W"}]
    failed = read(Places(out).failed)
    assert (column(failed, "row"), column(failed, "key")) == ([1, 2], ["b", "2"])
    assert "row 2 has no column 'id', which --key names" in failed[1]["error"]["message"]


@pytest.mark.parametrize("choice", [Choice(), Choice(sample=30, seed=2)])
def test_a_failed_row_has_its_own_number(tmp_path: Path, choice: Choice) -> None:
    """Also in a later sitting, and among those that were chosen: it is the number that it has in the file."""
    source, out = numbered(tmp_path / "in.jsonl", 40), tmp_path / "out.jsonl"
    for _ in range(2):
        with pytest.raises(RowError, match=r"^row \d*3 failed: ValueError: three$") as found:
            make(of_threes, source, out, choice=choice)
        assert found.value.row.input.row["id"] == f"k{found.value.row.number}"
    with pytest.raises(RowError, match=r"row \d*3 failed: more than max_failures=1"):
        make(of_threes, source, out, choice=choice, max_failures=1)


def test_what_has_no_end_is_no_output(tmp_path: Path) -> None:
    """An output that holds itself cannot be written, and its row is named."""

    @step
    async def circle(row: dict[str, Any]) -> list[Any]:
        made: list[Any] = [row["id"]]
        made.append(made)
        return made

    source = numbered(tmp_path / "in.jsonl", 1)
    with pytest.raises(UsageError, match=r"row 0: the step's output cannot be written \(.*\): let it give plain data"):
        make(circle, source, tmp_path / "out.jsonl")


def test_what_has_no_text_is_no_output(tmp_path: Path) -> None:
    """Its row is named, and those before it are there."""

    class Mute:
        def __str__(self) -> str:
            raise ValueError("no text")

    @step
    async def mute(row: dict[str, Any]) -> Any:
        return {"k1": Mute(), "k2": 10**5000}.get(row["id"], "fine")

    source, out = numbered(tmp_path / "in.jsonl", 3), tmp_path / "out.jsonl"
    with pytest.raises(UsageError, match=r"row 1: the step's output cannot be written \(no text\)"):
        make(mute, source, out)
    assert column(read(Places(out).log), "id") == ["k0"]


def test_an_input_that_was_changed_in_its_middle_is_another(tmp_path: Path) -> None:
    """Of the same size, with the same ends: the rows that are there were made of something else."""
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": f"k{at}", "text": "x" * 1000} for at in range(400)]
    write_rows(source, rows)
    make(plain, source, out)
    rows[200]["text"] = "y" * 1000
    write_rows(source, rows)
    with pytest.raises(UsageError, match="changed since: the input file"):
        make(plain, source, out)


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    """It could not be read again: so it is refused at once, and nobody waits for its other end."""
    pipe = tmp_path / "in.jsonl"
    os.mkfifo(pipe)

    async def refused(making: Table) -> None:
        async with asyncio.timeout(5):
            await making.make()

    with pytest.raises(UsageError, match=r"in\.jsonl is no file that can be read again: write what it gives into one"):
        asyncio.run(refused(table(plain, pipe, tmp_path / "out.jsonl")))
