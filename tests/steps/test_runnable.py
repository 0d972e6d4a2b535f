"""A step among LangChain's Runnables: called, streamed, batched, in their chains, with their config."""

import asyncio
import sys
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from fanfold import Session, prompt, sections, step, vote
from fanfold.core.clock import sleep
from fanfold.errors import LoopError, StatusError, UsageError
from fanfold.runs.run import Run
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.steps.running import Asked, echo

ASK = prompt("Say {input}", name="ask")


def ran(work: Any, model: Any = None) -> Any:
    """What comes of `work(session)` in virtual time; nothing is left after it."""

    async def main():
        async with Session(model=model or FakeModel(echo)) as session, no_leaks(session):
            return await work(session)

    return run_virtual(main())


class Seen(AsyncCallbackHandler):
    """What LangChain tells its listeners."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def on_chain_start(self, serialized, inputs, **more):
        self.told.append(("start", more["name"], inputs, more["tags"]))

    async def on_chain_end(self, outputs, **more):
        self.told.append(("end", outputs))

    async def on_chat_model_start(self, serialized, messages, **more):
        self.told.append(("model", more["tags"]))


def test_ainvoke_gives_the_steps_value():
    """The plain value, of whatever type it is."""

    async def work(_session):
        both = sections({"a": ASK, "b": ASK}).as_runnable()
        return await ASK.as_runnable().ainvoke("hi"), await both.ainvoke("ho")

    assert ran(work) == ("Say hi", {"a": "Say ho", "b": "Say ho"})


def test_astream_gives_the_text_as_it_is_written():
    """Piece by piece, each when it comes."""

    async def work(_session):
        loop = asyncio.get_running_loop()
        return [(piece, round(loop.time(), 1)) async for piece in ASK.as_runnable().astream("hi there")]

    pieces = ran(work, FakeModel(echo, latency=3.0))
    assert pieces == [("Say ", 1.0), ("hi ", 2.0), ("there", 3.0)]


def test_a_value_that_is_not_streamed_comes_whole_and_as_it_is():
    """A mapping stays one; LangChain adds up what it streams."""

    async def work(_session):
        runnable = sections({"a": ASK, "b": ASK}).as_runnable()
        return [piece async for piece in runnable.astream("x")]

    assert ran(work) == [{"a": "Say x", "b": "Say x"}]


def test_leaving_the_stream_cancels_the_run():
    """Nobody reads on, so nobody is asked on."""

    async def work(session):
        stream = ASK.as_runnable().astream("one two three")
        assert await anext(stream) == "Say "
        await stream.aclose()
        return session.statistics()

    statistics = ran(work, FakeModel(echo, latency=60.0))
    assert (statistics.slots.in_use, statistics.calls) == (0, 1)


def test_abatch_runs_side_by_side():
    """As many at the same time as LangChain's max_concurrency says."""

    async def work(_session):
        loop = asyncio.get_running_loop()
        runnable = ASK.as_runnable()
        values = await runnable.abatch(["a", "b", "c"])
        side_by_side = loop.time()
        await runnable.abatch(["a", "b", "c"], {"max_concurrency": 1})
        return values, side_by_side, loop.time() - side_by_side

    values, together, one_by_one = ran(work, FakeModel(echo, latency=1.0))
    assert values == ["Say a", "Say b", "Say c"]
    assert together == pytest.approx(1.0, abs=0.01)
    assert one_by_one == pytest.approx(3.0, abs=0.01)


def test_it_stands_in_langchains_chains():
    """A prompt value and a message come in as text; what goes out is any Runnable's input, streamed or not."""

    async def work(_session):
        head = ChatPromptTemplate.from_template("about {topic}")
        whole = head | ASK.as_runnable() | RunnableLambda(_shout)
        message = RunnableLambda(_message) | ASK.as_runnable()
        return await whole.ainvoke({"topic": "cats"}), await message.ainvoke("x")

    assert ran(work) == ("SAY HUMAN: ABOUT CATS", "Say hello")


async def _shout(text: str) -> str:
    return text.upper()


async def _message(_given: Any) -> AIMessage:
    return AIMessage("hello")


def test_config_passes():
    """Callbacks, tags and a name of LangChain's config arrive, and reach a chat model inside the step."""
    seen = Seen()
    chat = FakeListChatModel(responses=["yes"])
    inner = vote(prompt("{input}", model=chat), n=2, stop=None, name="jury")

    async def main():
        async with Session():
            config: Any = {"callbacks": [seen], "tags": ["t"], "run_name": "mine"}
            await inner.as_runnable().ainvoke("q", config)
            return [piece async for piece in inner.as_runnable().astream("q", {"callbacks": [seen]})]

    assert asyncio.run(main()) == ["yes"]
    kinds = [one[0] for one in seen.told]
    assert kinds == ["start", "model", "model", "end"] * 2
    assert seen.told[0] == ("start", "mine", "q", ["t"])
    assert seen.told[1] == ("model", ["t"])
    assert (seen.told[3], seen.told[4][1]) == (("end", "yes"), "jury")


def test_errors_are_the_steps_own():
    """They carry their run, as from any step."""

    async def work(_session):
        with pytest.raises(StatusError) as caught:
            await ASK.as_runnable().ainvoke("x")
        return caught.value

    error = ran(work, FakeModel(lambda _: StatusError("no", status=500)))
    assert len(error.run.calls) == 1


def test_a_session_may_be_given():
    """Where none is entered around LangChain's own code."""

    async def main():
        async with Session(model=FakeModel(["mine"])) as session:
            runnable = ASK.as_runnable(session=session)
            return await runnable.ainvoke("x"), [piece async for piece in runnable.astream("x")]

    assert run_virtual(main()) == ("mine", ["mine"])


def test_inside_a_run_it_is_a_part_of_it():
    """A Runnable that is called in a step makes no run of its own."""
    model = Asked(echo)

    @step
    async def outer(text: str) -> str:
        return await ASK.as_runnable().ainvoke(text)

    async def work(session) -> Run[Any]:
        return await outer.run("x", session=session)

    run = ran(work, model)
    assert [call.place for call in run.calls] == ["outer/ask"]


def test_invoke_and_stream_and_batch_work_from_scripts():
    """Through the sync door, as `run_sync` does; listeners hear of it, too."""
    heard: list[str] = []

    class Listener(BaseCallbackHandler):
        def on_chain_start(self, serialized, inputs, **more):
            heard.append(inputs)

    with Session(model=FakeModel(echo)):
        runnable = ASK.as_runnable()
        assert runnable.invoke("a", {"callbacks": [Listener()]}) == "Say a"
        assert list(runnable.stream("b c")) == ["Say ", "b ", "c"]
        assert runnable.batch(["d", "e"]) == ["Say d", "Say e"]
        assert list(sections({"a": ASK}).as_runnable().stream("x")) == [{"a": "Say x"}]
    assert heard == ["a"]


def test_leaving_the_stream_in_a_script_cancels_the_run():
    """As it does where it is awaited."""
    with Session(model=FakeModel(echo, latency=lambda _: 0.2)) as session:
        early = ASK.as_runnable().stream("one " * 20)
        assert next(early) == "Say "
        early.close()
        assert session.statistics().slots.in_use == 0


@pytest.mark.parametrize("call", [lambda r: r.invoke("x"), lambda r: list(r.stream("x"))], ids=["invoke", "stream"])
def test_inside_a_step_the_sync_door_is_closed(call):
    """Waiting there would block the steps beside it: there, it is awaited."""

    @step
    async def outer(_given: str) -> str:
        await sleep(0)
        call(ASK.as_runnable())
        return "never"

    async def work(_session):
        with pytest.raises(LoopError):
            await outer("x")

    ran(work)


def test_it_says_whose_it_is():
    """In LangChain's traces it has the step's name."""
    runnable = ASK.as_runnable()
    assert (runnable.get_name(), repr(runnable)) == ("ask", "<prompt 'ask'>.as_runnable()")


def test_without_langchain_it_says_what_to_install(monkeypatch):
    """Nobody needs LangChain for anything else."""
    monkeypatch.delitem(sys.modules, "fanfold.steps.runnable")
    monkeypatch.setitem(sys.modules, "langchain_core.messages", None)
    with pytest.raises(UsageError, match=r"install fanfold\[langchain\]"):
        ASK.as_runnable()
