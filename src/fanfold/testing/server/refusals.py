"""What the server says no with, whatever went wrong: an HTTP status, and an error in the shape of the dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fanfold.errors import AccessError, BillingError, FanfoldError, ModelError, NotRecorded, StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# msgspec says "Expected `int`, got `str` - at `$.n`", or, at the top, "Object missing required field `messages`".
_PARAM = re.compile(r".*at `\$\.(\w+)|.*field `(\w+)`")


JSON = {"Content-Type": "application/json; charset=utf-8"}

KINDS: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's word for each status; any other is an invalid request below 500, and an API error above."""


class Refusal(Exception):
    """An answer other than 200: `status`, and what stands in the body's ``error``."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}
        self.headers = dict(headers or {})

    def openai(self) -> Answer:
        """It as JSON, as OpenAI has it."""
        return _json(self.status, {"error": self.error}, self.headers)

    def anthropic(self, number: int) -> Answer:
        """It as JSON, as Anthropic has it; `number` stands in its request id."""
        code, request = self.error["code"], f"req_fanfold_{number}"
        # Where OpenAI answers 429 to those who have no credit, Anthropic has a status for them.
        status = 402 if code == "insufficient_quota" else self.status
        kind = KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
        details = None if code in {None, "rate_limit_exceeded"} else {"error_code": code}
        error = {"type": kind, "message": self.error["message"], "details": details}
        return _json(status, {"type": "error", "error": error, "request_id": request}, self.headers)


class Answer(msgspec.Struct, frozen=True):
    """A whole answer over HTTP: its status, body and headers."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def told(self, headers: Mapping[str, str]) -> Answer:
        """It with further headers."""
        return Answer(self.status, self.body, {**headers, **self.headers})


def json_answer(body: bytes) -> Answer:
    """A whole body of JSON."""
    return Answer(200, body, JSON)


def _json(status: int, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
    return Answer(status, msgspec.json.encode(body), {**JSON, **headers})


def refusal_of(error: Refusal | FanfoldError) -> Refusal:
    """How a failure on the answering side looks from outside."""
    match error:
        case Refusal():
            return error
        case NotRecorded():
            return Refusal(404, str(error), code="not_recorded")
        case ModelError():
            return Refusal(404, str(error), code="model_not_found", param="model")
        case BillingError():
            return Refusal(429, str(error), code="insufficient_quota", kind="insufficient_quota")
        case AccessError():
            return Refusal(401, str(error), code="invalid_api_key", kind="authentication_error")
        case StatusError(status=status, retry_after=wait):
            headers = {} if wait is None else {"Retry-After": f"{wait:g}"}
            return Refusal(status, str(error), kind="server_error", headers=headers)
        case _:
            return Refusal(500, f"{type(error).__name__}: {error}", kind="server_error")


def decoded(decode: Callable[[bytes], T], data: bytes, what: str) -> T:
    """The body of a request that is meant to be `what`; raises `Refusal` (400) that names the parameter."""
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        found = _PARAM.match(str(error))
        param = next(filter(None, found.groups()), None) if found else None
        raise Refusal(400, f"the request is not {what}: {error}", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON that can be read: {error}") from None
