"""One process owns a journal: a lock that the system itself releases when the process dies."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path

from fanfold.errors import JournalError, JournalLocked

_ours: set[str] = set()
"""The journals that this process owns: a POSIX lock does not keep a process from itself."""

_guard = threading.Lock()

BYTE = 2**30 + 512
"""The byte of the journal itself that its owner locks: in the page that SQLite keeps free of data, behind its own."""

os.register_at_fork(after_in_child=_ours.clear)


class OwnerLock:
    """Held from `OwnerLock(path)` to `release()`; raises `JournalLocked` with the owner's pid at once.

    A POSIX record lock, and not `flock`: a forked child that outlives its parent does not inherit it. It holds on
    local disks; a network file system may not keep it. The lock's file tells who the owner is; who removes it lets
    nobody in, for the owner also holds the journal (`hold`), once that is open.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.path = Path(f"{os.path.realpath(journal)}.lock")  # beside the file itself, whatever link leads to it
        self.name = os.path.realpath(self.path)
        with _guard:
            if self.name in _ours:
                raise _locked(journal, os.getpid())
            self.file = self._take(journal)
            _ours.add(self.name)
        self.held: int | None = None

    def hold(self) -> None:
        """Hold the open journal, too; raises `JournalLocked` where another owner does, whose lock file is gone.

        Not before SQLite has it open: who closes a file loses all locks on it, but SQLite closes none while it is open.
        """
        file = os.open(self.journal, os.O_RDWR)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, BYTE)
        except OSError:
            os.close(file)
            raise _locked(self.journal, 0) from None
        self.held = file

    def release(self) -> None:
        """Let another have it, after the journal was closed."""
        if self.held is not None:
            os.close(self.held)
        with _guard, suppress(OSError):
            _ours.discard(self.name)
            os.ftruncate(self.file, 0)
            os.close(self.file)

    def _take(self, journal: Path) -> int:
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise JournalError(f"the journal {journal} cannot be opened for writing: {error.strerror}") from error
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            said = os.pread(file, 20, 0).strip()
            os.close(file)
            raise _locked(journal, int(said) if said.isdigit() else 0) from None
        os.fchmod(file, 0o600)
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        return file


def _locked(journal: Path, pid: int) -> JournalLocked:
    who = f"process {pid}" if pid else "another process"
    whose = "this process" if pid == os.getpid() else who
    return JournalLocked(
        f"the journal {journal} is open in {whose}: one owner at a time; close it there, share one Journal object "
        "between sessions of a process, or give each process a journal of its own",
        pid=pid,
    )
