"""JSON as some servers write it: what a strict reader refuses is read once more, for a reply that came is paid for."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from fanfold.core.halves import mended

T = TypeVar("T")

NAMES = frozenset({"id", "model", "system_fingerprint", "finish_reason", "stop_reason", "refusal"})
"""Fields beside the text that are texts themselves; what else stands there tells nothing."""

TEXTS = frozenset({"content", "text"})
"""Fields that may come in pieces, of which a pair may be cut in two."""


def decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """The data as the decoder's type; raises what the decoder does.

    Half a surrogate pair, a byte order mark, NaN and raw line breaks are borne; so are numbers, nulls and lists in
    fields that say something beside the text. What is cut in two is still so in what may be a piece.
    """
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        strict = error
    try:
        tree = _tidied(json.loads(data.decode("utf-8-sig"), strict=False))
        return msgspec.convert(tree, decoder.type)
    except (ValueError, RecursionError, msgspec.ValidationError):
        raise strict from None


def _tidied(value: Any, name: str = "") -> Any:
    if name == "usage":
        return _counts(value)
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if one is not None}
        return {key: _tidied(one, key) for key, one in kept.items() if key not in NAMES or isinstance(one, str)}
    if isinstance(value, list):
        return [_tidied(one) for one in value]
    return mended(value) if isinstance(value, str) and name not in TEXTS else value


def _counts(told: Any) -> Any:
    """A usage whose counts are whole numbers; what is none says nothing."""
    if isinstance(told, dict):
        return {name: _counts(one) for name, one in told.items()}
    if isinstance(told, str):
        told = float(told) if told.isdecimal() else None
    if isinstance(told, float):  # NaN and the infinities are not whole
        told = int(told) if told.is_integer() else None
    return told if isinstance(told, int) else None
