"""Retrying a step that raises; a call's own retries are the road's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from fanfold.core.numbers import is_count
from fanfold.errors import ScopeEnded, UsageError, is_fatal
from fanfold.steps.affording import limited
from fanfold.steps.running import follow
from fanfold.steps.step import Step, as_step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fanfold.calls.amounts import Budget
    from fanfold.calls.estimates import Estimate, Outlook

In = TypeVar("In")
Out = TypeVar("Out")


class Retry(Step[In, Out]):
    """A step, again; see `retry`."""

    kind = "retry"

    def __init__(
        self, step: Step[In, Out], retries: int, on: tuple[type[Exception], ...], name: str, timeout: float | None
    ) -> None:
        super().__init__(name, timeout)
        self.step = step
        self.retries = retries
        self.on = on
        self.needs = step.needs
        self.choices = step.choices
        self.returns = step.returns

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """Once, or as often as it may."""
        return outlook.foresee(self.step, given).times(1, 1 + self.retries)

    async def execute(self, given: In) -> Out:
        """Run it until it does not raise, or the tries are used up."""
        for _ in range(self.retries):
            try:
                return await follow(self.step, given, tail=False)
            except (ScopeEnded, UsageError):
                raise
            except self.on as error:
                if is_fatal(error):
                    raise
        return await follow(self.step, given, tail=False)


@overload
def retry(
    step: Callable[[In], Awaitable[Out]],
    *,
    retries: int = ...,
    on: type[Exception] | tuple[type[Exception], ...] = ...,
    timeout: float | None = ...,
    budget: Budget | None = ...,
) -> Step[In, Out]: ...
@overload
def retry(
    step: Callable[[In], Out],
    *,
    retries: int = ...,
    on: type[Exception] | tuple[type[Exception], ...] = ...,
    timeout: float | None = ...,
    budget: Budget | None = ...,
) -> Step[In, Out]: ...
def retry(
    step: Step[Any, Any] | Callable[[Any], Any],
    *,
    retries: int = 1,
    on: type[Exception] | tuple[type[Exception], ...] = Exception,
    timeout: float | None = None,
    budget: Budget | None = None,
) -> Step[Any, Any]:
    """Run `step` again when it raises one of `on`, `retries` times at most; then its last error is raised.

    A model asked again draws a new sample. Fatal errors, errors of the program (`UsageError`), cancellations and the
    `timeout` (seconds, for all tries together, as is `budget`) end it at once. Its text is not streamed, for a try that
    fails must not have been heard.
    """
    if not is_count(retries, 0):
        raise UsageError(f"retries={retries!r}: it is how often to run again, 0 or more")
    kinds = on if isinstance(on, tuple) else (on,)
    # Whoever caught a cancellation here would outlive the fan that cancels it.
    given: tuple[object, ...] = kinds
    wrong = [kind for kind in given if not (isinstance(kind, type) and issubclass(kind, Exception))]
    if wrong:
        raise UsageError(f"on={wrong[0]!r}: it is a kind of Exception, or a tuple of several")
    inner = as_step(step)
    made = Retry(inner, retries, kinds, inner.name, timeout)
    return limited(made, budget)
