"""A joke, a story and a poem with LangGraph's functional API: its tasks call fanfold steps, which are async functions.

`fanfold run` runs it as a step; `python examples/langgraph_functional.py cats` prints LangGraph's updates as they come.
Needs the package `langgraph`.
"""

import asyncio
import sys
from typing import Any

from langgraph.func import entrypoint, task

from fanfold import prompt, step

joke = prompt("Write a joke about {input}", name="joke")
story = prompt("Write a story about {input}", name="story")
poem = prompt("Write a poem about {input}", name="poem")


@task
async def write_joke(topic: str) -> str:
    return await joke(topic)


@task
async def write_story(topic: str) -> str:
    return await story(topic)


@task
async def write_poem(topic: str) -> str:
    return await poem(topic)


@task
async def aggregator(topic: str, joke: str, story: str, poem: str) -> str:
    return f"Here's a story, joke, and poem about {topic}!\n\nSTORY:\n{story}\n\nJOKE:\n{joke}\n\nPOEM:\n{poem}"


@entrypoint()
async def parallel_workflow(topic: str) -> str:
    joke_future, story_future, poem_future = write_joke(topic), write_story(topic), write_poem(topic)
    return await aggregator(topic, await joke_future, await story_future, await poem_future)


@step
async def main(topic: str) -> Any:
    """The workflow as a step: the calls inside it are part of the run."""
    return await parallel_workflow.ainvoke(topic)


async def show(topic: str) -> None:
    async for update in parallel_workflow.astream(topic, stream_mode="updates"):
        print(update, end="\n\n")


if __name__ == "__main__":
    asyncio.run(show(" ".join(sys.argv[1:]) or "cats"))
