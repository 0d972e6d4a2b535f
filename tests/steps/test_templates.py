"""Templates: only {identifier} is a field, values go in once, and every kind of input fills its own names."""

import json
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from fanfold.errors import TemplateError
from fanfold.steps.keys import digest_of
from fanfold.steps.templates import Template, fields_of, render

braces = st.text("{}ab_0 \"':\n", max_size=12)
names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,5}\Z").filter(lambda name: name.isascii())


@dataclass
class Ticket:
    title: str
    body: str
    tags: list[str] = field(default_factory=list)


class Mail(BaseModel):
    title: str
    body: str


class Loose(Mail):
    model_config = ConfigDict(extra="allow")


class Row(msgspec.Struct):
    title: str
    body: str


@dataclass
class Bag:
    words: set[str]


class Pair(NamedTuple):
    title: str
    body: str


# -- fields -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "filled"),
    [
        ("Hello {name}!", "Hello Ada!"),
        ("{name}", "Ada"),
        ("{name}{name}", "AdaAda"),
        ("no field", "no field"),
        ("", ""),
        ("{{name}}", "{name}"),
        ("{{{name}}}", "{Ada}"),
        ("{{}}", "{}"),
        ("{{{{name}}}}", "{{name}}"),
        ("a { b } c", "a { b } c"),
        ("{}", "{}"),
        ("{0}", "{0}"),
        ("{name!r}", "{name!r}"),
        ("{name:>10}", "{name:>10}"),
        ("{name.upper}", "{name.upper}"),
        ("{name[0]}", "{name[0]}"),
        ("{ name }", "{ name }"),
        ("{na-me}", "{na-me}"),
        ("{ünï}", "{ünï}"),
        ("}}", "}}"),
        ("{", "{"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ('{"who": "{name}"}', '{"who": "Ada"}'),
        ('{{"who": "{name}"}}', '{"who": "Ada"}'),
        ("function() { return {name}; }", "function() { return Ada; }"),
    ],
)
def test_only_an_identifier_in_braces_is_a_field(source: str, filled: str) -> None:
    """`{identifier}` is filled, `{{` and `}}` write braces, and every other brace stays as it is."""
    assert Template(source).fill({"name": "Ada"}) == filled


def test_a_template_names_its_fields() -> None:
    """`fields` holds every name once, and no escaped one."""
    assert Template("{a} {b} {a} {{c}} {d.e}").fields == {"a", "b"}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text("ab {}", max_size=5), st.lists, max_leaves=5))
@settings(max_examples=40)
def test_json_in_a_template_stays(value: Any) -> None:
    """A JSON example stays as it is, unless a text in it looks like a field."""
    source = json.dumps({"key": {"nested": value}})
    template = Template(source)
    if not template.fields and "{{" not in source:
        assert template.fill({}) == source


@given(braces, braces, braces)
@settings(max_examples=40)
def test_values_are_never_read_as_templates(before: str, value: str, after: str) -> None:
    """Whatever braces a value has, it goes in as it is, once, between what stands around it."""
    template = Template("a{x}b{x}{{c}}")
    assert template.fill({"x": value, "a": "!", "b": "!", "c": "!"}) == f"a{value}b{value}{{c}}"
    source = before + "\n" + after
    fields = dict.fromkeys(Template(source).fields, value)
    assert Template(source).fill(fields).count(value) >= len(fields) * bool(value)


@given(st.lists(st.tuples(braces.filter(lambda text: "{" not in text and "}" not in text), names), max_size=5))
@settings(max_examples=40)
def test_text_and_fields_come_out_in_turn(parts: list[tuple[str, str]]) -> None:
    """Any text between any fields is kept to the character."""
    source = "".join(f"{text}{{{name}}}" for text, name in parts)
    template = Template(source)
    assert template.fields == {name for _, name in parts}
    assert template.fill({name: f"<{name}>" for _, name in parts}) == "".join(f"{text}<{n}>" for text, n in parts)


@given(st.text("{}ab", max_size=12))
@settings(max_examples=40)
def test_escaping_gives_any_text(text: str) -> None:
    """A literal template is its text, whatever braces it has."""
    literal = Template.literal(text)
    assert (literal.fill({}), literal.fields, literal.source) == (text, frozenset(), text)


@pytest.mark.parametrize("source", [None, 3, b"text", ["{a}"]])
def test_a_template_is_text(source: Any) -> None:
    """Anything but a text is refused by its type's name."""
    with pytest.raises(TemplateError, match=f"not {type(source).__name__}"):
        Template(source)


def test_a_missing_field_names_what_is_there() -> None:
    """The error names the field, what the input has, and how to write a brace."""
    with pytest.raises(TemplateError) as caught:
        Template("{titel}").fill(fields_of(Ticket("a", "b")))
    message = str(caught.value)
    assert "{titel}" in message
    assert "it has: {input}, {title}, {body}, {tags}" in message
    assert "double it: {{titel}}" in message


def test_names_that_a_model_wrote_are_short_and_plain_in_an_error() -> None:
    """A typed answer's keys may be anything: an error shows the start of each, of some, and nothing that acts."""
    keys = ["\x1b[31mred\nline", "é", "x" * 5000, *map(str, range(1000))]
    with pytest.raises(TemplateError) as caught:
        Template("{a}").fill(fields_of(dict.fromkeys(keys, 1)))
    message = str(caught.value)
    assert "{\\x1b[31mred\\nline}, {é}, {" + "x" * 60 + "…}, {0}, {1}," in message
    assert message.isprintable()
    assert len(message) < 500


# -- inputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_",
    [
        Ticket("T", "B", ["x"]),
        Mail(title="T", body="B"),
        Row("T", "B"),
        Pair("T", "B"),
        {"title": "T", "body": "B"},
        OrderedDict(title="T", body="B"),
    ],
)
def test_a_record_fills_its_own_names_and_input_as_a_whole(given_: Any) -> None:
    """Dataclasses, models, structs, named tuples and mappings fill their fields; `{input}` is all of it."""
    fields = fields_of(given_)
    assert Template("{title}: {body}").fill(fields) == "T: B"
    assert fields["input"] is given_
    whole = Template("{input}").fill(fields)
    assert "T" in whole
    assert "B" in whole


def test_a_text_fills_input() -> None:
    """A string input is `{input}`, and nothing else."""
    assert fields_of("some text") == {"input": "some text"}


def test_a_set_has_the_same_order_in_every_process() -> None:
    """The bug: after a crash a prompt that named one was another request, and was paid again."""
    words = {f"word {n}" for n in range(9)}
    assert json.loads(render(words)) == sorted(words)
    assert json.loads(render({"b": [Mail(title="T", body="B"), Bag(words)], "a": 1})) == {
        "b": [{"title": "T", "body": "B"}, {"words": sorted(words)}],
        "a": 1,
    }
    assert json.loads(render({1, "b", None, "a"})) == ["a", "b", 1, None]
    assert json.loads(render({9, 10})) == [9, 10]
    assert list(json.loads(render({"title": "T", "body": words}))) == ["title", "body"]  # only sets have no order


def test_what_a_record_has_beside_its_fields() -> None:
    """A pydantic model may allow it, and then it is as much the record's own."""
    given_ = Loose.model_validate({"title": "T", "body": "B", "more": 3})
    assert fields_of(given_) == {"input": given_, "title": "T", "body": "B", "more": 3}
    assert json.loads(render(given_)) == {"title": "T", "body": "B", "more": 3}
    other = Loose.model_validate({"title": "T", "body": "B", "more": 4})
    assert digest_of(given_) != digest_of(other)


def test_a_field_that_is_not_set_is_not_there() -> None:
    """As JSON has it; the bug: it ended the map with an `AttributeError` of ours."""
    bag = Bag.__new__(Bag)
    assert fields_of(bag) == {"input": bag}
    assert json.loads(render([bag])) == [{}]


class Metres(float):
    """A number of a type of its own, as numpy's are."""


class Steps(int):
    """A whole one."""


class Long:
    """One of numpy's numbers that Python has no like of: it is held by itself."""

    def __repr__(self) -> str:
        return "1.5"

    def tolist(self) -> "Long":
        """The number."""
        return self


class Vector:
    """An array as numpy's: its text leaves out the middle."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"[{self.values[0]} ... {self.values[-1]}]"

    def tolist(self) -> list[float]:
        """The values."""
        return list(self.values)


def test_numbers_of_other_types_are_numbers() -> None:
    """The bug: they were texts in tables, and two long arrays whose middles differ were one to a journal."""
    given_ = {"a": Metres(1.5), "b": Steps(5), "c": Vector(1.0, 2.0, 3.0)}
    assert json.loads(render(given_)) == {"a": 1.5, "b": 5, "c": [1.0, 2.0, 3.0]}
    assert digest_of(Vector(1.0, 2.0, 3.0)) != digest_of(Vector(1.0, 2.5, 3.0))
    assert json.loads(render([Long()])) == ["1.5"]
    assert render([Vector]) == f'[\n  "{Vector}"\n]'


def test_a_number_that_json_has_not_is_named_in_a_prompt() -> None:
    """The bug: what a step had given as NaN or an infinity was null for the model, as if there were no value."""
    assert json.loads(render({"a": math.nan, "b": [-math.inf, None], "c": Mail(title="T", body="null")})) == {
        "a": "NaN",
        "b": ["-Infinity", None],
        "c": {"title": "T", "body": "null"},
    }
    assert json.loads(render([Vector(math.nan, 1.0)])) == [["NaN", 1.0]]


def test_json_that_is_not_read_yet_is_rendered_as_what_it_holds() -> None:
    """The bug: beside a null it was the text of an object with its address, another one in each process."""
    for beside, shown in ((None, None), (math.nan, "NaN")):
        given_ = {"n": beside, "raw": msgspec.Raw(b'{"q": [null, 1]}')}
        assert json.loads(render(given_)) == {"n": shown, "raw": {"q": [None, 1]}}


def test_an_input_with_a_number_that_json_has_not_is_no_input_without_a_value() -> None:
    """The bug: a journal took a run on NaN for that on nothing, and gave its answers."""
    values = [None, math.nan, math.inf, -math.inf]
    for shape in (lambda value: value, lambda value: {"a": value, "b": {1, 2}}, lambda value: [None, value]):
        assert len({digest_of(shape(value)) for value in values}) == len(values)


def test_an_input_without_a_value_is_found_again_in_older_journals() -> None:
    """Only a number that JSON has not changes what a journal knows an input by.

    The fields of a record, which stand in its own order, were sorted where one of them was None: no journal that was
    written before had such a run any more, and all of it was asked again.
    """
    assert (digest_of(Ticket("t", cast("str", None))) or b"").hex() == "a9f282c04b2ee252f062a35c9ba684d2"
    assert (
        digest_of({"b": [Mail(title="null", body="x")], "a": None}) or b""
    ).hex() == "d0609becd2657a4c5e5d5dc2222c99fd"


def test_json_in_an_input_stays_what_it_is_beside_nothing() -> None:
    """The bug: JSON that is encoded already was told by its address in memory where the input also held a None."""
    assert json.loads(render([msgspec.Raw(b'{"a": 1}'), None])) == [{"a": 1}, None]


@pytest.mark.parametrize("given_", [3, None, ["a", "b"], (1, 2), Ticket])
def test_what_has_no_names_fills_input_only(given_: Any) -> None:
    """A number, a list, a plain tuple or a class has no names of its own."""
    assert fields_of(given_) == {"input": given_}


def test_a_name_called_input_is_the_inputs_own() -> None:
    """A mapping that has an `input` fills it with that."""
    assert Template("{input} {x}").fill(fields_of({"input": "mine", "x": 1})) == "mine 1"


# -- rendering ----------------------------------------------------------------------------------------------------


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("as it is\n", "as it is\n"),
        (Color.RED, "red"),
        (True, "True"),
        (7, "7"),
        (0.5, "0.5"),
        (None, "None"),
        (["one", "two"], "- one\n- two"),
        (("one",), "- one"),
        ([], "[]"),
        ([1, 2], "[\n  1,\n  2\n]"),
        ({"a": "ü"}, '{\n  "a": "ü"\n}'),
        (date(2024, 5, 1), "2024-05-01"),
        (Decimal("1.10"), "1.10"),
        ([date(2024, 5, 1)], '[\n  "2024-05-01"\n]'),
    ],
)
def test_a_value_is_rendered_for_a_model_to_read(value: Any, shown: str) -> None:
    """Text stays, a list of texts becomes lines, structures become JSON."""
    assert render(value) == shown


@pytest.mark.parametrize("value", [Ticket("T", "{x}"), Mail(title="T", body="{x}"), Row("T", "{x}")])
def test_records_are_rendered_as_json(value: Any) -> None:
    """A record is JSON by its fields, alone and inside other values."""
    assert json.loads(render(value))["body"] == "{x}"
    assert json.loads(render({"inner": [value]}))["inner"][0]["title"] == "T"


def test_what_json_cannot_write_is_rendered_as_text() -> None:
    """An object of no known kind is its own text, in quotes."""
    assert json.loads(render({"at": complex(1, 2)})) == {"at": "(1+2j)"}
