"""One call under a budget: what it takes before it is sent, what it is charged with afterwards, what is refused."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from fanfold import Budget, OpenAI, Session, chain, prompt, retry, sections, step
from fanfold.calls.pricing import PER_PART, PER_SCHEMA, input_bound, output_bound, price_of
from fanfold.calls.spending import worst_of
from fanfold.core.clock import sleep
from fanfold.core.records import Cost, Message, Reply, Request, Usage
from fanfold.errors import (
    AccessError,
    BudgetError,
    CallError,
    ConnectError,
    FanfoldError,
    ModelError,
    StatusError,
    StepTimeout,
    UsageError,
)
from fanfold.models.prices import FlatRate
from fanfold.testing import FakeModel, run_virtual
from tests.budget.billing import Billed
from tests.steps.running import Asked

ASK = prompt("{input}", max_tokens=100)


async def talking(given: str) -> str:
    """A function, of which nobody knows what it takes."""
    return await ASK(given)


class Ending(FakeModel):
    """A model with a price, whose calls end as told."""

    made_up = False

    def __init__(self, ending: Exception | Reply, *, sends: bool = True, latency: float = 0.0) -> None:
        super().__init__()
        self.seconds = latency
        self.ending = ending
        self.sends = sends
        self.given_rate = Billed().given_rate

    async def send(self, request: Request, watch: Any) -> Reply:
        """End as told."""
        if self.sends:
            watch.sent()
        await sleep(self.seconds)
        if isinstance(self.ending, Exception):
            raise self.ending
        watch.done(self.ending)
        return self.ending


def unreached() -> ConnectError:
    error = ConnectError("no server")
    error.reached = False
    return error


def charged(model: Any, *, timeout: float | None = None, budget: Budget | None = None) -> tuple[float, float, float]:
    """What one call is charged with: dollars, tokens, calls."""

    async def main() -> tuple[float, float, float]:
        limit = budget or Budget(usd=1, tokens=10_000, calls=10)
        async with Session(model, budget=limit, attempts=1) as session:
            with suppress(FanfoldError, ValueError):
                await ASK.run("q" * 84, session=session, timeout=timeout)
            held = session.statistics().budget
            assert held is not None
            assert held.usd is not None
            assert held.tokens is not None
            assert held.calls is not None
            assert (held.usd.reserved, held.tokens.reserved, held.calls.reserved) == (0, 0, 0)
            return held.usd.charged, held.tokens.charged, held.calls.charged

    return run_virtual(main())


WORST = (0.0005, 200, 1)  # 84 bytes and 16 tokens around them at $1 a million, 100 of reply at $4


@pytest.mark.parametrize(
    ("model", "spent"),
    [
        (Ending(Reply(("yes",), Usage(10, 5))), (0.00003, 15, 1)),
        (Ending(Reply(("yes",), None)), WORST),
        (Ending(StatusError("busy", status=503)), (0, 0, 1)),
        (Ending(AccessError("no")), (0, 0, 1)),
        (Ending(ConnectError("cut")), WORST),
        (Ending(unreached()), (0, 0, 0)),
        (Ending(CallError("odd")), WORST),
        (Ending(ValueError("a mistake of the model's")), WORST),
        (Ending(UsageError("never sent"), sends=False), (0, 0, 0)),
    ],
)
def test_a_send_is_charged_with_what_it_may_have_cost(model: Any, spent: tuple[float, float, float]) -> None:
    """By its usage where the server told it; nothing where it was refused; else its worst case."""
    assert charged(model) == pytest.approx(spent)


class Untold(FakeModel):
    """A user's own model, as short as it can be written: its reply is all that it tells."""

    made_up = False

    def __init__(self, reply: Any, *, done: bool = False) -> None:
        super().__init__()
        self.given_rate = Billed().given_rate
        self.reply = reply
        self.tells_done = done

    async def send(self, request: Request, watch: Any) -> Reply:
        """Give the reply."""
        if self.tells_done:
            watch.done(self.reply)
        reply: Reply = self.reply
        return reply


@pytest.mark.parametrize("done", [True, False])
def test_a_reply_is_paid_for_though_its_model_told_nothing_of_it(done: bool) -> None:
    """A model that only gives its reply, and never says that it sent: the call is one that was sent, with its cost."""
    model = Untold(Reply(("yes",), Usage(10, 5)), done=done)
    assert charged(model) == (0.00003, 15, 1)

    async def main() -> Any:
        async with Session(model) as session:
            run = await ASK.run("q", session=session)
            return run, session.statistics().lanes[0].sends

    run, sends = run_virtual(main())
    (call,) = run.calls
    assert (call.state, call.usage, call.cost.usd, sends) == ("ok", Usage(10, 5), 0.00003, 1)
    assert call.sent is not None


def test_what_is_no_reply_is_refused_in_words() -> None:
    """A model that gives bare text is told what is wanted; the run ends, for no other send would help."""

    async def main() -> None:
        async with Session(Untold("yes")) as session:
            await ASK.run("q", session=session)

    with pytest.raises(ModelError, match=r"its send\(\) gave str, where a Reply is wanted"):
        run_virtual(main())


def test_a_model_that_told_text_had_sent() -> None:
    """Where text came before the call was cut off, all of it may be billed, whether the model said `sent` or not."""

    class Writing(Untold):
        async def send(self, request: Request, watch: Any) -> Reply:
            watch.text("y")
            await sleep(10)
            return await super().send(request, watch)

    assert charged(Writing(Reply(("yes",), None)), timeout=1) == WORST


def test_a_call_that_is_cut_off_is_charged_at_its_worst_case() -> None:
    """Its server may have gone on."""
    assert charged(Ending(Reply(("yes",), Usage(1, 1)), latency=2), timeout=1) == pytest.approx(WORST)


def test_a_made_up_answer_costs_nothing() -> None:
    """It has tokens all the same."""
    usd, tokens, calls = charged(FakeModel())
    assert (usd, calls) == (0, 1)
    assert tokens > 0


def test_a_model_without_a_known_price_is_refused_where_dollars_count() -> None:
    """Before anything is sent, and saying what to do; a budget of tokens does not need the price."""
    model = Asked(["yes"], label="test:unknown")
    model.made_up = False

    async def main(budget: Budget) -> Any:
        async with Session(model, budget=budget) as session:
            return await ASK.run("q", session=session)

    with pytest.raises(ModelError, match=r"price of test:unknown is not known.*price=\(input, output\)"):
        run_virtual(main(Budget(usd=1)))
    assert model.requests == []
    assert run_virtual(main(Budget(tokens=1000))).output == "yes"


def test_a_request_may_not_name_another_model_behind_the_budget() -> None:
    """Its price would be another, too."""
    model = Billed()
    asked = prompt("{input}", max_tokens=5, extra_body={"model": "dearer"}, model=model)
    with pytest.raises(ModelError, match="may not name another model"):
        run_virtual(asked.run("q", session=Session(budget=Budget(usd=1))))
    assert model.calls == 0


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
@pytest.mark.parametrize("odd", [None, -1, 0, 1e6, "4000", True], ids=repr)
def test_a_request_may_not_lift_its_ceiling_behind_the_budget(name: str, odd: Any) -> None:
    """A `max_tokens` of null or -1 is none to a server: where tokens count, such a request is refused unsent."""
    model = Billed()
    ask = prompt("{input}", max_tokens=5, extra_body={name: odd})

    async def main(budget: Budget) -> None:
        async with Session(model, budget=budget) as session:
            await ask.run("q", session=session)

    for budget in (Budget(usd=1), Budget(tokens=1000)):
        with pytest.raises(UsageError, match=f"extra_body=.'{name}': .* whole number"):
            run_virtual(main(budget))
    assert model.calls == 0
    run_virtual(main(Budget(calls=1)))
    assert model.calls == 1


def test_a_call_without_a_ceiling_is_sent_with_that_of_the_budget() -> None:
    """Of several around it, with the smallest; its own stands; a budget of calls needs none."""
    model = Asked(["yes"])
    free, own = prompt("{input}", name="free"), prompt("{input}", max_tokens=7, name="own")

    async def main(*budgets: Budget | None) -> list[int | None]:
        model.requests.clear()
        outer, inner = budgets
        async with Session(model, budget=outer) as session:
            await chain(free, own, budget=inner).run("q", session=session)
        return [request.max_tokens for request in model.requests]

    assert run_virtual(main(Budget(tokens=10**6), None)) == [4096, 7]
    assert run_virtual(main(Budget(tokens=10**6, max_tokens=50), Budget(usd=1, max_tokens=60))) == [50, 7]
    assert run_virtual(main(Budget(calls=9), None)) == [None, 7]


def test_a_budget_error_ends_the_run_whatever_the_policies_say() -> None:
    """No fold takes it for a failed branch, no retry tries again; it carries the run so far."""
    model = Billed()
    talk = step(talking)
    pattern = sections({"a": retry(talk, retries=3), "b": talk}, on_error="skip", quorum=1)

    async def main() -> None:
        async with Session(model, budget=Budget(calls=1)) as session:
            with pytest.raises(BudgetError, match="budget of 1 call cannot cover a call to test:billed") as caught:
                await pattern.run("q", session=session)
            assert (caught.value.unit, caught.value.limit) == ("calls", 1)
            assert caught.value.run is not None

    run_virtual(main())
    assert model.calls == 1


def test_budgets_of_session_run_and_step_hold_together() -> None:
    """Each bounds what is under it; a step's budget is for each execution of it anew."""
    model = Billed()

    async def main() -> None:
        inner = chain(ASK, ASK, budget=Budget(calls=2))
        async with Session(model, budget=Budget(calls=5)) as session:
            await chain(inner, inner).run("q", session=session)
            with pytest.raises(BudgetError, match="budget of 5 calls"):
                await chain(ASK, ASK).run("q", session=session, budget=Budget(calls=9))
            assert model.calls == 5
        async with Session(model) as session:
            with pytest.raises(BudgetError, match="budget of 1 call"):
                await inner.run("q", session=session, budget=Budget(calls=1))

    run_virtual(main())


def test_a_run_inside_a_run_has_its_own_budget_too() -> None:
    """``step.run(x, budget=)`` inside a step bounds that part of the run."""

    @step
    async def outer(given: str) -> str:
        with pytest.raises(BudgetError, match="budget of 1 call"):
            await chain(ASK, ASK).run(given, budget=Budget(calls=1))
        return (await ASK.run(given)).output

    run = run_virtual(outer.run("q", session=Session(Billed(), budget=Budget(calls=9))))
    assert run.output == "yes"


def test_calls_wait_for_money_that_is_under_way() -> None:
    """Under a budget of four worst cases ten calls that cost little all go through, four at a time at most."""
    model = Billed(usual=0.0)
    talk = step(talking)

    async def main() -> None:
        async with Session(model, budget=Budget(usd=0.0022)) as session:
            await asyncio.gather(*(talk.run("q" * 84, session=session) for _ in range(10)))

    run_virtual(main())
    assert model.calls == 10
    assert model.most == 4


@pytest.mark.parametrize("budget", [0.5, "1", 3])
def test_a_bare_number_is_no_budget(budget: Any) -> None:
    """It does not say of what."""
    with pytest.raises(UsageError, match=r"Budget\(usd=0\.5\)"):
        Session(FakeModel(), budget=budget)
    with pytest.raises(UsageError, match="give a Budget"):
        prompt("{input}", budget=budget)
    with pytest.raises(UsageError, match="give a Budget"):
        run_virtual(ASK.run("q", session=Session(FakeModel()), budget=budget))


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_everything_that_is_sent_counts_for_the_input() -> None:
    """The schema, the extra body, and parts that are no text."""
    plain = Request((Message("user", "hello"),))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**6}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 10**6}}
    text = {"type": "text", "text": "hello"}
    assert (
        input_bound(Request((Message("user", "hello"),), schema={"type": "object"})) > input_bound(plain) + PER_SCHEMA
    )
    assert input_bound(Request((Message("user", "hello"),), extra_body={"tools": "x" * 99})) > input_bound(plain) + 99
    assert input_bound(Request((Message("user", [text, image]),))) in range(PER_PART, PER_PART + 100)
    assert input_bound(Request((Message("user", [sound]),))) > 10**6


HOUR = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("asked", "times"),
    [
        ({}, 1.25),  # some vendors write to their cache unasked
        ({"extra_body": {"cache_control": {"type": "ephemeral"}}}, 1.25),
        ({"extra_body": {"cache_control": HOUR}}, 2.0),
        ({"extra_body": {"system": [{"type": "text", "text": "x", "cache_control": HOUR}]}}, 2.0),
        ({"messages": (Message("user", [{"type": "text", "text": "x", "cache_control": HOUR}]),)}, 2.0),
    ],
)
def test_the_worst_case_of_a_request_is_that_it_is_written_to_a_cache(asked: dict[str, Any], times: float) -> None:
    """Which costs a quarter more than plain input with most who have caches, and twice as much for an hour."""
    request = Request(**{"messages": (Message("user", "hello"),), "max_tokens": 10} | asked)
    rate = FlatRate(1.0, 4.0, 0.1, 1.25, 2.0)
    assert worst_of(request, rate).picos == 1e6 * (times * input_bound(request) + 40)
    cut = price_of(rate, request, "cancelled", None, None)
    assert cut == Cost(0.0, worst_of(request, rate).picos / 1e12)
    assert worst_of(request, FlatRate(1.0, 4.0)).picos == 1e6 * (input_bound(request) + 40)


def test_a_sign_that_a_tokenizer_takes_apart_counts_for_its_parts() -> None:
    """U+FDFA is three bytes, and thirty and more once normalised."""
    assert input_bound(Request((Message("user", "\ufdfa" * 10),))) >= 330


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, None),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": 10, "extra_body": {"max_completion_tokens": 50, "n": 2}}, 100),
        ({"max_tokens": 10, "extra_body": {"max_tokens": 5}}, 10),
        ({"max_tokens": 10, "extra_body": {"max_tokens": None}}, None),
        ({"max_tokens": 10, "extra_body": {"max_tokens": -1}}, None),
        ({"max_tokens": 10, "extra_body": {"max_tokens": 1e6}}, None),
        ({"max_tokens": 10, "extra_body": {"max_completion_tokens": "4000"}}, None),
        ({"max_tokens": 10, "extra_body": {"n": "9"}}, None),
    ],
)
def test_the_output_is_bounded_by_the_largest_ceiling_that_is_sent(options: Any, most: int | None) -> None:
    """What goes into the body as it is counts, too."""
    assert output_bound(Request((Message("user", "hello"),), **options)) == most


def test_the_price_of_an_object_is_known_without_opening_it() -> None:
    """By what it was given, else by its label; no key is needed."""
    session = Session()
    assert session.quote(OpenAI("x", price=(1, 2))).rate is not None
    assert session.quote("openai:gpt-4o-mini").rate is not None
    assert session.quote("ollama:llama3.2").rate is None
    assert session.quote("fake:").free
    assert session.quote(Billed()).label == "test:billed"
    with pytest.raises(ModelError, match="no model"):
        session.quote()


def test_who_waits_for_money_has_no_timeout_of_its_own_yet() -> None:
    """A call's timeout starts with its turn, a run's covers the wait."""
    model = Billed(3)
    slow = Ending(Reply(("yes",), Usage(1, 1)), latency=5)
    first, then = (
        prompt("{input}", max_tokens=100, model=slow),
        prompt("{input}", max_tokens=100, timeout=2, model=model),
    )

    async def main(timeout: float | None) -> Any:
        async with Session(budget=Budget(usd=0.0009)) as session:
            beside = asyncio.ensure_future(first.run("q" * 84, session=session))
            await asyncio.sleep(0)
            try:
                return await then.run("q" * 84, session=session, timeout=timeout)
            finally:
                await beside

    assert run_virtual(main(None)).output == "yes"
    with pytest.raises(StepTimeout, match="the run"):
        run_virtual(main(3))
