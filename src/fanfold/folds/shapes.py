"""The shape of a record type: its fields with their types, and how one is put together from values.

A record is a pydantic model, a dataclass, a TypedDict or a msgspec struct. Pydantic is known by its marks, and not
imported.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Annotated, Any, Final, NewType, NotRequired, Required, Union, get_args, get_origin, get_type_hints

import msgspec

from fanfold.errors import RecordError, UsageError, described

_WRAPPERS = {Annotated, Required, NotRequired, Final}


class Bare(msgspec.Struct, frozen=True):
    """A type without what refines it (`Annotated`, an alias, ``| None``), and whether None is one of its values."""

    type: Any
    nullable: bool = False


class Field(msgspec.Struct, frozen=True):
    """One field of a record; one that is not `required` may be left out of a TypedDict."""

    name: str
    bare: Bare
    required: bool = True

    @property
    def nullable(self) -> bool:
        """Whether the field may hold None, or nothing."""
        return self.bare.nullable or not self.required


def bare(hint: Any) -> Bare:
    """What stands under a type hint."""
    if isinstance(hint, NewType):
        return bare(hint.__supertype__)
    if hasattr(hint, "__value__") and not isinstance(hint, type):  # type X = ...
        return bare(hint.__value__)
    origin, args = get_origin(hint), get_args(hint)
    if origin in _WRAPPERS or str(origin).endswith(".ReadOnly"):  # which `typing` has from 3.13 on
        return bare(args[0])
    if origin not in {Union, types.UnionType}:
        return Bare(hint)
    rest = [arg for arg in args if arg is not types.NoneType]
    inner = bare(rest[0]) if len(rest) == 1 else Bare(hint)
    return Bare(inner.type, nullable=inner.nullable or len(rest) < len(args))


def record_in(hint: Any) -> Any:
    """The record type that a hint comes to, with ``| None`` or without; None where it is none."""
    found = bare(hint).type
    return found if isinstance(found, type) and _is_record(found) else None


def _is_record(kind: type) -> bool:
    if hasattr(kind, "__pydantic_root_model__") and kind.__pydantic_root_model__:
        return False  # it has one value, and no name for it
    marks = ("__pydantic_fields__", "__struct_fields__", "__required_keys__")
    return dataclasses.is_dataclass(kind) or any(hasattr(kind, mark) for mark in marks)


def shape(record: Any) -> dict[str, Field]:
    """The fields of a record type, in their order; raises `UsageError` where its hints cannot be resolved."""
    if not dataclasses.is_dataclass(record) and hasattr(record, "__pydantic_fields__"):
        return {name: Field(name, bare(info.annotation)) for name, info in record.__pydantic_fields__.items()}
    try:
        hints = get_type_hints(record, include_extras=True)
    except NameError as error:
        raise UsageError(f"the fields of {record.__name__} cannot be told: {error}; define it in a module") from None
    if hasattr(record, "__required_keys__"):
        return {name: Field(name, bare(hint), _is_required(record, name, hint)) for name, hint in hints.items()}
    return {name: Field(name, bare(hints[name])) for name in _names(record)}


def _is_required(record: Any, name: str, hint: Any) -> bool:
    # Under `from __future__ import annotations` the keys' own list does not know of NotRequired.
    marked = get_origin(hint)
    return marked is Required or (marked is not NotRequired and name in record.__required_keys__)


def _names(record: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(record):
        return tuple(field.name for field in dataclasses.fields(record) if field.init)
    names: tuple[str, ...] = record.__struct_fields__
    return names


def is_one(record: Any, value: object) -> bool:
    """Whether a value is a record of this type."""
    return isinstance(value, Mapping) if hasattr(record, "__required_keys__") else isinstance(value, record)


def part(value: Any, name: str) -> Any:
    """One field of a record; None where a TypedDict leaves it out."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name)


def put_together(record: Any, fields: Mapping[str, Field], values: Mapping[str, Any]) -> Any:
    """A record of these values, checked by its own type; raises `RecordError` where that refuses it."""
    given = {
        name: value
        for name, value in values.items()
        if value is not None or fields[name].required or fields[name].bare.nullable
    }
    try:
        if not dataclasses.is_dataclass(record) and hasattr(record, "model_validate"):
            return record.model_validate(given, by_alias=False, by_name=True)
        return record(**given)
    except Exception as error:
        raise RecordError(
            f"the fields that won make no {record.__name__}: {_problems(error)} (.values has them; each was voted on "
            "by itself, so a rule between them may not hold: rule=rules.plurality() votes on whole records)",
            values=dict(given),
        ) from error


def _problems(error: Exception) -> str:
    """What a type has against a record, in one line."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return described(error)
    found = errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in found)
