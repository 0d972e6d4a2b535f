"""The step: a named async callable from one input to one output, and everything one can do with it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypedDict, TypeVar, Unpack, overload

from fanfold.calls.amounts import Budget, check_budget
from fanfold.calls.budget import ceiling, paying
from fanfold.calls.estimates import NO_CALLS, NOT_KNOWN, UNSEEN, Outlook, total
from fanfold.core.door import run_sync
from fanfold.core.scope import current
from fanfold.core.timeouts import check_seconds, within
from fanfold.errors import UsageError
from fanfold.runs.run import ended
from fanfold.session import session_for, session_now
from fanfold.steps.functions import calls_nothing, check_gives_one, check_takes_one
from fanfold.steps.listening import Events, Text, Updates
from fanfold.steps.noting import given_back
from fanfold.steps.row import Terms
from fanfold.steps.rows import Rows
from fanfold.steps.running import follow, in_thread, new_state, run_alone, run_within
from fanfold.steps.start import Handle, abandon, finish, start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from fanfold.calls.budget import IfUnaffordable
    from fanfold.calls.estimates import Estimate, Unseen
    from fanfold.folds.collect import OnError
    from fanfold.runs.run import Run
    from fanfold.session import Session
    from fanfold.steps.listening import SyncListening
    from fanfold.steps.row import Key, Source
    from fanfold.steps.rows import SyncRows
    from fanfold.steps.runnable import StepRunnable

In = TypeVar("In")
Out = TypeVar("Out")
Next = TypeVar("Next")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Step(Generic[In_contra, Out_co]):
    """A named async callable from one input to one output: a prompt, a function, or a pattern made of steps.

    ``await step(x)`` gives its plain value. `name` names it in places and errors; `timeout` (seconds) is total:
    it covers everything under the step. A pattern of your own overrides `execute`.
    """

    kind: ClassVar[str] = "step"
    fans: ClassVar[bool] = False
    """Whether the timeout is the step's fan's, which answers with what it has; else it cancels the step."""
    choices: tuple[Any, ...] | None = None
    """The declared values of its output, in order, where there are such; ties go by it."""
    returns: Any = None
    """The declared type of its output, where there is one; of a record a vote tallies the fields."""
    needs: frozenset[str] = frozenset()
    """The fields that a prompt at its beginning wants of the input."""
    budget: Budget | None = None
    """What one execution of it may spend, with all that is under it."""
    if_unaffordable: IfUnaffordable = "refuse"
    """What becomes of it where the budget does not cover the worst case of its branches."""

    def __init__(self, name: str, timeout: float | None = None) -> None:
        check_seconds(timeout)
        called: object = name
        if not (called and isinstance(called, str)):
            raise UsageError(f"name={name!r}: a step is named by a text")
        self.name = name
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}>"

    async def execute(self, given: In_contra) -> Out_co:
        """The step's own work, under a scope of its own. Override this; to run a step, await it."""
        raise NotImplementedError

    # These two only choose what to await: a coroutine that passes another one on would be resumed with it each time.
    def timed(self, given: In_contra) -> Awaitable[Out_co]:
        """`execute` within the step's own timeout and budget; raises `StepTimeout`, `BudgetError`."""
        return self.bounded(given) if self.budget is None else self._paid(given, self.budget)

    def bounded(self, given: In_contra) -> Awaitable[Out_co]:
        """`execute` within the step's own timeout."""
        return self.execute(given) if self.timeout is None or self.fans else self._within(given, self.timeout)

    async def _paid(self, given: In_contra, budget: Budget) -> Out_co:
        with paying(budget):
            return await self.bounded(given)

    async def _within(self, given: In_contra, timeout: float) -> Out_co:
        with within(timeout, f"{self.kind} {self.name!r}"):
            return await self.execute(given)

    def estimate(self, given: In_contra, *, session: Session | None = None) -> Estimate:
        """What running the step on this input will take: calls, tokens, cost, each at least and at most, or unknown.

        Nothing is sent, and no key is needed. A budget of the session gives prompts without `max_tokens` a ceiling; one
        without a ceiling has no most. Raises `TemplateError`, `ModelError`.
        """
        chosen = session_now(session)
        around = current()
        purse = chosen.purse if around is None or around.run.session is not chosen else around.purse
        return Outlook(chosen, ceiling(purse)).foresee(self, given)

    def foresee(self, given: In_contra | Unseen, outlook: Outlook) -> Estimate:
        """What `estimate` says of the step's own work. Override this where it is known; `UNSEEN` is any input."""
        del given, outlook
        return NOT_KNOWN

    async def __call__(self, given: In_contra) -> Out_co:
        """Run the step and give its value; inside another step it becomes a part of that one's run."""
        if current() is not None:
            return await follow(self, given)
        return await run_alone(new_state(self, await session_for(None)), self, given, None)

    async def run(
        self,
        given: In_contra,
        *,
        session: Session | None = None,
        timeout: float | None = None,
        budget: Budget | None = None,
        key: str | None = None,
    ) -> Run[Out_co]:
        """Run the step and give the whole record: output, detail, calls, usage, cost, times.

        `timeout` (seconds) covers the whole run, and it spends at most `budget`. A journal finds the run again by its
        step and input, or by `key`, which names one run. Raises what the step raises; a `FanfoldError` carries the run
        so far in its `.run`.
        """
        around = current()
        if around is not None and session in {None, around.run.session}:
            if key is not None:
                raise UsageError(f"key={key!r}: {self.name!r} runs inside another run here, which has the key")
            return await run_within(self, given, timeout, around, budget)
        state = new_state(self, await session_for(session))
        return ended(state, await run_alone(state, self, given, timeout, budget, key=key))

    def run_sync(
        self,
        given: In_contra,
        *,
        session: Session | None = None,
        timeout: float | None = None,
        budget: Budget | None = None,
        key: str | None = None,
    ) -> Run[Out_co]:
        """`run` from a script or a notebook cell. Raises `LoopError` inside a step."""
        work = self.run(given, session=session, timeout=timeout, budget=budget, key=key)
        return run_sync(work, f"{self.name}.run_sync()")

    def updates(self, given: In_contra, *, session: Session | None = None) -> Updates[Out_co]:
        """Each branch as it finishes, as ``(name, value)``, then the merge.

        An async context manager around an async iterator; leaving it cancels the run.
        """
        return Updates(self, given, session)

    def text(self, given: In_contra, *, session: Session | None = None) -> Text[Out_co]:
        """The step's text, piece by piece as it is written; a value that is not streamed comes in one piece.

        An async context manager around an async iterator; leaving it cancels the run.
        """
        return Text(self, given, session)

    def events(self, given: In_contra, *, session: Session | None = None) -> Events[Out_co]:
        """Every `Event` of the run as it happens; an async context manager around an async iterator."""
        return Events(self, given, session)

    def updates_sync(
        self, given: In_contra, *, session: Session | None = None
    ) -> SyncListening[tuple[str, Any], Out_co]:
        """`updates` for scripts: a context manager around an iterator."""
        return self.updates(given, session=session).sync(f"{self.name}.updates_sync()")

    def text_sync(self, given: In_contra, *, session: Session | None = None) -> SyncListening[str, Out_co]:
        """`text` for scripts: a context manager around an iterator."""
        return self.text(given, session=session).sync(f"{self.name}.text_sync()")

    def map(
        self,
        rows: Source,
        *,
        key: Key = None,
        ordered: bool = True,
        max_in_flight: int | None = None,
        on_error: OnError = "fail",
        max_failures: int | None = None,
        timeout: float | None = None,
        budget: Budget | None = None,
        engine: str = "local",
        workers: int | None = None,
        session: Session | None = None,
    ) -> Rows[Out_co]:
        """Run the step on each of `rows`, any number of them, and give a `Row` for each, as they are done.

        ``async for row in step.map(rows)``, best within ``async with step.map(rows) as done``. `rows` is an iterable
        (read on the loop: it must not block) or an async iterable; it is read only as far as rows are taken, so memory
        stays bounded. At most `max_in_flight` rows run at once (default: as many as calls may be on the wire; with a
        journal twice as many, for its writes take their time). They are handed over in their order, or as they finish
        if not `ordered`; with the order kept, up to eight times as many may have begun. `key` names each row, to the
        session's journal, too: a field of it, or a function of it; default: its number. Under a journal a second row
        with the same key fails with a `UsageError`, for it would be given the first one's answers.

        With `on_error` "fail" the first row that fails ends the map with a `RowError`; with "skip" it is handed over
        with its `error`, and more than `max_failures` (which implies skip) end it. A `FatalError` ends it always. Each
        row is a run of its own, of at most `timeout` seconds; all together spend at most `budget`. `fanfold map` does
        this for files, and resumes.

        `engine` "ray" runs the rows by `workers` processes of a Ray cluster: one of its own on this machine, that at
        ``ray://HOST:PORT``, or the one this machine is in (``ray://auto``). Limits, budget and journal are those of the
        session, for all of them together. It needs the extra ``fanfold[ray]``.
        """
        terms = Terms(
            key, ordered, max_in_flight, on_error, max_failures, timeout, budget, engine=engine, workers=workers
        )
        return Rows(self, rows, session, terms)

    def map_sync(
        self,
        rows: Iterable[Any],
        *,
        key: Key = None,
        ordered: bool = True,
        max_in_flight: int | None = None,
        on_error: OnError = "fail",
        max_failures: int | None = None,
        timeout: float | None = None,
        budget: Budget | None = None,
        engine: str = "local",
        workers: int | None = None,
        session: Session | None = None,
    ) -> SyncRows[Out_co]:
        """`map` for scripts: a context manager around an iterator."""
        terms = Terms(
            key, ordered, max_in_flight, on_error, max_failures, timeout, budget, engine=engine, workers=workers
        )
        return Rows(self, rows, session, terms).sync(f"{self.name}.map_sync()")

    def offers(self, *also: str) -> tuple[str, ...] | None:
        """The fields that its output has for a prompt behind it, and `also`; None where its type does not tell."""
        told = self.choices is not None or any(self.returns is plain for plain in (str, int, float, bool))
        return ("input", *also) if told else None

    def after(self, before: Step[Any, Any]) -> Step[Any, Any] | None:
        """How this link of a chain takes the one before it into itself, as a gate that asks again does; else None."""
        del before
        return None

    def start(self, given: In_contra) -> Handle[Out_co]:
        """Start the step now, inside another step, and await the handle later; see `Handle`. Raises `LoopError`."""
        return start(self, given)

    def as_runnable(self, *, session: Session | None = None) -> StepRunnable[In_contra, Out_co]:
        """The step as a LangChain Runnable: `ainvoke`, `astream` (pieces of text), `batch`, and parts of their chains.

        Needs the extra ``fanfold[langchain]``; raises `UsageError` without it. Inside LangGraph a step is called as it
        is, like any async function.
        """
        try:
            from fanfold.steps.runnable import StepRunnable
        except ModuleNotFoundError as error:
            raise UsageError(f"as_runnable() needs LangChain ({error}): install fanfold[langchain]") from error
        return StepRunnable(self, session)

    @overload
    def __or__(self, then: Step[Out_co, Next]) -> Step[In_contra, Next]: ...
    @overload
    def __or__(self, then: Callable[[Out_co], Awaitable[Next]]) -> Step[In_contra, Next]: ...
    @overload
    def __or__(self, then: Callable[[Out_co], Next]) -> Step[In_contra, Next]: ...
    def __or__(self, then: Any) -> Step[In_contra, Any]:
        """This step, then that one, on what came out."""
        return Chain([*_links(self), *_links(as_step(then))])


class Chain(Step[In_contra, Out_co]):
    """Steps one after another, each on what the one before gave; the last one's text is the chain's."""

    kind = "chain"

    def __init__(self, links: Sequence[Step[Any, Any]], name: str = "chain", timeout: float | None = None) -> None:
        super().__init__(name, timeout)
        self.links = _joined(links)
        self.needs = self.links[0].needs
        self.returns, self.choices = self.links[-1].returns, self.links[-1].choices

    async def execute(self, given: In_contra) -> Out_co:
        value: Any = given
        for link in self.links[:-1]:
            value = await follow(link, value)
        last: Out_co = await follow(self.links[-1], value, tail=True)
        return last

    def foresee(self, given: In_contra | Unseen, outlook: Outlook) -> Estimate:
        """All links; only the first one's input is known."""
        first, *others = self.links
        return total([outlook.foresee(first, given), *(outlook.foresee(link, UNSEEN) for link in others)])


class Function(Step[In_contra, Out_co]):
    """A plain Python function as a step. One that is not async runs in a thread if `thread` says so."""

    kind = "function"

    def __init__(self, function: Callable[[In_contra], Any], name: str, *, thread: bool, journal: bool = False) -> None:
        super().__init__(name)
        check_gives_one(function, name)
        self.function = function
        self.thread = thread
        self.journal = journal
        self.__doc__ = function.__doc__

    async def execute(self, given: In_contra) -> Out_co:
        if self.journal:
            kept: Out_co = await given_back(given, lambda: self._run(given))
            return kept
        return await self._run(given)

    async def _run(self, given: In_contra) -> Out_co:
        scope = current()
        if scope is not None:
            scope.started = []
        try:
            result = await self._call(given)
            if scope is not None and scope.started:
                await finish(scope)
        finally:
            if scope is not None and scope.started:
                await abandon(scope)
        return result

    def foresee(self, given: In_contra | Unseen, outlook: Outlook) -> Estimate:
        """Nobody knows what a function calls, unless it is one of Python's own."""
        del given, outlook
        return NO_CALLS if calls_nothing(self.function) else NOT_KNOWN

    async def _call(self, given: In_contra) -> Out_co:
        value: Any = await in_thread(self.function, given) if self.thread else self.function(given)
        if inspect.isawaitable(value):
            value = await value
        result: Out_co = value
        return result


@overload
def step(function: Callable[[In], Awaitable[Out]], /) -> Step[In, Out]: ...
@overload
def step(function: Callable[[In], Out], /) -> Step[In, Out]: ...
@overload
def step(
    *, name: str | None = None, thread: bool | None = None, journal: bool = False
) -> Callable[[Callable[[In], Awaitable[Out]]], Step[In, Out]]: ...
def step(
    function: Callable[[Any], Any] | None = None,
    /,
    *,
    name: str | None = None,
    thread: bool | None = None,
    journal: bool = False,
) -> Any:
    """Make a step of a function of one input, so that any control flow can be part of a pattern.

    An ``async def`` runs on the loop. A plain ``def`` may block (a database, a file), so it runs in a thread;
    ``thread=False`` runs quick pure code in place. Its side effects cannot be undone or held back by a pattern
    that cancels it, and a thread that runs on cannot be stopped.

    With ``journal=True`` a session's journal keeps its result (plain data: text, numbers, lists, dicts), and a run that
    is resumed or replayed gives that back instead of running the function again.
    """

    def make(inner: Callable[[Any], Any]) -> Step[Any, Any]:
        check_takes_one(inner)
        asynchronous = inspect.iscoroutinefunction(inner)
        in_thread = not asynchronous if thread is None else thread and not asynchronous
        called = name or str(getattr(inner, "__name__", "function"))
        return Function(inner, called, thread=in_thread, journal=journal)

    return make if function is None else make(function)


def as_step(thing: Any) -> Step[Any, Any]:
    """A step as it is; a bare function as a step that runs in place (quick, pure code: it has the loop)."""
    if isinstance(thing, Step):
        return thing
    if not callable(thing):
        raise UsageError(f"{thing!r} is not a step: give a prompt, a pattern, or a function of one input")
    return Function(thing, getattr(thing, "__name__", "function").strip("<>"), thread=False)


class Bounded(TypedDict, total=False):
    """What every pattern takes that launches nothing beside another."""

    name: str
    timeout: float | None
    budget: Budget | None


@overload
def chain(first: Step[In, Out], /, **limits: Unpack[Bounded]) -> Step[In, Out]: ...
@overload
def chain(first: Step[In, Out], second: Step[Out, Next], /, **limits: Unpack[Bounded]) -> Step[In, Next]: ...
@overload
def chain(first: Step[In, Any] | Callable[[In], Any], /, *rest: Any, **limits: Unpack[Bounded]) -> Step[In, Any]: ...
def chain(
    first: Any, /, *rest: Any, name: str = "chain", timeout: float | None = None, budget: Budget | None = None
) -> Step[Any, Any]:
    """Steps one after another, each on what the one before gave; ``a | b`` is the same.

    After a link only what came out of it is there. The last link's text is the chain's text. `timeout` (seconds)
    covers all of it, and all of it spends at most `budget`. Plain functions may be links.
    """
    made: Chain[Any, Any] = Chain([as_step(link) for link in (first, *rest)], name, timeout)
    made.budget = None if budget is None else check_budget(budget)
    return made


def _joined(links: Sequence[Step[Any, Any]]) -> tuple[Step[Any, Any], ...]:
    joined: list[Step[Any, Any]] = []
    for link in links:
        both = link.after(joined[-1]) if joined else None
        if both is None:
            joined.append(link)
        else:
            joined[-1] = both
    return tuple(joined)


def _links(step: Step[Any, Any]) -> tuple[Step[Any, Any], ...]:
    """The links of a chain written with ``|``; one that has a name, a timeout or a budget of its own stays whole."""
    plain = isinstance(step, Chain) and step.timeout is None and step.budget is None and step.name == "chain"
    return step.links if isinstance(step, Chain) and plain else (step,)
