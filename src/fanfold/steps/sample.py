"""Sampling: one step several times, every answer kept, without a vote; as for brainstorming."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from fanfold.core.fan import fan
from fanfold.core.numbers import is_count
from fanfold.core.records import Branch
from fanfold.core.timeouts import Total
from fanfold.errors import UsageError, described
from fanfold.folds.canonical import ballot_key
from fanfold.folds.collect import OnError, Samples, check_policy, check_quorum
from fanfold.steps.affording import Limits, affording, limited
from fanfold.steps.merging import Merge, as_merge
from fanfold.steps.step import Step, as_step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import IfUnaffordable
    from fanfold.calls.estimates import Estimate, Outlook

In = TypeVar("In")
Out = TypeVar("Out")
Merged = TypeVar("Merged")

AGAIN = 3
"""How many times n calls a distinct sample makes at most, unless told otherwise."""


class SampleStep(Step[In, Any]):
    """One step n times; see `sample`."""

    kind = "sample"
    fans = True

    def __init__(
        self,
        step: Step[In, Any],
        at_most: int,
        make_fold: Callable[[], Samples[Any]],
        merge: Merge | None,
        name: str,
        timeout: float | None,
    ) -> None:
        super().__init__(name, timeout)
        self.step = step
        self.at_most = at_most
        self.make_fold = make_fold
        self.merge = merge
        if merge is not None:
            merge.check(dict.fromkeys(map(str, range(at_most))))
        self.total()

    def total(self) -> Total:
        """Its timeout, for one execution."""
        return Total(self.timeout, f"sample {self.name!r}", 0.0 if self.merge is None else self.merge.seconds)

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """Every draw, and those again that may be asked for."""
        draws = outlook.foresee(self.step, given).times(self.make_fold().n, self.at_most)
        return draws if self.merge is None else draws + self.merge.foresee(outlook)

    async def execute(self, given: In) -> Any:
        """Launch n, and one more for every answer that was there already."""
        if self.merge is not None:
            self.merge.check_fields(given, ())
        run = partial(self.step.timed, given)
        fold = self.make_fold()
        branches = [
            Branch(str(at), run, ordinal=at, repeats=self.at_most, spare=at >= fold.n) for at in range(self.at_most)
        ]
        total = self.total()
        sizes = [(self.step, given)] * self.at_most
        async with affording(self, sizes, total.begin(), shrinks="in order") as money:
            answers = await fan(money.paid(branches), fold, timeout=money.seconds)
        if self.merge is None:
            return answers
        failed = {f"draw {index}": described(error) for index, error in fold.errors.items()}
        kept = {str(at): answer for at, answer in enumerate(answers)}
        with total.remaining(kept):
            return await self.merge(given, kept, failed)


@overload
def sample(
    step: Step[In, Out],
    n: int,
    *,
    distinct: bool | Callable[[Out], Hashable] = ...,
    at_most: int | None = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[In, list[Out]]: ...
@overload
def sample(
    step: Step[In, Out],
    n: int,
    *,
    merge: Callable[..., Awaitable[Merged]],
    distinct: bool | Callable[[Out], Hashable] = ...,
    at_most: int | None = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[In, Merged]: ...
@overload
def sample(
    step: Step[In, Out],
    n: int,
    *,
    merge: Callable[..., Merged],
    distinct: bool | Callable[[Out], Hashable] = ...,
    at_most: int | None = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[In, Merged]: ...
def sample(
    step: Step[Any, Any],
    n: int,
    *,
    merge: Any = None,
    distinct: bool | Callable[[Any], Hashable] = False,
    at_most: int | None = None,
    on_error: OnError = "skip",
    quorum: int | None = None,
    timeout: float | None = None,
    budget: Budget | None = None,
    if_unaffordable: IfUnaffordable = "refuse",
    name: str = "sample",
) -> Step[Any, Any]:
    """One step `n` times at once; the output is the list of answers, in the order of the draws.

    With ``distinct=True`` answers that differ only in case, punctuation or markdown are one, and another is asked for
    in place of the second, up to `at_most` calls in all (default 3 × n); then there may be fewer than n. A
    function as `distinct` gives what has to differ. Failed calls are skipped (``on_error="fail"`` stops instead);
    fewer answers than `quorum` (default 1) are a `QuorumError`. At `timeout` (seconds) it goes on with what is there,
    in time for a merging call.
    With `merge` (a step or a function, as in `sections`) the output is what it makes of the answers.
    `budget` and `if_unaffordable` are as in `map_over`: a sample that shrinks has fewer answers.
    """
    if not is_count(n):
        raise UsageError(f"n={n!r}: at least one sample has to be drawn")
    key: Callable[[Any], Hashable] | None = ballot_key if distinct is True else distinct or None
    most = (AGAIN * n if key else n) if at_most is None else at_most
    if not is_count(most) or most < n:
        raise UsageError(f"at_most={most!r} is less than n={n}, or no number of calls")
    check_policy(on_error, quorum)
    check_quorum(quorum, n)
    make_fold = partial(Samples, n, key=key, on_error=on_error, quorum=quorum)
    made = SampleStep(as_step(step), most, make_fold, as_merge(merge), name, timeout)
    return limited(made, budget, if_unaffordable)
