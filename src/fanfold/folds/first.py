"""The fold of a race: the first success is the answer, and the others are cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from fanfold.core.records import Arrival, Go, Why
from fanfold.errors import QuorumError, StepTimeout, described

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Won(msgspec.Struct, Generic[T], frozen=True):
    """Who was first, its value, and what went wrong with those that failed before it."""

    index: int
    name: str
    value: T
    failed: dict[str, str]


class First(Generic[T]):
    """Take the first success; a failure makes room for the next.

    `together` branches are launched at the beginning (None: all); each failure launches one more. The winner's held
    text is released, that of the others never is. Without any success it raises `QuorumError`, or `StepTimeout`
    where the fan's `timeout` (only for the words here) was over.
    """

    def __init__(self, together: int | None = None, timeout: float | None = None) -> None:
        self.together = together
        self.timeout = timeout
        self.names: Sequence[str] = ()
        self.won: tuple[int, T] | None = None
        self.errors: dict[int, BaseException] = {}

    def begin(self, names: Sequence[str]) -> Go:
        """Launch all, or the first few."""
        self.names = names
        return Go(more=len(names) if self.together is None else self.together)

    def add(self, arrival: Arrival[T], flying: int) -> Go:
        """Enough at the first success."""
        del flying
        if arrival.error is not None:
            self.errors[arrival.index] = arrival.error
            return Go(more=1)
        value: T = arrival.value  # type: ignore[assignment]  # a value where no error is
        self.won = (arrival.index, value)
        return Go(enough=True, release=(arrival.index,))

    def end(self, why: Why) -> Won[T]:
        """The winner, or what became of each."""
        failed = {self.names[index]: described(error) for index, error in self.errors.items()}
        if self.won is not None:
            index, value = self.won
            return Won(index, self.names[index], value, failed)
        if why == "timeout":
            raise StepTimeout(
                f"no branch succeeded within {self.timeout or 0:g} s" + _listed(failed), seconds=self.timeout or 0.0
            )
        first = self.errors[min(self.errors)] if self.errors else None
        raise QuorumError(f"all {len(self.names)} branches failed" + _listed(failed), missing=failed) from first


def _listed(failed: dict[str, str]) -> str:
    return "".join(f"; {name}: {reason}" for name, reason in failed.items())
