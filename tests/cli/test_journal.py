"""The journal at the command: runs that resume and replay, and what there is to see, move and forget."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError

import msgspec
import pytest

from fanfold import Session, prompt
from fanfold.core.records import Draw, Reply, Usage
from fanfold.errors import UsageError
from fanfold.journal import Journal
from fanfold.testing import FakeModel
from fanfold.testing.server.recording import RecordingModel
from tests.cli.calling import Outcome, fanfold, file, finish, process
from tests.cli.test_mock import ask
from tests.journal.books import begun, call, recorded, request, with_journal
from tests.testing.asking import Heard


def vote(path: Path, *options: str, text: str = "hello") -> Outcome:
    return fanfold(
        *("vote", "Is this spam?", text, "--choices", "spam,ham", "-n", "5", "--model", "fake:"),
        *("--journal", str(path), *options),
    )


def test_a_run_of_the_command_resumes(tmp_path: Path) -> None:
    """The same command again asks nothing: its answers come from the journal, and it says so."""
    path = tmp_path / "j.db"
    first, again = vote(path, "--all"), vote(path, "--all")
    assert (first.code, again.code, again.out) == (0, 0, first.out)
    assert "5 from the journal" in again.err
    assert "journal" not in first.err


def test_a_run_of_the_command_replays(tmp_path: Path) -> None:
    """--journal-mode replay gives what was recorded, and a miss ends with exit code 1."""
    path = tmp_path / "j.db"
    first = vote(path, "--journal-mode", "record", "--json")
    again = vote(path, "--journal-mode", "replay", "--json")
    assert again.document["output"] == first.document["output"]
    assert all(call["replayed"] for call in again.document["calls"])
    missed = vote(path, "--journal-mode", "replay", text="never asked")
    assert missed.code == 1
    assert "ReplayMiss" in missed.err


PAID = """
class Paid(FakeModel):
    made_up = False
model = Paid(["an answer"] * 4, label="openai:gpt-4o-mini")
first, second = (prompt(f"{word} {{input}}", model=model) for word in ("one", "two"))
@step
async def main(text):
    await first(text)
    await second(text)
    raise ValueError("no")
"""


def test_a_run_that_fails_again(tmp_path: Path) -> None:
    """Of a run that goes on and fails, what was found and what was paid now are told apart, as when it ends well."""
    common = (file(tmp_path, PAID) + ":main", "x", "--journal", str(tmp_path / "j.db"))
    first, again = (fanfold("run", *common).err for _ in range(2))
    (paid,) = re.findall(r"until then: 2 of 2 calls answered, .*, cost (.*), ", first)
    assert float(paid[1:]) > 0
    assert "until then: 0 of 0 calls answered, 2 from the journal, " in again
    assert f", cost {paid} ($0.000000 of it now), " in again


def test_a_run_that_was_killed(tmp_path: Path) -> None:
    """Its cost is what had come: what was under way may be billed, and nobody could write that down."""
    path = tmp_path / "j.db"
    assert fanfold("run", file(tmp_path, PAID) + ":first", "x", "--journal", str(path)).code == 0
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("DELETE FROM entries WHERE kind = 'end'")  # as a kill leaves it
    listed = fanfold("runs", "--journal", str(path)).out
    assert "prompt: not ended, last heard of " in listed
    assert re.search(r", 1 call, cost \$0\.0+[1-9]\d* so far, beside what was under way\n$", listed)


def test_what_was_made_up_was_not_paid(tmp_path: Path) -> None:
    """A journal says so as the run did, and does not call its cost unknown."""
    path = tmp_path / "j.db"
    assert vote(path, "--all").code == 0
    assert fanfold("runs", "--journal", str(path)).out.endswith(": ok, 5 calls, made up, nothing was paid\n")
    assert fanfold("show", "1", "--journal", str(path)).out.count(": ok, made up\n") == 5


@pytest.mark.parametrize("mode", ["record", "cache", "replay"])
def test_a_mode_without_a_journal(mode: str) -> None:
    """What was to be replayed is not asked, and what was to be recorded is not lost, because nobody named the file."""
    done = fanfold("vote", "Is this spam?", "hello", "--model", "fake:", "--journal-mode", mode)
    assert (done.code, done.out) == (2, "")
    assert f"--journal-mode {mode} is for a journal: give --journal PATH" in done.told
    assert fanfold("vote", "Is this spam?", "hello", "--model", "fake:", "--journal-mode", "off").code == 0


@pytest.mark.parametrize(
    ("journal", "mode", "message"),
    [
        ("nowhere/j.db", "resume", "cannot be opened for writing: No such file or directory"),
        (".", "resume", "cannot be opened for writing: Is a directory"),
        ("text.db", "resume", "is no journal"),
        ("nowhere.db", "replay", "there is no journal"),
    ],
)
def test_a_journal_that_cannot_be_had(tmp_path: Path, journal: str, mode: str, message: str) -> None:
    """One line and exit code 1, and with --json a document that says the same."""
    (tmp_path / "text.db").write_text("what somebody wrote")
    done = vote(tmp_path / journal, "--journal-mode", mode)
    assert (done.code, done.out) == (1, "")
    assert message in done.told
    done = vote(tmp_path / journal, "--journal-mode", mode, "--json")
    assert done.code == 1
    assert done.told == f"fanfold: {done.document['error']['message']}"


def test_runs_are_listed_and_shown(tmp_path: Path) -> None:
    """`runs` lists them, `show` shows one with prompts and replies; both as JSON, too."""
    path = tmp_path / "j.db"
    vote(path, "--all")
    listed = fanfold("runs", "--journal", str(path))
    assert "vote: ok, 5 calls" in listed.out
    (info,) = fanfold("runs", "--journal", str(path), "--json").document["runs"]
    assert (info["name"], info["calls"]) == ("vote", 5)
    shown = fanfold("show", "1", "--journal", str(path))
    assert shown.out.count("asked: Is this spam? hello") == 5
    assert "fan at vote: 5 of 5 folded, all" in shown.out
    document = fanfold("show", "1", "--journal", str(path), "--json").document
    assert document["calls"][0]["reply"]["texts"]


def test_long_lists_of_runs_are_cut_and_searched(tmp_path: Path) -> None:
    """The newest 50 are shown and the rest counted; --last takes another number, --key finds the runs with a key."""
    path = tmp_path / "j.db"
    for n in range(53):
        recorded(path, "text", key=f"row {n}")
    listed = fanfold("runs", "--journal", str(path))
    assert listed.out.count("\n") == 50
    assert listed.told == "fanfold: 3 earlier runs are not shown; --last 0 shows all"
    assert "key 'row 52'" in listed.out.splitlines()[-1]
    assert fanfold("runs", "--journal", str(path), "--last", "0").out.count("\n") == 53
    found = fanfold("runs", "--journal", str(path), "--key", "row 1", "--json").document
    assert [(info["run"], info["key"]) for info in found["runs"]] == [(2, "row 1")]
    assert found["before"] == 0


def test_a_journal_is_moved_checked_and_forgotten(tmp_path: Path) -> None:
    """export, import, verify, forget and prune, each with one line that says what was done."""
    path, other, lines = (str(tmp_path / name) for name in ("j.db", "k.db", "lines.jsonl"))
    recorded(Path(path), "x" * 500, key="row 1")
    assert fanfold("journal", "export", path, "-o", lines).told == f"fanfold: wrote 4 lines to {lines}"
    assert fanfold("journal", "export", path).out == Path(lines).read_text()
    assert fanfold("journal", "export", path, "-o", "-").out == Path(lines).read_text()
    assert fanfold("journal", "import", other, lines).told == f"fanfold: brought 3 entries into {other}"
    assert fanfold("journal", "verify", other).told == "fanfold: 3 entries of 1 run are whole, 0 damaged"
    assert fanfold("runs", "--journal", other).out.count("key 'row 1'") == 1
    assert "forgot 3 entries" in fanfold("journal", "forget", other, "--key", "row 1").told
    assert b"xxxx" not in Path(other).read_bytes()
    assert "forgot 0 runs" in fanfold("journal", "prune", path, "--days", "1").told
    assert fanfold("show", "1", "--journal", path).out.endswith("…\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("runs", "--journal", "nowhere.db"), 2, "there is no journal nowhere.db"),
        (("journal", "verify", "nowhere.db"), 2, "there is no journal nowhere.db"),
        (("runs", "--journal", "."), 2, ". is a directory: give the journal's file"),
        (("journal", "import", "j.db", "nowhere.jsonl"), 2, "nowhere.jsonl cannot be read"),
        (("journal", "import", "j.db", "README"), 1, "JournalCorrupt: line 1 is not an exported entry"),
        (("show", "7", "--journal", "j.db"), 2, "holds no run 7"),
        (("show", "9" * 20, "--journal", "j.db"), 2, "holds no run 99999999999999999999"),
        (("journal", "forget", "j.db", "--run", "9" * 20), 2, "holds nothing of run 99999999999999999999"),
        (("journal", "forget", "j.db"), 2, "say what to forget"),
        (("journal", "prune", "j.db", "--days", "-1"), 2, "--days -1: it is a number of days, 0 or more"),
        (("journal", "prune", "j.db", "--days", "nan"), 2, "--days nan: it is a number of days"),
        (("journal", "export", "j.db", "-o", "nowhere/lines.jsonl"), 2, "nowhere/lines.jsonl cannot be written"),
        (("journal", "export", "j.db", "-o", "j.db"), 2, "j.db is the journal itself: give another file"),
        (("journal", "export", "j.db", "-o", "/dev/null"), 2, "/dev/null is no file: leave -o out for standard output"),
        (("runs", "--journal", "j.db", "--key", "row 7"), 0, "no run in j.db has the key 'row 7'"),
        (("mock", "--port", "0", "--recording", "nowhere.db"), 2, "--recording nowhere.db"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """A journal that is not there, not one, or holds no such thing: one line that says so, and the exit code."""
    monkeypatch.chdir(tmp_path)
    recorded(Path("j.db"), "x")
    Path("README").write_text("not lines\n")
    done = fanfold(*arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.told
    assert {path.name for path in tmp_path.iterdir()} - {"j.db", "j.db.lock", "README"} <= {"j.db-wal", "j.db-shm"}
    assert fanfold("journal", "verify", "j.db").code == 0


def test_damage_is_an_exit_code(tmp_path: Path) -> None:
    """`journal verify` ends with 1 where the file is damaged, and names it."""
    path = tmp_path / "j.db"
    recorded(path, "x" * 5000)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"xxxxxxxx", b"xxxxyxxx"))  # a page may hold what was moved out of it, too
    done = fanfold("journal", "verify", str(path))
    assert done.code == 1
    assert "2 entries of 1 run are whole, 1 damaged" in done.err


def test_a_recording_is_served(tmp_path: Path) -> None:
    """`fanfold mock --recording` answers what was asked before with what was answered, and else says 404."""
    path = tmp_path / "j.db"
    vote(path, "--all")
    lines = tmp_path / "lines.jsonl"
    fanfold("journal", "export", str(path), "-o", str(lines))
    said = json.loads(fanfold("show", "1", "--journal", str(path), "--json").out)["calls"][0]
    for recording in (path, lines):
        started = process("mock", "--port", "0", "--recording", str(recording))
        url = started.stdout.readline().decode().strip()
        reply = ask(url, "any", said["messages"][0]["content"])
        assert reply["choices"][0]["message"]["content"] == said["reply"]["texts"][0]
        with pytest.raises(HTTPError, match="404"):
            ask(url, "any", "never asked")
        started.terminate()
        finish(started)


def test_a_recording_gives_as_many_samples_as_are_asked_for(tmp_path: Path) -> None:
    """`n` is honoured, from the draw's sample on, whether they were recorded one by one or several in a reply."""
    path = tmp_path / "j.db"

    async def keep(journal: Journal) -> None:
        book = await begun(journal)
        for nth, texts in enumerate([("one",), ("two", "three")]):
            asked = request(n=len(texts))
            made = msgspec.structs.replace(call("run", nth), draw=Draw("run", nth, nth))
            await book.keep(book.digest("fake:", asked.key()), asked.key(), made, Reply(texts, Usage(3, 5)))

    with_journal(path, keep)

    model = RecordingModel(str(path))

    def said(n: int, ordinal: int) -> tuple[str, ...]:
        wanted = request(n=n, draw=Draw("run", 0, ordinal))
        return asyncio.run(model.send(wanted, Heard())).texts

    assert said(1, 1) == ("two",)
    assert said(2, 1) == ("two", "three")
    assert said(5, 0) == ("one", "two", "three", "one", "two")


def test_what_a_journal_takes_out_of_a_message_is_no_part_of_its_name(tmp_path: Path) -> None:
    """A message that holds a key is recorded without it, and is found with it."""
    path = tmp_path / "j.db"
    text = f"Is sk-{'a1' * 12} a key?"
    with Session(FakeModel(["It was."]), journal=path):
        prompt("{input}").run_sync(text)
    asked = request(text)
    assert asyncio.run(RecordingModel(str(path)).send(asked, Heard())).text == "It was."


def test_a_recording_without_replies_is_refused(tmp_path: Path) -> None:
    """A journal of digests cannot be served."""
    path = tmp_path / "j.db"
    recorded(path)
    with pytest.raises(UsageError, match="holds no replies"):
        RecordingModel(str(path))
