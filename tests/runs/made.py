"""Runs made by hand, with all that a call can live through: what the timeline has to show."""

from __future__ import annotations

import random
from typing import Any

from fanfold.core.records import UNKNOWN_COST, Attempt, Call, CallState, Cost, Draw, Event, Usage
from fanfold.runs.run import Run

TOLD = Usage(120, 40, 20, 10, cache_write_tokens=5)
PAID = Cost(0.002, 0.002)
RANGE = Cost(0.0, 0.004)


def attempt(
    number: int = 0,
    state: CallState = "ok",
    *,
    queued: float = 0.0,
    rate: float = 0.0,
    sent: float | None = 0.5,
    first: float | None = None,
    ended: float = 2.0,
    cost: Cost = PAID,
    **more: Any,
) -> Attempt:
    """One send; answered unless told otherwise."""
    usage = TOLD if state == "ok" else None
    return Attempt(number, state, queued, rate, sent, first, ended, usage, cost, **more)


def call(number: int, place: str, *attempts: Attempt, state: CallState = "ok", **more: Any) -> Call:
    """A call of these sends; it begins and ends with them."""
    sent = [one.sent for one in attempts if one.sent is not None]
    first = [one.first for one in attempts if one.first is not None]
    told = [one.usage for one in attempts if one.usage is not None]
    return Call(
        number,
        place,
        more.pop("model", "openai:gpt-4o-mini"),
        Draw(place),
        state,
        more.pop("queued", attempts[0].queued),
        min(sent, default=None),
        first[-1] if first else None,
        more.pop("ended", max(one.ended for one in attempts)),
        sum(told[1:], told[0]) if told else None,
        sum((one.cost for one in attempts), Cost()),
        attempts=attempts,
        **more,
    )


def run_of(*calls: Call, events: tuple[Event, ...] = (), wall: float | None = None, **more: Any) -> Run[Any]:
    """A run of these calls; `wall` is when the last ended, unless told."""
    last = max((one.ended for one in calls), default=0.0)
    return Run(more.pop("name", "job"), "out", None, last if wall is None else wall, calls, events, **more)


def event(at: float, kind: str, place: str, value: Any = None, error: BaseException | None = None) -> Event:
    """An event; its number says nothing here."""
    return Event(0, at, kind, place, value, error)


def fan_ended(at: float, place: str, why: str, *, folded: int, launched: int, branches: int, late: int = 0) -> Event:
    """The end of a fan, as the fan itself says it."""
    told = {
        "why": why,
        "folded": list(range(folded)),
        "late": list(range(late)),
        "launched": launched,
        "branches": branches,
    }
    return event(at, "fan.ended", place, told)


def retried(number: int, place: str, at: float = 0.0) -> Call:
    """Refused with 429 after a wait for the rate limit, then answered in a stream."""
    refused = attempt(
        0,
        "error",
        queued=at,
        rate=0.4,
        sent=at + 0.5,
        ended=at + 0.8,
        cost=Cost(),
        status=429,
        error="StatusError: openai:gpt-4o-mini said 429: slow down",
        backoff=1.0,
    )
    answered = attempt(1, queued=at + 1.8, rate=0.1, sent=at + 2.0, first=at + 2.6, ended=at + 3.5)
    return call(number, place, refused, answered)


def hedged(number: int, place: str, at: float = 0.0) -> Call:
    """The first send is slow, so another is sent beside it, and wins."""
    slow = attempt(0, "cancelled", queued=at, sent=at + 0.1, ended=at + 3.0, cost=RANGE)
    won = attempt(1, queued=at + 1.5, sent=at + 1.6, first=at + 2.0, ended=at + 3.0, hedge=True)
    return call(number, place, slow, won)


def cancelled(number: int, place: str, at: float = 0.0) -> Call:
    """Cut off while its text came."""
    cut = attempt(0, "cancelled", queued=at, sent=at + 0.2, first=at + 0.9, ended=at + 2.4, cost=RANGE)
    return call(number, place, cut, state="cancelled")


def unsent(number: int, place: str, at: float = 0.0) -> Call:
    """Never came to its turn."""
    waited = attempt(0, "unsent", queued=at, rate=0.3, sent=None, ended=at + 2.4, cost=Cost())
    return call(number, place, waited, state="unsent")


def failed(number: int, place: str, at: float = 0.0) -> Call:
    """Failed twice, the second time for good; what that cost is not known."""
    said = "ConnectError: openai:gpt-4o-mini broke off"
    tries = [
        attempt(0, "error", queued=at, sent=at + 0.1, ended=at + 1.0, cost=UNKNOWN_COST, error=said, backoff=0.5),
        attempt(1, "error", queued=at + 1.5, sent=at + 1.6, ended=at + 2.0, cost=UNKNOWN_COST, error=said),
    ]
    return call(number, place, *tries, state="error", error=said)


def small() -> Run[Any]:
    """One call of each kind, under a fan that had enough."""
    makers = [retried, hedged, cancelled, unsent, failed]
    calls = [make(number, f"job/{make.__name__}") for number, make in enumerate(makers)]
    events = [event(0.0, "run.started", "job", "sections")]
    events += [event(0.0, "branch.started", one.place) for one in calls]
    events += [
        event(2.0, "branch.ended", "job/failed", error=ConnectionError("secret words")),
        event(2.4, "branch.cancelled", "job/cancelled"),
        event(2.4, "branch.cancelled", "job/unsent"),
        event(3.0, "branch.ended", "job/hedged", "secret words"),
        event(3.5, "branch.ended", "job/retried", "secret words"),
        fan_ended(3.6, "job", "enough", folded=3, launched=5, branches=7),
        event(3.7, "run.ended", "job", "secret words"),
    ]
    return run_of(*calls, events=tuple(events), wall=3.7)


def large(count: int = 1000, *, together: int = 64, seed: int = 1) -> Run[Any]:
    """A map over `count` items, `together` at once, with refusals, retries, hedges, an outage and failures."""
    chance = random.Random(seed)
    free = [0.0] * together
    calls, events = [], [event(0.0, "run.started", "report", "map_over")]
    for number in range(count):
        slot = min(range(together), key=free.__getitem__)
        place = f"report/{number}"
        made = _item(number, place, free[slot], chance)
        free[slot] = made.ended
        events.append(event(0.0, "branch.started", place))
        error = ConnectionError() if made.state == "error" else None
        events.append(event(made.ended, "branch.ended", place, error=error))
        calls.append(made)
    end = max(free)
    events += [
        fan_ended(end, "report", "all", folded=count, launched=count, branches=count),
        event(end, "run.ended", "report"),
    ]
    return run_of(*calls, events=tuple(events), wall=end, name="report")


def _item(number: int, place: str, at: float, chance: random.Random) -> Call:
    """One item that gets its slot at `at`."""
    rate = min(at, chance.expovariate(2.0))
    sent = at
    tries: list[Attempt] = []
    queued = 0.0
    while chance.random() < 0.08 or (2.0 < sent < 3.0 and chance.random() < 0.7):
        ended, backoff = sent + 0.05 + chance.random() * 0.1, 0.2 + chance.random() * 2 ** len(tries) * 0.5
        said = "StatusError: openai:gpt-4o-mini said 429: slow down"
        tries.append(
            attempt(
                len(tries),
                "error",
                queued=queued,
                rate=rate,
                sent=sent,
                ended=ended,
                cost=Cost(),
                status=429,
                error=said,
                backoff=backoff,
            )
        )
        if len(tries) == 5:
            return call(number, place, *tries, state="error", error=said)
        queued, rate = ended + backoff, chance.random() * 0.1
        sent = queued + rate + 0.01
    first = sent + 0.15 + chance.expovariate(6.0)
    ended = first + 0.2 + chance.random() * 0.6
    if chance.random() < 0.03:
        slow = attempt(len(tries), "cancelled", queued=queued, rate=rate, sent=sent, ended=ended + 1.2, cost=RANGE)
        hedge = attempt(
            len(tries) + 1, queued=sent + 0.8, sent=sent + 0.82, first=first + 0.8, ended=ended + 1.2, hedge=True
        )
        return call(number, place, *tries, slow, hedge)
    tries.append(attempt(len(tries), queued=queued, rate=rate, sent=sent, first=first, ended=ended))
    return call(number, place, *tries)
