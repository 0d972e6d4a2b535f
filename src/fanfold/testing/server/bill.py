"""The bill: what each request cost, by the server's own count, and whether its client was still there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fanfold.core.records import Usage
from fanfold.models.prices import flat, rate
from fanfold.models.recorded import PRICED_AS

if TYPE_CHECKING:
    from fanfold.core.records import Rate

Price = tuple[float, float]
GivenPrice = Price | Mapping[str, Price] | None

State = Literal["open", "answered", "refused", "cut", "gone"]


class Prices:
    """USD per million input and output tokens: as given, for all models or by name, else by their list price."""

    def __init__(self, given: GivenPrice) -> None:
        self.all: Rate | None = None
        self.known: dict[tuple[str, str], Rate | None] = {}
        self.own: dict[str, Rate] = {}
        if isinstance(given, Mapping):
            self.own = {model: flat(price) for model, price in given.items()}
        elif given is not None:
            self.all = flat(given)

    def of(self, vendor: str, model: str) -> Rate | None:
        """The price of a model, or None where nobody knows one."""
        found = self.all or self.own.get(model)
        if found is not None:
            return found
        if (vendor, model) not in self.known:
            self.known[vendor, model] = _listed(vendor, model)
        return self.known[vendor, model]


@dataclass(slots=True, eq=False)
class Charge:
    """One request on the bill; times are in seconds on the server's loop clock, None where it did not come so far.

    `state` says how it ended: ``"answered"`` whole; ``"refused"`` with `status`, at no cost; ``"cut"`` by the server (a
    fault), or its client ``"gone"``: then what had been made until then is billed. ``"open"`` while it lasts.
    `key` stands for the request (the same for each `attempt` at it), `admitted` is when the model began its work,
    `first` when the head of the reply went out, and `gone` when the client was seen to be no longer there.
    """

    number: int
    model: str
    vendor: str
    key: str
    attempt: int
    arrived: float
    prices: Prices = field(repr=False)
    state: State = "open"
    status: int | None = None
    usage: Usage = field(default_factory=Usage)
    admitted: float | None = None
    first: float | None = None
    ended: float | None = None
    gone: float | None = None

    @property
    def usd(self) -> float | None:
        """What it costs; None where the model has no known price. Nothing used costs nothing."""
        if not self.usage.total_tokens:
            return 0.0
        price = self.prices.of(self.vendor, self.model)
        return None if price is None else price.price(self.usage)

    def line(self) -> dict[str, Any]:
        """It as plain values, for JSON."""
        return {
            **{name: getattr(self, name) for name in ("number", "model", "key", "attempt", "state", "status", "usd")},
            **msgspec.structs.asdict(self.usage),
            **{name: getattr(self, name) for name in ("arrived", "admitted", "first", "ended", "gone")},
        }


class Bill:
    """All charges of a server, the only truth about its money; it keeps the last `keep` of them, and all sums."""

    def __init__(self, prices: Prices, keep: int) -> None:
        self.prices = prices
        self.keep = max(2, keep)
        self.clear()

    def __repr__(self) -> str:
        return f"Bill(calls={self.calls}, tokens={self.tokens}, usd={self.usd:.6f})"

    def clear(self) -> None:
        """Begin anew."""
        self.charges: list[Charge] = []
        self._usd = 0.0
        self._unpriced = 0
        self._usage = Usage()
        self._states: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()

    def open(self, charge: Charge) -> None:
        """A request has come."""
        if len(self.charges) >= self.keep:
            self._drop(self.keep // 2)
        self.charges.append(charge)

    @property
    def usd(self) -> float:
        """What all that has a known price costs; `unpriced` counts what has none."""
        return self._usd + sum(charge.usd or 0.0 for charge in self.charges)

    @property
    def unpriced(self) -> int:
        """Charges for models without a known price."""
        return self._unpriced + sum(charge.usd is None for charge in self.charges)

    @property
    def usage(self) -> Usage:
        """All tokens, by kind."""
        return sum((charge.usage for charge in self.charges), self._usage)

    @property
    def tokens(self) -> int:
        """All tokens, input and output."""
        return self.usage.total_tokens

    @property
    def calls(self) -> int:
        """All requests, however they ended."""
        return sum(self.by_state.values())

    @property
    def by_state(self) -> dict[str, int]:
        """How many requests ended how."""
        return dict(self._states + Counter(charge.state for charge in self.charges))

    @property
    def by_status(self) -> dict[int, int]:
        """How many requests got which status; those that got none are not in it."""
        told = (charge.status for charge in self.charges if charge.status is not None)
        return dict(self._statuses + Counter(told))

    def document(self, *, lines: bool = True) -> dict[str, Any]:
        """The bill as plain values, for JSON."""
        totals: dict[str, Any] = {
            **{name: getattr(self, name) for name in ("calls", "usd", "unpriced", "tokens", "by_state", "by_status")},
            **msgspec.structs.asdict(self.usage),
        }
        return {**totals, "charges": [charge.line() for charge in self.charges]} if lines else totals

    def _drop(self, count: int) -> None:
        for charge in self.charges[:count]:
            self._usage += charge.usage
            self._states[charge.state] += 1
            self._usd += charge.usd or 0.0
            self._unpriced += charge.usd is None
            if charge.status is not None:
                self._statuses[charge.status] += 1
        del self.charges[:count]


def _listed(vendor: str, model: str) -> Rate | None:
    # Whoever asks for recorded answers gets the price of the model that gave them.
    return rate(PRICED_AS.get(model.removeprefix("recorded:"), f"{vendor}:{model}"))
