"""What servers say when they say no: the words, the code and the wait in a refusal, whatever its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


def error_text(data: bytes) -> str:
    """What a server says of an error, from any of the shapes that servers use; never more than a few lines."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return start_of(data)
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return error[:500] if isinstance(error, str) else start_of(data)


def error_code(data: bytes) -> str:
    """The machine-readable code (or type) of an error, or an empty string."""
    error = _error(data)
    details = error.get("details")  # where Anthropic has it
    code = details.get("error_code") if isinstance(details, dict) else None
    return str(code or error.get("code") or error.get("type") or "")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait, or None where it says nothing or nonsense."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e6 else None


def start_of(data: bytes) -> str:
    """The start of a body, as text."""
    return data[:300].decode("utf-8", "replace") or "(empty)"


def _error(data: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}
