"""What is LangChain's own: its cache, its fakes, its fields, its ways to a schema."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnablePassthrough
from pydantic import Field

from fanfold import Session, prompt, vote
from fanfold.core.records import Usage
from fanfold.errors import CallError, ModelError, UsageError
from fanfold.models.langchain import LangChainModel
from fanfold.testing import no_leaks, run_virtual


class Chat(BaseChatModel):
    """A chat model of somebody's own, which remembers how it was called."""

    answer: Any = "hello"
    model: str = "own-1"
    max_retries: int = 6
    calls: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "own"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise AssertionError("the asynchronous way is there")

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        self.calls.append((self, messages, kwargs))
        if isinstance(self.answer, Exception):
            raise self.answer
        said = self.answer if isinstance(self.answer, AIMessage) else AIMessage(self.answer)
        return ChatResult(generations=[ChatGeneration(message=said)])


class Warm(Chat):
    """With fields for what a prompt may set, under the names of some partners."""

    temperature: float = 0.7
    num_predict: int = 128


class Streaming(Chat):
    """One that streams; usage comes in two parts, as some vendors tell it."""

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs) -> AsyncIterator[Any]:
        usage: Any = {"input_tokens": 5, "output_tokens": 0, "total_tokens": 5}
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage))
        for piece in ("one ", "", "two"):
            yield ChatGenerationChunk(message=AIMessageChunk(piece))
        usage = {"input_tokens": 0, "output_tokens": 2, "total_tokens": 2}
        end = {"stop_reason": "max_tokens"}
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage, response_metadata=end))


class WithTools(Chat):
    """One that is held to a schema by a tool, as LangChain does where a model has nothing better."""

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=tools)


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


def test_langchains_cache_is_not_asked():
    """With LangChain's cache on, five votes are still five samples."""
    model = Chat(calls=[])
    set_llm_cache(InMemoryCache())
    try:
        ran(model, vote(prompt("{input}"), n=5, stop=None))
    finally:
        set_llm_cache(None)
    assert len(model.calls) == 5


def test_the_users_object_stays_as_it_was():
    """Retries and cache are off in a copy; the object the user holds keeps its own."""
    model = Warm(calls=[], cache=True)
    ran(model, prompt("{input}", temperature=0.1))
    ((called, _, _),) = model.calls
    assert (called.max_retries, called.cache, called.temperature) == (0, False, 0.1)
    assert (model.max_retries, model.cache, model.temperature) == (6, True, 0.7)


def test_settings_go_into_the_models_own_fields():
    """The ceiling has another name in many of them."""
    model = Warm(calls=[])
    ran(model, prompt("{input}", temperature=0.0, max_tokens=9))
    ((called, _, options),) = model.calls
    assert (called.temperature, called.num_predict, options) == (0.0, 9, {})


def test_settings_without_a_field_go_into_the_call():
    """So does an extra body, whose word counts more."""
    model = Chat(calls=[])
    ran(model, prompt("{input}", temperature=0.2, max_tokens=9, extra_body={"top_p": 0.5, "max_tokens": 3}))
    ((_, _, options),) = model.calls
    assert options == {"temperature": 0.2, "max_tokens": 3, "top_p": 0.5}


def test_one_that_cannot_stream_comes_in_one_piece():
    """`text()` still gives the text, and the run its end."""
    pieces, run = pieces_of(Chat(answer="all of it"))
    assert pieces == ["all of it"]
    assert run.output == "all of it"


def test_a_streams_parts_add_up():
    """Empty pieces are none; usage told in two parts is one; the reason to stop is in our words."""
    pieces, run = pieces_of(Streaming(model="own-2"))
    assert pieces == ["one ", "two"]
    assert run.usage == Usage(5, 2)
    assert run.calls[0].model == "streaming:own-2"


def test_usage_that_is_not_told_is_not_known():
    """Then the cost is unknown, and never zero."""
    run = ran(LangChainModel(Chat(), price=(1.0, 2.0)))
    assert run.calls[0].usage is None
    assert run.cost.usd is None


def test_label_price_and_structured_may_be_given():
    """Where LangChain's own name leads to no price."""
    usage: Any = {
        "input_tokens": 10,
        "output_tokens": 4,
        "total_tokens": 14,
        "input_token_details": {"cache_read": 6},
        "output_token_details": {"reasoning": 3},
    }
    model = LangChainModel(
        Chat(answer=AIMessage("x", usage_metadata=usage)),
        label="openai:gpt-4o-mini",
        structured=False,
        price=(1.0, 2.0),
    )
    run = ran(model)
    assert run.calls[0].model == "openai:gpt-4o-mini"
    assert run.usage == Usage(10, 4, 6, 3)
    assert run.cost.usd == pytest.approx(18 / 1e6)
    assert repr(model) == "LangChainModel('openai:gpt-4o-mini')"


@pytest.mark.parametrize(
    "told",
    [
        {"cache_creation": 5, "ephemeral_1h_input_tokens": 2},
        {"cache_creation": 0, "ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2},  # as for Claude
    ],
)
def test_what_was_written_to_a_cache_is_told(told: Any):
    """In one number, or by how long it is kept."""
    usage: Any = {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14, "input_token_details": told}
    run = ran(LangChainModel(Chat(answer=AIMessage("x", usage_metadata=usage))))
    assert run.usage == Usage(10, 4, cache_write_tokens=5, cache_write_1h_tokens=2)


def test_a_fake_is_made_up(caplog):
    """Answers of LangChain's own fakes say what they are, and no retries are missed in one."""
    run = ran(FakeListChatModel(responses=["yes"]))
    assert run.output == "yes"
    assert run.calls[0].made_up
    assert not caplog.records


def test_one_without_max_retries_is_named(caplog):
    """Where nothing says whether a model tries again by itself, the log says so, once."""

    class Silent(BaseChatModel):
        _llm_type = "silent"

        def _generate(self, messages, **kwargs):
            raise AssertionError

        async def _agenerate(self, messages, **kwargs):
            return ChatResult(generations=[ChatGeneration(message=AIMessage("x"))])

    with caplog.at_level(logging.WARNING, "fanfold"):
        ran(Silent(), vote(prompt("{input}"), n=3, stop=None))
    (record,) = caplog.records
    assert "Silent has no max_retries" in record.message


def test_held_to_a_schema_by_a_tool_the_arguments_are_the_reply():
    """A model that knows schemas only as tools gives a typed answer all the same."""
    call: Any = {"name": "answer", "args": {"answer": ["a", "b"]}, "id": "1"}
    model = WithTools(calls=[], answer=AIMessage("", tool_calls=[call]), profile={"structured_output": True})
    run = ran(model, prompt("{input}", returns=list[str]))
    assert run.output == ["a", "b"]
    ((_, _, options),) = model.calls
    (tool,) = options["tools"]
    assert "answer" in json.dumps(tool if isinstance(tool, dict) else str(tool))


def test_one_that_cannot_be_held_to_a_schema_says_what_to_do():
    """Asked to send a schema that the model has no way to take, the error names the way out."""
    with pytest.raises(UsageError, match="structured=False"):
        ran(Chat(), prompt("{input}", returns=bool, structured=True))


@pytest.mark.parametrize("role", ["narrator", "tool", "function"])
def test_an_unknown_message_is_a_usage_error(role):
    """Nothing is sent, and nothing can have been billed; so is one that lacks what LangChain wants beside it."""
    odd = prompt(messages=[{"role": role, "content": "{input}"}])
    with pytest.raises(UsageError, match="no such message") as caught:
        ran(Chat(), odd)
    assert caught.value.run.calls[0].state == "error"
    assert caught.value.run.cost.usd == 0


def test_other_errors_are_call_errors_with_their_cause():
    """What nobody can classify is not retried, and keeps the error it came from."""
    with pytest.raises(CallError, match=r"langchain:own-1: KeyError: 'usage'") as caught:
        ran(Chat(answer=KeyError("usage")))
    assert type(caught.value) is CallError
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, KeyError)


def test_another_runnable_is_no_model():
    """A chain is not a chat model; the error says what is."""
    with pytest.raises(ModelError, match="is not a model"):
        ran(RunnablePassthrough())


def test_an_odd_way_to_a_schema_still_gives_its_text():
    """Where `with_structured_output` is no chain of model and parser, what it answers is read as it is."""

    class Odd(Chat):
        def with_structured_output(self, schema, **options):
            return self

    assert ran(Odd(answer='{"answer": true}'), prompt("{input}", returns=bool, structured=True)).output is True
