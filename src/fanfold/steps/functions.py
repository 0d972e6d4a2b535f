"""What can be told of a plain function before it is called: what it takes, what it gives, whether it calls models."""

from __future__ import annotations

import inspect
from types import BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any

from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

BUILT_IN = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)


def calls_nothing(function: Callable[..., Any]) -> bool:
    """Whether a function is one that is not written in Python, as ``str.upper``: those call no model."""
    return isinstance(function, BUILT_IN) or (isinstance(function, type) and function.__module__ == "builtins")


def check_gives_one(function: Callable[..., Any], name: str) -> None:
    """Refuse a function that yields, with `async` or without."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"{name}() yields, and a step gives one value: let it return that, as a list, say")


def check_takes_one(function: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called with one input alone."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL}]
    needed = [p for p in parameters if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
    if not positional or len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        name = getattr(function, "__name__", repr(function))
        raise UsageError(
            f"{name}() cannot be a step: a step takes one input (put several values into a dict or a dataclass)"
        )
