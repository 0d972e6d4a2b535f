"""Total timeouts: a time given covers everything done inside the block, and its end is a `StepTimeout`."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

from fanfold.core.clock import now
from fanfold.core.numbers import is_seconds
from fanfold.core.scope import Scope, current
from fanfold.errors import LoopError, StepTimeout, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from fanfold.core.ends import Ends


def check_seconds(seconds: float | None, name: str = "timeout") -> None:
    """Refuse a timeout that is not a positive number of seconds; `name` is how the user calls it."""
    if seconds is not None and not is_seconds(seconds):
        raise UsageError(f"{name}={seconds!r}: give a positive number of seconds, or None for no timeout")


REST = 0.2
"""The part of a pattern's timeout that is kept for what follows its branches, where that has no timeout of its own."""


class Total:
    """A pattern's timeout: it covers its branches and what follows them, a merging call, say.

    Where the pattern goes on with what is there, the branches have to leave time for that: `rest` is the timeout of
    what follows, or None for a fifth of the whole. Where it does not, they have all of it (`rest` is 0).
    Raises `UsageError` where nothing is left for the branches.
    """

    def __init__(self, seconds: float | None, what: str, rest: float | None = 0.0) -> None:
        check_seconds(seconds)
        self._what = what
        self._seconds = seconds
        self._rest = 0.0 if seconds is None else REST * seconds if rest is None else rest
        if seconds is not None and self._rest >= seconds:
            raise UsageError(
                f"timeout={seconds:g} of {what} has to cover its branches too, and what follows them may take "
                f"{self._rest:g} s: give it more, or that less"
            )
        self._began = 0.0

    def begin(self) -> float | None:
        """Begin to count; gives the seconds that the branches have."""
        self._began = now()
        return None if self._seconds is None else self._seconds - self._rest

    def remaining(self, finished: Mapping[str, Any] = {}) -> within:
        """A block for what follows the branches; those that `finished` are in its `StepTimeout`."""
        if self._seconds is None:
            return within(None, self._what)
        return within(self._seconds, self._what, until=self._began + self._seconds, finished=finished)


class within:  # noqa: N801  # reads as a word: `with within(seconds, what)`
    """Cancel the block after `seconds` and raise `StepTimeout` naming `what`; None never ends it.

    With `later` the time begins with the first `start()`; with `until` (in the loop's time) it has begun before. What
    runs inside finds its end as its scope's `deadline`: that of `scope`, or the current one, in which nothing else may
    run at the same time. Blocks of equal `seconds` may share their timer, in `ends`.
    The `StepTimeout` carries `finished`.
    """

    __slots__ = (
        "_cancelling",
        "_ends",
        "_expired",
        "_finished",
        "_later",
        "_loop",
        "_outer",
        "_scope",
        "_seconds",
        "_started",
        "_task",
        "_timer",
        "_until",
        "_what",
    )

    def __init__(
        self,
        seconds: float | None,
        what: str,
        *,
        later: bool = False,
        until: float | None = None,
        ends: Ends | None = None,
        finished: Mapping[str, Any] = {},
        scope: Scope | None = None,
    ) -> None:
        if ends is None:  # those of a shared timer are the session's, which has checked them
            check_seconds(seconds)
        self._seconds = seconds
        self._what = what
        self._later = later
        self._until = until
        self._ends = ends
        self._finished = finished
        self._started = False
        self._timer: asyncio.TimerHandle | None = None
        self._scope = scope
        self._outer: float | None = None
        self._expired = False

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._loop = asyncio.get_running_loop()
            task = asyncio.current_task(self._loop)
            if task is None:
                raise LoopError("a timeout needs a task around it")
            self._task = task
            self._cancelling = task.cancelling()
            self._scope = self._scope or current()
            self._outer = None if self._scope is None else self._scope.deadline
            if not self._later:
                self.start()
        return self

    def start(self) -> None:
        """Begin to count, unless that was done before."""
        if self._started or self._seconds is None:
            return
        self._started = True
        end = self._loop.time() + self._seconds if self._until is None else self._until
        if self._ends is None:
            self._timer = self._loop.call_at(end, self.expire)
        else:
            self._ends.add(self, end, self._loop)
        if self._scope is not None:
            self._scope.until(end)

    def expire(self) -> None:
        """The time is over: cancel the block, once."""
        if self._expired:
            return
        self._expired = True
        if self._scope is not None:
            self._scope.forget()
        self._task.cancel()

    # Cancellations are counted as by `asyncio.timeout`, which takes twice the time: one was asked for here, and only
    # where no other is outstanding did the block end because of it.
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        elif self._started and self._ends is not None:
            self._ends.discard(self)
        if self._scope is not None:
            self._scope.deadline = self._outer
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            late = "" if self._scope is None else self._scope.why_late
            raise StepTimeout(
                f"{self._what} took longer than its timeout of {self._seconds:g} s{late}",
                seconds=self._seconds or 0.0,
                finished=self._finished,
            ) from None


NO_END = nullcontext()
"""In place of `within` where nothing ends: there is one, so it costs nothing."""
