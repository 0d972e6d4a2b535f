"""A guard in a run that is resumed or replayed: what gets out of it was judged, whatever was judged before."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fanfold import Session, check, guard, prompt, step
from fanfold.core.clock import sleep
from fanfold.core.records import Request
from fanfold.errors import StreamCut
from fanfold.journal import Journal
from fanfold.testing import FakeModel
from tests.journal.patterns import outcome_of

WRITE = prompt("Write about {input}", name="write")
CHECKS = {
    "whole": check(prompt("Harm? {answer}", returns=bool), on="answer"),
    "windows": check(prompt("Harm? {window}", returns=bool), on="stream", every=10),
}


class Writer(FakeModel):
    """Writes about what it is asked to, and calls a text with a bomb in it harmful; `judged` is what it was shown."""

    def __init__(self, subject: str = "") -> None:
        super().__init__(self._say, latency=0.001)
        self.subject = subject
        self.judged: list[str] = []
        self.asked = 0

    def _say(self, request: Request) -> str:
        text = str(request.messages[-1].content)
        self.asked += 1
        if not text.startswith("Harm"):
            return f"A long text: {self.subject or text} " * 3
        self.judged.append(text)
        return str("bomb" in text).lower()


def sitting(path: Path, pattern: Any, model: Any, given: str = "tea", *, mode: Any = "resume", **options: Any) -> Any:
    async def main() -> Any:
        async with Session(model, journal=Journal(path, mode=mode)):
            return await pattern.run(given, **options)

    return asyncio.run(main())


@pytest.mark.parametrize("on", CHECKS)
@pytest.mark.parametrize("mode", ["resume", "replay"])
def test_an_answer_that_takes_its_time_is_judged_as_it_was(tmp_path: Path, on: str, mode: str) -> None:
    """A check on the answer begins when that is there, however long what is done anew before it takes."""
    path = tmp_path / "j.db"

    @step
    async def look_up(subject: str) -> str:
        await sleep(0.01)
        return f"{subject}, as found"

    pattern = guard(look_up | WRITE, {on: CHECKS[on]})
    first = sitting(path, pattern, Writer())
    again = sitting(path, pattern, model := Writer(), mode=mode)
    assert (outcome_of(again), model.asked) == (outcome_of(first), 0)


@pytest.mark.parametrize("on", CHECKS)
def test_an_answer_that_is_another_is_judged(tmp_path: Path, on: str) -> None:
    """Where a function before it finds something else, the answer is asked anew, and what is let out is judged anew."""
    path = tmp_path / "j.db"
    found = iter(["tea", "a bomb"])

    @step
    async def look_up(_: str) -> str:
        return next(found)

    pattern = guard(look_up | WRITE, {on: CHECKS[on]})
    assert sitting(path, pattern, Writer()).detail.tripped is None
    again = sitting(path, pattern, model := Writer())
    assert (again.detail.tripped, "bomb" in again.output) == (on, False)
    assert "bomb" in model.judged[-1]


@pytest.mark.parametrize("on", CHECKS)
def test_an_answer_of_another_model_is_judged(tmp_path: Path, on: str) -> None:
    """Its checks have seen another text, and what they said of that does not count."""
    path = tmp_path / "j.db"
    pattern = guard(WRITE, {on: CHECKS[on]})
    assert sitting(path, pattern, Writer()).detail.tripped is None
    other = Writer("a bomb")
    other.label = "fake:other"
    assert sitting(path, pattern, other).detail.tripped == on


@pytest.mark.parametrize("on", CHECKS)
def test_an_answer_to_another_input_is_judged(tmp_path: Path, on: str) -> None:
    """A key names one run, whatever its input: no verdict on one answer is one on another."""
    path = tmp_path / "j.db"
    pattern = guard(WRITE, {on: CHECKS[on]})
    assert sitting(path, pattern, Writer(), key="row").detail.tripped is None
    assert sitting(path, pattern, Writer(), "a bomb", key="row").detail.tripped == on
    third = sitting(path, pattern, model := Writer(), "a bomb", key="row")
    assert (third.detail.tripped, model.asked) == (on, 0)


class Breaking(Writer):
    """Its streams end before their reply is whole."""

    async def _deliver(self, text: str, seconds: float, request: Request, watch: Any) -> None:
        await super()._deliver(text, seconds, request, watch)
        if request.stream:
            raise StreamCut("ended early", text=text)


def test_an_answer_that_breaks_is_heard_no_further_than_it_is_judged(tmp_path: Path) -> None:
    """What was judged was another's answer, which was whole; of the one that breaks off, all text would get out."""
    path = tmp_path / "j.db"
    pattern = guard(WRITE, {"windows": check(lambda window: "bomb" in window, on="stream", every=10)})
    sitting(path, pattern, Writer())
    other = Breaking("a bomb")
    other.label = "fake:other"

    async def main() -> str:
        async with Session(other, journal=Journal(path)), pattern.text("tea") as pieces:
            return "".join([piece async for piece in pieces])

    assert "bomb" not in asyncio.run(main())
