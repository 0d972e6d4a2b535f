"""Evaluation: one judge call a criterion, all at the same time, each with a score and an explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import msgspec

from fanfold.calls.estimates import UNSEEN, Estimate, Outlook, total
from fanfold.core.fan import fan
from fanfold.core.numbers import as_written, is_amount
from fanfold.core.records import Branch
from fanfold.core.scope import current
from fanfold.errors import LoopError, QuorumError, UsageError
from fanfold.folds.collect import Collect, Collected, OnError
from fanfold.steps.affording import Limits, limited
from fanfold.steps.collecting import CollectingStep, Policy
from fanfold.steps.fences import Fence
from fanfold.steps.prompt import prompt
from fanfold.steps.running import follow
from fanfold.steps.scoring import Scale, Score, check_scale, score_answer
from fanfold.steps.step import Step
from fanfold.steps.templates import check_fields, fields_of, render

if TYPE_CHECKING:
    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import IfUnaffordable

JUDGE = """You judge one thing only: {criterion}.
{rubric}

{rule}

{content}

Judge {criterion} only, and nothing else, on a scale from {low} (worst) to {high} (best)."""

MergeScores = Literal["mean", "min"] | Mapping[str, float] | None


class Criterion(msgspec.Struct, frozen=True):
    """What one criterion asks, and who judges it.

    `rubric` says what good and bad are. `models` is a panel: each judges, and the mean counts (None: the session's
    model alone). `template` replaces the judge's prompt; it may name ``{criterion}``, ``{rubric}``, ``{rule}``,
    ``{content}`` (the fenced input), ``{low}`` and ``{high}``.
    """

    rubric: str = ""
    models: tuple[Any, ...] = (None,)
    template: str = JUDGE


class Scorecard(msgspec.Struct, frozen=True):
    """How an evaluation came about.

    `scores` has each criterion's score (the mean of its panel) and explanation; `judges` the single scores of a panel
    by judge; `missing` why a criterion has none, or (as ``criterion/judge``) a judge of its panel; `merged` the one
    number, where a merge was asked for.
    """

    scores: Mapping[str, Score]
    judges: Mapping[str, Mapping[str, Score]]
    missing: Mapping[str, str]
    merged: float | None = None

    def __bool__(self) -> bool:
        raise TypeError("a Scorecard is a record, not a truth value: look at .scores or .merged")


class JudgeStep(Step[Any, Score]):
    """One judge's score of the input by one criterion; the input is fenced, for it is data."""

    kind = "judge"

    def __init__(self, name: str, criterion: Criterion, model: Any, scale: Scale) -> None:
        super().__init__(name)
        self.criterion = criterion
        self.scale = scale
        returns: Any = score_answer(scale)
        self.ask = prompt(criterion.template, returns=returns, model=model, name=name)
        check_fields(f"criterion {name!r}", self.ask.needs, fields_of(self._fields(Fence.unused(), "")))

    async def execute(self, given: Any) -> Score:
        """Show the input inside a fence of its own, and ask."""
        scope = current()
        if scope is None:
            raise LoopError("a judge needs a run around it: await evaluate(...), or its .run()")
        score: Score = await follow(self.ask, self._fields(Fence(scope), given), name="judge")
        return score

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """One call; its fence is as long as any."""
        return outlook.foresee(self.ask, given if given is UNSEEN else self._fields(Fence.unused(), given))

    def _fields(self, fence: Fence, given: Any) -> dict[str, str]:
        return {
            "criterion": self.name,
            "rubric": self.criterion.rubric,
            "rule": fence.rule,
            "content": fenced_input(fence, given),
            "low": f"{self.scale[0]:g}",
            "high": f"{self.scale[1]:g}",
        }


class EvaluateStep(CollectingStep[Any]):
    """Several criteria on one input; see `evaluate`."""

    kind = "evaluate"

    def __init__(
        self,
        judges: Mapping[str, Mapping[str, JudgeStep]],
        merge: MergeScores,
        policy: Policy,
        name: str,
        timeout: float | None,
    ) -> None:
        super().__init__(policy, name, timeout)
        self.judges = judges
        self.merge = merge

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """Every judge of every criterion."""
        return total(outlook.foresee(Panel(panel), given) for panel in self.judges.values())

    async def execute(self, given: Any) -> Any:
        """Ask all judges at once; give the scores, or the one number."""
        heard: dict[str, Collected[Score]] = {}
        branches = [Branch(name, partial(_criterion, name, panel, given, heard)) for name, panel in self.judges.items()]
        sizes = [(Panel(panel), given) for panel in self.judges.values()]
        collected: Collected[Score] = await self.collect(branches, self.total(), sizes)
        scores = collected.values
        panels = {name: heard[name] for name in scores}
        missing = {**collected.missing, **_silent(panels)}
        merged = None if self.merge is None else merged_score(scores, self.merge)
        scope = current()
        if scope is not None:
            scope.detail = Scorecard(scores, {name: panel.values for name, panel in panels.items()}, missing, merged)
        return {name: one.score for name, one in scores.items()} if self.merge is None else merged


def fenced_input(fence: Fence, given: Any) -> str:
    """The input in the fence; of a mapping or record (question and answer, say) each field under its name."""
    fields = fields_of(given)
    if fields["input"] is given:  # and not a field of that name
        del fields["input"]
    return fence.all_around({str(name): render(value) for name, value in fields.items()} or {"": render(given)})


def merged_score(scores: Mapping[str, Score], merge: MergeScores) -> float:
    """One number: the mean, the least, or the weighted mean over the criteria that have a score."""
    if merge == "min":
        return min(one.score for one in scores.values())
    if isinstance(merge, Mapping):
        weights = {name: as_written(merge[name]) for name in scores}  # the sum of floats may be more than one holds
        total = sum(weights.values())
        if not total:
            raise QuorumError(f"none of {', '.join(name for name in merge if merge[name])} has a score to merge")
        return float(sum(weights[name] * as_written(one.score) for name, one in scores.items()) / total)
    return fmean(one.score for one in scores.values())


def _silent(panels: Mapping[str, Collected[Score]]) -> dict[str, str]:
    """Which judges of a panel gave no score, as ``criterion/judge``, and why."""
    return {f"{name}/{judge}": why for name, panel in panels.items() for judge, why in panel.missing.items()}


async def _criterion(
    name: str, panel: Mapping[str, JudgeStep], given: Any, heard: dict[str, Collected[Score]]
) -> Score:
    """The score by one criterion; what its judges said each is left in `heard`."""
    heard[name] = await _panel(panel, given)
    return _mean(heard[name].values)


async def _panel(panel: Mapping[str, JudgeStep], given: Any) -> Collected[Score]:
    """The scores of one criterion's judges; a judge of a panel that fails is left out, a single one is an error."""
    if len(panel) == 1:
        name, judge = next(iter(panel.items()))
        return Collected({name: await judge.execute(given)}, {})
    branches = [Branch(name, partial(judge.timed, given)) for name, judge in panel.items()]
    return await fan(branches, Collect[Score]("skip"))


class Panel:
    """The judges of one criterion, as an estimate sees them."""

    budget = None

    def __init__(self, judges: Mapping[str, JudgeStep]) -> None:
        self.judges = judges

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """All of them."""
        return total(outlook.foresee(judge, given) for judge in self.judges.values())


def _mean(panel: Mapping[str, Score]) -> Score:
    if len(panel) == 1:
        return next(iter(panel.values()))
    explanation = "\n\n".join(f"{name}: {one.explanation}" for name, one in panel.items())
    return Score(fmean(one.score for one in panel.values()), explanation)


def criterion(rubric: str = "", *, model: Any = None, panel: Sequence[Any] = (), template: str = JUDGE) -> Criterion:
    """A criterion with a rubric, model, panel of models or prompt of its own, for `evaluate`."""
    if panel and model is not None:
        raise UsageError("give model= for one judge, or panel= for several")
    return Criterion(rubric, tuple(panel) or (model,), template)


@overload
def evaluate(
    criteria: Mapping[str, str | Criterion] | Sequence[str],
    *,
    scale: Scale = ...,
    merge: None = ...,
    model: Any = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Any, dict[str, float]]: ...
@overload
def evaluate(
    criteria: Mapping[str, str | Criterion] | Sequence[str],
    *,
    scale: Scale = ...,
    merge: Literal["mean", "min"] | Mapping[str, float],
    model: Any = ...,
    on_error: OnError = ...,
    quorum: int | None = ...,
    **limits: Unpack[Limits],
) -> Step[Any, float]: ...
def evaluate(
    criteria: Any,
    *,
    scale: Scale = (1, 10),
    merge: MergeScores = None,
    model: Any = None,
    on_error: OnError = "fail",
    quorum: int | None = None,
    timeout: float | None = None,
    budget: Budget | None = None,
    if_unaffordable: IfUnaffordable = "refuse",
    name: str = "evaluate",
) -> Step[Any, Any]:
    """Judge the input by several criteria at once, one call each; the output maps each criterion to its score.

    `criteria` is a mapping of name to rubric (or to `criterion(...)`, with a model, panel or prompt of its own), or
    a list of names. The input may be a text, or a mapping such as question and answer: each field is shown to the
    judge in a fence, as data. With `merge` the output is one number: ``"mean"``, ``"min"``, or weights by criterion.
    Scores are on `scale` (lowest, highest); one off it is no score. Explanations are in `run.detail`, a `Scorecard`.

    `on_error`, `quorum`, `timeout`, `budget` and `if_unaffordable` are as in `sections`. Raises
    `BranchError`, `QuorumError`, `StepTimeout`.
    """
    check_scale(scale)
    named = criteria if isinstance(criteria, Mapping) else dict.fromkeys(criteria, "")
    if isinstance(criteria, str) or not named:
        raise UsageError("evaluate needs criteria: a mapping of name to rubric, or a list of names")
    unnamed = [key for key in named if not isinstance(key, str) or not key]
    if unnamed:
        raise UsageError(f"a criterion's name is a text, not {unnamed[0]!r}")
    made = {key: one if isinstance(one, Criterion) else Criterion(one) for key, one in named.items()}
    _check_merge(merge, set(made))
    judges = {key: _judges(key, one, model, scale) for key, one in made.items()}
    step = EvaluateStep(judges, merge, Policy(on_error, quorum), name, timeout)
    return limited(step, budget, if_unaffordable)


def _judges(name: str, one: Criterion, model: Any, scale: Scale) -> dict[str, JudgeStep]:
    models = [model if own is None else own for own in one.models]
    return {str(at): JudgeStep(name, one, own, scale) for at, own in enumerate(models)}


def _check_merge(merge: MergeScores, names: set[str]) -> None:
    if isinstance(merge, Mapping):
        if set(merge) != names:
            raise UsageError(f"merge= needs a weight for each of {sorted(names)}, and for nothing else")
        weights = [weight for weight in merge.values() if weight]
        if not weights or not all(map(is_amount, weights)):
            raise UsageError("weights in merge= are 0 or more, and not all 0")
    elif merge not in {None, "mean", "min"}:
        raise UsageError(f"merge={merge!r}: it is 'mean', 'min', or weights by criterion")
