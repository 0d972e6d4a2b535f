"""Tables as JSON Lines: an object a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.data.reading import LineReader
from fanfold.steps.templates import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HALF = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair, which no UTF-8 can hold; whole ones are one character of Python's."""


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
    """A row as one line; what JSON cannot say is given by its text. Raises RecursionError for what has no end."""
    try:
        return msgspec.json.encode(row, enc_hook=plain) + b"\n"
    except UnicodeEncodeError:
        spelled = _spelled(msgspec.to_builtins(dict(row), enc_hook=plain))
        return msgspec.json.encode(spelled, enc_hook=plain) + b"\n"


def _spelled(value: Any) -> Any:
    """A value with its half pairs spelled out, as Python shows them: few can read them as escapes of JSON."""
    if isinstance(value, str):
        return HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", value)
    if isinstance(value, dict):
        return {_spelled(name): _spelled(one) for name, one in value.items()}
    return [_spelled(one) for one in value] if isinstance(value, list) else value
