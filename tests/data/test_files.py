"""What is written: logs that a crash leaves whole, states, columns, and the formats of the output."""

import csv
import json
import math
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanfold.core.records import Cost, Usage
from fanfold.data.choosing import Choice, Numbers, remaining
from fanfold.data.columns import Columns, Item, parse_keep
from fanfold.data.csv_files import write_csv
from fanfold.data.formats import open_rows, publish
from fanfold.data.jsonl import line_of
from fanfold.data.logs import Log
from fanfold.data.state import Made, Spent, State, identity, read_state, write_state
from fanfold.errors import UsageError
from tests.data.tables import column, names, numbered, read, write_rows

# -- logs -----------------------------------------------------------------------------------------------------------


def test_a_log_keeps_whole_lines(tmp_path: Path) -> None:
    """Whatever byte a crash ends it at, what was whole before it stays, and the torn line goes."""
    lines = [line_of({"n": at, "text": "ä" * at}) for at in range(4)]
    whole = b"".join(lines)
    for end in range(len(whole) + 1):
        path = tmp_path / f"{end}.partial"
        path.write_bytes(whole[:end])
        log = Log(path)
        kept = [line for at, line in enumerate(lines) if len(b"".join(lines[: at + 1])) <= end]
        assert log.count() == len(kept)
        log.append([b"{}\n"])
        log.close()
        assert path.read_bytes() == b"".join([*kept, b"{}\n"])


def test_a_line_of_nothing_is_cut_off_too(tmp_path: Path) -> None:
    """A power cut may leave zeros where the last line was to be."""
    path = tmp_path / "a.partial"
    path.write_bytes(b'{"a":1}\n' + bytes(30) + b"\n")
    log = Log(path)
    assert log.count() == 1
    log.close()
    assert path.read_bytes() == b'{"a":1}\n'


def test_a_very_long_line(tmp_path: Path) -> None:
    """Lines may be longer than what is read at once."""
    path = tmp_path / "a.partial"
    path.write_bytes(b'{"a":1}\n' + line_of({"text": "x" * 3_000_000}) + b'{"torn": "' + b"y" * 2_500_000)
    log = Log(path)
    assert log.count() == 2
    log.close()


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    """A second process (here, a second opening) is refused until the first is gone."""
    log = Log(tmp_path / "a.partial")
    with pytest.raises(UsageError, match=r"another process is writing .*a\.partial"):
        Log(tmp_path / "a.partial")
    log.close()
    Log(tmp_path / "a.partial").close()


def test_what_json_cannot_say_is_its_text(tmp_path: Path) -> None:
    """A row is always one line of JSON."""
    for value in ["two\nlines", "half \ud800 a pair", object, {1, 2}, {"deep": [Path("x")]}]:
        line = line_of({"output": value})
        assert line.count(b"\n") == 1
        assert list(json.loads(line)) == ["output"]


def test_a_number_that_json_has_not_is_named(tmp_path: Path) -> None:
    """The bug: it became null, and looked like no value. In Parquet it is what it was."""
    pytest.importorskip("pyarrow")
    rows = [{"a": 1, "b": None}, {"a": math.inf, "b": "NaN"}, {"a": -math.inf, "b": [math.nan]}, {"a": math.nan}]
    log = b"".join(map(line_of, rows))
    assert log == (b'{"a":1,"b":null}\n{"a":"Infinity","b":"NaN"}\n{"a":"-Infinity","b":["NaN"]}\n{"a":"NaN"}\n')
    deep: Any = None
    for _ in range(700):
        deep = [deep]
    assert line_of({"a": deep}) == b'{"a":' + b"[" * 700 + b"null" + b"]" * 700 + b"}\n"
    assert line_of({"a": {(1, 2): None}}) == b'{"a":{"(1, 2)":null}}\n'
    for suffix in ("csv", "parquet"):
        (tmp_path / "log").write_bytes(log)
        publish(tmp_path / "log", tmp_path / f"a.{suffix}")
    assert (tmp_path / "a.csv").read_text() == 'a,b\n1,\nInfinity,NaN\n-Infinity,"[""NaN""]"\nNaN,\n'
    found = read(tmp_path / "a.parquet")
    assert repr(column(found, "a")) == "[1.0, inf, -inf, nan]"
    assert column(found, "b") == [None, "NaN", '["NaN"]', None]


def test_a_number_that_json_has_not_inside_a_list_or_a_record(tmp_path: Path) -> None:
    """The bug: it made a text of a whole column of vectors, and was no value in a tuple."""
    pytest.importorskip("pyarrow")
    rows = [{"a": (1.0, math.nan), "b": {"x": 1.0}}, {"a": [2.0], "b": {"x": -math.inf}}]
    (tmp_path / "log").write_bytes(b"".join(map(line_of, rows)))
    assert (tmp_path / "log").read_text().splitlines()[0] == '{"a":[1.0,"NaN"],"b":{"x":1.0}}'
    publish(tmp_path / "log", tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert repr(column(found, "a")) == "[[1.0, nan], [2.0]]"
    assert column(found, "b") == [{"x": 1.0}, {"x": -math.inf}]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_half_a_pair_is_spelled_out(tmp_path: Path, suffix: str) -> None:
    """No UTF-8 can hold it, so it stands as its escape: in every format, and read again by whoever reads JSON."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    row = {"a": "x\ud83d y", "deep": {"\udc00": ("z\udfff", 1)}, "whole": "\U0001f600"}
    (tmp_path / "log").write_bytes(line_of(row) + line_of({"a": None, "deep": "\ud800"}))
    publish(tmp_path / "log", tmp_path / f"a.{suffix}")
    first, second = read(tmp_path / f"a.{suffix}")
    assert (first["a"], first["whole"]) == ("x\\ud83d y", "\U0001f600")
    deep = first["deep"] if isinstance(first["deep"], dict) else json.loads(first["deep"])
    assert deep == {"\\udc00": ["z\\udfff", 1]}
    assert (second["a"] or None, second["deep"]) == (None, "\\ud800")


# -- states ---------------------------------------------------------------------------------------------------------


def test_a_state_comes_back(tmp_path: Path) -> None:
    """Written and read, it is the same; where there is none, there is none."""
    path = tmp_path / "s.json"
    assert read_state(path) is None
    spent = Spent(3, 1, Usage(5, 6), Cost(0.5, None), 1.5, made_up=True)
    state = State(Made("a", "b", "c", {"keep": "all"}), "running", 5, 1, spent)
    write_state(path, state)
    assert read_state(path) == state
    assert names(tmp_path) == ["s.json"]
    path.write_text("{")
    with pytest.raises(UsageError, match=r"cannot be read .* use --restart"):
        read_state(path)


def test_what_changed_is_said() -> None:
    """In words that name the cause."""
    before = Made("s1", "openai:a", "i1", {"keep": "all", "limit": "5"})
    assert before.changes(before) == []
    now = Made("s2", "openai:b", "i2", {"keep": "none", "key": "id"})
    assert before.changes(now) == [
        "the step or a prompt in it",
        "the model (openai:a before, openai:b now)",
        "the input file",
        "--keep",
        "--limit",
        "--key",
    ]


def test_a_file_is_known_by_all_of_it(tmp_path: Path) -> None:
    """Any byte that changes makes another of it; written again, it is the same."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    first = identity(path)
    for changed in (b"x" * 3_000_001, b"y" + b"x" * 2_999_999, b"x" * 1_500_000 + b"y" + b"x" * 1_499_999):
        path.write_bytes(changed)
        assert identity(path) != first
    path.write_bytes(b"x" * 3_000_000)
    assert identity(path) == first


def test_spent_adds_up() -> None:
    """Of two runs, all of both."""
    one = Spent(1, 2, Usage(3, 4), Cost(0.5, 0.5), 1.0)
    assert one + one == Spent(2, 4, Usage(6, 8), Cost(1.0, 1.0), 2.0)
    assert (one + Spent(made_up=True)).made_up
    fake, real = Spent(made_up=True), Spent(billed=True)
    assert [fake.free, real.free, (fake + fake).free, (fake + real).free] == [True, False, True, False]


# -- columns --------------------------------------------------------------------------------------------------------


class Tone(Enum):
    WARM = "warm"


@dataclass
class Verdict:
    label: str
    sure: float


ITEM = Item(7, {"id": "k7", "text": "hello", "more": [1]})


@pytest.mark.parametrize(
    ("columns", "output", "row"),
    [
        (Columns(), "yes", {"id": "k7", "text": "hello", "more": [1], "output": "yes"}),
        (Columns(keep="none"), 5, {"output": 5}),
        (Columns(keep="none"), None, {"output": None}),
        (Columns(keep="none"), [1, 2], {"output": [1, 2]}),
        (Columns(keep="none"), Tone.WARM, {"output": Tone.WARM}),
        (Columns(keep="none"), Verdict("spam", 0.5), {"label": "spam", "sure": 0.5}),
        (Columns(keep="none"), {"tone": "x", "facts": []}, {"tone": "x", "facts": []}),
        (Columns(keep="none"), {}, {"output": {}}),
        (Columns(keep=("text",)), "yes", {"text": "hello", "output": "yes"}),
        (Columns(keep="none", key="id"), "yes", {"id": "k7", "output": "yes"}),
        (Columns(keep=("text",), key="id"), "yes", {"id": "k7", "text": "hello", "output": "yes"}),
        (Columns(keep="none", numbered=True), "yes", {"row": 7, "output": "yes"}),
    ],
)
def test_columns_of_the_output(columns: Columns, output: Any, row: dict[str, Any]) -> None:
    """What is kept of the input, the key and the number first, then the output: a record's fields, or one column."""
    made = columns.row(ITEM, output)
    assert made == row
    assert list(made) == list(row)


def test_a_set_has_the_same_order_in_every_process() -> None:
    """So that a table that another process goes on with has the bytes that it would have had."""
    words = {f"word {n}" for n in range(9)}
    columns = Columns(keep="none")
    assert columns.row(ITEM, words) == {"output": sorted(words)}
    assert columns.row(ITEM, {"b": {"deep": words}, "a": 1}) == {"b": {"deep": sorted(words)}, "a": 1}


def test_a_name_that_is_taken() -> None:
    """No column is overwritten in silence."""
    with pytest.raises(UsageError, match=r"row 7: the step's output has a column 'text', as has the input"):
        Columns().row(ITEM, {"text": "new"})
    with pytest.raises(UsageError, match=r"row 0: the step's output has a column '1', as has the input"):
        Columns().row(Item(0, {"1": "old"}), {1: "new"})  # a name that is no text until it is written
    with pytest.raises(UsageError, match=r"the input has a column 'row', as has the output"):
        Columns(numbered=True).row(Item(0, {"row": 1}), "x")


def test_two_names_of_one_spelling() -> None:
    """The bug: of a number and its text in one output the error said that the input had the column."""
    with pytest.raises(UsageError, match="row 0: the step's output has two columns '1'"):
        Columns().row(Item(0, {"a": 1}), {1: "x", "1": "y"})


def test_the_row_s_number_is_overwritten_by_nothing() -> None:
    """A key of that name would take its place, and with it the knowledge of which rows are done."""
    with pytest.raises(UsageError, match="the input has a column 'row', as has the output"):
        Columns(key="row", keep="none", numbered=True).kept(Item(3, {"row": 8}))


def test_the_input_and_the_key() -> None:
    """The row itself or one column of it; the number or a column."""
    assert Columns().given(ITEM) == ITEM.row
    assert Columns(input="text").given(ITEM) == "hello"
    assert Columns().key_of(ITEM) == "7"
    assert Columns(key="id").key_of(ITEM) == "k7"
    message = r"row 7 has no column 'body', which --\w+ names \(it has: id, text, more\)"
    for wrong in (Columns(input="body").given, Columns(key="body").key_of, Columns(keep=("body",)).kept):
        with pytest.raises(UsageError, match=message):
            wrong(ITEM)


def test_what_to_keep() -> None:
    """As the option says it."""
    assert parse_keep("all") == "all"
    assert parse_keep("none") == "none"
    assert parse_keep("a, b,") == ("a", "b")


# -- which rows -----------------------------------------------------------------------------------------------------


def chosen(path: Path, choice: Choice) -> list[int]:
    with open_rows(path) as rows:
        return [item.number for item in choice.items(rows)]


def test_all_the_first_or_some(tmp_path: Path) -> None:
    """A sample is in the order of the file, repeats for its seed, and keeps the rows' numbers."""
    path = numbered(tmp_path / "a.jsonl", 50)
    assert chosen(path, Choice()) == list(range(50))
    assert chosen(path, Choice(limit=3)) == [0, 1, 2]
    some = chosen(path, Choice(sample=10))
    assert some == chosen(path, Choice(sample=10)) == sorted(set(some))
    assert len(some) == 10
    assert some != chosen(path, Choice(sample=10, seed=1))
    assert chosen(path, Choice(sample=99)) == list(range(50))
    with open_rows(path) as rows:
        assert [item.row["id"] for item in Choice(sample=10).items(rows)] == [f"k{at}" for at in some]


def test_a_sample_of_nothing(tmp_path: Path) -> None:
    """An empty table has an empty sample."""
    assert chosen(write_rows(tmp_path / "a.jsonl", []), Choice(sample=3)) == []


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"sample": -1}, {"limit": 2, "sample": 2}])
def test_a_choice_that_cannot_be(wrong: dict[str, int]) -> None:
    """Told before anything is read."""
    with pytest.raises(UsageError, match=r"--(limit|sample)"):
        Choice(**wrong)


def test_how_many_there_will_be() -> None:
    """Guessed by how much of the file was read; known where the choice or the end says so."""
    assert Choice().total(0, 0.0, over=False) is None
    assert Choice().total(25, 0.25, over=False) == 100
    assert Choice().total(25, 0.25, over=True) == 25
    assert Choice(limit=60).total(25, 0.25, over=False) == 60
    assert Choice(limit=600).total(25, 0.25, over=False) == 100
    assert Choice(limit=600).total(0, 0.0, over=False) == 600
    assert Choice(sample=7).total(3, 0.9, over=False) == 7


def test_numbers_without_gaps_take_no_room() -> None:
    """As many as there are, held as one bound."""
    numbers = Numbers([3, 1, 0, 2, 2, 7])
    assert [number for number in range(9) if number in numbers] == [0, 1, 2, 3, 7]
    assert len(numbers) == 5
    assert (numbers.low, numbers.more) == (4, {7})


def test_what_remains() -> None:
    """Not those that failed, and not the first so many beside them."""
    items = [Item(at, {}) for at in range(8)]
    assert [item.number for item in remaining(items, Numbers([2, 6]), 3)] == [4, 5, 7]
    assert [item.number for item in remaining(items, Numbers(), 0)] == list(range(8))


# -- formats --------------------------------------------------------------------------------------------------------

ROWS = [
    {"id": 1, "text": 'a, "b"\nc', "tags": ["x", "y"], "sure": 0.5},
    {"id": 2, "text": None, "tags": [], "late": True},
    {"id": 3, "text": "", "tags": None, "sure": 1},
]


def published(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    log = write_rows(folder / "log.partial", rows)
    publish(log, folder / name)
    assert names(folder) == [name]
    return folder / name


def test_as_json_lines(tmp_path: Path) -> None:
    """The log itself."""
    assert read(published(tmp_path, "a.jsonl", ROWS)) == ROWS


def test_as_csv(tmp_path: Path) -> None:
    """The columns of all rows in the order in which they come up; what is no text as JSON has it; nothing for none."""
    path = published(tmp_path, "a.csv", ROWS)
    assert path.read_text("utf-8").startswith("id,text,tags,sure,late\n1,")
    assert read(path) == [
        {"id": "1", "text": 'a, "b"\nc', "tags": '["x","y"]', "sure": "0.5", "late": ""},
        {"id": "2", "text": "", "tags": "[]", "sure": "", "late": "true"},
        {"id": "3", "text": "", "tags": "", "sure": "1", "late": ""},
    ]


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2)))
@example([["a line\rand another", "\r"], ["", "\r\n"], ['"', ","], ["\x00\x85\u2028", " "]])
def test_any_text_comes_back_from_csv(rows: list[list[str]]) -> None:
    """Ends of lines of any kind, quotes and commas: as they were, for our reader and for Python's own."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        with path.open("wb") as file:
            write_csv(["a", "b"], [dict(zip("ab", row, strict=True)) for row in rows], file)
        assert [list(row.values()) for row in read(path)] == rows
        with path.open(encoding="utf-8", newline="") as text:
            assert list(csv.reader(text)) == [["a", "b"], *rows]


def test_a_table_without_rows(tmp_path: Path) -> None:
    """Is a file without rows."""
    assert not published(tmp_path, "a.jsonl", []).read_bytes()
    (tmp_path / "a.jsonl").unlink()
    assert not published(tmp_path, "a.csv", []).read_bytes()
    (tmp_path / "a.csv").unlink()
    assert read(published(tmp_path, "a.parquet", [])) == []


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_row_that_cannot_be_read_again_is_told(tmp_path: Path, suffix: str) -> None:
    """The bug: a value just less deep than can be written, and deeper than can be read, made a table of the line."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    log = tmp_path / "a.partial"
    log.write_bytes(b'{"a":1}\n{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
    with pytest.raises(UsageError, match=r"a\.partial, line 2: this is not JSON \(maximum recursion"):
        publish(log, tmp_path / f"a.{suffix}")
    assert names(tmp_path) == ["a.partial"]


def test_as_parquet(tmp_path: Path) -> None:
    """Typed columns; numbers of both kinds are of the wider one."""
    pytest.importorskip("pyarrow")
    assert read(published(tmp_path, "a.parquet", ROWS)) == [
        {"id": 1, "text": 'a, "b"\nc', "tags": ["x", "y"], "sure": 0.5, "late": None},
        {"id": 2, "text": None, "tags": [], "sure": None, "late": True},
        {"id": 3, "text": "", "tags": None, "sure": 1.0, "late": None},
    ]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1, "two"], ["1", "two"]),
        ([None, None], [None, None]),
        ([{}, {}], ["{}", "{}"]),
        ([{"a": 1}, {"b": "x"}], [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        ([[], [None]], ["[]", "[null]"]),
        ([2**70, 1], [str(2**70), "1"]),
        ([True, 5], ["true", "5"]),
        ([0.5, True], ["0.5", "true"]),
        ([[0.5, True], None], ["[0.5,true]", None]),
        ([{"b": [0.5, True]}, None], ['{"b":[0.5,true]}', None]),
        ([[1], "x"], ["[1]", "x"]),
    ],
)
def test_columns_of_mixed_values(tmp_path: Path, values: list[Any], found: list[Any]) -> None:
    """A column whose values have no type in common holds texts."""
    pytest.importorskip("pyarrow")
    path = published(tmp_path, "a.parquet", [{"a": value} for value in values])
    assert [row["a"] for row in read(path)] == found


def test_types_that_come_late(tmp_path: Path) -> None:
    """A column that changes its type after the first 10,000 rows is still one column."""
    pytest.importorskip("pyarrow")
    rows = [{"a": 1}] * 10_000 + [{"a": "x", "b": 1}]
    found = read(published(tmp_path, "a.parquet", rows))
    assert found[0] == {"a": "1", "b": None}
    assert found[-1] == {"a": "x", "b": 1}


@pytest.mark.parametrize("last", [2.5, {"deep": 1.5}])
def test_a_long_number_is_not_rounded(tmp_path: Path, last: Any) -> None:
    """Numbers with a fraction that come after 10,000 rows make no double of a whole number that is too long for one."""
    pytest.importorskip("pyarrow")
    long: Any = {"deep": 2**53 + 1} if isinstance(last, dict) else 2**53 + 1
    rows = [{"a": long, "b": n} for n in range(10_000)] + [{"a": last, "b": 0.5}]
    found = read(published(tmp_path, "a.parquet", rows))
    texts = [
        value if isinstance(last, float) else json.loads(value)["deep"] for value in (found[0]["a"], found[-1]["a"])
    ]
    assert [float(texts[1]), int(texts[0])] == [last if isinstance(last, float) else 1.5, 2**53 + 1]
    assert (found[1]["b"], found[-1]["b"], len(found)) == (1.0, 0.5, 10_001)


def test_parquet_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra."""
    import fanfold.data

    monkeypatch.delattr(fanfold.data, "parquet", raising=False)
    monkeypatch.setitem(sys.modules, "fanfold.data.parquet", None)
    with pytest.raises(UsageError, match=r"install fanfold\[data\]"):
        open_rows(Path("a.parquet"))
