"""`fanfold map`: its options, what it says, its exit codes."""

import errno
import gc
import json
import os
import re
import signal
import time
from pathlib import Path

import msgspec
import pytest

from fanfold.calls.levels import LaneStatistics, LimitStatistics
from fanfold.cli.map_screen import MapLines, MapLive, MapScreen, duration, figures, map_screen
from fanfold.core.records import Cost
from fanfold.data.logs import Log
from fanfold.data.state import Spent
from fanfold.data.table import Standing
from fanfold.models.recordings import recordings
from fanfold.session import Session
from fanfold.testing import ModelServer
from tests.cli.calling import Outcome, fanfold, file
from tests.data.tables import column, names, read, write_rows

STEPS = """
import asyncio, os, signal
from pydantic import BaseModel

class Verdict(BaseModel):
    label: Literal["spam", "ham"]
    sure: bool

shout = prompt("Shout: {text}", model=FakeModel(["HEY"]))
judge = prompt("{input}", returns=Verdict, model="fake:")

@step
async def picky(row):
    if row["id"] in ("k1", "k3"):
        raise ValueError("not " + row["id"])
    return row["text"]

@step
async def stopped(row):
    if row["id"] == "k4":
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)
    return row["text"]
"""

MIXED = """
recorded = prompt("{question}", returns=Literal["A", "B", "C", "D"], model="recorded:gpt-35-turbo")
fake = prompt("{question}", returns=Literal["A", "B", "C", "D"], model="fake:")

@step
async def mixed(row):
    return await (fake if row["n"] else recorded)(row)
"""

ONE_BY_ONE = ("--max-in-flight", "1", "--no-journal")
"""A row at a time; with a journal one more begins while another is written."""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return write_rows(tmp_path / "work" / "in.jsonl", ({"id": f"k{at}", "text": f"row {at}"} for at in range(6)))


def mapped(table: Path, step: str, *options: str, out: str = "out.jsonl") -> Outcome:
    """The command on the table; the steps' file is in the folder above."""
    steps = file(table.parent.parent, STEPS)
    return fanfold("map", f"{steps}:{step}", str(table), "-o", str(table.parent / out), *options)


def test_the_collector_leaves_what_is_loaded_alone(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long map is not slowed down by what the process has loaded; a short one does without."""
    gc.unfreeze()
    assert mapped(table, "shout").code == 0
    assert gc.get_freeze_count() == 0
    monkeypatch.setattr("fanfold.cli.mapping.LOADED", 0.0)
    try:
        assert mapped(table, "shout", out="again.jsonl").code == 0
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_it_makes_a_table(table: Path) -> None:
    """Nothing on standard output, a summary beside it, exit code 0; the same again has nothing to do."""
    done = mapped(table, "shout")
    out = table.parent / "out.jsonl"
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"{out}: 6 rows\n6 calls, ")
    assert "made up, nothing was paid" in done.err
    assert read(out) == [{"id": f"k{at}", "text": f"row {at}", "output": "HEY"} for at in range(6)]
    again = mapped(table, "shout")
    assert (again.code, again.err) == (0, f"{out} is done: 6 rows; --restart makes it anew\n")
    assert mapped(table, "shout", "--quiet").err == ""
    assert mapped(table, "shout", "--restart").err.startswith(f"{out}: 6 rows\n6 calls, ")


def test_a_record_s_fields_are_columns(table: Path) -> None:
    """Of a typed output; --key comes first, --keep says what else of the input there is."""
    done = mapped(table, "judge", "--input", "text", "--keep", "text", "--key", "id", out="out.csv")
    assert done.code == 0
    rows = read(table.parent / "out.csv")
    assert list(rows[0]) == ["id", "text", "label", "sure"]
    assert {row["label"] for row in rows} <= {"spam", "ham"}
    assert {row["sure"] for row in rows} <= {"true", "false"}


def test_a_part_that_is_made_up_hides_no_cost(table: Path) -> None:
    """The bug: one row that a fake model answered, and nothing was said to be paid for all the others."""
    one = recordings("samples")[0]
    table.write_text(
        "".join(json.dumps({"n": n, "question": one.question, "letter": one.gold}) + "\n" for n in range(2))
    )
    steps = file(table.parent, MIXED)
    done = fanfold("map", f"{steps}:mixed", str(table), "-o", str(table.parent / "out.jsonl"))
    assert re.search(r"cost at least \$0\.000\d+ \+ made up, ", done.err)
    compared = fanfold("compare", f"{steps}:mixed", f"{steps}:fake", "--gold", str(table), "--answer", "letter").out
    mixed, fake, *_ = (line.split() for line in compared.splitlines() if line.startswith((" mixed ", " fake ")))
    assert mixed[4:6] == ["unknown", "unknown"]
    assert " ".join(fake[4:8]) == "made up made up"
    spent = Spent(2, cost=Cost(0.5, None), made_up=True, billed=True)
    standing = Standing(2, 0, 0, None, spent, Spent(), 1.0)
    assert figures(standing, Session("fake:").statistics())["cost"] == "cost at least $0.500000 + made up"


def test_only_some_rows(table: Path) -> None:
    """--limit and --sample; --as-finished writes the numbers."""
    assert mapped(table, "shout", "--limit", "2", out="a.jsonl").code == 0
    assert column(read(table.parent / "a.jsonl"), "id") == ["k0", "k1"]
    assert mapped(table, "shout", "--sample", "3", "--seed", "2", "--as-finished", out="b.jsonl").code == 0
    rows = read(table.parent / "b.jsonl")
    assert [f"k{row['row']}" for row in rows] == column(rows, "id")
    assert len(rows) == 3


def test_one_json_document(table: Path) -> None:
    """With --json what there is to say is one document."""
    said = mapped(table, "shout", "--json")
    assert said.err == ""
    found = said.document
    assert found["output"].endswith("out.jsonl")
    assert (found["rows"], found["failed"], found["before"], found["calls"]) == (6, 0, 0, 6)
    assert found["made_up"] is True
    assert found["failed_output"] is None
    assert mapped(table, "shout", "--json").document["before"] == 6


def test_a_failed_row_fails_it(table: Path) -> None:
    """Exit code 1, one line on why, and how it goes on."""
    done = mapped(table, "picky", *ONE_BY_ONE)
    assert done.code == 1
    why, kept, spent = done.err.splitlines()
    assert why == "fanfold: row 1 failed: ValueError: not k1 (steps.py:18) (--on-error skip would leave it out)"
    assert kept == f"1 row is kept in {table.parent / 'out.jsonl.partial'}; the same command goes on from there"
    assert spent.startswith("0 calls, ")
    again = mapped(table, "picky", "--on-error", "skip")
    failed = table.parent / "out.jsonl.failed.jsonl"
    assert again.code == 0
    rows = f"{table.parent / 'out.jsonl'}: 4 rows, 2 failed rows in {failed}, 1 of them before"
    assert again.err.startswith(f"{rows}; --reuse-unchanged asks the failed rows again\n")
    assert column(read(failed), "key") == ["1", "3"]


def test_failed_rows_of_a_table_that_is_done(table: Path) -> None:
    """It says how they are asked again: all of it need not be, unless nothing was kept of it."""
    assert mapped(table, "picky", "--on-error", "skip").code == 0
    again = mapped(table, "picky", "--on-error", "skip")
    assert again.told.endswith("; --reuse-unchanged asks the failed rows again, --restart all")
    assert mapped(table, "picky", "--on-error", "skip", "--no-journal").told.endswith("; --restart makes it anew")


def test_a_table_of_failures_is_a_failure(table: Path) -> None:
    """Exit code 1 where every row failed, now and when the command is given again; a table without rows is done."""
    asked = ("shout", "--input", "text", "--on-error", "skip")  # {text} is no field of a text
    done = mapped(table, *asked)
    assert (done.code, done.err.count("0 rows, 6 failed rows in ")) == (1, 1)
    assert mapped(table, *asked).code == 1
    table.write_text("")
    done = mapped(table, "shout", out="b.jsonl")
    assert (done.code, done.err.splitlines()[0]) == (0, f"{table.parent / 'b.jsonl'}: 0 rows")


def test_going_on_without_forgetting(table: Path) -> None:
    """A command that began anew is not to be given again as it was: that would forget what it did."""
    done = mapped(table, "picky", *ONE_BY_ONE, "--restart")
    kept = f"1 row is kept in {table.parent / 'out.jsonl.partial'}"
    assert done.err.splitlines()[1] == (
        f"{kept}; the same command without --restart, which would forget them, goes on from there"
    )


def test_a_full_disk_is_named(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file that was to be written, whether a row does not fit or the table that is made of all rows."""
    full = OSError(errno.ENOSPC, "No space left on device")
    words = f"fanfold: {table.parent / 'out.csv'} and the files beside it cannot be written: No space left on device"

    def write(*_: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", write)
        done = mapped(table, "shout", out="out.csv")
        assert (done.code, done.err.splitlines()[0]) == (1, words)
    with monkeypatch.context() as patch:
        patch.setattr("fanfold.data.formats.write_csv", write)
        done = mapped(table, "shout", out="out.csv")
        assert (done.code, done.err.splitlines()[0]) == (1, words)
        again = mapped(table, "shout", out="out.csv")
        assert (again.code, again.told) == (2, words)
    assert mapped(table, "shout", out="out.csv").code == 0
    assert len(read(table.parent / "out.csv")) == 6


def test_too_many_failures(table: Path) -> None:
    """--max-failures, with the document of what was done."""
    done = mapped(table, "picky", "--max-failures", "1", *ONE_BY_ONE, "--json", "--key", "id")
    assert done.code == 1
    last = "ValueError: not k3 (steps.py:18)"
    assert done.document["error"] == {
        "type": "RowError",
        "message": f"row 3 (key 'k3') failed: more than max_failures=1 rows failed; the last: {last}",
    }
    assert (done.document["rows"], done.document["failed"]) == (2, 2)
    told, kept = mapped(table, "picky", "--max-failures", "1", "--key", "id").err.splitlines()[:2]
    assert told.endswith("more than --max-failures 1: allow more, or let --reuse-unchanged ask them again")
    assert kept.endswith("; the same command with a larger --max-failures goes on from there")
    assert mapped(table, "picky", "--max-failures", "2", "--key", "id").code == 0


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_interrupted(table: Path, number: str, code: int) -> None:
    """128 + the signal, with what is kept; it goes on from there."""
    steps = file(table.parent.parent, STEPS.replace("SIGINT", number))
    command = [
        "map",
        f"{steps}:stopped",
        str(table),
        "-o",
        str(table.parent / "out.jsonl"),
        "--max-in-flight",
        "2",
        "--no-journal",
    ]
    done = fanfold(*command)
    assert done.code == code
    why, kept, _ = done.err.splitlines()
    assert why == "fanfold: interrupted"
    assert kept.startswith("4 rows are kept in ")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert column(read(table.parent / "out.jsonl.partial"), "id") == ["k0", "k1", "k2", "k3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-in-flight", "0"], "max_in_flight"),
        (["--limit", "0"], "--limit 0: it is a number of rows, 1 or more"),
        (["--limit", "1", "--sample", "1"], "give one of them"),
        (["--timeout", "-1"], "timeout=-1"),
        (["--max-failures", "-1"], "max_failures=-1"),
        (["--key", "uid"], "row 0 has no column 'uid', which --key names (it has: id, text)"),
        (["--input", "body"], " has no column 'body', which --input names (it has: id, text)"),
        (["--keep", "body"], " has no column 'body', which --keep names (it has: id, text)"),
    ],
)
def test_wrong_options(table: Path, options: list[str], message: str) -> None:
    """Exit code 2, and the reason."""
    done = mapped(table, "shout", *options)
    assert done.code == 2
    assert message in done.err.splitlines()[0]


def test_a_field_that_the_rows_lack(table: Path) -> None:
    """A prompt that names another column is the program's mistake, told by the first row."""
    steps = file(table.parent.parent, 'main = prompt("{body}", model="fake:")')
    done = fanfold("map", steps, str(table), "-o", str(table.parent / "out.jsonl"))
    assert done.code == 2
    assert "row 0 failed: TemplateError: the template names {body}, which its input does not have" in done.err


def test_files_that_cannot_be(table: Path) -> None:
    """An input that is not there, a format that is none, an output that is somebody else's."""
    steps = file(table.parent.parent, STEPS) + ":shout"
    assert "no.csv cannot be read" in fanfold("map", steps, "no.csv", "-o", str(table.parent / "a.csv")).told
    loop = table.parent.parent / "loop.csv"
    loop.symlink_to(loop)
    assert "loop.csv cannot be read" in fanfold("map", steps, str(loop), "-o", str(table.parent / "a.csv")).told
    assert "ends in .jsonl" in mapped(table, "shout", out="out.xlsx").told
    (table.parent / "mine.csv").write_text("precious")
    done = mapped(table, "shout", out="mine.csv")
    assert done.code == 2
    assert "not known as this command's" in done.told
    assert names(table.parent) == ["in.jsonl", "mine.csv"]


@pytest.mark.parametrize("options", [(), ("--restart",), ("--dry-run",)], ids=" ".join)
def test_the_input_is_never_written_over(table: Path, options: tuple[str, ...]) -> None:
    """An output that is the input, under whatever name, is refused, also where --restart would take any other."""
    before = table.read_bytes()
    (table.parent / "link.jsonl").symlink_to(table)
    for out in ("in.jsonl", "../work/in.jsonl", "link.jsonl"):
        done = mapped(table, "shout", *options, out=out)
        assert done.code == 2
        assert "is the input and would be written over: give another output" in done.told
    failed = table.rename(table.with_name("out.jsonl.failed.jsonl"))
    assert "would be written over" in mapped(failed, "shout", *options).told
    assert failed.read_bytes() == before


def test_an_output_that_is_a_link(table: Path) -> None:
    """The bug: the link was replaced, and who read what it leads to read the old rows. It may lead to another disk."""
    (table.parent / "disk").mkdir()
    for name in ("there.csv", "new.csv"):
        link, target = table.parent / f"link-{name}", table.parent / "disk" / name
        link.symlink_to(Path("disk", name))
        if name == "there.csv":
            target.write_text("old")
            assert "not known as this command's" in mapped(table, "shout", out=link.name).told
        for _ in range(2):
            assert mapped(table, "shout", "--restart", out=link.name).code == 0
        assert link.is_symlink()
        assert len(read(target)) == 6
    assert names(table.parent) == ["disk", "in.jsonl", "link-new.csv", "link-there.csv"]
    (table.parent / "loop.csv").symlink_to("loop.csv")
    done = mapped(table, "shout", out="loop.csv")
    assert (done.code, "loop.csv is a link that leads to itself" in done.told) == (2, True)


@pytest.mark.parametrize("target", ["there.jsonl", "blob"])
def test_an_output_that_is_a_link_to_another_format(table: Path, target: str) -> None:
    """The bug: a file of CSV by its name held lines of JSON, and nothing could read it."""
    (table.parent / target).write_text("old")
    (table.parent / "link.csv").symlink_to(target)
    done = mapped(table, "shout", out="link.csv")
    assert (done.code, f"{target}, which is no .csv by its name: give another output" in done.told) == (2, True)
    assert (table.parent / target).read_text() == "old"
    (table.parent / "link.jsonl").symlink_to("new.NDJSON")
    assert mapped(table, "shout", out="link.jsonl").code == 0
    assert len(read(table.parent / "new.NDJSON")) == 6


def test_a_table_that_stands_by_a_link_s_own_name(table: Path) -> None:
    """It was begun so by an earlier version, or was moved to another disk: what is paid is not paid again."""
    assert mapped(table, "shout", out="out.csv").code == 0
    (table.parent / "disk").mkdir()
    (table.parent / "out.csv").rename(table.parent / "disk" / "out.csv")
    (table.parent / "out.csv").symlink_to(Path("disk", "out.csv"))
    assert mapped(table, "shout", out="out.csv").code == 0
    assert names(table.parent / "disk") == ["out.csv"]


def test_an_output_that_cannot_be_made(table: Path) -> None:
    """A directory that is not there, or that is none, is told in one line."""
    done = mapped(table, "shout", out="no/where/out.csv")
    assert done.code == 2
    assert done.told.endswith("no/where: make it, or give another output")
    (table.parent / "folder.csv").mkdir()
    for options in ((), ("--restart",), ("--dry-run",)):
        done = mapped(table, "shout", *options, out="folder.csv")
        assert done.told.endswith("folder.csv is a directory: give the name of a file for the output")
        assert done.code == 2
    os.mkfifo(table.parent / "pipe.csv")
    done = mapped(table, "shout", "--restart", out="pipe.csv")
    assert (done.code, done.told.endswith("pipe.csv is no file: give the name of a file for the output")) == (2, True)
    assert (table.parent / "pipe.csv").is_fifo()  # the bug: a file took its place, and who read it waited on
    (table.parent / "out.csv.partial").mkdir()
    done = mapped(table, "shout", out="out.csv")
    assert done.code == 2
    assert "Is a directory" in done.told


def test_a_beginning_without_rows_binds_to_nothing(table: Path) -> None:
    """Where no row has come of a command, another one with the same output just begins: here the model was misspelt."""
    steps = file(table.parent.parent, 'main = prompt("{text}")')
    command = ["map", steps, str(table), "-o", str(table.parent / "out.jsonl")]
    assert "unknown provider 'fke'" in fanfold(*command, "--model", "fke:a").told
    assert fanfold(*command, "--model", "fake:").code == 0
    assert len(read(table.parent / "out.jsonl")) == 6


def test_a_changed_model_is_told(table: Path) -> None:
    """Another --model makes another table."""
    steps = file(table.parent.parent, 'main = prompt("{text}")')
    command = ["map", steps, str(table), "-o", str(table.parent / "out.jsonl")]
    assert fanfold(*command, "--model", "fake:a").code == 0
    done = fanfold(*command, "--model", "fake:b")
    assert done.code == 2
    assert "changed since: the model (fake:a before, fake:b now). Use --reuse-unchanged" in done.told


def test_what_a_file_prints_is_no_document(table: Path) -> None:
    """Standard output holds the document alone."""
    steps = file(table.parent.parent, 'print("hello")\nmain = prompt("{text}", model="fake:")')
    done = fanfold("map", steps, str(table), "-o", str(table.parent / "out.jsonl"), "--json")
    assert json.loads(done.out)["rows"] == 6
    assert done.err == "hello\n"


# -- money --------------------------------------------------------------------------------------------------------

PRICED = """
main = prompt("{text}", max_tokens=10, model=OpenAI(name="m", base_url=URL, api_key="k", price=(1000.0, 1000.0)))
"""


def priced(table: Path, url: str) -> str:
    """A step whose calls cost something: USD 1,000 a million tokens."""
    return file(table.parent.parent, f"URL = {url!r}\n{PRICED}")


def test_a_dry_run_sends_nothing(table: Path) -> None:
    """What all rows would take, at least and at most, and whether the budget covers that; no file is made."""
    with ModelServer("fake") as server:
        command = ["map", priced(table, server.url), str(table), "-o", str(table.parent / "out.csv"), "--dry-run"]
        said = fanfold(*command)
        assert said.code == 0
        rows, estimate = said.out.splitlines()
        assert rows == "6 rows:"
        assert estimate.startswith("6 calls, ")
        found = fanfold(*command, "--budget", "0.01", "--json").document
        assert server.statistics().requests == 0
    assert (found["rows"], found["sampled"], found["estimate"]["calls"]) == (6, 6, {"at_least": 6, "at_most": 6})
    assert found["budget"] == 0.01
    assert found["covered"] is False
    assert names(table.parent) == ["in.jsonl"]


def test_a_dry_run_looks_at_some_rows(tmp_path: Path) -> None:
    """Of a long table it estimates a hundred rows, and says so."""
    (tmp_path / "work").mkdir()
    table = write_rows(tmp_path / "work" / "in.jsonl", ({"text": "x" * 40} for _ in range(1000)))
    steps = file(tmp_path, 'main = vote(prompt("{text}", model="fake:", max_tokens=5), 3, stop=None)')
    said = fanfold("map", steps, str(table), "-o", str(tmp_path / "out.csv"), "--dry-run").out.splitlines()
    assert said[0] == "1,000 rows, by 100 of them:"
    assert said[1].startswith("3000 calls, ")


def test_a_budget_is_for_all_of_the_table(table: Path) -> None:
    """It ends the map before it is passed; what earlier runs cost counts; a larger one goes on."""
    with ModelServer(lambda _: "word " * 5, price=(1000.0, 1000.0)) as server:
        out = table.parent / "out.jsonl"
        command = ["map", priced(table, server.url), str(table), "-o", str(out), *ONE_BY_ONE, "--json"]
        ended = fanfold(*command, "--budget", "0.06")
        assert ended.code == 1
        assert ended.document["error"]["type"] == "BudgetError"
        kept = ended.document["rows"]
        assert 0 < kept < 6
        spent = server.bill.usd
        assert ended.document["cost"]["usd"] == pytest.approx(spent)
        assert spent <= 0.06
        again = fanfold(*command, "--budget", "0.06")
        assert again.code == 1
        assert f"(of --budget 0.06 earlier runs may have cost ${spent:.6f})" in again.document["error"]["message"]
        assert server.bill.usd <= 0.06
        done = fanfold(*command, "--budget", "5")
        assert done.code == 0
        assert done.document["rows"] == 6
        assert done.document["cost_with_earlier_runs"]["at_least"] == pytest.approx(server.bill.usd)
        assert server.statistics().requests == 6


# -- the screen -----------------------------------------------------------------------------------------------------

STANDING = Standing(1200, 34, 100, 10_000, Spent(1134, 7, cost=Cost(0.5, 0.5)), Spent(cost=Cost(0.1, 0.1)), 20.0)


def test_what_the_screen_says() -> None:
    """Rows, rate, time left, cost so far and in all, refusals, calls in flight."""
    assert figures(STANDING, Session("fake:").statistics()) == {
        "rows": "1,234 of 10,000 (12%) rows, 34 failed",
        "rate": "56.7 rows/s, 2 min 35 s left",
        "cost": "cost $0.600000, about $4.47 for all",
        "calls": "0 of 64 calls in flight",
        "refused": "7 × 429",
    }
    guessed = msgspec.structs.replace(STANDING, exact=False)
    assert figures(guessed, Session("fake:").statistics())["rows"] == "1,234 of about 10,000 (12%) rows, 34 failed"
    little = Standing(0, 0, 0, None, Spent(made_up=True), Spent(), 0.0)
    assert list(figures(little, Session("fake:").statistics()).values()) == [
        "0 rows",
        "0.0 rows/s",
        "made up, nothing is paid",
        "0 of 64 calls in flight",
    ]


def test_what_holds_the_calls_back_is_said() -> None:
    """A pause after a 429, a server that is down, and every limit with what is used of it."""
    limits = (
        LimitStatistics("requests", 500.0, 60.0, "headers", 480.2, 3.0),
        LimitStatistics("tokens", 9e4, 60.0, "learned"),
    )
    lane = LaneStatistics("openai:m", 12, 5, 40, limits, 2.4, 7.0, 900, 3, 1, 0, "a pause")
    idle = msgspec.structs.replace(lane, limits=(), paused=0.0, down=None)
    statistics = msgspec.structs.replace(Session("fake:").statistics(), lanes=(lane, idle))
    assert figures(STANDING, statistics)["limits"] == (
        "openai:m: 12 of 40 out, paused 2 s, down for 7 s, 480 of 500 requests in 60 s (headers), "
        "90,000 tokens in 60 s (learned)"
    )


def test_rates_are_kept(table: Path) -> None:
    """--rpm holds the calls back, as in the other commands."""
    with ModelServer("fake") as server:
        steps = file(table.parent.parent, f'main = prompt("{{text}}", model=OpenAI(name="m", base_url={server.url!r}))')
        command = ["map", steps, str(table), "-o", str(table.parent / "out.jsonl"), "--json"]
        assert fanfold(*command, "--rpm", "0").code == 2
        began = time.monotonic()
        assert fanfold(*command, "--rpm", "240").code == 0
        assert time.monotonic() - began > 0.3


@pytest.mark.parametrize(("seconds", "text"), [(5.4, "5 s"), (125.0, "2 min 5 s"), (7500.0, "2 h 5 min")])
def test_durations(seconds: float, text: str) -> None:
    """As people say them."""
    assert duration(seconds) == text


class Paper:
    """An output that is a terminal or none."""

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self.text = ""
        self.encoding = "utf-8"

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return self.terminal


def test_a_screen_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live on a terminal, lines without one, nothing when quiet."""
    monkeypatch.setenv("TERM", "xterm")
    statistics = Session("fake:").statistics()
    live, lines = Paper(terminal=True), Paper(terminal=False)
    with map_screen(live, "shout: a > b", quiet=False) as screen:
        assert isinstance(screen, MapLive)
        screen.show(STANDING, statistics)
        screen.live.refresh()
    assert "1,234 of 10,000" in live.text
    assert "shout: a > b" in live.text
    with map_screen(lines, "", quiet=False) as screen:
        assert isinstance(screen, MapLines)
        screen.show(STANDING, statistics)
    assert lines.text.startswith("1,234 of 10,000 (12%) rows, 34 failed · 56.7 rows/s, ")
    assert lines.text.count("\n") == 1
    with map_screen(lines, "", quiet=True) as screen:
        assert type(screen) is MapScreen
        screen.show(STANDING, statistics)


def test_it_is_shown_while_it_runs(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line every so often."""
    monkeypatch.setattr(MapLines, "every", 0.02)
    steps = file(table.parent.parent, 'main = prompt("{text}", model=FakeModel(latency=0.1))')
    done = fanfold("map", steps, str(table), "-o", str(table.parent / "out.jsonl"), "--max-in-flight", "2")
    assert done.err.count("rows/s, ") >= 3
    assert "2 of 2 calls in flight" in done.err
