"""Schemas fit for strict structured output."""

import datetime as dt
import json
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal

import pydantic
import pytest
from pydantic import Field

from fanfold.steps.answers import answer
from fanfold.steps.answers.schemas import strict


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Paint(pydantic.BaseModel):
    """A paint."""

    colour: Colour = Colour.RED
    litres: float = Field(default=1.0, gt=0, le=20, description="how much")


class Wall(pydantic.BaseModel):
    paint: Paint = Field(description="what is on it")
    under: Paint | None = None
    coats: Annotated[list[Paint], Field(min_length=1, max_length=3)] = []
    kind: Literal["inner"] = "inner"
    painted: dt.date
    name: str = Field(default="w", min_length=2, max_length=9, pattern="^[a-z]+$", title="T", examples=["wall"])


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


class Owner(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Tree(pydantic.BaseModel):
    name: str
    branches: list["Tree"] = []


class Nothing(pydantic.BaseModel):
    pass


class Open(pydantic.BaseModel, extra="allow"):
    x: int


class Holder(pydantic.BaseModel):
    loose: dict[str, int]


KNOWN = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref", "$defs"),
    *("description", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("multipleOf", "minItems", "maxItems"),
}

TYPES: list[Any] = [int, float, bool, Literal["a", 1], Colour, list[str], list[Colour], int | None, Literal["a"] | None]
TYPES += [Paint, Wall, Owner, Tree, Nothing, Open, list[Wall], Wall | None, Cat | Dog, list[Tree] | None]
TYPES += [dt.datetime, set[str], int | str, Annotated[int, Field(ge=1)]]


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema."""
    yield schema
    children = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", [])]
    for child in children + ([schema["items"]] if "items" in schema else []):
        yield from nodes(child)


@pytest.mark.parametrize("returns", TYPES, ids=range(len(TYPES)))
def test_every_schema_is_strict(returns: Any) -> None:
    """The root is an object; every object is closed with all its properties required; only known keywords are used."""
    schema = answer(returns).schema
    assert schema is not None
    assert schema["type"] == "object"
    for node in nodes(schema):
        assert set(node) <= KNOWN
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
        if "$ref" in node:
            assert set(node) == {"$ref"}
            assert node["$ref"].removeprefix("#/$defs/") in schema["$defs"]
        else:
            assert {"type", "anyOf", "enum"} & set(node)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    "returns",
    [dict[str, int], dict, tuple[int, str], Any, Holder, list[dict[str, int]], list[Any], Holder | None, set[Any]],
    ids=range(9),
)
def test_what_strict_schemas_cannot_say_is_not_sent(returns: Any) -> None:
    """Mappings with free keys, tuples and "anything" have no strict schema; the instruction asks for them."""
    asked = answer(returns)
    assert asked.schema is None
    assert "JSON Schema" in asked.instruction


def test_text_has_no_schema() -> None:
    """Plain text is asked for by nothing at all."""
    asked = answer(str)
    assert (asked.schema, asked.instruction, asked.is_text, asked.choices) == (None, "", True, None)


def test_a_model_is_its_own_root() -> None:
    """A model's fields stand at the root, in order, with their descriptions and without defaults or titles."""
    assert answer(Paint).schema == {
        "type": "object",
        "description": "A paint.",
        "properties": {
            "colour": {"$ref": "#/$defs/Colour"},
            "litres": {"type": "number", "description": "how much", "exclusiveMinimum": 0, "maximum": 20},
        },
        "required": ["colour", "litres"],
        "additionalProperties": False,
        "$defs": {"Colour": {"type": "string", "enum": ["red", "blue"]}},
    }


def test_bounds_are_sent_where_servers_take_them_and_told_where_not() -> None:
    """Bounds of numbers and arrays stay; lengths of strings, which strict servers refuse, go into the description."""
    schema = answer(Wall).schema
    assert schema is not None
    fields = schema["properties"]
    assert fields["name"] == {
        "type": "string",
        "pattern": "^[a-z]+$",
        "description": "(shortest length: 2, longest length: 9)",
    }
    assert fields["coats"] == {"type": "array", "minItems": 1, "maxItems": 3, "items": {"$ref": "#/$defs/Paint"}}
    assert fields["painted"] == {"type": "string", "format": "date"}
    assert fields["kind"] == {"type": "string", "enum": ["inner"]}
    assert fields["under"] == {"anyOf": [{"$ref": "#/$defs/Paint"}, {"type": "null"}]}


def test_a_described_reference_is_written_out() -> None:
    """Strict servers refuse anything beside a reference: what is described there is written out in its place."""
    schema = answer(Wall).schema
    assert schema is not None
    paint = schema["properties"]["paint"]
    assert paint["description"] == "what is on it"
    assert list(paint["properties"]) == ["colour", "litres"]
    assert paint["additionalProperties"] is False


def test_a_recursive_model_has_an_object_at_its_root() -> None:
    """A model that holds itself stands at the root in full and refers to its definition inside."""
    schema = answer(Tree).schema
    assert schema is not None
    assert schema["properties"]["branches"] == {"type": "array", "items": {"$ref": "#/$defs/Tree"}}
    assert schema["$defs"]["Tree"]["properties"] == schema["properties"]


def test_a_tagged_union_becomes_any_of() -> None:
    """`oneOf` and its discriminator, which strict servers refuse, become `anyOf`."""
    schema = answer(Owner).schema
    assert schema is not None
    assert schema["properties"]["pet"] == {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"const": 1, "type": "integer"}, {"type": "integer", "enum": [1]}),
        ({"allOf": [{"type": "string"}], "description": "d"}, {"type": "string", "description": "d"}),
        ({"type": "string", "format": "uri"}, {"type": "string", "description": "(format: uri)"}),
        ({"type": "string", "format": "email", "default": ""}, {"type": "string", "format": "email"}),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "description": "tags"},
            {"type": "array", "items": {"type": "string"}, "description": "tags (without repetitions)"},
        ),
        ({"enum": [1, "a"]}, {"enum": [1, "a"]}),
        (
            {"oneOf": [{"type": "string"}, {"type": "null"}], "description": "d", "default": None},
            {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"},
        ),
    ],
    ids=range(7),
)
def test_keywords_are_translated(given: dict[str, Any], made: dict[str, Any]) -> None:
    """Each keyword that strict servers do not take has a counterpart, or is told in the description."""
    schema = strict(given)
    assert schema is not None
    assert schema["properties"]["answer"] == made


@pytest.mark.parametrize(
    "given", [{}, {"type": "object"}, {"type": "array"}, {"type": "array", "items": {}}, {"$ref": "#/$defs/Gone"}]
)
def test_an_open_schema_is_none(given: dict[str, Any]) -> None:
    """A schema that allows anything somewhere has no strict form."""
    assert strict(given) is None
    assert strict({"type": "object", "properties": {"x": given}}) is None


def test_the_given_schema_stays_as_it_is() -> None:
    """`strict` changes nothing in what it is given."""
    given = pydantic.TypeAdapter(Wall).json_schema()
    before = json.dumps(given)
    strict(given)
    assert json.dumps(given) == before
