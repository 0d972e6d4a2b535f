"""Tables as Parquet files; needs the extra ``fanfold[data]``, and is imported on use."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from fanfold.core.numbers import NAMES
from fanfold.data.jsonl import line_of
from fanfold.data.reading import Reader, Unreadable, opened
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

BATCH = 1024
"""Rows that are in memory together when a file is read."""

GROUP = 10_000
"""Rows of a row group that is written."""

UNFIT = (ValueError, OverflowError, LookupError, pa.ArrowException)
"""What is raised by a value that Python has not: no UTF-8, a year after 9999, a time zone that is not installed."""


class ParquetRows(Reader):
    """The rows of a Parquet file, batch by batch."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file = opened(path)
        try:
            self.parquet = pq.ParquetFile(self.file)
        except pa.ArrowException as error:
            self.file.close()
            raise UsageError(f"{path} is not a Parquet file ({error})") from None
        names = self.parquet.schema_arrow.names
        if len(set(names)) < len(names):
            self.close()
            twice = sorted({name for name in names if names.count(name) > 1})
            raise UsageError(f"{path}: two columns are called {twice[0]!r}: give each a name of its own")
        self.read = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for batch in self._batches():
            for row in self._rows(batch):
                self.read += 1
                yield row

    def _batches(self) -> Iterator[Any]:
        try:
            yield from self.parquet.iter_batches(batch_size=BATCH)
        except (pa.ArrowException, OSError) as error:
            raise UsageError(f"{self.path} cannot be read from row {self.read} on ({error})") from None

    def _rows(self, batch: Any) -> Iterable[Mapping[str, Any]]:
        try:
            rows: Iterable[Mapping[str, Any]] = batch.to_pylist()
        except UNFIT:  # there is a value among them that Python has not; it tells neither where nor which
            rows = map(self._row, range(self.read, self.read + batch.num_rows), batch.to_struct_array())
        return rows

    def _row(self, number: int, values: Any) -> Mapping[str, Any]:
        """One row; where a value cannot be read, the others stand for its line."""
        row, why = dict[str, Any](), None
        for name, value in values.items():
            try:
                row[name] = _value(value)
            except UNFIT as error:
                why = why or UsageError(f"{self.path}, row {number}: the value of {name!r} cannot be read ({error})")
        return row if why is None else Unreadable(line_of(row).decode().rstrip("\n"), why)

    def names(self) -> Sequence[str]:
        """Those of its schema."""
        found: Sequence[str] = self.parquet.schema_arrow.names
        return found

    @property
    def fraction(self) -> float:
        """How many of the rows have been read."""
        total: int = self.parquet.metadata.num_rows
        return self.read / total if total else 1.0

    def close(self) -> None:
        """Close the file."""
        self.parquet.close()
        self.file.close()


def _value(value: Any) -> Any:
    """What Python has for it; a time that is finer than Python's is its text."""
    try:
        return value.as_py()
    except UNFIT:
        if (pa.types.is_timestamp(value.type) or pa.types.is_time(value.type)) and value.type.unit == "ns":
            return value.cast(pa.string()).as_py().replace(" ", "T")
        raise


def write_parquet(columns: Sequence[str], rows: Callable[[], Iterable[Mapping[str, Any]]], file: IO[bytes]) -> None:
    """The rows as row groups of 10,000; `rows` gives them once to find the columns' types, and once to write them.

    A column whose values have no type in common holds them as texts, and so does one with whole numbers that the type
    in common cannot hold: there are others with a fraction, say, and a double would round what is longer than 2**53.
    """
    types = _types(columns, rows())
    while (unfit := _written(types, rows(), file)) is not None:
        types[unfit] = pa.string()
        file.seek(0)
        file.truncate()


def _written(types: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], file: IO[bytes]) -> str | None:
    """Write the rows; gives the name of a column whose values its type cannot hold, where there is one."""
    schema = pa.schema(list(types.items()))
    with pq.ParquetWriter(file, schema) as writer:
        for group in _groups(rows):
            arrays = []
            for name, kind in types.items():
                try:
                    arrays.append(_array(group, name, kind))
                except (pa.ArrowException, OverflowError):
                    return name
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return None


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    each = iter(rows)
    while group := list(islice(each, GROUP)):
        yield group


def _types(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The type that all values of a column have; text where there is none."""
    found = dict.fromkeys(columns, pa.null())
    for group in _groups(rows):
        for name, before in found.items():
            values = [row.get(name) for row in group]
            found[name] = _common(before, values)
            if pa.types.is_string(found[name]) and not all(isinstance(value, str | None) for value in values):
                found[name] = _common(before, list(map(_numbered, values)))
    # A column without any value, and what Parquet has no type for (a structure without fields), are texts.
    return {name: pa.string() if _empty(kind) else kind for name, kind in found.items()}


def _common(before: Any, values: Sequence[Any]) -> Any:
    try:
        found = pa.array(values).type
        schemas = [pa.schema([("", kind)]) for kind in (before, found)]
        common = pa.unify_schemas(schemas, promote_options="permissive").types[0]
    except (pa.ArrowException, OverflowError):
        return pa.string()
    return pa.string() if _truth_is_number(values, found) else common


def _truth_is_number(values: Iterable[Any], kind: Any) -> bool:
    """Whether a truth value is among numbers of this type: behind one with a fraction it would pass for 1.0 or 0.0."""
    there = [value for value in values if value is not None]
    if pa.types.is_struct(kind):
        return any(_truth_is_number([value.get(field.name) for value in there], field.type) for field in kind)
    if pa.types.is_list(kind):
        return _truth_is_number(chain.from_iterable(there), kind.value_type)
    return pa.types.is_floating(kind) and any(isinstance(value, bool) for value in there)


def _empty(kind: Any) -> bool:
    """Whether a type has a structure without fields, or one of nothing, in it."""
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_empty(field.type) for field in kind)
    return _empty(kind.value_type) if pa.types.is_list(kind) else bool(pa.types.is_null(kind))


def _array(group: Sequence[Mapping[str, Any]], name: str, kind: Any) -> Any:
    values = [row.get(name) for row in group]
    if pa.types.is_string(kind):
        values = [value if value is None or isinstance(value, str) else _text(value) for value in values]
    try:
        return pa.array(values, type=kind)
    except pa.ArrowException:
        return pa.array(list(map(_numbered, values)), type=kind)


def _numbered(value: Any) -> Any:
    """A value, with the numbers that a log can only name as what they are."""
    if isinstance(value, str) and value in NAMES:
        return float(value)
    if isinstance(value, dict):
        return {name: _numbered(one) for name, one in value.items()}
    return list(map(_numbered, value)) if isinstance(value, list) else value


def _text(value: Any) -> str:
    return line_of({"": value}).decode()[4:-2]
