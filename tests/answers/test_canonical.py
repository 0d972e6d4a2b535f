"""Which ballots are the same vote, and what is stripped from a text before it is compared."""

import dataclasses
from collections import OrderedDict
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.errors import UsageError
from fanfold.folds.canonical import ballot_key, clean


class Colour(Enum):
    RED = "red"
    BLUE = "blue"
    CRIMSON = RED


class Paint(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


@dataclasses.dataclass
class Point:
    x: int
    label: str = "a"


class Model(pydantic.BaseModel):
    x: int
    label: str = "a"


class Loose(pydantic.BaseModel, extra="allow"):
    x: int


class Struct(msgspec.Struct):
    x: int
    label: str = "a"


class Pair(NamedTuple):
    x: int
    y: int


class Unhashable:
    __hash__ = None


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("spam", "spam"),
        ("  spam\n", "spam"),
        ("Spam", "Spam"),
        ("SPAM!!!", "SPAM"),
        ("spam.", "spam"),
        ("spam...", "spam"),
        ("spam…", "spam"),
        ("spam \u3002", "spam"),
        ("**spam**", "spam"),
        ("**spam**.", "spam"),
        ("**spam.**", "spam"),
        ("***spam***", "spam"),
        ("*spam*", "spam"),
        ("_spam_", "spam"),
        ("__spam__", "spam"),
        ("`spam`", "spam"),
        ("```spam```", "spam"),
        ('"spam"', "spam"),
        ("'spam'", "spam"),
        ("\u201cspam\u201d", "spam"),
        ("\u2018spam\u2019", "spam"),
        ("«spam»", "spam"),
        ('**"spam"**', "spam"),
        ('"**`spam`**."', "spam"),
        ("Answer: spam", "spam"),
        ("answer:spam", "spam"),
        ("ANSWER : spam", "spam"),
        ("Final answer: spam", "spam"),
        ("Final Answer:\nspam", "spam"),
        ("The answer is spam.", "spam"),
        ("The final answer is: spam", "spam"),
        ("The correct answer is spam", "spam"),
        ("**Answer:** spam", "spam"),
        ("**Answer**: spam", "spam"),
        ("**Answer: spam**", "spam"),
        ("**Final Answer:** **spam**", "spam"),
        ('Answer: "spam."', "spam"),
        ("Answer: Answer: spam", "spam"),
        ("new \t\n york", "new york"),
    ],
)
def test_dress_is_stripped(text: str, cleaned: str) -> None:
    """`clean` drops emphasis, quotes, closing punctuation, a lead-in and runs of whitespace, in any nesting."""
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "C#",
        "C++",
        "-5",
        ".5",
        "$5",
        "(B)",
        "#spam",
        "don't",
        "rock 'n' roll",
        "snake_case",
        "3*4",
        "a.b",
        "**a** and **b**",
        '"a" or "b"',
        "**a* b",
        "dogs'",
        "Answering machine",
        "answer",
        "the answers are",
        "Unanswered: x",
        "A/B",
        "50%",
        "Café",
    ],
)
def test_inner_text_stays(text: str) -> None:
    """`clean` keeps case, signs, and marks that do not enclose the whole."""
    assert clean(text) == text


@pytest.mark.parametrize("text", ["?", "!", "...", "**", "``", '""', "''", "*", "_", "?!"])
def test_a_text_of_dress_alone_stays(text: str) -> None:
    """A text that is nothing but dress is not cleaned to nothing."""
    assert clean(text) == text


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_text_is_empty(text: str) -> None:
    """Whitespace alone is cleaned to nothing."""
    assert clean(text) == ""


@pytest.mark.parametrize("text", ["Answer:", "**Answer:**", "Final answer: ."])
def test_a_lead_in_with_nothing_behind_it_is_text(text: str) -> None:
    """A lead-in is stripped only from in front of something."""
    assert "answer" in clean(text).casefold()


@given(st.text(alphabet="aA *_`\"'.:!?\n\u201c\u201d", max_size=40) | st.text(max_size=60))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    """`clean` has nothing left to do after it ran."""
    assert clean(clean(text)) == clean(text)


@given(st.text(max_size=60))
def test_cleaning_only_takes_away(text: str) -> None:
    """What `clean` gives is, whitespace aside, a part of what it was given."""
    assert "".join(clean(text).split()) in "".join(text.split())


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "unit", [" ", "*", "_", '"', "'", "`", ".", "a", "*a", "answer: ", "**answer:** ", "\u201c", "\"'", "* "]
)
def test_cleaning_a_long_text_takes_no_time(unit: str) -> None:
    """100 KB of anything repeated is cleaned at once."""
    clean(unit * (100_000 // len(unit)))
    clean(unit * (50_000 // len(unit)) + "x" + unit * (50_000 // len(unit)))


SAME = [
    ("spam", "SPAM"),
    ("spam", "**Spam**."),
    ("spam", "Answer: spam"),
    ("new york", "New   York!"),
    ("STRASSE", "straße"),
    (1, 1.0),
    (0, -0.0),
    (1, Decimal(1)),
    (0.5, Fraction(1, 2)),
    (float("nan"), float("nan")),
    (True, True),
    (Colour.RED, Colour.CRIMSON),
    ([1, 2], [1.0, 2.0]),
    ([1, 2], (1, 2)),
    (["Spam"], ["spam."]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 1}, OrderedDict(a=1)),
    ({"a": ["x"]}, {"a": ["X"]}),
    ({1, 2}, frozenset({2, 1})),
    (Point(1), Point(1, "A")),
    (Model(x=1), Model(x=1, label="a")),
    (Struct(1), Struct(1, "a")),
    (Point(1), Model(x=1)),
    (Model(x=1), Struct(1)),
    (Struct(1), {"x": 1, "label": "a"}),
    ([Point(1)], [{"x": 1, "label": "a"}]),
    (Pair(1, 2), [1, 2]),
    (b"a", b"a"),
    ([], ()),
    ({}, {}),
]

DIFFERENT = [
    ("spam", "ham"),
    ("?", "!"),
    ("1", 1),
    (True, 1),
    (False, 0),
    (True, "True"),
    (1, 2),
    (1, 1.5),
    ("red", Colour.RED),
    (Paint.RED, Colour.RED),
    (Level.LOW, 1),
    (Colour.RED, Colour.BLUE),
    ([1, 2], [2, 1]),
    ([1], [True]),
    ([1], ["1"]),
    ([], {}),
    ([1], {1}),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"A": 1}),
    ({"a": 1}, {"a": 1, "b": None}),
    (Point(1), Point(2)),
    (Model(x=1), Model(x=2)),
    (Loose(x=1, y=2), Loose(x=1, y=3)),
    (Loose(x=1, y=2), Loose(x=1)),
    (b"a", "a"),
    (None, "None"),
    (None, 0),
    ("C", "C++"),
    ("a b", "ab"),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=range(len(SAME)))
def test_alike_ballots_are_one_group(one: Any, other: Any) -> None:
    """What a person would count as the same vote has the same key, and keys can be hashed."""
    assert ballot_key(one) == ballot_key(other)
    assert hash(ballot_key(one)) == hash(ballot_key(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_unlike_ballots_are_two_groups(one: Any, other: Any) -> None:
    """What a person would count as two votes has two keys; True, 1 and "1" are three."""
    assert ballot_key(one) != ballot_key(other)


def test_other_hashable_values_count_as_themselves() -> None:
    """A value of a type of one's own that can be hashed is its own group."""
    mark = object()
    assert ballot_key(mark) == ballot_key(mark)
    assert ballot_key(mark) != ballot_key(object())
    assert ballot_key(Point) == ballot_key(Point)


@pytest.mark.parametrize("value", [Unhashable(), [Unhashable()], {"a": Unhashable()}, bytearray(b"x")], ids=range(4))
def test_what_cannot_be_compared_is_refused(value: Any) -> None:
    """A value that cannot be hashed and has no fields raises `UsageError`, which says what to return instead."""
    with pytest.raises(UsageError, match=r"cannot be counted: return a text"):
        ballot_key(value)


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@given(JSON)
def test_every_json_value_has_a_key(value: Any) -> None:
    """Whatever JSON can hold has a key that equals that of its copy and can be hashed."""
    copy = msgspec.json.decode(msgspec.json.encode(value))
    assert ballot_key(value) == ballot_key(copy)
    assert hash(ballot_key(value)) == hash(ballot_key(copy))


@given(st.text(min_size=1, max_size=20).filter(str.isalnum))
def test_dress_does_not_change_the_vote(word: str) -> None:
    """A word in bold, in quotes or behind "Answer:" is the same ballot."""
    for dressed in (f"**{word}**", f'"{word}".', f"Answer: {word}", f" {word}! "):
        assert ballot_key(dressed) == ballot_key(word)
