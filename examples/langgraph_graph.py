"""A joke, a story and a poem as a LangGraph StateGraph whose nodes are fanfold steps.

`fanfold run` runs it as a step; `python examples/langgraph_graph.py cats` prints LangGraph's updates as they come.
Needs the package `langgraph`.
"""

import asyncio
import sys
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from fanfold import Step, chain, prompt, step


class State(TypedDict, total=False):
    """What the nodes share."""

    topic: str
    joke: str
    story: str
    poem: str
    combined: str


def writer(kind: str) -> Step[State, State]:
    """A prompt, whose fields the state fills, and code that makes an update of the state from its answer."""
    return chain(prompt(f"Write a {kind} about {{topic}}"), lambda text: {kind: text}, name=f"write_{kind}")


@step
async def aggregator(state: State) -> State:
    combined = f"Here's a story, joke, and poem about {state['topic']}!\n\n"
    combined += f"STORY:\n{state['story']}\n\nJOKE:\n{state['joke']}\n\nPOEM:\n{state['poem']}"
    return {"combined": combined}


# A step works as a node as it is, too; as a Runnable it is also one to a type checker.
builder = StateGraph(State)
writers = [writer("joke"), writer("story"), writer("poem")]
for node in [*writers, aggregator]:
    builder.add_node(node.name, node.as_runnable())
for node in writers:
    builder.add_edge(START, node.name)
builder.add_edge([node.name for node in writers], "aggregator")
builder.add_edge("aggregator", END)
parallel_workflow = builder.compile()


@step
async def main(topic: str) -> Any:
    """The graph as a step: the calls inside it are part of the run."""
    return (await parallel_workflow.ainvoke({"topic": topic}))["combined"]


async def show(topic: str) -> None:
    async for update in parallel_workflow.astream({"topic": topic}, stream_mode="updates"):
        print(update, end="\n\n")


if __name__ == "__main__":
    asyncio.run(show(" ".join(sys.argv[1:]) or "cats"))
