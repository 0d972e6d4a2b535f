"""Named points around a commit, where a test may let the process die or the disk fail."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Point = Literal["before_commit", "after_commit"]
"""A batch is in the transaction and nothing of it on the disk; it is on the disk, and nobody knows yet."""

_armed: dict[Point, Callable[[], None]] = {}


@contextmanager
def armed(point: Point, action: Callable[[], None]) -> Iterator[None]:
    """Do `action` on the writer's thread each time that it reaches `point`, inside the block."""
    _armed[point] = action
    try:
        yield
    finally:
        del _armed[point]


def reach(point: Point) -> None:
    """The writer is here."""
    action = _armed.get(point)
    if action is not None:
        action()
