"""Budgets and amounts: what may be spent, and what is spent, in whole units, so that every sum is exact."""

from __future__ import annotations

import math

import msgspec

from fanfold.core.numbers import is_amount, is_count
from fanfold.errors import UsageError

PICO = 1_000_000_000_000
"""Picodollars in a dollar: the least that a token of any price list costs is thousands of them."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What may be spent at most, in dollars, tokens (input and output together) or calls sent; at least one of them.

    A call's worst case is taken out of the budget before it is sent, and what it did not cost comes back afterwards, so
    the bill never passes the budget. For its worst case to be known a call needs a ceiling: under a limit of dollars or
    tokens one whose prompt names no `max_tokens` is sent with this one. Prices are list prices.

    Raises `UsageError` for what is no budget.
    """

    usd: float | None = None
    tokens: int | None = None
    calls: int | None = None
    max_tokens: int = 4096

    def __post_init__(self) -> None:
        limits = {"usd": self.usd, "tokens": self.tokens, "calls": self.calls, "max_tokens": self.max_tokens}
        for name, limit in limits.items():
            fits, what = (is_amount(limit), "number") if name == "usd" else (is_count(limit), "whole number")
            if not fits and (limit is not None or name == "max_tokens"):
                raise UsageError(f"Budget({name}={limit!r}): a limit is a {what} above 0")
        if self.usd is None and self.tokens is None and self.calls is None:
            raise UsageError("Budget() limits nothing: give usd=, tokens= or calls=")

    @property
    def limits_tokens(self) -> bool:
        """Whether the length of a reply counts against it."""
        return self.usd is not None or self.tokens is not None


def check_budget(budget: object) -> Budget:
    """Refuse what is given as a budget and is none, a bare number above all: it does not say of what."""
    if not isinstance(budget, Budget):
        raise UsageError(f"budget={budget!r}: give a Budget, as Budget(usd=0.5)")
    return budget


class Amount(msgspec.Struct, frozen=True):
    """Picodollars, tokens and calls."""

    picos: int = 0
    tokens: int = 0
    calls: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.picos + other.picos, self.tokens + other.tokens, self.calls + other.calls)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.picos - other.picos, self.tokens - other.tokens, self.calls - other.calls)

    def __mul__(self, times: int) -> Amount:
        return Amount(self.picos * times, self.tokens * times, self.calls * times)

    def __bool__(self) -> bool:
        return self != NOTHING

    def beyond(self, other: Amount) -> Amount:
        """What of this `other` does not cover."""
        return Amount(
            max(0, self.picos - other.picos), max(0, self.tokens - other.tokens), max(0, self.calls - other.calls)
        )

    def within(self, other: Amount) -> Amount:
        """What of this `other` covers."""
        return self - self.beyond(other)


NOTHING = Amount()


class Limit(msgspec.Struct, frozen=True):
    """The limits of a budget in the units of an `Amount`; None where it has none."""

    picos: int | None
    tokens: int | None
    calls: int | None

    @classmethod
    def of(cls, budget: Budget) -> Limit:
        """The limits of `budget`."""
        return cls(None if budget.usd is None else picos(budget.usd), budget.tokens, budget.calls)

    def passed(self, spent: Amount) -> str | None:
        """The first unit in which `spent` is more than this, if there is one."""
        for unit in ("picos", "tokens", "calls"):
            limit = getattr(self, unit)
            if limit is not None and getattr(spent, unit) > limit:
                return unit
        return None


def picos(usd: float) -> int:
    """Dollars that are whole picodollars already, but for what floating point makes of them."""
    return round(usd * PICO)


def priced(usd: float) -> int:
    """The picodollars of a price; a part of one is a whole one, so that nothing is ever rounded away."""
    return math.ceil(usd * PICO)


def shown(unit: str, number: int) -> str:
    """A number of a unit, for people."""
    if unit == "picos":
        return f"${number / PICO:.6f}"
    return f"{number} {unit if number != 1 else unit[:-1]}"
