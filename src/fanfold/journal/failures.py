"""The errors of calls as records, and back: a replay raises what was raised then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.errors import (
    CallError,
    ConnectError,
    FanfoldError,
    NotRecorded,
    ReplyError,
    StatusError,
    StepTimeout,
    StreamCut,
)
from fanfold.journal.entries import Failure

if TYPE_CHECKING:
    from collections.abc import Callable


def failure_of(error: BaseException, *, full: bool) -> Failure:
    """An error as a record; its words may quote what was said, and are left out unless the journal is `full`."""
    return Failure(
        type(error).__name__,
        str(error) if full else "",
        getattr(error, "status", None),
        getattr(error, "text", None) if full else None,
        getattr(error, "seconds", None),
        getattr(error, "code", "") or "",
    )


def error_of(failure: Failure, *, model: str) -> FanfoldError:
    """The error of a record; a kind that no call of ours ends with becomes a plain `CallError`."""
    make = _MADE.get(failure.kind)
    if make is not None:
        return make(failure, model)
    return CallError(f"{failure.kind}: {failure.message}", model=model)


def _status(failure: Failure, model: str) -> StatusError:
    return StatusError(failure.message, status=failure.status or 0, code=failure.code, model=model)


def _cut(failure: Failure, model: str) -> StreamCut:
    return StreamCut(failure.message, text=failure.text or "", model=model)


def _timeout(failure: Failure, model: str) -> StepTimeout:
    del model
    return StepTimeout(failure.message, seconds=failure.seconds or 0.0)


_MADE: dict[str, Callable[[Failure, str], FanfoldError]] = {
    "CallError": lambda failure, model: CallError(failure.message, model=model),
    "ConnectError": lambda failure, model: ConnectError(failure.message, model=model),
    "NotRecorded": lambda failure, model: NotRecorded(failure.message, model=model),
    "ReplyError": lambda failure, model: ReplyError(failure.message, model=model),
    "StatusError": _status,
    "StepTimeout": _timeout,
    "StreamCut": _cut,
}
