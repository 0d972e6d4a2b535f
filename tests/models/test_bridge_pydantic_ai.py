"""What is pydantic-ai's own: its test models, its wrappers, its errors, its messages."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai.exceptions import ModelHTTPError, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    UserPromptPart,
)
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.usage import RequestUsage

from fanfold import Session, prompt
from fanfold.core.clock import sleep
from fanfold.core.records import Usage
from fanfold.errors import CallError, ReplyError, StatusError, StepTimeout, StreamCut, UsageError
from fanfold.models.pydantic_ai import PydanticAIModel
from fanfold.testing import no_leaks, run_virtual


class Heard:
    """A model of pydantic-ai that answers as told and remembers what it was asked."""

    def __init__(self, answer: Any = "hello", seconds: float = 0.0) -> None:
        self.answer = answer
        self.seconds = seconds
        self.messages: list[Any] = []
        self.settings: list[Any] = []
        self.model = FunctionModel(self.say, stream_function=self.stream)

    async def say(self, messages: list[Any], info: AgentInfo) -> ModelResponse:
        self.messages.append(messages)
        self.settings.append(info.model_settings)
        await sleep(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, ModelResponse) else ModelResponse([TextPart(self.answer)])

    async def stream(self, messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        yield {0: DeltaThinkingPart(content="hm")}
        for piece in ("one ", "two"):
            await sleep(self.seconds)
            yield piece
        if isinstance(self.answer, Exception):
            raise self.answer


def ran(model: Any, step: Any = None, given: Any = "hi") -> Any:
    """Run a step on the model in virtual time."""

    async def main():
        async with Session(model=model) as session, no_leaks(session):
            return await (step or prompt("{input}")).run(given)

    return run_virtual(main())


def pieces_of(model: Any) -> tuple[list[str], Any]:
    """The pieces of a streamed call, and its run."""

    async def main():
        async with Session(model=model), prompt("{input}").text("hi") as text:
            return [piece async for piece in text], text.run

    return run_virtual(main())


def test_its_test_models_are_made_up():
    """Answers of a FunctionModel say what they are, and cost nothing that one could know."""
    run = ran(Heard().model)
    assert run.output == "hello"
    assert run.calls[0].made_up
    assert run.calls[0].model.startswith("function:")


def test_one_attempt_is_asked_for_and_settings_go_along():
    """max_retries=0 is set for every request, beside what the prompt says."""
    heard = Heard()
    ran(heard.model, prompt("{input}", temperature=0.5, max_tokens=3, extra_body={"seed": 1}))
    assert heard.settings == [{"max_retries": 0, "temperature": 0.5, "max_tokens": 3, "extra_body": {"seed": 1}}]


def test_messages_become_parts():
    """Roles, order, images by address and by content."""
    heard = Heard()
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
        {"role": "developer", "content": "three"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "four {input}"},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                {"type": "image_url", "image_url": "data:image/png;base64,AAEC"},
            ],
        },
    ]
    ran(heard.model, prompt(system="zero", messages=messages))
    first, said, last = heard.messages[0]
    assert isinstance(first, ModelRequest)
    assert [(type(part), part.content) for part in first.parts] == [(SystemPromptPart, "zero"), (UserPromptPart, "one")]
    assert isinstance(said, ModelResponse)
    assert [part.content for part in said.parts] == ["two"]
    system, user = last.parts
    assert (type(system), system.content) == (SystemPromptPart, "three")
    text, address, image = user.content
    assert text == "four hi"
    assert isinstance(address, ImageUrl)
    assert address.url == "https://example.org/a.png"
    assert isinstance(image, BinaryContent)
    assert (image.data, image.media_type) == (b"\x00\x01\x02", "image/png")


def test_a_history_may_end_with_the_assistant():
    """What stands last is the last, whoever said it."""
    heard = Heard()
    ran(heard.model, prompt(messages=[{"role": "user", "content": "{input}"}, {"role": "assistant", "content": "I"}]))
    assert [type(message) for message in heard.messages[0]] == [ModelRequest, ModelResponse]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "tool", "content": "x"}, "role 'tool'"),
        ({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}, "only text"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "type 'input_audio'"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "type 'image_url'"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "data:text,x"}]}, "data URL"),
        ({"role": "user", "content": [{"type": "text", "content": "x"}]}, "a part of text reads"),
        ({"role": "user", "content": ["x"]}, "a part of text reads"),
        ({"role": "system", "content": [{"type": "text"}]}, "only text"),
    ],
)
def test_what_it_cannot_take_is_refused_before_it_is_sent(message, said):
    """The error names it, and nothing can have been billed."""
    with pytest.raises(UsageError, match=said) as caught:
        ran(Heard().model, prompt(messages=[message]))
    assert caught.value.run.cost.usd == 0


def test_thinking_is_no_text():
    """Neither in a whole reply nor among the pieces of a streamed one."""
    usage = RequestUsage(input_tokens=7, output_tokens=5, cache_read_tokens=4, output_reasoning_tokens=3)
    answer = ModelResponse([ThinkingPart("hm"), TextPart("so "), TextPart("it is")], usage=usage)
    run = ran(Heard(answer).model)
    assert run.output == "so it is"
    assert run.usage == Usage(7, 5, 4, 3)
    pieces, streamed = pieces_of(Heard().model)
    assert pieces == ["one ", "two"]
    assert streamed.output == "one two"


def test_what_was_written_to_a_cache_is_told():
    """It costs more than other input."""
    usage = RequestUsage(input_tokens=9, output_tokens=1, cache_write_tokens=5, cache_write_1h_tokens=2)
    run = ran(Heard(ModelResponse([TextPart("x")], usage=usage)).model)
    assert run.usage == Usage(9, 1, cache_write_tokens=5, cache_write_1h_tokens=2)


def test_a_timeout_cancels_it():
    """Our timeout is over it, as over every model; nothing of it goes on."""
    with pytest.raises(StepTimeout):
        ran(Heard(seconds=5.0).model, prompt("{input}", timeout=1.0))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UserError("no such setting"), UsageError),
        (UnexpectedModelBehavior("an empty reply"), ReplyError),
        (ModelHTTPError(503, "m"), StatusError),
        (ZeroDivisionError("a bug"), CallError),
    ],
)
def test_its_errors_have_their_counterparts(error, kind):
    """A mistake of the program, a reply that is none, a status, and all the rest."""
    with pytest.raises(kind) as caught:
        ran(Heard(error).model)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


def test_after_text_every_error_is_a_cut():
    """Also one that would have been tried again without it."""
    with pytest.raises(StreamCut) as caught:
        pieces_of(Heard(UnexpectedModelBehavior("cut")).model)
    assert caught.value.text == "one two"


def test_a_fallback_of_theirs_is_one_model():
    """It stands for several, so it promises no schema, and asks each of them once."""
    broken, sound = Heard(ModelHTTPError(500, "m")), Heard("sound")
    model = PydanticAIModel(FallbackModel(broken.model, sound.model))
    assert not model.structured
    assert ran(model).output == "sound"
    assert [heard.settings for heard in (broken, sound)] == [[{"max_retries": 0}]] * 2


def test_retries_that_cannot_be_switched_off_are_named(caplog):
    """A model class that does not listen is not asked in vain, and the log says which it is, through its wrapper."""

    class Deaf(FunctionModel):
        unsupported_settings = frozenset({"max_retries"})

    heard = Heard()
    with caplog.at_level(logging.WARNING, "fanfold"):
        ran(WrapperModel(Deaf(heard.say)))
    (record,) = caplog.records
    assert "Deaf" in record.message
    assert not heard.settings[0]


def test_label_price_and_structured_may_be_given():
    """Where its own name leads to no price."""
    answer = ModelResponse([TextPart("x")], usage=RequestUsage(input_tokens=10, output_tokens=5))
    model = PydanticAIModel(Heard(answer).model, label="openai:gpt-4o", structured=True, price=(1.0, 2.0))
    run = ran(model)
    assert (run.calls[0].model, model.structured) == ("openai:gpt-4o", True)
    assert run.cost.usd == pytest.approx(20 / 1e6)


class CutOff(WrapperModel):
    """One whose stream ends before its terminal event, as OpenAI's responses do, and says so in its state."""

    @contextlib.asynccontextmanager
    async def request_stream(self, *given: Any, **more: Any) -> AsyncIterator[Any]:
        async with super().request_stream(*given, **more) as stream:
            stream.state = "incomplete"
            yield stream


def test_a_stream_that_knows_that_it_is_not_whole_is_a_cut():
    """No short reply comes of it, and its text is kept."""
    with pytest.raises(StreamCut) as caught:
        pieces_of(CutOff(Heard().model))
    assert caught.value.text == "one two"
