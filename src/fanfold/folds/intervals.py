"""How sure a figure is: 95 % intervals of shares and of paired differences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Z95 = 1.96
"""Normal quantile of a two-sided 95 % interval."""


def paired(gains: Sequence[float]) -> tuple[float, float, float]:
    """The mean of paired differences from -1 to 1, and its 95 % interval (Bonett and Price, 2012).

    That of the normal approximation where one pair more had spoken for either side: so it has a width where all pairs
    are alike, or there is but one. Newcombe's (1998, method 10) finds a difference in two pairs of which chance turned
    both the same way, which it does every other time.
    """
    total = len(gains) + 2
    centre = sum(gains) / total
    square = (sum(gain * gain for gain in gains) + 2) / total
    half = Z95 * math.sqrt((square - centre * centre) / total)
    return sum(gains) / len(gains), max(-1.0, centre - half), min(1.0, centre + half)


def share_interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927), which stays inside 0 to 1 also where nearly all or none count."""
    share, weight = count / total, Z95**2 / total
    half = Z95 * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    low, high = (share + weight / 2 - half) / (1 + weight), (share + weight / 2 + half) / (1 + weight)
    return max(0.0, low), min(1.0, high)
