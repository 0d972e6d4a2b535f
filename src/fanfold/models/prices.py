"""List prices from `genai-prices`, resolved once for a model; an unknown price is None, never zero."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, overload

import msgspec

from fanfold.core.clock import today
from fanfold.core.numbers import is_amount
from fanfold.core.records import Usage
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from fanfold.core.records import Rate

VENDORS = {"gemini": "google", "xai": "x-ai", "azure": "azure"}
"""Where our provider names differ from those of genai-prices."""

MILLION = 1_000_000


class FlatRate(msgspec.Struct, frozen=True):
    """USD per million tokens; cached input at its own price where the vendor has one."""

    input: float
    output: float
    cached: float | None = None

    def price(self, usage: Usage) -> float:
        """USD for this usage."""
        cached = 0 if self.cached is None else usage.cached_tokens
        fresh = usage.input_tokens - cached
        total = fresh * self.input + usage.output_tokens * self.output + cached * (self.cached or 0.0)
        return total / MILLION


@overload
def flat(price: tuple[float, float]) -> FlatRate: ...
@overload
def flat(price: tuple[float, float] | None) -> FlatRate | None: ...
def flat(price: tuple[float, float] | None) -> FlatRate | None:
    """The rate of a price that a user gave, USD per million (input, output) tokens; raises `UsageError` for another."""
    if price is None:
        return None
    given: object = price
    if not isinstance(given, list | tuple) or len(given) != 2 or not all(map(_fits, given)):
        raise UsageError(f"price={price!r}: give USD per million input and output tokens, as (0.15, 0.6)")
    return FlatRate(*price)


def _fits(usd: object) -> bool:
    return is_amount(usd) or usd == 0


class ListRate:
    """A price with tiers, or with one for each request: genai-prices works out every call (some 0.1 ms each)."""

    def __init__(self, name: str, vendor: str) -> None:
        self.name = name
        self.vendor = vendor

    def price(self, usage: Usage) -> float:
        """USD for this usage."""
        return float(_calculate(self.name, self.vendor, usage).total_price)


def rate(label: str) -> Rate | None:
    """The list price of ``provider:model`` as of now, or None where it is not known."""
    provider, _, name = label.partition(":")
    vendor = VENDORS.get(provider, provider)
    try:
        found = _calculate(name, vendor, Usage(1, 1)).model_price
    except (LookupError, ValueError):
        return None
    known = (found.input_mtok, found.output_mtok, found.cache_read_mtok)
    by_tokens = found.requests_kcount is None  # what is paid for each request besides, a flat rate does not know
    if by_tokens and all(isinstance(one, Decimal) for one in known[:2]) and isinstance(known[2], Decimal | None):
        return FlatRate(float(known[0]), float(known[1]), None if known[2] is None else float(known[2]))
    return None if known[0] is None and known[1] is None else ListRate(name, vendor)


def load() -> None:
    """Load the price list now, so that no call waits for it."""
    rate("openai:gpt-4o-mini")


def _calculate(name: str, vendor: str, usage: Usage) -> Any:
    # Imported here: the price list takes a fifth of a second to load, which the first session pays.
    from genai_prices import Usage as Billed  # see above
    from genai_prices import calc_price  # see above

    billed = Billed(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens or None,
    )
    return calc_price(billed, name, provider_id=vendor, genai_request_timestamp=today())
