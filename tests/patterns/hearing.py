"""What the tests of patterns share: models by prompt and pace, everything that a run lets out, random cancellations."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from fanfold import Session, prompt
from fanfold.core.clock import now, sleep
from fanfold.core.records import Request
from fanfold.runs.run import Run
from fanfold.testing import FakeModel, no_leaks, run_virtual
from tests.core.fanning import Outcome
from tests.steps.running import Asked

MARK = "XYZZY"
"""A word that only the answer has."""


def asked(request: Request) -> str:
    """The last message's text."""
    return str(request.messages[-1].content)


def saying(answers: dict[str, tuple[float, Any]], **options: Any) -> Asked:
    """A model that answers by what the prompt begins with: seconds, and a text (or an error, or a function)."""

    def found(request: Request) -> tuple[float, Any]:
        text = asked(request)
        return next(said for start, said in answers.items() if text.startswith(start))

    def answer(request: Request) -> Any:
        said = found(request)[1]
        return said(request) if callable(said) else said

    return Asked(answer, latency=lambda request: found(request)[0], **options)


def ask(name: str, **options: Any) -> Any:
    """A prompt that begins with its name."""
    return prompt(f"{name}: {{input}}", name=name, **options)


class Heard:
    """Everything that one way of listening let out, with times, and how the run ended."""

    def __init__(self) -> None:
        self.items: list[tuple[float, Any]] = []
        self.run: Run[Any] | None = None
        self.error: BaseException | None = None
        self.ended = 0.0
        self.told: list[Any] = []

    @property
    def text(self) -> str:
        return "".join(item for _, item in self.items)

    def everything(self) -> str:
        """All of it as one text: items, events, errors, notes, what the errors carry."""
        errors = [self.error]
        while errors[-1] is not None:
            errors.append(errors[-1].__cause__ or errors[-1].__context__)
        seen = [self.items, self.told, errors, [getattr(error, "__dict__", {}) for error in errors]]
        if self.run is not None:
            seen += [self.run.events, self.run.calls, self.run.detail, self.run.output, self.run.error]
        return repr(seen)


def heard(pattern: Any, way: str, model: Any, given: Any = "q") -> Heard:
    """Listen to a pattern's `text`, `updates` or `events` (or only to its `run`) in virtual time; nothing is left."""

    async def main() -> Heard:
        found = Heard()
        async with Session(model, on_event=found.told.append) as session, no_leaks(session):
            with Outcome() as outcome:
                if way == "run":
                    outcome.came = await pattern.run(given, session=session)
                else:
                    async with getattr(pattern, way)(given, session=session) as listening:
                        async for item in listening:
                            found.items.append((now(), item))
                    outcome.came = listening.run
            found.ended = now()
        if isinstance(outcome.came, BaseException):
            found.error = outcome.came
            found.run = getattr(outcome.came, "run", None)
        else:
            found.run = outcome.came
        return found

    return run_virtual(main())


def cancelled_anywhere(make: Callable[[random.Random], tuple[Any, Any]], seeds: int = 100) -> list[str]:
    """Cancel a pattern at a random moment, for every seed; the outcomes. Nothing may be left 100 ms later."""
    outcomes = []
    for seed in range(seeds):
        chance = random.Random(seed)
        pattern, model = make(chance)
        outcomes.append(run_virtual(_cancelled(pattern, model, chance), seed=seed))
    return outcomes


async def _cancelled(pattern: Any, model: Any, chance: random.Random) -> str:
    async with Session(model) as session, no_leaks(session):
        task = asyncio.ensure_future(pattern.run("q", session=session))
        await sleep(chance.choice([0.0, 1e-6, 5e-6, 0.25, 0.250001, 0.5, 0.500002, chance.random() * 1.5]))
        task.cancel()
        with Outcome() as outcome:
            await task
    assert session.statistics().slots.in_use == 0
    return "done" if outcome.came is None else type(outcome.came).__name__


def paced(answer: Any, chance: random.Random) -> FakeModel:
    """A model with latencies that fall into the same ticks as cancellations."""
    pick = [0.0, 0.25, 0.25, 0.5, chance.random()]
    return FakeModel(answer, latency=lambda _: chance.choice(pick))
