"""Structures: models, dataclasses, TypedDicts and whatever else pydantic validates."""

import dataclasses
import datetime as dt
import decimal
import typing
import uuid
from enum import Enum
from typing import Annotated, Any, Literal, NewType

import pydantic
import pytest
import typing_extensions
from pydantic import Field

from fanfold.errors import UsageError
from fanfold.steps.answers import answer
from tests.answers.cases import read, refused


class Verdict(pydantic.BaseModel):
    label: Literal["spam", "ham"]
    score: int = Field(ge=1, le=10)
    why: str = ""


class Report(pydantic.BaseModel):
    title: str
    verdicts: list[Verdict]


class Strict(pydantic.BaseModel, strict=True):
    day: dt.date
    price: decimal.Decimal


class Aliased(pydantic.BaseModel):
    inner: int = Field(alias="out-er")


class Answered(pydantic.BaseModel):
    answer: str


class Node(pydantic.BaseModel):
    name: str
    children: list["Node"] = []


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Plain(typing.TypedDict):
    x: int
    note: typing.NotRequired[str]


class Newer(typing_extensions.TypedDict):
    x: int


class Nested(typing.TypedDict, total=False):
    points: list[Plain]


class Inside(typing.TypedDict):
    """Others of its kind, where they may be left out or be None."""

    best: typing.Required[Plain]
    last: Plain | None
    all: typing.NotRequired[list[Plain]]


Score = NewType("Score", int)
SPAM = Verdict(label="spam", score=7)


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "spam", "score": 7}',
        ' \n{"label": "spam", "score": 7}\n ',
        '{"label": "spam", "score": "7"}',
        '{"label": "spam", "score": 7.0}',
        '{"label": "spam", "score": 7, "more": true}',
        '```json\n{"label": "spam", "score": 7}\n```',
        '```\n{"label": "spam", "score": 7}\n```',
        'Sure! Here it is:\n\n```json\n{"label": "spam", "score": 7}\n```\nAnything else?',
        'Here it is: {"label": "spam", "score": 7}. Anything else?',
        '{"answer": {"label": "spam", "score": 7}}',
        '{"verdict": {"label": "spam", "score": 7}}',
        'In {braces} and [1]: {"label": "spam", "score": 7}',
        'Not {"label": "eggs"} but {"label": "spam", "score": 7}',
        '<think>{"label": "ham", "score": 1}?</think>{"label": "spam", "score": 7}',
        '{"label": "spam", "score": 7}\n{"label": "ham", "score": 1}',
        'With LaTeX \\frac{1}{2}: {"label": "spam", "score": 7}',
        '```python\nx = {1: 2}\n```\n```json\n{"label": "spam", "score": 7}\n```',
        '```json\n{"label": "spam", "score": 7}',
    ],
)
def test_a_model_is_found_wherever_its_json_stands(text: str) -> None:
    """The whole reply, fences, and the first object that fits, wrapped or not, are read in lax mode."""
    assert read(Verdict, text) == SPAM


def test_strings_in_json_may_hold_anything() -> None:
    """Braces, fences, quotes and raw line breaks inside JSON strings do not end it."""
    text = '{"label": "spam", "score": 7, "why": "a } b ``` c \\" d\ne"}'
    assert read(Verdict, text).why == 'a } b ``` c " d\ne'
    assert read(Verdict, f"So: {text} Bye").why == 'a } b ``` c " d\ne'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the reply is empty"),
        ("spam", "it has no JSON object"),
        ("[1, 2]", "it has no JSON object"),
        ('{"label": "spam", "score": 7', "it has no JSON object"),
        ("{'label': 'spam', 'score': 7}", "it has no JSON object"),
        ("{}", "label: Field required; score: Field required"),
        ('{"label": "spam"}', "score: Field required"),
        ('{"label": "eggs", "score": 7}', "label: Input should be 'spam' or 'ham'"),
        ('{"label": "spam", "score": 70}', "score: Input should be less than or equal to 10"),
        ('{"label": "spam", "score": "seven"}', "score: Input should be a valid integer"),
        ('{"label": "spam", "score": NaN}', "it has no JSON object"),
    ],
)
def test_what_does_not_fit_is_refused_in_short(text: str, says: str) -> None:
    """The message says which field has which problem, and is no dump: no input, no context, no address."""
    message = refused(Verdict, text)
    assert message.startswith("wanted a JSON object for Verdict, but ")
    assert says in message
    assert "http" not in message
    assert "\n" not in message


def test_of_many_problems_three_are_told() -> None:
    """A long list of problems is cut short, and its length told."""
    message = refused(Report, '{"title": "t", "verdicts": [{}, {}, {}]}')
    assert "verdicts.0.label: Field required; verdicts.0.score: Field required; verdicts.1.label" in message
    assert "; and 3 more" in message


def test_the_first_object_that_is_wrong_is_the_one_told_about() -> None:
    """Where several objects do not fit, the message is about the first."""
    assert "score: Input should be less" in refused(Verdict, '{"label": "ham", "score": 11} {"x": 1}')


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (Report, '{"title": "t", "verdicts": [{"label": "spam", "score": 7}]}', Report(title="t", verdicts=[SPAM])),
        (Report, '{"title": "t", "verdicts": []}', Report(title="t", verdicts=[])),
        (
            Strict,
            '{"day": "2024-01-02", "price": "9.90"}',
            Strict(day=dt.date(2024, 1, 2), price=decimal.Decimal("9.90")),
        ),
        (Aliased, '{"out-er": 1}', Aliased(**{"out-er": 1})),
        (Answered, '{"answer": "yes"}', Answered(answer="yes")),
        (Node, '{"name": "a", "children": [{"name": "b"}]}', Node(name="a", children=[Node(name="b")])),
        (Point, '{"x": 1, "y": "2"}', Point(1, 2)),
        (Point, 'Here: {"answer": {"x": 1}}', Point(1)),
        (Plain, '{"x": 1}', {"x": 1}),
        (Plain, '{"x": "1", "note": "n"}', {"x": 1, "note": "n"}),
        (Newer, '{"x": 1}', {"x": 1}),
        (Nested, '{"points": [{"x": 1}]}', {"points": [{"x": 1}]}),
        (Nested, "{}", {}),
        (Plain | None, '{"x": 1}', {"x": 1}),
        (Plain | None, "none", None),
        (list[Plain | None], '[{"x": 1}, null]', [{"x": 1}, None]),
        (Plain | Verdict, '{"label": "spam", "score": 7}', SPAM),
        (Inside, '{"best": {"x": 1}, "last": null}', {"best": {"x": 1}, "last": None}),
        (Inside, '{"best": {"x": 1}, "last": {"x": 2}, "all": []}', {"best": {"x": 1}, "last": {"x": 2}, "all": []}),
        (list[Verdict], '[{"label": "spam", "score": 7}]', [SPAM]),
        (list[Verdict], '{"answer": [{"label": "spam", "score": 7}]}', [SPAM]),
        (list[Verdict], "[]", []),
        (list[Plain], 'So: [{"x": 1}, {"x": 2}]', [{"x": 1}, {"x": 2}]),
        (list[list[int]], "[[1, 2], [3]]", [[1, 2], [3]]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (dict[str, int], '{"answer": {"a": 1}}', {"a": 1}),
        (dict[str, int], '{"answer": 1}', {"answer": 1}),
        (dict[str, Plain], '{"a": {"x": 1}}', {"a": {"x": 1}}),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (set[str], '{"answer": ["a", "a"]}', {"a"}),
        (Verdict | None, '{"answer": {"label": "spam", "score": 7}}', SPAM),
        (Verdict | None, '{"label": "spam", "score": 7}', SPAM),
        (Verdict | None, '{"answer": null}', None),
        (Verdict | None, "null", None),
        (Verdict | None, "None.", None),
        (list[Verdict] | None, "N/A", None),
        (Verdict | Point, '{"answer": {"x": 1}}', Point(1)),
        (int | str, '{"answer": 7}', 7),
        (int | str, "some words", "some words"),
        (dt.date, "2024-01-02", dt.date(2024, 1, 2)),
        (dt.date, "Answer: 2024-01-02.", dt.date(2024, 1, 2)),
        (dt.date, '{"answer": "2024-01-02"}', dt.date(2024, 1, 2)),
        (decimal.Decimal, "**9.90**", decimal.Decimal("9.90")),
        (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ],
    ids=range(44),
)
def test_whatever_pydantic_validates_can_be_returned(returns: Any, text: str, value: Any) -> None:
    """Models, dataclasses, TypedDicts (of either module), unions, mappings, dates: all are read, wrapped or bare."""
    found = read(returns, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("returns", "text", "says"),
    [
        (list[Verdict], '[{"label": "spam"}]', "0.score: Field required"),
        (list[Verdict], "none of it", "it has no JSON"),
        (dict[str, int], '{"a": "x"}', "a: Input should be a valid integer"),
        (Verdict | None, "nothing to say", "it has no JSON"),
        (dt.date, "yesterday", "it has no JSON"),
        (dt.date, "7/10/2024", "it has no JSON"),
        (Point, '{"y": 1}', "x: Field required"),
        (Plain, '{"note": "n"}', "x: Field required"),
        (Aliased, '{"inner": 1}', "out-er: Field required"),
    ],
    ids=range(9),
)
def test_what_pydantic_refuses_is_refused(returns: Any, text: str, says: str) -> None:
    """The reason is pydantic's, in one line."""
    assert says in refused(returns, text)


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (Annotated[int, Field(ge=1, le=10)], "Score: 7/10, for 2 reasons", 7),
        (Annotated[int, Field(ge=1, le=10)], '{"answer": 7}', 7),
        (Annotated[int, "a note"], "**7**", 7),
        (Annotated[Literal["a b", "c"], "a note"], "Answer: A B", "a b"),
        (Annotated[list[int], Field(max_length=2)], "- 1\n- 2", [1, 2]),
        (Annotated[str, Field(max_length=9)], "some text", "some text"),
        (Annotated[str, Field(max_length=9)], '{"answer": "some text"}', "some text"),
        (Annotated[Verdict, Field(description="d")], '{"label": "spam", "score": 7}', SPAM),
        (Score, "Score: 7", 7),
    ],
    ids=range(9),
)
def test_refined_types_are_read_like_what_they_refine(returns: Any, text: str, value: Any) -> None:
    """``Annotated`` and NewType of a simple type are read as leniently as it is, and then validated."""
    assert read(returns, text) == value


@pytest.mark.parametrize(
    ("returns", "text", "says"),
    [
        (Annotated[int, Field(ge=1, le=10)], "Score: 12", "less than or equal to 10"),
        (Annotated[int, Field(ge=1, le=10)], "seven", "wanted a whole number, but it has none"),
        (Annotated[list[int], Field(max_length=2)], "1, 2, 3", "at most 2 items"),
    ],
    ids=range(3),
)
def test_refined_types_hold_their_bounds(returns: Any, text: str, says: str) -> None:
    """A value outside the bounds is no answer."""
    assert says in refused(returns, text)


def test_refined_choices_stay_choices() -> None:
    """The declared order of a refined Literal is known to a vote."""
    assert answer(Annotated[Literal["b", "a"], "note"]).choices == ("b", "a")


@pytest.mark.parametrize(
    ("returns", "told"),
    [
        (Annotated[int, Field(ge=1, le=5)], '"minimum":1,"maximum":5'),
        (Annotated[float, Field(gt=0, lt=1)], '"exclusiveMinimum":0'),
        (Annotated[str, Field(max_length=9)], "longest length: 9"),
        (Annotated[bool, Field(description="whether it is spam")], "whether it is spam"),
        (Annotated[list[int], Field(max_length=2)], '"maxItems":2'),
    ],
)
def test_what_refines_a_type_is_told_where_no_schema_is_sent(returns: Any, told: str) -> None:
    """A model that is not told of the bounds of a number would be held to them all the same."""
    assert told in answer(returns).instruction


@pytest.mark.parametrize(
    "text",
    ['{"answer": "a title"}', 'Here is the JSON:\n```json\n{"answer": "a title"}\n```', "a title"],
    ids=["bare", "in talk", "plain"],
)
def test_a_text_that_was_asked_for_as_json_is_what_the_json_holds(text: str) -> None:
    """Bounds of a text are told as a schema, and models put words in front of JSON."""
    assert read(Annotated[str, Field(max_length=60)], text) == "a title"


class Tone(Enum):
    WARM = "warm"
    COLD = "cold"


@pytest.mark.parametrize(
    "plain",
    [
        int,
        float,
        bool,
        str,
        list,
        list[str],
        list[Tone],
        Tone | None,
        Literal["a", "b"],
        Literal["a"] | None,
        Literal[1, "b"],
    ],
    ids=str,
)
def test_a_note_alone_leaves_the_sentence_as_it_is(plain: Any) -> None:
    """What says nothing to a schema says nothing to the model."""
    assert answer(Annotated[plain, "a note"]).instruction == answer(plain).instruction


class Unknown:
    pass


class HoldsUnknown(pydantic.BaseModel, arbitrary_types_allowed=True):
    it: Unknown


UNSUPPORTED: list[tuple[Any, str]] = [
    (None, "None"),
    (type(None), "NoneType"),
    ("str", "'str'"),
    (7, "7"),
    (["spam", "ham"], r"\['spam', 'ham'\]"),
    (("spam",), r"\('spam',\)"),
    ({"a": int}, "{'a'"),
    (print, "built-in function print"),
    (lambda: 1, "function"),
    (Unknown(), "Unknown object"),
    (Unknown, "Unknown"),
    (list[Unknown], "Unknown"),
    (Unknown | None, "Unknown"),
    (dict[str, Unknown], "Unknown"),
    (HoldsUnknown, "HoldsUnknown"),
    (typing.Callable[[int], int], "Callable"),
    (list[typing.ForwardRef("Undefined")], "Undefined"),
]


@pytest.mark.parametrize(("returns", "name"), UNSUPPORTED, ids=range(len(UNSUPPORTED)))
def test_what_no_reply_can_be_read_as_is_refused(returns: Any, name: str) -> None:
    """Anything else raises `UsageError` when the prompt is made, which names it and says what is supported."""
    with pytest.raises(UsageError, match=rf"returns=.*{name}.* is not supported.*: use str, int, .*a TypedDict"):
        answer(returns)


@pytest.mark.parametrize(
    ("returns", "name"),
    [
        (Verdict, "Verdict"),
        (Point, "Point"),
        (Plain, "Plain"),
        (Node, "Node"),
        (list[Verdict], "answer"),
        (Verdict | None, "answer"),
        (dict[str, int], "answer"),
        (pydantic.create_model("Box[int]", x=(int, ...)), "Box_int_"),
        (pydantic.create_model("L" * 80, x=(int, ...)), "L" * 64),
    ],
    ids=range(9),
)
def test_the_schema_is_named_after_the_model(returns: Any, name: str) -> None:
    """A schema's name has only what servers take: letters, digits, underscores and hyphens, 64 at most."""
    assert answer(returns).name == name


def test_a_model_is_asked_for_by_its_schema() -> None:
    """The instruction is one sentence with the JSON Schema in it."""
    assert answer(Point).instruction == (
        "Reply with only JSON that matches this JSON Schema: "
        '{"type":"object","properties":{"x":{"type":"integer"},"y":{"type":"integer"}},'
        '"required":["x","y"],"additionalProperties":false}'
    )
    assert '"additionalProperties":{"type":"integer"}' in answer(dict[str, int]).instruction
