"""Tables as CSV (RFC 4180): a header, commas, quotes around what needs them, which may hold line breaks."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.numbers import counted
from fanfold.data.reading import LineReader, Unreadable
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

LONGEST = 2**31 - 1
"""Bytes of a field; the library's own limit of 128 KiB is less than many a document."""


class CsvRows(LineReader):
    """The rows of a CSV file; every value is a text, and a row has as many as the header.

    One that has not, or is no text, is one row that cannot be read, for where the next begins is known; behind a quote
    that is wrong it is not, and the reading ends.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._spoilt: UsageError | None = None
        """What is wrong with the text of the row that was read last."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        rows = self._rows()
        header = self._header(rows)
        for row, spoilt in rows:
            why = spoilt
            if why is None and len(row) != len(header):
                why = self.wrong(
                    f"the row has {counted(len(row), 'value')}, the header {len(header)}; is a quote missing?"
                )
            yield dict(zip(header, row, strict=True)) if why is None else Unreadable(_line(row), why)

    def names(self) -> Sequence[str]:
        """Those of its header."""
        return self._header(self._rows())

    def _header(self, rows: Iterator[tuple[list[str], UsageError | None]]) -> list[str]:
        header, spoilt = next(rows, (None, None))
        if header is None:
            raise UsageError(f"{self.path} is empty, and has to begin with the names of its columns")
        if spoilt is not None:
            raise spoilt
        if len(set(header)) < len(header):
            twice = sorted({name for name in header if header.count(name) > 1})
            raise self.wrong(f"two columns are called {twice[0]!r}: give each a name of its own")
        return header

    def _rows(self) -> Iterator[tuple[list[str], UsageError | None]]:
        """Every row that is not an empty line, and what is wrong with its text."""
        csv.field_size_limit(LONGEST)
        reader = csv.reader(self._text(), strict=True)
        while True:
            began, self._spoilt = self.line + 1, None
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                where = f"; its row begins in line {began}: is a quote missing?" if began < self.line else ""
                raise self.wrong(f"this is not CSV ({error}{where})") from None
            if row:
                yield row, self._spoilt

    def _text(self) -> Iterator[str]:
        for line in self.lines():
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                self._spoilt = self.wrong(f"this is not UTF-8 text (byte {error.start}): convert the file first")
                yield line.decode(errors="backslashreplace")


def _line(row: Sequence[str]) -> str:
    """The row as a line of a file, without its end; what has an end of a line of any kind in it is quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n")


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], file: IO[bytes]) -> None:
    """The rows under a header; without a column nothing.

    What is no text is written as JSON has it, and nothing where there is no value.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
    if columns:
        text.write(f"{_line(columns)}\n")
    for row in rows:
        text.write(f"{_line([_cell(row.get(name)) for name in columns])}\n")
    text.detach()  # after a flush; the file stays open


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
