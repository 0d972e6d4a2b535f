"""What `session.statistics()` shows of each lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.calls.allowance import Allowance
    from fanfold.calls.guess import Guess


class LimitStatistics(msgspec.Struct, frozen=True):
    """One limit that a lane keeps: `limit` of `name` (requests, tokens) in `per` seconds, and where it is known from.

    `used` is what was sent in the last `per` seconds, and `level` what could leave at once (below 0: a debt); both
    are None of a limit that is ``"learned"`` from what was refused.
    """

    name: str
    limit: float
    per: float
    source: Literal["given", "headers", "learned"]
    used: float | None = None
    level: float | None = None


class LaneStatistics(msgspec.Struct, frozen=True):
    """How one model under one key stands.

    `in_flight` calls are out and `waiting` wait; at most `window` may be out, for the server's load. Its key is
    `paused` for so many seconds more, after a 429; the server has been `down` for so many (None: it is not). Since the
    session began there were `sends`, of which `refusals` (429) and `failures` (5xx, no connection, silence);
    `unsent` calls were given up without a send, because the server was down. `why` is the reason for the last change.
    """

    model: str
    in_flight: int
    waiting: int
    window: int
    limits: tuple[LimitStatistics, ...]
    paused: float
    down: float | None
    sends: int
    refusals: int
    failures: int
    unsent: int
    why: str


def levels(allowances: Sequence[Allowance], guess: Guess, at: float) -> tuple[LimitStatistics, ...]:
    """The limits of a lane as they stand."""
    known = [
        LimitStatistics(name, bucket.limit, bucket.per, bucket.source, bucket.used(at), bucket.level(at))
        for allowance in allowances
        for name, bucket in allowance.buckets.items()
    ]
    if guess.rate < float("inf") and not guess.loss.trying:
        known.append(LimitStatistics("requests", guess.rate * 60, 60.0, "learned"))
    return tuple(known)
