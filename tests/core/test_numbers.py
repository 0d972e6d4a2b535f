"""Numbers as users give them: a mistake is told in the words of the setting it was in, not in Python's own."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from fanfold import Anthropic, Budget, FanfoldError, Hedge, OpenAI, RateLimit, Session, prompt
from fanfold.core.numbers import is_amount, is_count

WRONG: dict[str, Callable[[Any], object]] = {
    "Budget(usd=": lambda given: Budget(usd=given),
    "Budget(calls=": lambda given: Budget(calls=given),
    "max_in_flight=": lambda given: Session(max_in_flight=given),
    "max_queued=": lambda given: Session(max_queued=given),
    "attempts=": lambda given: Session(attempts=given),
    "hedge=": lambda given: Session(hedge=given),
    "hedge= ": lambda given: prompt("{input}", hedge=given),
    "journal=": lambda given: Session(journal=given),
    "Hedge(percentile=": lambda given: Hedge(percentile=given),
    "Hedge(at_most=": lambda given: Hedge(at_most=given),
    "RateLimit(requests=": lambda given: RateLimit(requests=given),
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


def test_counts() -> None:
    """Whole numbers from the least up."""
    assert [given for given in (0, 1, 2.0, True, "3", None, 7, -1) if is_count(given)] == [1, 7]
    assert is_count(0, 0)


def test_amounts() -> None:
    """Finite numbers above nothing."""
    tried = (0, 0.5, Decimal(3), True, "3", None, 7, -1, float("inf"), float("nan"))
    assert [given for given in tried if is_amount(given)] == [0.5, Decimal(3), 7]
