"""What was acknowledged is there; what cannot be kept stops the run."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fanfold import Session, prompt
from fanfold.errors import JournalError, JournalLocked
from fanfold.journal import Journal
from fanfold.journal.forgetting import prune
from fanfold.journal.moving import verify
from fanfold.journal.points import armed
from fanfold.journal.store import Standing
from fanfold.testing import FakeModel
from tests.journal.books import answered, begun, entries, recorded, replied, with_journal

CHILD = """
import asyncio, os, signal, sys
from fanfold.core.records import Call, Cost, Draw, Message, Reply, Request, Usage
from fanfold.journal import Journal
from fanfold.journal.points import armed

path, point, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def main():
    journal = Journal(path)
    await journal.open()
    book = await journal.begin("step", "1", b"given", None)
    print("open", flush=True)
    key = Request((Message("user", "hello"),)).key()
    for nth in range(10_000):
        made = Call(0, "run", "fake:", Draw("run", nth), "ok", 0, 0, None, 0, None, Cost())
        if nth == count and point != "wait":
            with armed(point, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                await book.keep(book.digest("fake:", key), key, made, Reply((str(nth),), None))
        if nth == count:
            await asyncio.sleep(30)
        await book.keep(book.digest("fake:", key), key, made, Reply((str(nth),), None))
        print(nth, flush=True)

asyncio.run(main())
"""


def child(path: Path, point: str, count: int) -> subprocess.Popen[str]:
    """A process that journals replies "0", "1", … and prints each that was acknowledged, then dies or waits."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), point, str(count)], stdout=subprocess.PIPE, text=True
    )


def there(path: Path, count: int) -> list[str | None]:
    """What a journal gives of the child's run."""

    async def work(journal: Journal) -> list[str | None]:
        book = await begun(journal)
        return [replied(book, nth=nth) for nth in range(count)]

    return with_journal(path, work)


@pytest.mark.parametrize(("point", "kept"), [("before_commit", 3), ("after_commit", 4)])
def test_a_kill_around_a_commit_loses_nothing_acknowledged(tmp_path: Path, point: str, kept: int) -> None:
    """Killed before a commit, everything before it is there; killed after it, the reply of that commit, too."""
    path = tmp_path / "j.db"
    with child(path, point, 3) as process:
        told = process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    assert told == ["open", "0", "1", "2"]
    assert there(path, 5) == [str(nth) if nth < kept else None for nth in range(5)]


@pytest.mark.long
def test_kills_at_any_moment_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """25 SIGKILLs at random moments: every reply that was acknowledged is there."""
    for number in range(25):
        path = tmp_path / f"{number}.db"
        with child(path, "wait", 9999) as process:
            assert process.stdout.readline() == "open\n"
            time.sleep(0.003 * number)
            process.kill()
            told = process.stdout.read().split()
        assert there(path, len(told)) == told


def test_a_second_process_is_refused_with_the_owners_pid(tmp_path: Path) -> None:
    """The second is refused within a second and told the owner's pid; once that is killed, it opens at once."""
    path = tmp_path / "j.db"
    with child(path, "wait", 1) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["open\n", "0\n"]
        began = time.monotonic()
        with pytest.raises(JournalLocked, match=f"process {process.pid}") as refused:
            with_journal(path, begun)
        assert time.monotonic() - began < 1
        assert refused.value.pid == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
        began = time.monotonic()
        assert there(path, 2) == ["0", None]
        assert time.monotonic() - began < 1


def test_a_second_process_is_refused_though_the_locks_file_is_gone(tmp_path: Path) -> None:
    """The bug: it made a lock's file of its own, and two processes wrote one journal."""
    path = tmp_path / "j.db"
    with child(path, "wait", 1) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["open\n", "0\n"]
        for _ in range(2):
            (tmp_path / "j.db.lock").unlink()
            with pytest.raises(JournalLocked, match="is open in another process"):
                with_journal(path, begun)
            with pytest.raises(JournalLocked):
                prune(path, 0.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert there(path, 2) == ["0", None]


def test_who_reads_a_journal_does_not_let_go_of_it(tmp_path: Path) -> None:
    """The owner's process may open and close it to read, and holds it all the same."""
    path = tmp_path / "j.db"

    async def work(_: Journal) -> None:
        journal = Journal(path, mode="replay")
        await journal.open()
        await journal.close()
        assert not (await asyncio.to_thread(verify, path)).damaged
        (tmp_path / "j.db.lock").unlink()
        with child(path, "wait", 1) as process:
            assert process.stdout.read() == ""
        assert process.returncode == 1

    recorded(path, "x")
    with_journal(path, work)


def test_replays_need_no_lock(tmp_path: Path) -> None:
    """Any number of replays may read a journal, also while it has an owner."""
    path = tmp_path / "j.db"
    recorded(path, "x")

    async def work(_: Journal) -> list[str | None]:
        said = []
        for _ in range(2):
            journal = Journal(path, mode="replay")
            await journal.open()
            said.append(replied(await begun(journal)))
            await journal.close()
        return said

    assert with_journal(path, work, mode="record") == ["x", "x"]


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    """A child that was forked and outlives the journal's owner keeps nobody out."""
    path = tmp_path / "j.db"
    program = f"""
import asyncio, os, time
from fanfold.journal import Journal
async def main():
    await Journal({str(path)!r}).open()
asyncio.run(main())
if os.fork() == 0:
    os.close(1)
    time.sleep(30)
print(os.getpgid(0), flush=True)
os._exit(0)
"""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        group = int(process.stdout.readline())
        process.wait()
        try:
            with_journal(path, begun)
        finally:
            os.killpg(group, signal.SIGKILL)


def failing(path: Path, *, at: int, action: object) -> list[str]:
    """Journal five replies; from number `at` on, the writer meets `action`. Gives what became of each."""
    told = []

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        for nth in range(5):
            try:
                if nth == at:
                    with armed("before_commit", action):
                        await answered(book, f"reply {nth}", nth=nth)
                else:
                    await answered(book, f"reply {nth}", nth=nth)
            except JournalError as error:
                told.append(str(error))
            else:
                told.append("kept")

    with_journal(path, work)
    return told


def raising(error: Exception) -> object:
    def fail() -> None:
        raise error

    return fail


def test_a_write_that_fails_is_the_last(tmp_path: Path) -> None:
    """When a commit fails, its call is refused, so is every one after it, and what was acknowledged before is there."""
    path = tmp_path / "j.db"
    told = failing(path, at=2, action=raising(OSError(5, "Input/output error")))
    assert told[:2] == ["kept", "kept"]
    assert all("Input/output error" in said for said in told[2:])
    assert there(path, 5) == ["reply 0", "reply 1", None, None, None]


def test_a_full_disk_stops_the_journal(tmp_path: Path) -> None:
    """A disk that is full is said in these words, and nothing acknowledged is lost."""
    path = tmp_path / "j.db"
    kept = 0

    async def work(journal: Journal) -> None:
        nonlocal kept
        book = await begun(journal)
        pages = await journal._owned().ask(lambda store: store.execute("PRAGMA page_count").fetchone()[0])
        await journal._owned().ask(lambda store: store.execute(f"PRAGMA max_page_count = {pages + 3}").fetchone())
        with suppress(JournalError):
            while kept < 1000:
                await answered(book, "x" * 500, nth=kept)
                kept += 1
        with pytest.raises(JournalError, match="the disk is full"):
            await answered(book, "small", nth=5000)

    with_journal(path, work)
    assert 3 < kept < 1000
    assert there(path, kept + 1) == ["x" * 500] * kept + [None]


def test_a_read_only_file_is_refused_at_once(tmp_path: Path) -> None:
    """A file that turns read-only is a JournalError at the next call, and nothing acknowledged is lost."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        await answered(book, "kept")
        await journal._owned().ask(_after)
        with pytest.raises(JournalError, match="SQLITE_READONLY"):
            await answered(book, "lost", nth=1)

    def _after(store: sqlite3.Connection) -> None:
        store.execute("PRAGMA query_only = ON")

    with_journal(path, work)
    assert there(path, 2) == ["kept", None]


def test_a_foreign_lock_is_refused_in_time(tmp_path: Path) -> None:
    """Another program that holds the file does not let a call wait for ever: JournalError after about a second."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        foreign = sqlite3.connect(path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(JournalError, match="another program holds it"):
            await answered(book, "lost")
        assert 0.5 < time.monotonic() - began < 3
        foreign.execute("ROLLBACK")
        foreign.close()

    with_journal(path, work)


def move(path: Path) -> None:
    """To another folder."""
    (path.parent / "elsewhere").mkdir()
    path.rename(path.parent / "elsewhere" / path.name)


def replace(path: Path) -> None:
    """By a copy, as a synchronizing program does."""
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (Path.unlink, r"j\.db was removed or moved away"),
        (move, r"j\.db was removed or moved away"),
        (replace, r"j\.db was replaced or cut short"),
        (lambda path: os.truncate(path, 0), r"j\.db was replaced or cut short"),
        (lambda path: path.with_name("j.db-wal").unlink(), r"j\.db-wal was removed or moved away"),
    ],
    ids=["removed", "moved", "replaced", "cut short", "its log removed"],
)
def test_a_file_that_is_lost_stops_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None], words: str
) -> None:
    """SQLite writes on into a file that was removed, and says nothing: the writer looks for it now and then."""
    path = tmp_path / "j.db"
    recorded(path, "an earlier run")
    monkeypatch.setattr("fanfold.journal.worker.LOOKED", 0.0)

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        await answered(book, "kept")
        harm(path)
        for nth in (1, 2):
            with pytest.raises(JournalError, match=words):
                await answered(book, "lost", nth=nth)

    with_journal(path, work)


def test_a_log_that_was_taken_into_its_file_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before a copy is made of the file alone: the log is empty then, and the journal goes on."""
    path = tmp_path / "j.db"
    monkeypatch.setattr("fanfold.journal.worker.LOOKED", 0.0)

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        await answered(book, "before")
        with sqlite3.connect(path) as store:
            assert store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        store.close()
        assert not path.with_name("j.db-wal").stat().st_size
        shutil.copy(path, tmp_path / "copy.db")
        await answered(book, "after", nth=1)

    with_journal(path, work)
    assert there(path, 2) == ["before", "after"]
    assert there(tmp_path / "copy.db", 1) == ["before"]


def test_the_writer_looks_for_its_file_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in a second of its entries' time, whichever way the clock is set meanwhile."""
    looks = 0

    def look(_: Standing) -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(Standing, "check", look)

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        for nth, at in enumerate([5.0, 5.5, 5.9, 6.0, 6.9, 3.0, 3.5]):
            monkeypatch.setattr("fanfold.journal.book.wall", lambda at=at: at)
            await answered(book, "kept", nth=nth)
        assert looks == 3

    with_journal(tmp_path / "j.db", work)
    assert looks == 4


def test_a_file_that_was_lost_is_told_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A session that was shorter than the time between two looks says it when it closes."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        await answered(await begun(journal), "kept")
        path.unlink()

    with_journal(path, work)
    assert "j.db was removed or moved away while it was open" in caplog.text


def test_who_has_it_open_may_go_to_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal with a relative path is the one that was opened."""
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fanfold.journal.worker.LOOKED", 0.0)

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        monkeypatch.chdir(tmp_path / "folder")
        await answered(book, "kept")

    with_journal(Path("j.db"), work)
    assert there(tmp_path / "j.db", 1) == ["kept"]


def test_an_entry_that_cannot_be_written_stops_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What UTF-8 cannot say cannot be kept: the call is refused, not acknowledged."""

    async def work(journal: Journal) -> None:
        with pytest.raises(JournalError, match="cannot be written"):
            await answered(await begun(journal), "\ud800")

    with_journal(tmp_path / "j.db", work)
    assert "an entry could not be written" in caplog.text


def test_a_cancelled_wait_loses_no_reply(tmp_path: Path) -> None:
    """Who stops waiting for the commit does not stop it."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        waits = asyncio.create_task(answered(book, "kept"))
        await asyncio.sleep(0)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits

    with_journal(path, work)
    assert there(path, 1) == ["kept"]


@pytest.mark.parametrize("ticks", [1, 2, 3, 5])
@pytest.mark.parametrize("times", [1, 3])
def test_a_close_that_is_cancelled_gives_the_file_free(tmp_path: Path, ticks: int, times: int) -> None:
    """Whoever is cancelled while a session closes has closed its journal when that is told."""
    path = tmp_path / "j.db"

    async def main() -> None:
        session = Session(FakeModel(), journal=path)
        await prompt("{input}").run("q", session=session)
        closing = asyncio.create_task(session.close())
        for _ in range(ticks):
            await asyncio.sleep(0)
        for _ in range(times):
            closing.cancel()
            await asyncio.sleep(0)
        (came,) = await asyncio.gather(closing, return_exceptions=True)
        assert came is None or isinstance(came, asyncio.CancelledError)
        async with Session(FakeModel(), journal=path):
            pass

    asyncio.run(main())
    assert len(entries(path, "kind = 'call'")) == 1


def test_a_journal_is_closed_though_the_connections_could_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong with the connections, or a cancellation there, leaves no file locked."""

    class Stuck:
        async def close(self) -> None:
            raise OSError("stuck")

    async def main() -> None:
        session = Session(FakeModel(), journal=tmp_path / "j.db")
        await session.open()
        monkeypatch.setattr(session, "_transport", Stuck())
        with pytest.raises(OSError, match="stuck"):
            await session.close()
        async with Session(FakeModel(), journal=tmp_path / "j.db"):
            pass

    asyncio.run(main())


def test_what_comes_after_the_end_is_refused(tmp_path: Path) -> None:
    """A closed journal takes nothing, and says so."""

    async def main() -> None:
        journal = Journal(tmp_path / "j.db")
        await journal.open()
        book = await begun(journal)
        await journal.close()
        with pytest.raises(JournalError, match="not open"):
            await answered(book, "late")

    asyncio.run(main())


def test_ends_of_runs_are_kept(tmp_path: Path) -> None:
    """How a run ended stands in the journal: ok, error, cancelled."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        for number, error in enumerate([None, ValueError("so"), asyncio.CancelledError()]):
            (await begun(journal, key=str(number))).end(error)

    with_journal(path, work)
    assert [entry.body for entry in entries(path, "kind = 'end' ORDER BY seq")] == [
        '{"how":"ok"}',
        '{"how":"error","error":"ValueError: so"}',
        '{"how":"cancelled"}',
    ]
