"""A session's limits as its user meets them: options, the whole road against a limited model, and its statistics."""

import asyncio
from typing import Any

import pytest

from fanfold import Anthropic, OpenAI, RateLimit, Session, map_over, prompt
from fanfold.core.clock import now, sleep
from fanfold.errors import ConnectError, StatusError, UsageError
from fanfold.testing import FakeModel, ModelServer, no_leaks, run_virtual
from fanfold.testing.server import Limits, SimulatedModel

ASK = prompt("{input}", max_tokens=100)


def mapped(model: Any, many: int, **options: Any) -> tuple[Any, Any]:
    """A map of so many calls; gives its run and the session's statistics before and after."""

    async def main() -> tuple[Any, Any]:
        async with Session(model, **options) as session, no_leaks(session):
            run = await map_over(ASK).run([str(number) for number in range(many)], session=session)
            return run, session.statistics()

    return run_virtual(main())


# -- the whole road -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_told_limits_are_kept_without_a_word_of_the_user(dialect: Any) -> None:
    """Both dialects' headers are heard: 300 calls at 300 a minute are paced, and none is refused."""
    model = SimulatedModel(dialect=dialect, limits=Limits(rpm=300), latency=0.2)
    run, held = mapped(model, 600, attempts=8)
    assert len(run.output) == 600
    assert run.wall >= 60
    (lane,) = held.lanes
    assert {(limit.name, limit.limit, limit.source) for limit in lane.limits} == {("requests", 300, "headers")}
    assert lane.refusals == 0


def test_a_limited_account_costs_no_call() -> None:
    """Where the server says nothing of its limit but 429, all calls are answered, within their four sends each."""
    model = SimulatedModel(limits=Limits(rpm=600, burst=20, headers=False), latency=0.2)
    run, held = mapped(model, 1500)
    assert len(run.output) == 1500
    (lane,) = held.lanes
    assert {limit.source for limit in lane.limits} == {"learned"}
    assert lane.refusals <= 0.06 * 1500
    assert run.wall <= 1.25 * 150


def test_an_outage_in_the_middle_of_a_map_costs_no_call() -> None:
    """Twenty seconds without a server: all rows are there, and sends are at most 1.1 times the calls."""
    model = SimulatedModel(faults=["outage:2+20"], latency=0.5)
    run, held = mapped(model, 1000)
    assert len(run.output) == 1000
    (lane,) = held.lanes
    assert lane.failures >= 5
    assert lane.sends <= 1.1 * 1000
    assert run.wall <= 22 + 2 * 8 + 8


def test_the_record_of_a_send_tells_its_wait_for_the_rate_from_that_for_a_slot() -> None:
    """A call that waits 2 s for its turn by rate has a `rate_wait` of that; one that waits for a slot has none."""
    model = FakeModel(["x"], latency=0.5)
    run, _ = mapped(model, 3, rate_limits=RateLimit(requests=60))
    waits = sorted(call.attempts[0].rate_wait for call in run.calls)
    assert waits == pytest.approx([0, 1 / 0.98, 2 / 0.98], abs=0.01)
    run, _ = mapped(model, 3, max_in_flight=1)
    assert [call.attempts[0].rate_wait for call in run.calls] == [0, 0, 0]


# -- which limits are whose ---------------------------------------------------------------------------------------


def test_two_descriptions_of_one_model_under_one_key_share_its_limits() -> None:
    """However a model is named, its server counts it once; another key is another account."""

    async def main() -> list[bool]:
        async with Session() as session:
            specs = [
                OpenAI("m", base_url="http://127.0.0.1:9/v1", api_key="one-key"),
                OpenAI("m", base_url="http://127.0.0.1:9/v1", api_key="one-key", price=(1.0, 1.0)),
                OpenAI("m", base_url="http://127.0.0.1:9/v1", api_key="other-key"),
                OpenAI("n", base_url="http://127.0.0.1:9/v1", api_key="one-key"),
            ]
            lanes = [session.road.lanes.of(session.line(spec).model, None) for spec in specs]
            first = lanes[0]
            return [
                *(lane.traffic is first.traffic for lane in lanes),
                *(lane.traffic.condition.account is first.traffic.condition.account for lane in lanes),
                *(lane.quota is first.quota for lane in lanes),
            ]

    shared = asyncio.run(main())
    same_traffic, same_account, same_quota = shared[:4], shared[4:8], shared[8:]
    assert same_traffic == same_quota == [True, True, False, False]
    assert same_account == [True, True, False, True]


def test_models_of_ones_own_have_an_account_each() -> None:
    """A model without a key shares nothing with another of the same name."""

    async def main() -> bool:
        async with Session() as session:
            one, other = (session.road.lanes.of(FakeModel(), None) for _ in range(2))
            return one.traffic is other.traffic or one.traffic.condition.account is other.traffic.condition.account

    assert run_virtual(main()) is False


def test_dialects_say_what_they_meter() -> None:
    """OpenAI takes the ceiling of a reply when it admits a request, Anthropic what was made."""

    async def main() -> list[bool]:
        async with Session(api_key="k") as session:
            models = (OpenAI("m", api_key="k"), Anthropic("m", api_key="k"))
            lanes = [session.road.lanes.of(session.line(model).model, None) for model in models]
            return [lane.traffic.condition.appetite.by_ceiling for lane in lanes]

    assert asyncio.run(main()) == [True, False]


@pytest.mark.parametrize("wrong", [500, {"openai": 500}, {"openai": {"requests": 500}}])
def test_rate_limits_are_records(wrong: Any) -> None:
    """A bare number does not say of what, and the error says how to."""
    with pytest.raises(UsageError, match="RateLimit"):
        Session(rate_limits=wrong)


# -- statistics ---------------------------------------------------------------------------------------------------


def test_statistics_tell_how_each_lane_stands() -> None:
    """What is out and what waits, the limits and where they are from."""
    model = FakeModel(["x"], latency=1.0)

    async def main() -> Any:
        limits = {"fake:": RateLimit(requests=60, tokens=60_000)}
        async with Session(model, rate_limits=limits, max_in_flight=8) as session:
            runs = [asyncio.create_task(ASK.run("q", session=session)) for _ in range(5)]
            await sleep(0.5)
            (lane,) = session.statistics().lanes
            await asyncio.gather(*runs)
            (rest,) = session.statistics().lanes
            return lane, rest

    lane, rest = run_virtual(main())
    assert (lane.model, lane.in_flight, lane.waiting, lane.window, lane.sends) == ("fake:", 1, 4, 8, 1)
    assert [(limit.name, limit.limit, limit.per, limit.source) for limit in lane.limits] == [
        ("requests", 60, 60, "given"),
        ("tokens", 60_000, 60, "given"),
    ]
    assert lane.limits[0].used == 1
    assert lane.limits[1].used > 1
    assert (lane.paused, lane.down) == (0, None)
    assert (rest.in_flight, rest.waiting, rest.sends, rest.refusals, rest.failures) == (0, 0, 5, 0, 0)


def test_statistics_say_why_the_last_change_came() -> None:
    """In words: a pause as asked, an outage, its end."""
    outcomes: list[Any] = [
        StatusError("slow", status=429, retry_after=5.0),
        "x",
        *(ConnectError("gone") for _ in range(5)),
        "x",
    ]
    model = FakeModel(lambda _: outcomes.pop(0))
    seen: list[Any] = []

    async def main() -> None:
        async with Session(model, attempts=8) as session:
            for wait in (1.0, 10.0, 1.0, 10.0):
                task = asyncio.create_task(ASK.run("q", session=session)) if outcomes else None
                await sleep(wait)
                (lane,) = session.statistics().lanes
                seen.append((lane.why, lane.paused, lane.down))
                if task is not None and task.done():
                    task.result()
                elif task is not None:
                    await task
            (lane,) = session.statistics().lanes
            seen.append((lane.why, lane.paused, lane.down))

    run_virtual(main())
    whys = [why for why, _, _ in seen]
    assert whys[0] == "too many requests (429): all calls with this key paused for 5 s, as the server asked"
    assert seen[0][1] == pytest.approx(4.0, abs=0.01)
    assert any(why.startswith("the server answers again, after ") for why in whys)
    assert seen[-1][2] is None


def test_a_429_over_a_socket_pauses_as_long_as_its_header_says() -> None:
    """The wire's own refusal, its own headers: the next send comes a second later, to the millisecond."""

    async def main() -> tuple[list[float], Any]:
        async with (
            ModelServer("fake", faults=["429=1#1"]) as server,
            Session(OpenAI("m", base_url=server.url)) as session,
            no_leaks(session),
        ):
            began = now()
            await ASK.run("x", session=session)
            return [now() - began], session.statistics()

    (took,), held = asyncio.run(main())
    assert 1.0 <= took < 2.5
    assert held.lanes[0].refusals == 1
