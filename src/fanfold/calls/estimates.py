"""Estimates: what a step will take before anything is sent, at least and at most, or that it is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from fanfold.calls.amounts import PICO, Amount, Budget, picos
from fanfold.calls.pricing import input_bound, output_bound
from fanfold.calls.spending import worst_of
from fanfold.core.records import UNKNOWN_COST, Cost, Rate, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fanfold.calls.budget import Till
    from fanfold.core.records import Request


LEAST_SHOWN = 1e-6
"""Dollars below which "at least" says nothing."""


class Bounds(msgspec.Struct, frozen=True):
    """A number that is not known yet: at least this, at most that; `at_most` is None where nothing limits it."""

    at_least: int = 0
    at_most: int | None = 0

    def __add__(self, other: Bounds) -> Bounds:
        known = self.at_most is not None and other.at_most is not None
        return Bounds(self.at_least + other.at_least, (self.at_most or 0) + (other.at_most or 0) if known else None)

    def __str__(self) -> str:
        if self.at_most is None:
            return f"at least {self.at_least}"
        return str(self.at_least) if self.at_least == self.at_most else f"{self.at_least} to {self.at_most}"


class Estimate(msgspec.Struct, frozen=True):
    """What a step will take: calls, tokens (input and output together) and dollars (a `Cost`, at list prices).

    At least: if nothing fails, and everything is decided as soon as it can be. At most: the whole input of every call,
    a token a byte, and replies as long as `max_tokens` allows; None where that is not known, as of a function that may
    call anything, or of a prompt whose input another call will write. Calls that are sent again, or a second time
    beside a slow one, are not among it: they happen to a step, and take their money from the budget when they do.
    `unpriced` are the models without a known price.
    """

    calls: Bounds = Bounds()
    tokens: Bounds = Bounds()
    usd: Cost = Cost()
    unpriced: tuple[str, ...] = ()

    def __add__(self, other: Estimate) -> Estimate:
        unpriced = tuple(dict.fromkeys(self.unpriced + other.unpriced))
        return Estimate(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd, unpriced)

    def __str__(self) -> str:
        unknown = self.usd.at_most is None and self.usd.at_least < LEAST_SHOWN
        cost = "unknown" if unknown else self.usd
        return f"{self.calls} {'call' if str(self.calls) == '1' else 'calls'}, {self.tokens} tokens, cost {cost}"

    def __bool__(self) -> bool:
        raise TypeError("an Estimate is a record, not a truth value: look at .calls, .tokens or .usd")

    def times(self, least: int, most: int | None) -> Estimate:
        """This, at least and at most so many times (None: nobody knows how often)."""
        return Estimate(
            Bounds(self.calls.at_least * least, _times(self.calls.at_most, most)),
            Bounds(self.tokens.at_least * least, _times(self.tokens.at_most, most)),
            Cost(self.usd.at_least * least, _times(self.usd.at_most, most)),
            self.unpriced,
        )

    def from_least(self, other: Estimate) -> Estimate:
        """At least what `other` takes at least, at most what this does at most."""
        return Estimate(
            Bounds(other.calls.at_least, self.calls.at_most),
            Bounds(other.tokens.at_least, self.tokens.at_most),
            Cost(other.usd.at_least, self.usd.at_most),
            self.unpriced,
        )

    def within(self, budget: Budget) -> Estimate:
        """The same where it may spend no more than `budget`."""
        return Estimate(
            _capped(self.calls, budget.calls),
            _capped(self.tokens, budget.tokens),
            self.usd if budget.usd is None else _capped_cost(self.usd, float(budget.usd)),
            self.unpriced,
        )

    def amount(self, till: Till) -> Amount | None:
        """At most, in the units that the purses around `till` count; None where one of these is not known."""
        counted = {"usd": till.counts_money, "tokens": till.ceiling is not None, "calls": True}
        known = {"usd": self.usd.at_most, "tokens": self.tokens.at_most, "calls": self.calls.at_most}
        if any(counted[unit] and known[unit] is None for unit in counted):
            return None
        return Amount(picos(known["usd"] or 0.0), int(known["tokens"] or 0), int(known["calls"] or 0))


NO_CALLS = Estimate()
NOT_KNOWN = Estimate(Bounds(0, None), Bounds(0, None), UNKNOWN_COST)
"""Of a step that may do anything."""


class Unseen:
    """The input of a step that stands behind another: it is not there before that one has run."""

    def __repr__(self) -> str:
        return "UNSEEN"


UNSEEN = Unseen()


class Quote(msgspec.Struct, frozen=True):
    """A model by its label and price, without being opened; `free` says that it costs nothing, for it is made up."""

    label: str
    rate: Rate | None
    free: bool = False


class Quoting(Protocol):
    """What knows the models by their names: the session."""

    def quote(self, spec: Any) -> Quote:
        """The price of the model that `spec` names."""
        ...


class Outlook(msgspec.Struct, frozen=True):
    """What an estimate depends on beside the input: the session's models, and the `max_tokens` of who names none."""

    session: Quoting
    ceiling: int | None = None

    def foresee(self, step: Foreseeable, given: Any) -> Estimate:
        """What `step` will take on `given` (or `UNSEEN`), within its own budget."""
        budget = step.budget
        if budget is None:
            return step.foresee(given, self)
        ceilings = [one for one in (self.ceiling, budget.max_tokens if budget.limits_tokens else None) if one]
        inside = Outlook(self.session, min(ceilings, default=None))
        return step.foresee(given, inside).within(budget)


class Foreseeable(Protocol):
    """A step, as far as estimates see it."""

    @property
    def budget(self) -> Budget | None:
        """Its own budget."""
        ...

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """What it will take on `given`."""
        ...


def total(parts: Iterable[Estimate]) -> Estimate:
    """All of these."""
    return sum(parts, NO_CALLS)


def one_of(parts: Sequence[Estimate]) -> Estimate:
    """One of these, nobody knows which."""
    return Estimate(
        _either([part.calls for part in parts]),
        _either([part.tokens for part in parts]),
        Cost(min(part.usd.at_least for part in parts), _most([part.usd.at_most for part in parts])),
        total(parts).unpriced,
    )


def least_of(parts: Sequence[Estimate], count: int = 1) -> Estimate:
    """At least `count` of these, whichever take least of each unit; at most all."""
    calls = sum(sorted(part.calls.at_least for part in parts)[:count])
    tokens = sum(sorted(part.tokens.at_least for part in parts)[:count])
    usd = sum(sorted(part.usd.at_least for part in parts)[:count])
    return total(parts).from_least(Estimate(Bounds(calls), Bounds(tokens), Cost(usd)))


def one_call(requests: Sequence[Request], quote: Quote) -> Estimate:
    """One call with one of these requests; every message is at least one token, and its reply may be empty."""
    most = [bound for request in requests if (bound := _tokens(request)) is not None]
    tokens = Bounds(
        min(len(request.messages) for request in requests), max(most) if len(most) == len(requests) else None
    )
    calls = Bounds(1, 1)
    if quote.free:
        return Estimate(calls, tokens)
    if quote.rate is None:
        return Estimate(calls, tokens, UNKNOWN_COST, (quote.label,))
    rate = quote.rate
    usd = None if tokens.at_most is None else max(worst_of(request, rate).picos for request in requests) / PICO
    return Estimate(calls, tokens, Cost(rate.price(Usage(tokens.at_least, 0)), usd))


def unseen_call(quote: Quote) -> Estimate:
    """One call with a request that nobody knows yet."""
    unpriced = () if quote.free or quote.rate is not None else (quote.label,)
    return Estimate(Bounds(1, 1), Bounds(1, None), Cost() if quote.free else UNKNOWN_COST, unpriced)


def _tokens(request: Request) -> int | None:
    output = output_bound(request)
    return None if output is None else input_bound(request) + output


def _times(number: Any, times: int | None) -> Any:
    if number == 0 or times == 0:
        return 0
    return None if number is None or times is None else number * times


def _either(bounds: Sequence[Bounds]) -> Bounds:
    return Bounds(min(one.at_least for one in bounds), _most([one.at_most for one in bounds]))


def _most(numbers: Sequence[Any]) -> Any:
    return None if None in numbers else max(numbers)


def _capped(bounds: Bounds, limit: int | None) -> Bounds:
    if limit is None:
        return bounds
    most = limit if bounds.at_most is None else min(bounds.at_most, limit)
    return Bounds(min(bounds.at_least, most), most)


def _capped_cost(cost: Cost, limit: float) -> Cost:
    most = limit if cost.at_most is None else min(cost.at_most, limit)
    return Cost(min(cost.at_least, most), most)
