"""What holds for every text: reading raises nothing but `ParseError`, and a plain answer always reads back."""

import contextlib
import dataclasses
import datetime as dt
import json
from enum import Enum
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fanfold.errors import ParseError, UsageError
from fanfold.steps.answers import Answer, answer
from tests.answers.cases import DRESS


class Colour(Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


class Model(pydantic.BaseModel):
    label: Literal["spam", "ham"]
    score: int
    share: float = 0.0
    notes: list[str] = []
    inner: dict[str, int] = {}


@dataclasses.dataclass
class Point:
    x: int
    when: dt.date | None = None


TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "letters": Literal["A", "B", "C"],
    "words": Literal["spam", "not spam", "ham"],
    "stars": Literal[1, 2, 3],
    "case": Literal["us", "US"],
    "signs": Literal["C", "C++", "+", "-", "*"],
    "mixed": Literal["yes", 2, True],
    "enum": Colour,
    "texts": list[str],
    "ints": list[int],
    "choices": list[Literal["a", "b"]],
    "optional": int | None,
    "optional choice": Literal["a", "b"] | None,
    "optional text": str | None,
    "model": Model,
    "dataclass": Point,
    "models": list[Model],
    "mapping": dict[str, int],
    "optional model": Model | None,
    "union": int | str,
    "date": dt.date,
    "anything": Any,
}
ANSWERS: dict[str, Answer[Any]] = {name: answer(returns) for name, returns in TYPES.items()}

PIECES = [
    *("Answer", "answer is", ":", "(", ")", '("', '")', "\\boxed{", "}", "{", "[", "]", "[[", "]]", '"', "'", ","),
    *("yes", "no", "not", "spam", "ham", "A", "B", "C++", "1", "2", "7/10", "1e5", "-", "=", "3", "1,000", "%", "$"),
    *('{"answer":', "null", "true", '"label"', "**", "*", "_", "`", "```json\n", "```", "\n", "\n- ", "\n1. ", " "),
    *("or", "and", "<answer>", "</answer>", "</think>", "None", "N/A", "####", ".", "?", "!", "\u0130", "ß", "\ud800"),
]
REPLIES = (
    st.text(max_size=60)
    | st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
    | st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)
)


@pytest.mark.parametrize("name", TYPES)
@given(text=REPLIES)
@settings(max_examples=120)
@example(text="")
@example(text="{" * 3000)
@example(text="[" * 3000 + "]" * 3000)
@example(text='{"answer":' * 2000 + "1" + "}" * 2000)
@example(text="9" * 5000)
@example(text='{"label": "\\ud800", "score": 1e400}')
def test_reading_raises_nothing_but_parse_errors(name: str, text: str) -> None:
    """Whatever a server sends, reading it gives a value or a `ParseError` that carries the text."""
    error = refusal(ANSWERS[name], text)
    if error is not None:
        assert error.text == text
        assert str(error).startswith("wanted ")


def refusal(asked: Answer[Any], text: str) -> ParseError | None:
    """The error that reading a text gives, if any; other errors come through."""
    try:
        asked.read(text)
    except ParseError as error:
        return error
    return None


def check_dressed(
    asked: Answer[Any], text: str, sent: Any, value: Any, leave_out: frozenset[str] = frozenset()
) -> None:
    """A value is read back from every dress that a model may put it in."""
    for dress in DRESS.keys() - leave_out:
        dressed = DRESS[dress](text, sent)
        assert asked.read(dressed) == value, f"{dress}: {dressed!r}"


@given(st.integers(min_value=-(10**12), max_value=10**12))
@settings(max_examples=40)
def test_every_int_reads_back(value: int) -> None:
    """An int is read back from every dress, with separators of thousands too."""
    check_dressed(ANSWERS["int"], str(value), value, value)
    check_dressed(ANSWERS["int"], f"{value:,}", value, value)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=40)
def test_every_float_reads_back(value: float) -> None:
    """A finite float is read back to the last bit from every dress."""
    check_dressed(ANSWERS["float"], repr(value), value, value)


@given(st.booleans(), st.sampled_from([str, str.lower, str.upper]))
@settings(max_examples=12)
def test_every_bool_reads_back(value: bool, case: Any) -> None:
    """Yes and no, true and false are read back from every dress in any case."""
    check_dressed(ANSWERS["bool"], case("Yes" if value else "No"), value, value)
    check_dressed(ANSWERS["bool"], case(str(value)), value, value)


WORDS = st.text(alphabet="abcdefghij -", min_size=2, max_size=12).filter(lambda word: len(word.strip(" -")) > 1)
PHRASES = st.lists(WORDS.map(lambda word: " ".join(word.strip(" -").split())), min_size=2, max_size=5, unique=True)


@given(PHRASES, st.data())
@settings(max_examples=60)
def test_every_choice_reads_back(choices: list[str], data: st.DataObject) -> None:
    """Of any set of phrases that can be told apart, each is read back from every dress, in any case."""
    try:
        asked = answer(Literal[tuple(choices)])
    except UsageError:
        assume(False)
    for choice in asked.choices or ():
        text = data.draw(st.sampled_from([choice, choice.upper(), choice.capitalize()]))
        assume(not {"i"} & set(choice.split()))
        check_dressed(asked, text, choice, choice)


@given(st.sets(st.sampled_from("ABCDEFGHIJ"), min_size=2))
@settings(max_examples=25)
def test_every_letter_reads_back(letters: set[str]) -> None:
    """Of any set of letters each is read back from every dress."""
    asked = answer(Literal[tuple(sorted(letters))])
    for letter in letters:
        check_dressed(asked, letter, letter, letter)
        assert asked.read(f"{letter}) because it is") == letter
        assert asked.read(f'Thought: A rectangle is a shape.\nAction: Answer("{letter}")\n') == letter


@given(st.sampled_from(list(Colour)))
def test_every_member_reads_back(member: Colour) -> None:
    """An Enum's member is read back by value and by name."""
    check_dressed(ANSWERS["enum"], member.value, member.value, member)
    check_dressed(ANSWERS["enum"], member.name, member.name, member)


LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=20)
ITEMS = LINES.map(str.strip).filter(bool)


@given(st.lists(ITEMS, max_size=6))
def test_lists_of_texts_read_back_from_json(items: list[str]) -> None:
    """Any list of texts is read back from JSON, bare, wrapped and fenced."""
    asked = ANSWERS["texts"]
    for value in (items, {"answer": items}):
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), f"```json\n{json.dumps(value)}\n```"):
            assert asked.read(text) == items


@given(st.lists(ITEMS.filter(lambda item: not item.startswith(("[", "{", "```"))), min_size=1, max_size=6))
def test_lists_of_texts_read_back_from_bullets(items: list[str]) -> None:
    """Any list of one-line texts is read back from bullets and numbered lines, with talk around it."""
    asked = ANSWERS["texts"]
    assume(not any("[" in item or "{" in item for item in items))  # JSON in an item may be a list of its own
    bullets = "\n".join(f"- {item}" for item in items)
    numbers = "\n".join(f"{place}. {item}" for place, item in enumerate(items, 1))
    for text in (bullets, numbers, f"Here they are:\n\n{bullets}\n\nThat is all."):
        assert asked.read(text) == items


@given(st.lists(st.integers(-999, 999), min_size=1, max_size=8))
def test_lists_of_ints_read_back(items: list[int]) -> None:
    """A list of ints is read back from JSON, bullets and commas."""
    asked = ANSWERS["ints"]
    assert asked.read(json.dumps(items)) == items
    assert asked.read("\n".join(f"* {item}" for item in items)) == items
    assert asked.read(", ".join(map(str, items))) == items


MODELS = st.builds(
    Model,
    label=st.sampled_from(["spam", "ham"]),
    score=st.integers(-(2**53), 2**53),
    share=st.floats(allow_nan=False, allow_infinity=False),
    notes=st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=3),
    inner=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), st.integers(0, 9), max_size=3),
)


@given(MODELS)
def test_models_read_back(model: Model) -> None:
    """Any instance is read back from its JSON, bare, indented, wrapped, fenced and in the middle of prose."""
    asked, raw = ANSWERS["model"], model.model_dump_json()
    fenced = f"```json\n{model.model_dump_json(indent=2)}\n```"
    for text in (raw, fenced, f'{{"answer": {raw}}}', f"Here it is:\n\n{raw}\n\nAnything else?"):
        assert asked.read(text) == model
    assert ANSWERS["optional model"].read(raw) == model


@given(st.lists(MODELS, max_size=3))
def test_lists_of_models_read_back(models: list[Model]) -> None:
    """A list of models is read back from its JSON, bare and wrapped."""
    raw = "[" + ", ".join(model.model_dump_json() for model in models) + "]"
    for text in (raw, f'{{"answer": {raw}}}', f"```json\n{raw}\n```"):
        assert ANSWERS["models"].read(text) == models


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), st.integers(), max_size=4))
def test_mappings_read_back(mapping: dict[str, int]) -> None:
    """Any mapping is read back, one with a key "answer" among them."""
    assume(not any(key.casefold() == "answer" and isinstance(mapping[key], dict) for key in mapping))
    assert ANSWERS["mapping"].read(json.dumps(mapping)) == mapping


@given(st.integers(), st.dates() | st.none())
def test_dataclasses_read_back(x: int, when: dt.date | None) -> None:
    """A dataclass is read back with its dates."""
    assume(len(str(x)) < 4000)
    raw = json.dumps({"x": x, "when": None if when is None else when.isoformat()})
    assert ANSWERS["dataclass"].read(raw) == Point(x, when)


@given(st.text(max_size=200))
def test_text_is_never_touched(text: str) -> None:
    """As `str`, every text is its own answer."""
    assert ANSWERS["str"].read(text) == text


@given(REPLIES)
def test_a_choice_is_always_a_declared_one(text: str) -> None:
    """Whatever is read as a choice is one of the declared values, by type too."""
    for name in ("letters", "words", "stars", "case", "signs", "mixed", "enum"):
        with contextlib.suppress(ParseError):
            found = ANSWERS[name].read(text)
            assert any(
                found is choice or (found == choice and type(found) is type(choice)) for choice in ANSWERS[name].choices
            )


@given(REPLIES)
def test_reading_twice_gives_the_same(text: str) -> None:
    """Reading the same text twice gives the same: readers keep no state."""
    for asked in ANSWERS.values():
        assert outcome(asked, text) == outcome(asked, text)


def outcome(asked: Answer[Any], text: str) -> tuple[str, Any]:
    """What comes of reading a text."""
    try:
        return "value", asked.read(text)
    except ParseError as error:
        return "error", str(error)
