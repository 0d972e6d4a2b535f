"""One call on its way: what the wire tells as it happens, and the record that remains of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.calls.pricing import price_of
from fanfold.core.clock import now
from fanfold.core.records import Call, CallState, Cost, Model, Rate, Reply, Request, Usage

if TYPE_CHECKING:
    from fanfold.core.scope import Scope


class Passage:
    """The `Watch` of one call; every stage of the road that learns something tells it here."""

    __slots__ = (
        "began",
        "error",
        "first_at",
        "model",
        "number",
        "queued_at",
        "rate",
        "reply",
        "request",
        "scope",
        "sent_at",
    )

    def __init__(self, scope: Scope, model: Model, rate: Rate | None, request: Request) -> None:
        self.scope = scope
        self.model = model
        self.rate = rate
        self.request = request
        self.began: float = scope.run.began
        self.number: int = scope.run.next_call()
        self.queued_at = now()
        self.sent_at: float | None = None
        self.first_at: float | None = None
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self._say("call.queued", "queued", self.queued_at)

    def sent(self) -> None:
        """The request goes out."""
        self.sent_at = now()
        self._say("call.sent", "sent", self.sent_at)

    def text(self, piece: str) -> None:
        """A piece of text came; a tail call's text is the pattern's text."""
        if self.first_at is None:
            self.first_at = now()
            self._say("call.first", "answering", self.first_at)
        if self.scope.tail:
            self.scope.emit("call.text", piece)

    def done(self, reply: Reply) -> None:
        """The reply is whole: from here on it is paid and kept, whatever happens to who waits for it."""
        self.reply = reply

    def end(self) -> None:
        """Leave the final record."""
        if self.reply is not None:
            state: CallState = "ok"
        elif self.error is not None:
            state = "error"
        else:
            state = "unsent" if self.sent_at is None else "cancelled"
        self._say("call.ended", state, now())

    def _say(self, kind: str, state: CallState, at: float) -> None:
        self.scope.emit(kind, call=self._record(state, at), at=at)

    def _record(self, state: CallState, at: float) -> Call:
        usage: Usage | None = self.reply.usage if self.reply is not None else None
        error = None if self.error is None else _told(self.error, held=self.scope.held)
        sent = self.sent_at is not None
        return Call(
            self.number,
            self.scope.place,
            self.model.label,
            self.request.draw,
            state,
            self.queued_at - self.began,
            None if self.sent_at is None else self.sent_at - self.began,
            None if self.first_at is None else self.first_at - self.began,
            at - self.began,
            usage,
            price_of(self.rate, self.request, state, usage, self.error) if sent else Cost(),
            error,
            self.model.made_up or (self.reply is not None and self.reply.made_up),
        )


def _told(error: BaseException, *, held: bool) -> str:
    """What a call's record says of its error; its text may quote the reply, and is held back with that."""
    return type(error).__name__ if held else f"{type(error).__name__}: {error}"
