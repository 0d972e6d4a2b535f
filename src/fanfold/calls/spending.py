"""What one send takes out of the budget: its worst case before it goes out, what it came to afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.calls.amounts import NOTHING, Amount, priced
from fanfold.calls.pricing import CEILINGS, dearest, input_bound, output_bound, was_refused
from fanfold.core.numbers import is_count
from fanfold.core.records import Usage
from fanfold.errors import CallError, ConnectError, ModelError, UsageError

if TYPE_CHECKING:
    from fanfold.calls.budget import Lease, Till
    from fanfold.calls.passage import Passage, Sending
    from fanfold.core.records import Rate, Request


class Unhedged(CallError):
    """The budget has nothing to spare for a hedge; the call goes on without."""


async def leased(sending: Sending, till: Till) -> Lease:
    """Take the worst case of a send out of the budget around it; waits where it has to.

    Raises `BudgetError`, `ModelError` for a model of unknown price where dollars count, and `Unhedged` for a hedge that
    would have to wait.
    """
    passage = sending.passage
    worst = worst_case(passage, till)
    if not sending.hedge:
        return await till.lease(worst, f"a call to {passage.lane.model.label}")
    lease = till.try_lease(worst)
    if lease is None:
        raise Unhedged("the budget has nothing to spare for a hedge", model=passage.lane.model.label)
    return lease


def settle(lease: Lease, sending: Sending) -> None:
    """Charge what an ended send came to, and give back the rest of its lease."""
    lease.settle(due(sending, lease))


def worst_case(passage: Passage, till: Till) -> Amount:
    """The most that one send of a call can come to; raises `UsageError` where its `extra_body` lifts the ceiling."""
    request, model, rate = passage.request, passage.lane.model, passage.lane.rate
    if till.ceiling is None:
        return Amount(calls=1)
    for name in (*CEILINGS, "n"):
        wanted = (request.extra_body or {}).get(name, 1)
        if not is_count(wanted):
            raise UsageError(
                f"{model.label}: under a budget extra_body={{{name!r}: {wanted!r}}} has to be a whole number of 1 or "
                "more, for it goes into the request as it is, and else there is no most that it can come to"
            )
    if not till.counts_money or (rate is None and model.made_up):
        return worst_of(request, None)
    if rate is None:
        raise ModelError(unpriced(model.label))
    if request.extra_body and "model" in request.extra_body:
        raise ModelError(f"{model.label}: under a budget of dollars, extra_body= may not name another model")
    return worst_of(request, rate)


def worst_of(request: Request, rate: Rate | None) -> Amount:
    """The most that one send of a request can come to: no token is shorter than a byte, no reply longer than allowed.

    Raises `UsageError` for a request without a ceiling.
    """
    output = output_bound(request)
    if output is None:
        raise UsageError("under a budget a request needs a max_tokens: there is no most that it can come to")
    most = Usage(input_bound(request), output)
    return Amount(0 if rate is None else priced(dearest(rate, request, most)), most.total_tokens, 1)


def unpriced(label: str) -> str:
    """What to say of a model without a known price where dollars count."""
    return (
        f"the price of {label} is not known, and a budget counts dollars: give its price, as in "
        "OpenAI(name, price=(input, output)) in USD per million tokens, or a budget of tokens= or calls="
    )


def due(sending: Sending, lease: Lease) -> Amount:
    """What an ended send has to be charged with.

    Nothing where it was never sent; one call where the server refused it; by its usage where the server told that.
    Else it may have been worked on, and billed, to its end.
    """
    error, usage = sending.error, sending.usage
    if sending.sent_at is None or (isinstance(error, ConnectError) and not error.reached):
        return NOTHING
    if usage is not None:
        rate = sending.passage.lane.rate if lease.till.counts_money else None
        return Amount(0 if rate is None else priced(rate.price(usage)), usage.total_tokens, 1)
    return Amount(calls=1) if sending.reply is None and was_refused(error) else lease.worst
