"""Reading one of a declared set of values: a `Literal`, or an Enum's members."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any

from fanfold.errors import UsageError
from fanfold.steps.answers import numbers
from fanfold.steps.answers.reading import Answer, Unreadable, unsupported, wrapped
from fanfold.steps.answers.replies import plain
from fanfold.steps.answers.words import Vocabulary, decide

if TYPE_CHECKING:
    from collections.abc import Sequence

_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def of_values(values: Sequence[Any], returns: Any) -> Answer[Any]:
    """The answer that is one of a Literal's values."""
    if not values:
        raise unsupported(returns, "it leaves no choice")
    return _choice(values)


def of_enum(returns: type[Enum]) -> Answer[Any]:
    """The answer that is a member of an Enum, by value or by name."""
    members = list(returns)
    others = [(name, members.index(member)) for name, member in returns.__members__.items()]
    if not members:
        raise unsupported(returns, "it has no members")
    return _choice(members, others)


def _choice(values: Sequence[Any], others: Sequence[tuple[str, int]] = ()) -> Answer[Any]:
    sent = [_sent(value) for value in values]
    texts = [text if isinstance(text, str) else json.dumps(text) for text in sent]
    reader = Choice(values, texts, others)
    schema = {"type": _types(sent), "enum": sent}
    listed = ", ".join(text if text.replace(" ", "").isalnum() else json.dumps(text) for text in texts)
    return Answer(
        wanted=f"one of {listed}",
        reader=reader,
        schema=wrapped(schema),
        item_schema=schema,
        instruction=f"Reply with exactly one of: {listed}.",
        choices=tuple(values),
    )


def _sent(value: Any) -> Any:
    """What stands for a value in a reply: itself, a member's value, or its name where JSON has no such value."""
    if isinstance(value, Enum):
        return value.value if type(value.value) in _JSON_TYPES else value.name
    if type(value) not in _JSON_TYPES:
        raise UsageError(f"{value!r} cannot be a choice: use strings, ints, bools or Enum members")
    return value


def _types(sent: Sequence[Any]) -> str | list[str]:
    types = list(dict.fromkeys(_JSON_TYPES[type(value)] for value in sent))
    return types[0] if len(types) == 1 else types


class Choice:
    """The reader of one declared set."""

    def __init__(self, values: Sequence[Any], texts: Sequence[str], others: Sequence[tuple[str, int]]) -> None:
        self.values = tuple(values)
        self.words = Vocabulary(texts, others)
        self.by_number = _by_number(texts)

    def __call__(self, text: str) -> Any:
        """Read the one that the reply chooses."""
        if not self.by_number:
            return self.values[decide(self.words, text)]
        digits = numbers.stated(text) or numbers.scaled(plain(text))
        if digits is None:
            begun = numbers.begun(plain(text))
            if begun is not None and numbers.as_int(begun) not in self.by_number:
                raise Unreadable(f"{begun} is none of them")  # "Score: 7 -> 4" is no 4
            return self.values[decide(self.words, text)]
        number = numbers.as_int(digits)
        numbers.check_top(plain(text), number, max(self.by_number))
        found = self.by_number.get(number)
        if found is None:
            raise Unreadable(f"{digits} is none of them")
        return self.values[found]


def _by_number(texts: Sequence[str]) -> dict[int, int]:
    """The places of choices that are all whole numbers, which are read as numbers ("4/5"); else nothing."""
    if not all(text.removeprefix("-").isdecimal() and text.isascii() for text in texts):
        return {}
    found = {int(text): at for at, text in enumerate(texts)}
    return found if len(found) == len(texts) else {}
