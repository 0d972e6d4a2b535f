"""The way of an entry to the disk: made in the loop, handed over once a turn, written on a thread."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError
from msgspec.structs import replace

from fanfold import Session, map_over, prompt, step
from fanfold.core.journaling import Folded
from fanfold.core.records import Call, Reply, Request, Usage, Watch
from fanfold.errors import JournalCorrupt, JournalError
from fanfold.journal import Journal
from fanfold.journal import store as stores
from fanfold.journal.looking import show
from fanfold.journal.points import armed
from fanfold.journal.worker import _STOP, Worker, Writer
from fanfold.testing import FakeModel
from tests.journal.books import MODEL, answered, begun, call, entries, recorded, request, with_journal

ASK = prompt("{input}")


class Counted(FakeModel):
    """Counts what it is asked."""

    asked = 0

    async def send(self, request: Request, watch: Watch) -> Reply:
        self.asked += 1
        return await super().send(request, watch)


def groups(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The kinds of the entries in each transaction, as they are written."""
    seen: list[list[str]] = []
    append = stores.append

    def watched(store: sqlite3.Connection, entries: list[Any]) -> None:
        if entries:
            seen.append([entry.kind for entry in entries])
        append(store, entries)

    monkeypatch.setattr(stores, "append", watched)
    return seen


def test_what_comes_in_one_turn_is_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies that are whole in the same turn of the loop are written and acknowledged together."""

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        await answered(book, "first")
        seen.clear()
        await asyncio.gather(*(answered(book, "x", nth=nth) for nth in range(300)))

    seen = groups(monkeypatch)
    with_journal(tmp_path / "j.db", work)
    assert seen == [["call"] * 300]


def test_a_new_run_begins_without_a_wait(tmp_path: Path) -> None:
    """A run that the journal surely does not know begins at once; its entry stands before those of its calls."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        beginning = asyncio.create_task(begun(journal))
        await asyncio.sleep(0)
        assert beginning.done()
        book = await beginning
        await answered(book, "x")
        book.end(None)

    with_journal(path, work)
    assert [entry.kind for entry in entries(path)] == ["run", "call", "end"]


def test_what_nobody_waits_for_is_written_with_what_somebody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginnings and ends of runs cost no transaction of their own: a reply is not to wait for one."""

    async def work(journal: Journal) -> None:
        for number in range(3):
            book = await begun(journal, key=str(number))
            await asyncio.sleep(0)  # a turn, at the end of which what is waited for would be handed over
            await answered(book, "x")
            book.end(None)

    seen = groups(monkeypatch)
    with_journal(tmp_path / "j.db", work)
    assert seen == [["run", "call"], ["end", "run", "call"], ["end", "run", "call"], ["end"]]


def test_and_else_by_itself_in_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes that is waited for, it is written all the same; how a fan ended is wanted at once."""

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        await _until(lambda: seen == [["run"]])
        handed = journal._owned()._handed
        book.keep_fan("run", 0, Folded((), (), "all", 0, 0))
        await asyncio.sleep(0)
        assert journal._owned()._handed == handed + 1  # at the end of its turn
        await _until(lambda: seen == [["run"], ["fan"]])

    seen = groups(monkeypatch)
    with_journal(tmp_path / "j.db", work)
    assert seen == [["run"], ["fan"]]


async def _until(done: Callable[[], bool]) -> None:
    for _ in range(5000):
        if done():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it was not written")


def test_equal_runs_that_begin_at_once_are_two(tmp_path: Path) -> None:
    """The first is new and does not wait, the others do: each has a number and a place in the log of its own."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> set[int]:
        books = await asyncio.gather(*(begun(journal) for _ in range(5)))
        return {book.run for book in books}

    assert with_journal(path, work) == {1, 2, 3, 4, 5}
    assert sorted(entry.nth for entry in entries(path)) == [0, 1, 2, 3, 4]
    assert with_journal(path, work) == {1, 2, 3, 4, 5}
    assert [entry.kind for entry in entries(path, "seq > 5 ORDER BY seq")] == ["again"] * 5


def test_numbers_of_runs_go_on(tmp_path: Path) -> None:
    """The next sitting's runs are numbered after those that stand in the file."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> int:
        return (await begun(journal)).run

    assert [with_journal(path, work, mode="record") for _ in range(3)] == [1, 2, 3]


def test_nothing_waits_at_rest(tmp_path: Path) -> None:
    """What was taken and is not written is counted, and is nothing once all is acknowledged."""

    async def work(journal: Journal) -> None:
        async def settled() -> None:
            for _ in range(2):  # when it is answered all before it is counted
                await journal._owned().ask(lambda _: None)

        book = await begun(journal)
        await settled()
        kept = asyncio.gather(*(answered(book, "x", nth=nth) for nth in range(5)))
        await asyncio.sleep(0)
        assert 5 <= journal.statistics().writer.waiting <= 6
        await kept
        await settled()
        assert journal.statistics().writer.waiting <= 1
        assert journal.statistics().writer.written == 6

    with_journal(tmp_path / "j.db", work)


def test_nothing_is_asked_in_vain(tmp_path: Path) -> None:
    """Once the journal has stopped, calls that wait for their turn are not sent: with one slot one reply is lost."""

    def fail() -> None:
        raise OSError(28, "No space left on device")

    async def main() -> int:
        model = Counted(["x"])
        async with Session(model, journal=tmp_path / "j.db", max_in_flight=1):
            with armed("before_commit", fail), pytest.raises(JournalError, match="No space left"):
                await map_over(ASK, on_error="skip").run(list("abcdefgh"))
        return model.asked

    assert asyncio.run(main()) == 1


def test_a_run_tells_of_a_call_what_the_journal_keeps(tmp_path: Path) -> None:
    """The record of a call that was sent once is the one in the file, but that the call ends when that is safe."""
    path = tmp_path / "j.db"

    async def main() -> Call:
        async with Session(FakeModel(["x"]), journal=path):
            return (await ASK.run("hello")).calls[0]

    told = asyncio.run(main())
    (kept,) = (info.call for info in show(path, 1).calls)
    assert told.ended > kept.ended
    assert replace(told, ended=kept.ended) == kept


def test_the_loop_never_touches_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every mode all that is done with the file is done on the journal's threads; on the loop it would raise."""

    @step(journal=True)
    async def kept(given: str) -> str:
        return given

    async def main(mode: Any) -> None:
        here = threading.get_ident()
        monkeypatch.setattr(stores, "append", lambda *given: (touched.append(threading.get_ident()), append(*given)))
        async with Session(FakeModel(["x"]), journal=Journal(tmp_path / "j.db", mode=mode)):
            await map_over(ASK).run(list("abc"), key="one")
            await kept.run("x", key="two")
        assert here not in touched

    append = stores.append
    touched: list[int] = []
    for mode in ("record", "resume", "replay", "cache"):
        asyncio.run(main(mode))
    assert touched

    async def blocks() -> None:
        stores.open_to_read(tmp_path / "j.db")

    with pytest.raises(BlockingError):
        asyncio.run(blocks())


def test_an_entry_that_cannot_be_made_stops_the_journal(tmp_path: Path) -> None:
    """What UTF-8 cannot say fails in the loop, and nothing is acknowledged any more."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        key = request().key()
        before = book.keep(book.digest(MODEL, key), key, call(), Reply(("good",), Usage(1, 1)))
        with pytest.raises(JournalError, match="cannot be written"):
            book.keep(book.digest(MODEL, key), key, call(nth=1), Reply(("\ud800",), Usage(1, 1)))
        with pytest.raises(JournalError, match="cannot be written"):
            book.check()
        with pytest.raises(JournalError):
            await before

    with_journal(path, work)


def test_new_files_have_large_pages(tmp_path: Path) -> None:
    """A page holds three entries of 2 KB; a file that has other pages keeps them."""
    path, old = tmp_path / "j.db", tmp_path / "old.db"
    store = sqlite3.connect(old)
    store.executescript("PRAGMA page_size = 4096; CREATE TABLE t (x); DROP TABLE t")
    store.close()
    for file in (path, old):
        recorded(file, "x")
    sizes = []
    for file in (path, old):
        store = stores.open_to_read(file)
        sizes.append(store.execute("PRAGMA page_size").fetchone()[0])
        store.close()
    assert sizes == [8192, 4096]


def test_damage_that_garbles_the_words_of_an_error_is_damage(tmp_path: Path) -> None:
    """SQLite quotes a damaged schema in what it raises, and that may be no text: it is JournalCorrupt all the same."""
    path = tmp_path / "j.db"
    recorded(path, "x")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE entries", b"CREATE \xda\xdbBLE entries"))
    with pytest.raises(JournalCorrupt):
        stores.open_to_write(path)
    error = UnicodeDecodeError("utf-8", b"\xda", 0, 1, "unexpected end of data")
    assert isinstance(stores.told(error, path), JournalCorrupt)


@pytest.mark.parametrize("kind", [Writer, Worker])
def test_who_comes_while_it_ends_is_refused(tmp_path: Path, kind: type[Worker]) -> None:
    """What was asked before the end is done, what comes after it is refused at once, and the thread ends.

    It took the end for a question where something came behind it in the same batch: the writer broke and kept its
    file locked, the reader died, and who closed it waited for ever.
    """

    async def work() -> None:
        owner = Writer(tmp_path / "j.db")
        await owner.start()
        worker = owner
        if kind is Worker:
            worker = kind(tmp_path / "j.db")
            await worker.start()
        busy = threading.Event()
        slow = worker.ask(lambda _: busy.wait(10))
        before = worker.ask(lambda _: "done")
        ends = [asyncio.create_task(worker.stop()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(JournalError, match="is closed"):
            worker.ask(lambda _: "too late")
        busy.set()
        assert (await slow, await before) == (True, "done")
        await asyncio.wait_for(asyncio.gather(*ends), 10)
        worker._thread.join(10)
        assert not worker._thread.is_alive()
        if worker is not owner:
            await owner.stop()

    asyncio.run(work())


def test_what_stands_behind_the_end_in_its_batch_is_refused(tmp_path: Path) -> None:
    """The thread knows its end wherever it stands among what has come."""

    async def work() -> None:
        writer = Writer(tmp_path / "j.db")
        await writer.start()
        busy = threading.Event()
        slow = writer.ask(lambda _: busy.wait(10))
        await asyncio.sleep(0)  # handed over: all that follows is one batch
        before, over, behind = (writer.loop.create_future() for _ in range(3))
        for item, waiting in ((lambda _: "done", before), (_STOP, over), (lambda _: "too late", behind)):
            writer._pass_on([(item, waiting)])
        busy.set()
        assert (await slow, await before) == (True, "done")
        with pytest.raises(JournalError, match="is closed"):
            await asyncio.wait_for(behind, 10)
        await asyncio.wait_for(over, 10)

    asyncio.run(work())


@pytest.mark.parametrize("path", ["a\0b", "a-folder"])
def test_a_path_that_is_none_is_an_error_and_no_wait(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with opening, the session says so: one with a NUL in its path waited for ever."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-folder").mkdir()

    async def work() -> None:
        async with Session(MODEL, journal=path):
            pass

    with pytest.raises(JournalError):
        asyncio.run(asyncio.wait_for(work(), 10))


@pytest.mark.parametrize("kind", [Writer, Worker])
def test_where_no_thread_may_begin_it_is_an_error_and_no_wait(
    tmp_path: Path, kind: type[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session whose process may have no more threads says so: it waited for the end of one that had not begun."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == kind.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    async def work() -> None:
        journal = Journal(tmp_path / "j.db")
        with monkeypatch.context() as changed:
            changed.setattr(threading.Thread, "start", refused)
            with pytest.raises(JournalError, match="can't start new thread"):
                await asyncio.wait_for(journal.open(), 10)
        await asyncio.wait_for(journal.open(), 10)  # nobody holds it
        await journal.close()

    asyncio.run(work())


def test_who_is_cancelled_while_a_file_fails_to_open_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation that comes as the file turns out to be none stays one, and nobody waits for the thread."""
    opens = threading.Event()

    def fail(self: Worker) -> sqlite3.Connection:
        opens.wait(10)
        raise JournalError("no journal")

    monkeypatch.setattr(Writer, "_open", fail)

    async def work() -> None:
        journal = Journal(tmp_path / "j.db")
        opening = asyncio.create_task(journal.open())
        await asyncio.sleep(0.01)
        opening.cancel()
        await asyncio.sleep(0)  # it has asked the thread to end, which still opens
        opens.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(opening, 10)

    asyncio.run(work())


def test_a_reader_outlives_a_question_that_raises_anything(tmp_path: Path) -> None:
    """An error that nobody foresaw is told to who asked, and the next question is answered."""

    async def work() -> None:
        owner = Writer(tmp_path / "j.db")
        await owner.start()
        reader = Worker(tmp_path / "j.db")
        await reader.start()

        def odd(_: sqlite3.Connection) -> None:
            raise LookupError("odd")

        with pytest.raises(JournalError, match="odd"):
            await asyncio.wait_for(reader.ask(odd), 10)
        assert await asyncio.wait_for(reader.ask(lambda _: 1), 10) == 1
        await reader.stop()
        await owner.stop()

    asyncio.run(work())
