"""Guardrails beside the answer: both start together, and nothing of the answer gets out before the checks pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, Unpack, overload

import msgspec

from fanfold.calls.estimates import NO_CALLS, UNSEEN, Estimate, Outlook, one_of, total
from fanfold.core.fan import fan
from fanfold.core.numbers import is_count
from fanfold.core.records import Branch, Cost
from fanfold.core.scope import Scope, current, place_in
from fanfold.core.timeouts import Total
from fanfold.errors import LoopError, UsageError, is_fatal
from fanfold.folds.ballots import Said
from fanfold.folds.canonical import ballot_key
from fanfold.folds.guarding import UNJUDGED, Checked, Guarding, On, OnCheckError, Outcome, Terms, trips
from fanfold.steps.affording import Limits, Size, affording, limited
from fanfold.steps.buffer import Buffer, Ear
from fanfold.steps.declared import advice, gives_instead
from fanfold.steps.noting import Note
from fanfold.steps.running import follow
from fanfold.steps.step import Function, Step, as_step
from fanfold.steps.templates import check_fields, fields_of, render

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import IfUnaffordable

In = TypeVar("In")
Out = TypeVar("Out")
Instead = TypeVar("Instead")

ANSWER = "answer"
REFUSAL = "I can't help with that request."

SHOWN: Mapping[On, tuple[str, ...]] = {"input": (), "answer": (ANSWER,), "stream": (ANSWER, "window")}
"""What a check is shown beside the input."""

PAUSE = "\n\n"
"""What stands between a part of the answer that has been heard and the refusal."""

OVERLAP = 4
"""A window begins with this part of `every` characters of the one before, so that no phrase falls between two."""


class Check(msgspec.Struct, frozen=True):
    """A check and its terms; made by `check`."""

    step: Any
    terms: Terms
    budget: ClassVar[None] = None

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """What it will take beside an answer to `given`.

        Of one on the stream nobody knows, so it is paid call by call: money laid aside for it would wait for text
        that the answer has no money to write.
        """
        if self.terms.on == "input":
            return outlook.foresee(self.step, given)
        return outlook.foresee(self.step, UNSEEN).times(0, 1 if self.terms.on == "answer" else None)


class Guarded(msgspec.Struct, frozen=True):
    """How a guarded answer came about.

    `tripped` names the check that stopped it (None: the answer stands) and `said` is that check's text. `checks` has
    each that came in. `saved_seconds` is what running side by side saved against checks first, answer after;
    `cancelled_cost` what the answer had cost when it was cancelled (a range: it may be billed in part or in full).
    """

    tripped: str | None
    said: str | None
    checks: Mapping[str, Checked]
    saved_seconds: float
    cancelled_cost: Cost

    def __bool__(self) -> bool:
        raise TypeError("Guarded is a record, not a truth value: look at .tripped")


class GuardStep(Step[In, Any]):
    """A step and the checks beside it; see `guard`."""

    kind = "guard"
    fans = True

    def __init__(
        self,
        step: Step[In, Any],
        checks: Mapping[str, Check],
        otherwise: Step[Any, Any] | str,
        *,
        buffer: int,
        name: str,
        timeout: float | None,
    ) -> None:
        super().__init__(name, timeout)
        self.step = step
        # Checks on the answer are launched last, when it is there.
        self.checks = dict(sorted(checks.items(), key=lambda item: item[1].terms.on == "answer"))
        self.otherwise = otherwise
        self.buffer = buffer

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """The answer and the checks; a check that trips ends it all, but for the refusal."""
        checks = [outlook.foresee(one, given) for one in self.checks.values()]
        other = self.otherwise
        refusal = outlook.foresee(other, given).times(0, 1) if isinstance(other, Step) else NO_CALLS
        whole = total([outlook.foresee(self.step, given), *checks, refusal])
        return whole.from_least(one_of(checks))

    async def execute(self, given: In) -> Any:
        """Start all together; give the answer, or the refusal."""
        scope = current()
        if scope is None:
            raise LoopError("a guard needs a run around it: await it, or its .run()")
        self._check_fields(fields_of(given))
        before = len(scope.run.events)
        terms = {name: one.terms for name, one in self.checks.items()}
        watch = _Watch(given, self._buffer(scope))
        branches = [Branch[Any](ANSWER, partial(watch.answer, self.step), held=True, tail=True)]
        for name, one in self.checks.items():
            branches.append(Branch(name, partial(watch.check, name, one), held=one.terms.on != "input"))
        fold = Guarding(list(terms.values()), self.timeout)
        total = Total(self.timeout, f"guard {self.name!r}")
        async with affording(self, self._sizes(given), total.begin()) as money:
            outcome = await fan(money.paid(branches), fold, timeout=money.seconds)
        output: Any = outcome.answer
        if outcome.tripped is None:
            watch.buffer.settle()
        else:
            with total.remaining():
                output = await self._refusal(given, scope, watch.buffer)
        cost = Cost() if outcome.tripped is None else _answer_cost(scope, before)
        scope.detail = _detail(outcome, terms, cost)
        return output

    def _check_fields(self, there: Iterable[str]) -> None:
        """A prompt that lacks a field would fail each time, as a check that trips, or passes, for no reason."""
        check_fields(ANSWER, self.step.needs, there)
        for name, one in self.checks.items():
            check_fields(f"check {name!r}", one.step.needs, [*there, *SHOWN[one.terms.on]])
        if isinstance(self.otherwise, Step):
            check_fields("otherwise", self.otherwise.needs, there)

    def _sizes(self, given: In) -> list[Size]:
        return [(self.step, given), *((one, given) for one in self.checks.values())]

    def _buffer(self, scope: Scope) -> Buffer:
        buffer = Buffer(scope, self.buffer, [name for name, one in self.checks.items() if one.terms.on == "stream"])
        buffer.allowed = all(one.terms.on == "stream" for one in self.checks.values())
        return buffer

    async def _refusal(self, given: In, scope: Scope, buffer: Buffer) -> Any:
        """The refusal; where a part of the answer has been heard, it follows that as text."""
        cut = buffer.out > 0 and scope.tail
        if cut:
            scope.emit("call.text", PAUSE)
        output: Any = self.otherwise
        ear, outside = Ear(scope), scope.hold
        if isinstance(self.otherwise, Step):
            scope.hold = ear
            try:
                output = await follow(self.otherwise, given, name="otherwise", tail=True)
            finally:
                scope.hold = outside
        if cut and not ear.heard:
            scope.emit("call.text", render(output))
        return output


class _Heard(NamedTuple):
    """The text so far, what of the output was never in it, and whether all this was `told` of before."""

    text: str
    unheard: str | None
    told: bool = False


class _Watch:
    """One execution of a guard: what its branches share."""

    def __init__(self, given: Any, buffer: Buffer) -> None:
        self.given = given
        self.buffer = buffer
        self.value: Any = None

    async def answer(self, step: Step[Any, Any]) -> Any:
        """The answer, all of it into the buffer."""
        scope = current()
        if scope is not None:
            scope.hold = self.buffer
            scope.tail = scope.tail or self.buffer.watched
        try:
            self.value = await step.timed(self.given)
            written = render(self.value) if self.buffer.watched else None
        except BaseException:
            self.buffer.fail()
            raise
        self.buffer.end(written)
        return self.value

    async def check(self, name: str, one: Check) -> Said[Any]:
        """One check: on the input, on the answer that is there by now, or on the text as it comes."""
        if one.terms.on == "stream":
            return await self._stream(name, one)
        if one.terms.on == "answer":
            asked = {**fields_of(self.given), "input": self.given, ANSWER: self.value}
            value = await one.step.timed(self.value if isinstance(one.step, Function) else asked)
        else:
            value = await one.step.timed(self.given)
        scope = current()
        return Said(value, None if scope is None else scope.said)

    async def _stream(self, name: str, one: Check) -> Said[Any]:
        """Judge window after window until one trips or the answer is over."""
        try:
            return await self._windows(name, one)
        except Exception as error:
            if one.terms.on_error == "pass" and not is_fatal(error):
                self.buffer.passed(name, math.inf)
            raise

    async def _windows(self, name: str, one: Check, *, again: bool = True) -> Said[Any]:
        said = UNJUDGED
        read, every = 0, one.terms.every
        while len((heard := await self._heard(read + every, again=again)).text) > read:
            text = heard.text
            said = await self._judge(one, text[max(0, read - every // OVERLAP) :], text)
            if trips(one.terms, said.value):
                return said
            read = len(text)
            if not heard.told:
                self.buffer.passed(name, read)
        if heard.told and not await self._stands(heard):
            return await self._windows(name, one, again=False)
        if heard.unheard is not None:
            said = await self._judge(one, heard.unheard, heard.unheard)
        if said is UNJUDGED or not trips(one.terms, said.value):
            self.buffer.passed(name, math.inf)
        return said

    async def _heard(self, beyond: int, *, again: bool) -> _Heard:
        """The text so far; where all of this happened before, and it is to come `again`, what it was then."""
        note = Note(b"window")
        told = note.told() if again else None
        if told is not None:
            text, unheard = told
            return _Heard(text, unheard, told=True)
        found = _Heard(await self.buffer.grown(beyond), self.buffer.unheard)
        note.keep([found.text, found.unheard])
        return found

    async def _stands(self, heard: _Heard) -> bool:
        """Whether the answer says now what was heard then: it may be another's, or about another text.

        One that fails is heard as far as it came: no further than what was judged.
        """
        text = await self.buffer.grown(math.inf)
        if self.buffer.failed:
            return heard.text.startswith(text)
        return (text, self.buffer.unheard) == (heard.text, heard.unheard)

    async def _judge(self, one: Check, window: str, text: str) -> Said[Any]:
        asked = {**fields_of(self.given), "input": self.given, ANSWER: text, "window": window}
        value = await follow(one.step, window if isinstance(one.step, Function) else asked)
        scope = current()
        return Said(value, None if scope is None else scope.said)


def _answer_cost(scope: Scope, before: int) -> Cost:
    """What the calls under the answer had cost; those of an answer that was `before` in the same place are not its."""
    place = place_in(scope.place, ANSWER)
    ended = [event.call for event in scope.run.events[before:] if event.kind == "call.ended"]
    calls = [call for call in ended if call.place == place or call.place.startswith(f"{place}/")]
    return sum((call.cost for call in calls), Cost())


def _detail(outcome: Outcome, terms: Mapping[str, Terms], cost: Cost) -> Guarded:
    beside = (one.seconds for name, one in outcome.checks.items() if terms[name].on == "input")
    saved = 0.0
    if outcome.tripped is None and outcome.answer_seconds is not None:
        saved = min(max(beside, default=0.0), outcome.answer_seconds)
    said = None if outcome.tripped is None else outcome.checks[outcome.tripped].text
    return Guarded(outcome.tripped, said, outcome.checks, saved, cost)


def check(
    step: Step[Any, Any] | Callable[[Any], Any],
    *,
    trips_on: Any = True,
    on_error: OnCheckError = "trip",
    on: On = "input",
    every: int = 400,
) -> Check:
    """A check for `guard`, with its terms.

    It trips when its value is `trips_on` (compared as ballots are). When it fails itself, it trips all the same
    (``on_error="trip"``), passes, or fails the guard with a `BranchError`. What is no verdict (None, or for a
    `trips_on` that is a bool anything but a bool) is a failure, too.

    ``on="answer"`` judges the finished answer: a function gets the answer; any other step ``{answer}`` and ``{input}``.
    ``on="stream"`` judges it while it streams, about `every` characters: a function gets the new window of text
    (with the end of the one before); any other step ``{window}``, ``{answer}`` (all text so far) and ``{input}``.
    """
    if on_error not in {"trip", "pass", "fail"}:
        raise UsageError(f"on_error={on_error!r}: of a check it is 'trip', 'pass' or 'fail'")
    if on not in {"input", "answer", "stream"}:
        raise UsageError(f"on={on!r}: a check is on the 'input', on the 'answer', or on its 'stream'")
    if not is_count(every):
        raise UsageError(f"every={every!r}: a window has at least one character")
    judge = as_step(step)
    _check_can_trip(judge, trips_on)
    return Check(judge, Terms(trips_on, on_error, on, every))


def _check_can_trip(step: Step[Any, Any], trips_on: Any) -> None:
    """Refuse a check that never says what it trips on: it would look like a guard and let everything pass."""
    unheard = step.choices is not None and ballot_key(trips_on) not in {ballot_key(one) for one in step.choices}
    if callable(trips_on):
        raise UsageError(f"trips_on is a value, not a function: give the check {step.name!r} as step | function")
    instead = gives_instead(step, trips_on)
    if instead is not None:
        raise UsageError(f"the check {step.name!r} gives {instead} and never {trips_on!r}: {advice(instead, trips_on)}")
    if unheard:
        raise UsageError(f"the check {step.name!r} never says {trips_on!r}: its choices are {list(step.choices or ())}")


Checks = Mapping[str, Check | Step[Any, Any] | Callable[[Any], Any]]


@overload
def guard(
    step: Callable[[In], Awaitable[Out]],
    checks: Checks,
    *,
    otherwise: str = ...,
    buffer: int = ...,
    **limits: Unpack[Limits],
) -> Step[In, Out | str]: ...
@overload
def guard(
    step: Callable[[In], Awaitable[Out]],
    checks: Checks,
    *,
    otherwise: Callable[[Any], Awaitable[Instead]],
    buffer: int = ...,
    **limits: Unpack[Limits],
) -> Step[In, Out | Instead]: ...
@overload
def guard(
    step: Callable[[In], Any],
    checks: Checks,
    *,
    otherwise: Callable[[Any], Any] | str = ...,
    buffer: int = ...,
    **limits: Unpack[Limits],
) -> Step[In, Any]: ...
def guard(
    step: Step[Any, Any] | Callable[[Any], Any],
    checks: Checks,
    *,
    otherwise: Step[Any, Any] | Callable[[Any], Any] | str = REFUSAL,
    buffer: int = 1_000_000,
    name: str = "guard",
    timeout: float | None = None,
    budget: Budget | None = None,
    if_unaffordable: IfUnaffordable = "refuse",
) -> Step[Any, Any]:
    """Start `step` and its `checks` together; give the answer, or, when a check trips, the refusal `otherwise`.

    A check is a step that trips on True; `check(...)` gives it other terms. When one trips, the answer and the other
    checks are cancelled at once. Nothing of the answer gets out before every check has passed: its text, updates,
    events and error are held back, then flushed, and live from there. With a check on the stream, text gets out as
    far as that has read it. Where the answer itself fails, checks on it cannot judge what its error quotes: then only
    the kind of that error is told. At most `buffer` characters of text wait; an answer that outgrows them fails. Side
    effects of plain functions cannot be held back: they happen. `otherwise` is a text, or a step on the same input,
    whose text follows what has been heard of the answer. `run.detail` is the `Guarded`. `budget` and `if_unaffordable`
    are as in `sections`.
    """
    if not checks:
        raise UsageError("a guard without checks guards nothing: give checks={name: step}")
    _check_names(checks)
    if ANSWER in checks:
        raise UsageError(f"a check cannot be called {ANSWER!r}: that is what it guards")
    if not is_count(buffer):
        raise UsageError(f"buffer={buffer!r}: it is how many characters of the answer may wait, at least 1")
    named = {name: one if isinstance(one, Check) else check(one) for name, one in checks.items()}
    refusal = otherwise if isinstance(otherwise, str) else as_step(otherwise)
    made = GuardStep(as_step(step), named, refusal, buffer=buffer, name=name, timeout=timeout)
    return limited(made, budget, if_unaffordable)


def _check_names(checks: Any) -> None:
    if not isinstance(checks, Mapping):
        raise UsageError(f"checks is a mapping of name to check, not {type(checks).__name__}: checks={{name: step}}")
    wrong = [name for name in checks if not isinstance(name, str) or not name]
    if wrong:
        raise UsageError(f"a check's name is a text, not {wrong[0]!r}")
