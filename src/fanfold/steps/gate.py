"""Gates: what does not pass a check goes no further; it is asked for again, or takes another way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fanfold.calls.estimates import NO_CALLS, UNSEEN, Estimate, Outlook
from fanfold.core.numbers import is_count
from fanfold.core.scope import current
from fanfold.errors import GateError, UsageError
from fanfold.steps.affording import limited
from fanfold.steps.prompt import Prompt
from fanfold.steps.running import follow
from fanfold.steps.step import Step, as_step
from fanfold.steps.templates import check_fields, fields_of, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanfold.calls.amounts import Budget

T = TypeVar("T")


class Gated(msgspec.Struct, frozen=True):
    """Whether the last answer passed, after how many tries, and what the check said of each that did not."""

    passed: bool
    tries: int
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        raise TypeError("Gated is a record, not a truth value: look at .passed")


class Gate(Step[T, T]):
    """A check between steps; see `gate`."""

    kind = "gate"

    def __init__(self, check: Step[Any, Any], otherwise: Step[Any, Any] | None, retries: int, name: str) -> None:
        super().__init__(name)
        self.check = check
        self.otherwise = otherwise
        self.retries = retries

    def after(self, before: Step[Any, Any]) -> Step[Any, Any]:
        """A gate judges what the link before it gave, so that it can ask that one again."""
        return Gatekept(before, self)

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """The check, and the other way if it comes to that."""
        return outlook.foresee(self.check, given) + self.foresee_other(outlook)

    def shown(self, before: Step[Any, Any]) -> tuple[str, ...] | None:
        """The fields that the check finds, behind this step; None where that is not known."""
        return before.offers("original") if isinstance(self.check, Prompt) else before.offers()

    def foresee_other(self, outlook: Outlook) -> Estimate:
        """The other way, taken or not."""
        return NO_CALLS if self.otherwise is None else outlook.foresee(self.otherwise, UNSEEN).times(0, 1)

    async def execute(self, given: T) -> T:
        """Alone, there is nobody to ask again: the input passes, takes the other way, or is refused."""
        if self.retries:
            raise UsageError("a gate with retries= asks the step before it again: write it as `step | gate(...)`")
        passed, reason = await self.judge(given, None)
        return given if passed else await self.refuse(given, (reason,))

    async def judge(self, value: Any, original: Any) -> tuple[bool, str]:
        """Whether `value` passes, and the reason where the check gives one."""
        scope = current()
        said = None if scope is None else scope.said
        asked = value if original is None else {**fields_of(value), "original": original}
        verdict = await follow(self.check, asked if isinstance(self.check, Prompt) else value, name="check")
        reason = "" if scope is None else _reason(scope.said)
        if scope is not None:
            scope.said = said  # the answer's text stays the step's text, not the check's
        if isinstance(verdict, tuple) and len(verdict) == 2:
            verdict, reason = verdict[0], "" if verdict[1] is None else str(verdict[1])
        if not isinstance(verdict, bool):
            raise UsageError(
                f"the check {self.check.name!r} gave {verdict!r}: a gate's check gives a bool, or (False, reason)"
            )
        return verdict, reason

    async def refuse(self, value: Any, reasons: tuple[str, ...]) -> Any:
        """The other way, or `GateError`."""
        scope = current()
        if self.otherwise is not None:
            other = await follow(self.otherwise, value, name="otherwise", tail=True)
            _leave(scope, Gated(passed=False, tries=len(reasons), reasons=reasons))
            return other
        told = "; ".join(filter(None, reasons)) or "no reason given"
        raise GateError(
            f"nothing passed {self.check.name!r} in {len(reasons)} tries: {told} (otherwise= gives it another way)",
            value=value,
            reasons=reasons,
        )


class Gatekept(Step[Any, Any]):
    """A step and the gate behind it: it is asked again, with the reason, as often as the gate says."""

    kind = "gate"

    def __init__(self, before: Step[Any, Any], gate: Gate[Any]) -> None:
        super().__init__(before.name)
        self.before = before
        self.gate = gate
        self.needs = before.needs
        check_fields(f"the gate behind {before.name!r}", gate.check.needs, gate.shown(before))
        if gate.otherwise is not None:
            check_fields(f"the gate's otherwise= behind {before.name!r}", gate.otherwise.needs, before.offers())
        # The other way may give anything.
        self.choices = before.choices if gate.otherwise is None else None
        self.returns = before.returns if gate.otherwise is None else None
        self.budget = gate.budget

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """The first try is known; a prompt that is asked again is also told its last answer."""
        again = UNSEEN if isinstance(self.before, Prompt) else given
        check = outlook.foresee(self.gate.check, UNSEEN)
        first = outlook.foresee(self.before, given) + check
        others = (outlook.foresee(self.before, again) + check).times(0, self.gate.retries)
        return first + others + self.gate.foresee_other(outlook)

    async def execute(self, given: Any) -> Any:
        """Ask, check, ask again; nothing of an answer is heard before it has passed."""
        asked = self.before
        reasons: tuple[str, ...] = ()
        for _ in range(self.gate.retries + 1):
            value = await follow(asked, given)
            passed, reason = await self.gate.judge(value, given)
            if passed:
                _leave(current(), Gated(passed=True, tries=len(reasons) + 1, reasons=reasons))
                return value
            reasons = (*reasons, reason)
            if isinstance(self.before, Prompt):
                asked = self.before.again(render(value), reason)
        return await self.gate.refuse(value, reasons)


def gate(
    check: Step[Any, bool] | Callable[[Any], Any],
    *,
    otherwise: Step[Any, Any] | Callable[[Any], Any] | None = None,
    retries: int = 0,
    budget: Budget | None = None,
    name: str = "gate",
) -> Step[Any, Any]:
    """Let only what passes a check go on.

    Written behind a step, as ``step | gate(check, retries=2)``, in a chain or on each branch of a pattern.
    `check` gives True where the answer may pass; else False, or ``(False, reason)``. A prompt sees the answer as
    ``{input}`` and what the step was asked as ``{original}``, and its reply is the reason. What does not pass is asked
    for again `retries` times: a prompt is told its last answer and the reason, any other step just runs again. Then
    it takes the other way (`otherwise` gets the answer), or raises `GateError`. `run.detail` is the `Gated`. The
    step before it and all of this together spend at most `budget`.
    """
    if not is_count(retries, 0):
        raise UsageError(f"retries={retries!r}: it is how often to ask again, 0 or more")
    return limited(Gate(as_step(check), None if otherwise is None else as_step(otherwise), retries, name), budget)


def _reason(said: str | None) -> str:
    """What a check's reply says beside its verdict: a bare "no", or the JSON of a typed answer, gives no reason."""
    text = (said or "").strip()
    return "" if len(text.split()) < 2 or text.startswith("{") else text


def _leave(scope: Any, detail: Gated) -> None:
    if scope is not None:
        scope.detail = detail
