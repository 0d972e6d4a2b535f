"""What the tests of patterns share: models by prompt and pace, everything that a run lets out, random cancellations."""

from typing import Any

from fanfold import Session, prompt
from fanfold.core.clock import now
from fanfold.core.records import Request
from fanfold.runs.run import Run
from fanfold.testing import no_leaks, run_virtual
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
        async with Session(model, attempts=1, on_event=found.told.append) as session, no_leaks(session):
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
