"""A joke, a story and a poem on a topic at the same time, put together by code; once as sections, once with handles."""

from fanfold import prompt, sections, step

joke = prompt("Write a joke about {input}", name="joke")
story = prompt("Write a story about {input}", name="story")
poem = prompt("Write a poem about {input}", name="poem")


def combine(input: str, joke: str, story: str, poem: str) -> str:
    """The parameters are filled by name: the topic is `input`, the others are branches."""
    return f"Here's a story, joke, and poem about {input}!\n\nSTORY:\n{story}\n\nJOKE:\n{joke}\n\nPOEM:\n{poem}"


trio = sections({"joke": joke, "story": story, "poem": poem}, merge=combine, name="trio")


@step
async def with_handles(topic: str) -> str:
    """The same in the style of futures: started now, awaited where they are needed."""
    joke_handle, story_handle, poem_handle = joke.start(topic), story.start(topic), poem.start(topic)
    return combine(topic, await joke_handle, await story_handle, await poem_handle)
