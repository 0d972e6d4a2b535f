"""What the errors of SDKs mean, told by what they carry and not by whose they are."""

from typing import Any

import pytest

from fanfold.errors import (
    AccessError,
    BillingError,
    CallError,
    ConnectError,
    LoopError,
    ReplyError,
    StatusError,
    StreamCut,
    UsageError,
)
from fanfold.models.bridging import call_error, label_of


class VendorError(Exception):
    """An SDK's error with whatever it carries."""

    def __init__(self, message: str = "no", **carried: Any) -> None:
        super().__init__(message)
        vars(self).update(carried)


class Response:
    """A response as httpx has it."""

    def __init__(self, status_code: int, headers: dict[str, str]) -> None:
        self.status_code = status_code
        self.headers = headers


class TransportError(Exception):
    """As httpx calls its own."""


class ConnectTimeout(TransportError):
    """As httpx calls it."""


def caused(error: Exception, cause: Exception) -> Exception:
    """An error with its cause."""
    error.__cause__ = cause
    return error


CASES = [
    (VendorError(status_code=500), StatusError),
    (VendorError(status_code=401), AccessError),
    (VendorError(status_code=403), AccessError),
    (VendorError(status_code=402), BillingError),
    (VendorError(code=404), StatusError),  # google-genai
    (VendorError(response=Response(503, {})), StatusError),
    (VendorError(response={"ResponseMetadata": {"HTTPStatusCode": 429}}), StatusError),  # botocore
    (VendorError(status_code=429, code="insufficient_quota"), BillingError),
    (VendorError("Your credit balance is too low", status_code=400), BillingError),
    (VendorError("You have reached your API usage limits", status_code=429, retry_after=60), StatusError),
    (caused(VendorError("wrapped"), VendorError(status_code=418)), StatusError),
    (VendorError(status_code=200), CallError),
    (VendorError(code="bad"), CallError),
    (TransportError("gone"), ConnectError),
    (ConnectionResetError("gone"), ConnectError),
    (caused(VendorError("wrapped"), TransportError("gone")), ConnectError),
    (ValueError("odd"), CallError),
    (ValueError({"message": "upstream is down", "code": 502}), ReplyError),  # LangChain, of an error in a 200
    (VendorError(status_code=200, body={"error": {"type": "overloaded_error"}}), ReplyError),  # anthropic, in a stream
    (type("APIError", (Exception,), {})("upstream is down"), ReplyError),  # openai, in a stream
    (ValueError({"answer": 1}), CallError),
]


@pytest.mark.parametrize(
    ("error", "kind"), CASES, ids=[f"{number}-{kind.__name__}" for number, (_, kind) in enumerate(CASES)]
)
def test_an_error_is_what_it_carries(error, kind):
    """A status, a code, a response or a cause decide; the message keeps the words, and the model its name."""
    found = call_error(error, "openai:m")
    assert type(found) is kind
    assert found.model == "openai:m"
    assert str(error) in str(found)


def test_the_code_of_an_error_inside_a_reply_is_told():
    """It decides whether the request is sent again."""
    errors = [ValueError({"message": "no", "code": 402}), VendorError(body={"error": {"type": "overloaded_error"}})]
    assert [call_error(error, "m").code for error in errors] == ["402", "overloaded_error"]


def test_the_wait_is_read_wherever_it_stands():
    """As an attribute, in the headers of the response, in those of a cause; nonsense is none."""
    told = VendorError(status_code=429, retry_after=3)
    in_headers = VendorError(response=Response(429, {"Retry-After": "4"}))
    below = caused(VendorError(status_code=429), in_headers)
    nonsense = VendorError(response=Response(429, {"Retry-After": "soon"}))
    assert [call_error(one, "m").retry_after for one in (told, in_headers, below, nonsense)] == [3.0, 4.0, 4.0, None]


def test_what_was_never_connected_was_not_reached():
    """Then nothing was sent; a connection that broke was there."""
    never = [ConnectTimeout("x"), caused(TransportError("x"), ConnectionRefusedError("x"))]
    assert [call_error(one, "m").reached for one in [*never, TransportError("x")]] == [False, False, True]


def test_after_text_it_is_a_cut():
    """Whatever the error is."""
    found = call_error(VendorError(status_code=500), "m", "Once")
    assert isinstance(found, StreamCut)
    assert found.text == "Once"


def test_one_of_ours_stays():
    """It says already what it is."""
    error = UsageError("fix it")
    assert call_error(error, "m") is error


def test_a_client_from_another_loop_is_told_apart():
    """SDK clients keep connections that belong to one loop; asyncio.run() twice closes the first one under them."""
    found = call_error(RuntimeError("Event loop is closed"), "openai:m")
    assert isinstance(found, LoopError)
    assert "make the model object anew" in str(found)
    assert type(call_error(RuntimeError("else"), "m")) is CallError


def test_causes_that_go_round_in_circles_end():
    """An error that is its own cause's cause is still read."""
    first, second = VendorError("a"), VendorError("b")
    first.__cause__, second.__cause__ = second, first
    assert type(call_error(first, "m")) is CallError


def test_the_words_are_kept_short():
    """An error may quote a whole page."""
    assert len(str(call_error(VendorError("x" * 10_000), "m"))) < 600


def test_providers_have_our_names():
    """So that prices are found."""
    assert label_of("google_genai", "gemini-2.5-flash") == "gemini:gemini-2.5-flash"
    assert label_of("openai", "gpt-4o") == "openai:gpt-4o"
