"""Tables as JSON Lines: an object a line."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.halves import spelled
from fanfold.data.reading import LineReader, Unreadable
from fanfold.steps.templates import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})
"""What is written for the numbers that JSON has not."""


class JsonLines(LineReader):
    """The rows of a JSON Lines file; empty lines are none, and what is no object is a row with the column `input`.

    A line that is no JSON is one row that cannot be read: where it ends is known, and so are the rows after it.
    """

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for line in self.lines():
            if line.strip():
                value = self._decoded(line)
                yield value if isinstance(value, dict) else {"input": value}

    def _decoded(self, line: bytes) -> Any:
        try:
            return msgspec.json.decode(line)
        except UnicodeDecodeError as error:
            why = f"this is not UTF-8 text (byte {error.start}): convert the file first"
        except (msgspec.DecodeError, RecursionError) as error:
            why = f"this is not JSON ({error}); each line has to be one object"
        return Unreadable(line.decode(errors="backslashreplace").rstrip("\r\n"), self.wrong(why))


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as one line; what JSON cannot say is given by its text. Raises RecursionError for what has no end."""
    line = None
    with suppress(UnicodeEncodeError):
        line = msgspec.json.encode(row, enc_hook=plain) + b"\n"
    if line is not None and b"null" not in line:  # which would stand for a number that is none, too
        return line
    try:
        written = msgspec.to_builtins(dict(row), enc_hook=plain)
        written = _counted(spelled(written) if line is None else written)
        return msgspec.json.encode(written, enc_hook=plain) + b"\n"
    except (RecursionError, TypeError):  # JSON goes deeper than this does, and has names of more kinds
        if line is None:
            raise
        return line


def _counted(value: Any) -> Any:
    """Plain data with the numbers that JSON has not by their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _counted(one) for name, one in value.items()}
    return list(map(_counted, value)) if isinstance(value, list | tuple) else value
