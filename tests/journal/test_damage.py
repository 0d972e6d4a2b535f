"""Files that are torn or flipped: a prefix of history, or JournalCorrupt; never a wrong reply."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from fanfold.errors import JournalCorrupt, JournalError
from fanfold.journal import Journal, forgetting, looking, moving
from fanfold.journal import store as stores
from fanfold.journal.entries import Entry
from tests.journal.books import answered, begun, recorded, with_journal

REPLIES = [f"reply {number} " + "lorem ipsum " * 20 for number in range(30)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that was closed: one file."""
    path = tmp_path_factory.mktemp("whole") / "j.db"
    recorded(path, *REPLIES)
    return path


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal as it lies there when its owner dies: with a WAL that holds all of it."""
    folder = tmp_path_factory.mktemp("open")

    async def work(journal: Journal) -> None:
        book = await begun(journal)
        for nth, text in enumerate(REPLIES):
            await answered(book, text, nth=nth)
        for name in ("j.db", "j.db-wal"):
            (folder / f"copy-{name}").write_bytes((folder / name).read_bytes())

    with_journal(folder / "j.db", work)
    return folder / "copy-j.db"


def read(path: Path) -> list[Entry] | None:
    """All that the damaged file gives, or None where it says that it is damaged."""
    try:
        store = stores.open_to_write(path)
    except JournalError:
        return None
    try:
        return list(stores.select(store, "kind = 'call' ORDER BY seq"))
    except JournalCorrupt:
        return None
    except stores.TROUBLE as error:
        return None if isinstance(stores.told(error, path), JournalCorrupt) else []
    finally:
        store.close()


def is_prefix(entries: list[Entry]) -> bool:
    """Whether these are the first replies, in order, each as it was."""
    return [entry.nth for entry in entries] == list(range(len(entries))) and all(
        REPLIES[entry.nth] in entry.body for entry in entries
    )


def offsets(size: int, count: int, seed: int) -> Iterator[int]:
    chance = random.Random(seed)
    yield from (0, 1, size - 1)
    yield from (chance.randrange(size) for _ in range(count))


def copied(path: Path, to: Path) -> Path:
    for suffix in ("", "-wal"):
        source = Path(f"{path}{suffix}")
        target = to / f"j.db{suffix}"
        target.unlink(missing_ok=True)
        if source.exists():
            shutil.copy(source, target)
    (to / "j.db-shm").unlink(missing_ok=True)
    return to / "j.db"


@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_byte_gives_a_prefix_or_is_found(whole: Path, tmp_path: Path, seed: int) -> None:
    """Whichever byte of the file is changed, what is read is a prefix of history, or JournalCorrupt."""
    found = 0
    for offset in offsets(whole.stat().st_size, 40, seed):
        path = copied(whole, tmp_path)
        data = bytearray(path.read_bytes())
        data[offset] ^= 1 + random.Random(offset).randrange(255)
        path.write_bytes(data)
        entries = read(path)
        assert entries is None or is_prefix(entries), offset
        found += entries is None
    assert found > 10  # most bytes matter


def test_a_torn_file_gives_a_prefix_or_is_found(whole: Path, tmp_path: Path) -> None:
    """A file cut short at any length is a prefix of history, or JournalCorrupt."""
    size = whole.stat().st_size
    for length in [*range(0, size, 4096), *offsets(size, 20, 0)]:
        path = copied(whole, tmp_path)
        path.write_bytes(path.read_bytes()[:length])
        entries = read(path)
        assert entries is None or is_prefix(entries), length


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_log_gives_a_prefix(open_: Path, tmp_path: Path, seed: int) -> None:
    """Whatever byte of the WAL is changed, and wherever it ends, what was whole before that is there."""
    wal = Path(f"{open_}-wal").read_bytes()
    lengths = set()
    for offset in offsets(len(wal), 30, seed):
        path = copied(open_, tmp_path)
        flipped = bytearray(wal)
        flipped[offset] ^= 0x41
        Path(f"{path}-wal").write_bytes(flipped if offset % 2 else wal[:offset])
        entries = read(path)
        assert entries is None or is_prefix(entries), offset
        lengths.add(None if entries is None else len(entries))
    assert len(lengths) > 3  # the damage did cut history at different places


def test_the_undamaged_files_give_all(whole: Path, open_: Path, tmp_path: Path) -> None:
    """The tests above can fail: the whole files give every reply."""
    for path in (whole, open_):
        entries = read(copied(path, tmp_path))
        assert entries is not None
        assert len(entries) == len(REPLIES)
        assert is_prefix(entries)


def test_a_changed_reply_is_not_given(tmp_path: Path) -> None:
    """Somebody who edits a reply in the database gets JournalCorrupt, not his reply."""
    path = tmp_path / "j.db"
    recorded(path, "yes")
    store = sqlite3.connect(path)
    store.execute("""UPDATE entries SET body = replace(body, '"yes"', '"no!"') WHERE kind = 'call'""")
    store.commit()
    store.close()
    with pytest.raises(JournalCorrupt, match="cannot be trusted"):
        with_journal(path, begun)


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    """A file of something else is called damaged, and not overwritten."""
    path = tmp_path / "j.db"
    path.write_text("Dear diary, " * 1000)
    with pytest.raises(JournalCorrupt, match="damaged"):
        with_journal(path, begun)
    assert path.read_text().startswith("Dear diary")


@pytest.mark.parametrize("seed", range(12))
def test_damage_is_told_where_a_file_is_too_large_to_be_checked(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """What SQLite finds under way is an error of the tree; `verify` names it, and says what is left."""
    monkeypatch.setattr("fanfold.journal.store.CHECKED", 0)
    data = bytearray(whole.read_bytes())
    source = random.Random(seed)
    page = source.randrange(1, len(data) // stores.PAGE) * stores.PAGE
    data[page : page + 400] = source.randbytes(400)
    for number, work in enumerate(
        (
            looking.runs_in,
            lambda path: looking.show(path, 1),
            lambda path: list(moving.export(path)),
            lambda path: forgetting.forget(path, run=1),
            lambda path: forgetting.prune(path, 0.0),
            lambda path: moving.bring_in(path, moving.export(whole)),
        )
    ):
        path = tmp_path / f"{number}.db"
        path.write_bytes(data)
        with suppress(JournalError):
            work(path)
    path = tmp_path / "j.db"
    path.write_bytes(data)
    assert moving.verify(path).damaged


def test_who_holds_the_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another program writes to it, forgetting and importing end with a `JournalError` that says so."""
    monkeypatch.setattr("fanfold.journal.store.BUSY", 0)
    path = tmp_path / "j.db"
    recorded(path, "x")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for work in (lambda: forgetting.forget(path, run=1), lambda: moving.bring_in(path, moving.export(path))):
            with pytest.raises(JournalError, match="another program holds it"):
                work()
