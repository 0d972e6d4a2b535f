"""Splitting a long text into parts that fit, along its structure: headings, paragraphs, sentences, words."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from fanfold.core.numbers import is_count
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = (
    re.compile(r"(?m)(?=^#{1,6} )"),
    re.compile(r"(?<=\n)\n+"),
    re.compile(r"(?<=[.!?])\s+"),
    re.compile(r"(?<=\s)"),
)
"""Where a text may be cut, the best places first: before a heading, between paragraphs, sentences, words."""

BYTES_PER_TOKEN = 3
"""An estimate on the safe side for prose: most vocabularies have 3.5 to 4.5 bytes of English a token."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has; an estimate from its bytes, rather too many than too few."""
    return -(-_bytes(text) // BYTES_PER_TOKEN)


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def split(at_most: int) -> Callable[[str], list[str]]:
    """For ``map_over(items=split(2000))``: cut a text into parts of at most so many (estimated) tokens.

    It cuts before headings where it can, else between paragraphs, sentences, words, and only within a word that
    is itself too long. Neighbours are put together while they fit. Nothing is lost: the parts joined are the text.
    """
    if not is_count(at_most, 2):
        raise UsageError(
            f"split(at_most={at_most!r}): a part has at least two tokens, for one character may have as many"
        )
    return partial(_parts, at_most)


def _parts(at_most: int, text: str) -> list[str]:
    given: object = text
    if not isinstance(given, str):
        raise UsageError(
            f"split() cuts a text, not {type(given).__name__}: let items= be a function that finds the text"
        )
    return _split(text, at_most, 0)


def _split(text: str, at_most: int, level: int) -> list[str]:
    if estimated_tokens(text) <= at_most:
        return [text] if text else []
    if level == len(LEVELS):
        return _cut(text, at_most)
    pieces: list[str] = []
    for piece in _pieces(text, level):
        pieces += _split(piece, at_most, level + 1)
    return _joined(pieces, at_most)


def _pieces(text: str, level: int) -> list[str]:
    """The text cut at every place of this level, the white space at a cut kept with what stands before it."""
    cuts = [found.end() for found in LEVELS[level].finditer(text) if 0 < found.end() < len(text)]
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _cut(word: str, at_most: int) -> list[str]:
    """A word that is too long, in pieces of as many characters as surely fit (one has at most four bytes)."""
    size = max(1, at_most * BYTES_PER_TOKEN // 4)
    return [word[start : start + size] for start in range(0, len(word), size)]


def _joined(pieces: list[str], at_most: int) -> list[str]:
    joined: list[list[str]] = []
    size = 0
    for piece in pieces:
        size += (more := _bytes(piece))
        if joined and size <= at_most * BYTES_PER_TOKEN:
            joined[-1].append(piece)
        else:
            joined.append([piece])
            size = more
    return ["".join(part) for part in joined]
