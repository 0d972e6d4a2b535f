"""Made-up text and values: of the schema asked for, small, and marked."""

import asyncio
import datetime as dt
import ipaddress
import json
import re
import uuid
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Optional

import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from fanfold import Session, prompt
from fanfold.core.clock import seeded_source
from fanfold.errors import UsageError
from fanfold.models.fake import MARK, instance, words
from fanfold.testing import FakeModel

SEEDS = range(30)


class Colour(Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Tree(pydantic.BaseModel):
    """A type that contains itself, in a list and as an option."""

    value: int
    children: list["Tree"]
    parent: Optional["Tree"] = None


class Everything(pydantic.BaseModel):
    """Of each kind one."""

    text: str
    count: int = pydantic.Field(ge=1, le=3)
    share: float = pydantic.Field(ge=0, le=1)
    sure: bool
    label: Literal["spam", "ham"]
    colour: Colour
    tags: list[str] = pydantic.Field(min_length=4)
    nothing: None
    maybe: int | None


class Formed(pydantic.BaseModel):
    """Values of a form, and within bounds of every kind."""

    day: dt.date
    when: dt.datetime | None
    hour: dt.time
    took: list[dt.timedelta]
    id: uuid.UUID
    price: Decimal
    host: ipaddress.IPv4Address
    other: ipaddress.IPv6Address
    above: pydantic.PositiveInt
    below: pydantic.NegativeInt
    least: int = pydantic.Field(le=-5)
    between: int = pydantic.Field(gt=0, lt=2)
    fives: int = pydantic.Field(multiple_of=5, ge=12)
    cold: float = pydantic.Field(lt=-5)
    tiny: float = pydantic.Field(gt=0.001, lt=0.002)
    one: list[int] = pydantic.Field(max_length=1)


class Shaped(pydantic.BaseModel):
    """Texts of a length, tuples, and numbers of a step."""

    country: str = pydantic.Field(min_length=2, max_length=2)
    title: str = pydantic.Field(description="As on the cover (in full)", max_length=12)
    essay: str = pydantic.Field(min_length=200)
    site: pydantic.HttpUrl
    quarter: float = pydantic.Field(gt=0, lt=1, multiple_of=0.25)
    pair: tuple[int, bool]
    several: tuple[bool, ...]
    counts: dict[str, int]


class Book(pydantic.BaseModel):
    """A type without what strict structured output cannot say."""

    code: str = pydantic.Field(min_length=6, max_length=6)
    title: str = pydantic.Field(description="As on the cover (in full)", max_length=12)
    essay: str = pydantic.Field(min_length=200)
    site: pydantic.HttpUrl


def made(schema: dict[str, Any], seed: int = 0) -> Any:
    """A made-up value."""
    return instance(schema, seeded_source(seed))


@pytest.mark.parametrize("kind", [Everything, Tree, Formed, Shaped, Book])
def test_a_made_up_value_is_of_its_schema(kind):
    """Whatever the seed, the value validates, also where the type contains itself."""
    values = [kind.model_validate(made(kind.model_json_schema(), seed)) for seed in SEEDS]
    assert len({repr(value) for value in values}) > 1
    assert max(len(repr(value)) for value in values) < 100_000


class Number(pydantic.BaseModel):
    """A leaf of a term."""

    kind: Literal["number"]
    value: int


class Sum(pydantic.BaseModel):
    """A term that is made of terms: of two alternatives, both named elsewhere, one has no end."""

    kind: Literal["sum"]
    parts: tuple["Number | Sum", "Number | Sum", "Number | Sum"]


class Chain(TypedDict, total=False):
    """A type that contains itself in a field that may be missing."""

    link: "Chain"


class Sized(pydantic.BaseModel):
    """Sets and mappings of a size, keys of a kind, and identifiers."""

    both: set[Literal["x", "y"]] = pydantic.Field(min_length=2)
    by_name: dict[str, int] = pydantic.Field(min_length=2)
    by_choice: dict[Literal["a", "b"], bool] = pydantic.Field(min_length=1)
    id: pydantic.UUID4
    raw: pydantic.Base64Bytes


class Linked(msgspec.Struct):
    """What msgspec's schemas say otherwise."""

    pair: tuple[int, str]
    data: bytes
    price: Decimal
    next: "Linked | None" = None
    sure: Annotated[dict[str, int], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=dict)


@pytest.mark.parametrize("kind", [Sum, Chain, Sized])
def test_recursive_and_sized_types_are_made_up_too(kind):
    """Every recursive type that has an end comes to it, whatever the seed, and sizes hold for sets and mappings."""
    adapter = pydantic.TypeAdapter(kind)
    for seed in range(300):
        adapter.validate_json(json.dumps(made(adapter.json_schema(), seed)))


def test_a_schema_of_msgspecs_is_filled_too():
    """Bytes in base 64, tuples, decimals, and a type that contains itself."""
    for seed in range(300):
        msgspec.convert(made(msgspec.json.schema(Linked), seed), Linked)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#/definitions/A", "definitions": {"A": {"const": 1}}}, 1),
        ({"$ref": "#/$defs/a~1b%5Bint%5D", "$defs": {"a/b[int]": {"const": 1}}}, 1),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "integer"}}, "minimum": 7, "maximum": 7}, 7),
        ({"properties": {"a": {"const": 1}, "b": {"$ref": "#/properties/a"}}}, {"a": 1, "b": 1}),
        ({"allOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"const": 1}}}, 1),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2, "uniqueItems": True}, None),
        ({"type": "object", "properties": {"a": True}}, None),
    ],
)
def test_a_reference_leads_wherever_it_points(schema, value):
    """Within the schema, by the rules of JSON Pointer, and what stands beside it holds as well."""
    found = made(schema)
    assert value is None or found == value


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/$defs/Nobody"}, "refers to '#/$defs/Nobody', which it does not hold"),
        ({"$ref": "https://example.com/schema"}, "refers to 'https://example.com/schema'"),
        ({"$ref": 5}, "refers to 5"),
        ({"enum": []}, "no value is allowed"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "no value is allowed"),
        ({"type": "number", "minimum": 5, "maximum": 3}, "no value is allowed"),
        ({"type": "object", "properties": {"a": False}}, "allows no value"),
    ],
)
def test_a_schema_that_nothing_satisfies_is_named(schema, words):
    """It says what is wrong with it, where it was a KeyError, an IndexError, or a value that it does not allow."""
    with pytest.raises(ValueError, match=re.escape(words)):
        made(schema)


@pytest.mark.parametrize("kind", [Formed, Shaped, Book])
@pytest.mark.parametrize("structured", [True, False])
def test_the_fake_gives_dates_and_bounded_values_when_asked(structured, kind):
    """By schema or in words, a typed prompt on the fake model gets what it can read: also where strict structured
    output leaves the length of a text to its description.
    """

    async def main():
        for seed in SEEDS:
            async with Session(model=FakeModel(seed=seed, structured=structured)) as session:
                found = await prompt("{input}", returns=kind).run("x", session=session)
                assert isinstance(found.output, kind)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        ({"type": ["integer", "null"]}, {int, type(None)}),
        ({"oneOf": [{"type": "integer"}, {"type": "boolean"}]}, {int, bool}),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False, "minItems": 1}, {list}),
        ({"type": "array", "items": True}, {list}),
        ({"type": "string", "description": "shortest length: many (format: odd)"}, {str}),
    ],
)
def test_schemas_as_people_write_them_are_read(schema, kinds):
    """Several types in one place, one of several, tuples, and schemas that allow anything."""
    assert {type(made(schema, seed)) for seed in SEEDS} == kinds


@pytest.mark.parametrize("answers", ["text", "", [], (), ["one", 2], {"a": "b"}, 3])
def test_what_cannot_answer_is_refused(answers):
    """A text alone would be taken letter by letter, and of no texts there is none to give."""
    with pytest.raises(UsageError, match="give a list of texts, at least one, or a function"):
        FakeModel(answers)


def test_a_function_that_is_async_or_gives_no_text_is_refused():
    """The error says what it gave."""

    async def later(_request):
        return "text"

    with pytest.raises(UsageError, match="not async"):
        FakeModel(later)
    with Session(FakeModel(lambda _: None)), pytest.raises(UsageError, match="gave None: let them return a text"):
        prompt("{input}").run_sync("x")


def test_a_made_up_text_in_a_value_is_marked():
    """Every text says that it is made up."""
    value = made(Everything.model_json_schema())
    assert all(text.startswith(MARK) for text in [value["text"], *value["tags"]])


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["x"]}}, "$ref": "#/$defs/a"},
        {"type": "array", "minItems": 10**9},
        {"type": "array", "minItems": 200, "items": {"type": "array", "minItems": 200}},
    ],
)
def test_a_value_without_end_is_refused(schema):
    """A schema whose smallest value is huge or endless raises ValueError soon."""
    with pytest.raises(ValueError, match="at most 10000 parts, 100 deep"):
        made(schema)


def test_a_text_without_end_is_refused():
    """So is one whose shortest text is huge."""
    with pytest.raises(ValueError, match="at most 10000 characters"):
        made({"type": "string", "minLength": 10**9})


@pytest.mark.parametrize("text", ["", " ", "one", "one two", "  a\n\nb\t c ", "a\0b c", "東京 🐙\u2003x"])
def test_words_together_are_the_text(text):
    """Splitting loses nothing, white space and odd characters included."""
    assert "".join(words(text)) == text


@pytest.mark.parametrize("text", ["", "one two  three\n", "a\0b c"])
def test_a_streamed_fake_says_what_the_plain_one_says(text):
    """The pieces of a fake model's stream add up to its text."""

    async def main():
        async with Session(model=FakeModel([text])) as session, prompt("{input}").text("x", session=session) as reading:
            return "".join([piece async for piece in reading]), reading.run.output

    assert asyncio.run(main()) == (text, text)
