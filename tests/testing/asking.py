"""One request to a model, without a session: what was heard, and what came of it."""

from typing import Any

from fanfold.core.records import Draw, Message, Reply, Request
from fanfold.errors import CallError


class Heard:
    """A watch that keeps the pieces of text."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.whole = 0

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None  # all that it is told besides

    def text(self, piece: str) -> None:
        self.pieces.append(piece)

    def done(self, reply: Reply) -> None:
        self.whole += 1


def request(text: str = "hello", *, place: str = "", **options: Any) -> Request:
    """A request with one message of the user; `place` makes it one of its own."""
    return Request((Message("user", text),), draw=Draw(place), **options)


async def ask(model: Any, text: str = "hello", **options: Any) -> Reply:
    """The reply to one request; raises what the model raises."""
    return await model.send(request(text, **options), Heard())


async def outcome(model: Any, text: str = "hello", **options: Any) -> Reply | CallError:
    """The reply to one request, or the error."""
    try:
        return await ask(model, text, **options)
    except CallError as error:
        return error
