"""What is in a reply: the JSON in it, its text without emphasis, its last line, where it names its answer."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# What can begin JSON, so that the braces of LaTeX and code cost nothing; a box to tick ("- [ ] milk") is no array.
_STARTS = re.compile(
    r'\{(?=\s*["}])|(?!(?:(?<![^\n])|(?<=\s\s)|(?<=[-*+•–.)>]\s))\[ \][ \t]+[^\s,\]}])\[(?=\s*["\[{\]\-0-9tfn])'
)
_TRIES = 200

_MARKS = re.compile(r"[*_`]+")

# As in "B. Wait, no: C" and "Yes. On second thought, no".
_SECOND_THOUGHT = re.compile(
    r"(?:[.,;:!?…)\]–\u2014\n-]\s{0,3}|[\"']\s{1,3})(?:(?:ah|but|hmm+|no|oh|sorry|well)\b[,.!…\s]{0,4}){0,2}"
    r"(?:(?:hold\s+on|wait)(?=\s{0,3}[,.:;!…–\u2014-]|\s{1,3}(?:a\s+(?:minute|second)|actually|i|it|let|no|that)\b)"
    r"|my\s+mistake|(?:scratch|strike)\s+that|i\s+(?:take\s+(?:it|that)\s+back|was\s+wrong)"
    r"|(?:on|upon)\s+(?:second|further|closer)\s+(?:consideration|inspection|look|reflection|thoughts?)"
    r"|let\s+me\s+(?:reconsider|rethink))\b",
    re.IGNORECASE,
)

NOTHING: Final = object()
"""What `json_answer` gives where the reply holds none; None is an answer (`null`)."""


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


# `strict=False` takes raw line breaks inside strings, which models write all the time.
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_constant, strict=False)


def find_json(text: str) -> Iterator[Any]:
    """Give the JSON in a reply: the whole of it, else what stands in fences, else objects and arrays in order."""
    whole = text.strip()
    try:
        value, end = _decode(whole, 0)
    except RecursionError:
        return
    if end == len(whole) and end:
        yield value
        return
    for fenced in text.split("```")[1::2]:
        yield from _scan(fenced)
    yield from _scan(text)


def _scan(text: str) -> Iterator[Any]:
    at = 0
    for _ in range(_TRIES):
        start = _STARTS.search(text, at)
        if start is None:
            return
        try:
            value, end = _decode(text, start.start())
        except RecursionError:
            return  # nested as deep as no model means it; the next try would be no better
        if end:
            yield value
        at = end or start.end()


def _decode(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends; 0 if none does."""
    try:
        return _DECODER.raw_decode(text, start)
    except ValueError:
        return None, 0


def json_answer(text: str, names: frozenset[str] = frozenset()) -> Any:
    """The value of the first JSON object's "answer" (or other of `names`), or `NOTHING`."""
    if "{" not in text:
        return NOTHING
    for found in find_json(text):
        for key, value in found.items() if isinstance(found, dict) else ():
            word = key.strip().casefold().replace("_", " ").removeprefix("final ")
            if word == "answer" or word in names:
                return value
    return NOTHING


def said(value: Any) -> str | None:
    """A JSON scalar as a model would have written it in words, or None for an array, an object or null."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return None


def plain(text: str) -> str:
    """The text without markdown emphasis."""
    return _MARKS.sub(_unless_emphasis, text)


def _unless_emphasis(match: re.Match[str]) -> str:
    """Emphasis opens before a word or closes behind one; `3*4`, `3 * 4` and `snake_case` are none."""
    text, start, end = match.string, match.start(), match.end()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    opens = not before.isalnum() and not after.isspace() and after
    closes = not after.isalnum() and not before.isspace() and before
    return "" if opens or closes else match[0]


def second_thought(text: str) -> str:
    """What stands behind the last place where a text takes back what it said, if it does anywhere."""
    _, *tails = _SECOND_THOUGHT.split(text)
    return tails[-1] if tails else ""


def last_line(text: str) -> str:
    """The last line that has anything on it."""
    return text.rstrip().rpartition("\n")[2]
