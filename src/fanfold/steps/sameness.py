"""Which answers of a vote are the same: by their form, by a function's key, or by a judge of what they mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fanfold.calls.estimates import NO_CALLS, UNSEEN, Estimate, Outlook, unseen_call
from fanfold.core.numbers import counted
from fanfold.core.scope import current
from fanfold.errors import FatalError, LoopError, UsageError
from fanfold.folds.counting import Elects, MayElect, Rule
from fanfold.folds.fields import Fields
from fanfold.folds.spellings import Found, Spellings, exact
from fanfold.folds.thresholds import Threshold
from fanfold.steps.answers.reading import Answer, Unreadable
from fanfold.steps.answers.replies import find_json
from fanfold.steps.fences import Fence
from fanfold.steps.prompt import prompt
from fanfold.steps.running import follow
from fanfold.steps.scoring import NO_VERDICT
from fanfold.steps.step import Step, as_step
from fanfold.steps.templates import check_fields, render

if TYPE_CHECKING:
    from fanfold.core.scope import Scope
    from fanfold.core.timeouts import Total
    from fanfold.folds.ballots import VoteResult
    from fanfold.folds.vote import VoteFold

T = TypeVar("T")

MakeFold = Callable[..., "VoteFold[Any]"]
Place = Callable[[Any], Awaitable[None]]
Ask = Callable[[Any, "Place | None"], Awaitable[Any]]
"""Runs a vote's voters under a fold; each valid answer is placed before it arrives there, where a place is given."""

SameBy = Callable[[T], Hashable] | Callable[[T], Awaitable[Hashable]] | Literal["meaning"] | None
"""A function, async or not, or a step, from an answer to its key; or what a judge says they mean."""

MEANING = """Several answers to one task are shown. Which of them say the same, however they word it?

{rule}

{task}

{texts}

Put the labels of answers that mean the same into one group, and every other label into a group of its own. Answers \
that contradict each other, or differ in a fact, a number or a name, are not the same."""


class Same:
    """Answers are the same where their form is: the key that every vote has.

    `seconds` is what it takes after the voters, as their vote's timeout has to leave it; None where that is not known.
    """

    seconds: float | None = 0.0

    def foresee(self, voters: int, outlook: Outlook) -> Estimate:
        """What it takes beside the voters."""
        del voters, outlook
        return NO_CALLS

    def check_fields(self, what: str, voter: Step[Any, Any]) -> None:
        """Refuse what could never be filled from this voter's answer."""

    async def counted(self, given: Any, make_fold: MakeFold, ask: Ask, total: Total) -> VoteResult[Any]:
        """The result of the vote; `total` is its timeout, begun."""
        del given, total
        result: VoteResult[Any] = await ask(make_fold(), None)
        return result


class SameKey(Same):
    """Answers are the same where a function, or a step, gives the same key for them."""

    def __init__(self, by: Step[Any, Any], known: Sequence[Any]) -> None:
        self.by = by
        self.known = known

    def foresee(self, voters: int, outlook: Outlook) -> Estimate:
        """Once a ballot at most, and once for what the rule counts."""
        return outlook.foresee(self.by, UNSEEN).times(0, voters + len(self.known))

    def check_fields(self, what: str, voter: Step[Any, Any]) -> None:
        """A prompt that tells the key sees the answer alone."""
        check_fields(what, self.by.needs, voter.offers())

    async def counted(self, given: Any, make_fold: MakeFold, ask: Ask, total: Total) -> VoteResult[Any]:
        """Every answer gets its key before it is counted, so the count is as certain as under any other key."""
        del given
        found = Found(exact)
        with total.remaining():
            for value in self.known:
                await self._place(found, value)
        result: VoteResult[Any] = await ask(make_fold(key=found), partial(self._place, found))
        return result

    async def _place(self, found: Found, value: Any) -> None:
        group = await follow(self.by, value, name="same")
        try:
            hash(group)
        except TypeError:
            raise UsageError(f"same= gave {group!r:.60}, which is no key: give a text, a number or a tuple") from None
        found.put(value, group)


class SameMeaning(Same):
    """Answers are the same where a judge says so, asked once, when all are in; out of time it has said nothing."""

    seconds = None

    def __init__(self, model: Any) -> None:
        self.model = model

    def foresee(self, voters: int, outlook: Outlook) -> Estimate:
        """One call of the judge, unless all say the same in the same words."""
        return unseen_call(outlook.session.quote(self.model)).times(0, 1 if voters > 1 else 0)

    async def counted(self, given: Any, make_fold: MakeFold, ask: Ask, total: Total) -> VoteResult[Any]:
        """Hear the voters, then let the judge group the spellings: voter order, so no order of arrival shows in it."""
        scope = _scope()
        scope.run.session.line(self.model)  # a judge that nobody can reach shows before the voters are paid
        spellings: Spellings = await ask(Spellings(make_fold()), None)
        values = spellings.distinct()
        if len(values) < 2:
            return spellings.counted([], "")
        try:
            with total.remaining():
                groups = await self._judged(scope, given, values)
        except FatalError:
            raise
        except NO_VERDICT as error:
            why = f"{type(error).__name__}: {error}"
            return spellings.counted([], f"no verdict on what means the same ({why}), so every spelling is by itself")
        found = f"a judge found {counted(len(groups), 'meaning')} in {counted(len(values), 'spelling')}"
        return spellings.counted(groups, found)

    async def _judged(self, scope: Scope, given: Any, values: Sequence[Any]) -> list[list[Any]]:
        """The values by meaning; what the judge leaves out is by itself."""
        fence = Fence(scope)
        shown = dict(zip(fence.labels(len(values)), values, strict=True))
        texts = fence.all_around({label: render(value) for label, value in shown.items()})
        fields = {"rule": fence.rule, "task": fence.around(render(given), "TASK"), "texts": texts}
        returns: Any = groups_answer(tuple(shown))
        said = scope.said
        groups: list[list[str]] = await follow(prompt(MEANING, returns=returns, model=self.model, name="judge"), fields)
        scope.said = said  # the judge's reply is nobody's answer
        grouped = {label for group in groups for label in group}
        groups += [[label] for label in shown if label not in grouped]
        return [[shown[label] for label in group] for group in groups]


def groups_answer(labels: tuple[str, ...]) -> Answer[list[list[str]]]:
    """The typed answer of a judge that groups: lists of labels, none of them twice."""
    label = {"type": "string", "enum": list(labels)}
    schema = {
        "type": "object",
        "properties": {"groups": {"type": "array", "items": {"type": "array", "items": label}}},
        "required": ["groups"],
        "additionalProperties": False,
    }
    return Answer(
        wanted=f"groups of the labels {', '.join(labels)}",
        reader=partial(_read, frozenset(labels)),
        schema=schema,
        instruction='Reply with only JSON: {"groups": [[label, ...], ...]}, with every label in one group.',
        name="groups",
    )


def _read(labels: frozenset[str], text: str) -> list[list[str]]:
    wrong: Unreadable | None = None
    for found in find_json(text):
        groups = found.get("groups") if isinstance(found, dict) else found
        if isinstance(groups, list) and all(isinstance(group, list) for group in groups):
            try:
                return _checked(labels, groups)
            except Unreadable as why:
                wrong = wrong or why
    raise wrong or Unreadable("it has no groups")


def _checked(labels: frozenset[str], groups: list[list[Any]]) -> list[list[str]]:
    """The groups that have labels; one that is unknown, or in two places, leaves open what was meant."""
    named = [[str(label).strip().upper() for label in group] for group in groups if group]
    flat = [label for group in named for label in group]
    unknown = [label for label in flat if label not in labels]
    if unknown:
        raise Unreadable(f"{unknown[0]:.20} is none of the labels")
    if len(set(flat)) < len(flat):
        raise Unreadable("a label is in two groups")
    return named


def as_same(same: Any, judge: Any, rule: Rule[Any, Any]) -> Same:
    """How a vote tells which answers are the same; raises `UsageError` where that does not go with its rule."""
    if judge is not None and same != "meaning":
        raise UsageError("judge= says what means the same: it goes with same='meaning'")
    if same is None:
        return Same()
    groups = isinstance(rule, Elects | MayElect | Threshold) and not isinstance(rule, Fields)
    if not groups or (same == "meaning" and isinstance(rule, Threshold)):
        few = "plurality(), majority() or weighted()" if same == "meaning" else "a rule that counts whole answers"
        raise UsageError(f"same= groups answers, which {rule!r} cannot go by: take {few}")
    if same == "meaning":
        return SameMeaning(_one_model(judge))
    if not callable(same):
        raise UsageError(f"same={same!r}: it is 'meaning', or a function or step from an answer to its key")
    return SameKey(as_step(same), [rule.value] if isinstance(rule, Threshold) else [])


def _scope() -> Scope:
    scope = current()
    if scope is None:
        raise LoopError("a judge needs a run around it: await vote(...), or its .run()")
    return scope


def _one_model(judge: Any) -> Any:
    if judge is None or isinstance(judge, str) or hasattr(judge, "send") or hasattr(judge, "open"):
        return judge
    raise UsageError(f"judge={judge!r}: give one model, as 'provider:model' (default: the session's)")
