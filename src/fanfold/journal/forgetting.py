"""Forgetting: prompts and replies are people's data, and what is forgotten is gone from every byte of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.core.clock import wall
from fanfold.errors import UsageError
from fanfold.journal import store as stores
from fanfold.journal.moving import owned
from fanfold.journal.redaction import Redactor

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Sequence


def forget(path: str | os.PathLike[str], *, run: int | None = None, key: str | None = None) -> int:
    """Forget one run by its number, or every run and row with this key; gives how many entries are gone.

    Raises `UsageError` where there is no such run, and `JournalLocked` where somebody has the journal open.
    """
    if (run is None) == (key is None):
        raise UsageError("say what to forget: a run's number, or a key")
    with owned(path) as store:
        if run is not None:
            gone = _drop(store, [run])
        else:
            place = Redactor().clean(key or "")
            found = store.execute("SELECT DISTINCT run FROM entries WHERE kind = 'run' AND place = ?", (place,))
            gone = _drop(store, [number for (number,) in found.fetchall()])
            gone += store.execute("DELETE FROM entries WHERE kind = 'row' AND place = ?", (place,)).rowcount
        if not gone:
            raise UsageError(f"the journal {path} holds nothing of {'run ' + str(run) if key is None else repr(key)}")
        _wipe(store)
    return gone


def prune(path: str | os.PathLike[str], older_than: float) -> int:
    """Forget every run in which nothing has happened for `older_than` seconds; gives how many runs are gone."""
    with owned(path) as store:
        still = store.execute("SELECT run FROM entries GROUP BY run HAVING max(at) < ?", (wall() - older_than,))
        runs = [number for (number,) in still.fetchall()]
        if _drop(store, runs):
            _wipe(store)
    return len(runs)


def _drop(store: sqlite3.Connection, runs: Sequence[int]) -> int:
    return sum(store.execute("DELETE FROM entries WHERE run = ?", (run,)).rowcount for run in runs)


def _wipe(store: sqlite3.Connection) -> None:
    """Write the file anew, and empty the log: a deleted row is only marked as free."""
    store.execute("VACUUM")
    stores.number(store, "PRAGMA wal_checkpoint(TRUNCATE)")
