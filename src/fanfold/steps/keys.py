"""How a run is found again: by its step and its input, or by the key that it was given."""

from __future__ import annotations

import weakref
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.numbers import named, nameless
from fanfold.errors import UsageError
from fanfold.steps.fingerprints import fingerprint
from fanfold.steps.templates import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from fanfold.core.journaling import Book, RowKey
    from fanfold.core.scope import Scope
    from fanfold.session import Session
    from fanfold.steps.step import Step

_known: weakref.WeakKeyDictionary[Step[Any, Any], str] = weakref.WeakKeyDictionary()


async def open_book(root: Scope, session: Session, step: Step[Any, Any], given: Any, key: str | RowKey | None) -> None:
    """Open the book of the run that begins at `root`, where its session has a journal; raises as `book_of` does."""
    opening = book_of(session, step, given, key)
    if opening is None:
        return
    book = await opening
    root.run.secret = book.secret
    root.book = book
    root.settled = book.settled


def book_of(session: Session, step: Step[Any, Any], given: Any, key: str | RowKey | None) -> Awaitable[Book] | None:
    """The book of a run that begins, to be awaited, where its session has a journal.

    Raises `UsageError` for an input that nobody could tell again, and what the journal raises.
    """
    journal = session.journal
    if journal is None or journal.mode == "off":
        return None
    digest = digest_of(given)
    if digest is None and key is None and journal.mode in {"resume", "replay"}:
        raise UsageError(
            f"the journal could not find this run of {step.name!r} again: its input holds a {opaque(given)}, which has "
            "no text of its own; give the run a key=, or an input of plain data"
        )
    return journal.begin(step.name, step_digest(step), digest or b"", key)


def step_digest(step: Step[Any, Any]) -> str:
    """The fingerprint of a step; it is worked out once, for it looks into everything that the step is made of."""
    known = _known.get(step)
    if known is None:
        known = _known[step] = fingerprint(step)
    return known


def digest_of(given: Any) -> bytes | None:
    """Sixteen bytes that are equal for equal inputs, in every process; None for what only this process knows."""
    try:
        text = _encode(given)
    except (TypeError, ValueError, RecursionError):
        return None
    if b"null" in text:  # which would stand for a number that JSON has not, too
        with suppress(RecursionError, TypeError):  # JSON goes deeper than this does
            data = msgspec.to_builtins(given, enc_hook=_shown, order="deterministic")
            if nameless(data):  # else as it was, for not all of this is in that order: the fields of a record are not
                text = _encode(named(data))
    return blake2b(type(given).__name__.encode() + b"|" + text, digest_size=16).digest()


def opaque(given: Any) -> str:
    """The name of the first type in an input that has no text of its own."""
    found: list[str] = []

    def look(value: Any) -> Any:
        try:
            return _shown(value)
        except TypeError:
            found.append(type(value).__name__)
            return None

    try:
        msgspec.json.encode(given, enc_hook=look)
    except (TypeError, ValueError, RecursionError):
        return type(given).__name__
    return found[0] if found else type(given).__name__


def _shown(value: Any) -> Any:
    shown = plain(value)
    if isinstance(shown, str) and " at 0x" in shown:
        raise TypeError(shown)  # its address is another one in the next process
    return shown


_encode = msgspec.json.Encoder(enc_hook=_shown, order="deterministic").encode
