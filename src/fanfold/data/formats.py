"""Which format a table's file has, by its name: how it is read, and how it is made of the rows of a log."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from fanfold.data.csv_files import CsvRows, write_csv
from fanfold.data.jsonl import JsonLines
from fanfold.data.reading import Unreadable
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fanfold.data.reading import Reader

SUFFIXES = (".jsonl", ".csv", ".parquet")


def format_of(path: Path) -> str:
    """The suffix that says the format; raises `UsageError` for another."""
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: a table is a file whose name ends in {', '.join(SUFFIXES)}")
    if suffix == ".parquet":
        _parquet()
    return suffix


def suffix_of(path: Path) -> str:
    """How its name ends, whatever the case; what has two endings has one."""
    return ".jsonl" if path.suffix.lower() == ".ndjson" else path.suffix.lower()


def open_rows(path: Path) -> Reader:
    """The rows of a file; raises `UsageError` where it is not there, or not what its name says."""
    suffix = format_of(path)
    if suffix == ".parquet":
        found: Reader = _parquet().ParquetRows(path)
        return found
    return JsonLines(path) if suffix == ".jsonl" else CsvRows(path)


def publish(log: Path, out: Path, *names: str) -> None:
    """Make `out` of the rows of `log`, a JSON Lines file, and let go of that: at no moment is `out` half a file.

    Its columns are those of its rows; where it has none, these.
    """
    if format_of(out) == ".jsonl":
        replace(log, out)
        return
    making = out.with_name(f"{out.name}.making")
    rows = partial(logged, log)
    columns = list(dict.fromkeys(name for row in rows() for name in row)) or names
    with making.open("wb") as file:
        if format_of(out) == ".csv":
            write_csv(columns, rows(), file)
        else:
            _parquet().write_parquet(columns, rows, file)
        file.flush()
        os.fsync(file.fileno())
    replace(making, out)
    log.unlink()


def replace(source: Path, target: Path) -> None:
    """Rename, and make the directory remember it."""
    source.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def logged(log: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a log; raises `UsageError` where a line of it cannot be read, as what is too deep cannot."""
    with JsonLines(log) as rows:
        for row in rows:
            if isinstance(row, Unreadable):
                raise row.why
            yield row


def _parquet() -> Any:
    try:
        from fanfold.data import parquet
    except ModuleNotFoundError as error:
        raise UsageError(f"Parquet files need pyarrow ({error}): install fanfold[data], or use CSV or JSONL") from error
    return parquet
