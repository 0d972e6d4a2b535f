"""Numbers as users give them: a mistake is told in the words of the setting it was in, not in Python's own."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from fanfold import Anthropic, Budget, FanfoldError, Hedge, OpenAI, RateLimit, Session, prompt, sections
from fanfold.calls.estimates import Bounds
from fanfold.core.numbers import counted, is_amount, is_count, is_seconds
from fanfold.errors import UsageError
from fanfold.testing import FakeModel, run_virtual

WRONG: dict[str, Callable[[Any], object]] = {
    "Budget(usd=": lambda given: Budget(usd=given),
    "Budget(calls=": lambda given: Budget(calls=given),
    "Budget(max_tokens=": lambda given: Budget(calls=1, max_tokens=given),
    "timeout=": lambda given: Session(timeout=given),
    "timeout= ": lambda given: prompt("{input}", timeout=given),
    "idle_timeout=": lambda given: Session(idle_timeout=given),
    "patience=": lambda given: Session(patience=given),
    "on_event=": lambda given: Session(on_event=given),
    "max_in_flight=": lambda given: Session(max_in_flight=given),
    "max_queued=": lambda given: Session(max_queued=given),
    "attempts=": lambda given: Session(attempts=given),
    "hedge=": lambda given: Session(hedge=given),
    "hedge= ": lambda given: prompt("{input}", hedge=given),
    "journal=": lambda given: Session(journal=given),
    "Hedge(percentile=": lambda given: Hedge(percentile=given),
    "Hedge(at_most=": lambda given: Hedge(at_most=given),
    "RateLimit(requests=": lambda given: RateLimit(requests=given),
    "RateLimit(per=": lambda given: RateLimit(requests=1, per=given),
    "max_in_flight= ": lambda given: prompt("{input}").map(["a"], max_in_flight=given),
    "max_failures=": lambda given: prompt("{input}").map(["a"], max_failures=given),
    "workers=": lambda given: prompt("{input}").map(["a"], engine="ray", workers=given),
    "price=": lambda given: OpenAI(name="m", price=given),
    "price= ": lambda given: Anthropic(name="m", price=(given, 1)),
    "OpenAI(": lambda given: OpenAI(name=given),
}


@pytest.mark.parametrize("given", [-1, 2.5j, True, (), [b"4"]], ids=repr)
@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_number_is_told_in_its_setting(words: str, given: object) -> None:
    """The error is of ours, names the setting and shows what was given."""
    with pytest.raises(FanfoldError) as raised:
        WRONG[words](given)
    assert str(raised.value).startswith(words.strip())
    assert repr(given) in str(raised.value)


@pytest.mark.parametrize("given", ["4", "x"])
@pytest.mark.parametrize("words", [words for words in WRONG if words not in {"journal=", "OpenAI("}])
def test_text_is_no_number(words: str, given: str) -> None:
    """Not even where it reads like one."""
    test_a_wrong_number_is_told_in_its_setting(words, given)


@pytest.mark.parametrize("words", ["Budget(max_tokens=", "RateLimit(per="])
def test_nothing_is_no_number_where_one_is_needed(words: str) -> None:
    """None leaves a limit out; of these there has to be one."""
    test_a_wrong_number_is_told_in_its_setting(words, None)


@pytest.mark.parametrize("exact", [Decimal, Fraction])
def test_an_amount_may_be_exact(exact: Callable[[str], Any]) -> None:
    """What is accepted as an amount is one wherever it is counted with."""
    ask = prompt("{input}", model=FakeModel(["yes"]))

    async def main() -> list[str]:
        limit, budget = RateLimit(requests=exact("500"), tokens=exact("9e5"), per=exact("60")), Budget(usd=exact("0.5"))
        hedge = Hedge(percentile=exact("95"), at_most=exact("0.05"))
        own = prompt("{input}", model=FakeModel(["yes"]), budget=budget)
        async with Session(rate_limits=limit, hedge=hedge, budget=budget) as session:
            both = sections({"own": own, "other": ask})
            assert both.estimate("q", session=session).calls == Bounds(2, 2)
            return [*(await both.run("q", session=session)).output.values()]

    assert run_virtual(main()) == ["yes", "yes"]


@pytest.mark.parametrize("name", ["timeout", "idle_timeout", "patience"])
def test_a_time_is_one_that_a_clock_can_add(name: str) -> None:
    """A Decimal is refused when it is given, for no sum of it and a float is made; a fraction is as good as a float."""
    times: dict[str, Any] = {name: Decimal(2)}
    with pytest.raises(UsageError, match=f"{name}=Decimal"):
        Session(**times)
    assert is_seconds(Fraction(1, 2))
    assert is_seconds(math.inf)
    assert not is_seconds(math.nan)


def test_counts() -> None:
    """Whole numbers from the least up."""
    assert [given for given in (0, 1, 2.0, True, "3", None, 7, -1) if is_count(given)] == [1, 7]
    assert is_count(0, 0)


def test_amounts() -> None:
    """Finite numbers above nothing."""
    tried = (0, 0.5, Decimal(3), True, "3", None, 7, -1, float("inf"), float("nan"))
    assert [given for given in tried if is_amount(given)] == [0.5, Decimal(3), 7]


def test_one_of_a_thing_is_not_told_as_several() -> None:
    """The bug: "1 rows", "1 calls" wherever there was one."""
    assert [counted(count, "row") for count in (0, 1, 2, 1200)] == ["0 rows", "1 row", "2 rows", "1,200 rows"]
    assert [counted(count, "row is", "rows are") for count in (1, 2)] == ["1 row is", "2 rows are"]
