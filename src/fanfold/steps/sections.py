"""Sectioning: different tasks on one input at the same time, kept by name or merged into one answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

import msgspec

from fanfold.calls.estimates import NO_CALLS, NOT_KNOWN, Estimate, Outlook, total
from fanfold.core.records import Branch
from fanfold.core.scope import current
from fanfold.errors import FanfoldError, TemplateError, UsageError
from fanfold.folds.collect import Collected, OnError, check_quorum
from fanfold.steps.affording import Limits, limited
from fanfold.steps.answers.structures import adapter_of
from fanfold.steps.collecting import CollectingStep, Policy
from fanfold.steps.merging import Merge, as_merge
from fanfold.steps.step import Step, as_step
from fanfold.steps.templates import check_fields, fields_of

if TYPE_CHECKING:
    import typing_extensions
    from typing_extensions import TypeForm

    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import IfUnaffordable

    Given = typing_extensions.TypeVar("Given", default=Any)  # for a lambda, of whose input a checker knows nothing

In = TypeVar("In")
Out = TypeVar("Out")

Branches = Mapping[str, Step[In, Any] | Callable[[In], Any]] | Sequence[Step[In, Any] | Callable[[In], Any]]


class Sections(msgspec.Struct, frozen=True):
    """How a sections' output came about: every branch's value, and why others are missing, by name."""

    values: Mapping[str, Any]
    missing: Mapping[str, str]

    def __bool__(self) -> bool:
        raise TypeError("Sections is a record, not a truth value: look at .values and .missing")


class SectionsStep(CollectingStep[In]):
    """Different steps on one input; see `sections`."""

    kind = "sections"

    def __init__(
        self,
        branches: Branches[In] | Callable[[In], Any],
        *,
        merge: Merge | None,
        returns: Any,
        policy: Policy,
        name: str,
        timeout: float | None,
    ) -> None:
        super().__init__(policy, name, timeout, 0.0 if merge is None else merge.seconds)
        self.branches = branches
        self.merge = merge
        self.record = None if returns is None else Record(returns)
        self.returns = returns
        if not callable(branches):
            self._steps(branches)

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """All branches and the merge; branches that a function makes of the input are not known."""
        if callable(self.branches):
            return NOT_KNOWN
        branches = [outlook.foresee(step, given) for step in self._steps(self.branches).values()]
        return total([*branches, NO_CALLS if self.merge is None else self.merge.foresee(outlook)])

    async def execute(self, given: In) -> Any:
        """Launch every branch, keep what comes, merge it."""
        made = self.branches
        if callable(made):
            made = made(given)
            if inspect.isawaitable(made):
                made = await made
        steps = self._steps(made)
        _check_fields(steps, given)
        if self.merge is not None:
            self.merge.check_fields(given, steps)
        total = self.total()
        branches = [Branch(name, partial(step.timed, given)) for name, step in steps.items()]
        collected = await self.collect(branches, total, [(step, given) for step in steps.values()])
        scope = current()
        if self.merge is not None:
            with total.remaining(collected.values):
                output = await self.merge(given, collected.values, collected.missing)
        elif self.record is not None:
            output = self.record.of(collected)
        else:
            output = collected.values if isinstance(made, Mapping) else list(collected.values.values())
        if scope is not None:
            scope.detail = Sections(collected.values, collected.missing)
        return output

    def _steps(self, made: Any) -> dict[str, Step[In, Any]]:
        """The branches as named steps; refuses none at all and names that cannot be."""
        named = made if isinstance(made, Mapping) else {str(at): one for at, one in enumerate(_listed(made))}
        if not named:
            raise UsageError("sections has no branches: give at least one step")
        wrong = [name for name in named if not isinstance(name, str) or not name]
        if wrong:
            raise UsageError(f"a branch's name is a text, not {wrong[0]!r}")
        if self.merge is not None:
            self.merge.check(named)
        check_quorum(self.policy.quorum, len(named))
        return {name: as_step(one) for name, one in named.items()}


@overload
def sections(
    branches: Mapping[str, Callable[[Given], Any]],
    *,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Given, dict[str, Any]]: ...
@overload
def sections(
    branches: Sequence[Callable[[Given], Awaitable[Out]]],
    *,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Given, list[Out]]: ...
@overload
def sections(
    branches: Sequence[Callable[[Given], Any]],
    *,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Given, list[Any]]: ...
@overload
def sections(
    branches: Branches[Given] | Callable[[Given], Any],
    *,
    merge: Callable[..., Awaitable[Out]],
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Given, Out]: ...
@overload
def sections(
    branches: Branches[Given] | Callable[[Given], Any],
    *,
    merge: Callable[..., Out],
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Given, Out]: ...
@overload
def sections(
    branches: Branches[Given] | Callable[[Given], Any],
    *,
    returns: TypeForm[Out],
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Given, Out]: ...
@overload
def sections(
    branches: Callable[[Given], Any],
    *,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Given, Any]: ...
def sections(
    branches: Any,
    *,
    merge: Any = None,
    returns: Any = None,
    on_error: OnError = "fail",
    quorum: int | None = None,
    timeout: float | None = None,
    budget: Budget | None = None,
    if_unaffordable: IfUnaffordable = "refuse",
    name: str = "sections",
) -> Step[Any, Any]:
    """Different tasks on one input at the same time.

    `branches` is a mapping of name to step (the output is a mapping, in that order), a list of steps (the output is
    a list), or a function that makes one of these from the input when the step runs. Plain functions may be branches.

    `merge` makes one answer of the parts, by a step or a function (see `Merge` for what they get). `returns` makes
    the mapping a TypedDict, dataclass or pydantic model. With ``on_error="skip"`` a failed branch is missing and
    `run.detail.missing` says why; `quorum` (which implies skip) is the least number that must succeed. `timeout`
    (seconds) covers the branches and the merge. With skip or a quorum the step goes on with what is there, in time
    for a merging call (which has its own `timeout=`, else a fifth of the whole); without, it raises.

    It spends at most `budget`; where that, or one around it, does not cover the worst case of all branches, it is
    refused before the first call, also under ``if_unaffordable="shrink"``: it needs them all.

    Raises `BranchError`, `QuorumError`, `StepTimeout`, each with the values of the branches that finished;
    `UsageError` for no branches, and for a branch that names a sibling (that is a chain).
    """
    if merge is not None and returns is not None:
        raise UsageError("give returns= to the merging prompt: where there is a merge, its value is the output")
    made = SectionsStep(
        branches,
        merge=as_merge(merge),
        returns=returns,
        policy=Policy(on_error, quorum),
        name=name,
        timeout=timeout,
    )
    return limited(made, budget, if_unaffordable)


class Record:
    """The record that a user wants of the branches' values; a type that cannot be one is refused when it is made."""

    def __init__(self, returns: Any) -> None:
        self.name = getattr(returns, "__name__", str(returns))
        self.adapter, _ = adapter_of(returns)

    def of(self, collected: Collected[Any]) -> Any:
        """The values as the record."""
        from pydantic import ValidationError  # only who asks for a record loads it

        try:
            return self.adapter.validate_python(collected.values)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
            missing = "".join(f"; {name} is missing: {reason}" for name, reason in collected.missing.items())
            raise FanfoldError(f"the branches do not make a {self.name}: {wrong}{missing}") from None


def _listed(made: Any) -> Sequence[Any]:
    if isinstance(made, str) or not isinstance(made, Sequence):
        raise UsageError(f"sections takes a mapping or a list of steps, not {type(made).__name__}")
    return made


def _check_fields(steps: Mapping[str, Step[Any, Any]], given: Any) -> None:
    """Before anything is sent: every prompt finds its fields, and none waits for a sibling's answer."""
    there = fields_of(given)
    for name, step in steps.items():
        lacking = sorted(step.needs - set(there))
        siblings = [field for field in lacking if field in steps]
        if siblings:
            raise TemplateError(
                f"branch {name!r} names {{{siblings[0]}}}, which is a branch beside it: branches run at the same time "
                f"and cannot see each other; that is a chain (or use it in merge=)"
            )
        check_fields(f"branch {name!r}", step.needs, there)
