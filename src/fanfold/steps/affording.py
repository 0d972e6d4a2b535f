"""How a fan is paid: the worst case of all its branches in one step before its first call, or less of it, or not.

What a branch will take is known where its input is (see `Estimate`). A fan leases the sum of what is known; each branch
then pays from a pocket of its own. A branch of unknown size is guarded call by call.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import msgspec

from fanfold.calls.amounts import NOTHING, Amount, Budget, check_budget
from fanfold.calls.budget import IfUnaffordable, refusal
from fanfold.calls.estimates import Foreseeable, Outlook
from fanfold.calls.spending import unpriced
from fanfold.core.clock import now
from fanfold.core.numbers import counted
from fanfold.core.scope import current
from fanfold.core.timeouts import within
from fanfold.errors import BudgetError, ModelError, NotStarted, UsageError
from fanfold.steps.noting import Note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from fanfold.calls.budget import Fund, Pocket, Till
    from fanfold.core.records import Branch
    from fanfold.steps.step import Step

S = TypeVar("S", bound="Step[Any, Any]")

LEAST = 1e-9
"""The seconds of a fan whose time was over while it waited for money."""

Size = tuple[Foreseeable, Any]
"""A branch as an estimate sees it: the step that it runs, and on what."""


class Limits(TypedDict, total=False):
    """What every pattern takes."""

    timeout: float | None
    budget: Budget | None
    if_unaffordable: IfUnaffordable
    name: str


def limited(step: S, budget: Budget | None, if_unaffordable: IfUnaffordable = "refuse") -> S:
    """`step` with a budget of its own, and what becomes of it where a budget does not cover it."""
    if if_unaffordable not in {"refuse", "shrink"}:
        raise UsageError(f"if_unaffordable={if_unaffordable!r}: it is 'refuse' or 'shrink'")
    step.budget = None if budget is None else check_budget(budget)
    step.if_unaffordable = if_unaffordable
    return step


class Unpaid:
    """A fan around which there is no budget, or that happened before."""

    def __init__(self, count: int, seconds: float | None) -> None:
        self.count = count
        """How many branches, from the first on, may be launched."""
        self.seconds = seconds
        """The time that they have."""

    def close(self) -> None:
        """Give back what is left; once is enough, and twice does no harm."""

    @property
    def left_out(self) -> str:
        """Why a branch beyond these is missing."""
        return f"not started: the budget covers {counted(self.count, 'branch', 'branches')}"

    def paid(self, branches: Sequence[Branch[Any]]) -> Sequence[Branch[Any]]:
        """The branches that may be launched, each with its pocket."""
        return branches[: self.count] if self.count else branches  # no count where no size was asked for


class Paid(Unpaid):
    """A fan whose branches pay from a fund that was leased for all of them."""

    def __init__(
        self, till: Till, fund: Fund | None, sizes: Sequence[Amount | None], count: int, seconds: float | None
    ) -> None:
        super().__init__(count, seconds)
        self.till = till
        self.fund = fund
        self.sizes = sizes
        self.scope = current()
        if fund is not None and self.scope is not None:
            self.scope.purse = fund  # so that who waits beside the branches is seen to wait for what they hold

    def close(self) -> None:
        """Give back what is left; once is enough, and twice does no harm."""
        fund, self.fund = self.fund, None
        if fund is not None and self.scope is not None:
            self.scope.purse = self.till
            fund.close()

    def paid(self, branches: Sequence[Branch[Any]]) -> Sequence[Branch[Any]]:
        """The branches that may be launched, each with its pocket."""
        if not self.sizes:
            return branches
        return [
            msgspec.structs.replace(branch, start=partial(self._fly, branch.start, size))
            for branch, size in zip(branches, self.sizes[: self.count], strict=False)
        ]

    async def _fly(self, start: Callable[[], Any], size: Amount | None) -> Any:
        pocket = None if size is None else await self.pocket(size)
        scope = current()
        if scope is not None:
            scope.purse = pocket or self.fund or self.till
        try:
            return await start()
        finally:
            if pocket is not None:
                pocket.close()

    async def pocket(self, size: Amount) -> Pocket:
        """The pocket of a branch that begins."""
        if self.fund is not None:
            return self.fund.open(size)
        try:
            return await self.till.pocket(size, "this branch")
        except BudgetError as error:
            raise NotStarted(error) from error


Shrinks = Literal["never", "by count", "in order"]
"""How less of a fan is had: not at all; fewer branches, all at once; or one after another, as money comes back."""


@asynccontextmanager
async def affording(
    step: Step[Any, Any],
    sizes: Iterable[Size],
    seconds: float | None,
    *,
    shrinks: Shrinks = "never",
    counts: Sequence[int] = (),
) -> AsyncIterator[Unpaid]:
    """Take what the fan of `step` may come to, and give back what is left at its end.

    Where it has to wait for money, that is part of the `seconds` that its branches have.

    A fan that shrinks by count tries the `counts` in turn, the largest first. Raises, before the first call,
    `BudgetError` where it cannot be had, and `ModelError` for a model of unknown price where dollars count.
    """
    sizes = list(sizes)
    scope = current()
    till: Till | None = None if scope is None else scope.purse
    less, note = step.if_unaffordable == "shrink", Note(b"branches")
    goes_on = less and shrinks == "in order"  # with branches that were not begun then
    if scope is not None and scope.book is not None and scope.settled and (scope.book.replays or not goes_on):
        yield Unpaid(note.told() or len(sizes), seconds)  # nothing is paid, and as many branches as then
        return
    if scope is None or till is None:
        note.correct(len(sizes))
        yield Unpaid(len(sizes), seconds)
        return
    amounts = [_amount(size, Outlook(scope.run.session, till.ceiling), till) for size in sizes]
    if goes_on:
        _check_one(step, till, amounts)
        yield Paid(till, None, amounts, len(amounts), seconds)
        return
    began = now()
    with within(seconds, f"{step.kind} {step.name!r}"):
        count, fund = await _funded(step, till, amounts, counts if less and shrinks == "by count" else ())
        note.keep(count)
    money = Paid(till, fund, amounts, count, None if seconds is None else max(seconds - (now() - began), LEAST))
    try:
        yield money
    finally:
        money.close()


async def _funded(
    step: Step[Any, Any], till: Till, amounts: Sequence[Amount | None], counts: Sequence[int]
) -> tuple[int, Fund]:
    """The fund of as many branches as can be had, of those numbers that will do."""
    whole = len(amounts)
    for count in [whole, *(count for count in counts if count < whole)]:
        known = [amount for amount in amounts[:count] if amount is not None]
        try:
            return count, await till.fund(known, f"{step.kind} {step.name!r}")
        except BudgetError as error:
            failed = error
    raise _refused(step, failed, till, amounts) from None


def _refused(step: Step[Any, Any], error: BudgetError, till: Till, amounts: Sequence[Amount | None]) -> BudgetError:
    """The refusal of a fan, with what would have been affordable."""
    affordable, taken = 0, NOTHING
    for amount in amounts:
        taken += amount or NOTHING
        if till.shortage(taken).never is not None:
            break
        affordable += 1
    how = "it cannot be had in part" if step.if_unaffordable == "shrink" else "if_unaffordable= may say 'shrink'"
    return BudgetError(
        f"{error} (affordable: {affordable} of {len(amounts)} branches; {how})",
        unit=error.unit,
        limit=error.limit,
        spent=error.spent,
        needed=error.needed,
        left=error.left,
        affordable=affordable,
    )


def _amount(size: Size, outlook: Outlook, till: Till) -> Amount | None:
    """The most that one branch will take; None where that is not known."""
    step, given = size
    estimate = None
    with suppress(Exception):  # a branch whose input does not suit it says so itself, and its policy decides
        estimate = outlook.foresee(step, given)
    if estimate is None:
        return None
    if till.counts_money and estimate.unpriced:
        raise ModelError(unpriced(estimate.unpriced[0]))
    return estimate.amount(till)


def _check_one(step: Step[Any, Any], till: Till, amounts: Sequence[Amount | None]) -> None:
    """Refuse a fan that begins one branch after another where not even one will ever fit."""
    shortages = [till.shortage(amount or NOTHING) for amount in amounts]
    never = [shortage.never for shortage in shortages if shortage.never is not None]
    if never and len(never) == len(amounts):
        error = refusal(f"one branch of {step.kind} {step.name!r}", amounts[0] or NOTHING, never[0])
        raise _refused(step, error, till, amounts)
