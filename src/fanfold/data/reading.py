"""What all readers of tables share: rows one at a time, errors that name the line, and how far the reading is."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import IO, TYPE_CHECKING, Any, Self

from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType


class Unreadable(dict[str, Any]):
    """In the place of a row that cannot be read: the `line` that stands there; `why` is raised where it is used."""

    def __init__(self, line: str, why: UsageError) -> None:
        super().__init__(line=line)
        self.why = why


class Reader:
    """The rows of one file, from the first to the last, never all in memory: iterate it, once.

    It blocks, so an event loop reads it in a thread. Raises `UsageError` where the file is not what its name says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        raise NotImplementedError

    def names(self) -> Sequence[str]:
        """The columns that it has, for whoever reads no rows: where nothing else tells them, those of its first row."""
        first = next(iter(self), Unreadable("", UsageError()))
        return () if isinstance(first, Unreadable) else tuple(first)

    @property
    def fraction(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError


class LineReader(Reader):
    """A text file in UTF-8, line by line, with the place of each."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file: IO[bytes] = opened(path)
        self.size = path.stat().st_size
        self.read = 0
        self.line = 0

    @property
    def fraction(self) -> float:
        """How much of the file has been read."""
        return self.read / self.size if self.size else 1.0

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def lines(self) -> Iterator[bytes]:
        """Its lines with their ends, counted from 1; a byte order mark at the beginning is none of the text."""
        try:
            for line in self.file:
                self.line += 1
                self.read += len(line)
                yield line.removeprefix(BOM_UTF8) if self.line == 1 else line
        except OSError as error:
            why = f"{self.path} cannot be read after line {self.line}: {error.strerror or error}"
            raise UsageError(why) from None

    def wrong(self, what: str) -> UsageError:
        """The error of the line that was read last."""
        return UsageError(f"{self.path}, line {self.line}: {what}")


def opened(path: Path) -> IO[bytes]:
    """The file, open for reading; raises `UsageError` where it cannot be.

    A table is read more than once: to know it again, to count its rows for a sample, and to go on.
    """
    try:
        if path.is_fifo() or path.is_char_device():
            raise UsageError(f"{path} is no file that can be read again: write what it gives into one")
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"the table {path} cannot be read: {error.strerror}") from None
