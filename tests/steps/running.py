"""What the tests of steps share: a model that remembers what it was asked, and runs in virtual time."""

import random
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from fanfold import Session, step
from fanfold.core.clock import sleep
from fanfold.core.records import Message, Request
from fanfold.runs.run import Run
from fanfold.testing import FakeModel, no_leaks, run_virtual

E = TypeVar("E", bound=BaseException)


class Asked(FakeModel):
    """A fake model that keeps every request."""

    def __init__(self, answers: Any = None, **options: Any) -> None:
        super().__init__(answers, **options)
        self.requests: list[Request] = []

    async def send(self, request: Request, watch: Any) -> Any:
        self.requests.append(request)
        return await super().send(request, watch)

    @property
    def messages(self) -> list[Message]:
        """The messages of the only request."""
        (request,) = self.requests
        return list(request.messages)

    @property
    def texts(self) -> list[Any]:
        """The last message's content of every request."""
        return [request.messages[-1].content for request in self.requests]


def ran(pattern: Any, given: Any = "q", model: Any = None, *, timeout: float | None = None, **options: Any) -> Run[Any]:
    """Run a step in virtual time on `model` (default: it repeats the prompt), each call sent once; nothing is left."""

    async def main() -> Run[Any]:
        async with Session(model or FakeModel(echo), **{"attempts": 1, **options}) as session, no_leaks(session):
            return await pattern.run(given, timeout=timeout)

    return run_virtual(main())


def failed(pattern: Any, kind: type[E], given: Any = "q", model: Any = None, **options: Any) -> E:
    """The error of `kind` that a step ends with."""
    with pytest.raises(kind) as caught:
        ran(pattern, given, model, **options)
    return caught.value


def echo(request: Request) -> str:
    """An answer that is the prompt itself."""
    return str(request.messages[-1].content)


def by_prompt(answers: dict[str, str | Exception]) -> Callable[[Request], str | Exception]:
    """Answers by what the prompt begins with."""

    def answer(request: Request) -> str | Exception:
        asked = str(request.messages[-1].content)
        return next(said for start, said in answers.items() if asked.startswith(start))

    return answer


def taking(seconds: float, outcome: Any = None, *, name: str = "taking") -> Any:
    """A step that takes its time, then gives `outcome` (default: its input), or raises it if it is an error."""

    async def take(given: Any) -> Any:
        await sleep(seconds)
        if isinstance(outcome, BaseException):
            raise outcome
        return given if outcome is None else outcome

    return step(name=name)(take)


def latencies(seed: int) -> Callable[[Request], float]:
    """Latencies drawn by a seed, some of them zero and some equal."""
    chance = random.Random(seed)
    return lambda _: chance.choice([0.0, 0.25, 0.25, chance.random()])
