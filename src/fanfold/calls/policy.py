"""What a call may do against failure and slowness: how often it is sent, beside what, and how long it may be silent."""

from __future__ import annotations

from typing import Literal

import msgspec

from fanfold.calls.hedging import Hedge
from fanfold.core.numbers import is_count
from fanfold.core.timeouts import check_seconds
from fanfold.errors import UsageError

ATTEMPTS = 4
"""Sends of one call at most, where nobody said otherwise."""


class Policy(msgspec.Struct, frozen=True):
    """`attempts` sends at most, hedges among them; `idle_timeout` seconds of silence at most."""

    attempts: int = ATTEMPTS
    hedge: Hedge | None = None
    idle_timeout: float | None = None

    @property
    def streams(self) -> bool:
        """Whether the reply has to come as a stream, whoever reads it: else nothing is known of its first token."""
        return self.hedge is not None or self.idle_timeout is not None

    def but(self, hedge: Hedge | Literal[False] | None, idle_timeout: float | None) -> Policy:
        """The same with what one prompt says; None leaves it, and a hedge of False is none."""
        if hedge is None and idle_timeout is None:
            return self
        return Policy(
            self.attempts,
            self.hedge if hedge is None else hedge or None,
            self.idle_timeout if idle_timeout is None else idle_timeout,
        )


def check_hedge(hedge: object) -> None:
    """Raise `UsageError` for what is neither a `Hedge` nor says that there is none."""
    if hedge is not None and hedge is not False and not isinstance(hedge, Hedge):
        raise UsageError(f"hedge={hedge!r}: give a Hedge, as Hedge(percentile=95, at_most=0.05)")


def policy(attempts: int, hedge: Hedge | None, idle_timeout: float | None) -> Policy:
    """A session's policy; raises `UsageError` for what cannot be."""
    check_hedge(hedge)
    if not is_count(attempts):
        raise UsageError(f"attempts={attempts!r}: it is the most sends of one call, 1 (no retry) or more")
    check_seconds(idle_timeout, "idle_timeout")
    return Policy(attempts, hedge or None, idle_timeout)
