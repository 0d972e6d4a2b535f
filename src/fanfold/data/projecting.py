"""What a table will take, before anything is sent: the estimates of some of its rows, scaled to all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.calls.estimates import Bounds, Estimate
from fanfold.core.clock import seeded_source
from fanfold.core.records import Cost
from fanfold.data.formats import format_of, open_rows
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from fanfold.data.columns import Item
    from fanfold.data.table import Plan
    from fanfold.session import Session

LOOKED_AT = 100
"""Rows whose estimates stand for all."""


class Projection(msgspec.Struct, frozen=True):
    """What `rows` rows will take, by the estimates of `sampled` of them."""

    rows: int
    sampled: int
    estimate: Estimate


def project(plan: Plan, session: Session) -> Projection:
    """Estimate some rows of the table by chance, the same ones for the same seed; it reads the file once, and blocks.

    Raises what `Step.estimate` does, and `UsageError`.
    """
    format_of(plan.out)
    plan.check_places()
    count, some = _some(plan)
    found = [_estimate(plan, item, session) for item in some]
    return Projection(count, len(some), _scaled(sum(found, Estimate()), count / max(1, len(some))))


def _some(plan: Plan) -> tuple[int, list[Item]]:
    """How many rows there are, and some of them, each with the same chance (reservoir sampling, Vitter 1985)."""
    source, count, some = seeded_source(plan.choice.seed), 0, list[Any]()
    with open_rows(plan.source) as rows:
        for count, item in enumerate(plan.choice.items(rows), start=1):
            if not plan.skips:
                plan.columns.key_of(item)
            if len(some) < LOOKED_AT:
                some.append(item)
            elif (place := source.randrange(count)) < LOOKED_AT:
                some[place] = item
    return count, some


def _estimate(plan: Plan, item: Item, session: Session) -> Estimate:
    try:
        plan.columns.key_of(item)
        given = plan.columns.given(item)
    except UsageError:
        if not plan.skips:
            raise
        return Estimate()  # it will be left out, and cost nothing
    return plan.step.estimate(given, session=session)


def _scaled(one: Estimate, by: float) -> Estimate:
    most = None if one.usd.at_most is None else one.usd.at_most * by
    return Estimate(_bounds(one.calls, by), _bounds(one.tokens, by), Cost(one.usd.at_least * by, most), one.unpriced)


def _bounds(one: Bounds, by: float) -> Bounds:
    return Bounds(round(one.at_least * by), None if one.at_most is None else round(one.at_most * by))
