"""List prices from `genai-prices`, resolved once for a model; an unknown price is None, never zero."""

from __future__ import annotations

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

PRICES = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")
"""What genai-prices calls the prices of a `FlatRate`."""


class FlatRate(msgspec.Struct, frozen=True):
    """USD per million tokens; input read from a cache, or written to one, at its own price where the vendor has one."""

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None

    def price(self, usage: Usage) -> float:
        """USD for this usage."""
        if not (usage.cached_tokens or usage.cache_write_tokens or usage.cache_write_1h_tokens):
            return (usage.input_tokens * self.input + usage.output_tokens * self.output) / MILLION
        cached = 0 if self.cached is None else usage.cached_tokens
        hour = 0 if self.cache_write_1h is None else usage.cache_write_1h_tokens
        written = 0 if self.cache_write is None else usage.cache_write_tokens - hour
        total = (usage.input_tokens - cached - written - hour) * self.input + usage.output_tokens * self.output
        total += cached * (self.cached or 0.0) + written * (self.cache_write or 0.0)
        return (total + hour * (self.cache_write_1h or 0.0)) / MILLION


class TieredRate(msgspec.Struct, frozen=True):
    """A price that depends on how long the input is: `tiers` are its lengths and the rates of what is longer."""

    base: FlatRate
    tiers: tuple[tuple[int, FlatRate], ...]

    def price(self, usage: Usage) -> float:
        """USD for this usage: all of it is at the price of its tier."""
        found = self.base
        for start, rate_of_tier in self.tiers:
            if usage.input_tokens > start:
                found = rate_of_tier
        return found.price(usage)


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
    """A price for each request besides: genai-prices works out every call (some 0.1 ms each)."""

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
    prices = [getattr(found, name) for name in PRICES]
    if found.requests_kcount is not None:
        return None if prices[0] is None and prices[1] is None else ListRate(name, vendor)
    if prices[0] is None or prices[1] is None:
        return None
    starts = sorted({tier.start for price in prices for tier in getattr(price, "tiers", ())})
    base = _at(prices, 0)
    return TieredRate(base, tuple((start, _at(prices, start + 1)) for start in starts)) if starts else base


def _at(prices: list[Any], length: int) -> FlatRate:
    """The rate of an input of this length."""
    return FlatRate(*[_per_million(price, length) for price in prices])


def _per_million(price: Any, length: int) -> Any:
    """USD where an input has this length; None where the list has no such price."""
    reached = [tier.price for tier in getattr(price, "tiers", ()) if length > tier.start]
    found = reached[-1] if reached else getattr(price, "base", price)
    return None if found is None else float(found)


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
        cache_write_tokens=usage.cache_write_tokens or None,
        cache_write_1h_tokens=usage.cache_write_1h_tokens or None,
    )
    return calc_price(billed, name, provider_id=vendor, genai_request_timestamp=today())
