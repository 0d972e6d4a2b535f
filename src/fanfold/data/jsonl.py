"""Tables as JSON Lines: an object a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.data.reading import LineReader
from fanfold.steps.templates import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class JsonLines(LineReader):
    """The rows of a JSON Lines file; empty lines are none, and what is no object is a row with the column `input`."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for line in self.lines():
            if line.strip():
                value = self._decoded(line)
                yield value if isinstance(value, dict) else {"input": value}

    def _decoded(self, line: bytes) -> Any:
        try:
            return msgspec.json.decode(line)
        except UnicodeDecodeError as error:
            raise self.wrong(f"this is not UTF-8 text (byte {error.start}): convert the file first") from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise self.wrong(f"this is not JSON ({error}); each line has to be one object") from None


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as one line; what JSON cannot say is given by its text."""
    try:
        return msgspec.json.encode(row, enc_hook=plain) + b"\n"
    except (TypeError, ValueError, RecursionError):
        # Half a surrogate pair, say, that no UTF-8 can hold: as an escape JSON can.
        return json.dumps(dict(row), default=str, skipkeys=True).encode() + b"\n"
