"""Several steps at once from plain Python: typed like asyncio.gather, but a fan, so nothing is orphaned."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, overload

from fanfold.core.fan import fan
from fanfold.core.records import Branch
from fanfold.errors import BranchError
from fanfold.folds.collect import Collect

if TYPE_CHECKING:
    from collections.abc import Awaitable

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
    call, however it ends.
    """
    branches = [Branch(str(at), _Given(awaitable)) for at, awaitable in enumerate(awaitables)]
    try:
        collected = await fan(branches, Collect[Any]())
    except BaseException as failed:
        for awaitable in awaitables:
            _close_unstarted(awaitable)
        if not isinstance(failed, BranchError) or failed.__cause__ is None:
            raise
        raise failed.__cause__ from None
    return tuple(collected.values.values())


class _Given:
    """How to start what is there already."""

    __slots__ = ("_awaitable",)

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable

    def __call__(self) -> Awaitable[Any]:
        return self._awaitable


def _close_unstarted(awaitable: Awaitable[Any]) -> None:
    """A coroutine that was cancelled before it began would warn that it was never awaited."""
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
        awaitable.close()
