"""How a step runs: as a run of its own, as a part of the step around it, or as a branch of a fan."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from fanfold.calls.budget import purse_of
from fanfold.core.clock import now
from fanfold.core.scope import Scope, current, enter, place_in, segment
from fanfold.core.timeouts import NO_END, within
from fanfold.errors import MADE, FanfoldError
from fanfold.runs.run import Run, finished, part
from fanfold.runs.state import RunState
from fanfold.steps.keys import open_book

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fanfold.calls.amounts import Budget
    from fanfold.calls.budget import Till
    from fanfold.core.journaling import RowKey
    from fanfold.session import Session
    from fanfold.steps.step import Step

In = TypeVar("In")
Out = TypeVar("Out")


def new_state(step: Step[Any, Any], session: Session, *, streaming: bool = False) -> RunState:
    """The state of a run under `session` that is about to begin."""
    return RunState(session, step.name, session.on_event, streaming=streaming)


async def run_alone(
    state: RunState,
    step: Step[In, Out],
    given: In,
    timeout: float | None,
    budget: Budget | None = None,
    *,
    key: str | RowKey | None = None,
    purse: Till | None = None,
) -> Out:
    """Run `step` as the run of `state`, of which `ended` makes the record; whatever escapes carries the run so far.

    A journal finds it again by `key`. `purse` pays for it, in place of the session's. While a step goes on
    in which it began, it has to end with that, whatever session it is of.
    """
    root = Scope(state, segment(step.name))
    root.purse = purse_of(budget, purse or state.session.purse)
    around = enter(root)
    root.around = around
    root.emit("run.started", step.kind, at=state.began)
    output: Any = None
    failure: BaseException | None = None
    try:
        with NO_END if timeout is None else within(timeout, f"the run of {step.name!r}"):
            if state.session.journal is not None:
                await open_book(root, state.session, step, given, key)
            output = await step.timed(given)
    except BaseException as error:
        failure = error
        raise
    finally:
        root.ended = True
        enter(around)
        if root.book is not None:
            root.book.end(failure)
        state.end(root.place, output, root.detail, failure)
        if failure is not None:
            _attach(failure, finished(state, state.wall, None, state.detail, failure))
    result: Out = output
    return result


async def run_within(
    step: Step[In, Out], given: In, timeout: float | None, scope: Scope, budget: Budget | None = None
) -> Run[Out]:
    """Run `step` inside the run of `scope`, and give the record of its part."""
    state: RunState = scope.run
    began, place, purse = now(), place_in(scope.place, step.name), purse_of(budget, scope.purse)
    scope.check()
    own, events = state.begin_part(place)
    inner = scope.inside(step.name + own.removeprefix(place), tail=False)
    inner.purse = purse
    failure: BaseException | None = None
    output: Any = None
    try:
        with NO_END if timeout is None else within(timeout, f"the run of {step.name!r}", scope=inner):
            output = await _in_scope(step, given, inner)
    except BaseException as error:
        failure = error
        raise
    finally:
        state.end_part(place, own)
        run = part(step.name, events, wall=now() - began, output=output, detail=inner.detail, error=failure)
        if failure is not None:
            _attach(failure, run)
    return run


def follow(step: Step[In, Out], given: In, *, name: str | None = None, tail: bool = False) -> Awaitable[Out]:
    """Run `step` as a part of the step around it.

    With `tail` its text is the pattern's text, and its detail the pattern's unless that leaves its own.
    """
    outer = current()
    if outer is None:
        return step(given)
    return _in_scope(step, given, outer.inside(name or step.name, tail=tail), outer, tail=tail)


async def _in_scope(
    step: Step[In, Out], given: In, scope: Scope, outer: Scope | None = None, *, tail: bool = False
) -> Out:
    """Run `step` in a scope of its own, and leave in `outer`, if given, what it left beside its value."""
    around = enter(scope)
    scope.emit("step.started", step.kind)
    try:
        value = await step.timed(given)
    except BaseException as error:
        scope.emit("step.ended", error=error)
        raise
    finally:
        scope.ended = True
        enter(around)
    scope.emit("step.ended", value)
    if outer is not None:
        outer.said = scope.said
        if tail:
            outer.detail = scope.detail
    return value


async def in_thread(function: Callable[[In], Out], given: In) -> Out:
    """What a function gives, in a thread; who raises StopIteration there gets a RuntimeError, as in a coroutine.

    No future can hold a StopIteration: who waits for one would wait for ever.
    """

    def called() -> Out:
        try:
            return function(given)
        except StopIteration as error:
            raise RuntimeError(f"{getattr(function, '__name__', function)!s} raised StopIteration") from error

    return await asyncio.to_thread(called)


def _attach(error: BaseException, run: Run[Any]) -> None:
    """Let an error carry its run; a foreign one at least says what there was."""
    if isinstance(error, FanfoldError):
        error.run = run
    elif isinstance(error, Exception) and run.calls:
        error.add_note(f"{MADE} {run.summary()}")
