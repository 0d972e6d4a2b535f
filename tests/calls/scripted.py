"""A model that does what a script says, send by send, in virtual time."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from fanfold import Run, Session, prompt
from fanfold.core.clock import now, sleep
from fanfold.core.records import Rate, Reply, Request, Usage
from fanfold.errors import ConnectError, StatusError
from fanfold.testing import no_leaks, run_virtual

ASK = prompt("{input}")

Doing = float | str | Exception
"""Seconds to wait, a piece of text to say, or an error to end with."""


@dataclass
class Sent:
    """One send as the model saw it."""

    request: Request
    began: float
    ended: float = 0.0
    cancelled: bool = False


class Scripted:
    """`script` gets the number of the send (from 0) and its request, and says what is done, in order."""

    made_up = True
    structured = True
    given_rate: Rate | None = None

    def __init__(self, script: Callable[[int, Request], Iterable[Doing]], *, label: str = "fake:") -> None:
        self.script = script
        self.label = label
        self.sends: list[Sent] = []

    async def send(self, request: Request, watch: Any) -> Reply:
        """Do as told; the reply is all that was said."""
        sent = Sent(request, now())
        self.sends.append(sent)
        watch.sent()
        watch.alive()
        try:
            text = await self._do(self.script(len(self.sends) - 1, request), request, watch)
        except asyncio.CancelledError:
            sent.cancelled = True
            raise
        finally:
            sent.ended = now()
        reply = Reply((text,), Usage(1, 1))
        watch.done(reply)
        return reply

    async def _do(self, things: Iterable[Doing], request: Request, watch: Any) -> str:
        said: list[str] = []
        for thing in things:
            if isinstance(thing, Exception):
                raise thing
            if isinstance(thing, str):
                said.append(thing)
                if request.stream:
                    watch.text(thing)
            else:
                await sleep(thing)
        return "".join(said)


def in_turn(*sends: Iterable[Doing]) -> Scripted:
    """One script a send; the last one goes on for ever."""
    return Scripted(lambda number, _: sends[min(number, len(sends) - 1)])


def status(code: int, word: str = "", **more: Any) -> StatusError:
    """A refusal."""
    return StatusError(f"answered {code}", status=code, code=word, **more)


def lost() -> ConnectError:
    """A connection that broke."""
    return ConnectError("the connection broke")


def ran(model: Any, *, ask: Any = ASK, within: float | None = None, seed: int = 0, **options: Any) -> Run[Any]:
    """One call in virtual time; nothing is left after it."""

    async def main() -> Run[Any]:
        async with Session(model, **options) as session, no_leaks(session):
            return await ask.run("q", timeout=within)

    return run_virtual(main(), seed=seed)


def failed(model: Any, kind: type[Exception] = Exception, **options: Any) -> Any:
    """The error of one call."""
    with pytest.raises(kind) as caught:
        ran(model, **options)
    return caught.value
