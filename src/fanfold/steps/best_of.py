"""Best of N: several candidates at once, then a judge, a jury or a checker picks one."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import combinations
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fanfold.calls.estimates import UNSEEN, Estimate, Outlook, total, unseen_call
from fanfold.core.fan import fan
from fanfold.core.numbers import is_count
from fanfold.core.records import Branch
from fanfold.core.scope import current
from fanfold.errors import FatalError, LoopError, QuorumError, UsageError
from fanfold.folds.collect import Collect, Collected, OnError, check_quorum
from fanfold.folds.picking import Choice, Pick, by_matches, by_orders, by_points
from fanfold.steps.affording import limited
from fanfold.steps.collecting import CollectingStep, Policy
from fanfold.steps.fences import Fence
from fanfold.steps.prompt import prompt
from fanfold.steps.race import named_apart
from fanfold.steps.running import follow
from fanfold.steps.scoring import NO_VERDICT, Scale, Score, score_answer
from fanfold.steps.step import Function, Step, as_step
from fanfold.steps.templates import check_fields, render

if TYPE_CHECKING:
    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import IfUnaffordable

In = TypeVar("In")
Out = TypeVar("Out")

How = Literal["listwise", "pointwise", "pairwise"]

LISTWISE = """Which candidate best accomplishes the task? Consider {criteria}.

{rule}

{task}

{candidates}

Compare them, then end with a line of the form: Answer: LABEL (one of {labels})."""

POINTWISE = """How well does the candidate accomplish the task? Consider {criteria}.

{rule}

{task}

{candidates}"""

CRITERIA = "accuracy, completeness, and clarity"
SCALE: Scale = (1, 10)


class Judge(Step[Any, int | None]):
    """One listwise call: which of the candidates, in the order they are shown; None where the reply is no verdict."""

    kind = "judge"

    def __init__(self, task: Any, candidates: Sequence[Any], order: Sequence[int], model: Any, criteria: str) -> None:
        super().__init__("judge")
        self.task = task
        self.candidates = candidates
        self.order = order
        self.model = model
        self.criteria = criteria

    async def execute(self, given: Any) -> int | None:
        """Show the candidates under neutral labels, inside a fence; read the label back."""
        fence = Fence(_scope())
        labels = fence.labels(len(self.order))
        shown = dict(zip(labels, self.order, strict=True))
        texts = {label: render(self.candidates[at]) for label, at in shown.items()}
        fields = {**_fields(fence, self.task, self.criteria), "candidates": fence.all_around(texts)}
        returns: Any = Literal[tuple(labels)]
        ask = prompt(LISTWISE, returns=returns, model=self.model, name="judge")
        try:
            label: str = await follow(ask, {**fields, "labels": ", ".join(labels)}, name="judge")
        except FatalError:
            raise
        except NO_VERDICT:
            return None
        return shown[label]


class BestOf(CollectingStep[In]):
    """Candidates and a way to judge them; see `best_of`."""

    kind = "best_of"

    def __init__(
        self,
        branches: Sequence[tuple[str, Step[In, Any], int, int]],
        choose: Callable[[Any, Sequence[Any]], Awaitable[Choice]],
        foresee_judges: Callable[[int, Outlook], Estimate],
        policy: Policy,
        name: str,
        timeout: float | None,
    ) -> None:
        super().__init__(policy, name, timeout, None)
        self.branches = branches
        self.choose = choose
        self.foresee_judges = foresee_judges

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """The candidates, and the judges unless all candidates are the same."""
        candidates = total(outlook.foresee(step, given) for _, step, _, _ in self.branches)
        return candidates + self.foresee_judges(len(self.branches), outlook)

    async def execute(self, given: In) -> Any:
        """Draw the candidates, judge each distinct one once, give the best."""
        branches = [
            Branch(name, partial(step.timed, given), ordinal=ordinal, repeats=repeats)
            for name, step, ordinal, repeats in self.branches
        ]
        total = self.total()
        sizes = [(step, given) for _, step, _, _ in self.branches]
        collected = await self.collect(branches, total, sizes, shrinks="by count", counts=self._fewer())
        distinct, counts = _distinct(collected.values)
        with total.remaining(collected.values):
            pick = await self._pick(given, distinct, counts, collected.missing)
        scope = current()
        if scope is not None:
            scope.detail = pick
        return distinct[pick.chosen]

    def _fewer(self) -> range:
        """The smaller numbers of candidates that will do, where all are of one step."""
        alike = len({id(step) for _, step, _, _ in self.branches}) == 1
        return range(len(self.branches) - 1, (self.policy.quorum or 1) - 1, -1) if alike else range(0)

    async def _pick(self, given: In, distinct: list[Any], counts: list[int], missing: dict[str, str]) -> Pick:
        if len(distinct) == 1:
            choice = Choice(0, (None,), (), "all candidates are the same: nothing to judge")
        else:
            choice = await self.choose(given, distinct)
        undecided = choice.best is None
        why = f"undecided, so the first: {choice.why}" if undecided else choice.why
        return Pick(
            choice.best or 0, undecided, tuple(distinct), tuple(counts), choice.scores, choice.verdicts, missing, why
        )


async def _listwise(models: Sequence[Any], criteria: str, task: Any, candidates: Sequence[Any]) -> Choice:
    """Every judge sees the candidates in both orders; with a jury, the most agreeing judges win."""
    order = range(len(candidates))
    judged = await _judged(
        [Judge(task, candidates, one, model, criteria) for model in models for one in (order, order[::-1])]
    )
    pairs = list(zip(judged[::2], judged[1::2], strict=True))
    if len(pairs) == 1:
        return by_orders(*pairs[0], len(candidates))
    points = [float(sum(first == second == at for first, second in pairs)) for at in order]
    choice = by_points(points, "more judges chose it in both orders than any other")
    told = max(points) > 0 and points.count(max(points)) == 1
    why = choice.why if told else "the jury has no single first choice"
    return Choice(choice.best if told else None, choice.scores, tuple(judged), why)


async def _pairwise(models: Sequence[Any], criteria: str, task: Any, candidates: Sequence[Any]) -> Choice:
    """Every pair meets in both orders, before every judge."""
    meetings = [(one, other) for one, other in combinations(range(len(candidates)), 2) for _ in models]
    judges = [
        Judge(task, candidates, order, model, criteria)
        for one, other in combinations(range(len(candidates)), 2)
        for model in models
        for order in ((one, other), (other, one))
    ]
    judged = await _judged(judges)
    matches = [(*pair, first, second) for pair, first, second in zip(meetings, judged[::2], judged[1::2], strict=True)]
    return by_matches(matches, len(candidates))


async def _pointwise(models: Sequence[Any], criteria: str, task: Any, candidates: Sequence[Any]) -> Choice:
    """Every candidate is scored by itself; the mean of the judges counts."""
    steps: list[Step[Any, Any]] = [
        Function(partial(_score, task, candidate, model, criteria), "judge", thread=False)
        for candidate in candidates
        for model in models
    ]
    judged = await _judged(steps)
    points = []
    for at in range(len(candidates)):
        known = [one for one in judged[at * len(models) : (at + 1) * len(models)] if one is not None]
        points.append(sum(known) / len(known) if known else None)
    return by_points(points, "it has the highest score")


async def _score(task: Any, candidate: Any, model: Any, criteria: str, _: Any) -> float | None:
    fence = Fence(_scope())
    fields = {**_fields(fence, task, criteria), "candidates": fence.around(render(candidate), "CANDIDATE")}
    returns: Any = score_answer(SCALE)
    try:
        score: Score = await follow(prompt(POINTWISE, returns=returns, model=model, name="judge"), fields)
    except FatalError:
        raise
    except NO_VERDICT:
        return None
    return score.score


async def _checked(checker: Step[Any, Any], task: Any, candidates: Sequence[Any]) -> Choice:
    """A checker instead of a judge: True or the highest number wins, the earlier candidate at a tie."""
    del task
    names = [f"check{at}" for at in range(len(candidates))]  # not as the candidates: both are seen in one run
    branches = [Branch(name, partial(_rating, checker, one)) for name, one in zip(names, candidates, strict=True)]
    try:
        found = (await fan(branches, Collect[Any]("skip"))).values
    except QuorumError as failed:
        reason = next(iter(failed.missing.values()))
        return Choice(None, (None,) * len(names), (), f"the checker failed on every candidate ({reason})")
    points = [None if (value := found.get(name)) is None else float(value) for name in names]
    choice = by_points(points, "the checker rates it highest")
    refused = choice.best is not None and found[names[choice.best]] is False
    return Choice(None, choice.scores, (), "no candidate passed the checker") if refused else choice


async def _rating(checker: Step[Any, Any], candidate: Any) -> float:
    """What a checker says of one candidate; what it cannot say is an error, never a low mark."""
    value: Any = await checker.timed(candidate)
    told = isinstance(value, bool)
    if not told and (not isinstance(value, Real | Decimal) or math.isnan(value)):
        raise UsageError(f"the checker {checker.name!r} gave {value!r}: it gives True or False, or a number")
    return value if told else float(value)


async def _judged(judges: Sequence[Step[Any, Any]]) -> list[Any]:
    """What all judges said, at the same time."""
    branches = [Branch(f"judge{at}", partial(judge.timed, None)) for at, judge in enumerate(judges)]
    found: Collected[Any] = await fan(branches, Collect[Any]())
    return list(found.values.values())


def best_of(
    candidates: Step[In, Out] | Sequence[Step[In, Out]] | Mapping[str, Step[In, Out]],
    n: int | None = None,
    *,
    judge: Any = None,
    how: How = "listwise",
    criteria: str = CRITERIA,
    on_error: OnError = "skip",
    quorum: int | None = None,
    timeout: float | None = None,
    budget: Budget | None = None,
    if_unaffordable: IfUnaffordable = "refuse",
    name: str = "best_of",
) -> Step[In, Out]:
    """Draw `n` candidates of a step (or one of each of several steps) at once, and give the best.

    `judge` is a model (default: the session's), a list of models (a jury), or a checker: a function or step that gets
    a candidate and gives True or False, or a number. `how` says how models judge: ``"listwise"`` sees all in one call,
    in both orders; ``"pairwise"`` lets every pair meet in both orders; ``"pointwise"`` scores each from 1 to 10.
    Disagreement between the orders is a tie. Candidates are shown in a fence under neutral labels, for they are data;
    equal ones are judged once. A reply that is no verdict is none: where nothing can be told, `run.detail` (a `Pick`)
    says `undecided` and the first candidate is the output. A judge is never the only gate for safety.

    `on_error` and `quorum` are for the candidates, as in `sample`. `timeout` (seconds) covers candidates and judging:
    the candidates leave a fifth of it. All of it spends at most `budget`. Where that, or one around it, does not cover
    the worst case of all candidates it is refused before the first call; with ``if_unaffordable="shrink"`` a step drawn
    `n` times is drawn less often. What judges may take is not known before the candidates are there; each of their
    calls is paid when it comes to it.
    """
    branches = _branches(candidates, n)
    policy = Policy(on_error, quorum)
    check_quorum(quorum, len(branches))
    if isinstance(judge, Step):
        for _, step, _, _ in branches:
            check_fields(f"judge= behind {step.name!r}", judge.needs, step.offers())
    made = BestOf(branches, *_way(judge, how, criteria), policy, name, timeout)
    return limited(made, budget, if_unaffordable)


def _way(
    judge: Any, how: str, criteria: str
) -> tuple[Callable[[Any, Sequence[Any]], Awaitable[Choice]], Callable[[int, Outlook], Estimate]]:
    """How to choose among candidates, and what that will take."""
    ways = {"listwise": _listwise, "pairwise": _pairwise, "pointwise": _pointwise}
    if how not in ways:
        raise UsageError(f"how={how!r}: it is 'listwise', 'pairwise' or 'pointwise'")
    if isinstance(judge, Step) or (callable(judge) and not hasattr(judge, "send") and not hasattr(judge, "open")):
        checker = as_step(judge)
        return partial(_checked, checker), partial(_foresee_checker, checker)
    models = list(judge) if isinstance(judge, list | tuple) else [judge]
    if not models:
        raise UsageError("judge=[] is a jury of nobody: give at least one model")
    return partial(ways[how], models, criteria), partial(_foresee_judges, models, how)


def _foresee_checker(checker: Step[Any, Any], candidates: int, outlook: Outlook) -> Estimate:
    return outlook.foresee(checker, UNSEEN).times(0, candidates if candidates > 1 else 0)


def _foresee_judges(models: Sequence[Any], how: str, candidates: int, outlook: Outlook) -> Estimate:
    calls = {"listwise": 2, "pairwise": candidates * (candidates - 1), "pointwise": candidates}[how]
    return total(unseen_call(outlook.session.quote(model)).times(0, calls if candidates > 1 else 0) for model in models)


def _branches(candidates: Any, n: int | None) -> list[tuple[str, Step[Any, Any], int, int]]:
    if isinstance(candidates, Step) or callable(candidates):
        if not is_count(n):
            raise UsageError(f"n={n!r}: say how many candidates to draw, at least one")
        return [(str(at), as_step(candidates), at, n) for at in range(n)]
    if isinstance(candidates, str) or not isinstance(candidates, Iterable):
        raise UsageError(
            f"candidates are a step, a list of steps, or a mapping of name to step, not {candidates!r:.60}"
        )
    if n is not None:
        raise UsageError("n= is for one step; a list or mapping of steps has its own number")
    named = candidates if isinstance(candidates, Mapping) else named_apart([as_step(one) for one in candidates])
    if not named:
        raise UsageError("best_of needs at least one candidate")
    if len({str(key) for key in named}) < len(named):
        raise UsageError(f"two candidates have the same name: {', '.join(map(repr, named))}")
    return [(str(key), as_step(one), 0, 1) for key, one in named.items()]


def _distinct(values: Mapping[str, Any]) -> tuple[list[Any], list[int]]:
    """The distinct candidates in order, and how often each came."""
    places: dict[str, int] = {}
    distinct: list[Any] = []
    counts: list[int] = []
    for value in values.values():
        at = places.setdefault(render(value), len(distinct))
        if at == len(distinct):
            distinct.append(value)
            counts.append(0)
        counts[at] += 1
    return distinct, counts


def _fields(fence: Fence, task: Any, criteria: str) -> dict[str, str]:
    return {"criteria": criteria, "rule": fence.rule, "task": fence.around(render(task), "TASK")}


def _scope() -> Any:
    scope = current()
    if scope is None:
        raise LoopError("a judge needs a run around it: await best_of(...), or its .run()")
    return scope
