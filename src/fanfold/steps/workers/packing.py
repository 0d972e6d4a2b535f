"""What becomes of a row, as bytes on its way from the worker to the driver."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.errors import FanfoldError, FatalError, UsageError
from fanfold.steps.engines import Outcome

if TYPE_CHECKING:
    from fanfold.steps.row import Row
    from fanfold.steps.workers.messages import Cluster


def packed(row: Row[Any], unkept: Row[Any], cluster: Cluster) -> bytes:
    """The record of a row, and what it takes if nobody gets it.

    An output that cannot travel is the row's failure, a detail that cannot is left out, and an error that cannot is
    told in its own words, under its name.
    """
    error, output, detail = _portable(row.error, cluster), b"", b""
    try:
        output = cluster.dumps(row.output)
    except UsageError as wrong:
        error = UsageError(f"the output, a {type(row.output).__name__}, cannot be brought from the worker: {wrong}")
    with suppress(UsageError):
        detail = cluster.dumps(row.detail)
    bare = msgspec.structs.replace(row, error=error, output=None, detail=None)
    left = msgspec.structs.replace(unkept, error=None, output=None, detail=None)
    return cluster.dumps((bare, left, output, detail))


def unpacked(data: bytes, cluster: Cluster) -> Outcome:
    """The outcome that came; an output that cannot be read here is the row's failure, and what it cost is known."""
    row, left, output, detail = _read(data, cluster)
    if detail:
        with suppress(UsageError):
            row = msgspec.structs.replace(row, detail=_read(detail, cluster))
    try:
        row = msgspec.structs.replace(row, output=_read(output, cluster) if output else None)
    except UsageError as unread:
        row = msgspec.structs.replace(row, error=unread)
    return outcome(row, left)


def _read(data: bytes, cluster: Cluster) -> Any:
    try:
        return cluster.loads(data)
    except Exception as error:
        raise UsageError(f"what a worker made of the row cannot be read here: {error!r}") from error


def outcome(row: Row[Any], left: Row[Any]) -> Outcome:
    """An outcome of two records."""
    return Outcome(
        row,
        lambda whole: msgspec.structs.replace(
            left, number=whole.number, key=whole.key, input=whole.input, error=whole.error
        ),
    )


def _portable(error: BaseException | None, cluster: Cluster) -> BaseException | None:
    """The error, if it survives the way; else one of the same name and words."""
    if error is None:
        return None
    if isinstance(error, FanfoldError) and error.__cause__ is not error:
        error.__cause__ = _portable(error.__cause__, cluster)  # it travels along
    found = None
    with suppress(Exception):  # whatever its making anew raises
        found = cluster.loads(cluster.dumps(error))
    if type(found).__name__ == type(error).__name__ and str(found) == str(error):
        return error
    kind = next((kind for kind in (FatalError, FanfoldError) if isinstance(error, kind)), Exception)
    words: BaseException = type(type(error).__name__, (kind,), {})(str(error))
    return words
