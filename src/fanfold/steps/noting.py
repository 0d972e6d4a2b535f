"""What a step keeps in the journal of its run beside its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.scope import current
from fanfold.errors import UsageError
from fanfold.steps.keys import digest_of, opaque

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Note:
    """What chance decides beside the calls, as how much of a text had come when somebody looked; JSON can say it.

    It is found again by how often `what` came before at this place: so it is made, too, where there is nothing to note.
    """

    def __init__(self, what: bytes) -> None:
        self.what = what
        self.scope = current()
        self.nth = 0
        if self.scope is not None and self.scope.book is not None:
            self.nth = self.scope.count(self.scope.place, what)

    def told(self) -> Any:
        """What it was, where all of this happened before; else None.

        In a run that is resumed it is decided anew: what it was taken from may have changed.
        """
        scope = self.scope
        if scope is None or scope.book is None or not scope.settled:
            return None
        told = scope.book.value(scope.place, self.nth, self.what)
        return None if told is None else msgspec.json.decode(told)

    def keep(self, value: Any) -> None:
        """This is what it is."""
        scope = self.scope
        if scope is not None and scope.book is not None and not scope.settled:
            _ = scope.book.keep_value(scope.place, self.nth, self.what, value)

    def correct(self, value: Any) -> None:
        """This is what it is where another sitting noted something; else it goes without saying."""
        scope = self.scope
        if scope is not None and scope.book is not None and scope.book.value(scope.place, self.nth, self.what):
            self.keep(value)


async def given_back(given: Any, make: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a step that keeps its own: what the journal has for this place and input, or made, and kept.

    Raises `UsageError` for an input that another process could not tell from others.
    """
    scope = current()
    if scope is None or scope.book is None:
        return await make()
    what = digest_of(given)
    if what is None:
        raise UsageError(
            f"the step at {scope.place!r} keeps its result in the journal, which could not find it again: its input "
            f"holds a {opaque(given)}, which has no text of its own; give plain data, or leave out journal=True"
        )
    nth = scope.count(scope.place, what)
    told = scope.book.value(scope.place, nth, what)
    if told is not None:
        return msgspec.json.decode(told)
    value = await make()
    kept = scope.book.keep_value(scope.place, nth, what, value)
    if kept is not None:
        await kept
    return value
