"""Reading tables: a row at a time, whatever is odd in the file, and the line of what is wrong in it."""

import errno
from datetime import date, datetime, time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from fanfold.data.columns import Columns, Item
from fanfold.data.csv_files import CsvRows
from fanfold.data.formats import format_of, open_rows
from fanfold.data.jsonl import JsonLines
from fanfold.data.reading import Unreadable
from fanfold.data.state import identity
from fanfold.errors import UsageError
from tests.data.tables import read, write_rows


def rows_of(folder: Path, name: str, content: bytes) -> list[dict[str, Any]]:
    (folder / name).write_bytes(content)
    return read(folder / name)


# -- JSON Lines ---------------------------------------------------------------------------------------------------


def test_json_lines(tmp_path: Path) -> None:
    """An object a line, its values as they are; empty lines and a missing last line end are nothing."""
    found = rows_of(
        tmp_path, "a.jsonl", b'{"a": 1, "b": [true, null]}\n\n  \r\n{"a": 1.5e3}\r\n{"\xc3\xa4": "\\u00fc"}'
    )
    assert found == [{"a": 1, "b": [True, None]}, {"a": 1500.0}, {"ä": "ü"}]


def test_a_byte_order_mark_is_not_text(tmp_path: Path) -> None:
    """Some editors begin a file with one."""
    assert rows_of(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"a": 1}\n') == [{"a": 1}]
    assert rows_of(tmp_path, "a.csv", b"\xef\xbb\xbfa,b\n1,2\n") == [{"a": "1", "b": "2"}]


def test_what_is_no_object_is_the_input(tmp_path: Path) -> None:
    """A line that holds a text, a number or a list is a row with the column `input`."""
    assert rows_of(tmp_path, "a.ndjson", b'"hello"\n5\n[1]\n') == [{"input": "hello"}, {"input": 5}, {"input": [1]}]


def test_whole_numbers_of_any_length_stay(tmp_path: Path) -> None:
    """An id of thirty digits is not rounded."""
    assert rows_of(tmp_path, "a.jsonl", b'{"id": 123456789012345678901234567890}\n') == [
        {"id": 123456789012345678901234567890}
    ]


def test_half_a_pair_is_read_as_its_escape(tmp_path: Path) -> None:
    """The bug: a line with a text that was cut within an emoji was called no JSON, and broken off."""
    line = b'{"a\\udc00": "x\\ud83d", "b": ["\\ud83d\\ude00", 12345678901234567890123, 0.1]}\n'
    assert rows_of(tmp_path, "a.jsonl", line) == [
        {"a\\udc00": "x\\ud83d", "b": ["\U0001f600", 12345678901234567890123, 0.1]}
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": tru}\n', r"a.jsonl, line 2: this is not JSON \(JSON is malformed"),
        (b'\n\n{"a": 1} trailing\n', "line 3: this is not JSON"),
        (b'{"a": 1}\n{"a": ', "line 2: this is not JSON"),
        (b'{"a": "\xff"}\n', "line 1: this is not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "line 1: this is not"),
        (b"[" * 100_000, "line 1: this is not JSON"),
        (b'{"a": "\\ud83d", "b": NaN}\n', "line 1: this is not JSON"),
        (b'{"a": "\\ud83d", "b": 1e999}\n', "line 1: this is not JSON"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    """The error of a JSON Lines file says in which line it is, and is raised where that row is used."""
    rows = rows_of(tmp_path, "a.jsonl", content)
    broken = next(row for row in rows if isinstance(row, Unreadable))
    for use in (Columns().given, Columns().key_of):
        with pytest.raises(UsageError, match=message):
            use(Item(0, broken))


def test_the_rows_after_a_broken_line_are_read(tmp_path: Path) -> None:
    """What stands in the line is there, and so are the rows around it."""
    rows = rows_of(tmp_path, "a.jsonl", b'{"a": 1}\n{"a": "\xff\r\n{"a": 3}\n')
    assert rows == [{"a": 1}, {"line": '{"a": "\\xff'}, {"a": 3}]


# -- CSV ------------------------------------------------------------------------------------------------------------


def test_csv(tmp_path: Path) -> None:
    """Quotes, commas and line breaks inside of them, doubled quotes; every value is a text; empty lines are none."""
    content = b'id,text\n1,"a, ""b"""\r\n\n2,"two\nlines\r\nand a third"\n3,\n'
    assert rows_of(tmp_path, "a.csv", content) == [
        {"id": "1", "text": 'a, "b"'},
        {"id": "2", "text": "two\nlines\r\nand a third"},
        {"id": "3", "text": ""},
    ]


def test_a_column_without_a_name(tmp_path: Path) -> None:
    """As the index that some tools write."""
    assert rows_of(tmp_path, "a.csv", b",a\n0,x\n") == [{"": "0", "a": "x"}]


def test_a_long_field(tmp_path: Path) -> None:
    """A document of a megabyte is one field; the csv module's own limit would refuse it."""
    assert len(rows_of(tmp_path, "a.csv", b"a\n" + b"x" * 1_000_000 + b"\n")[0]["a"]) == 1_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.csv is empty, and has to begin with the names of its columns"),
        (b"a,b,a\n", "line 1: two columns are called 'a'"),
        (b"a,\xe4\n1,2\n", r"line 1: this is not UTF-8 text \(byte 2\)"),
        (b'a,b\n1,"2"3\n', "line 2: this is not CSV"),
        (b'a,b\n1,"2\n3\n', r"line 3: this is not CSV \(.*; its row begins in line 2: is a quote missing\?\)"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    """The error of a CSV file says in which line it is."""
    with pytest.raises(UsageError, match=message):
        rows_of(tmp_path, "a.csv", content)


@pytest.mark.parametrize(
    ("line", "shown", "message"),
    [
        (b"3", "3", "line 3: the row has 1 value, the header 2"),
        (b'1,"2, ""x""",3', '1,"2, ""x""",3', "line 3: the row has 3 values"),
        (b'1,"2\n",3', '1,"2\n",3', "line 4: the row has 3 values"),
        (b"1,\xe4", r"1,\xe4", r"line 3: this is not UTF-8 text \(byte 2\)"),
        (b'1,"\n\xe4\n"', '1,"\n\\xe4\n"', r"line 4: this is not UTF-8 text \(byte 0\)"),
    ],
)
def test_a_row_that_cannot_be_read_stands_alone(tmp_path: Path, line: bytes, shown: str, message: str) -> None:
    """A row of a CSV file with too few values or broken text says so where it is used; those around it are read."""
    before, broken, after = rows_of(tmp_path, "a.csv", b"a,b\n1,2\n" + line + b"\n3,4\n")
    assert (before, after) == ({"a": "1", "b": "2"}, {"a": "3", "b": "4"})
    assert isinstance(broken, Unreadable)
    assert broken["line"] == shown
    with pytest.raises(UsageError, match=message):
        raise broken.why


# -- Parquet --------------------------------------------------------------------------------------------------------


def test_parquet(tmp_path: Path) -> None:
    """Typed columns, read batch by batch."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": list(range(3000)), "tags": [["a"], None, []] * 1000})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    with open_rows(tmp_path / "a.parquet") as rows:
        assert rows.fraction == 0
        first, *others = rows
        assert first == {"id": 0, "tags": ["a"]}
        assert len(others) == 2999
        assert rows.fraction == 1


def test_what_is_no_parquet(tmp_path: Path) -> None:
    """A file of another kind under that name."""
    (tmp_path / "a.parquet").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"a\.parquet is not a Parquet file"):
        open_rows(tmp_path / "a.parquet")


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """A row has one value of a name, so that the other one would be lost."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"a\.parquet: two columns are called 'a'"):
        open_rows(tmp_path / "a.parquet")


def test_times_finer_than_python_s(tmp_path: Path) -> None:
    """Nanoseconds, which data frames count in, are texts where no time of Python's can hold them."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stamps = pa.array([1_000, 1, None], pa.timestamp("ns"))
    pq.write_table(pa.table({"t": stamps, "day": stamps.cast(pa.time64("ns"))}), tmp_path / "a.parquet")
    whole, fine, none = read(tmp_path / "a.parquet")
    assert whole == {"t": datetime.fromisoformat("1970-01-01T00:00:00.000001"), "day": time(microsecond=1)}
    assert fine == {"t": "1970-01-01T00:00:00.000000001", "day": "00:00:00.000000001"}
    assert none == {"t": None, "day": None}


def test_a_value_that_cannot_be_read_spoils_its_row_only(tmp_path: Path) -> None:
    """A date that no calendar has, say, or a text that is no UTF-8; the others of its row are shown."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffc")]
    )
    days = pa.array([1, 1, 10**9], pa.date32())
    pq.write_table(pa.table({"n": [1, 2, 3], "text": texts, "day": days}), tmp_path / "a.parquet")
    first, second, third = read(tmp_path / "a.parquet")
    assert first == {"n": 1, "text": "a", "day": date(1970, 1, 2)}
    for row, number, name in ((second, 1, "text"), (third, 2, "day")):
        assert isinstance(row, Unreadable)
        assert '"n":' in row["line"]
        with pytest.raises(UsageError, match=rf"a\.parquet, row {number}: the value of '{name}' cannot be read \("):
            raise row.why


def test_a_parquet_file_that_is_damaged(tmp_path: Path) -> None:
    """The error names the file and the place, after the rows before it."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"text": [f"word {n} " * 20 for n in range(3000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1500)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    middle = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1).column(0).data_page_offset
    content[middle : middle + 400] = b"\xff" * 400
    (tmp_path / "a.parquet").write_bytes(content)
    with open_rows(tmp_path / "a.parquet") as rows:
        found = iter(rows)
        for _ in range(1024):
            next(found)
        with pytest.raises(UsageError, match=r"a\.parquet cannot be read from row 1024 on \("):
            list(found)


# -- all of them ----------------------------------------------------------------------------------------------------


def test_an_unknown_format(tmp_path: Path) -> None:
    """The name says the format."""
    with pytest.raises(UsageError, match=r"rows.xlsx: a table is a file whose name ends in .jsonl, .csv, .parquet"):
        open_rows(tmp_path / "rows.xlsx")
    assert format_of(Path("A.JSONL")) == ".jsonl"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    """The error says why."""
    with pytest.raises(UsageError, match=f"{name} cannot be read: No such file or directory"):
        open_rows(tmp_path / name)


class Gone(BytesIO):
    """A file on a disk that is there for its first piece only."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size) if self.tell() == 0 else self.fail()

    def __next__(self) -> bytes:
        return super().__next__() if self.tell() == 0 else self.fail()

    def fail(self) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_disk_that_fails_in_the_middle(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the input that cannot be read: a bare error would pass for one of the output's."""
    (tmp_path / name).write_bytes(b"1\n2\n")
    monkeypatch.setattr("fanfold.data.state.opened", lambda _: Gone(b"1\n2\n"))
    with pytest.raises(UsageError, match=rf"{name} cannot be read after byte 4: Input/output error"):
        identity(tmp_path / name)
    with CsvRows(tmp_path / name) if name == "a.csv" else JsonLines(tmp_path / name) as rows:
        rows.file.close()
        rows.file = Gone(b"1\n2\n")
        with pytest.raises(UsageError, match=rf"{name} cannot be read after line 1: Input/output error"):
            list(rows)


def test_how_far_it_is(tmp_path: Path) -> None:
    """The fraction read goes from 0 to 1 with the rows."""
    path = write_rows(tmp_path / "a.jsonl", ({"a": at} for at in range(10, 60)))
    with open_rows(path) as rows:
        seen = [rows.fraction for _ in rows]
    assert seen == pytest.approx([(at + 1) / 50 for at in range(50)])
    (tmp_path / "b.jsonl").write_bytes(b"")
    with open_rows(tmp_path / "b.jsonl") as rows:
        assert rows.fraction == 1.0


def test_reading_takes_no_memory(tmp_path: Path) -> None:
    """A file is read line by line: of 20 MB, less than one is held."""
    import tracemalloc

    path = write_rows(tmp_path / "a.jsonl", ({"text": "x" * 10_000} for _ in range(2000)))
    tracemalloc.start()
    try:
        with open_rows(path) as rows:
            assert sum(1 for _ in rows) == 2000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
