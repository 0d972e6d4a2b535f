"""What is a record, which fields it has, and how one is put together."""

import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import msgspec
import pytest
import typing_extensions
from pydantic import BaseModel, ConfigDict, RootModel
from pydantic import Field as PydanticField
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypeAliasType

from fanfold import rules
from fanfold.errors import RecordError, UsageError
from fanfold.folds.shapes import Bare, bare, is_one, put_together, record_in, shape
from tests.folds.test_fields import said

Price = NewType("Price", float)
Alias = TypeAliasType("Alias", int | None)
T = TypeVar("T")


class Colour(Enum):
    """An enum whose values a model may keep instead."""

    RED = "red"
    BLUE = "blue"


class Model(BaseModel):
    """A pydantic model."""

    model_config = ConfigDict(use_enum_values=True)

    colour: Colour
    colours: list[Colour]
    size: int = PydanticField(ge=0, alias="SIZE")


class Whole(TypedDict):
    """A TypedDict with a key that may be left out."""

    word: str
    count: NotRequired[int]
    note: NotRequired[str | None]


class Struct(msgspec.Struct):
    """A msgspec struct."""

    word: str
    count: Annotated[int, msgspec.Meta(ge=0)] = 0


@dataclass
class Plain:
    """A dataclass with a field that nobody gives."""

    word: str
    length: int = field(init=False, default=0)


@pydantic_dataclass
class Checked:
    """A dataclass that checks."""

    count: Annotated[int, PydanticField(le=9)]


class Root(RootModel[list[str]]):
    """A model of one value, which is no record."""


class Pair(NamedTuple):
    """A tuple with names, which counts as a list."""

    one: int


@dataclass
class Box(Generic[T]):
    """A record of anything."""

    what: T


@pytest.mark.parametrize(
    ("hint", "found"),
    [
        (int, Bare(int)),
        (int | None, Bare(int, nullable=True)),
        (Annotated[int | None, "x"], Bare(int, nullable=True)),
        (Price, Bare(float)),
        (Price | None, Bare(float, nullable=True)),
        (Alias, Bare(int, nullable=True)),
        (Final[str], Bare(str)),
        (NotRequired[Annotated[str, 1]], Bare(str)),
        (typing_extensions.ReadOnly[str], Bare(str)),
        (int | str, Bare(int | str)),
        (int | str | None, Bare(int | str | None, nullable=True)),
        (Colour, Bare(Colour)),
        (list[int], Bare(list[int])),
        (Any, Bare(Any)),
    ],
    ids=str,
)
def test_what_stands_under_a_hint(hint: Any, found: Bare) -> None:
    """Aliases, `Annotated`, new types and `| None` refine a type, and are taken off it."""
    assert bare(hint) == found


@pytest.mark.parametrize("kind", [Model, Whole, Struct, Plain, Checked])
def test_these_are_records(kind: Any) -> None:
    """Pydantic models, TypedDicts, msgspec structs and dataclasses, with None or without."""
    assert record_in(kind) is kind
    assert record_in(kind | None) is kind


@pytest.mark.parametrize("kind", [int, str, dict, list[int], Root, Pair, Box[int], Literal["a"], None, Model | int])
def test_these_are_none(kind: Any) -> None:
    """What has no named fields of known types counts as a whole."""
    assert record_in(kind) is None


def test_the_fields_of_each_kind() -> None:
    """In the order in which they are declared; what the constructor does not take is no field."""
    assert list(shape(Model)) == ["colour", "colours", "size"]
    assert list(shape(Struct)) == ["word", "count"]
    assert list(shape(Plain)) == ["word"]
    assert {name: (one.required, one.nullable) for name, one in shape(Whole).items()} == {
        "word": (True, False),
        "count": (False, True),
        "note": (False, True),
    }


def test_hints_that_cannot_be_resolved_are_named() -> None:
    """A class inside a function may name what only that function knows."""
    namespace: dict[str, Any] = {"dataclass": dataclass}
    code = "from __future__ import annotations\n@dataclass\nclass Lost:\n    what: Nowhere\n"
    exec(compile(code, "made_up", "exec"), namespace)
    with pytest.raises(UsageError, match="the fields of Lost cannot be told: name 'Nowhere' is not defined"):
        shape(namespace["Lost"])


def test_a_record_is_one_of_its_type() -> None:
    """Any mapping may be a TypedDict."""
    assert is_one(Whole, {"word": "a"})
    assert not is_one(Whole, Plain("a"))
    assert is_one(Plain, Plain("a"))
    assert not is_one(Plain, {"word": "a"})


def test_a_record_is_checked_when_it_is_put_together() -> None:
    """By its own type, under the names of the fields and not their aliases."""
    made = put_together(Model, shape(Model), {"colour": Colour.RED, "colours": [], "size": 3})
    assert (made.colour, made.size) == ("red", 3)
    with pytest.raises(RecordError, match="make no Model: size: Input should be greater than or equal to 0") as caught:
        put_together(Model, shape(Model), {"colour": Colour.RED, "colours": [], "size": -3})
    assert caught.value.values["size"] == -3
    with pytest.raises(RecordError, match="make no Checked"):
        put_together(Checked, shape(Checked), {"count": 10})


def test_a_vote_on_each_kind() -> None:
    """The result is of the ballots' own type."""
    assert said(Struct, [Struct("a", 1), Struct("a", 3), Struct("b", 2)]).winner == Struct("a", 2)
    assert said(Plain, [Plain("a"), Plain("a"), Plain("b")]).winner == Plain("a")
    assert said(Checked, [Checked(1), Checked(3)]).winner == Checked(1)
    bare_values = [Model(colour=Colour.RED, colours=[Colour.BLUE], SIZE=n) for n in (1, 5, 9)]
    found = said(Model, bare_values)
    assert found.valid == 3
    assert found.winner == Model(colour=Colour.RED, colours=[Colour.BLUE], SIZE=5)
    assert found.fields["colour"].winner is Colour.RED


def test_a_key_that_most_leave_out_is_left_out() -> None:
    """Where a key need not be there, its absence is a value; None stays None only where the type has it."""
    assert said(Whole, [{"word": "a"}, {"word": "a", "count": 3}, {"word": "a"}]).winner == {"word": "a", "note": None}
    kept = said(Whole, [{"word": "a", "count": 2}, {"word": "a", "count": 3}, {"word": "a"}])
    assert kept.winner == {"word": "a", "count": 2, "note": None}


def test_an_alias_of_a_record_is_known() -> None:
    """`of=` takes what `returns=` takes."""
    alias = TypeAliasType("alias", Struct | None)
    assert said(Struct, [Struct("a")], rules.fields(of=alias)).winner == Struct("a")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is new in 3.12")
def test_an_alias_by_statement_is_known() -> None:
    """``type X = ...`` is an alias like any other."""
    namespace: dict[str, Any] = {}
    exec("type Amount = int | None", namespace)
    assert bare(namespace["Amount"]) == Bare(int, nullable=True)
