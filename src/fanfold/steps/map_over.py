"""Mapping: one step over every item of a list in the input, merged by code, by a call, or by a tree of calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from fanfold.calls.estimates import NOT_KNOWN, UNSEEN, Estimate, Outlook, total
from fanfold.core.fan import fan
from fanfold.core.numbers import is_count
from fanfold.core.records import Branch
from fanfold.core.scope import current
from fanfold.errors import UsageError
from fanfold.folds.collect import Collect, Collected, OnError, check_quorum
from fanfold.steps.affording import Limits, limited
from fanfold.steps.collecting import CollectingStep, Policy
from fanfold.steps.merging import MERGE, Merge, as_merge, check_takes_parts
from fanfold.steps.running import follow
from fanfold.steps.sections import Sections
from fanfold.steps.splitting import estimated_tokens
from fanfold.steps.step import Function, Step, as_step
from fanfold.steps.templates import fields_of, names_of, render

if TYPE_CHECKING:
    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import IfUnaffordable

In = TypeVar("In")
Item = TypeVar("Item")
Out = TypeVar("Out")

Items = str | Callable[[Any], Iterable[Any]] | None


class MapOver(CollectingStep[Any]):
    """One step over the items of its input; see `map_over`."""

    kind = "map_over"

    def __init__(
        self,
        step: Step[Any, Any],
        *,
        items: Items,
        merge: Step[Any, Any] | Callable[..., Any] | None,
        merge_fits: int | None,
        policy: Policy,
        name: str,
        timeout: float | None,
    ) -> None:
        super().__init__(policy, name, timeout, merge.timeout if isinstance(merge, Step) else 0.0)
        self.step = step
        self.items = items
        self.merge = merge
        self.merge_fits = merge_fits

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """A branch an item, and the merges: a tree of them has fewer than there are items."""
        if given is UNSEEN or isinstance(given, Iterator):
            return NOT_KNOWN  # what can be read once is left to the run
        found = _found(given, self.items)
        if isinstance(found, Iterator) and not callable(self.items):
            return NOT_KNOWN
        items = _listed(found)
        branches = total(outlook.foresee(self.step, item) for item in items)
        if self.merge is None:
            return branches
        return branches + Merge(self.merge).foresee(outlook).times(1, 1 if self.merge_fits is None else len(items) + 1)

    async def execute(self, given: Any) -> Any:
        """Launch one branch an item, keep what comes in the order of the items, merge it."""
        items = _listed(_found(given, self.items))
        if self.items is None:
            given = items  # for the merge: what could be read once has been read
        check_quorum(self.policy.quorum, len(items))
        if isinstance(self.merge, Step):
            Merge(self.merge).check_fields(given, ())
        branches = [Branch(str(at), partial(self.step.timed, item)) for at, item in enumerate(items)]
        total = self.total()
        sizes = [(self.step, item) for item in items]
        collected = Collected[Any]({}, {})
        if branches:
            collected = await self.collect(branches, total, sizes, shrinks="in order")
        output: Any = list(collected.values.values())
        if self.merge is not None:
            with total.remaining(collected.values):
                output = await self._merged(given, collected.values, collected.missing)
        scope = current()
        if scope is not None:
            scope.detail = Sections(collected.values, collected.missing)
        return output

    async def _merged(self, given: Any, values: Mapping[str, Any], missing: Mapping[str, str]) -> Any:
        """One merge where the parts fit; else groups of neighbours first, all at once, and so upwards."""
        if not isinstance(self.merge, Step):
            by = self.merge or list
            return await follow(Function(by, MERGE, thread=False), list(values.values()), name=MERGE, tail=True)
        merge = Merge(self.merge)
        while self.merge_fits is not None and len(groups := grouped(values, self.merge_fits)) > 1:
            values = await _level(merge, given, groups)
        return await merge(given, values, missing)


async def _level(merge: Merge, given: Any, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One call over each group, named by its first and last part; a group of one goes up as it is."""
    named = {_span(group): group for group in groups}
    branches = [
        Branch(f"{MERGE} {span}", partial(merge, given, group, {})) for span, group in named.items() if len(group) > 1
    ]
    merged = (await fan(branches, Collect[Any]())).values
    return {span: merged[f"{MERGE} {span}"] if len(group) > 1 else group[span] for span, group in named.items()}


def _span(group: Mapping[str, Any]) -> str:
    """The numbers of the parts in a group, as ``0-3``; those of its own parts are numbers or spans."""
    names = list(group)
    return names[0] if len(names) == 1 else f"{names[0].partition('-')[0]}-{names[-1].rpartition('-')[2]}"


def grouped(values: Mapping[str, Any], fits: int) -> list[dict[str, Any]]:
    """Neighbours put together while they fit into `fits` (estimated) tokens; raises where they never will."""
    groups: list[dict[str, Any]] = []
    size = 0
    for name, value in values.items():
        tokens = estimated_tokens(f"## {name}\n{render(value)}\n\n")
        if tokens > fits:
            raise UsageError(
                f"merge_fits={fits} tokens: part {name} alone has about {tokens}; make it larger, or the parts shorter"
            )
        if groups and size + tokens <= fits:
            groups[-1][name] = value
            size += tokens
        else:
            groups.append({name: value})
            size = tokens
    if len(groups) == len(values) > 1:
        raise UsageError(
            f"merge_fits={fits} tokens: no two neighbours of the {len(values)} parts fit together (the last has about "
            f"{size}); make it larger, or the parts shorter"
        )
    return groups


def _found(given: Any, items: Items) -> Any:
    """What to map over: the input itself, a field of it, or what a function makes of it."""
    if callable(items):
        return items(given)
    if items is None:
        return given
    fields = fields_of(given)
    if items not in fields:
        raise UsageError(f"items={items!r}: the input has no such field (it has: {names_of(fields)})")
    return fields[items]


def _listed(found: Any) -> list[Any]:
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise UsageError(
            f"map_over needs a list, not {type(found).__name__}: let items= name the field that holds it, or make it "
            "(for a long text, items=split(2000))"
        )
    return list(found)


@overload
def map_over(
    step: Callable[[Item], Awaitable[Out]],
    *,
    items: None = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Sequence[Item], list[Out]]: ...
@overload
def map_over(
    step: Callable[[Item], Out],
    *,
    items: None = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Sequence[Item], list[Out]]: ...
@overload
def map_over(
    step: Callable[[Any], Awaitable[Out]],
    *,
    items: str | Callable[[Any], Iterable[Any]],
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Any, list[Out]]: ...
@overload
def map_over(
    step: Callable[[Any], Out],
    *,
    items: str | Callable[[Any], Iterable[Any]],
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Any, list[Out]]: ...
@overload
def map_over(
    step: Step[Any, Any] | Callable[[Any], Any],
    *,
    items: Items = ...,
    merge: Callable[..., Awaitable[Out]],
    merge_fits: int | None = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Any, Out]: ...
@overload
def map_over(
    step: Step[Any, Any] | Callable[[Any], Any],
    *,
    items: Items = ...,
    merge: Callable[[list[Any]], Out],
    merge_fits: int | None = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Any, Out]: ...
def map_over(
    step: Any,
    *,
    items: Items = None,
    merge: Any = None,
    merge_fits: int | None = None,
    on_error: OnError = "fail",
    quorum: int | None = None,
    timeout: float | None = None,
    budget: Budget | None = None,
    if_unaffordable: IfUnaffordable = "refuse",
    name: str = "map_over",
) -> Step[Any, Any]:
    """Run `step` on every item of a list at the same time; the output is the list of values, in the items' order.

    The list is the input itself, the field of it that `items` names, or what the function `items` makes of it (as
    ``split(2000)`` makes parts of a long text). `merge` makes one answer of the parts: a function gets the list; a step
    gets ``{parts}`` and ``{input}`` as in sections. Where the parts together exceed `merge_fits` (estimated tokens),
    neighbours are merged in groups that fit, all groups at once, and their results again, up to one (a tree merge).

    It spends at most `budget`. Where that, or one around it, does not cover the worst case of all items it is refused
    before the first call; with ``if_unaffordable="shrink"`` items are begun in order, as long as there is money, also
    such as comes back from those before, and the others are missing.

    `on_error`, `quorum` and `timeout` are as in `sections`; the list leaves out what is missing, and `run.detail` (a
    `Sections`) has every value by its item's number. Raises `BranchError`, `QuorumError`, `StepTimeout`, `UsageError`.
    """
    if as_merge(merge) is not None and not isinstance(merge, Step):
        check_takes_parts(merge, "list of the values", "one parameter")
    if merge_fits is not None and (not is_count(merge_fits) or not isinstance(merge, Step)):
        raise UsageError("merge_fits= is a number of tokens, for a merge by a step")
    made = MapOver(
        as_step(step),
        items=items,
        merge=merge,
        merge_fits=merge_fits,
        policy=Policy(on_error, quorum),
        name=name,
        timeout=timeout,
    )
    return limited(made, budget, if_unaffordable)
