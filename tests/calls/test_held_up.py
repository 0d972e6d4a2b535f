"""Whose timeout cuts calls off says what these were waiting out: a slow server and one that refuses are told apart."""

import asyncio
from typing import Any

import pytest

from fanfold import (
    Budget,
    RateLimit,
    Session,
    best_of,
    chain,
    check,
    guard,
    map_over,
    prompt,
    race,
    sample,
    sections,
    step,
    vote,
)
from fanfold.cli.reports import reason
from fanfold.core.clock import sleep
from fanfold.core.records import Request
from fanfold.errors import FanfoldError, QuorumError, StatusError, StepTimeout
from fanfold.testing import no_leaks, run_virtual
from tests.calls.scripted import ASK, Scripted, failed, in_turn, lost, status

REFUSED = "; its calls were held up by StatusError: answered 429"

BRANCHES = {"a": ASK, "b": ASK}


def refusing() -> Scripted:
    """It refuses all, and does not say for how long."""
    return in_turn([0.1, status(429)])


def slow() -> Scripted:
    """It answers, but not in time."""
    return in_turn([60.0])


def test_the_timeout_of_a_run_names_the_refusal_that_its_call_was_waiting_out() -> None:
    """At the end of a run's time its error says that the server refused, not only that it took long."""
    error = failed(refusing(), StepTimeout, within=5.0, patience=None)
    assert str(error) == f"the run of 'prompt' took longer than its timeout of 5 s{REFUSED}"
    assert "held up" not in str(failed(slow(), StepTimeout, within=5.0))


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        (chain(ASK, ASK, timeout=5), StepTimeout),
        (sections(BRANCHES, timeout=5), StepTimeout),
        (sections(BRANCHES, timeout=5, on_error="skip", name="skips"), QuorumError),
        (map_over(ASK, items=list, timeout=5), StepTimeout),
        (vote(ASK, n=3, timeout=5), QuorumError),
        (sample(ASK, n=3, timeout=5), QuorumError),
        (best_of(ASK, n=3, timeout=5), QuorumError),
    ],
    ids=lambda given: getattr(given, "name", "error"),
)
def test_the_timeout_of_a_pattern_names_it_too(pattern: Any, kind: type[FanfoldError]) -> None:
    """Whatever a pattern raises when its time is over, it says what its branches were waiting out."""
    assert str(failed(refusing(), kind, ask=pattern, patience=None)).endswith(REFUSED)
    assert "held up" not in str(failed(slow(), kind, ask=pattern))


@pytest.mark.parametrize("pattern", [vote(ASK, n=3, timeout=5), sections(BRANCHES, timeout=5, on_error="skip")])
def test_the_command_names_it_too(pattern: Any) -> None:
    """Its line was cut within the failure's words, and went on with the branches as if these were it, or lacked it."""
    told = reason(failed(refusing(), QuorumError, ask=pattern, patience=None))
    assert told.endswith(REFUSED)
    assert told.count("held up by") == 1
    assert " × no" in told.removesuffix(REFUSED)


def test_what_is_held_back_stays_so() -> None:
    """Of a branch whose text nobody may see yet only the kind of the failure is told, for its text may quote."""
    judge = check(prompt("{input}", returns=bool), on="answer")
    patterns: list[Any] = [race(ASK, ASK, timeout=5), guard(ASK, checks={"late": judge}, timeout=5)]
    for pattern in patterns:
        error = failed(refusing(), StepTimeout, ask=pattern, patience=None)
        assert str(error).endswith("; its calls were held up by status 429")
    quiet = failed(in_turn([lost()]), StepTimeout, ask=race(ASK, timeout=5), attempts=50, patience=None)
    assert str(quiet).endswith("; its calls were held up by ConnectError")


def test_a_call_that_was_never_sent_names_what_its_lane_waits_for() -> None:
    """A key is paused, or a server down, for all of its calls: those that never left say so as well."""

    async def late(model: Scripted, **options: Any) -> str:
        async with Session(model, patience=None, **options) as session, no_leaks(session):
            with pytest.raises(FanfoldError):
                await vote(ASK, n=8, timeout=1).run("q", session=session)
            sent = len(model.sends)
            with pytest.raises(StepTimeout) as caught:
                await ASK.run("q", session=session, timeout=0.2)
            assert len(model.sends) == sent
            return str(caught.value)

    refused = run_virtual(late(in_turn([0.1, status(429, retry_after=30.0)]), attempts=1))
    assert refused.endswith(REFUSED)


GIVEN = (
    "; its calls were held up by the limit of 2 requests in 60 s: raise rate_limits= (or --rpm, --tpm), or the timeout"
)


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        (sections([ASK] * 9, timeout=5), StepTimeout),
        (vote(ASK, n=9, timeout=5, quorum=9), QuorumError),
        (chain(sections([ASK] * 9), timeout=5), StepTimeout),
    ],
)
def test_a_limit_that_was_given_is_named_with_what_would_help(pattern: Any, kind: type[FanfoldError]) -> None:
    """Nothing failed, and the server was quick: the calls waited for the rate that the user gave."""
    error = failed(in_turn([0.1]), kind, ask=pattern, rate_limits=RateLimit(requests=2))
    assert str(error).endswith(GIVEN)
    assert "held up" not in str(failed(slow(), kind, ask=pattern, rate_limits=RateLimit(requests=900)))


def test_of_several_limits_the_one_that_takes_longest_is_named() -> None:
    """The tokens of a provider, say, and not the requests of the model."""
    limits = {"fake": RateLimit(tokens=30, per=30), "fake:": RateLimit(requests=600)}
    error = failed(in_turn([0.1]), StepTimeout, ask=sections([ASK] * 50, timeout=5), rate_limits=limits)
    assert "held up by the limit of 30 tokens in 30 s: raise rate_limits=" in str(error)


ANSWER = prompt("{input}", max_tokens=50)


@pytest.mark.parametrize("whole", [Budget(tokens=100), None], ids=["of the session", "of the step"])
def test_a_budget_is_named_whose_money_was_waited_for(whole: Budget | None) -> None:
    """What is reserved by calls under way may come back, so the others wait for it: their error says for what."""
    own = None if whole else Budget(tokens=100)
    single = chain(str, ANSWER)  # of unknown size, so paid call by call
    for pattern in (
        sections([single] * 3, timeout=5, budget=own),
        chain(sections([single] * 3, budget=own), timeout=5),
    ):
        error = failed(slow(), StepTimeout, ask=pattern, budget=whole)
        assert str(error).endswith(
            "; its calls were held up by the budget of 100 tokens, reserved by calls under way: "
            "raise the budget or the timeout, or lower max_tokens="
        )


def test_a_fan_that_waits_for_its_money_names_the_budget_too() -> None:
    """It takes the worst case of all its branches at once, and begins none before."""
    fan = vote(ANSWER, n=3, timeout=5)

    async def main() -> list[Any]:
        async with Session(slow(), budget=Budget(tokens=300)) as session, no_leaks(session):
            runs = [fan.run("q", session=session) for _ in range(2)]
            return await asyncio.gather(*runs, return_exceptions=True)

    slow_one, waited = map(str, run_virtual(main()))
    assert "held up" not in slow_one
    assert "; its calls were held up by the budget of 300 tokens, reserved by calls under way" in waited


def test_a_failure_is_named_before_a_wait() -> None:
    """Where one call of a pattern waits out a refusal, and another for money, the refusal is the cause of both."""
    pattern = sections([chain(str, ANSWER)] * 3, timeout=5)
    error = failed(refusing(), StepTimeout, ask=pattern, budget=Budget(tokens=100), patience=None)
    assert str(error).endswith(REFUSED)


def test_what_is_held_back_is_not_told_to_the_others_of_its_lane() -> None:
    """They are told over what they wait, or were not sent; a server's words may repeat what it was asked."""

    def script(number: int, request: Request) -> list[Any]:
        del number
        refusal = StatusError(f"cannot serve: {request.messages[-1].content}", status=503, code="busy")
        return [0.1, refusal]

    async def main() -> list[str]:
        async with Session(Scripted(script), attempts=9, patience=3) as session, no_leaks(session):
            held = [asyncio.ensure_future(race(ASK).run("hush", session=session)) for _ in range(8)]
            await sleep(2)
            with pytest.raises(StepTimeout) as late:
                await ASK.run("q", session=session, timeout=0.01)
            await asyncio.gather(*held, return_exceptions=True)
            with pytest.raises(StatusError) as unsent:
                await ASK.run("q", session=session)
            assert (unsent.value.status, unsent.value.code) == (503, "busy")
            return [str(late.value), str(unsent.value), repr(unsent.value.__cause__)]

    told = run_virtual(main())
    assert "hush" not in str(told)
    assert told[0].endswith("held up by StatusError: status 503")
    assert told[1].startswith("status 503 (fake: has failed for")


@pytest.mark.parametrize("held", [False, True])
def test_a_run_of_another_session_inside_a_step_tells_the_step(*, held: bool) -> None:
    """Its calls are held up by a server of its own, and it is the step's time that is over."""

    async def main() -> None:
        async with Session("fake:") as session, Session(refusing(), patience=None) as other:

            @step
            async def away(text: str) -> str:
                return (await ASK.run(text, session=other)).output

            with pytest.raises(StepTimeout) as caught:
                await (race(away) if held else away).run("q", session=session, timeout=5)
            told = "a failure in the run of another session" if held else "StatusError: answered 429"
            assert str(caught.value).endswith(f"; its calls were held up by {told}")

    run_virtual(main())


@pytest.mark.parametrize("held", [False, True])
def test_a_limit_of_a_run_of_another_session_is_no_failure(*, held: bool) -> None:
    """Its words are ours, and repeat nothing that is held back."""

    async def main() -> None:
        limits = RateLimit(requests=2)
        async with Session("fake:") as session, Session(in_turn([0.1]), rate_limits=limits) as other:

            @step
            async def away(text: str) -> Any:
                return (await sections([ASK] * 9, name="all").run(text, session=other)).output

            with pytest.raises(StepTimeout) as caught:
                await (race(away) if held else away).run("q", session=session, timeout=5)
            assert str(caught.value).endswith(GIVEN)

    run_virtual(main())


def test_what_came_before_the_end_of_a_run_of_another_session_is_not_named() -> None:
    """The bug: it went on after a timeout of its own, and what that was over was told of a step that was only slow."""

    async def main() -> None:
        async with Session("fake:") as session, Session(refusing(), patience=None) as other:

            @step
            async def goes_on(text: str) -> None:
                with pytest.raises(StepTimeout, match="answered 429"):
                    await ASK.run(text, timeout=1)
                await sleep(60)

            @step
            async def away(text: str) -> None:
                await goes_on.run(text, session=other)

            with pytest.raises(StepTimeout) as caught:
                await away.run("q", session=session, timeout=5)
            assert str(caught.value) == "the run of 'away' took longer than its timeout of 5 s"

    run_virtual(main())


def test_what_came_before_the_end_is_not_named() -> None:
    """A failure that was mended, or that another call met, is not what the time ran out over."""

    def script(number: int, request: Request) -> list[Any]:
        del request
        return [[0.1, status(503)], [0.1, "mended"]][number] if number < 2 else [60.0]

    error = failed(Scripted(script), StepTimeout, ask=chain(ASK, ASK), within=20.0)
    assert str(error) == "the run of 'chain' took longer than its timeout of 20 s"
