"""Whatever a client sends to /v1/messages, it is answered: with a message, or with an error in Anthropic's shape."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.testing import ModelServer
from tests.testing.test_hostile_bodies import JSON, QUESTION, SCHEMA, TIED, Answer, Client, at_rest

PATH = "/v1/messages"
VALID: dict[str, Any] = {
    "model": "gpt-35-turbo",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": QUESTION}],
}


class Messages(Client):
    """The same connection, to the other path."""

    def post(self, body: bytes, **headers: str) -> Answer:
        """Status, content type and body of the answer to a POST."""
        self.connection.request("POST", PATH, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = self.connection.getresponse()
        return response.status, response.headers.get_content_type(), response.read()


@pytest.fixture(scope="module", params=["recorded", "fake"])
def client(request) -> Iterator[Messages]:
    with ModelServer(request.param) as server:
        yield (opened := Messages(server))
        opened.connection.close()
        at_rest(server)


def judge(answer: Answer) -> None:
    """Hold an answer against the promise."""
    status, kind, body = answer
    if status != 200:
        assert 400 <= status < 500, body
        assert kind == "application/json"
        refused = json.loads(body)
        assert set(refused) == {"type", "error", "request_id"}
        assert refused["type"] == "error"
        assert refused["error"]["message"]
        assert refused["error"]["type"] in {"invalid_request_error", "not_found_error", "request_too_large"}
    elif kind == "text/event-stream":
        assert body.startswith(b"event: message_start\n")
        assert body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    else:
        assert kind == "application/json"
        message = json.loads(body)
        assert (message["type"], message["role"]) == ("message", "assistant")
        assert all(isinstance(block["text"], str) for block in message["content"])
        assert isinstance(message["usage"]["input_tokens"], int)


IMAGE = st.fixed_dictionaries({"type": st.just("image")}, optional={"source": JSON})
BLOCK = st.fixed_dictionaries({"type": st.sampled_from(["text", "image", "document"]) | JSON, "text": JSON}) | IMAGE
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant"]) | JSON, "content": JSON | st.lists(BLOCK, max_size=3)}
)
FIELDS = {
    "model": st.sampled_from(["gpt-35-turbo", "recorded:gpt-4", "x", ""]) | JSON,
    "messages": st.just(VALID["messages"]) | st.lists(MESSAGE, max_size=3) | JSON,
    "max_tokens": st.integers() | JSON,
    "system": st.text(max_size=5) | st.lists(BLOCK, max_size=2) | JSON,
    "stream": st.booleans() | JSON,
    "temperature": st.floats() | JSON,
    "output_config": JSON | st.fixed_dictionaries({"format": JSON}),
}


@settings(max_examples=100)
@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_answered(client, body):
    """Bytes and JSON of any kind are answered below 500."""
    judge(client.post(body))


@settings(max_examples=100)
@given(
    change=st.fixed_dictionaries({}, optional=FIELDS),
    left_out=st.sampled_from([None, "model", "messages", "max_tokens"]),
)
def test_any_value_of_any_field_is_answered(client, change, left_out):
    """A request that is nearly right is answered below 500, whichever field is wrong or missing."""
    body = {name: value for name, value in {**VALID, **change}.items() if name != left_out}
    judge(client.post(json.dumps(body).encode()))


@settings(max_examples=100)
@given(blocks=st.lists(BLOCK, max_size=4), stream=st.booleans())
def test_any_blocks_are_answered(client, blocks, stream):
    """Blocks of any kind beside the question, images without a source among them, are answered below 500."""
    content = [{"type": "text", "text": QUESTION}, *blocks]
    messages = [{"role": "user", "content": content}]
    judge(client.post(json.dumps({**VALID, "messages": messages, "stream": stream}).encode()))


@pytest.mark.parametrize("client", ["fake"], indirect=True)
@settings(max_examples=100)
@given(schema=SCHEMA)
def test_any_schema_is_answered(client, schema):
    """A schema that no value satisfies, or that makes no sense, is answered below 500."""
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    judge(client.post(json.dumps({**VALID, "output_config": wanted}).encode()))


@settings(max_examples=30)
@given(draw=st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_categories=["Cc"]), max_size=30))
def test_any_draw_header_is_answered(client, draw):
    """A draw header of any printable characters is taken or refused."""
    judge(client.post(json.dumps(VALID).encode(), x_fanfold_draw=draw))


TRICKS: dict[str, tuple[bytes, dict[str, str]]] = {
    "a deep list": (b"[" * 100_000, {}),
    "a deep object": (b'{"messages":' * 5_000, {}),
    "a deep field": (json.dumps({**VALID, "more": [1]}).encode().replace(b"[1]", b"[" * 5_000 + b"]" * 5_000), {}),
    "surrogates": (b'{"model": "\\ud800", "max_tokens": 1, "messages": [{"role": "user", "content": "\\udfff"}]}', {}),
    "a long number": (b'{"model": "m", "max_tokens": ' + b"9" * 5_000 + b"}", {}),
    "an endless number": (b'{"model": "m", "temperature": 1e999, "messages": []}', {}),
    "UTF-16": (json.dumps(VALID).encode("utf-16"), {}),
    "no gzip": (b"not gzip", {"Content_Encoding": "gzip"}),
    "a gzip bomb": (gzip.compress(b" " * 70_000_000, 1), {"Content_Encoding": "gzip"}),
    "the other dialect": (json.dumps({"model": "m", "messages": VALID["messages"], "n": 3}).encode(), {}),
    "a circle of a schema": (
        json.dumps({**VALID, "output_config": {"format": {"type": "json_schema", "schema": TIED}}}).encode(),
        {},
    ),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_known_tricks_are_answered(client, trick):
    """Nesting, odd numbers and encodings, and compressed bombs are answered below 500."""
    body, headers = TRICKS[trick]
    judge(client.post(body, **headers))
    client.connection.close()


def test_a_valid_body_is_answered_with_a_message(client):
    """The request that all the others are made of is a good one, without any key; so the judging means something."""
    assert client.post(json.dumps(VALID).encode())[0] == 200
    assert client.post(json.dumps({**VALID, "stream": True}).encode())[1] == "text/event-stream"


def test_an_empty_answer_is_a_message_too():
    """A model that says nothing is served whole and as a stream without deltas."""
    with ModelServer([""]) as server:
        client = Messages(server)
        judge(client.post(json.dumps(VALID).encode()))
        status, kind, body = client.post(json.dumps({**VALID, "stream": True}).encode())
        client.connection.close()
    judge((status, kind, body))
    assert b"content_block_delta" not in body
