"""Half a surrogate pair: Python's text may hold one (a file name with a wrong byte is enough), and no UTF-8 can."""

from __future__ import annotations

import re
from typing import Any

HALF = re.compile("[\ud800-\udfff]")
"""Whole pairs are one character of Python's."""


def spelled(value: Any) -> Any:
    """Plain data with its half pairs spelled out, as Python shows them: few can read them as escapes of JSON."""
    if isinstance(value, str):
        return HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", value)
    if isinstance(value, dict):
        return {spelled(name): spelled(one) for name, one in value.items()}
    return [spelled(one) for one in value] if isinstance(value, list | tuple) else value


def mended(text: str) -> str:
    """The text with the halves that belong together as one character, and U+FFFD for each that is alone."""
    if text.isascii() or HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Pieces:
    """Text that comes in pieces, which may be cut within a pair: its first half waits for the other."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str) -> str:
        """What may be told of the text so far, and was not yet."""
        if not self._half and piece.isascii():
            return piece
        piece = self._half + piece
        self._half = piece[-1] if "\ud800" <= piece[-1:] <= "\udbff" else ""
        return mended(piece[: len(piece) - len(self._half)])

    def rest(self) -> str:
        """What is left when the text has ended: a half is half for good."""
        half, self._half = self._half, ""
        return mended(half)
