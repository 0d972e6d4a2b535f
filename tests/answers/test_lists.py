"""Lists: a JSON array, bullets, or commas; each item read by the type of the items."""

from enum import Enum
from typing import Any, Literal

import pytest

from fanfold.steps.answers import answer
from tests.answers.cases import read, refused

Mail = Literal["spam", "ham"]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    "text",
    [
        '["red", "green", "blue"]',
        ' [ "red" , "green" , "blue" ]\n',
        '["red ", " green", "\\tblue"]',
        '{"answer": ["red", "green", "blue"]}',
        '{"colours": ["red", "green", "blue"]}',
        '{"reason": "they are", "answer": ["red", "green", "blue"]}',
        '```json\n["red", "green", "blue"]\n```',
        '```\n{"answer": ["red", "green", "blue"]}\n```',
        'Here they are: ["red", "green", "blue"]. Bye.',
        'As [1] says:\n```json\n["red", "green", "blue"]\n```',
        "- red\n- green\n- blue",
        "* red\n* green\n* blue",
        "\u2022 red\n\u2022 green\n\u2022 blue",
        "+ red\n+ green\n+ blue",
        "1. red\n2. green\n3. blue",
        "1) red\n2) green\n3) blue",
        "(1) red\n(2) green\n(3) blue",
        "Here they are:\n\n- red\n- green\n- blue\n\nThat is all.",
        "  - red\n  - green\n  - blue  ",
        "- red\n\n- green\n\n- blue\n",
        "As [1] says:\n- red\n- green\n- blue",
        "- [ ] red\n- [ ] green\n- [x] blue",
        "To do:\n\n1. [ ] red\n2. [ ] green\n3. [X] blue",
        "[ ] red\n[x] green\n[ ] blue",
        "red, green, blue",
        "red,green,blue",
        "red, green, and blue",
        "red, green, or blue",
        "Answer: red, green, blue",
        "**red, green, blue**",
        '"red", "green", "blue"',
        "'red', 'green', 'blue'",
        "`red`, `green`, `blue`",
        "<think>red? - blue?</think>red, green, blue",
    ],
)
def test_lists_of_texts_are_read_however_they_are_written(text: str) -> None:
    """A JSON array, an object around it, bullets, numbers and commas all give the same list, trimmed."""
    assert read(list[str], text) == ["red", "green", "blue"]
    assert read(list, text) == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[]", []),
        ('{"answer": []}', []),
        ("```json\n[]\n```", []),
        ("None.", []),
        ("**none**", []),
        ("N/A", []),
        ('["none"]', ["none"]),
        ("None of these, red", ["None of these", "red"]),
        ('["red"]', ["red"]),
        ("- red", ["red"]),
        ("red", ["red"]),
        ('["Red, white and blue"]', ["Red, white and blue"]),
        ("- Red, white\n- Blue", ["Red, white", "Blue"]),
        ("- **Tone**: formal\n- `x`", ["**Tone**: formal", "`x`"]),
        ("1. It rains.\n2. It pours.", ["It rains.", "It pours."]),
        ('["a\nb"]', ["a\nb"]),
        ("red, green and blue", ["red", "green and blue"]),
        ("a, and b", ["a", "and b"]),
    ],
)
def test_items_stay_as_they_are(text: str, value: list[str]) -> None:
    """Items of text are trimmed and otherwise kept; an empty array is an empty list, and so is "none" alone."""
    assert read(list[str], text) == value


def test_a_box_is_no_empty_array() -> None:
    """A list of tasks in Markdown has its tasks; of choices, only what is ticked is one."""
    assert read(list[str], "- [ ] Call [Bob](x)\n- [x] Buy milk") == ["Call [Bob](x)", "Buy milk"]
    assert read(list[str], "* [ ] one\n  - [ ] a detail") == ["one\n- a detail"]
    assert read(list[str], "None open: []") == []
    assert read(list[str], "Answer: [ ] none") == []
    assert read(list[Mail], "Answer: [ ] as there is none") == []
    assert read(list[Mail], "- [x] ham") == ["ham"]
    refused(list[Mail], "- [ ] spam\n- [x] ham")
    refused(list[dict[str, int]], "- [ ] spam\n- [x] ham")


def test_what_is_indented_belongs_to_its_bullet() -> None:
    """Lines indented below a bullet, bullets among them, are part of its item."""
    text = "Two points:\n\n* first\n  goes on\n  - a detail\n* second\n\nThe end.\n  (indented)"
    assert read(list[str], text) == ["first\ngoes on\n- a detail", "second"]


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
def test_an_empty_reply_is_no_list(text: str) -> None:
    """Nothing is not the empty list."""
    assert "the reply is empty" in refused(list[str], text)


@pytest.mark.parametrize(
    "text",
    [
        "First line of prose.\nSecond line of prose.",
        "red\ngreen\nblue",
        "['red', 'green']",
        '["red", "green"',
        '["red", 1]',
        "[1, 2]",
        '{"a": ["x"], "b": ["y"]}',
        '{"answer": "red"}',
        "{}",
        "[null]",
        "1,234",
    ],
)
def test_what_is_no_list_of_texts_is_refused(text: str) -> None:
    """Prose, broken JSON and arrays of other things are not split into pieces."""
    assert "wanted a list of texts" in refused(list[str], text)


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (list[int], "[1, 2, 3]", [1, 2, 3]),
        (list[int], '["1", "2"]', [1, 2]),
        (list[int], "1, 2, 3", [1, 2, 3]),
        (list[int], "1,2,3", [1, 2, 3]),
        (list[int], "1,000, 2,000", [1000, 2000]),
        (list[int], "1. 5\n2. 6", [5, 6]),
        (list[int], "- 7/10\n- Score: 8", [7, 8]),
        (list[int], "7", [7]),
        (list[float], "[1, 2.5]", [1.0, 2.5]),
        (list[float], "0.5, .25", [0.5, 0.25]),
        (list[bool], '[true, "No", "yes"]', [True, False, True]),
        (list[bool], "1. Yes, it is\n2. No, it is not", [True, False]),
        (list[Mail], '["Spam", "ham"]', ["spam", "ham"]),
        (list[Mail], "spam, ham, ham", ["spam", "ham", "ham"]),
        (list[Mail], "- **Spam** because\n- Ham", ["spam", "ham"]),
        (list[Colour], '["red", "BLUE"]', [Colour.RED, Colour.BLUE]),
        (list[Colour], "red, blue", [Colour.RED, Colour.BLUE]),
        (list[int | None], '[1, "none"]', [1, None]),
        (list[int | None], '{"answer": [1, null]}', [1, None]),
        (list[str | None], '["x", null]', ["x", None]),
        (list[Literal["a"] | None], "[null]", [None]),
    ],
)
def test_items_are_read_by_their_type(returns: Any, text: str, value: list[Any]) -> None:
    """Each item is read as leniently as a reply of its type alone would be."""
    found = read(returns, text)
    assert found == value
    assert [type(item) for item in found] == [type(item) for item in value]


@pytest.mark.parametrize(
    ("returns", "text", "says"),
    [
        (list[int], "[1, 7.5]", "item 2 is not a whole number (7.5 is not whole)"),
        (list[int], "1, x, 3", "item 2 is not a whole number (it has none)"),
        (list[int], "- 1\n- two", "item 2 is not a whole number"),
        (list[int], "[[1]]", "not a whole number"),
        (list[int], "[null]", "not a whole number"),
        (list[int], "100,200,300", "one number or several"),
        (list[bool], '["yes", "maybe"]', "item 2 is not yes or no"),
        (list[Mail], '["spam", "eggs"]', "item 2 is not one of spam, ham"),
        (list[Mail], "spam, eggs", "item 2 is not one of spam, ham"),
    ],
)
def test_a_bad_item_is_named(returns: Any, text: str, says: str) -> None:
    """A list with an item that is not of its type is refused as a whole, and the message says which one."""
    assert says in refused(returns, text)


def test_the_first_array_that_fits_is_the_list() -> None:
    """Arrays in prose that are not of the type are passed over."""
    assert read(list[str], 'See [1] and [2, 3]. The list: ["a", "b"]') == ["a", "b"]
    assert read(list[Mail], 'Not ["eggs"] but ["spam"]') == ["spam"]


@pytest.mark.parametrize(
    ("returns", "items", "instruction"),
    [
        (list[str], {"type": "string"}, "Reply with only a JSON array of strings."),
        (list[int], {"type": "integer"}, "Reply with only a JSON array in which each item is a whole number."),
        (
            list[Mail],
            {"type": "string", "enum": ["spam", "ham"]},
            "Reply with only a JSON array in which each item is one of spam, ham.",
        ),
    ],
    ids=range(3),
)
def test_what_is_asked(returns: Any, items: Any, instruction: str) -> None:
    """A list is asked for as a JSON array, wrapped in an object where it goes as a schema."""
    asked = answer(returns)
    assert asked.instruction == instruction
    assert asked.schema == {
        "type": "object",
        "properties": {"answer": {"type": "array", "items": items}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    assert asked.choices is None
    assert not asked.is_text
