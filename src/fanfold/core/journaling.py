"""What the road, the fans and the steps see of a journal: the book of one run, and what stands in it.

The journal itself lies in a room that these cannot enter; they reach it through the protocols here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from fanfold.core.records import Call, Reply, Why
from fanfold.errors import UsageError

if TYPE_CHECKING:
    import asyncio

    from fanfold.core.records import Draw


class RowKey(msgspec.Struct, frozen=True):
    """What the run of a row is known by: the names of its `step` and of itself, its `key`.

    A key names one row, so it also says which `row` (counted from 0) of which `map` it is; a map that is made in
    several sittings is one map.
    """

    step: str
    key: str
    row: int
    map: str

    @property
    def text(self) -> str:
        """The key of the run."""
        return f"{self.step}/{self.key}"

    def check(self, row: int | None, of: str) -> None:
        """Raise `UsageError` where the key belongs to another row of the same map: that `row` of the map `of`."""
        if self.map == of and row is not None and row != self.row:
            raise UsageError(
                f"rows {row} and {self.row} have the same key {self.key!r}, and what is kept of a row is found by its "
                "key: choose one that is another in each row, or none"
            )


class Found(msgspec.Struct, frozen=True):
    """A call that was made before: its record, and the reply it brought, or the error it ended with.

    Neither is there for a call that was cut off under way. `at` is when it was kept, in seconds since 1970.
    """

    call: Call
    reply: Reply | None = None
    error: Exception | None = None
    at: float = 0.0


class Folded(msgspec.Struct, frozen=True):
    """How a fan ended: which branches were folded, in which order, and why it ended.

    `flying` says for each of them how many others were out when it was folded. `begun` counts the branches that were
    launched, `late` those that came after *enough*. `failed` says that the fold's answer was an error. `counted` is
    what was counted (see `Scope.count`) in branches that were begun and not folded.
    """

    order: tuple[int, ...]
    flying: tuple[int, ...]
    why: Why
    begun: int
    branches: int
    late: tuple[int, ...] = ()
    failed: bool = False
    counted: tuple[tuple[str, bytes], ...] = ()


class Book(Protocol):
    """What the journal holds of one run, and where the run writes.

    `secret` makes the run's fences. Where it `replays`, what is not in it is not asked for but an error; it is `new`
    where no call is to be found, in it or by it, so that none need be looked for. It is `settled` where all of the run
    happened before; of a look-up the word says that it happens in such a run, or under a fan that had ended: there,
    errors are part of what happened.
    """

    secret: bytes
    replays: bool
    new: bool
    settled: bool

    def digest(self, model: str, key: bytes) -> bytes:
        """Name a request to a model for good."""
        ...

    def found(self, digest: bytes, draw: Draw, *, settled: bool) -> Found | None:
        """The call as it was made before in this run; raises `ReplayMiss`."""
        ...

    async def shared(self, digest: bytes, draw: Draw) -> Found | None:
        """The same request as any run made it, where the journal is a cache; raises `JournalError`."""
        ...

    def keep_shared(self, digest: bytes, key: bytes, call: Call, found: Found) -> None:
        """Keep for this run, too, what was found of another one; its record is the `call` that was not made."""
        ...

    def check(self) -> None:
        """Raise `JournalError` where nothing can be kept any more, so that nothing is asked in vain."""
        ...

    def keep(self, digest: bytes, key: bytes, call: Call, reply: Reply) -> asyncio.Future[None]:
        """Keep a reply; the future is done when it is on the disk, and raises `JournalError` where it cannot be."""
        ...

    def note(self, digest: bytes, key: bytes, call: Call, error: BaseException | None) -> None:
        """Keep how a call ended that brought no reply."""
        ...

    def bill(self, digest: bytes, call: Call) -> None:
        """Keep the last record of a call whose reply was kept before its other sends had ended."""
        ...

    def folded(self, place: str, nth: int, branches: int, *, settled: bool) -> Folded | None:
        """How the n-th fan at `place` ended before."""
        ...

    def keep_fan(self, place: str, nth: int, folded: Folded) -> None:
        """Keep how a fan ended."""
        ...

    def value(self, place: str, nth: int, digest: bytes) -> msgspec.Raw | None:
        """The n-th value at `place`, as JSON, where it was kept before."""
        ...

    def keep_value(self, place: str, nth: int, digest: bytes, value: Any) -> asyncio.Future[None] | None:
        """Keep a value; the future is done when it is on the disk. None where this journal keeps no values."""
        ...

    def end(self, error: BaseException | None) -> None:
        """The run is over."""
        ...
