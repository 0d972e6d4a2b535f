"""Patterns on a model whose answers and latencies come from the request: for tests that run them again."""

import asyncio
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from fanfold import Session, prompt
from fanfold.core.records import Request
from fanfold.errors import FanfoldError, StatusError
from fanfold.journal import Journal
from fanfold.runs.run import Run
from fanfold.testing import FakeModel, no_leaks

spam = prompt("Spam?\n\n{input}", returns=Literal["spam", "ham"], name="spam")


class Moody(FakeModel):
    """Answers, latencies and failures by request, draw and seed: another seed gives another order and other answers.

    `asked` counts the requests, `answered` names those that were answered: by their draws and all that was said.
    """

    def __init__(self, seed: int = 0, *, slow: float = 0.002, fails: float = 0.4) -> None:
        super().__init__(self._say, latency=lambda _: slow * self.chance.random())
        self.seed = seed
        self.chance = random.Random(seed)
        self.fails = fails
        self.asked = 0
        self.answered: list[str] = []

    async def send(self, request: Request, watch: Any) -> Any:
        self.asked += 1
        reply = await super().send(request, watch)
        self.answered.append(f"{request.draw.header()} {[message.content for message in request.messages]}")
        return reply

    def _say(self, request: Request) -> str | Exception:
        text = str(request.messages[-1].content)
        source = random.Random(f"{self.seed} {request.draw.header()} {text}")
        if text.startswith("Flaky") and source.random() < self.fails:
            return StatusError("refused", status=422, model=self.label)
        if request.schema is not None or text.startswith("Long"):
            return self._typed(request, source)
        return f"{text[:12]} {source.randrange(1000)}"

    def _typed(self, request: Request, source: random.Random) -> str:
        if request.schema is None:
            return " ".join(f"word{source.randrange(1000)}" for _ in range(12))
        if "boolean" in str(request.schema):
            return f'{{"answer": {str(source.random() < 0.3).lower()}}}'
        return FakeModel(seed=source.randrange(10**6))._text(request, 0)


def ran(
    path: Path, pattern: Any, given: Any = "mail", model: Any = None, *, mode: Any = "resume", **options: Any
) -> Run[Any] | FanfoldError:
    """Run a pattern under a journal, in real time; what it raises is what it gives. Nothing is left."""
    return runs(path, [(pattern, given)], model, mode=mode, **options)[0]


def runs(
    path: Path, work: Iterable[tuple[Any, Any]], model: Any = None, *, mode: Any = "resume", **options: Any
) -> list[Run[Any] | FanfoldError]:
    """Run several, one after another, in one session."""

    async def main() -> list[Run[Any] | FanfoldError]:
        session = Session(model or Moody(), journal=Journal(path, mode=mode), attempts=1, **options)
        async with session, no_leaks(session):
            return [await outcome(pattern, given) for pattern, given in work]

    return asyncio.run(main())


async def outcome(pattern: Any, given: Any) -> Run[Any] | FanfoldError:
    try:
        return await pattern.run(given)
    except FanfoldError as error:
        return error


def document(run: Any) -> str:
    """All that a run says, but for times: its output, detail, error, calls and events, in order."""
    if isinstance(run, FanfoldError):
        return f"{type(run).__name__}: {run}\n{document(run.run)}"
    calls = [(c.number, c.place, c.draw, c.state, c.usage, c.cost, c.error, c.replayed) for c in run.calls]
    events = [(e.number, e.kind, e.place) for e in run.events]
    return f"{outcome_of(run)}\n{calls}\n{events}"


def outcome_of(run: Any) -> str:
    """What came out, and how: without the calls, which a first run has more of (those that were cut off)."""
    if isinstance(run, FanfoldError):
        return f"{type(run).__name__}: {run}"
    return f"{run.output!r} {untimed(run.detail)}"


def untimed(detail: Any) -> str:
    """A detail without what it says of times, and of what was cut off."""
    return re.sub(r"cost=Cost\([^)]*\)|(seconds|saved)=[^,)]*", "", repr(detail))
