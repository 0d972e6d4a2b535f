"""Every pattern, on a model whose answers and latencies come from the request: for tests that run them again."""

import asyncio
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from fanfold import (
    Session,
    best_of,
    chain,
    check,
    evaluate,
    fallback,
    gate,
    gather,
    guard,
    map_over,
    prompt,
    race,
    retry,
    route,
    rules,
    sample,
    sections,
    step,
    vote,
)
from fanfold.core.records import Request
from fanfold.errors import FanfoldError, StatusError
from fanfold.journal import Journal
from fanfold.runs.run import Run
from fanfold.testing import FakeModel, no_leaks

Label = Literal["spam", "ham"]

spam = prompt("Spam?\n\n{input}", returns=Label, name="spam")
fragile = prompt("FRAGILE\n\n{input}", name="fragile")


@step
async def plain(given: str) -> str:
    """Plain Python: two at once, one started beside them, and one after the other."""
    handle = spam.start(given + " started")
    first, second = await gather(spam(given), spam(given + "!"))
    return f"{first} {second} {await handle} {await prompt('then {input}')(first)}"


@step
def shouted(given: str) -> str:
    return given.upper()


PATTERNS: dict[str, Any] = {
    "prompt": spam,
    "chain": chain(prompt("a {input}"), shouted, prompt("b {input}")),
    "vote": vote(spam, n=5),
    "vote all": vote(spam, n=5, stop=None),
    "vote wave": vote(spam, n=7, wave=3),
    "vote fragile": vote({"a": spam, "b": fragile, "c": spam}, quorum=1),
    "at least": vote(prompt("flag {input}", returns=bool), n=5, rule=rules.at_least(2, True)),
    "vote ties": vote(spam, n=4, ties=prompt("which of {tied}?", returns=Label)),
    "vote merge": vote(prompt("say {input}"), n=3, merge=prompt("merge {parts}")),
    "vote meaning": vote(prompt("say {input}"), n=3, same="meaning"),
    "sections": sections({"x": prompt("x {input}"), "y": prompt("y {input}")}, merge=prompt("{x} and {y}")),
    "sections fragile": sections({"x": prompt("x {input}"), "y": fragile, "z": prompt("z {input}")}, on_error="skip"),
    "map": map_over(spam, items=lambda given: [f"{given} {number}" for number in range(8)]),
    "sample": sample(prompt("say {input}"), n=3, distinct=True),
    "best of": best_of(prompt("draft {input}", temperature=0.8), n=3),
    "evaluate": evaluate({"good": "Is it good?", "kind": "Is it kind?"}),
    "guard": guard(prompt("answer {input}"), checks={"harm": prompt("harm {input}", returns=bool)}),
    "guard stream": guard(
        prompt("long {input}"), checks={"harm": check(prompt("harm {window}", returns=bool), on="stream", every=20)}
    ),
    "guard answer": guard(
        prompt("answer {input}"), checks={"harm": check(prompt("harm {answer}", returns=bool), on="answer")}
    ),
    "race": race(prompt("one {input}"), fragile, prompt("three {input}")),
    "fallback": fallback(fragile, prompt("second {input}")),
    "route": route(spam, {"spam": prompt("bin {input}"), "ham": prompt("read {input}")}),
    "gate": prompt("try {input}") | gate(lambda text: len(text) % 2 == 0, retries=3),
    "retry": retry(sections({"x": prompt("x {input}"), "y": fragile}), retries=3),
    "plain": plain,
    "nested": vote(chain(vote(spam, n=3), prompt("so {input}"), spam), n=3),
    "nested fragile": vote(
        {str(n): sections({"a": spam, "b": fragile}) | (lambda s: s["a"]) for n in range(5)}, quorum=1
    ),
}


class Moody(FakeModel):
    """Answers, latencies and failures by request, draw and seed: another seed gives another order and other answers.

    `asked` counts the requests, `answered` names those that were answered: by their draws.
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
        self.answered.append(f"{request.draw.header()} {request.messages[-1].content}")
        return reply

    def _say(self, request: Request) -> str | Exception:
        text = str(request.messages[-1].content)
        source = random.Random(f"{self.seed} {request.draw.header()} {text}")
        if text.startswith("FRAGILE") and source.random() < self.fails:
            return StatusError("refused", status=422, model=self.label)
        if request.schema is not None or text.startswith("long"):
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
