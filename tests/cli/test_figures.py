"""The demo's figures, against values worked out by hand."""

import math

import pytest

from fanfold.cli.figures import Gain
from fanfold.folds.intervals import paired, share_interval


def test_the_paired_interval_by_hand() -> None:
    """Of the gains 1, 0, 0, 1, -1 the mean is 0.2, the deviation √0.7, the half width 1.96 × √(0.7 / 5)."""
    mean, low, high = paired([1, 0, 0, 1, -1])
    assert mean == pytest.approx(0.2)
    assert high - mean == pytest.approx(1.96 * math.sqrt(0.14))
    assert mean - low == pytest.approx(0.7333648, abs=1e-6)


def test_the_paired_interval_of_shares() -> None:
    """Gains may be shares: of 0.4, 0.2, 0.6 the mean is 0.4, the deviation 0.2."""
    assert paired([0.4, 0.2, 0.6]) == pytest.approx((0.4, 0.4 - 0.2263213, 0.4 + 0.2263213), abs=1e-6)


def test_gains_that_are_all_the_same() -> None:
    """What does not vary has no width; one question has none either."""
    assert paired([0.5] * 4) == (0.5, 0.5, 0.5)
    assert paired([1.0]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("low", "gain", "high", "verdict"),
    [
        (0.01, 0.05, 0.09, "beyond chance"),
        (-0.09, -0.05, -0.01, "beyond chance"),
        (-0.01, 0.05, 0.11, "may be chance"),
        (0.0, 0.05, 0.1, "may be chance"),
        (0.0, 0.0, 0.0, "no difference"),
    ],
)
def test_the_verdict_in_words(low: float, gain: float, high: float, verdict: str) -> None:
    """An interval that holds zero may be chance."""
    assert Gain("vote", "model", gain, low, high).verdict == verdict


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(81, 263, 0.255, 0.366), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share(count: int, total: int, low: float, high: float) -> None:
    """Wilson's, against the worked examples of Newcombe (1998), method 3."""
    assert share_interval(count, total) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize("total", [1, 7, 120])
def test_the_interval_of_all_or_none(total: int) -> None:
    """It ends at 0 or 1, holds the share, and is the same from both sides."""
    low, high = share_interval(0, total)
    assert low == 0 < high < 1
    assert share_interval(total, total) == pytest.approx((1 - high, 1))
