"""Reading structures: whatever pydantic validates, from the JSON in a reply."""

from __future__ import annotations

import json
import re
import sys
import types
from functools import partial, reduce
from itertools import islice
from operator import or_
from typing import TYPE_CHECKING, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

from fanfold.folds.canonical import clean
from fanfold.steps.answers.plain import is_none, unwrapped
from fanfold.steps.answers.reading import Answer, Unreadable, unsupported
from fanfold.steps.answers.replies import find_json, json_answer
from fanfold.steps.answers.schemas import is_object, strict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import TypeAdapter, ValidationError

_CANDIDATES = 50
_REASONS = 3


def structure(returns: Any, base: Answer[Any] | None = None, bare: Any = None) -> Answer[Any]:
    """The answer that pydantic validates; with `base`, of `bare`, that reads the words, and pydantic refines them."""
    adapter, described = adapter_of(returns)
    schema = strict(described)
    shown = json.dumps(schema or described, ensure_ascii=False, separators=(",", ":"))
    instruction = f"Reply with only JSON that matches this JSON Schema: {shown}"
    if base is not None:
        refined = described != adapter_of(bare)[1]  # bounds, a pattern or a description
        return Answer(
            wanted=base.wanted,
            reader=partial(_refined, adapter, base, as_json=refined),
            schema=schema,
            instruction=instruction if refined else base.instruction,
            choices=base.choices,
        )
    root = is_object(described)
    name = getattr(returns, "__name__", "") if root else ""
    return Answer(
        wanted=f"a JSON object for {name}" if name else "JSON that matches the schema",
        reader=partial(_read if root else _read_wrapped, adapter),
        schema=schema,
        instruction=instruction,
        name=re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "answer",
    )


def adapter_of(returns: Any) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """What validates a type, and its JSON Schema; raises `UsageError` for what pydantic cannot do."""
    from pydantic import PydanticUserError, TypeAdapter

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_known(returns))
        return adapter, adapter.json_schema()
    except (PydanticUserError, AttributeError, NameError, RecursionError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise unsupported(returns, reason) from error


def _known(returns: Any) -> Any:
    """The type, with `typing.TypedDict` in the form that pydantic takes before Python 3.12."""
    if sys.version_info >= (3, 12):
        return returns
    if is_typeddict(returns) and type(returns).__module__ == "typing":
        return _typed_dict(returns)
    origin, args = get_origin(returns), get_args(returns)
    if origin in {Union, types.UnionType}:
        return reduce(or_, map(_known, args))
    if origin in {Required, NotRequired}:
        return origin[_known(args[0])]
    if not args or origin not in {list, dict, set, tuple}:
        return returns
    return origin[tuple(map(_known, args))]


def _typed_dict(returns: Any) -> Any:
    from typing_extensions import TypedDict

    hints = get_type_hints(returns, include_extras=True)
    fields = {
        name: (Required if name in returns.__required_keys__ else NotRequired)[_known(hint)]
        for name, hint in hints.items()
    }
    make: Any = TypedDict  # checkers take only literal names and fields
    made = make(returns.__name__, fields)
    made.__doc__ = returns.__doc__
    return made


def _read(adapter: TypeAdapter[Any], text: str) -> Any:
    """Read a structure with named fields."""
    return _first_valid(adapter, _objects(text), "it has no JSON object")


def _read_wrapped(adapter: TypeAdapter[Any], text: str) -> Any:
    """Read anything else: from JSON, or from the bare words, as a date or `X | None` may stand there."""
    try:
        return _first_valid(adapter, _contents(text), "it has no JSON")
    except Unreadable as why:
        words = None if is_none(text) else clean(text)
        try:
            return adapter.validate_python(words, strict=False)
        except ValueError:
            raise why from None


def _first_valid(adapter: TypeAdapter[Any], values: Iterator[Any], problem: str) -> Any:
    from pydantic import ValidationError

    first: ValidationError | None = None
    for value in islice(values, _CANDIDATES):
        try:
            # As JSON, since that is what it was: a date is a string there, in strict models too.
            return adapter.validate_json(_dumped(value), strict=False)
        except ValidationError as error:
            first = first or error
    raise Unreadable(_short(first) if first else problem)


def _objects(text: str) -> Iterator[Any]:
    """The objects in a reply, and behind each one what it wraps, if that is all it holds."""
    for found in find_json(text):
        if isinstance(found, dict):
            yield found
            inner = next(iter(found.values())) if len(found) == 1 else None
            if isinstance(inner, dict):
                yield inner


def _contents(text: str) -> Iterator[Any]:
    """The JSON in a reply, each behind what it wraps as "answer"."""
    for found in find_json(text):
        if isinstance(found, dict) and "answer" in found:
            yield found["answer"]
        yield found


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value)
    except RecursionError:
        raise Unreadable("its JSON is nested too deeply") from None


def _refined(adapter: TypeAdapter[Any], base: Answer[Any], text: str, *, as_json: bool) -> Any:
    from pydantic import ValidationError

    words = json_answer(text) if base.is_text and as_json else None  # it was asked for, and may have talk around it
    if not isinstance(words, str):
        words = unwrapped(text) if base.is_text else text
    value = base.reader(words)
    try:
        return adapter.validate_python(value, strict=False)
    except ValidationError as error:
        raise Unreadable(_short(error)) from None


def _short(error: ValidationError) -> str:
    """The first problems, each as "field: problem"."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in problems]
    more = f"; and {len(shown) - _REASONS} more" if len(shown) > _REASONS else ""
    return "; ".join(shown[:_REASONS]) + more
