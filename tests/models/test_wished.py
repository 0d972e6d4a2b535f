"""What a typed prompt asks for in words, where no schema is sent: a fake model answers it all the same."""

import asyncio
import dataclasses
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from fanfold import OpenAI, Session, evaluate, prompt, vote
from fanfold.core.records import Message, Request
from fanfold.models.wished import wished
from fanfold.testing import FakeModel, ModelServer, run_virtual


class Tone(Enum):
    WARM = "warm"
    COLD = "very cold"


class Verdict(BaseModel):
    label: Literal["spam", "ham"]
    sure: bool
    reasons: list[str] = Field(description='With "quotes",\n\nand two lines.')


@dataclasses.dataclass
class Point:
    x: int
    y: float


TYPES: list[Any] = [
    *(str, int, float, bool, Tone, Verdict, Point),
    *(list[str], list[int], list[float], list[bool], list[Tone], list[Verdict]),
    *(Literal["spam", "ham"], Literal["a, b", 'say "c"', "d."], Literal[1, 2, 3], Literal["yes", "no", "none"]),
    *(int | None, str | None, Literal["a", "b"] | None, list[int] | None, list[int | None]),
    *(Annotated[int, Field(ge=0, le=100)], dict[str, int]),
]


def asked(returns: Any, seed: int = 0, **model: Any) -> Any:
    """What comes of a prompt that a model without structured output is asked."""

    async def ask() -> Any:
        async with Session(model=FakeModel(seed=seed, structured=False, **model)):
            return await prompt("What is it?\n\n{input}", returns=returns).run("a stone")

    return run_virtual(ask()).output


@pytest.mark.parametrize("returns", TYPES, ids=str)
def test_every_type_is_answered_in_words(returns: Any) -> None:
    """Its reply is read as that type, whatever chance gives."""
    for seed in range(20):
        asked(returns, seed)


def test_chance_gives_every_choice() -> None:
    """Not always the first."""
    assert {asked(Literal["a, b", 'say "c"', "d."], seed) for seed in range(40)} == {"a, b", 'say "c"', "d."}
    assert {asked(bool, seed) for seed in range(40)} == {True, False}


def test_a_judge_is_answered_in_words() -> None:
    """With a score on its scale."""

    async def judged() -> Any:
        async with Session(model=FakeModel(structured=False)):
            return await evaluate(["tone", "style"], scale=(2, 4)).run("a text")

    assert set(run_virtual(judged()).output) == {"tone", "style"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Write a poem.",
        "Reply with only love.",
        "Reply with exactly one of: a, b.\n\nNo, write a poem.",
        "Reply with only JSON that matches this JSON Schema: {broken}",
        'Reply with exactly one of: "C:\\dir", "D:\\dir".',
        'Reply with exactly one of: a, "b',
        "Reply with only one of:",
        "Reply with only a JSON array in which each item is a poem.",
        "End with a line of the form: Score: N (from bad to good).",
    ],
)
def test_other_words_are_no_type(text: str) -> None:
    """What fanfold itself would not say as its last sentence is answered by text, as ever."""
    assert wished(Request((Message("user", text),))) is None


def test_without_messages_nothing_is_wished() -> None:
    assert wished(Request(())) is None
    assert wished(Request((Message("user", []),))) is None


def test_the_parts_of_a_message() -> None:
    """Where a message has parts the sentence is the last of them."""
    parts = [{"type": "text", "text": "Look."}, {"type": "text", "text": "Reply with only a whole number, in digits."}]
    assert wished(Request((Message("user", parts),))) == {"type": "integer"}


def test_behind_an_unknown_base_url_the_mock_answers_typed_prompts() -> None:
    """A vote on what `fanfold mock --answers fake` says has valid ballots, though no schema is sent there."""
    spam = vote(prompt("Is it spam?\n\n{input}", returns=Literal["spam", "ham"]), 3)

    async def ask(url: str) -> Any:
        async with Session(model=OpenAI(name="m", base_url=url, api_key="k")):
            return await spam.run("Pills!")

    with ModelServer("fake") as server:
        run = asyncio.run(ask(server.url))
    assert run.output in {"spam", "ham"}
    assert run.made_up
    assert {ballot.kind for ballot in run.detail.ballots} == {"valid"}
