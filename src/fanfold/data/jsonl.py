"""Tables as JSON Lines: an object a line."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.halves import HALF, spelled
from fanfold.data.reading import LineReader, Unreadable
from fanfold.steps.templates import plain, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
            with suppress(ValueError, RecursionError):
                return _with_halves(line)
            why = f"this is not JSON ({error}); each line has to be one object"
        return Unreadable(line.decode(errors="backslashreplace").rstrip("\r\n"), self.wrong(why))


def _with_halves(line: bytes) -> Any:
    """JSON that holds half a surrogate pair, which stays the escape it is; raises ValueError for anything else."""
    found = json.loads(line)
    if HALF.search(json.dumps(found, allow_nan=False, ensure_ascii=False)) is None:
        raise ValueError("there is none")
    return spelled(found)


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as one line; what JSON cannot say is given by its text. Raises RecursionError for what has no end."""
    with suppress(UnicodeEncodeError):
        return written(row) + b"\n"
    return written(spelled(msgspec.to_builtins(dict(row), enc_hook=plain))) + b"\n"
