"""The demo's figures, against values worked out by hand."""

import math

import pytest

from fanfold.cli.figures import Gain
from fanfold.folds.intervals import paired, share_interval


@pytest.mark.parametrize(
    ("more", "fewer", "same", "low", "high"),
    [(26, 4, 18, 0.2548067, 0.6251933), (82, 125, 92, -0.2355992, -0.0501151)],
)
def test_the_paired_interval_against_worked_examples(more: int, fewer: int, same: int, low: float, high: float) -> None:
    """Bonett and Price (2012), as their own R package `statpsych` shows it (`ci.prop.ps`, `ci.pairs.prop1`)."""
    mean, *interval = paired([1] * more + [-1] * fewer + [0] * same)
    assert mean == (more - fewer) / (more + fewer + same)
    assert interval == pytest.approx([low, high], abs=1e-5)


def test_the_paired_interval_by_hand() -> None:
    """With a pair more for either side, 1, 0, 0, 1, -1 have the mean 1/7 and the variance 5/7 - 1/49."""
    mean, low, high = paired([1, 0, 0, 1, -1])
    assert mean == pytest.approx(0.2)
    half = 1.96 * math.sqrt((5 / 7 - 1 / 49) / 7)
    assert (low, high) == pytest.approx((1 / 7 - half, 1 / 7 + half))


def test_the_paired_interval_of_shares() -> None:
    """Gains may be shares: 0.4, 0.2, 0.6 and the two have the mean 0.24, and 0.512 is that of their squares."""
    half = 1.96 * math.sqrt((0.512 - 0.24**2) / 5)
    assert paired([0.4, 0.2, 0.6]) == pytest.approx((0.4, 0.24 - half, 0.24 + half))


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.0, -1.0])
@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_few_pairs_are_never_beyond_chance(gain: float, pairs: int) -> None:
    """The bug: one question that a vote got right and a single call wrong made a gain of +100, "beyond chance"."""
    found = Gain("vote", "model", *paired([gain] * pairs))
    assert -1 <= found.low < 0 < found.high <= 1
    assert found.low <= gain <= found.high
    assert found.verdict == ("may be chance" if gain else "none seen")


def test_pairs_that_are_all_alike_leave_a_width() -> None:
    """Two steps that were right on the same hundred rows may still differ by a few points; on more rows, by less."""
    _, low, high = paired([0.0] * 100)
    assert -low == high == pytest.approx(0.0272, abs=1e-4)
    assert paired([0.0] * 1000)[2] < high / 9


def outcomes(pairs: int, more: float, fewer: float) -> list[tuple[float, tuple[float, float, float]]]:
    """Everything that so many pairs can show: how likely it is, and its interval."""
    found = []
    for won in range(pairs + 1):
        for lost in range(pairs - won + 1):
            even = pairs - won - lost
            ways = math.comb(pairs, won) * math.comb(pairs - won, lost)
            likely = ways * more**won * fewer**lost * (1 - more - fewer) ** even
            found.append((likely, paired([1.0] * won + [-1.0] * lost + [0.0] * even)))
    return found


@pytest.mark.parametrize("pairs", [1, 2, 5, 12, 30])
def test_the_paired_interval_holds_the_truth(pairs: int) -> None:
    """Over all outcomes: wherever the truth lies in at least 90 %, and mostly in 95 %."""
    held = []
    for tenths in range(11):
        for part in range(tenths + 1):
            more, fewer = part / 10, (tenths - part) / 10
            cases = outcomes(pairs, more, fewer)
            held.append(sum(likely for likely, (_, low, high) in cases if low - 1e-9 <= more - fewer <= high + 1e-9))
    assert min(held) > 0.9 - 1e-9
    assert sum(held) / len(held) > 0.95


@pytest.mark.parametrize(
    ("low", "gain", "high", "verdict"),
    [
        (0.01, 0.05, 0.09, "beyond chance"),
        (-0.09, -0.05, -0.01, "beyond chance"),
        (-0.01, 0.05, 0.11, "may be chance"),
        (0.0, 0.05, 0.1, "may be chance"),
        (-0.03, 0.0, 0.03, "none seen"),
    ],
)
def test_the_verdict_in_words(low: float, gain: float, high: float, verdict: str) -> None:
    """An interval that holds zero may be chance; a gain of nothing is none, whatever might be."""
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
