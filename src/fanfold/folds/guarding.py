"""The fold of a guard: nothing of the answer is let out before the checks have passed; the first that trips ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fanfold.core.records import ENOUGH, WAIT, Arrival, Go, Why
from fanfold.errors import (
    BranchError,
    ConnectError,
    FanfoldError,
    LoopError,
    QueueFull,
    StatusError,
    StepTimeout,
    TemplateError,
    UsageError,
    described,
)
from fanfold.folds.ballots import Said
from fanfold.folds.canonical import ballot_key

if TYPE_CHECKING:
    from collections.abc import Sequence

OnCheckError = Literal["trip", "pass", "fail"]
On = Literal["input", "answer", "stream"]


UNJUDGED: Said[Any] = Said(None)
"""What a check on the stream brings where the answer said nothing, so that nothing had to be judged."""


class Outgrown(FanfoldError):
    """The answer is longer than the guard's buffer; its text is told to nobody."""


TELLABLE = (ConnectError, QueueFull, LoopError, Outgrown)
"""Errors that quote no answer, unless they stand for another one; a server's own words may, and a template's fields.

Where an answer is made in steps, what the first one said is in the request of the next, which servers repeat.
"""


class Terms(msgspec.Struct, frozen=True):
    """When a check trips: at this value; what its own failure means; and what it is on."""

    trips_on: Any = True
    on_error: OnCheckError = "trip"
    on: On = "input"
    every: int = 0


class Checked(msgspec.Struct, frozen=True):
    """What one check said: its value and text, whether it tripped, its error if it had one, and its seconds."""

    value: Any
    text: str | None
    tripped: bool
    error: str | None
    seconds: float


class Outcome(msgspec.Struct, frozen=True):
    """How a guard ended: the check that tripped (None: the answer stands), the checks, the answer and its seconds."""

    tripped: str | None
    checks: dict[str, Checked]
    answer: Any
    answer_seconds: float | None


class Guarding:
    """Branch 0 is the answer; the others are checks, those that need the whole answer last.

    The answer's held text is released when every check on the input has passed (with checks on the whole answer, when
    these have, too). An error of the answer waits for the checks, so that a refusal tells nothing of it; where checks
    are on the answer, which they have not seen then, it is raised without its text, which may quote that.
    """

    def __init__(self, terms: Sequence[Terms], timeout: float | None = None) -> None:
        self.terms = terms
        self.timeout = timeout
        self.early = sum(one.on != "answer" for one in terms)
        self.pending = sum(one.on == "input" for one in terms)
        self.checks: dict[str, Checked] = {}
        self.answer: Arrival[Any] | None = None
        self.tripped: str | None = None
        self.failed: BranchError | None = None

    def begin(self, names: Sequence[str]) -> Go:
        """The answer starts together with every check on the input and on the stream."""
        del names
        return Go(more=1 + self.early)

    def add(self, arrival: Arrival[Any], flying: int) -> Go:
        """Release the answer, or end, when the checks allow it or one trips."""
        del flying
        if arrival.index == 0:
            self.answer = arrival
            if arrival.error is None and self.early < len(self.terms):
                return Go(more=len(self.terms) - self.early)
        else:
            self._check(arrival, self.terms[arrival.index - 1])
            if self.tripped is not None or self.failed is not None:
                return ENOUGH
        return self._next()

    def end(self, why: Why) -> Outcome:
        """What came of it; raises the answer's own error only when no check tripped."""
        if self.failed is not None:
            raise self.failed
        if self.tripped is None:
            if why == "timeout":
                seconds = self.timeout or 0.0
                raise StepTimeout(f"the guard had no safe answer within {seconds:g} s", seconds=seconds)
            if self.answer is not None and self.answer.error is not None:
                raise self._untold(self.answer.error)
        answer, took = None, None
        if self.answer is not None:
            answer, took = self.answer.value, self.answer.ended - self.answer.started
        return Outcome(self.tripped, self.checks, None if self.tripped else answer, took)

    def _untold(self, error: BaseException) -> BaseException:
        """The answer's own error; without what it may quote, where the checks on the answer cannot have judged that."""
        tellable = isinstance(error, TELLABLE) and error.__cause__ is None
        if tellable or all(one.on == "input" for one in self.terms):
            return error
        kind = type(error).__name__
        if isinstance(error, StatusError):
            kind = " ".join(filter(None, (kind, str(error.status), error.code)))
        told = f"the answer failed: {kind} (its text is held back: no check on the answer has seen it)"
        match error:
            case StepTimeout():
                return StepTimeout(told, seconds=error.seconds)
            case StatusError():
                return StatusError(
                    told,
                    status=error.status,
                    code=error.code,
                    model=error.model,
                    retry_after=error.retry_after,
                    should_retry=error.should_retry,
                )
            case TemplateError():
                return TemplateError(told)
        return FanfoldError(told)

    def _check(self, arrival: Arrival[Any], terms: Terms) -> None:
        said = arrival.value if isinstance(arrival.value, Said) else Said(arrival.value)
        error = arrival.error
        tripped = False
        self.pending -= terms.on == "input"
        if error is None and said is not UNJUDGED:
            try:
                tripped = trips(terms, said.value)
            except UsageError as no_verdict:
                error = no_verdict
        if error is not None:
            said = Said(None, getattr(error, "text", None))
            tripped = terms.on_error == "trip"
            error = _without_answer(error, terms)
            if terms.on_error == "fail":
                self.failed = BranchError(arrival.name, error, {})
        told = None if error is None else described(error)
        seconds = arrival.ended - arrival.started
        self.checks[arrival.name] = Checked(said.value, said.text, tripped, told, seconds)
        if tripped:
            self.tripped = arrival.name

    def _next(self) -> Go:
        """After something that did not trip: release once the checks have passed, end once the answer is in, too."""
        if self.answer is not None and self.answer.error is not None:
            return ENOUGH if len(self.checks) == self.early else WAIT
        if len(self.checks) == len(self.terms):
            return Go(release=tuple(range(1 + len(self.terms))), enough=self.answer is not None)
        return WAIT if self.pending or self.early < len(self.terms) else Go(release=(0,))


def trips(terms: Terms, value: Any) -> bool:
    """Whether this is the value that a check trips on; raises where it is no verdict at all."""
    if value is None or (isinstance(terms.trips_on, bool) and not isinstance(value, bool)):
        raise UsageError(f"a check that trips on {terms.trips_on!r} gave {value!r}, which is no verdict")
    return ballot_key(value) == ballot_key(terms.trips_on)


def _without_answer(error: BaseException, terms: Terms) -> BaseException:
    """What to say of a check that failed: the error of one that has seen the answer may quote it."""
    if terms.on == "input":
        return error
    return FanfoldError(f"{type(error).__name__} (its text is held back, as it may quote the answer)")
