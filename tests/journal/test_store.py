"""The file: how it is opened, who may have it, what stands in it."""

import asyncio
import logging
import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from fanfold.errors import ConnectError, JournalError, JournalLocked, LoopError, UsageError
from fanfold.journal import Journal
from fanfold.journal import store as stores
from fanfold.journal.book import found_in
from fanfold.journal.entries import Entry, digest_of
from fanfold.journal.journal import NEWEST, SITTING
from fanfold.journal.known import Known
from fanfold.journal.moving import verify
from fanfold.journal.worker import Worker, Writer
from tests.journal.books import answered, begun, call, entries, found, recorded, replied, request, with_journal

FIXTURES = Path(__file__).parent / "fixtures"


def test_what_was_answered_is_found_again(tmp_path: Path) -> None:
    """A reply that was acknowledged is found by the next sitting, by its place, its number and its request."""
    path = tmp_path / "j.db"
    recorded(path, "one", "two")

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        assert [replied(book, nth=nth) for nth in range(3)] == ["one", "two", None]
        assert found(book, asked=request("other")) is None
        assert found(book, place="elsewhere") is None

    with_journal(path, work)


def test_a_reply_is_given_once(tmp_path: Path) -> None:
    """What was given is not held any longer."""
    path = tmp_path / "j.db"
    recorded(path, "one")

    async def work(journal: Journal) -> list[str | None]:
        book = await begun(journal)
        return [replied(book), replied(book)]

    assert with_journal(path, work) == ["one", None]


def test_many_keyed_runs_that_begin_at_once_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the rows of a map do, whether the journal knows their keys or not; each finds what it was answered."""
    written: list[int] = []
    texts: list[list[str | None]] = []
    append = stores.append

    def counted(store: sqlite3.Connection, entries: list[Entry]) -> None:
        written.append(len(entries))
        append(store, entries)

    async def work(journal: Journal) -> int:
        written.clear()
        books = await asyncio.gather(*(begun(journal, key=f"row {at}") for at in range(100)))
        writes = len(written)
        texts.append([replied(book) for book in books])
        await asyncio.gather(*(answered(book, f"answer {at}") for at, book in enumerate(books) if not texts[0][at]))
        for book in books:
            book.end(None)
        return writes

    monkeypatch.setattr(stores, "append", counted)
    assert all(with_journal(tmp_path / "j.db", work) <= 20 for _ in range(2))
    assert texts == [[None] * 100, [f"answer {at}" for at in range(100)]]


def test_a_key_that_ended_a_moment_ago(tmp_path: Path) -> None:
    """A run that begins with the key of one whose end is not written yet finds all of it."""

    async def work(journal: Journal) -> str | None:
        for key in ("other", "mine"):
            book = await begun(journal, key=key)
            await answered(book, f"for {key}")
            book.end(None)
        return replied(await begun(journal, key="mine"))

    assert with_journal(tmp_path / "j.db", work) == "for mine"


def test_what_is_known_is_never_forgotten() -> None:
    """Every digest that was added is known; of those that were not, hardly one is taken for known."""
    known = Known()
    digests = [digest_of(str(at).encode()) for at in range(20_000)]
    assert sum(known.add(digest) for digest in digests[:10_000]) <= 1
    assert all(known.add(digest) for digest in digests[:10_000])
    assert sum(known.add(digest) for digest in digests[10_000:]) <= 1


@pytest.mark.parametrize("question", [NEWEST, SITTING])
def test_a_run_is_found_without_reading_the_file(question: str) -> None:
    """Each run that begins looks for its like by an index: a map of a million rows does so a million times."""
    store = sqlite3.connect(":memory:")
    store.executescript(stores.migrations()[0])
    (plan,) = store.execute(f"EXPLAIN QUERY PLAN {question}", (b"", 0)).fetchall()
    assert "USING INDEX runs_by_digest" in plan[3]
    store.close()


def test_many_that_write_at_once_share_a_commit(tmp_path: Path) -> None:
    """A hundred replies at the same moment cost few transactions, not a hundred."""

    async def work(journal: Journal) -> int:
        book = await begun(journal)
        await answered(book, "before", nth=100)
        before = journal.statistics().writer
        await asyncio.gather(*(answered(book, "x", nth=nth) for nth in range(100)))
        after = journal.statistics().writer
        assert after.written - before.written == 100
        return after.commits - before.commits

    assert with_journal(tmp_path / "j.db", work) <= 20


def test_the_files_are_for_the_owner_only(tmp_path: Path) -> None:
    """The database, its WAL, its index and the lock have mode 0600, whatever the umask; a laxer one is tightened."""
    path = tmp_path / "j.db"
    path.touch(0o666)

    async def work(journal: Journal) -> None:
        await answered(await begun(journal), "x")
        check()

    def check() -> None:
        names = {file.name for file in tmp_path.iterdir()}
        assert names == {"j.db", "j.db-wal", "j.db-shm", "j.db.lock"}
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    with_journal(path, work)


def test_a_closed_journal_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader may be slow to go: the writer closes after it, and so moves the log into the file."""
    path = tmp_path / "j.db"
    written = threading.Event()

    def slow(_: Worker, store: sqlite3.Connection) -> None:
        written.wait(0.2)
        store.close()

    def last(writer: Writer, store: sqlite3.Connection) -> None:
        closed(writer, store)
        written.set()

    closed = Writer._close
    monkeypatch.setattr(Worker, "_close", slow)
    monkeypatch.setattr(Writer, "_close", last)
    recorded(path, "x")
    assert {file.name for file in tmp_path.iterdir()} <= {"j.db", "j.db.lock"}


def test_the_log_is_durable_wal(tmp_path: Path) -> None:
    """The writer's connection is in WAL mode with synchronous FULL, and seldom stops to empty the log."""

    async def work(journal: Journal) -> tuple[str, int, int]:
        return await journal._owned().ask(
            lambda store: (
                store.execute("PRAGMA journal_mode").fetchone()[0],
                store.execute("PRAGMA synchronous").fetchone()[0],
                store.execute("PRAGMA wal_autocheckpoint").fetchone()[0],
            )
        )

    assert with_journal(tmp_path / "j.db", work) == ("wal", 2, 4096)


def test_readers_cannot_write(tmp_path: Path) -> None:
    """The reading connection refuses to write."""
    path = tmp_path / "j.db"
    recorded(path, "x")
    store = stores.open_to_read(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.execute("DELETE FROM entries")
    store.close()


def test_a_second_journal_of_this_process_is_refused(tmp_path: Path) -> None:
    """Two journals on one file are refused in one process, too, and the words say what to do."""

    async def work(journal: Journal) -> None:
        with pytest.raises(JournalLocked, match="share one Journal object"):
            await Journal(journal.path).open()

    with_journal(tmp_path / "j.db", work)


def test_a_link_to_a_journal_is_that_journal(tmp_path: Path) -> None:
    """Who has it open by its name keeps others from it that come by a link, and the other way round."""
    (tmp_path / "here").mkdir()
    path, link = tmp_path / "j.db", tmp_path / "here" / "link.db"
    recorded(path, "x")
    link.symlink_to(path)

    async def work(journal: Journal) -> None:
        for other in {path, link} - {journal.path}:
            with pytest.raises(JournalLocked):
                await Journal(other).open()

    with_journal(path, work)
    with_journal(link, work)
    assert not list((tmp_path / "here").glob("*.lock"))


def test_a_link_to_a_journal_that_nobody_may_write_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the folder of the file, not that of the link: SQLite puts its companions beside the file."""
    (tmp_path / "mounted").mkdir()
    path, link = tmp_path / "mounted" / "j.db", tmp_path / "link.db"
    recorded(path, "x")
    link.symlink_to(path)
    monkeypatch.setattr("os.access", lambda folder, _: Path(folder) != path.parent)
    store = stores.open_to_read(link)
    assert stores.number(store, "SELECT count(*) FROM entries") == 3
    assert {file.name for file in path.parent.iterdir()} == {"j.db", "j.db.lock"}
    store.close()


def test_it_opens_again_after_it_was_closed(tmp_path: Path) -> None:
    """One Journal object can be opened, closed and opened again."""

    async def main() -> None:
        journal = Journal(tmp_path / "j.db")
        for _ in range(2):
            await journal.open()
            await answered(await begun(journal), "x")
            await journal.close()

    asyncio.run(main())


def test_another_loop_is_refused_while_it_is_open(tmp_path: Path) -> None:
    """Its threads belong to the loop that opened it: another one is told so, and may have it afterwards."""

    async def work(journal: Journal) -> Journal:
        with pytest.raises(LoopError, match="is open in another event loop"):
            await asyncio.to_thread(asyncio.run, journal.open())
        await answered(await begun(journal), "x")
        return journal

    async def later(journal: Journal) -> None:
        await journal.open()
        await journal.close()

    asyncio.run(later(with_journal(tmp_path / "j.db", work)))


def test_the_last_of_its_users_closes_it(tmp_path: Path) -> None:
    """A journal that two share stays open until both have closed it."""

    async def work(journal: Journal) -> None:
        await journal.open()
        await journal.close()
        await answered(await begun(journal), "x")

    with_journal(tmp_path / "j.db", work)


def test_statistics_are_zero_at_rest(tmp_path: Path) -> None:
    """No run is under way, and nothing waits, once every run has ended."""

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        assert journal.statistics().runs == 1
        book.end(None)
        assert journal.statistics().runs == 0

    with_journal(tmp_path / "j.db", work)


def test_another_database_is_refused(tmp_path: Path) -> None:
    """A SQLite file that is no journal is left alone."""
    path = tmp_path / "j.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    path.chmod(0o664)
    with pytest.raises(JournalError, match="not a journal of fanfold"):
        recorded(path, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o664  # others may need it


@pytest.mark.parametrize("path", ["nowhere/j.db", "."])
def test_a_path_that_cannot_be_is_named(tmp_path: Path, path: str) -> None:
    """A folder that is not there, or a folder in place of a file, is one clear error."""
    with pytest.raises(JournalError, match="cannot be opened for writing"):
        recorded(tmp_path / path, "x")


def test_a_journal_of_a_newer_fanfold_is_refused(tmp_path: Path) -> None:
    """A schema from the future is not guessed at."""
    path = tmp_path / "j.db"
    recorded(path, "x")
    store = sqlite3.connect(path)
    store.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(JournalError, match="written by a newer fanfold"):
        recorded(path, "x")


@pytest.mark.parametrize("fixture", sorted(FIXTURES.glob("schema-*.db")), ids=lambda path: path.stem)
def test_journals_of_every_schema_open(tmp_path: Path, fixture: Path) -> None:
    """A journal of every released schema opens, is brought up to date, and gives its replies."""
    path = tmp_path / "j.db"
    shutil.copy(fixture, path)

    async def work(journal: Journal) -> str | None:
        return replied(await begun(journal))

    assert with_journal(path, work) == "an answer of old"
    store = sqlite3.connect(path)
    assert store.execute("PRAGMA user_version").fetchone()[0] == len(stores.migrations())
    store.close()


@pytest.mark.parametrize("fixture", sorted(FIXTURES.glob("schema-*.db")), ids=lambda path: path.stem)
def test_journals_of_every_schema_replay_as_they_are(tmp_path: Path, fixture: Path) -> None:
    """Who only reads a journal of an older schema need not have it changed: a recording beside tests, say."""
    path = tmp_path / "j.db"
    shutil.copy(fixture, path)
    before = path.read_bytes()

    async def work(journal: Journal) -> str | None:
        return replied(await begun(journal))

    assert with_journal(path, work, mode="replay") == "an answer of old"
    assert path.read_bytes() == before
    assert verify(path).damaged == ()


def test_a_journal_is_continued_across_schemas(tmp_path: Path) -> None:
    """Entries of both kinds of checksum stand in one file, and each is held against its own."""
    path = tmp_path / "j.db"
    shutil.copy(FIXTURES / "schema-1.db", path)

    async def work(journal: Journal) -> None:
        await answered(await begun(journal), "an answer of today", nth=1)

    with_journal(path, work)
    assert [len(entry.checksum) for entry in entries(path)] == [16, 16, 16, 4, 4]
    store = sqlite3.connect(path)
    store.execute("UPDATE entries SET body = replace(body, 'an answer of', 'no answer of')")
    store.commit()
    store.close()
    assert len(verify(path).damaged) == 2


def test_every_schema_has_a_fixture() -> None:
    """There is a journal to open for every schema."""
    assert len(list(FIXTURES.glob("schema-*.db"))) == len(stores.migrations())


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_affected_versions_are_known(version: tuple[int, int, int], affected: bool) -> None:
    """A SQLite that can damage a WAL file is told from one in which that is mended."""
    assert stores.affected(version) is affected


def test_an_affected_version_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once a process, and not refused."""
    stores._report_affected.cache_clear()
    with caplog.at_level(logging.INFO, "fanfold"):
        for _ in range(3):
            stores._report_affected((3, 40, 1))
    assert [record.message.startswith("SQLite 3.40.1 can damage") for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "sometimes"}, "mode='sometimes': it is one of off, record"),
        ({"content": "half"}, "content='half'"),
        ({"content": "hash"}, "use mode='record'"),
        ({"mode": "resume", "max_age": 5}, "give it with mode='cache'"),
        ({"mode": "cache", "max_age": 0}, "give it with mode='cache'"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], words: str) -> None:
    """A mode that gives nothing back, and what is no option, is a UsageError that says the fix."""
    with pytest.raises(UsageError, match=words):
        Journal("j.db", **options)


def test_the_words_of_an_error_may_be_no_text(tmp_path: Path) -> None:
    """A file name with a wrong byte in it does not stop the journal; the words are kept as Python shows them."""
    path, wrong = tmp_path / "j.db", "no file 'caf\udce9'"

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        digest = book.digest("fake:", request().key())
        book.note(digest, request().key(), call(state="error", error=wrong), ConnectError(wrong))
        await answered(book, "one", nth=1)
        book.end(ConnectError(wrong))

    with_journal(path, work)
    kinds = {entry.kind: entry.body for entry in entries(path) if "no file" in entry.body}
    assert set(kinds) == {"call", "end"}
    assert all(r"no file 'caf\\udce9'" in body for body in kinds.values())
    (kept,) = (found_in(entry) for entry in entries(path, "kind = 'call' AND nth = 0"))
    assert str(kept.error) == r"no file 'caf\udce9'"


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "is empty, and no journal yet: record one first"), (b"x" * 9000, "is not a SQLite file")]
)
def test_what_is_no_journal_is_told_as_that(tmp_path: Path, data: bytes, words: str) -> None:
    """An empty file and one of another kind are not read, and the error says what they are."""
    path = tmp_path / "j.db"
    path.write_bytes(data)
    with pytest.raises(JournalError, match=words):
        stores.open_to_read(path)


def test_people_can_read_it(tmp_path: Path) -> None:
    """The views show runs, calls and fans to a SQL shell."""
    path = tmp_path / "j.db"
    recorded(path, "one", "two", key="row-7")
    store = sqlite3.connect(path)
    assert store.execute("SELECT name, key, how FROM runs").fetchall() == [("step", "row-7", "ok")]
    assert store.execute("SELECT state, output_tokens, replies FROM calls").fetchall() == [
        ("ok", 5, '["one"]'),
        ("ok", 5, '["two"]'),
    ]
    assert store.execute("SELECT * FROM fans").fetchall() == []
    store.close()


def test_hashes_hold_neither_prompt_nor_reply(tmp_path: Path) -> None:
    """With content="hash" no word of prompt and reply is in the file, and their digests are."""
    path = tmp_path / "j.db"

    async def work(journal: Journal) -> None:
        await answered(await begun(journal), "the very answer", asked=request("the very question"))

    with_journal(path, work, mode="record", content="hash")
    data = path.read_bytes()
    assert b"very answer" not in data
    assert b"very question" not in data
    (kept,) = entries(path, "kind = 'call'")
    assert '"replied":"' in kept.body
    assert '"input_tokens":3' in kept.body


@pytest.mark.parametrize("mode", ["resume", "replay"])
@pytest.mark.parametrize("ended", [True, False])
def test_what_is_there_as_a_digest_cannot_be_given_back(tmp_path: Path, mode: str, ended: bool) -> None:
    """A run that was kept with content="hash" is neither waited for nor paid again: resumed or replayed, it is told."""
    path = tmp_path / "j.db"

    async def record(journal: Journal) -> None:
        book = await begun(journal)
        await answered(book, "x")
        if ended:
            book.end(None)

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        with pytest.raises(JournalError, match="content='hash'"):
            found(book)

    with_journal(path, record, mode="record", content="hash")
    with_journal(path, work, mode=mode)

    async def ask(journal: Journal) -> None:
        book = await begun(journal)
        asked = request().key()
        assert await book.shared(book.digest("fake:", asked), call().draw) is None

    with_journal(path, ask, mode="cache")


def test_a_checksum_covers_every_column() -> None:
    """A change of any column of an entry is found."""
    entry = Entry("call", 1, "run", 0, 0, b"d", 1.0, "{}").signed()
    assert entry.check() is entry
    changes = {"kind": "end", "run": 2, "place": "ran", "nth": 1, "ordinal": 1, "digest": b"e", "at": 2.0, "body": "[]"}
    for column, value in changes.items():
        with pytest.raises(JournalError, match="damaged"):
            entry._replace(**{column: value}).check()


def test_no_flipped_bit_passes_a_checksum() -> None:
    """A CRC-32 finds every single one, wherever it is, in itself as well."""
    entry = Entry("call", 1, "run", 0, 0, b"digest", 1.0, '{"a":"some words"}').signed()
    for column in ("digest", "body", "checksum"):
        value = getattr(entry, column)
        data = value if isinstance(value, bytes) else value.encode()
        for bit in range(8 * len(data)):
            turned = (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")
            made = turned if isinstance(value, bytes) else turned.decode("latin-1")
            with pytest.raises(JournalError, match="damaged"):
                entry._replace(**{column: made}).check()
