"""The only door to time, sleep and chance.

Time is the running loop's own, so `fanfold.testing`'s virtual loop moves all of it; no other module of the
package may read a clock, sleep or draw a random number.
"""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Iterator

_running_loop = asyncio.get_running_loop

Chance = random.Random
"""A source of chance, for annotations elsewhere."""

_chance: ContextVar[Chance | None] = ContextVar("fanfold_chance", default=None)
_system = random.SystemRandom()


def now() -> float:
    """Seconds on the running loop's clock; outside a loop, the system's monotonic clock."""
    try:
        return _running_loop().time()
    except RuntimeError:
        return time.monotonic()


class Clock(Protocol):
    """Something that knows the time: a loop."""

    def time(self) -> float:
        """Seconds, as `now`."""
        ...


class _Monotonic:
    __slots__ = ()

    def time(self) -> float:
        return time.monotonic()


class Outside(Protocol):
    """Something that works for a loop in a thread of its own."""

    def busy(self) -> bool:
        """Whether it has something to do."""
        ...


outside: weakref.WeakSet[Outside] = weakref.WeakSet()
"""What there is of that; virtual time stands still while one is busy, for a thread works in real time."""


def clock() -> Clock:
    """What `now` asks, for who asks it often and stays on one loop: to find the loop is a system call each time."""
    try:
        return _running_loop()
    except RuntimeError:
        return _Monotonic()


def today() -> datetime:
    """The date and time of day, in UTC."""
    return datetime.now(UTC)


def wall() -> float:
    """Seconds since 1970, for people to read; never subtract two of them."""
    return time.time()


class _Tick:
    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


TICK = _Tick()
"""What to await to give way for one turn of the loop: as ``sleep(0)``, with nothing to make for it."""


def sleep(seconds: float) -> Coroutine[Any, Any, None]:
    """Wait `seconds` of the running loop's time."""
    return asyncio.sleep(seconds)


def chance() -> Chance:
    """The source of chance: the system's, or the one that `seeded` put in its place."""
    return _chance.get() or _system


def seeded_source(seed: str | int) -> Chance:
    """A source of its own that repeats for a seed, the same in every process."""
    return random.Random(seed)


@contextmanager
def seeded(seed: str | int) -> Iterator[None]:
    """Make chance repeat inside the block, for tests."""
    token = _chance.set(seeded_source(seed))
    try:
        yield
    finally:
        _chance.reset(token)
