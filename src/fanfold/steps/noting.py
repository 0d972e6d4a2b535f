"""What a step keeps in the journal of its run beside its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.scope import current
from fanfold.errors import UsageError
from fanfold.steps.keys import digest_of, opaque

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def noted(what: bytes, make: Callable[[], Awaitable[Any]]) -> Any:
    """What chance decides beside the calls, as how much of a text had come when somebody looked; JSON can say it.

    Where all of this happened before it is what it was then. Elsewhere it is made anew, also in a run that is resumed:
    what it was taken from may have changed.
    """
    scope = current()
    if scope is None or scope.book is None:
        return await make()
    nth = scope.count(scope.place, what)
    told = scope.book.value(scope.place, nth, what) if scope.settled else None
    if told is not None:
        return msgspec.json.decode(told)
    value = await make()
    _ = scope.book.keep_value(scope.place, nth, what, value)
    return value


async def given_back(given: Any, make: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a step that keeps its own: what the journal has for this place and input, or made, and kept.

    Raises `UsageError` for an input that another process could not tell from others.
    """
    scope = current()
    if scope is None or scope.book is None:
        return await make()
    what = digest_of(given)
    if what is None:
        raise UsageError(
            f"the step at {scope.place!r} keeps its result in the journal, which could not find it again: its input "
            f"holds a {opaque(given)}, which has no text of its own; give plain data, or leave out journal=True"
        )
    nth = scope.count(scope.place, what)
    told = scope.book.value(scope.place, nth, what)
    if told is not None:
        return msgspec.json.decode(told)
    value = await make()
    kept = scope.book.keep_value(scope.place, nth, what, value)
    if kept is not None:
        await kept
    return value
