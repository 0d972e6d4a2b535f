"""A model that gives real recorded answers, without a network; what was never recorded is an error that says so."""

from __future__ import annotations

from fanfold.core.records import Rate, Reply, Request, Usage, Watch
from fanfold.errors import ModelError, NotRecorded
from fanfold.models import recordings
from fanfold.models.prices import rate

PRICED_AS = {
    "claude-3-opus-20240229": "anthropic:claude-3-opus-20240229",
    "cohere-command-r-plus": "cohere:command-r-plus",
    "gemini-1.0-pro": "gemini:gemini-1.0-pro",
    "gemini-1.5-pro-preview-0409": "gemini:gemini-1.5-pro",
    "gpt-35-turbo": "openai:gpt-3.5-turbo",
    "gpt-4": "openai:gpt-4",
    "mistral-large": "mistral:mistral-large-latest",
}
"""Whose list price a recorded model's calls are shown at; nothing is paid. The llamas have no one price."""


recordings.recordings()  # unpacked as this module loads, which a session does when it opens: no call reads a file


class RecordedModel:
    """One of the recorded models, in this process. The sample it gives is the draw's ordinal."""

    made_up = False
    structured = False

    def __init__(self, name: str) -> None:
        if name not in recordings.models():
            raise ModelError(f"no recordings of {name!r}: recorded models are {', '.join(recordings.models())}")
        self.name = name
        self.label = f"recorded:{name}"
        self.given_rate: Rate | None = recorded_rate(name)

    async def send(self, request: Request, watch: Watch) -> Reply:
        """The recorded reply; raises `NotRecorded`."""
        watch.sent()
        reply = recorded_reply(self.name, message_text(request), request.draw.ordinal, request.n)
        if request.stream:
            watch.text(reply.text)
        watch.done(reply)
        return reply


def recorded_rate(name: str) -> Rate | None:
    """The list price a recorded model's calls are shown at, or None."""
    return rate(PRICED_AS[name]) if name in PRICED_AS else None


def recorded_reply(name: str, message: str, ordinal: int, n: int = 1) -> Reply:
    """`n` consecutive samples from the `ordinal`-th on, modulo those recorded; raises `NotRecorded`."""
    found = recordings.find(message, name)
    if found is None:
        raise NotRecorded(_missing(name, message), model=f"recorded:{name}")
    samples = found.samples[name]
    taken = [samples[(ordinal + sample) % len(samples)] for sample in range(n)]
    usage = Usage(taken[0].input_tokens, sum(sample.output_tokens for sample in taken))
    return Reply(tuple(sample.text for sample in taken), usage, model=name)


def message_text(request: Request) -> str:
    """All text of a request's messages, as the lookup reads it."""
    return "\n".join(_content(message.content) for message in request.messages)


def _content(content: str | list[dict[str, object]]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content)


def _missing(name: str, message: str) -> str:
    if recordings.question_known(message):
        return f"this question was not recorded for {name!r}; other recorded models have it"
    return (
        "no recorded question occurs in this message: recorded models answer only the questions they were asked "
        "(`fanfold demo` uses them); for any other text, use 'fake:' or a real model"
    )
