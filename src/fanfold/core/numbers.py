"""Whether what a user gave for a number is one, so that a mistake is told in the words of its setting; numbers in
words, and those that JSON has not.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeGuard

NAMES = frozenset({"NaN", "Infinity", "-Infinity"})
"""What is written for the numbers that JSON has not."""


def counted(count: int, one: str, many: str = "") -> str:
    """So many of a thing, in words: `counted(1, "row")` is "1 row"; `many` where that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def is_count(given: object, least: int = 1) -> TypeGuard[int]:
    """Whether what a user gave as a number of things is one: a whole number from `least` up, and no bool."""
    return not isinstance(given, bool) and isinstance(given, Integral) and int(given) >= least


def is_seconds(given: object) -> TypeGuard[float]:
    """Whether what a user gave as a time is one: a number above 0 that can be added to a clock's, and no bool."""
    if type(given) is float or type(given) is int:  # each call asks: to tell an abstract type takes five times as long
        return given > 0
    return not isinstance(given, bool) and isinstance(given, Real) and float(given) > 0


def is_number(given: object) -> bool:
    """Whether what a user gave as a number is one: finite, and no bool."""
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def is_amount(given: object) -> TypeGuard[float]:
    """Whether what a user gave as an amount is one: a finite number above 0, and no bool."""
    if isinstance(given, bool) or not isinstance(given, Real | Decimal):
        return False
    try:
        return 0 < float(given) < math.inf
    except OverflowError:
        return False


def nameless(value: Any) -> bool:
    """Whether there is a number in plain data that JSON has not."""
    if isinstance(value, dict):
        return any(map(nameless, value.values()))
    if isinstance(value, list | tuple):
        return any(map(nameless, value))
    return isinstance(value, float) and not math.isfinite(value)


def as_written(given: float | Decimal | Fraction) -> Fraction:
    """A finite number as it is written (0.1 and 0.2 make 0.3), in Python's own whole numbers: others overflow."""
    if isinstance(given, Rational):
        return Fraction(int(given.numerator), int(given.denominator))
    return Fraction(str(given))


def named(value: Any) -> Any:
    """Plain data with the numbers that JSON has not by their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: named(one) for name, one in value.items()}
    return list(map(named, value)) if isinstance(value, list | tuple) else value
