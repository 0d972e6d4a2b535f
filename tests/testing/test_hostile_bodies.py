"""Whatever a client sends, the model server answers it: with a reply, or with an error in JSON below 500."""

import gzip
import http.client
import json
from collections.abc import Iterator
from time import monotonic as now
from time import sleep
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.models.recordings import recordings
from fanfold.testing import ModelServer

PATH = "/v1/chat/completions"
QUESTION = recordings("samples")[0].question
VALID: dict[str, Any] = {"model": "gpt-35-turbo", "messages": [{"role": "user", "content": QUESTION}]}

Answer = tuple[int, str, bytes]


class Client:
    """One connection, kept open as long as the server does."""

    def __init__(self, server: ModelServer) -> None:
        host, _, port = server.origin.removeprefix("http://").partition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=10)

    def post(self, body: bytes, **headers: str) -> Answer:
        """Status, content type and body of the answer to a POST."""
        self.connection.request("POST", PATH, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = self.connection.getresponse()
        return response.status, response.headers.get_content_type(), response.read()


@pytest.fixture(scope="module", params=["recorded", "fake"])
def client(request) -> Iterator[Client]:
    with ModelServer(request.param) as server:
        yield (opened := Client(server))
        opened.connection.close()
        at_rest(server)


def at_rest(server: ModelServer) -> None:
    """Hold that nothing is left in flight; the last byte of an answer is here before the server has noted it."""
    end = now() + 5
    while server.statistics().in_flight and now() < end:
        sleep(0.01)
    assert server.statistics().in_flight == 0


def judge(answer: Answer) -> None:
    """Hold an answer against the promise."""
    status, kind, body = answer
    if status != 200:
        assert 400 <= status < 500, body
        assert kind == "application/json"
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["type"] == "invalid_request_error"
    elif kind == "text/event-stream":
        assert body.endswith(b"data: [DONE]\n\n")
    else:
        assert kind == "application/json"
        assert all(isinstance(choice["message"]["content"], str) for choice in json.loads(body)["choices"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "assistant"]) | JSON, "content": JSON})
FIELDS = {
    "model": st.sampled_from(["gpt-35-turbo", "recorded:gpt-4", "x", ""]) | JSON,
    "messages": st.just(VALID["messages"]) | st.lists(MESSAGE, max_size=3) | JSON,
    "n": st.integers(-2, 130) | JSON,
    "stream": st.booleans() | JSON,
    "stream_options": st.just({"include_usage": True}) | JSON,
    "temperature": st.floats() | JSON,
    "max_tokens": st.integers() | JSON,
    "response_format": JSON,
}
KINDS = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null", "other", 3, None])
ODD: Any = st.sampled_from([None, True, -1, 0, 3.5, 10**30, "", "x", [], [1, "a"], {}, {"a": 1}])
SCHEMA: Any = st.recursive(
    st.fixed_dictionaries({}, optional={"type": KINDS, "enum": ODD, "const": ODD, "minimum": ODD, "maximum": ODD}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": KINDS,
            "properties": st.dictionaries(st.text(max_size=3), inner, max_size=3) | ODD,
            "items": inner | ODD,
            "minItems": st.integers(0, 10**12) | ODD,
            "anyOf": st.lists(inner, max_size=3) | ODD,
            "$ref": st.sampled_from(["#/$defs/a", "#", ""]) | ODD,
            "$defs": st.fixed_dictionaries({"a": inner}) | ODD,
        },
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_answered(client, body):
    """Bytes and JSON of any kind are answered below 500."""
    judge(client.post(body))


@settings(max_examples=100)
@given(change=st.fixed_dictionaries({}, optional=FIELDS), left_out=st.sampled_from([None, "model", "messages"]))
def test_any_value_of_any_field_is_answered(client, change, left_out):
    """A request that is nearly right is answered below 500, whichever field is wrong or missing."""
    body = {name: value for name, value in {**VALID, **change}.items() if name != left_out}
    judge(client.post(json.dumps(body).encode()))


@pytest.mark.parametrize("client", ["fake"], indirect=True)
@settings(max_examples=100)
@given(schema=SCHEMA)
def test_any_schema_is_answered(client, schema):
    """A schema that no value satisfies, or that makes no sense, is answered below 500."""
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    judge(client.post(json.dumps({**VALID, "response_format": wanted}).encode()))


@settings(max_examples=50)
@given(draw=st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_categories=["Cc"]), max_size=30))
def test_any_draw_header_is_answered(client, draw):
    """A draw header of any printable characters is taken or refused."""
    judge(client.post(json.dumps(VALID).encode(), x_fanfold_draw=draw))


TIED = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
DOUBLING = {
    f"d{at}": {
        "type": "object",
        "properties": {key: {"$ref": f"#/$defs/d{at + 1}"} for key in "xy"},
        "required": ["x", "y"],
    }
    for at in range(60)
}


@pytest.mark.parametrize(
    "schema",
    [
        TIED,
        {"$defs": {**DOUBLING, "d60": {"type": "null"}}, "$ref": "#/$defs/d0"},
        {"type": "array", "minItems": 10**9},
        {
            "type": "array",
            "minItems": 99,
            "items": {"type": "array", "minItems": 99, "items": {"type": "array", "minItems": 99}},
        },
    ],
    ids=["a circle", "a billion laughs", "a long list", "a large cube"],
)
def test_a_schema_of_a_monstrous_value_is_refused_in_no_time(schema):
    """A schema whose smallest value is huge or endless costs neither memory nor time."""
    with ModelServer("fake") as server:
        client = Client(server)
        wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        status, _, body = client.post(json.dumps({**VALID, "response_format": wanted}).encode())
        client.connection.close()
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_schema")


TRICKS: dict[str, tuple[bytes, dict[str, str]]] = {
    "a deep list": (b"[" * 100_000, {}),
    "a deep object": (b'{"messages":' * 5_000, {}),
    "a deep field": (json.dumps({**VALID, "more": [1]}).encode().replace(b"1", b"[" * 5_000 + b"]" * 5_000), {}),
    "surrogates": (b'{"model": "\\ud800", "messages": [{"role": "user", "content": "\\udfff"}]}', {}),
    "a long number": (b'{"model": "m", "n": ' + b"9" * 5_000 + b"}", {}),
    "an endless number": (b'{"model": "m", "temperature": 1e999, "messages": []}', {}),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(VALID).encode(), {}),
    "UTF-16": (json.dumps(VALID).encode("utf-16"), {}),
    "no gzip": (b"not gzip", {"Content_Encoding": "gzip"}),
    "a gzip bomb": (gzip.compress(b" " * 70_000_000, 1), {"Content_Encoding": "gzip"}),
    "an odd charset": (json.dumps(VALID).encode(), {"Content_Type": "text/plain; charset=nonsense"}),
    "a wish for HTML": (json.dumps(VALID).encode(), {"Accept": "text/html"}),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_known_tricks_are_answered(client, trick):
    """Nesting, odd numbers and encodings, and compressed bombs are answered below 500."""
    body, headers = TRICKS[trick]
    judge(client.post(body, **headers))
    client.connection.close()


def test_a_compressed_body_is_read(client):
    """A body in gzip is read like any other."""
    status, *_ = client.post(gzip.compress(json.dumps(VALID).encode()), Content_Encoding="gzip")
    assert status == 200
