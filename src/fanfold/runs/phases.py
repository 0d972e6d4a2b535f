"""What a call did with its time: each of its sends as phases that follow one another, in seconds of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fanfold.core.records import Attempt, Call

if TYPE_CHECKING:
    from collections.abc import Sequence

PhaseKind = Literal["rate", "queue", "wire", "stream", "backoff"]
"""Waiting for the rate limit; for a slot; on the wire without a word yet; its text coming; waiting to try again."""

FINAL = frozenset({"ok", "error", "cancelled", "unsent"})
"""The states in which nothing follows."""

INSTANT = 1e-6
"""Seconds below which a wait was none: a loop takes as long to come by."""


class Phase(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of one send, from `start` to `end`."""

    kind: PhaseKind
    start: float
    end: float


def phases(attempt: Attempt, *, since: float, until: float) -> tuple[Phase, ...]:
    """The stretches of one send, in order and without gaps.

    The call had waited `since` before; the wait after a send ends by `until`, where something else came of it.
    """
    turn = attempt.ended if attempt.sent is None else attempt.sent
    paced = min(attempt.queued + attempt.rate_wait, turn)
    found = [
        Phase("queue", since, attempt.queued),
        Phase("rate", attempt.queued, paced),
        Phase("queue", paced, turn),
    ]
    found = [phase for phase in found if phase.end - phase.start > INSTANT]
    if attempt.sent is not None:
        first = attempt.ended if attempt.first is None else min(attempt.first, attempt.ended)
        found.append(Phase("wire", attempt.sent, first))
        if attempt.first is not None:
            found.append(Phase("stream", first, attempt.ended))
    rested = min(attempt.ended + attempt.backoff, until)
    if rested - attempt.ended > INSTANT:
        found.append(Phase("backoff", attempt.ended, rested))
    return tuple(found)


def sends(call: Call) -> tuple[tuple[Attempt, tuple[Phase, ...]], ...]:
    """Every send of a call with its phases; a call that never came to one waited for its whole time."""
    attempts = call.attempts or (_only(call),)
    return tuple(
        (
            attempt,
            phases(attempt, since=attempt.queued if at else call.queued, until=_next_turn(attempts[at + 1 :], call)),
        )
        for at, attempt in enumerate(attempts)
    )


def _next_turn(later: Sequence[Attempt], call: Call) -> float:
    """When the next send that was no hedge asked for its turn, or the call was over."""
    return next((attempt.queued for attempt in later if not attempt.hedge), call.ended)


def _only(call: Call) -> Attempt:
    return Attempt(
        0, call.state, call.queued, 0.0, call.sent, call.first, call.ended, call.usage, call.cost, error=call.error
    )


def stopped(call: Call, at: float) -> Call:
    """A call that the run's end found under way, as if its record had been written `at` that moment."""
    if call.state in FINAL:
        return call
    replace = msgspec.structs.replace
    open_ = [replace(one, ended=at) if one.state not in FINAL else one for one in call.attempts]
    return replace(call, ended=at, attempts=tuple(open_))
