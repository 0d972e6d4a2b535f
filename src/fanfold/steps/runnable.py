"""A step as a LangChain Runnable (extra: ``fanfold[langchain]``)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable

from fanfold.core.door import run_sync

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from langchain_core.runnables import RunnableConfig

    from fanfold.session import Session
    from fanfold.steps.listening import Events
    from fanfold.steps.step import Step

In = TypeVar("In")
Out = TypeVar("Out")

_END = object()


class StepRunnable(Runnable[In, Out]):
    """A step among LangChain's Runnables; `Step.as_runnable` makes it.

    Its callbacks, tags and name come from LangChain's config, as any Runnable's do. A prompt value or a message that
    LangChain hands over is given to the step as its text.
    """

    def __init__(self, step: Step[In, Out], session: Session | None = None) -> None:
        self.step = step
        self.session = session
        self.name = step.name

    def __repr__(self) -> str:
        return f"{self.step!r}.as_runnable()"

    async def ainvoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Out:
        """Run the step and give its value; `kwargs` are what other Runnables take, and are left unread."""
        return await self._acall_with_config(self._value, input, config, run_type="chain")

    def invoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Out:
        """`ainvoke` through the sync door; raises `LoopError` inside a step."""
        return self._call_with_config(self._value_sync, input, config, run_type="chain")

    async def astream(
        self, input: In, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[Out]:
        """The step's text, piece by piece as it is written; a value that is not streamed comes whole, as it is.

        Closing the iterator cancels the run.
        """

        async def given() -> AsyncIterator[In]:
            yield input

        stream = self._atransform_stream_with_config(given(), self._pieces, config, run_type="chain")
        async with aclosing(cast("AsyncGenerator[Out]", stream)) as pieces:
            async for piece in pieces:
                yield piece

    def stream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any | None) -> Iterator[Out]:
        """`astream` through the sync door; raises `LoopError` inside a step."""
        yield from self._transform_stream_with_config(iter([input]), self._pieces_sync, config, run_type="chain")

    async def _value(self, given: In) -> Out:
        if self.session is None:
            return await self.step(_plain(given))
        return (await self.step.run(_plain(given), session=self.session)).output

    def _value_sync(self, given: In) -> Out:
        return self.step.run_sync(_plain(given), session=self.session).output

    async def _pieces(self, given: AsyncIterator[In]) -> AsyncIterator[Any]:
        async for one in given:
            async with self.step.events(_plain(one), session=self.session) as events:
                async for piece in _heard(events):
                    yield piece

    def _pieces_sync(self, given: Iterator[In]) -> Iterator[Any]:
        for one in given:
            events = self.step.events(_plain(one), session=self.session)
            heard = _heard(events)
            what = f"streaming {self.name}"
            with events.sync(what):
                try:
                    while (piece := run_sync(_next(heard), what)) is not _END:
                        yield piece
                finally:
                    run_sync(heard.aclose(), what)


async def _heard(events: Events[Any]) -> AsyncGenerator[Any]:
    """The pieces of text among the events of a run, or else its output."""
    streamed = False
    async for event in events:
        if event.kind == "call.text":
            streamed = True
            yield event.value
    if not streamed:
        yield events.run.output


async def _next(heard: AsyncIterator[Any]) -> Any:
    return await anext(heard, _END)


def _plain(given: Any) -> Any:
    """What LangChain hands from Runnable to Runnable, as a step's input."""
    if isinstance(given, PromptValue):
        return given.to_string()
    return str(given.text) if isinstance(given, BaseMessage) else given
