"""Forgetting: prompts and replies are people's data, and what is forgotten is gone from every byte of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.core.clock import wall
from fanfold.errors import JournalError, UsageError
from fanfold.journal import store as stores
from fanfold.journal.moving import owned
from fanfold.journal.redaction import Redactor

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Sequence


def forget(path: str | os.PathLike[str], *, run: int | None = None, key: str | None = None) -> int:
    """Forget one run by its number, or every run and row with this key; gives how many entries are gone.

    Raises `UsageError` where there is no such run, `JournalLocked` where somebody has the journal open, and
    `JournalError` where somebody reads it just now: then nothing is forgotten.
    """
    if (run is None) == (key is None):
        raise UsageError("say what to forget: a run's number, or a key")
    if key == "":
        raise UsageError("key='' is no key: it would be that of every run without one")
    with owned(path) as store:
        _check_unread(store, path)
        if run is not None:
            gone = _drop(store, [min(run, stores.LAST)])
        else:
            place = Redactor().clean(key or "")
            found = store.execute("SELECT DISTINCT run FROM entries WHERE kind = 'run' AND place = ?", (place,))
            gone = _drop(store, [number for (number,) in found.fetchall()])
            gone += store.execute("DELETE FROM entries WHERE kind = 'row' AND place = ?", (place,)).rowcount
        if not gone:
            raise UsageError(f"the journal {path} holds nothing of {'run ' + str(run) if key is None else repr(key)}")
        _wipe(store, path)
    return gone


def prune(path: str | os.PathLike[str], older_than: float) -> int:
    """Forget every run in which nothing has happened for `older_than` seconds; gives how many runs are gone."""
    with owned(path) as store:
        still = store.execute("SELECT run FROM entries GROUP BY run HAVING max(at) < ?", (wall() - older_than,))
        runs = [number for (number,) in still.fetchall()]
        if runs:
            _check_unread(store, path)
            _drop(store, runs)
            _wipe(store, path)
    return len(runs)


def _drop(store: sqlite3.Connection, runs: Sequence[int]) -> int:
    """Delete these runs, all or none: each by itself would wait for the disk."""
    store.execute("BEGIN IMMEDIATE")
    gone = sum(store.execute("DELETE FROM entries WHERE run = ?", (run,)).rowcount for run in runs)
    store.execute("COMMIT")
    return gone


def _check_unread(store: sqlite3.Connection, path: str | os.PathLike[str]) -> None:
    """Raise `JournalError` where somebody reads the file: for him its old pages have to stay."""
    version = stores.number(store, "PRAGMA user_version")
    store.execute(f"PRAGMA user_version = {version}")  # something in the log: who reads beside an empty one is not seen
    if _held(store):
        raise JournalError(f"nothing of the journal {path} was forgotten: another program reads it; try again after it")


def _wipe(store: sqlite3.Connection, path: str | os.PathLike[str]) -> None:
    """Write the file anew, and empty the log: a deleted row is only marked as free."""
    store.execute("VACUUM")
    if _held(store):
        raise JournalError(
            f"the journal {path} holds no more of what is forgotten, but another program began to read it meanwhile, "
            "and its bytes are there until that ends and the journal is opened and closed once more"
        )


def _held(store: sqlite3.Connection) -> bool:
    """Take the log into the file and empty it; gives whether somebody who reads keeps that from being done."""
    return bool(stores.number(store, "PRAGMA wal_checkpoint(TRUNCATE)"))
