"""How sure a figure is: 95 % intervals of shares and of paired differences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Z95 = 1.96
"""Normal quantile of a two-sided 95 % interval."""


def paired(gains: Sequence[float]) -> tuple[float, float, float]:
    """The mean of paired differences and its 95 % interval, by the normal approximation."""
    mean = sum(gains) / len(gains)
    spread = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / max(1, len(gains) - 1))
    half = Z95 * spread / math.sqrt(len(gains))
    return mean, mean - half, mean + half


def share_interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927), which stays inside 0 to 1 also where nearly all or none count."""
    share, weight = count / total, Z95**2 / total
    half = Z95 * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    low, high = (share + weight / 2 - half) / (1 + weight), (share + weight / 2 + half) / (1 + weight)
    return max(0.0, low), min(1.0, high)
