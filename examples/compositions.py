"""Patterns in patterns: route, then in parallel; in parallel, then on; a gate on each branch; tools side by side."""

from collections.abc import Mapping
from typing import Literal

from fanfold import gate, gather, prompt, route, sections, step, vote

# Route first, then in parallel within the route.
handle = route(
    prompt("Is this a question or a complaint?\n\n{input}", returns=Literal["question", "complaint"]),
    {
        "question": prompt("Answer:\n\n{input}"),
        "complaint": sections(
            {
                "apology": prompt("Write an apology for:\n\n{input}"),
                "cause": prompt("What went wrong here?\n\n{input}"),
                "urgent": vote(prompt("Is this urgent?\n\n{input}", returns=bool), n=3),
            },
            merge=prompt("Write the reply.\n\nApology: {apology}\nCause: {cause}\nUrgent: {urgent}"),
        ),
    },
    name="handle",
)

# In parallel, then on: three views, merged by a call, then a headline of what came out.
headline = sections(
    {
        "past": prompt("The history of {input}, briefly."),
        "present": prompt("{input} today, briefly."),
        "future": prompt("The future of {input}, briefly."),
    },
    merge=prompt("Write one paragraph on {input}:\n\n{parts}"),
) | prompt("Write a headline for:\n\n{input}")


def short_enough(text: str) -> tuple[bool, str]:
    """A gate's check may give its reason, which the prompt is told when it is asked again."""
    return len(text) <= 280, f"it has {len(text)} characters, and 280 are allowed"


# In parallel with gates: each branch is checked by itself, and asked again with the reason.
posts = sections(
    {
        "tweet": prompt("A tweet about {input}") | gate(short_enough, retries=2, otherwise=lambda text: text[:280]),
        "caption": prompt("A caption about {input}") | gate(short_enough, retries=2, otherwise=lambda text: text[:280]),
    },
    name="posts",
)


@step
async def weather(city: str) -> str:
    """A tool; a real one would ask a service."""
    return f"sunny in {city}"


@step
async def events(city: str) -> list[str]:
    """Another, which does not need the first."""
    return [f"market in {city}", f"concert in {city}"]


@step
async def plan(request: Mapping[str, str]) -> str:
    """Independent tool calls at the same time, then a model with what they gave."""
    sky, program = await gather(weather(request["city"]), events(request["city"]))
    return await prompt("Plan a day in {city}.\nWeather: {sky}\nEvents:\n{program}")(
        {"city": request["city"], "sky": sky, "program": program}
    )
