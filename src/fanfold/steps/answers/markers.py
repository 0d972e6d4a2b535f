r"""Where a reply names its answer: ``Answer: B``, ``Answer("B")``, ``the answer is B``, ``\boxed{B}``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from fanfold.steps.answers.reading import Unreadable, start_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

Grade = Literal["firm", "soft", "weak"]

FORMULA = r"\\(?:[dt]?frac|sqrt|pi|times|cdot|div|pm|binom|log|ln|exp|sin|cos|tan)(?![a-zA-Z])"
r"""What LaTeX calculates with: the 2 of ``2\pi`` is no answer. The rest of it is dress."""

_SEGMENT = re.compile(r"\s*+([^\n]{0,300}+)(?P<more>[^\n])?")
_LONGEST = 80
_MOST = 200
_LED = re.compile(r"\b(?:the|my|best|correct|final|right)\s{1,3}$", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:wrong|incorrect)\s{1,3}$", re.IGNORECASE)
_EITHER = re.compile(r"[)\]]\s{0,3}(?:or|and|/|&)\s{0,3}$", re.IGNORECASE)
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class Marker(NamedTuple):
    """A place that names an answer, and the rest of its line.

    A firm marker must name one of what was asked for, or there is no answer; a soft one ("the answer is …") may
    turn out to be prose, which then rules out guessing; a weak one ("Verdict: …") counts only if it does.
    """

    value: str
    grade: Grade


class Finder:
    """Finds the markers of a text: those of "the answer", and weak ones of these words besides."""

    def __init__(self, *weak: str) -> None:
        self.cues = ("ans", "\\boxed", "[[", "<answer", "<final", *weak)
        self.head = re.compile(
            rf"""
            <(?P<tag>(?:final[ _]?)?answer)>
            | \\boxed\s{{0,3}}(?P<boxed>\{{)
            | \[\[(?P<double>[^\[\]\n]{{1,60}})\]\]
            | (?:(?P<strong>ans(?:wer)?)|{"|".join(weak)})\b
              (?: (?P<call>\()
                | ["'*`\])]{{0,4}}\s{{0,3}}(?P<colon>[:=\uff1a])
                | (?:\ to\ (?:this|the)\ (?:question|problem))?\s{{1,3}}
                  (?P<is>is|was|of|(?:w|sh)ould\ be|must\ be)\b[:\s]{{0,4}}
                | \s{{0,3}}(?P<dash>->|=>|\u2192|[-–\u2014]\s)
              )
            """,
            re.VERBOSE | re.IGNORECASE,
        )

    def markers(self, text: str) -> Iterator[Marker]:
        """Give the (last few hundred) markers of a text without emphasis; one with nothing behind it is none."""
        for start in sorted(set(self._starts(text)))[-_MOST:]:
            match = self.head.match(text, start)
            marker = _marker(text, match) if match else None
            if marker is not None and marker.value:
                yield marker

    def _starts(self, text: str) -> Iterator[int]:
        """Where a cue stands at the start of a word. Plain searches: one pattern for all is fifty times slower."""
        low = text.lower()
        if len(low) != len(text):  # as a Turkish İ does
            low = text.translate(_LOWER)
        for cue in self.cues:
            start = low.find(cue)
            while start >= 0:
                if not (cue[0].isalpha() and low[start - 1 : start].isalnum()):
                    yield start
                start = low.find(cue, start + len(cue))


def _marker(text: str, match: re.Match[str]) -> Marker | None:
    if match["double"]:
        return Marker(match["double"], "weak")
    if match["boxed"]:
        return Marker(_boxed(text, match.end()), "firm")
    value = _line(text, match.end())
    if match["tag"]:
        return Marker(value.partition("</")[0], "firm")
    if match["call"]:
        either = _EITHER.search(text, max(0, match.start() - 10), match.start())
        line = text.rfind("\n", 0, match.start()) + 1
        value = text[line : line + 4 * _LONGEST].partition("\n")[0] if either else _called(value)
        return Marker(value, "firm" if match["strong"] else "weak")
    if match["strong"]:
        if _DENIED.search(text, max(0, match.start() - 10), match.start()):
            return None
        # A short text behind a colon names something; a long one is the beginning of some reasoning.
        return Marker(value, "firm" if match["colon"] and len(value) <= _LONGEST else "soft")
    # "One option is spam" names none of them the answer; "the best option is spam" does.
    if "\n" in text[match.end() : text.find(value, match.end())]:
        return None
    led = match["colon"] or _LED.search(text, max(0, match.start() - 10), match.start())
    return Marker(value, "weak") if led else None


def _line(text: str, at: int) -> str:
    """The rest of the line, or of the next that has anything on it; a long one ends with a whole word."""
    match = _SEGMENT.match(text, at)
    if match is None:
        return ""
    return (match[1].rpartition(" ")[0] if match["more"] else match[1]).rstrip()


def _called(value: str) -> str:
    """What stands in the parentheses of ``Answer("B") and so on``."""
    quoted = _QUOTED.match(value)
    return quoted["inside"] if quoted else value.partition(")")[0]


_QUOTED = re.compile(r"(?P<mark>[\"'])(?P<inside>[^\"'\n]{0,200})(?P=mark)\s{0,3}(?:$|\))")
_LATEX = re.compile(rf"(?!{FORMULA})\\[a-zA-Z]{{1,20}}|\\[ ,;%$]|[{{}}$~]")
_GROUPS = re.compile(r"\{,\}(?=\d)|,\\!(?=\d)")
_APART = re.compile(r"^[-−]\s(?=[\d.])")
_SPACES = re.compile(r"\s+(?!\s|[kKmM]\b)")  # the "m" of "7 \\text{ m}" is a metre, no million


def _boxed(text: str, start: int) -> str:
    """The content of a LaTeX box in plain words."""
    depth = 1
    for at, sign in enumerate(text[start : start + 300], start):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            content = _LATEX.sub(" ", _GROUPS.sub(",", text[start:at])).strip()
            return _APART.sub("-", _SPACES.sub(" ", content))
    return ""


def settle(found: list[Marker], named: Callable[[Marker], T | None]) -> T | None:
    """What the last marker names; raises `Unreadable` if it is a firm one and names nothing asked for."""
    for marker in reversed(found):
        value = named(marker)
        if value is not None:
            return value
        if marker.grade == "firm":
            raise Unreadable(f"it names {start_of(marker.value)}")
    return None
