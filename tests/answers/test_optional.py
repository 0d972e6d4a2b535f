"""Answers that may be none, so that a model can abstain."""

from typing import Any, Literal

import pytest

from fanfold.steps.answers import answer
from tests.answers.cases import DRESS, read, refused

Mail = Literal["spam", "ham"]
WithNone = Literal["none", "some"]


@pytest.mark.parametrize(
    "word", ["none", "None", "NONE.", "null", "N/A", "n/a", '{"answer": null}', '"none"', "**None**"]
)
@pytest.mark.parametrize("returns", [int | None, float | None, bool | None, Mail | None, str | None, list[str] | None])
def test_none_is_read(returns: Any, word: str) -> None:
    """The words "none", "null", "N/A" and JSON's null are None for every type that may be none."""
    assert read(returns, word) is None


@pytest.mark.parametrize("dress", sorted(set(DRESS) - {"json-half", "json-in-words"}))
def test_none_is_read_in_every_dress(dress: str) -> None:
    """None is read however it is put."""
    assert read(int | None, DRESS[dress]("none", None)) is None
    assert read(Mail | None, DRESS[dress]("none", None)) is None


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (int | None, "7", 7),
        (int | None, "Score: 7/10", 7),
        (int | None, '{"answer": 7}', 7),
        (None | int, "7", 7),
        (bool | None, "No, it is not", False),
        (Mail | None, "Answer: ham", "ham"),
        (Mail | None, "**Spam**", "spam"),
        (Literal["spam"] | None, "spam", "spam"),
        (list[int] | None, "[1, 2]", [1, 2]),
        (str | None, "None of your business", "None of your business"),
        (str | None, "  as it is ", "  as it is "),
        (str | None, '{"answer": "in JSON"}', "in JSON"),
        (str | None, '```json\n{"answer": "in JSON"}\n```', "in JSON"),
        (str | None, '{"other": 1}', '{"other": 1}'),
    ],
)
def test_values_are_read_as_ever(returns: Any, text: str, value: Any) -> None:
    """What is there is read as without ``| None``; text asked for in JSON comes out of it."""
    assert read(returns, text) == value


def test_none_with_a_reason_is_none() -> None:
    """The reply "None. The 3 …" is none, and not 3."""
    assert read(int | None, "None. The 3 parts say nothing of it.") is None
    assert read(int | None, "Answer: none") is None


def test_a_choice_called_none_is_a_choice() -> None:
    """Where "none" is a declared choice, it is that; other words for it still mean None."""
    assert read(WithNone | None, "none") == "none"
    assert read(WithNone | None, "null") is None


@pytest.mark.parametrize(
    ("returns", "text"),
    [(int | None, "several"), (int | None, "None of the 3 or 4"), (Mail | None, "neither"), (bool | None, "maybe")],
)
def test_what_is_neither_is_refused(returns: Any, text: str) -> None:
    """What is neither a value nor none is no answer."""
    assert "or none" in refused(returns, text)


@pytest.mark.parametrize(
    ("returns", "inner", "instruction"),
    [
        (
            int | None,
            {"type": "integer"},
            "Reply with only a whole number, in digits, or with none if there is no answer.",
        ),
        (
            Mail | None,
            {"type": "string", "enum": ["spam", "ham"]},
            "Reply with exactly one of: spam, ham, or with none if there is no answer.",
        ),
        (str | None, {"type": "string"}, "Reply with the answer, or with none if there is no answer."),
    ],
    ids=range(3),
)
def test_what_is_asked(returns: Any, inner: Any, instruction: str) -> None:
    """None is offered in the sentence and in the schema; the choices stay the declared ones."""
    asked = answer(returns)
    assert asked.instruction == instruction
    assert asked.schema is not None
    assert asked.schema["properties"] == {"answer": {"anyOf": [inner, {"type": "null"}]}}
    assert asked.choices == (("spam", "ham") if returns == Mail | None else None)
    assert not asked.is_text
