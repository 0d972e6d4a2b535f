"""When two ballots are the same vote: the key each one is counted under."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any
from unicodedata import normalize

from fanfold.errors import UsageError

# Everything `str.isspace` knows, so that one `rstrip` takes spaces and punctuation in any mix.
_SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
_SPACES += "".join(map(chr, range(0x2000, 0x200B)))
_ENDS = ".,;:!?…\u3002\uff01\uff0c\uff1a\uff1b\uff1f" + _SPACES  # with the full-width ones
_LEAD_STARTS = "*_aAtTfFcC"
_PAIRS = {"*": "*", "_": "_", "`": "`", '"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "«": "»"}

# The emphasis that opens before the words closes at the colon ("**Answer:** x", "**Answer**: x"): one that
# opens here and closes at the end of the text is a pair around the whole, and is stripped as such.
_LEAD = re.compile(
    r"(?:(?P<mark>[*_]{0,3})(?:the\s{1,3})?(?:(?:final|correct)\s{1,3})?answer"
    r"(?:\s{0,3}:\s{0,3}(?P=mark)|(?P=mark)\s{0,3}:|(?P=mark)\s{1,3}is\b(?:\s{0,3}:)?)\s*+(?=.))+",
    re.IGNORECASE | re.DOTALL,
)


def clean(text: str) -> str:
    """Return `text` without what only dresses it up; case and inner text stay.

    Dress is: markdown emphasis, backticks and quotes around the whole, punctuation at its end, an "Answer:" or
    "The final answer is" in front, and runs of whitespace. Cleaning twice is cleaning once, and a text made
    of dress alone stays as it is, so that "?" and "!" remain two answers.
    """
    if text.isalnum():  # most ballots are one word
        return text
    bare, before = text.strip(), ""
    while bare != before:
        before, bare = bare, _without_lead(_without_pair(bare.rstrip(_ENDS)))
    return " ".join((bare or text).split())


def _without_pair(text: str) -> str:
    """Drop marks that enclose the whole; `**a** and **b**` encloses two things, and stays."""
    if not text or text[-1] != (close := _PAIRS.get(text[0])):
        return text
    inner = text.lstrip(text[0])
    opened = len(text) - len(inner)
    inner = inner.rstrip(close)
    whole = opened == len(text) - opened - len(inner) and not {text[0], close} & set(inner)
    return inner.strip() if inner and whole else text


def _without_lead(text: str) -> str:
    match = _LEAD.match(text) if text[:1] in _LEAD_STARTS else None
    return text[match.end() :] if match else text


def ballot_key(value: object) -> Hashable:
    """Return the group a ballot belongs to: equal keys are the same vote.

    Texts are alike up to dress (`clean`), case and encoding of accents; 1 and 1.0 are one number, True is none,
    and "1" is a text; an enum counts by its member. Lists, mappings and records (dataclasses, pydantic models,
    msgspec structs) count as the JSON they stand for, field by field under these same rules, whatever the order
    of the fields.
    Raises `UsageError` for what cannot be compared.
    """
    if isinstance(value, str) and not isinstance(value, Enum):
        return ("text", normalize("NFC", clean(value)).casefold())
    key = _scalar_key(value)
    return _structure_key(value) if key is None else key


def _scalar_key(value: object) -> Hashable | None:
    if value is None:
        return ("none",)
    if isinstance(value, Enum):
        return ("enum", type(value), str(value.name))
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, (int, float, Decimal, Fraction)):
        # nan is unequal to itself: left as a number, every nan would be a group of its own.
        lost = value.is_nan() if isinstance(value, Decimal) else isinstance(value, float) and math.isnan(value)
        return ("number", "nan" if lost else value)
    return None


def _structure_key(value: object) -> Hashable:
    if isinstance(value, (list, tuple)):
        return ("list", tuple(map(ballot_key, value)))
    if isinstance(value, AbstractSet):
        return ("set", frozenset(map(ballot_key, value)))
    fields = value if isinstance(value, Mapping) else _fields(value)
    if fields is not None:
        return ("object", frozenset((_name(name), ballot_key(item)) for name, item in fields.items()))
    if type(value).__hash__ is None:
        raise UsageError(
            f"ballots of type {type(value).__name__} cannot be counted: return a text, a number, a bool, an enum, "
            f"a list, a mapping, or a dataclass, pydantic or msgspec record"
        )
    return ("other", type(value), value)


def _name(key: object) -> Hashable:
    """A mapping's key exactly as it is: field names are no prose."""
    return key if isinstance(key, str) else ballot_key(key)


def _fields(value: Any) -> Mapping[str, object] | None:
    """The fields of a record, or None. Pydantic and msgspec are known by their marks, and not imported."""
    if isinstance(value, type):
        return None
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}
    if hasattr(kind, "__struct_fields__"):
        return {name: getattr(value, name) for name in kind.__struct_fields__}
    if hasattr(kind, "__pydantic_fields__"):
        return {**vars(value), **(value.model_extra or {})}
    return None
