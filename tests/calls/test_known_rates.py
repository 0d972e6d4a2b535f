"""Limits that are known, from the user or from the server's headers: nearly all of them is used, and nearly no 429s."""

import asyncio
from typing import Any

import pytest

from fanfold import RateLimit
from fanfold.calls.lanes import Lanes
from fanfold.calls.turnstile import Turnstile
from fanfold.core.clock import chance, now, sleep
from fanfold.core.records import Limit, Limits, Message, Request
from fanfold.errors import UsageError
from fanfold.testing import run_virtual
from tests.calls.limited import ASKED, TOKENS, Server, keep_busy, lane_to, send, within

KINDS = ("bucket", "fixed", "sliding")
MINUTES = [3, pytest.param(30, marks=pytest.mark.long)]


def used(server: Server, minutes: float, given: RateLimit | None = None, request: Any = None, **options: Any) -> Any:
    """Keep a lane to the server busy for so long; gives the lane's statistics at the end."""

    async def main() -> Any:
        lane = lane_to(server, rate_limits=given, **options)
        await keep_busy(lane, server, minutes * 60, request=request)
        return lane.traffic.statistics()

    return run_virtual(main())


@pytest.mark.parametrize("minutes", MINUTES)
@pytest.mark.parametrize("told", [True, False], ids=["told", "given"])
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_known_request_limit_97_in_100_are_used_with_at_most_1_429_in_1000(
    kind: str, told: bool, minutes: int
) -> None:
    """Whether headers or the user say it, on a token bucket, a fixed and a sliding window, counting refusals."""
    server = Server(kind, rpm=500, told=told, count_rejected=True)
    used(server, minutes, None if told else RateLimit(requests=500))
    assert len(server.accepted) >= 0.97 * 500 * minutes
    assert len(server.refused) <= 0.001 * len(server.came)


@pytest.mark.parametrize("minutes", MINUTES)
@pytest.mark.parametrize("told", [True, False], ids=["told", "given"])
@pytest.mark.parametrize(("rpm", "tpm"), [(500, 60_000), (300, 100_000)], ids=["tokens bind", "requests bind"])
@pytest.mark.parametrize("kind", KINDS)
def test_requests_and_tokens_are_kept_together(kind: str, rpm: int, tpm: int, told: bool, minutes: int) -> None:
    """Of the limit that binds 97 in 100 are used, and at most 1 request in 1000 is refused for either."""
    server = Server(kind, rpm=rpm, tpm=tpm, told=told)
    used(server, minutes, None if told else RateLimit(requests=rpm, tokens=tpm))
    accepted = len(server.accepted)
    assert max(accepted / rpm, accepted * TOKENS / tpm) / minutes >= 0.97
    assert len(server.refused) <= 0.001 * len(server.came)


@pytest.mark.parametrize("kind", KINDS)
def test_requests_of_all_sizes_stay_within_a_token_limit(kind: str) -> None:
    """Even where one request takes a twentieth of a minute's tokens, no window sees more than its limit."""

    def request() -> Request:
        words = chance().choice([40, 400, 4_000])
        return Request((Message("user", "x" * words),), max_tokens=chance().choice([10, 100, 2_000]))

    server = Server(kind, tpm=60_000)
    used(server, 5, RateLimit(tokens=60_000), request)
    assert len(server.refused) <= 0.001 * len(server.came)


def test_tokens_are_trued_up_where_the_server_meters_what_was_used() -> None:
    """A ceiling far above what replies need does not slow a server that only counts what they had."""
    asked = Request(ASKED.messages, max_tokens=4_000)
    server = Server("sliding", tpm=60_000, by_ceiling=False, output=50)
    used(server, 5, RateLimit(tokens=60_000), lambda: asked)
    real = len(server.accepted) * (100 + 50)
    assert real >= 0.9 * 60_000 * 5
    assert len(server.refused) <= 0.01 * len(server.came)


def test_a_server_without_bursts_is_found_out_once() -> None:
    """The first 429 within what we took for allowed ends bursts for good: it stays at one volley of them."""
    server = Server("bucket", rpm=500, burst=1, jitter=0.0)
    used(server, 5, RateLimit(requests=500))
    assert within(server.refused, 1.0, 300) == 0
    assert len(server.refused) <= 10
    assert len(server.accepted) >= 0.97 * 500 * 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_limit_that_is_too_high_is_corrected_by_what_is_refused(kind: str) -> None:
    """Who says 500 a minute where there are 250 gets nearly 250, and at most one 429 in a hundred."""
    server = Server(kind, rpm=250)
    used(server, 10, RateLimit(requests=500))
    assert len(server.accepted) >= 0.9 * 250 * 10
    assert len(server.refused) <= 0.01 * len(server.came)


def test_a_told_limit_lowers_a_given_one_and_never_raises_it() -> None:
    """The server knows better what it grants; the user knows better what they want to take."""

    async def main() -> list[tuple[float, str]]:
        lane = lane_to(Server(), rate_limits=RateLimit(requests=100))
        seen = []
        for told in (500.0, 40.0, 90.0, 500.0):
            lane.hear(Limits(requests=Limit(told, told, 0.0)))
            (limit,) = lane.traffic.statistics().limits
            seen.append((limit.limit, limit.source))
        return seen

    assert run_virtual(main()) == [(100, "given"), (40, "headers"), (90, "headers"), (100, "headers")]


def test_what_others_take_of_the_same_key_is_seen_in_what_the_server_has_left() -> None:
    """Where another client takes half of a minute, we keep to the other half, with at most 2 429s in 100."""
    server = Server("sliding", rpm=600, told=True)

    async def other() -> None:
        while True:
            await sleep(0.2)
            if server.windows["requests"].wait(1, now()) == 0:
                server.windows["requests"].take(1, now())

    async def main() -> None:
        lane = lane_to(server)
        await send(lane, server)
        beside = asyncio.create_task(other())
        await keep_busy(lane, server, 300)
        beside.cancel()

    run_virtual(main())
    assert within(server.accepted, 60, 300) >= 0.85 * 4 * 300
    assert len(server.refused) <= 0.02 * len(server.came)


def test_a_limit_of_a_provider_is_shared_by_its_models() -> None:
    """Two models of one provider take from one allowance, in turn; a third provider's has nothing to do with it."""
    one, two, three = (Server(label=label) for label in ("a:one", "a:two", "b:three"))

    async def main() -> None:
        lanes = Lanes(Turnstile(64), {"a": RateLimit(requests=60)})
        busy = [keep_busy(lanes.of(server, None), server, 60, clients=8) for server in (one, two, three)]
        await asyncio.gather(*busy)

    run_virtual(main())
    assert 55 <= len(one.came) + len(two.came) <= 61
    assert abs(len(one.came) - len(two.came)) <= 8  # those that stood in line when the second began
    assert len(three.came) > 300


@pytest.mark.parametrize("wrong", [{"requests": 0}, {"tokens": -1}, {"per": 0}, {"requests": float("inf")}])
def test_a_limit_of_nothing_is_refused(wrong: Any) -> None:
    """A limit is a number above 0, and says so."""
    with pytest.raises(UsageError, match="above 0"):
        RateLimit(**wrong)
