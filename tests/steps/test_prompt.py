"""The prompt: what it sends, how it reads the reply, and what it does when the reply does not parse."""

from contextlib import suppress
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from fanfold import OpenAI, Session, prompt, sections, vote
from fanfold.core.records import Message, Reply, Request, Usage, Watch
from fanfold.errors import (
    CallError,
    ConnectError,
    ModelError,
    ParseError,
    StepTimeout,
    TemplateError,
    UsageError,
)
from fanfold.models.prices import FlatRate
from fanfold.testing import FakeModel
from tests.steps.running import Asked, failed, ran


class Report(BaseModel):
    title: str
    score: int


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


# -- what is sent -------------------------------------------------------------------------------------------------


def sent(step: Any, given: Any = "q", **options: Any) -> Request:
    """The one request that a prompt makes."""
    model = Asked(['{"answer": 1}'], **options)
    ran(step, given, model)
    (request,) = model.requests
    return request


def test_a_template_is_the_user_message() -> None:
    """A bare template is one user message, and nothing else is said of the request."""
    request = sent(prompt("Shorten: {input}"), "text")
    assert request.messages == (Message("user", "Shorten: text"),)
    assert (request.temperature, request.max_tokens, request.schema, request.extra_body) == (None, None, None, None)
    assert (request.n, request.stream) == (1, False)


def test_system_messages_context_and_template_stand_in_this_order() -> None:
    """`system`, `messages`, the shared context before the template's text; all are filled but the context."""
    step = prompt(
        "Now: {input}",
        system="You speak {language}.",
        messages=[{"role": "user", "content": "Hi, {input}"}, {"role": "assistant", "content": "Hello"}],
        context="A long text with {braces}.",
    )
    assert [
        (message.role, message.content) for message in sent(step, {"input": "x", "language": "Dutch"}).messages
    ] == [
        ("system", "You speak Dutch."),
        ("user", "Hi, x"),
        ("assistant", "Hello"),
        ("user", "A long text with {braces}.\n\nNow: x"),
    ]


def test_messages_can_stand_alone() -> None:
    """A prompt of messages needs no template; a context follows them as the user's."""
    messages = [{"role": "user", "content": "{input}"}]
    assert [message.content for message in sent(prompt(messages=messages)).messages] == ["q"]
    assert [message.content for message in sent(prompt(messages=messages, context="C")).messages] == ["q", "C"]


def test_images_stay_parts() -> None:
    """Parts are sent as they are given, with the fields in their texts and URLs filled."""
    part = {"type": "image_url", "image_url": {"url": "{picture}", "detail": "low"}}
    step = prompt(messages=[{"role": "user", "content": [{"type": "text", "text": "What is {it}?"}, part]}])
    (message,) = sent(step, {"picture": "data:image/png;base64,AA==", "it": "this"}).messages
    assert message.content == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ]


def test_options_go_into_the_request() -> None:
    """Temperature, ceiling and extra body are sent as they were given."""
    request = sent(prompt("{input}", temperature=0.3, max_tokens=7, extra_body={"seed": 1, "stop": ["{x}"]}))
    assert (request.temperature, request.max_tokens) == (0.3, 7)
    assert request.extra_body == {"seed": 1, "stop": ["{x}"]}


def test_every_record_fills_its_names() -> None:
    """A pydantic input fills the prompt's fields by name."""
    (message,) = sent(prompt("{title} has {score}"), Report(title="T", score=3)).messages
    assert message.content == "T has 3"


# -- schema or instruction ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("returns", [int, float, bool, Literal["a", "b"], Mood, list[str], Report])
def test_a_typed_prompt_says_its_type_once(returns: Any) -> None:
    """A model with structured output gets a schema and the bare prompt; another gets an instruction and no schema."""
    by_schema, in_words = Asked(), Asked(structured=False)
    ran(prompt("{input}", returns=returns), "q", by_schema)
    with suppress(ParseError):  # what it makes up in words is an answer of some types only
        ran(prompt("{input}", returns=returns), "q", in_words)
    assert by_schema.requests[0].schema["type"] == "object"
    assert by_schema.messages[-1].content == "q"
    assert in_words.requests[0].schema is None
    assert in_words.messages[-1].content.startswith("q\n\n")


def test_plain_text_needs_neither() -> None:
    """A prompt for text sends no schema and no instruction, whatever the model can do."""
    for structured in (True, False):
        request = sent(prompt("{input}"), structured=structured)
        assert (request.schema, request.messages[-1].content) == (None, "q")


@pytest.mark.parametrize("structured", [True, False])
def test_structured_overrides_the_model(structured: bool) -> None:
    """`structured=` decides whether the schema is sent, whatever the model says of itself, and the model is told."""
    request = sent(prompt("{input}", returns=int, structured=structured), structured=not structured)
    assert (request.schema is not None) == structured
    assert (request.messages[-1].content == "q") == structured
    assert request.structured is structured


def test_a_type_without_a_strict_schema_is_said_in_words() -> None:
    """An open mapping cannot be a strict schema: even a structured model gets the instruction."""
    model = Asked(['{"a": 1}'])
    assert ran(prompt("{input}", returns=dict[str, int]), "q", model).output == {"a": 1}
    assert model.requests[0].schema is None
    assert model.messages[-1].content.startswith("q\n\n")


def test_the_instruction_ends_the_last_message() -> None:
    """The instruction follows the last message, also where that is parts, and no other message has it."""
    parts = [{"type": "text", "text": "Look"}]
    step = prompt(messages=[{"role": "user", "content": "A"}, {"role": "user", "content": parts}], returns=int)
    model = Asked(["3"], structured=False)
    ran(step, "q", model)
    first, last = model.messages
    assert first.content == "A"
    assert last.content[0] == parts[0]
    assert last.content[1]["type"] == "text"
    assert not last.content[1]["text"].startswith("\n")


# -- reading and asking again -------------------------------------------------------------------------------------


def test_the_reply_is_read_as_the_type_asked_for() -> None:
    """A structured and a chatty reply give the same value."""
    pick = prompt("{input}", returns=Literal["spam", "ham"])
    assert ran(pick, "q", FakeModel(['{"answer": "spam"}'])).output == "spam"
    assert ran(pick, "q", FakeModel(["**Spam**."], structured=False)).output == "spam"
    assert ran(prompt("{input}", returns=Report), "q", FakeModel(['{"title": "T", "score": 3}'])).output == Report(
        title="T", score=3
    )


def test_a_reply_that_does_not_parse_is_asked_for_again() -> None:
    """`retries` times at most; each is a call of its own with a draw of its own, and the first that parses counts."""
    model = Asked(["?", "?", "7"])
    run = ran(prompt("{input}", returns=int, retries=3), "q", model)
    assert run.output == 7
    assert [call.draw.nth for call in run.calls] == [0, 1, 2]
    assert len({request.key() for request in model.requests}) == 1


def test_without_retries_it_is_asked_once() -> None:
    """Retries are off by default, and a text is never asked for twice."""
    error = failed(prompt("{input}", returns=int), ParseError, model=FakeModel(["?"]))
    assert len(error.run.calls) == 1


def test_a_parse_error_carries_the_whole_text() -> None:
    """After the last retry the error carries that reply's text and the run with all of its calls."""
    long = "I would rather not say. " * 50
    error = failed(prompt("{input}", returns=int, retries=2), ParseError, model=FakeModel(["a", "b", long]))
    assert error.text == long
    assert len(error.run.calls) == 3
    assert len(str(error)) < 400


def test_only_parse_errors_are_asked_again() -> None:
    """A call that failed is not repeated by the prompt."""
    model = Asked(lambda _: ConnectError("gone", model="fake:"))
    error = failed(prompt("{input}", returns=int, retries=5), ConnectError, model=model)
    assert len(model.requests) == 1
    assert (error.model, error.place) == ("fake:", "prompt")


# -- models -------------------------------------------------------------------------------------------------------


class Mine:
    """A model that somebody brought: no base class, only what the protocol asks for."""

    label = "mine:own"
    made_up = False
    structured = False
    given_rate = FlatRate(1.0, 2.0)

    async def send(self, request: Request, watch: Watch) -> Reply:
        watch.sent()
        reply = Reply((f"mine: {request.messages[-1].content}",), Usage(1000, 500), model="own")
        watch.done(reply)
        return reply


def test_a_model_object_of_ones_own_serves() -> None:
    """Any object with `send` is a model: for one prompt, or for the session; its price and label are its own."""
    run = ran(prompt("{input}", model=Mine()))
    assert run.output == "mine: q"
    (call,) = run.calls
    assert (call.model, call.made_up, call.cost.usd) == ("mine:own", False, 0.002)
    assert ran(prompt("{input}"), model=Mine()).output == "mine: q"


def test_each_prompt_may_have_its_model() -> None:
    """A prompt's model goes before the session's."""
    other = FakeModel(["other"])
    run = ran(sections({"a": prompt("{input}"), "b": prompt("{input}", model=other)}), model=FakeModel(["session's"]))
    assert run.output == {"a": "session's", "b": "other"}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-4o", "provider:"),
        ("nobody:x", "unknown provider 'nobody'"),
        ("openai:gpt-4o", "no key for openai:gpt-4o: set OPENAI_API_KEY"),
        (object(), "is not a model"),
        (OpenAI(name="x", base_url="ftp://host"), "not a URL"),
    ],
)
def test_a_model_that_cannot_be_is_an_error_before_any_call(model: Any, words: str) -> None:
    """Unknown providers, missing keys and what is no model are named, and nothing is sent."""
    error = failed(prompt("{input}", model=model), ModelError)
    assert words in str(error)
    assert error.run.calls == ()


def test_no_model_at_all_says_what_to_do() -> None:
    """Without any model the error names the three ways to give one, and the fake."""

    async def main() -> None:
        async with Session() as session:
            await prompt("{input}").run("q", session=session)

    from fanfold.testing import run_virtual

    with pytest.raises(ModelError, match=r"(?s)no model: .*Session.*FANFOLD_MODEL.*fake:"):
        run_virtual(main())


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (prompt, "needs a template, or messages="),
        (lambda: prompt(context="C"), "needs a template, or messages="),
        (lambda: prompt("{input}", retries=-1), "retries=-1"),
        (lambda: prompt("{input}", max_tokens=0), "max_tokens=0"),
        (lambda: prompt(3), "a template is text, not int"),
        (lambda: prompt("{input}", system=["x"]), "a template is text, not list"),
        (lambda: prompt(messages=[{"role": "user"}]), "needs a role and a content"),
        (lambda: prompt("{input}", returns=object()), "not supported"),
    ],
)
def test_a_prompt_that_cannot_be_is_refused_when_it_is_made(make: Any, words: str) -> None:
    """Mistakes show where the prompt is written, before any run."""
    with pytest.raises(UsageError) as caught:
        make()
    assert words in str(caught.value)


def test_a_missing_field_is_an_error_before_any_call() -> None:
    """A template that names what its input lacks sends nothing."""
    model = Asked()
    error = failed(prompt("{title}"), TemplateError, {"titel": "x"}, model)
    assert "{title}" in str(error)
    assert "{titel}" in str(error)
    assert model.requests == []


def test_an_error_of_a_call_carries_its_run() -> None:
    """What fails on the wire comes out with the call's record: state, reason, and what it may have cost."""
    error = failed(prompt("{input}", max_tokens=5), CallError, model=FakeModel(lambda _: ConnectError("cut off")))
    (call,) = error.run.calls
    assert (call.state, call.error) == ("error", "ConnectError: cut off")
    assert error.cost == call.cost


def test_a_prompts_timeout_is_for_each_call() -> None:
    """Asked again, a prompt has its timeout again; three calls of a second each fit into 1.5 s a call."""
    run = ran(prompt("{input}", returns=int, retries=2, timeout=1.5), model=FakeModel(["?", "?", "1"], latency=1))
    assert (run.output, round(run.wall, 2)) == (1, 3.0)
    error = failed(prompt("{input}", timeout=0.5), StepTimeout, model=FakeModel(latency=1))
    assert error.seconds == 0.5


def test_a_prompt_is_named_in_places_and_repr() -> None:
    """`name` names it; the repr shows kind and name."""
    step = prompt("{input}", name="shorten")
    assert repr(step) == "<prompt 'shorten'>"
    assert ran(step).calls[0].place == "shorten"


def test_one_prompt_serves_many_runs() -> None:
    """A prompt keeps nothing between runs: a vote of it and a run of it see the same prompt."""
    step = prompt("{input}", returns=Literal["a", "b"])
    assert ran(vote(step, n=3), model=FakeModel(["a"])).output == "a"
    assert ran(step, model=FakeModel(["b"])).output == "b"


@pytest.mark.parametrize("given", ["\ud800", ["\ud800"], {"text": "\ud800"}, {"mail": {"body": "\ud800"}}], ids=repr)
def test_what_is_no_text_is_refused_with_a_word_on_how_to_read_it(given: Any) -> None:
    """A lone surrogate, as a careless decoding leaves it, is a `UsageError` and not a bare encoding error."""
    assert "errors='replace'" in str(failed(prompt("{input}"), UsageError, given))


@pytest.mark.parametrize(
    "given",
    ["x", [("seed", 1)], {1: 2}, {"stop": object()}, {"bias": float("nan")}, {"stop": "\ud800"}],
    ids=["text", "pairs", "key", "object", "nan", "no text"],
)
def test_an_extra_body_that_no_request_can_hold_is_refused_where_it_is_given(given: Any) -> None:
    """Not by the first call, in the words of an encoder; and no number becomes null."""
    with pytest.raises(UsageError, match="extra_body="):
        prompt("{input}", extra_body=given)
