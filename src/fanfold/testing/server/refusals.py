"""What the server says no with: an HTTP status and an error in OpenAI's shape, whatever went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from fanfold.errors import AccessError, BillingError, FanfoldError, ModelError, NotRecorded, StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    def response(self) -> web.Response:
        """It as JSON."""
        body = msgspec.json.encode({"error": self.error})
        return web.Response(status=self.status, body=body, content_type="application/json", headers=self.headers)


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
