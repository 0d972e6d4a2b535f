"""Steps inside LangGraph: called as they are, in tasks and as nodes, asynchronous and from its threads."""

import asyncio
from typing import Any, TypedDict

import pytest
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph

from fanfold import Session, prompt, sections, step, vote
from fanfold.errors import StatusError
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.steps.running import echo

KINDS = ("joke", "story", "poem")
SECONDS = {"joke": 3.0, "story": 1.0, "poem": 2.0}


class State(TypedDict, total=False):
    """What the nodes share."""

    topic: str
    joke: str
    story: str
    poem: str
    combined: str


def slow(factor: float = 1.0) -> FakeModel:
    """A model that repeats the prompt, and takes its time by what is asked for."""

    def seconds(request: Any) -> float:
        return factor * next(s for kind, s in SECONDS.items() if kind in str(request.messages[-1].content))

    return FakeModel(echo, latency=seconds)


def graph() -> Any:
    """A graph whose nodes are steps as they are: chains of a prompt and a function, and a step of plain Python."""

    def put(kind: str) -> Any:
        return prompt(f"A {kind} about {{topic}}") | (lambda text: {kind: text})

    @step
    async def combine(state: State) -> State:
        return {"combined": " / ".join(state[kind] for kind in KINDS)}

    builder = StateGraph(State)
    for kind in KINDS:
        builder.add_node(f"write_{kind}", put(kind))
        builder.add_edge(START, f"write_{kind}")
    builder.add_node("combine", combine)
    builder.add_edge([f"write_{kind}" for kind in KINDS], "combine")
    builder.add_edge("combine", END)
    return builder.compile()


def test_a_step_is_a_node_as_it_is():
    """The state fills the prompt's fields; updates come as branches finish, the combination's last."""

    async def main():
        loop = asyncio.get_running_loop()
        async with Session(model=slow()) as session, no_leaks(session):
            stream = graph().astream({"topic": "cats"}, stream_mode="updates")
            return [(*update, round(loop.time(), 1)) async for update in stream]

    assert run_virtual(main()) == [
        ("write_story", 1.0),
        ("write_poem", 2.0),
        ("write_joke", 3.0),
        ("combine", 3.0),
    ]


def test_the_graphs_answer_has_every_part():
    """In the order in which the code combines them."""

    async def main():
        async with Session(model=slow()):
            return (await graph().ainvoke({"topic": "cats"}))["combined"]

    assert run_virtual(main()) == "A joke about cats / A story about cats / A poem about cats"


def test_a_graph_inside_a_step_is_one_run():
    """LangGraph's tasks keep the run that they were started in, so its calls, places and cost are there."""

    @step
    async def whole(topic: str) -> str:
        return (await graph().ainvoke({"topic": topic}))["combined"]

    async def main():
        async with Session(model=slow()) as session, no_leaks(session):
            return await whole.run("cats")

    run = run_virtual(main())
    assert sorted(call.place for call in run.calls) == ["whole/chain/prompt"] * 3
    assert run.wall == pytest.approx(3.0, abs=0.01)


def test_a_pattern_in_a_task_keeps_its_promises():
    """A vote inside a task still ends when it is decided, and nothing of it is left."""
    jury = vote(prompt("{input}"), n=5)

    @task
    async def judge(text: str) -> str:
        return await jury(text)

    @entrypoint()
    async def workflow(text: str) -> str:
        return await judge(text)

    async def main():
        seconds = [1.0, 1.0, 1.0, 60.0, 60.0]
        model = FakeModel(["spam"], latency=lambda request: seconds[request.draw.ordinal])
        async with Session(model=model) as session, no_leaks(session):
            answer = await workflow.ainvoke("x")
            return answer, asyncio.get_running_loop().time()

    answer, seconds = run_virtual(main())
    assert answer == "spam"
    assert seconds == pytest.approx(1.0, abs=0.01)


def test_an_error_in_a_task_is_the_steps_own_and_its_siblings_end():
    """LangGraph hands it on; what was under way beside it is cancelled."""

    @task
    async def good(text: str) -> str:
        return await prompt("long {input}")(text)

    @task
    async def bad(text: str) -> str:
        return await prompt("bad {input}")(text)

    @entrypoint()
    async def workflow(text: str) -> Any:
        slow_one = good(text)
        return await bad(text), await slow_one

    def answer(request: Any) -> Any:
        return StatusError("no", status=500) if "bad" in request.messages[-1].content else "ok"

    async def main():
        model = FakeModel(answer, latency=lambda request: 60.0 if "long" in request.messages[-1].content else 0.0)
        async with Session(model=model, attempts=1) as session, no_leaks(session):
            with pytest.raises(StatusError):
                await workflow.ainvoke("x")
            return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 1.0


def test_from_langgraphs_threads_the_sync_door_serves():
    """The seed of it all: synchronous tasks and `.stream()`; each task waits in a thread of its own."""

    def writer(kind: str) -> Any:
        ask = prompt(f"A {kind} about {{input}}", name=kind)

        def write(topic: str) -> str:
            return ask.run_sync(topic).output

        return task(write, name=kind)

    joke, story, poem = map(writer, KINDS)

    @entrypoint()
    def workflow(topic: str) -> str:
        futures = [joke(topic), story(topic), poem(topic)]
        return " / ".join(future.result() for future in futures)

    with Session(model=slow(0.05)):
        updates = list(workflow.stream("cats", stream_mode="updates"))
    assert [next(iter(update)) for update in updates] == ["story", "poem", "joke", "workflow"]
    assert updates[-1]["workflow"] == "A joke about cats / A story about cats / A poem about cats"


def test_cancelling_the_graph_cancels_the_steps_in_it():
    """Who leaves LangGraph's stream leaves nothing under way."""
    both = sections({"a": prompt("long {input}"), "b": prompt("long {input}")})

    @task
    async def work(text: str) -> Any:
        return await both(text)

    @entrypoint()
    async def workflow(text: str) -> Any:
        return await work(text)

    async def main():
        async with Session(model=FakeModel(echo, latency=60.0)) as session, no_leaks(session):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await workflow.ainvoke("x")
            return session.statistics().calls

    assert run_virtual(main()) == 2
