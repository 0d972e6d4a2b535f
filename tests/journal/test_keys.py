"""What is the same request, the same run, and the same answer for everybody."""

import asyncio
import enum
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanfold import Session, prompt, vote
from fanfold.core.records import Draw, Message, Request
from fanfold.errors import StatusError
from fanfold.journal import Journal
from fanfold.journal.entries import digest_of
from fanfold.steps.keys import digest_of as input_digest
from fanfold.steps.keys import opaque, step_digest
from fanfold.testing import FakeModel
from tests.journal.patterns import Moody, ran, spam


def some_request(chance: random.Random) -> tuple[str, Request]:
    """A model and a request, drawn at random."""
    text = "".join(chance.choices("ab \n{}\"'é🙂", k=chance.randrange(1, 6)))
    schema = chance.choice(
        [None, {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}]
    )
    return chance.choice(["openai:m", "openai:m2", "fake:"]), Request(
        tuple(Message(chance.choice(["user", "system"]), text) for _ in range(chance.randrange(1, 3))),
        chance.choice([None, 0.0, 1.0]),
        chance.choice([None, 1, 100]),
        schema,
        extra_body=chance.choice([None, {"seed": 1, "top_p": 0.5}]),
        n=chance.choice([1, 2]),
    )


def changed(chance: random.Random, model: str, request: Request) -> tuple[str, Request]:
    """The same but for one thing that matters."""
    replace = msgspec.structs.replace
    first, *rest = request.messages
    changes: list[Any] = [
        lambda: (model + "x", request),
        lambda: (model, replace(request, messages=(Message(first.role, f"{first.content} "), *rest))),
        lambda: (model, replace(request, messages=(Message(f"{first.role}x", first.content), *rest))),
        lambda: (model, replace(request, messages=(*request.messages, Message("user", "")))),
        lambda: (model, replace(request, temperature=(request.temperature or 0.0) + 0.1)),
        lambda: (model, replace(request, max_tokens=(request.max_tokens or 0) + 1)),
        lambda: (model, replace(request, schema={"type": "string"})),
        lambda: (model, replace(request, schema_name="another")),
        lambda: (model, replace(request, structured=True)),
        lambda: (model, replace(request, extra_body={"seed": 2, "top_p": 0.5})),
        lambda: (model, replace(request, n=request.n + 1)),
    ]
    return chance.choice(changes)()


def same(chance: random.Random, request: Request) -> Request:
    """The same, written otherwise: other order of keys, another draw, another way of delivery."""
    return msgspec.structs.replace(
        request,
        schema=None if request.schema is None else dict(reversed(request.schema.items())),
        extra_body=None if request.extra_body is None else dict(reversed(request.extra_body.items())),
        draw=Draw("elsewhere", chance.randrange(9), 1),
        stream=not request.stream,
    )


def name(model: str, request: Request) -> bytes:
    return digest_of(model.encode(), request.key())


def test_what_matters_is_a_miss_and_what_does_not_is_a_hit() -> None:
    """10,000 generated pairs: any change of model, messages, parameters or schema misses; no other change does."""
    chance = random.Random(8)
    for _ in range(10_000):
        model, request = some_request(chance)
        assert name(model, same(chance, request)) == name(model, request)
        assert name(*changed(chance, model, request)) != name(model, request)


def test_parts_do_not_run_together() -> None:
    """Where one part ends and the next begins matters."""
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")
    assert digest_of(b"ab") != digest_of(b"a", b"b")


@dataclass
class Mail:
    subject: str
    urgent: bool


class Colour(enum.Enum):
    RED = 1


class Plain:
    def __init__(self) -> None:
        self.x = 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "b"),
        ("1", 1),
        (1, 1.5),
        ({"a": 1}, {"a": 2}),
        ([1, 2], [2, 1]),
        (Mail("x", urgent=True), Mail("x", urgent=False)),
        (Mail("x", urgent=True), {"subject": "x", "urgent": True}),
        (Colour.RED, "red"),
        (b"c", b"d"),
        (None, "null"),
        ({1, 2}, {1, 3}),
    ],
)
def test_inputs_have_digests(one: Any, other: Any) -> None:
    """Inputs are told apart by what they hold, and found again by it."""
    assert input_digest(one) is not None
    assert input_digest(one) != input_digest(other)


def test_equal_inputs_are_equal() -> None:
    """The order of a mapping's keys, or of a set's members, is nothing to go by."""
    assert input_digest({"a": 1, "b": [Mail("x", urgent=True)]}) == input_digest(
        {"b": [Mail("x", urgent=True)], "a": 1}
    )
    assert input_digest({"x", "y", "z"}) == input_digest({"z", "y", "x"})


def test_what_only_this_process_knows_has_none() -> None:
    """An address is no text of one's own; the type is named."""
    assert input_digest({"deep": [Plain()]}) is None
    assert opaque({"deep": [Plain()]}) == "Plain"


def test_a_steps_fingerprint_is_kept(tmp_path: Path) -> None:
    """It is worked out once, and two steps that ask the same have the same."""
    assert step_digest(prompt("a {input}")) == step_digest(prompt("a {input}"))
    assert step_digest(prompt("a {input}")) != step_digest(prompt("b {input}"))
    assert step_digest(spam) is step_digest(spam)


def test_a_cache_answers_every_run(tmp_path: Path) -> None:
    """An equal request is answered from the journal, in another run, another place and another sitting."""
    path = tmp_path / "j.db"
    label = prompt("{input}", returns=bool)
    model = Moody()
    first = ran(path, label, model=model, mode="cache")
    other = Moody(3)
    second = ran(path, vote({"a": label}), model=other, mode="cache")
    assert (second.output, model.asked, other.asked) == (first.output, 1, 0)
    assert [call.replayed for call in second.calls] == [True]


def test_a_cache_keeps_samples_apart(tmp_path: Path) -> None:
    """Five votes are five samples, in the cache too: the second five are those, and a sixth is asked."""
    path = tmp_path / "j.db"
    label = prompt("{input}", returns=bool)
    answers = FakeModel(["true", "false", "true", "false", "false"])
    first = ran(path, vote(label, n=5, stop=None), model=answers, mode="cache")
    model = Moody()
    second = ran(path, vote(label, n=6, stop=None), model=model, mode="cache")
    assert model.asked == 1
    kinds = [ballot.value for ballot in second.detail.ballots]
    assert kinds[:5] == [ballot.value for ballot in first.detail.ballots] == [True, False, True, False, False]


def test_a_cache_forgets_what_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer older than max_age is asked for again."""
    path = tmp_path / "j.db"

    def asked(later: float) -> int:
        model = Moody()

        async def main() -> None:
            async with Session(model, journal=Journal(path, mode="cache", max_age=60)):
                await spam.run("x")

        with monkeypatch.context() as patch:
            now = 1_800_000_000.0 + later
            patch.setattr("fanfold.journal.journal.wall", lambda: now)
            patch.setattr("fanfold.journal.book.wall", lambda: now)
            asyncio.run(main())
        return model.asked

    assert [asked(0), asked(59), asked(61)] == [1, 0, 1]


def test_a_cache_keeps_no_errors(tmp_path: Path) -> None:
    """A failure is not an answer: it is asked for again."""
    path = tmp_path / "j.db"
    failing = FakeModel(lambda _: StatusError("no", status=422))
    assert isinstance(ran(path, spam, model=failing, mode="cache"), StatusError)
    model = Moody()
    ran(path, spam, model=model, mode="cache")
    assert model.asked == 1
