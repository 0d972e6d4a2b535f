"""Calls that go well: what fanfold's own wire sends, and what becomes of the reply."""

import asyncio
import enum
import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import pydantic
import pytest

from fanfold import OpenAI, Session, prompt, sample, vote
from fanfold.core.records import Cost, Usage
from fanfold.errors import ModelError, NotRecorded, ParseError, StatusError
from fanfold.models.endpoints import endpoint
from fanfold.models.recordings import recordings
from fanfold.testing import FakeModel, ModelServer, no_leaks
from fanfold.testing.server import Seen
from tests.wire import raw

pytestmark = pytest.mark.usefixtures("either_transport")

T = TypeVar("T")

QUESTION = recordings("samples")[0]
SAMPLES = QUESTION.samples["gpt-35-turbo"]
ASK = prompt("{input}")


def with_server(
    work: Callable[[Session, ModelServer], Awaitable[T]], answers: Any = "fake", name: str = "m", **options: Any
) -> T:
    """Run `work` with a session whose model is on a new server; nothing may be left behind."""

    async def main() -> T:
        async with (
            ModelServer(answers) as server,
            Session(model=OpenAI(name=name, base_url=server.url, **options)) as session,
            no_leaks(session),
        ):
            return await work(session, server)

    return asyncio.run(main())


def sent(step: Any, given: Any = "hello", **options: Any) -> Seen:
    """What the server received of one call of `step`."""

    async def work(session, server):
        await step.run(given, session=session)
        (seen,) = server.seen
        return seen

    return with_server(work, **options)


# -- replies ---------------------------------------------------------------------------------------------------


def test_a_plain_call_gives_the_text_its_usage_and_its_price():
    """The recorded text arrives whole, its tokens are those that the server told, its cost the list price of them."""

    async def work(session, _server):
        return await ASK.run(QUESTION.question, session=session)

    run = with_server(work, "recorded", "gpt-35-turbo", price=(0.5, 1.5))
    first = SAMPLES[0]
    assert run.output == first.text
    assert run.usage == Usage(first.input_tokens, first.output_tokens)
    assert run.cost.usd == pytest.approx((first.input_tokens * 0.5 + first.output_tokens * 1.5) / 1e6)
    (call,) = run.calls
    assert (call.state, call.model, call.made_up) == ("ok", "openai:gpt-35-turbo", False)
    assert call.first is None


def test_a_streamed_call_gives_the_same_text_in_pieces_with_the_same_usage():
    """`text()` brings the recorded text in many pieces, and its run knows usage and first token."""

    async def work(session, _server):
        async with ASK.text(QUESTION.question, session=session) as text:
            pieces = [piece async for piece in text]
        return pieces, text.run

    pieces, run = with_server(work, "recorded", "gpt-35-turbo")
    assert "".join(pieces) == run.output == SAMPLES[0].text
    assert run.usage == Usage(SAMPLES[0].input_tokens, SAMPLES[0].output_tokens)
    assert run.calls[0].first is not None


def test_text_streams_while_it_is_written():
    """The first piece is there long before the last one is."""

    async def main():
        async with (
            ModelServer(["one two three four five"], between_tokens=0.03) as server,
            Session(model=OpenAI(name="m", base_url=server.url)) as session,
            ASK.text("x", session=session) as text,
        ):
            return [asyncio.get_running_loop().time() async for _ in text]

    times = asyncio.run(main())
    assert len(times) == 5
    assert times[-1] - times[0] >= 0.1


def test_a_known_model_has_its_list_price_and_an_unknown_one_has_none():
    """Behind any base URL the price follows provider:model; an unknown price is unknown, never zero."""

    async def work(session, _server):
        return await ASK.run("hello", session=session)

    known, unknown = with_server(work, name="gpt-4o-mini"), with_server(work, name="no-such-model")
    assert known.cost.usd is not None
    assert known.cost.usd > 0
    assert unknown.cost == Cost(0.0, None)
    assert unknown.usage.total_tokens > 0


def test_votes_of_one_model_get_one_recorded_sample_each():
    """Five voters with one prompt are five samples, whatever order they come in."""

    async def work(session, server):
        run = await vote(ASK, n=5, stop=None).run(QUESTION.question, session=session)
        return [ballot.text for ballot in run.detail.ballots], sorted(seen.draw for seen in server.seen)

    texts, draws = with_server(work, "recorded", "gpt-35-turbo")
    assert texts == [sample.text for sample in SAMPLES[:5]]
    assert draws == [f"vote/{voter}/0/{voter}" for voter in range(5)]


def test_asking_again_draws_further_samples():
    """The draws of a vote inside a sample do not overlap: six different recorded answers."""

    async def work(session, server):
        await sample(vote(ASK, n=2, stop=None), n=3).run(QUESTION.question, session=session)
        return sorted(seen.ordinal for seen in server.seen)

    assert with_server(work, "recorded", "gpt-35-turbo") == [0, 1, 2, 3, 4, 5]


def test_what_was_never_recorded_says_so():
    """A request without a recording is a NotRecorded with the server's explanation, and costs nothing."""

    async def work(session, _server):
        with pytest.raises(NotRecorded, match="only the questions they were asked") as caught:
            await ASK.run("what was never asked", session=session)
        return caught.value

    error = with_server(work, "recorded", "gpt-35-turbo")
    assert (error.status, error.retryable) == (404, False)
    assert error.cost == Cost()


# -- typed answers ----------------------------------------------------------------------------------------------


class Verdict(pydantic.BaseModel):
    """A verdict with its reason."""

    label: Literal["spam", "ham"]
    sure: bool
    reason: str


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize("returns", [bool, int, float, Literal["spam", "ham"], Colour, list[str], Verdict])
def test_typed_answers_come_by_schema_where_the_model_has_it(returns):
    """A model with structured output is sent the type's JSON Schema, and its answer is read as the type."""

    async def work(session, server):
        return await prompt("{input}", returns=returns)("hello"), server.seen[0].body

    value, body = with_server(work, structured=True)
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["messages"][0]["content"] == "hello"
    pydantic.TypeAdapter(returns).validate_python(value, strict=True)


@pytest.mark.parametrize(
    ("returns", "said", "value"),
    [
        (bool, "YES, because it is.", True),
        (Literal["spam", "ham"], "**spam**.", "spam"),
        (Colour, "Answer: Blue", Colour.BLUE),
        (int, "It is 42.", 42),
        (
            Verdict,
            '```json\n{"label": "ham", "sure": true, "reason": "fine"}\n```',
            Verdict.model_construct(label="ham", sure=True, reason="fine"),
        ),
    ],
)
def test_typed_answers_come_by_instruction_where_the_model_has_no_schema(returns, said, value):
    """Without structured output the prompt's end says what to answer, no schema is sent, and words are read."""

    async def work(session, server):
        return await prompt("{input}", returns=returns)("hello"), server.seen[0].body

    read, body = with_server(work, [said], structured=False)
    assert read == value
    assert "response_format" not in body
    assert body["messages"][0]["content"].startswith("hello\n\n")


def test_an_answer_of_another_type_is_a_parse_error_that_keeps_the_text():
    """A reply that is no answer raises ParseError with the whole text."""

    async def work(session, _server):
        with pytest.raises(ParseError) as caught:
            await prompt("{input}", returns=int).run("hello", session=session)
        return caught.value

    assert with_server(work, ["I would rather not."]).text == "I would rather not."


@pytest.mark.parametrize(
    ("provider", "name", "options", "structured"),
    [
        ("openai", "gpt-4o-mini", {}, False),  # an unknown server behind a base URL might refuse a schema
        ("openai", "gpt-4o-mini", {"structured": True}, True),
        ("ollama", "llama3.2", {}, True),
        ("ollama", "llama3.2", {"structured": False}, False),
        ("groq", "llama-3.1-8b", {}, False),
    ],
)
def test_a_schema_is_sent_where_it_is_known_to_be_taken(provider, name, options, structured):
    """The schema goes to servers that take it, or where the user says so; elsewhere the instruction has to do."""
    seen = sent(prompt("{input}", returns=bool), name=name, provider=provider, answers=["yes"], **options)
    assert ("response_format" in seen.body) == structured
    assert (seen.body["messages"][0]["content"] == "hello") == structured


@pytest.mark.parametrize(
    ("name", "structured"),
    [
        ("gpt-4o", True),
        ("gpt-4o-2024-05-13", False),
        ("gpt-4o-2024-08-06", True),
        ("gpt-4.1-mini", True),
        ("gpt-4-turbo", False),
        ("gpt-4", False),
        ("gpt-3.5-turbo", False),
        ("o1-mini", False),
        ("o1", True),
    ],
)
def test_a_model_from_before_structured_output_is_asked_in_words(name, structured):
    """OpenAI has it since gpt-4o of August 2024 (OpenAI, "Structured outputs")."""
    assert OpenAI(name).answers_schema == structured


@pytest.mark.parametrize(
    ("variable", "name", "structured"),
    [
        ("OPENAI_BASE_URL", "openai:m", False),
        ("OPENAI_BASE_URL", "mistral:m", True),
        ("OLLAMA_BASE_URL", "ollama:m", True),
        ("AZURE_OPENAI_ENDPOINT", "azure:m", True),
    ],
)
def test_a_base_url_of_the_environment_is_as_unknown_as_a_given_one(monkeypatch, variable, name, structured):
    """What stands behind OPENAI_BASE_URL may be anybody's; what else is named so is the provider itself."""
    provider, _, name = name.partition(":")
    assert OpenAI(name=name, provider=provider).answers_schema
    monkeypatch.setenv(variable, "https://gate.example/v1")
    assert OpenAI(name=name, provider=provider).answers_schema == structured


def test_a_prompt_may_say_that_it_wants_no_schema():
    """`prompt(structured=False)` wins over the model's own."""
    seen = sent(prompt("{input}", returns=bool, structured=False), answers=["yes"], structured=True)
    assert "response_format" not in seen.body


# -- what is sent ------------------------------------------------------------------------------------------------


def test_a_bare_prompt_sends_nothing_but_model_and_messages():
    """What was not asked for is not in the request."""
    seen = sent(ASK)
    assert seen.body == {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.headers["Content-Type"] == "application/json"
    assert "User-Agent" not in seen.headers
    assert "Authorization" not in seen.headers


def test_options_are_sent_under_their_names():
    """Temperature, ceiling, system message and extra body all arrive; the extra body has the last word."""
    step = prompt(
        "{input}",
        system="Be brief.",
        temperature=0.2,
        max_tokens=50,
        extra_body={"top_k": 5, "reasoning": {"effort": "low"}, "temperature": 0.3},
    )
    assert sent(step).body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
        "temperature": 0.3,
        "max_tokens": 50,
        "top_k": 5,
        "reasoning": {"effort": "low"},
    }


@pytest.mark.parametrize(
    ("provider", "name", "field"),
    [
        ("openai", "gpt-4o-mini", "max_tokens"),
        ("openai", "gpt-5-nano", "max_completion_tokens"),
        ("openai", "o1", "max_completion_tokens"),
        ("openai", "o3-mini", "max_completion_tokens"),
        ("openai", "o4-mini", "max_completion_tokens"),
        ("openai", "other-model", "max_tokens"),
        ("ollama", "gpt-5-lookalike", "max_tokens"),
    ],
)
def test_the_ceiling_has_the_name_that_the_model_wants(provider, name, field):
    """OpenAI's newer models take max_completion_tokens and refuse max_tokens."""
    body = sent(prompt("{input}", max_tokens=9), provider=provider, name=name).body
    assert {key: value for key, value in body.items() if key.startswith("max")} == {field: 9}


def test_the_ceilings_name_can_be_given():
    """`max_tokens_field` says how an unknown server calls it."""
    body = sent(prompt("{input}", max_tokens=9), max_tokens_field="max_output_tokens").body
    assert body["max_output_tokens"] == 9


def test_images_in_messages_reach_the_server():
    """A message of parts arrives as it was written, its texts filled in."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
    parts = [{"type": "text", "text": "What is in this {kind}?"}, image]
    step = prompt(messages=[{"role": "user", "content": parts}])
    assert sent(step, {"kind": "picture"}).body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "What is in this picture?"}, image]}
    ]


def test_a_conversation_stands_between_system_and_prompt():
    """`messages` come after the system message and before the template's."""
    before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    body = sent(prompt("{input}", system="s", messages=before, context="long text")).body
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][-1]["content"] == "long text\n\nhello"


def test_any_text_arrives_as_it_is():
    """Quotes, line ends, braces, other scripts and control characters survive the way to the server."""
    text = 'a "quoted" {brace}\r\n\t\\ \x00\x1f 東京 🐙 \u2028 </script>'
    assert sent(ASK, text).body["messages"][0]["content"] == text


def test_own_headers_and_query_are_sent():
    """`headers` and `query` of a model go along with every call."""
    seen = sent(ASK, headers={"X-Team": "blue"}, query={"tier": "a b"}, api_key="given-key")
    assert (seen.headers["X-Team"], seen.query["tier"]) == ("blue", "a b")
    assert seen.headers["Authorization"] == "Bearer given-key"


def test_a_streamed_call_asks_for_usage():
    """A stream is asked for with its usage, or the cost would not be known."""

    async def work(session, server):
        async with ASK.text("hello", session=session) as text:
            assert [piece async for piece in text]
        return server.seen[0].body

    body = with_server(work)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


# -- Azure and other providers ------------------------------------------------------------------------------------


def azure(monkeypatch: pytest.MonkeyPatch, model: Any, path: str = "", **environment: str) -> Seen:
    """What an Azure endpoint at this machine receives."""

    async def main():
        async with ModelServer(["hello"]) as server:
            monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.origin + path)
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            async with Session(model=model) as session:
                await ASK.run("hi", session=session)
            return server.seen[0]

    return asyncio.run(main())


def test_azure_gets_its_path_version_and_key_header(monkeypatch):
    """`azure:deployment` goes to the endpoint of the environment, with api-version and the api-key header."""
    seen = azure(monkeypatch, "azure:my deploy/ment", AZURE_OPENAI_API_KEY="azure-key", OPENAI_API_KEY="other-key")
    assert seen.url.raw_path == "/openai/deployments/my%20deploy%2Fment/chat/completions"
    assert seen.query == {"api-version": "2024-10-21"}
    assert seen.headers["api-key"] == "azure-key"
    assert "Authorization" not in seen.headers
    assert "other-key" not in str(seen.headers)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/openai",
        "/openai/",
        "/openai/deployments/m",
        "/openai/deployments/m/",
        "/openai/deployments/m/chat/completions",
    ],
)
def test_azures_endpoint_is_taken_with_its_path_and_without(monkeypatch, path):
    """Written with /openai, or as the deployment's own address, that is not asked for twice."""
    seen = azure(monkeypatch, "azure:m", path, AZURE_OPENAI_API_KEY="k")
    assert seen.url.raw_path == "/openai/deployments/m/chat/completions"


def test_the_address_of_another_deployment_is_refused(monkeypatch):
    """Else one of the two would be asked, and the other's name and price be in the record."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://host/openai/deployments/my%20deploy")
    with pytest.raises(ModelError, match="that of the deployment 'my deploy', and the model's name is 'm'"):
        endpoint("azure", "m", api_key="k")
    assert endpoint("azure", "my deploy", api_key="k").url.startswith(
        "https://host/openai/deployments/my%20deploy/chat/completions?"
    )


def test_an_empty_variable_says_nothing(monkeypatch):
    """A version or a base URL that is set to nothing, as in a file of defaults, is as good as not set."""
    assert azure(monkeypatch, "azure:m", AZURE_OPENAI_API_KEY="k", OPENAI_API_VERSION="").query == {
        "api-version": "2024-10-21"
    }
    monkeypatch.setenv("OPENAI_BASE_URL", " ")
    assert endpoint("openai", "m", api_key="k").url == "https://api.openai.com/v1/chat/completions"


def test_azures_version_can_be_chosen(monkeypatch):
    """The environment's OPENAI_API_VERSION is taken, and a version in `query` wins over it."""
    chosen = {"OPENAI_API_VERSION": "2025-01-01", "AZURE_OPENAI_API_KEY": "azure-key"}
    assert azure(monkeypatch, "azure:m", **chosen).query == {"api-version": "2025-01-01"}
    model = OpenAI(name="m", provider="azure", query={"api-version": "preview"})
    assert azure(monkeypatch, model, **chosen).query == {"api-version": "preview"}


def test_azures_versionless_path_is_left_as_it_is(monkeypatch):
    """An endpoint that ends in /openai/v1 speaks the plain dialect, without deployment and version."""

    async def main():
        async with (
            ModelServer(["hello"]) as server,
            Session(model="azure:m", api_key="k", base_url=f"{server.origin}/openai/v1") as s,
        ):
            with pytest.raises(StatusError, match="nothing is at '/openai/v1/chat/completions'"):
                await ASK.run("hi", session=s)
            return server.seen[0]

    assert asyncio.run(main()).query == {}


def test_azure_without_an_endpoint_says_what_to_set():
    """The error names the variable and the option."""

    async def main():
        async with Session(model="azure:m") as session:
            with pytest.raises(ModelError, match="set AZURE_OPENAI_ENDPOINT or give base_url="):
                await ASK.run("hi", session=session)

    asyncio.run(main())


def test_a_local_server_is_found_where_the_environment_says(monkeypatch):
    """`ollama:name` goes to OLLAMA_BASE_URL, with no key at all."""

    async def main():
        async with ModelServer("fake") as server, Session() as session:
            monkeypatch.setenv("OLLAMA_BASE_URL", server.url)
            run = await prompt("{input}", model="ollama:llama3.2").run("hi", session=session)
            return run, server.seen[0]

    run, seen = asyncio.run(main())
    assert run.output.startswith("[made up]")
    assert seen.model == "llama3.2"
    assert "Authorization" not in seen.headers


def test_one_session_speaks_to_several_providers():
    """`providers` gives each its own key and URL; a prompt's model chooses."""

    async def main():
        async with ModelServer("fake") as one, ModelServer("fake") as two:
            places = {
                "groq": {"base_url": one.url, "api_key": "key-one"},
                "mistral": {"base_url": two.url, "api_key": "key-two"},
            }
            async with Session(providers=places) as session:
                await prompt("{input}", model="groq:a").run("hi", session=session)
                await prompt("{input}", model="mistral:b").run("hi", session=session)
            return [(seen.model, seen.headers["Authorization"]) for seen in [*one.seen, *two.seen]]

    assert asyncio.run(main()) == [("a", "Bearer key-one"), ("b", "Bearer key-two")]


def test_a_proxy_in_the_environment_hears_nothing_of_what_is_meant_for_this_machine(monkeypatch):
    """Loopback is reached directly, whatever HTTP_PROXY says: prompts and keys stay on the machine."""

    async def main():
        async with ModelServer("fake") as proxy, ModelServer("fake") as server:
            monkeypatch.setenv("http_proxy", proxy.origin)
            async with Session(model=OpenAI(name="m", base_url=server.url)) as session:
                await ASK.run("hi", session=session)
            return len(proxy.seen), len(server.seen)

    assert asyncio.run(main()) == (0, 1)


def test_made_up_answers_are_marked_over_http_too():
    """A server that says its answers are made up marks the run, plain and streamed; recorded answers do not."""

    async def work(session, _server):
        plain = await ASK.run("hi", session=session)
        async with ASK.text("hi", session=session) as text:
            streamed = "".join([piece async for piece in text])
            return plain.made_up, text.run.made_up, bool(streamed)

    assert with_server(work) == (True, True, True)

    async def recorded(session, _server):
        return (await ASK.run(recordings("panel")[0].question, session=session)).made_up

    assert with_server(recorded, "recorded", name="gpt-4") is False


def test_usage_that_is_not_told_is_not_known():
    """A reply without usage costs an unknown sum, never nothing; its run counts no tokens."""
    reply = json.dumps({"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}).encode()

    async def main():
        async with (
            raw.raw_server(raw.whole(reply)) as server,
            Session(model=OpenAI(name="gpt-4o-mini", base_url=server.url)) as session,
        ):
            return await ASK.run("hi", session=session)

    run = asyncio.run(main())
    assert (run.calls[0].state, run.calls[0].usage) == ("ok", None)
    assert (run.cost.usd, run.cost.at_most) == (None, None)


def test_a_fake_model_beside_a_server_is_marked_in_the_run():
    """A run that had a made-up answer among recorded ones says so; one without does not."""

    async def work(session, _server):
        real = await ASK.run(QUESTION.question, session=session)
        mixed = await vote({"a": ASK, "b": prompt("{input}", model=FakeModel(["x"]))}, stop=None).run(
            QUESTION.question, session=session
        )
        return real.made_up, mixed.made_up

    assert with_server(work, "recorded", name="gpt-35-turbo") == (False, True)
