r"""Where a reply names its answer: ``Answer: B``, ``Answer("B")``, ``the answer is B``, ``\boxed{B}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeVar

from fanfold.steps.answers.reading import Unreadable, start_of

T = TypeVar("T")

Grade = Literal["firm", "soft", "weak"]

LABELS = (
    "category|choice|class|classification|conclusion|decision|judge?ment|label|option|output|prediction"
    "|response|result|selection|verdict|winner"
)
"""Words that may name a choice, if a choice follows them."""

_SEGMENT = re.compile(r"\s*+([^\n]{0,300})")
_LONGEST = 80


class Marker(NamedTuple):
    """A place that names an answer, and the rest of its line.

    A firm marker must name one of what was asked for, or there is no answer; a soft one ("the answer is …") may
    turn out to be prose, which then rules out guessing; a weak one ("Verdict: …") counts only if it does.
    """

    value: str
    grade: Grade


def pattern(weak: str) -> re.Pattern[str]:
    """What finds markers, with these words besides "answer"."""
    return re.compile(
        rf"""
        <(?P<tag>(?:final[ _]?)?answer)>
        | \\boxed\s{{0,3}}(?P<boxed>\{{)
        | \[\[(?P<double>[^\[\]\n]{{1,60}})\]\]
        | (?<!wrong\ )(?<!incorrect\ )(?P<led>\b(?:the|my|best|correct|final|right)\s{{1,3}})?
          \b(?:(?P<strong>ans(?:wer)?)|(?:{weak}))\b
          (?: (?P<call>\()
            | ["'*`\])]{{0,4}}\s{{0,3}}(?P<colon>[:=\uff1a])
            | (?:\ to\ (?:this|the)\ (?:question|problem))?\s{{1,3}}(?P<is>is|was|of|(?:w|sh)ould\ be|must\ be)\b[:\s]{{0,4}}
            | \s{{0,3}}(?P<dash>->|=>|\u2192|[-–\u2014]\s)
          )
        """,
        re.VERBOSE | re.IGNORECASE,
    )


def markers(text: str, finder: re.Pattern[str]) -> Iterator[Marker]:
    """Give the markers of a text (without emphasis), in order; one with nothing behind it is none."""
    for match in finder.finditer(text):
        marker = _marker(text, match)
        if marker is not None and marker.value:
            yield marker


def _marker(text: str, match: re.Match[str]) -> Marker | None:
    if match["double"]:
        return Marker(match["double"], "weak")
    if match["boxed"]:
        return Marker(_boxed(text, match.end()), "firm")
    value = _line(text, match.end())
    if match["tag"]:
        return Marker(value.partition("</")[0], "firm")
    if match["call"]:
        return Marker(_called(value), "firm" if match["strong"] else "weak")
    if match["strong"]:
        # A short text behind a colon names something; a long one is the beginning of some reasoning.
        return Marker(value, "firm" if match["colon"] and len(value) <= _LONGEST else "soft")
    # "One option is spam": only what is led in as the one that counts.
    return Marker(value, "weak") if match["colon"] or match["led"] else None


def _line(text: str, at: int) -> str:
    match = _SEGMENT.match(text, at)
    return match[1].rstrip() if match else ""


def _called(value: str) -> str:
    """What stands in the parentheses of ``Answer("B") and so on``."""
    quote = value[:1]
    if quote in {'"', "'"} and quote in value[1:]:
        return value[1 : value.index(quote, 1)]
    return value.partition(")")[0]


_LATEX = re.compile(r"\\[a-zA-Z]{1,10}\b|\\[ ,;!%$]|[{}$]")


def _boxed(text: str, start: int) -> str:
    """The content of a LaTeX box in plain words."""
    depth = 1
    for at, sign in enumerate(text[start : start + 300], start):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return _LATEX.sub(" ", text[start:at]).strip()
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
