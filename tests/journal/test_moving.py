"""Journals as lines, forgetting, and what people are shown."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fanfold.core.records import Reply, Usage
from fanfold.errors import JournalCorrupt, JournalError, JournalLocked, UsageError
from fanfold.journal import Journal, forgetting, looking, moving
from tests.journal.books import MODEL, answered, begun, call, entries, recorded, replied, request, with_journal
from tests.journal.patterns import Moody, document, ran
from tests.patterns.every import EVERY


def lines_of(path: Path) -> list[bytes]:
    return list(moving.export(path))


def test_lines_bring_a_journal_back(tmp_path: Path) -> None:
    """An export, imported into an empty journal, replays to the same document."""
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    ran(source, EVERY["plain"], model=Moody(4), mode="record")
    moving.bring_in(target, lines_of(source))
    assert document(ran(target, EVERY["plain"], mode="replay")) == document(ran(source, EVERY["plain"], mode="replay"))
    assert lines_of(target) == lines_of(source)


def test_imported_runs_are_runs_of_their_own(tmp_path: Path) -> None:
    """Brought into a journal that has runs, they keep apart from these, and the newest is replayed."""
    first, second = tmp_path / "a.db", tmp_path / "b.db"
    recorded(first, "of the first")
    recorded(second, "of the second")
    assert moving.bring_in(first, lines_of(second)) == 3
    assert [info.run for info in looking.runs_in(first).runs] == [1, 2]

    async def work(journal: Journal) -> str | None:
        return replied(await begun(journal))

    assert with_journal(first, work, mode="replay") == "of the second"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda lines: [lines[0], lines[1].replace(b'"step"', b'"stop"', 1)],
            "line 2: an entry of the journal is damaged",
        ),
        (lambda lines: [lines[0], b"nonsense\n"], "line 2 is not an exported entry"),
        (lambda lines: [lines[0], b'{"kind":"run"}\n'], "line 2 is not an exported entry"),
        (lambda lines: [], "there is not one line"),
        (lambda lines: lines[1:], "line 1 is not an exported entry"),
    ],
    ids=["edited", "nonsense", "incomplete", "empty", "headless"],
)
def test_what_is_no_export_is_refused_as_a_whole(tmp_path: Path, change: object, words: str) -> None:
    """A line that is not what was exported refuses the import: nothing of it is brought in."""
    source, target = tmp_path / "a.db", tmp_path / "b.db"
    recorded(source, "x")
    recorded(target, "y")
    before = entries(target)
    with pytest.raises(JournalCorrupt, match=words):
        moving.bring_in(target, change(lines_of(source)))
    assert entries(target) == before


def test_lines_of_a_newer_fanfold_are_refused(tmp_path: Path) -> None:
    """A format from the future is not guessed at."""
    with pytest.raises(JournalError, match="exported by a newer fanfold"):
        moving.bring_in(tmp_path / "a.db", [b'{"fanfold_journal":99}\n'])


def test_what_is_open_is_not_touched(tmp_path: Path) -> None:
    """Importing, forgetting and pruning need the journal's lock."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        for change in (
            lambda: moving.bring_in(path, []),
            lambda: forgetting.forget(path, run=1),
            lambda: forgetting.prune(path, 1),
        ):
            with pytest.raises(JournalLocked):
                await journal._owned().ask(lambda _, change=change: change())

    with_journal(path, work)


def test_what_is_forgotten_is_gone_from_every_byte(tmp_path: Path) -> None:
    """A run that was forgotten, by number or key, leaves no byte in the file or beside it; the others stay."""
    path = tmp_path / "j.db"
    words = {"row 1": "pelican", "row 2": "ostrich", "row 3": "bittern"}

    async def work(journal: Journal) -> None:
        for key, word in words.items():
            book = await begun(journal, key=key)
            await answered(book, f"{word} " * 300, asked=request(f"ask {word}"))
            book.end(None)

    def left() -> set[str]:
        data = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        return {word for word in words.values() if word.encode() in data}

    with_journal(path, work)
    assert left() == set(words.values())
    assert forgetting.forget(path, key="row 2") == 3
    assert left() == {"pelican", "bittern"}
    assert forgetting.forget(path, run=1) == 3
    assert left() == {"bittern"}
    assert moving.verify(path) == (3, 1, ())


def test_what_somebody_reads_cannot_be_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the file keeps its old pages alive: nothing is forgotten then, rather than only said to be."""
    monkeypatch.setattr("fanfold.journal.store.BUSY", 0)
    path = tmp_path / "j.db"
    recorded(path, "pelican " * 300, key="row 1")
    lines = moving.export(path)
    assert [next(lines), next(lines)]
    for change in (lambda: forgetting.forget(path, key="row 1"), lambda: forgetting.prune(path, 0.0)):
        with pytest.raises(JournalError, match="another program reads it"):
            change()
    assert len(list(lines)) == 2
    assert forgetting.forget(path, key="row 1") == 3
    assert not any(b"pelican" in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"run": 9}, "holds nothing of run 9"),
        ({"key": "no"}, "holds nothing of 'no'"),
        ({}, "say what to forget"),
        ({"key": ""}, "'' is no key"),
    ],
)
def test_what_is_not_there_cannot_be_forgotten(tmp_path: Path, what: dict[str, object], words: str) -> None:
    """A number or key that nothing has is a UsageError: whoever has to forget must know that he did."""
    path = tmp_path / "j.db"
    recorded(path, "x")
    with pytest.raises(UsageError, match=words):
        forgetting.forget(path, **what)
    assert len(looking.runs_in(path).runs) == 1


def test_old_runs_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in which nothing has happened for so long are gone, and no others."""
    path = tmp_path / "j.db"
    for when in (1000.0, 2000.0):
        monkeypatch.setattr("fanfold.journal.journal.wall", lambda when=when: when)
        monkeypatch.setattr("fanfold.journal.book.wall", lambda when=when: when)
        recorded(path, f"at {when}", key=str(when))
    monkeypatch.setattr("fanfold.journal.forgetting.wall", lambda: 2500.0)
    assert forgetting.prune(path, 1000) == 1
    assert [info.began for info in looking.runs_in(path).runs] == [2000.0]
    assert forgetting.prune(path, 1000) == 0


def test_old_runs_are_pruned_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are gone or none, in one transaction: thousands of them would else wait for the disk thousands of times."""
    path = tmp_path / "j.db"
    for number in range(5):
        recorded(path, "x", key=f"row {number}")
    said: list[str] = []

    @contextmanager
    def told(path: Path) -> Iterator[sqlite3.Connection]:
        with moving.owned(path) as store:
            store.set_trace_callback(said.append)
            yield store

    monkeypatch.setattr(forgetting, "owned", told)
    assert forgetting.prune(path, 0.0) == 5
    kinds = [one.split()[0] for one in said if one.split()[0] in {"BEGIN", "DELETE", "COMMIT"}]
    assert kinds == ["BEGIN", *["DELETE"] * 5, "COMMIT"]


def test_verify_names_what_is_damaged(tmp_path: Path) -> None:
    """Every entry is checked, and each damaged one named; the others count as whole."""
    path = tmp_path / "j.db"
    recorded(path, "one", "two", "three")
    assert moving.verify(path) == (5, 1, ())
    store = sqlite3.connect(path)
    store.execute("UPDATE entries SET body = replace(body, 'two', 'six')")
    store.commit()
    store.close()
    found = moving.verify(path)
    assert (found.entries, len(found.damaged)) == (4, 1)
    assert found.damaged[0].startswith("entry 3: an entry of the journal is damaged")
    assert "verify" not in found.damaged[0]


def test_a_checksum_that_is_no_bytes_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One flipped bit tells SQLite that its four bytes are a number: in a large file that ended in a traceback."""
    monkeypatch.setattr("fanfold.journal.store.CHECKED", 0)
    path = tmp_path / "j.db"
    recorded(path, "one")
    whole, bytes_of_four, number_of_four = path.read_bytes(), 0x14, 0x04
    told = []
    for offset in (at for at, byte in enumerate(whole) if byte == bytes_of_four):
        path.write_bytes(whole[:offset] + bytes([number_of_four]) + whole[offset + 1 :])
        told.append(str(moving.verify(path).damaged))
    assert sum("an entry of the journal is damaged" in one for one in told) >= 3


def test_runs_are_told_in_short(tmp_path: Path) -> None:
    """How often a run was taken up, how it ended, its calls, usage and cost."""
    path = tmp_path / "j.db"

    async def crash(journal: Journal) -> None:
        await answered(await begun(journal), "one")

    async def fail(journal: Journal) -> None:
        book = await begun(journal)
        key = request("again").key()
        failed = call("run", 0, state="error", error="StatusError: no")
        book.note(book.digest(MODEL, key), key, failed, ValueError("no"))
        book.end(ValueError("so it was"))

    with_journal(path, crash)
    (info,) = looking.runs_in(path).runs
    assert (info.ended, info.sittings, info.calls, info.failed) == (None, 1, 1, 0)
    with_journal(path, fail)
    (info,) = looking.runs_in(path).runs
    assert (info.ended, info.sittings, info.calls, info.failed) == ("error", 2, 1, 1)
    assert (info.usage, info.cost.usd) == (Usage(3, 5), 0.5)
    assert looking.show(path, 1).error == "ValueError: so it was"


def test_a_run_is_shown_in_full(tmp_path: Path) -> None:
    """Its calls with what was asked and answered, and how its fans ended."""
    path = tmp_path / "j.db"
    run = ran(path, EVERY["vote all"], model=Moody(1))
    shown = looking.show(path, 1)
    replies = [info.reply for info in shown.calls if info.reply is not None]
    assert len(replies) >= len(run.detail.ballots)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert shown.calls[0].messages[0]["content"].startswith("Pick:")
    (fan,) = shown.fans
    assert (fan["why"], len(fan["order"])) == ("all", len(run.detail.ballots))
    with pytest.raises(UsageError, match="holds no run 7"):
        looking.show(path, 7)
