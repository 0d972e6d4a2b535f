"""Rules that average: mean and median."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold import rules
from fanfold.errors import QuorumError, UsageError
from fanfold.folds.numeric import number
from tests.folds.reference import Case, No, feed, result


def test_the_mean_of_scores() -> None:
    """It averages the valid ballots only; ints and floats mix."""
    found = result(Case("mean", (7, 8.5, No.FAILS, 9, No.UNREADABLE)))
    assert found.winner == pytest.approx(24.5 / 3)
    assert isinstance(found.winner, float)
    assert found.rule == "mean()"
    assert found.share is None
    assert found.share_bounds is None


def test_the_mean_waits_for_all() -> None:
    """Any number may still come and move it, so no ballot ends it early."""
    case = Case("mean", (5, 5, 5, 5))
    assert not any(answer.enough for answer in feed(case.fold(), case, range(4)))


def test_the_mean_ends_early_only_when_its_quorum_is_lost() -> None:
    """With quorum 3 of 4 the second failure is the end."""
    case = Case("mean", (5, No.FAILS, No.FAILS, 5), quorum=3)
    fold = case.fold()
    assert len(feed(fold, case, range(4))) == 3
    with pytest.raises(QuorumError):
        fold.end("enough")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6), st.randoms())
def test_the_mean_is_exact_and_no_order_shows_in_it(values: list[float], chance: Any) -> None:
    """It is the nearest float to the true mean, whatever the order and however large or small the numbers."""
    case = Case("mean", tuple(values))
    order = list(range(len(values)))
    chance.shuffle(order)
    assert result(case, order).winner == float(sum(map(Fraction, values)) / len(values))


def test_the_median_is_the_middle() -> None:
    """Of an odd number the middle one, of an even number the mean of the middle two."""
    assert result(Case("median", (9, 1, 5))).winner == 5
    assert result(Case("median", (9, 1, 5, 6))).winner == 5.5
    assert result(Case("median", (4,))).winner == 4
    assert result(Case("median", (1e308, 1.5e308))).winner == 1.25e308


def test_the_median_stops_when_its_extremes_coincide() -> None:
    """Three agree in the middle: wherever the two others land, the median is theirs."""
    case = Case("median", (5, 5, 5, 100, 0))
    fold = case.fold()
    assert len(feed(fold, case, range(5))) == 3
    found = fold.end("enough")
    assert found.winner == 5.0
    assert found.why == "decided after 3 of 5: nothing outstanding can change 5.0"


def test_the_median_waits_while_one_ballot_can_move_it() -> None:
    """Two and two around the middle, one out: it decides."""
    case = Case("median", (1, 1, 9, 9, 5))
    assert not any(answer.enough for answer in feed(case.fold(), case, range(5)))


def test_declared_numbers_bound_the_median() -> None:
    """On a scale of 1 and 2, half of the ballots at the end of the scale are decisive sooner than on no scale."""
    votes = (2, 2, 1, 1, 1)
    scale = Case("median", (1, 1, 1, 2, 2), declared=(1, 2))
    assert len(feed(scale.fold(), scale, range(5))) == 3
    low = Case("median", votes, declared=(2,))
    assert len(feed(low.fold(), low, range(5))) == 1


def test_what_is_no_number_abstains_with_its_reason() -> None:
    """A text, a bool, an infinity or NaN is no number: an abstention that says so, and never a crash."""
    votes = (4, "tall", True, math.nan, math.inf, -math.inf, [3], 10**400, 6)
    found = result(Case("mean", votes), key=repr)
    assert found.winner == 5.0
    assert (found.valid, found.abstained) == (2, 7)
    assert found.ballots[1].reason == "'tall' is not a number"
    assert found.ballots[2].reason == "True is not a number"
    assert found.ballots[1].value is None
    assert found.ballots[1].text == "the reply"
    assert len(found.ballots[7].reason or "") < 100


def test_abstentions_of_what_is_no_number_count_towards_the_end() -> None:
    """They are known not to count the moment they come, so a quorum can be lost by them."""
    case = Case("median", ("high", "low", 3), quorum=2)
    fold = case.fold()
    assert len(feed(fold, case, range(3))) == 2
    with pytest.raises(QuorumError) as caught:
        fold.end("enough")
    assert caught.value.missing["v0"] == "'high' is not a number"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (2.5, 2.5),
        (Fraction(1, 4), 0.25),
        (Decimal("0.5"), 0.5),
        (Decimal("sNaN"), None),
        (Decimal("Infinity"), None),
        (True, None),
        ("3", None),
        (None, None),
        (1j, None),
        (10**400, None),
    ],
    ids=lambda value: f"{value!r:.12}",
)
def test_a_number_is_finite_and_no_bool(value: object, expected: float | None) -> None:
    """Whatever Python calls a real number, and decimals; True is an answer, not 1."""
    assert number(value) == expected


def test_zero_has_no_sign() -> None:
    """The median of 0.0 and -0.0 does not tell which came first."""
    for order in ([0, 1], [1, 0]):
        assert math.copysign(1, result(Case("median", (-0.0, 0.0, -0.0)), [*order, 2]).winner) == 1


def test_the_tally_of_an_average_counts_the_values() -> None:
    """Also of numbers one wants to see how often each came."""
    assert result(Case("median", (3, 1, 3, 2))).tally == {3: 2, 1: 1, 2: 1}


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_choices_that_are_no_numbers_are_refused(rule: str) -> None:
    """The mean of "good" and "bad" is nothing; that shows before the vote."""
    with pytest.raises(UsageError, match="the choice 'good' is not a number"):
        Case(rule, (1,), declared=(1, "good")).fold()


def test_averages_are_values() -> None:
    """They show how they were made, and are equal if made alike."""
    assert [repr(rules.mean()), repr(rules.median())] == ["mean()", "median()"]
    assert rules.mean() == rules.mean() != rules.median()
