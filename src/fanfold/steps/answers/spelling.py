"""How words of a fixed set are spelled and told apart: as loosely as still keeps all of them distinct."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from fanfold.errors import UsageError
from fanfold.folds.canonical import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WORD = re.compile(r"[^\W_]+")

_BEFORE = r"(?<!\w)(?<!\w[-'\u2019])"
_AFTER = r"(?!\w)(?!-\w)(?![.,]\d)"
_NUMERIC_BEFORE = _BEFORE + r"(?<![-−.])(?<!\d[,:/])"


def loose(text: str) -> str:
    """The words alone: no case, no punctuation, no markdown."""
    return " ".join(_WORD.findall(text.casefold()))


def _folded(text: str) -> str:
    return clean(text).casefold()


_LEVELS: tuple[Callable[[str], str], ...] = (loose, _folded, clean, str.strip)


def level(texts: Sequence[str]) -> Callable[[str], str]:
    """The loosest way to compare that tells all `texts` apart: "C" and "C++" need their signs, "us" and "US" case."""
    for key in _LEVELS:
        keys = [key(text) for text in texts]
        if all(keys) and len(set(keys)) == len(keys):
            return key
    raise UsageError(f"these choices cannot be told apart in a reply: {', '.join(map(repr, texts))}")


def cares_for_case(key: Callable[[str], str]) -> bool:
    """Whether a way to compare tells upper case from lower."""
    return key in _LEVELS[2:]


def word_pattern(text: str, key: Callable[[str], str]) -> str:
    """A regular expression for one spelling as a whole word, in running text."""
    before = _NUMERIC_BEFORE if text[:1].isdecimal() else _BEFORE
    return f"{before}{_loosely(text) if key is loose else _exactly(clean(text))}{_AFTER}"


def _loosely(text: str) -> str:
    """Between words stands what was declared, or a space, a hyphen or an underscore."""
    words = list(_WORD.finditer(text))
    parts = [re.escape(words[0][0])]
    for left, right in pairwise(words):
        between = re.escape(text[left.end() : right.start()])
        parts.append(rf"(?:[\s_-]{{1,3}}|{between}){re.escape(right[0])}")
    return "".join(parts)


def _exactly(text: str) -> str:
    return r"\s{1,3}".join(map(re.escape, text.split()))
