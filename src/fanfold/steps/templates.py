"""Templates: text with ``{identifier}`` in it, and what an input offers to fill it.

Only ``{identifier}`` is a field; ``{{`` and ``}}`` write braces, and other braces, as in JSON, stay as they are.
Values go in once and are never read as a template again, for they come from users and models.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from enum import Enum
from itertools import islice
from typing import Any

import msgspec

from fanfold.core.numbers import named, nameless
from fanfold.errors import TemplateError

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")

_NAMES, _SHOWN = 30, 60
"""How many names an error shows, and how much of each."""


class Template:
    """A parsed template: pieces of text and fields in turn; `fields` are the names it needs."""

    __slots__ = ("_pieces", "fields", "source")

    def __init__(self, source: str, pieces: Sequence[str] | None = None) -> None:
        if not isinstance(source, str):
            raise TemplateError(f"a template is text, not {type(source).__name__}")
        self.source = source
        self._pieces = tuple(_parse(source) if pieces is None else pieces)
        self.fields = frozenset(self._pieces[1::2])

    @classmethod
    def literal(cls, text: str) -> Template:
        """A template without fields, whatever braces the text has."""
        return cls(text, (text,))

    def after(self, text: str) -> Template:
        """The same template behind a text, which is not read as a template."""
        return Template(self.source, (text + self._pieces[0], *self._pieces[1:]))

    def fill(self, values: Mapping[str, Any]) -> str:
        """The text with every field filled; raises `TemplateError` naming what is not there."""
        pieces = self._pieces
        if len(pieces) == 1:
            return pieces[0]
        filled = list(pieces)
        for position in range(1, len(pieces), 2):
            name = pieces[position]
            if name not in values:
                raise TemplateError(missing_field(name, values))
            filled[position] = render(values[name])
        return "".join(filled)


def missing_field(name: str, values: Mapping[str, Any]) -> str:
    """What to say of a field that the input lacks."""
    there = names_of(values, "{{{}}}")
    return (
        f"the template names {{{name}}}, which its input does not have (it has: {there}); "
        f"to write a brace itself, double it: {{{{{name}}}}}"
    )


def names_of(values: Iterable[Any], form: str = "{}") -> str:
    """The names that an input has, on one line that is no longer than it helps: a model may have written them."""
    names = [form.format(_shortened(str(name))) for name in islice(values, _NAMES + 1)]
    return ", ".join([*names[:_NAMES], "…"] if len(names) > _NAMES else names)


def _shortened(name: str) -> str:
    shown = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in name[:_SHOWN])
    return shown if len(name) <= _SHOWN else f"{shown}…"


def check_fields(what: str, needs: frozenset[str], there: Iterable[str] | None) -> None:
    """Before anything is sent: raise `TemplateError` for a field that is not `there` (None: that is not known yet)."""
    found = dict.fromkeys(needs if there is None else there)
    for name in sorted(needs - found.keys()):
        raise TemplateError(f"{what}: {missing_field(name, found)}")


def _parse(source: str) -> list[str]:
    """Text and field names in turn, text at both ends.

    A ``}}`` is a written brace only where a ``{{`` opened one: the end of a JSON example is two braces and stays.
    """
    pieces: list[str] = []
    text = ""
    position = 0
    opened = 0
    for token in _TOKEN.finditer(source):
        text += source[position : token.start()]
        position = token.end()
        if token[1]:
            pieces += [text, token[1]]
            text = ""
        elif token[0] == "{{":
            opened += 1
            text += "{"
        else:
            text += "}" if opened else "}}"
            opened = max(0, opened - 1)
    return [*pieces, text + source[position:]]


def fields_of(given: Any) -> dict[str, Any]:
    """What an input offers to a template: its own names, and ``input``, itself as a whole."""
    if isinstance(given, str):
        return {"input": given}
    own = own_names(given)
    return {"input": given, **own}


def own_names(given: Any) -> Mapping[str, Any]:
    """The names that a mapping or a record has of its own; none for anything else."""
    if isinstance(given, Mapping):
        return given
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        names = [field.name for field in dataclasses.fields(given)]
        return {name: getattr(given, name) for name in names if hasattr(given, name)}  # one may not be set yet
    if isinstance(given, msgspec.Struct):
        return msgspec.structs.asdict(given)
    if hasattr(type(given), "model_fields"):
        named = {name: getattr(given, name) for name in type(given).model_fields}
        return {**named, **(getattr(given, "model_extra", None) or {})}
    if isinstance(given, tuple) and hasattr(given, "_asdict"):
        return dict(given._asdict())
    return {}


def render(value: Any) -> str:
    """A value as a model should read it: text as it is, a list of texts as lines, structures as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Enum):
        return render(value.value)
    if isinstance(value, Sequence) and value and all(isinstance(item, str) for item in value):
        return "\n".join(f"- {item}" for item in value)
    if isinstance(value, bool | int | float) or value is None:
        return str(value)
    text = written(ordered(value))
    if text.startswith(b'"'):  # a date, a decimal number: a text, too
        return str(msgspec.json.decode(text))
    return msgspec.json.format(text, indent=2).decode()


def written(value: Any) -> bytes:
    """A value as JSON; a number that JSON has not (NaN, an infinity) by its name, for it must not become nothing."""
    text = msgspec.json.encode(value, enc_hook=plain)
    if b"null" not in text:
        return text
    with suppress(RecursionError, TypeError):  # JSON goes deeper than this does, and has names of more kinds
        data = msgspec.to_builtins(value, enc_hook=plain)
        if nameless(data):
            text = msgspec.json.encode(named(data))
    return text


def told(value: Any) -> str:
    """A value as people read it, whatever it is: what JSON cannot say by its text."""
    try:
        return render(value)
    except (TypeError, ValueError, RecursionError):
        return spoken(value, str)


def spoken(value: Any, by: Callable[[Any], str]) -> str:
    """The text of a value `by` str or repr, which neither gives of what is too deep."""
    try:
        return by(value)
    except RecursionError:
        return f"a {type(value).__name__} too deep to be shown"


def ordered(value: Any) -> Any:
    """A value with its sets, if there are any, as lists in an order that is the same in every process."""
    with suppress(TypeError, ValueError, RecursionError):  # what cannot be put in order, or said at all
        if isinstance(value, AbstractSet):
            return _sorted(list(map(ordered, value)))
        if not _has_set(value):
            return value
        if isinstance(value, msgspec.Struct):  # whose fields may have other names in JSON
            return msgspec.to_builtins(value, enc_hook=plain, order="deterministic")
        if isinstance(value, list | tuple):
            return list(map(ordered, value))
        return {name: ordered(one) for name, one in own_names(value).items()}
    return value


def _sorted(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:  # of several kinds, or of one without an order
        return sorted(items, key=lambda item: msgspec.json.encode(item, enc_hook=plain))


def _has_set(value: Any) -> bool:
    if value is None or isinstance(value, str | int | float):
        return False
    if isinstance(value, AbstractSet):
        return True
    return any(map(_has_set, value if isinstance(value, list | tuple) else own_names(value).values()))


def plain(value: Any) -> Any:
    """A value that JSON can write, for what it cannot: models by their fields, anything else by its text.

    A number of a type of its own is a number still; numpy's numbers and arrays, whose text leaves out the middle of
    what is long, are what they hold; so is JSON that is not read yet.
    """
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if not isinstance(value, type) and callable(listed := getattr(value, "tolist", None)):
        held = listed()
        if type(held) is not type(value):  # some of numpy's numbers give themselves
            return held
    own = own_names(value)
    return dict(own) if own else str(value)
