"""Reading lists: a JSON array, bullets, or commas on one line."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fanfold.folds.canonical import clean
from fanfold.steps.answers.plain import NONE
from fanfold.steps.answers.reading import Answer, Unreadable, wrapped
from fanfold.steps.answers.replies import find_json, said

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

_BULLET = re.compile(r"(?P<indent>[ \t]{0,20})(?:[-*+•–]|\(?\d{1,3}[.)])[ \t]+(?P<item>\S.*)")
# "- [ ] milk": a box in front of an item.
_BOX = re.compile(r"^([ \t]{0,20})((?:[-*+•–]|\(?\d{1,3}[.)])[ \t]+)?\[[ xX]\][ \t]+(?=[^\s,\]}])", re.MULTILINE)
_QUOTED = re.compile(r"(?P<mark>[\"'`])(?P<inner>[^\"'`]*)(?P=mark)")
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+")
_JSON_LIKE = ("[", "{", "```")


def list_of(item: Answer[T]) -> Answer[list[T]]:
    """The answer that is a list, each item read as `item` says."""
    schema = {"type": "array", "items": item.item_schema}
    wanted = "a list of texts" if item.is_text else f"a list, each item {item.wanted}"
    items = "of strings" if item.is_text else f"in which each item is {item.wanted}"
    return Answer(
        wanted=wanted,
        reader=partial(_read, item),
        schema=wrapped(schema),
        item_schema=schema,
        instruction=f"Reply with only a JSON array {items}.",
    )


def _read(item: Answer[T], text: str) -> list[T]:
    wrong: Unreadable | None = None
    if item.is_text and text.strip()[:1] not in {"[", "{"} and NONE.exact(text) is not None:
        return []
    if item.is_text:  # of choices, which box is ticked is for their reader to see
        text = _BOX.sub(_unboxed, text)
    for values in _arrays(text):
        try:
            return [_item(item, place, _worded(item, value)) for place, value in enumerate(values, 1)]
        except Unreadable as why:
            wrong = wrong or why
    if text.lstrip().startswith(_JSON_LIKE):
        raise wrong or Unreadable("its JSON cannot be read")
    return [_item(item, place, said) for place, said in enumerate(_written(text), 1)]


def _unboxed(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2] or '- '}"


def _arrays(text: str) -> Iterator[list[Any]]:
    """The arrays in a reply; an object that holds nothing but one is that one."""
    for found in find_json(text):
        value = found
        if isinstance(found, dict):
            value = found.get("answer", next(iter(found.values())) if len(found) == 1 else None)
        if isinstance(value, list):
            yield value


def _worded(item: Answer[Any], value: Any) -> str:
    """A JSON item in words; "[1]" is a footnote and no list of texts."""
    if value is None and {"type": "null"} in (item.item_schema or {}).get("anyOf", ()):
        return "null"
    words = value if item.is_text and isinstance(value, str) else None if item.is_text else said(value)
    if words is None:
        raise Unreadable(f"an item of its list is not {item.wanted}")
    return words


def _item(item: Answer[T], place: int, text: str) -> T:
    try:
        return item.reader(text.strip())
    except Unreadable as why:
        raise Unreadable(f"item {place} is not {item.wanted} ({why})") from None


def _written(text: str) -> list[str]:
    """The items of a list in words."""
    lines = [line for line in text.splitlines() if line.strip()]
    bullets = [match for line in lines if (match := _BULLET.fullmatch(line.rstrip()))]
    if bullets:
        return _bulleted(lines, min(len(match["indent"]) for match in bullets))
    if len(lines) == 1:
        return _parted(clean(lines[0]))
    raise Unreadable("the reply is no list")


def _bulleted(lines: list[str], indent: int) -> list[str]:
    """The outermost bullets; what is indented below one belongs to it, and other lines are talk around the list."""
    items: list[str] = []
    inside = False
    for line in lines:
        match = _BULLET.fullmatch(line.rstrip())
        if match and len(match["indent"]) == indent:
            items.append(match["item"])
            inside = True
        elif inside and len(line) - len(line.lstrip()) > indent:
            items[-1] += "\n" + line.strip()
        else:
            inside = False
    return items


def _parted(line: str) -> list[str]:
    if _GROUPED.fullmatch(line):
        raise Unreadable("the reply may be one number or several")
    parts = [part.strip() for part in line.split(", " if ", " in line else ",")]
    if len(parts) > 2:
        parts[-1] = parts[-1].removeprefix("and ").removeprefix("or ")
    return [match["inner"] if (match := _QUOTED.fullmatch(part)) else part for part in parts if part]
