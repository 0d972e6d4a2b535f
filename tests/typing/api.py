"""What a user's type checker infers of the public API; checked by mypy --strict, and never executed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypedDict, assert_type

from langchain_core.language_models import FakeListChatModel
from pydantic import BaseModel
from pydantic_ai.models.test import TestModel

from fanfold import (
    Budget,
    Call,
    Cost,
    Event,
    FanfoldError,
    Hedge,
    OpenAI,
    Reply,
    Run,
    Session,
    Step,
    Usage,
    best_of,
    chain,
    check,
    fallback,
    gather,
    guard,
    map_over,
    prompt,
    race,
    retry,
    route,
    rules,
    sample,
    sections,
    split,
    step,
    vote,
)
from fanfold.calls.estimates import Estimate
from fanfold.errors import BranchError, ParseError
from fanfold.steps.prompt import Prompt
from fanfold.testing import FakeModel


class Report(BaseModel):
    """A pydantic model."""

    title: str


@dataclass
class Ticket:
    """A dataclass."""

    body: str


class Parts(TypedDict):
    """A TypedDict."""

    tone: str
    facts: list[str]


class Mood(Enum):
    """An enum."""

    GOOD = "good"


Label = Literal["spam", "ham"]

# -- prompts ------------------------------------------------------------------------------------------------------

text = prompt("{input}")
label = prompt("{input}", returns=Label)
spelled = prompt("{input}", returns=Literal["a", "b"])
number = prompt("{input}", returns=int)
score = prompt("{input}", returns=float)
flag = prompt("{input}", returns=bool)
facts = prompt("{input}", returns=list[str])
report = prompt("{input}", returns=Report)
ticket = prompt("{input}", returns=Ticket)
parts = prompt("{input}", returns=Parts)
mood = prompt("{input}", returns=Mood)
maybe = prompt("{input}", returns=int | None)
of_langchain = prompt("{input}", model=FakeListChatModel(responses=["a"]))
of_pydantic_ai = prompt("{input}", model=TestModel())

assert_type(text, Prompt[str])
assert_type(of_langchain, Prompt[str])
assert_type(of_pydantic_ai, Prompt[str])
assert_type(flag.as_runnable().invoke("x"), bool)
assert_type(label, Prompt[Literal["spam", "ham"]])
assert_type(spelled, Prompt[Literal["a", "b"]])
assert_type(number, Prompt[int])
assert_type(score, Prompt[float])
assert_type(flag, Prompt[bool])
assert_type(facts, Prompt[list[str]])
assert_type(report, Prompt[Report])
assert_type(ticket, Prompt[Ticket])
assert_type(parts, Prompt[Parts])
assert_type(mood, Prompt[Mood])
assert_type(maybe, Prompt[int | None])

as_a_step: Step[str, str] = text
of_anything: Step[Any, bool] = flag

prompt("{input}", system="s", messages=[{"role": "user", "content": "x"}], context="c", temperature=0.5, max_tokens=9)
prompt("{input}", model=OpenAI(name="x", base_url="http://127.0.0.1:1/v1"), extra_body={"seed": 1}, structured=False)
prompt("{input}", model=FakeModel(["x"]), retries=2, timeout=1.5, name="ask")
prompt(messages=[{"role": "user", "content": [{"type": "text", "text": "{input}"}]}])

# -- functions as steps -------------------------------------------------------------------------------------------


@step
async def shout(given: str) -> bytes:
    """An async function."""
    return given.upper().encode()


@step
def count(given: bytes) -> int:
    """A plain function."""
    return len(given)


@step(name="named", thread=False)
async def named(given: int) -> float:
    """A named one."""
    return given / 2


assert_type(shout, Step[str, bytes])
assert_type(count, Step[bytes, int])
assert_type(named, Step[int, float])

# -- chains -------------------------------------------------------------------------------------------------------


async def later(given: float) -> list[float]:
    """An async link."""
    return [given]


assert_type(shout | count, Step[str, int])
assert_type(shout | count | named, Step[str, float])
assert_type(shout | count | named | later, Step[str, list[float]])
assert_type(text | label, Step[Any, Literal["spam", "ham"]])
assert_type(text | str.upper, Step[Any, str])
assert_type(chain(shout), Step[str, bytes])
assert_type(chain(shout, count), Step[str, int])
assert_type(chain(shout, count, name="line", timeout=5), Step[str, int])

# -- sections -----------------------------------------------------------------------------------------------------


def joined(values: Mapping[str, Any]) -> bytes:
    """A merging function."""
    return repr(values).encode()


async def joined_later(values: Mapping[str, Any]) -> bytes:
    """An async merging function."""
    return joined(values)


def made(given: str) -> list[Step[str, str]]:
    """Branches made when the step runs."""
    return [text] * len(given)


assert_type(sections({"a": text, "b": facts}), Step[Any, dict[str, Any]])
assert_type(sections({"a": shout}), Step[str, dict[str, Any]])
assert_type(sections({"a": text, "b": shout, "c": facts}), Step[Any, dict[str, Any]])
assert_type(sections([number, number]), Step[Any, list[int]])
assert_type(sections({"a": text}, merge=report), Step[Any, Report])
assert_type(sections({"a": shout}, merge=joined), Step[str, bytes])
assert_type(sections({"tone": text, "facts": facts}, returns=Parts), Step[Any, Parts])
assert_type(sections({"body": text}, returns=Ticket), Step[Any, Ticket])
assert_type(
    sections({"title": text}, returns=Report, on_error="skip", quorum=1, timeout=2, name="s"), Step[Any, Report]
)
assert_type(sections(made), Step[str, Any])
assert_type(sections(made, merge=label), Step[str, Literal["spam", "ham"]])
assert_type(sections(lambda given: dict.fromkeys(given, text)), Step[Any, Any])
assert_type(sections(lambda given: dict.fromkeys(given, text), merge=report), Step[Any, Report])
assert_type(sections({"a": text, "b": str.upper, "c": len}), Step[Any, dict[str, Any]])
assert_type(sections({"a": text, "b": str.upper}, merge=report), Step[Any, Report])
assert_type(sections([text, str.upper, later]), Step[Any, list[Any]])

# -- votes --------------------------------------------------------------------------------------------------------

assert_type(vote(label, n=5), Step[Any, Literal["spam", "ham"]])
assert_type(vote(label, 5), Step[Any, Literal["spam", "ham"]])
assert_type(vote([flag, flag, flag]), Step[Any, bool])
assert_type(vote({"a": mood, "b": mood}), Step[Any, Mood])
assert_type(vote(shout, n=3), Step[str, bytes])
assert_type(vote(label, n=5, rule=rules.plurality()), Step[Any, Literal["spam", "ham"]])
assert_type(vote(label, n=5, rule=rules.plurality(), ties="abstain"), Step[Any, Literal["spam", "ham"] | None])
assert_type(vote(label, n=5, ties="abstain"), Step[Any, Literal["spam", "ham"] | None])
assert_type(vote(label, n=5, ties="error"), Step[Any, Literal["spam", "ham"]])
assert_type(vote(label, n=5, ties=label), Step[Any, Literal["spam", "ham"]])
assert_type(vote(label, n=5, rule=rules.majority()), Step[Any, Literal["spam", "ham"] | None])
assert_type(vote([label, label], rule=rules.weighted({"0": 1, "1": 0.5})), Step[Any, Literal["spam", "ham"] | None])
assert_type(vote(label, n=5, rule=rules.at_least(2, "spam")), Step[Any, bool])
assert_type(vote(flag, n=5, rule=rules.any_of(True)), Step[Any, bool])
assert_type(vote(flag, n=5, rule=rules.all_of(True), quorum=3), Step[Any, bool])
assert_type(vote(score, n=5, rule=rules.mean()), Step[Any, float])
assert_type(vote(number, n=5, rule=rules.median()), Step[Any, float])
assert_type(vote(label, n=5, stop=rules.decided(), on_error="fail", timeout=1, wave=2, name="v"), Step[Any, Label])
assert_type(vote(label, n=5, stop=None), Step[Any, Label])
assert_type(vote(report, n=5), Step[Any, Report])
assert_type(vote(parts, n=5, rule=rules.fields({"tone": rules.plurality()})), Step[Any, Parts])
assert_type(vote(report, n=5, rule=rules.fields(of=Report), ties="abstain"), Step[Any, Report | None])
assert_type(vote(text, n=5, same="meaning", judge="openai:gpt-4o-mini"), Step[Any, str])
assert_type(vote(text, n=5, same="meaning", rule=rules.majority()), Step[Any, str | None])
assert_type(vote(text, n=5, same=len), Step[Any, str])
assert_type(vote(text, n=5, same=lambda said: said[:1]), Step[Any, str])
assert_type(vote(text, n=5, same=label, judge=None), Step[Any, str])
assert_type(vote(shout, n=5, same=count, rule=rules.at_least(2, b"x")), Step[str, bool])

# -- samples ------------------------------------------------------------------------------------------------------

assert_type(sample(text, 3), Step[Any, list[str]])
assert_type(sample(report, n=3, distinct=True), Step[Any, list[Report]])
assert_type(sample(shout, 3, distinct=len, at_most=9, quorum=2), Step[str, list[bytes]])

assert_type(sample(text, 3, merge=report), Step[Any, Report])
assert_type(sample(shout, 3, merge=len), Step[str, int])
assert_type(vote(text, 3, merge=report), Step[Any, Report])
assert_type(vote(shout, 3, merge=len), Step[str, int])
assert_type(best_of(text, n=3, judge=len), Step[Any, str])

# -- maps ---------------------------------------------------------------------------------------------------------

assert_type(map_over(text), Step[Sequence[Any], list[str]])
assert_type(map_over(later), Step[Sequence[float], list[list[float]]])
assert_type(map_over(text, items="rows"), Step[Any, list[str]])
assert_type(map_over(str.upper, items=split(500)), Step[Any, list[str]])
assert_type(map_over(text, items=split(500), merge=report, merge_fits=2000), Step[Any, Report])
assert_type(map_over(report, merge=len), Step[Any, int])

# -- guards, races, fallbacks, retries, routes --------------------------------------------------------------------

assert_type(guard(report, {"bad": flag}), Step[Any, Report | str])
assert_type(guard(shout, {"bad": len, "jury": vote(flag, n=3), "real": check(flag)}), Step[str, bytes | str])
assert_type(guard(report, checks={"bad": check(flag, on="answer")}, otherwise=ticket), Step[Any, Report | Ticket])
assert_type(race(report, prompt("{input}", returns=Report), stagger=0.5), Step[Any, Report])
assert_type(race(shout, shout, timeout=5, name="r"), Step[str, bytes])
assert_type(race(str.upper, text), Step[str, Any])
assert_type(fallback(report, prompt("{input}", returns=Report), timeout=5), Step[Any, Report])
assert_type(fallback(later, later), Step[float, list[float]])
assert_type(retry(report, retries=2), Step[Any, Report])
assert_type(retry(later, on=ValueError), Step[float, list[float]])
assert_type(retry(count), Step[bytes, int])
assert_type(route(label, {"spam": report, "ham": report}), Step[Any, Report])
assert_type(route(label, {"spam": report, "ham": report}, otherwise=report, timeout=5), Step[Any, Report])
assert_type(route(str.upper, {"A": text, "B": str.lower}), Step[str, Any])

# -- running ------------------------------------------------------------------------------------------------------


async def running(email: str) -> None:
    """What comes out of a step, and of its run."""
    assert_type(await vote(label, n=5)(email), Literal["spam", "ham"])
    run = await vote(label, n=5).run(email, timeout=2)
    assert_type(run, Run[Literal["spam", "ham"]])
    assert_type(run.output, Literal["spam", "ham"])
    assert_type(run.name, str)
    assert_type(run.wall, float)
    assert_type(run.sequential, float)
    assert_type(run.usage, Usage)
    assert_type(run.usage.total_tokens, int)
    assert_type(run.cost, Cost)
    assert_type(run.cost.usd, float | None)
    assert_type(run.calls, tuple[Call, ...])
    assert_type(run.events, tuple[Event, ...])
    assert_type(run.saved.calls, int)
    assert_type(run.times_one_call, int)
    assert_type(run.made_up, bool)
    assert_type(run.error, BaseException | None)
    assert_type(run.summary(), str)
    assert_type(shout.run_sync("x").output, bytes)


async def gathering() -> None:
    """The tuple of a gather is typed like that of asyncio.gather."""
    assert_type(await gather(label("x")), tuple[Literal["spam", "ham"]])
    assert_type(await gather(label("x"), flag("x")), tuple[Literal["spam", "ham"], bool])
    assert_type(await gather(text("x"), flag("x"), number("x")), tuple[str, bool, int])
    assert_type(await gather(text("x"), flag("x"), number("x"), shout("x")), tuple[str, bool, int, bytes])
    five = await gather(text("x"), flag("x"), number("x"), shout("x"), report("x"))
    assert_type(five, tuple[str, bool, int, bytes, Report])
    assert_type(await gather(*[text(word) for word in "abc"]), tuple[str, ...])


async def reading() -> None:
    """Updates, text and events, and their runs."""
    async with sections({"a": text}, merge=report).updates("x") as updates:
        async for name, value in updates:
            assert_type(name, str)
            assert_type(value, Any)
        assert_type(updates.run, Run[Report])
    async with text.text("x") as pieces:
        assert_type([piece async for piece in pieces], list[str])
        assert_type(pieces.run, Run[str])
    async with label.events("x") as events:
        async for event in events:
            assert_type(event, Event)
        assert_type(events.run.output, Label)


def reading_in_a_script() -> None:
    """The same through the sync door."""
    with text.text_sync("x") as pieces:
        assert_type(list(pieces), list[str])
        assert_type(pieces.run, Run[str])
    with sections({"a": text}).updates_sync("x") as updates:
        for name, value in updates:
            assert_type((name, value), tuple[str, Any])
        assert_type(updates.run.output, dict[str, Any])


async def sessions() -> None:
    """What a session takes and gives."""
    async with Session("openai:gpt-4o-mini", max_in_flight=8, timeout=None, on_event=print) as session:
        assert_type(session, Session)
        assert_type(session.statistics().slots.in_use, int)
        assert_type((await text.run("x", session=session)).output, str)
    Session(FakeModel(), providers={"groq": {"api_key": "k"}}, api_key="k", base_url="https://host/v1", allow_http=True)
    Session(OpenAI(name="x", provider="groq"))
    steady = Session(attempts=4, idle_timeout=30, hedge=Hedge(percentile=95, at_most=0.05))
    assert_type(steady.statistics().retries[0].quota.left, float)
    assert_type(prompt("{input}", hedge=False, idle_timeout=10.0).needs, frozenset[str])
    with Session() as in_a_script:
        assert_type(in_a_script, Session)


async def errors() -> None:
    """What errors carry."""
    try:
        await text("x")
    except ParseError as error:
        assert_type(error.text, str)
    except BranchError as error:
        assert_type(error.branch, str)
        assert_type(error.finished, dict[str, Any])
    except FanfoldError as error:
        assert_type(error.run, Any)


def money() -> None:
    """Budgets, on everything, and estimates."""
    one = Budget(usd=0.5, tokens=1000, calls=3, max_tokens=100)
    assert_type(one.usd, float | None)
    Session(budget=one)
    assert_type(text.run_sync("x", budget=one), Run[str])
    assert_type(label.estimate("x"), Estimate)
    assert_type(label.estimate("x", session=Session()).calls.at_most, int | None)
    assert_type(label.estimate("x").usd, Cost)
    assert_type(prompt("{input}", returns=bool, budget=one), Prompt[bool])
    assert_type(chain(shout, count, budget=one), Step[str, int])
    assert_type(vote(label, n=3, budget=one, if_unaffordable="shrink", timeout=3, name="v"), Step[Any, Label])
    assert_type(sections([flag, flag], budget=one, if_unaffordable="refuse"), Step[Any, list[bool]])
    assert_type(sample(flag, 3, if_unaffordable="shrink"), Step[Any, list[bool]])
    assert_type(map_over(count), Step[Sequence[bytes], list[int]])
    assert_type(map_over(count, if_unaffordable="shrink"), Step[Sequence[bytes], list[int]])


# -- what has to be refused -----------------------------------------------------------------------------------------


def wrong() -> None:
    """Mistakes that a checker has to see: a suppression that is not needed is an error itself."""
    count.run_sync("text")  # type: ignore[arg-type]  # bytes are wanted
    shout | named  # type: ignore[operator]  # bytes go into an int


# -- bringing one's own ---------------------------------------------------------------------------------------------


class Mine(Step[str, int]):
    """A step of one's own."""

    async def execute(self, given: str) -> int:
        """Its work."""
        return len(await text(given))


assert_type(Mine("mine") | named, Step[str, float])
assert_type(vote(Mine("mine"), n=3), Step[str, int])

fake = FakeModel(lambda request: str(request.messages[0].content), latency=lambda request: 0.1)
takes_a_step: Callable[[str], Awaitable[bytes]] = shout
replies: Sequence[Reply] = ()
