"""Lines that go through the choices and say the like of each: "spam (0.02), ham (0.98)", "spam: low, ham: high"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CLOSING = r"[\"'\u201d\u2019\u00bb)\]}>$]{0,4}"
_MARK = rf"{_CLOSING}\s{{0,3}}(?P<mark>[(\[:=]|-{{1,2}}>|\u2192)\s{{0,3}}"
MARKED = re.compile(_MARK)
"""What stands between a word and what is said of it."""

_FIGURE = (
    r"(?:(?:confidence|likelihood|probability|score)\s{0,3}[:=]?\s{0,3})?"
    r"(?P<figure>\d{0,9}[.,]?\d{1,9}|(?:true|yes)\b)?"
)
# Where an item begins and ends: "spam (ads), because ham (letters) is personal" goes through nothing.
_BEGINS = re.compile(r"(?:[\])},;|/&%\d]|\band)\s{0,3}$")
_BEHIND_A_STOP = re.compile(r"\.\s{1,3}$")
_ENDS = r"\s{0,3}(?:$|[^\w\s]|and\b|\w+\s{0,3}[(\[:=])"
_BRACKET_ENDS = re.compile(rf"[^()\[\]\n]{{0,80}}[)\]]{_ENDS}")
_FIGURE_ENDS = re.compile(rf"\s?(?:%|/\s?\d{{1,3}})?{_ENDS}")


def items(words: str, flags: int) -> re.Pattern[str]:
    """A pattern for words with what is said of each: "A (…)", "A: …"."""
    return re.compile(rf"(?P<word>{words}){_MARK}{_FIGURE}", flags)


def first_of_several(pattern: re.Pattern[str], line: str, meant: Callable[[str], int | None]) -> bool:
    """Whether a line goes on to say the like of other words, and does not give the first of them the most."""
    found = list(pattern.finditer(line))
    if not found or found[0].start():
        return False
    first, *others = found
    figures = [
        _figure(other["figure"])
        for other in others
        if other["mark"] == first["mark"] and meant(other["word"]) != meant(first["word"]) and _is_item(line, other)
    ]
    return bool(figures) and not _figure(first["figure"]) > max(figures)


def _is_item(line: str, match: re.Match[str]) -> bool:
    start, figure = max(0, match.start() - 10), match["figure"]
    begins = _BEGINS.search(line, start, match.start())
    if not begins and not (figure and _BEHIND_A_STOP.search(line, start, match.start())):
        return False
    if match["mark"] in {"(", "["}:
        return _BRACKET_ENDS.match(line, match.end()) is not None
    return not figure or _FIGURE_ENDS.match(line, match.end()) is not None


def _figure(text: str | None) -> float:
    """How much a word is given; all of it by a "yes"."""
    return 1.0 if text and text.isalpha() else float((text or "0").replace(",", "."))
