"""What models and servers wrote, as a terminal may be given it: an escape sequence is shown, and does nothing."""

from __future__ import annotations

import re

_ACTS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")


def visible(text: str) -> str:
    """A text whose control characters are spelled as Python spells them; line breaks and tabs stay."""
    return _ACTS.sub(lambda found: repr(found[0])[1:-1], text)


def lines_of(lines: list[str]) -> str:
    """Lines for people, each with its end."""
    return "".join(f"{visible(line)}\n" for line in lines)


def flat(text: str, most: int) -> str:
    """A text in one line of at most so many characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
