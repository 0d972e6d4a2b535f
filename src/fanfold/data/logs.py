"""The file that rows are appended to while a table is made: what a crash leaves of it is a beginning of it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

import msgspec

from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PIECE = 1 << 20


class Log:
    """A JSON Lines file that only grows, by whole lines, and that one process has at a time.

    Opening it cuts off a last line that was torn in the middle. What `append` was given is in the file when it returns,
    whatever happens to the process then; after `sync` it has also reached the disk. All of it blocks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[bytes] = path.open("a+b", buffering=0)
        try:
            _claim(self.file, path)
        except BaseException:
            self.file.close()
            raise
        self._cut()

    def append(self, lines: Sequence[bytes]) -> None:
        """Add whole lines at the end; what a full disk leaves of them is taken back."""
        left = memoryview(b"".join(lines))
        end = self.file.seek(0, os.SEEK_END)
        try:
            while left:
                left = left[self.file.write(left) :]
        except OSError:
            with suppress(OSError):  # then the next opening does it
                self.file.truncate(end)
            raise

    def sync(self) -> None:
        """Let what was appended reach the disk."""
        os.fsync(self.file.fileno())

    def count(self) -> int:
        """The lines that it has."""
        self.file.seek(0)
        return sum(piece.count(b"\n") for piece in iter(lambda: self.file.read(PIECE), b""))

    def clear(self) -> None:
        """Begin anew."""
        self.file.truncate(0)

    def close(self) -> None:
        """Give it free for others."""
        self.file.close()

    def _cut(self) -> None:
        """Cut off what follows the last whole line, and that line too if a power cut left no JSON in its place."""
        end = self._end_of_lines(self.file.seek(0, os.SEEK_END))
        start = self._end_of_lines(end - 1)
        self.file.seek(start)
        try:
            msgspec.json.decode(self.file.read(end - start) or b"null")
        except (msgspec.DecodeError, UnicodeDecodeError):
            end = start
        self.file.truncate(end)

    def _end_of_lines(self, until: int) -> int:
        """Where the last line that is whole before `until` ends."""
        while until > 0:
            start = max(0, until - PIECE)
            self.file.seek(start)
            found = self.file.read(until - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            until = start
        return 0


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Have a log for oneself, if it still is there; raises `UsageError` where another process has it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield
        return
    with file:
        _claim(file, path)
        yield


def _claim(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"another process is writing {path}: wait for it, or give another output") from None
