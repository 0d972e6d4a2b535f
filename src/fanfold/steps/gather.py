"""Several steps at once from plain Python: typed like asyncio.gather, but a fan, so nothing is orphaned."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, overload

from fanfold.core.fan import fan
from fanfold.core.records import Branch
from fanfold.errors import BranchError, UsageError
from fanfold.folds.collect import Collect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


@overload
async def gather(first: Awaitable[A], /) -> tuple[A]: ...
@overload
async def gather(first: Awaitable[A], second: Awaitable[B], /) -> tuple[A, B]: ...
@overload
async def gather(first: Awaitable[A], second: Awaitable[B], third: Awaitable[C], /) -> tuple[A, B, C]: ...
@overload
async def gather(
    first: Awaitable[A], second: Awaitable[B], third: Awaitable[C], fourth: Awaitable[D], /
) -> tuple[A, B, C, D]: ...
@overload
async def gather(
    first: Awaitable[A], second: Awaitable[B], third: Awaitable[C], fourth: Awaitable[D], fifth: Awaitable[E], /
) -> tuple[A, B, C, D, E]: ...
@overload
async def gather(*awaitables: Awaitable[A]) -> tuple[A, ...]: ...
async def gather(*awaitables: Awaitable[Any]) -> tuple[Any, ...]:
    """Await all at the same time and give their values, in order.

    The first error cancels the others, waits until they are gone, and is raised as it is. None outlives the
    call, however it ends. Raises `UsageError` for what cannot be awaited, as a step that was not called.
    """
    given: tuple[object, ...] = awaitables
    wrong = [one for one in given if not inspect.isawaitable(one)]
    if wrong:
        _close(awaitables)
        raise UsageError(f"gather() takes what is awaited, not {wrong[0]!r}: call a step with its input, as step(x)")
    branches = [Branch(str(at), _Given(awaitable)) for at, awaitable in enumerate(awaitables)]
    try:
        return tuple((await fan(branches, Collect[Any]())).values.values())
    except BranchError as failed:
        _close(awaitables)
        error = failed.__cause__ or failed
    except BaseException:
        _close(awaitables)
        raise
    # Not where the other is handled: "from None" would take from it the cause and the context that it has.
    raise error


class _Given:
    """How to start what is there already."""

    __slots__ = ("_awaitable",)

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable

    def __call__(self) -> Awaitable[Any]:
        return self._awaitable


def _close(awaitables: Iterable[Awaitable[Any]]) -> None:
    """A coroutine that was cancelled before it began would warn that it was never awaited."""
    for awaitable in awaitables:
        if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
            awaitable.close()
