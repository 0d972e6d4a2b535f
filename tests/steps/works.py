"""Every pattern as work for a session, some of them under timeouts of a few ticks: for tests that cut them short."""

from typing import Any

from fanfold import Session, chain, gather, guard, race, sample, sections, step, vote
from tests.patterns.every import ASK, CHECKS, EVERY, FLAKY, HOLDING, PICK
from tests.steps.cancelling import TICK, Trial, Work


@step
async def gathering(given: str) -> str:
    """Gathers, and goes on with what came."""
    first, second = await gather(ASK(given), vote(PICK, n=3)(given))
    return first + await ASK(second)


TIMED: dict[str, Any] = {
    "votes in sections in a chain, timed": chain(
        sections({"jury": vote(vote(PICK, n=3), n=3), "line": chain(ASK, ASK)}, quorum=1, timeout=40 * TICK),
        vote(ASK, n=3),
    ),
    "sample with a merge, timed": sample(FLAKY, 4, merge=ASK, timeout=30 * TICK),
    "vote by meaning, timed": vote(ASK, n=4, same="meaning", timeout=40 * TICK),
    "staggered race": race(FLAKY, FLAKY, ASK, stagger=2 * TICK),
    "guard, timed": guard(chain(ASK, race(ASK, gathering)), CHECKS, timeout=25 * TICK),
}

VIEWED: dict[str, Any] = {
    "updates": EVERY["sections"],
    "text": chain(EVERY["vote"], ASK),
    "events": gathering,
}


def running(pattern: Any) -> Work:
    return lambda session: pattern.run("q", session=session)


def reading(view: str, pattern: Any) -> Work:
    async def read(session: Session) -> list[Any]:
        async with getattr(pattern, view)("q", session=session) as items:
            return [item async for item in items]

    return read


WORKS: dict[str, Work] = {
    **{name: running(pattern) for name, pattern in (EVERY | TIMED).items()},
    **{view: reading(view, pattern) for view, pattern in VIEWED.items()},
}


def trial(name: str, seed: int, attempts: int = 1, **options: Any) -> Trial:
    """One run of one of them."""
    holds = name in HOLDING | {"staggered race", "guard, timed"}
    return Trial(seed, WORKS[name], holds, attempts, **options)
