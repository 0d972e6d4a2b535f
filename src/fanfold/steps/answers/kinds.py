"""From the type that a prompt `returns=` to its answer."""

from __future__ import annotations

import types
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from fanfold.steps.answers import choices
from fanfold.steps.answers.lists import list_of
from fanfold.steps.answers.numbers import number, whole_number
from fanfold.steps.answers.plain import optional, text
from fanfold.steps.answers.reading import Answer, unsupported
from fanfold.steps.answers.truth import truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeForm

T = TypeVar("T")


def answer(returns: TypeForm[T]) -> Answer[T]:
    """How to ask for a value of type `returns`, and how to read the reply.

    Takes `str` (the reply as it is), `int`, `float`, `bool`, `Literal[...]`, an Enum, `list[...]` of these, any of
    them with `| None`, and whatever pydantic can validate: models, dataclasses, TypedDicts, and so on. Raises
    `UsageError` for anything else.
    """
    made: Answer[T] | None = _simple(returns)
    if made is not None:
        return made
    if returns is types.NoneType or not _is_type(returns):
        raise unsupported(returns)
    from fanfold.steps.answers.structures import structure

    bare = _bare(returns)
    structured: Answer[T] = structure(returns, _simple(bare), bare)
    return structured


def _is_type(returns: Any) -> bool:
    """Whether this may be a type at all: a class, or what `typing` makes of classes; no value and no function."""
    form = type(returns).__module__ in {"types", "typing", "typing_extensions"}
    return isinstance(returns, type) or get_origin(returns) is not None or form


def _simple(returns: Any) -> Answer[Any] | None:
    """The answers that need no pydantic, or None."""
    returns = getattr(returns, "__value__", returns)  # type X = ...
    if isinstance(returns, type) and returns in _PLAIN:
        return _PLAIN[returns]()
    if isinstance(returns, type) and issubclass(returns, Enum):
        return choices.of_enum(returns)
    origin, args = get_origin(returns), get_args(returns)
    if origin is Literal:
        made = choices.of_values([value for value in args if value is not None], returns)
        return optional(made) if None in args else made
    if origin is list:
        item = _simple(args[0])
        return list_of(item) if item is not None and get_origin(args[0]) is not list and args[0] is not list else None
    return _either(args) if origin in {Union, types.UnionType} else None


def _either(args: tuple[Any, ...]) -> Answer[Any] | None:
    """``X | None`` of a simple X; other unions are pydantic's."""
    rest = [arg for arg in args if arg is not types.NoneType]
    item = _simple(rest[0]) if len(rest) == 1 else None
    return None if item is None else optional(item)


def _bare(returns: Any) -> Any:
    """The type under what refines it: ``Annotated[int, Field(ge=1)]``, a NewType."""
    if get_origin(returns) is Annotated:
        return get_args(returns)[0]
    return getattr(returns, "__supertype__", None)


def _lines() -> Answer[list[str]]:
    return list_of(text())


_PLAIN: dict[type, Callable[[], Answer[Any]]] = {
    str: text,
    int: whole_number,
    float: number,
    bool: truth,
    list: _lines,
}
