"""Votes on records, field by field: what each type is tallied by, when it is decided, and what record comes out."""

import itertools
import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, model_validator

from fanfold import rules
from fanfold.errors import QuorumError, RecordError, TieError, UsageError
from fanfold.folds.ballots import FieldResult, VoteResult
from fanfold.folds.canonical import ballot_key
from fanfold.folds.vote import VoteFold
from tests.folds.reference import No, arrival, voters

Label = Literal["good", "bad", "ugly"]


class Mood(Enum):
    """An enum."""

    CALM = 1
    WILD = 2


@dataclass(frozen=True)
class Place:
    """A record inside others."""

    city: str
    number: int


@dataclass(frozen=True)
class Item:
    """A record with a field of each kind."""

    label: Label = "good"
    fresh: bool = True
    mood: Mood = Mood.CALM
    word: str = "w"
    count: int = 0
    price: float = 0.0
    exact: Decimal = Decimal(0)
    tags: tuple[str, ...] = ()
    place: Place = Place("here", 1)
    note: str | None = None
    spare: int | None = None
    inner: Place | None = None
    other: object = None


def fold_of(record: Any, votes: Sequence[Any], rule: Any = None, **options: Any) -> VoteFold[Any]:
    """The fold of a vote on records, begun."""
    fold = VoteFold(rule or rules.fields(of=record), **options)
    fold.begin(voters(len(votes)))
    return fold


def said(record: Any, votes: Sequence[Any], rule: Any = None, *, why: Any = "all", **options: Any) -> VoteResult[Any]:
    """The result of these votes; `No.OUT` has not come."""
    fold = fold_of(record, votes, rule, **{"stop": None, **options})
    flying = len(votes)
    for index, vote in enumerate(votes):
        if vote is not No.OUT:
            flying -= 1
            fold.add(arrival(index, vote), flying)
    return fold.end(why)


def field(name: str, *values: Any, rule: Any = None, **options: Any) -> FieldResult:
    """How one field of `Item` comes about where the voters give it these values."""
    by = None if rule is None else rules.fields({name: rule}, of=Item)
    found = said(Item, [Item(**{name: value}) for value in values], by, **options)
    result: FieldResult = found.fields[name]
    assert getattr(found.winner, name) == result.winner
    return result


# -- by type ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "winner", "share"),
    [
        ("label", ["bad", "good", "bad"], "bad", 2 / 3),
        ("fresh", [True, False, False], False, 2 / 3),
        ("mood", [Mood.WILD, Mood.WILD, Mood.CALM], Mood.WILD, 2 / 3),
        ("word", ["Yes.", "no", "yes"], "Yes.", 2 / 3),
        ("count", [9, 1, 4], 4, None),
        ("count", [9, 1, 4, 5], 4, None),
        ("price", [1.0, 2.0, 4.0, 9.0], 3.0, None),
        ("exact", [Decimal("0.1"), Decimal("0.3")], Decimal("0.1"), None),
        ("tags", [("a", "b"), ("b", "c"), ("b", "a")], ("a", "b"), 2 / 3),
        ("note", [None, None, "x"], None, 2 / 3),
        ("note", ["x", None, "X!"], "x", 2 / 3),
        ("spare", [None, 5, 7, 6], 6, None),
        ("spare", [None, 5, None, 7], 5, None),
        ("spare", [None, 5, None], None, 2 / 3),
        ("other", [{"a": 1}, {"a": 2}, {"a": 2}], {"a": 2}, 2 / 3),
    ],
    ids=str,
)
def test_a_field_is_tallied_by_its_type(name: str, values: list[Any], winner: Any, share: float | None) -> None:
    """Choices and texts by plurality, numbers by median, lists by membership, the rest as a whole."""
    found = field(name, *values)
    assert (found.winner, found.share) == (winner, share)
    assert type(found.winner) is type(winner)


def test_the_record_may_be_nobodys_ballot() -> None:
    """Each field has its own winner; whole records stand in the tally, and the share is the least of the fields'."""
    one, two, three = Item("good", count=1, word="x"), Item("bad", count=2, word="x"), Item("bad", count=3, word="y")
    found = said(Item, [one, two, three])
    assert found.winner == Item("bad", count=2, word="x")
    assert found.tally == {one: 1, two: 1, three: 1}
    assert (found.share, found.share_bounds) == (2 / 3, (2 / 3, 2 / 3))
    assert list(found.fields) == list(Item.__dataclass_fields__)
    assert found.fields["label"].tally == {"bad": 2, "good": 1}
    assert (found.rule, found.fields["label"].rule, found.fields["count"].rule) == (
        "fields()",
        "plurality()",
        "median()",
    )
    assert found.valid == 3


def test_records_inside_are_tallied_in_turn() -> None:
    """A nested record's fields are voted on one by one, and its share is the least of theirs."""
    found = field("place", Place("Rome", 1), Place("Oslo", 2), Place("Rome", 3))
    assert found.winner == Place("Rome", 2)
    assert (found.fields["city"].share, found.fields["number"].share, found.share) == (2 / 3, None, 2 / 3)
    empty = field("inner", None, Place("Rome", 1), None)
    assert (empty.winner, empty.share, dict(empty.fields)) == (None, 2 / 3, {})
    filled = field("inner", None, Place("Rome", 1), Place("Rome", 2))
    assert (filled.winner, filled.share) == (Place("Rome", 1), 2 / 3)
    assert filled.tally[None] == 1


class Node(BaseModel):
    """A record that has itself inside."""

    name: str
    below: "Node | None" = None


def test_a_record_inside_itself_counts_as_a_whole() -> None:
    """A tree has no end of fields, so what is below a node is one value."""
    leaf, other = Node(name="leaf"), Node(name="other")
    found = said(Node, [Node(name="a", below=leaf), Node(name="a", below=other), Node(name="b", below=leaf)])
    assert found.winner == Node(name="a", below=leaf)
    assert dict(found.fields["below"].fields) == {}


def test_what_is_in_more_than_half_of_the_lists_is_in() -> None:
    """Half is not enough; repeats in one list count once; items stand as the first voters mention them."""
    found = field("tags", ("b", "b", "a"), ("A", "c"), ("c.",), ("a", "c", "d"))
    assert found.winner == ("a", "c")
    assert found.tally == {"a": 3, "c": 3, "b": 1, "d": 1}
    assert list(found.tally) == ["a", "c", "b", "d"]
    assert found.share == 3 / 4
    assert field("tags", (), ()).winner == ()
    assert field("tags", (), ()).share == 1.0
    assert field("tags", ("a",), ()).winner == ()


@dataclass
class Lists:
    """Lists of every make."""

    one: list[Mood]
    two: set[str]
    three: frozenset[int]
    four: tuple[int, int]
    five: list


def test_a_list_comes_out_as_what_it_was() -> None:
    """Lists, sets and tuples of any length are tallied by item; a tuple of fixed length is one value."""
    made = [Lists([Mood.WILD], {"a", "b"}, frozenset({1}), (1, 2), [{"k": 1}]) for _ in range(2)]
    found = said(Lists, [*made, Lists([], {"a"}, frozenset(), (2, 1), [])]).winner
    assert found == Lists([Mood.WILD], {"a", "b"}, frozenset({1}), (1, 2), [{"k": 1}])


def test_whole_numbers_stay_whole_and_exact() -> None:
    """Of an even number the lower middle one wins, so that it is a number that a voter gave, however large."""
    huge = 2**70 + 1
    assert field("count", huge, 2**80, 3, 5).winner == 5
    assert field("count", huge, 2**80, 2**81).winner == 2**80
    assert field("count", huge, 2**80).winner == huge
    assert field("count", 10**400, 3, 10**500).winner == 10**400  # beyond what a float can hold
    assert field("exact", Decimal("1e400"), Decimal(3), Decimal("1e500")).winner == Decimal("1e400")
    assert repr(field("exact", Decimal("1.50"), Decimal("1.5"), Decimal(9)).winner) == "Decimal('1.50')"


@pytest.mark.parametrize("lost", ["nan", "sNaN", "inf"])
def test_what_is_no_finite_decimal_abstains(lost: str) -> None:
    """Not a number, whether it signals or not, and infinity have no place in an order."""
    found = said(Item, [Item("good", exact=Decimal(lost)), Item("good", exact=Decimal(2))])
    assert (found.winner.exact, found.valid, found.abstained) == (Decimal(2), 1, 1)


def test_no_order_of_arrival_shows() -> None:
    """Whoever comes first, the record, the tallies and every spelling are the same."""
    chance = random.Random(5)
    votes = [
        Item(
            "bad",
            word=chance.choice(["Yes.", "yes", "no"]),
            count=chance.randint(1, 4),
            tags=tuple(chance.sample("aBAb", 3)),
        )
        for _ in range(6)
    ]
    results = []
    for order in itertools.islice(itertools.permutations(range(6)), 0, 720, 37):
        fold = fold_of(Item, votes, stop=None)
        for index in order:
            fold.add(arrival(index, votes[index]), 0)
        results.append(fold.end("all"))
    assert all(repr(one) == repr(results[0]) for one in results)


# -- other rules for a field --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rule", "values", "winner"),
    [
        ("price", rules.mean(), [1.0, 2.0, 6.0], 3.0),
        ("count", rules.mean(), [1, 2, 2], 2),
        ("count", rules.mean(), [2, 3], 2),
        ("count", rules.median(), [2, 3], 2),
        ("count", rules.plurality(), [9, 9, 1, 2, 3], 9),
        ("exact", rules.mean(), [Decimal(1), Decimal(2)], Decimal("1.5")),
        ("spare", rules.mean(), [None, 2, 4], 3),
        ("tags", rules.plurality(), [("a",), ("b",), ("b",)], ("b",)),
        ("place", rules.plurality(), [Place("a", 1), Place("a", 2), Place("a", 1)], Place("a", 1)),
        ("note", rules.majority(), ["a", "b", "c"], None),
        ("fresh", rules.any_of(True), [False, True, False], True),
        ("fresh", rules.all_of(True), [True, True, False], False),
        ("label", rules.weighted({"v0": 3, "v1": 1, "v2": 1}), ["bad", "good", "good"], "bad"),
    ],
    ids=str,
)
def test_a_field_may_have_a_rule_of_its_own(name: str, rule: Any, values: list[Any], winner: Any) -> None:
    """What `rules.fields` is told of a field replaces what goes with its type."""
    found = field(name, *values, rule=rule)
    assert found.winner == winner
    assert type(found.winner) is type(winner)


def test_the_fields_of_a_record_inside_may_have_rules_too() -> None:
    """Rules nest as records do."""
    by = rules.fields({"number": rules.mean()})
    assert field("place", Place("a", 1), Place("a", 2), Place("a", 9), rule=by).winner == Place("a", 4)
    assert repr(rules.fields({"place": by})) == "fields({'place': fields({'number': mean()})})"


@dataclass
class Rated:
    """Numbers that are declared choices."""

    stars: Literal[1, 2, 3, 4, 5]


def test_a_median_of_declared_numbers_is_one_of_them() -> None:
    """Declared whole numbers are choices, unless a rule says that they are numbers; then the bounds are known."""
    assert said(Rated, [Rated(1), Rated(5), Rated(5), Rated(2), Rated(3)]).winner == Rated(5)
    by = rules.fields({"stars": rules.median()}, of=Rated)
    assert said(Rated, [Rated(1), Rated(2), Rated(4), Rated(5)], by).winner == Rated(2)
    fold = fold_of(Rated, [None] * 3, by)
    assert [fold.add(arrival(at, Rated(5)), 2 - at).enough for at in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ({"nothing": rules.mean()}, "Item has no field 'nothing': it has 'label'"),
        ({"label": rules.mean()}, "Item.label is no number"),
        ({"tags": rules.median()}, "Item.tags is no number"),
        ({"label": rules.fields()}, "Item.label is no record"),
        ({"label": rules.at_least(2, "good")}, "gives True or False, and Item.label is no bool"),
        ({"label": rules.majority()}, r"majority\(\) may elect nothing, and Item.label cannot be None"),
        ({"label": rules.weighted({"v0": 0, "v1": 1, "v2": 1})}, "may elect nothing"),
        ({"label": rules.weighted({"v0": 1})}, "no weight for 'v1' and 'v2'"),
        ({"fresh": rules.at_least(4, True)}, "cannot be reached by 3 voters"),
        ({"label": "plurality"}, "the rule for 'label' is none"),
    ],
)
def test_a_rule_that_does_not_suit_its_field_is_refused(by: Any, words: str) -> None:
    """It shows when the vote is made, with the field's name."""
    with pytest.raises(UsageError, match=words):
        VoteFold(rules.fields(by, of=Item), names=voters(3))


def test_the_record_has_to_be_known() -> None:
    """Without a type there are no fields to tally, and what is none is refused."""
    with pytest.raises(UsageError, match="say of=TheType"):
        VoteFold(rules.fields(), names=voters(3))
    with pytest.raises(UsageError, match="is no record type"):
        rules.fields(of=int)


def test_waves_and_weights() -> None:
    """Waves are refused where a field weighs its voters, wherever it stands."""
    by = rules.fields({"place": rules.fields({"city": rules.weighted({"v0": 1, "v1": 2})})}, of=Item)
    with pytest.raises(UsageError, match="leave out wave="):
        VoteFold(by, wave=1)
    assert fold_of(Item, [None] * 4, wave=2).begin(voters(4)).more == 2


# -- ballots that are none ----------------------------------------------------------------------------------------


def test_a_ballot_counts_in_every_field_or_in_none() -> None:
    """A field that cannot be counted makes the whole ballot an abstention that names it."""
    votes = [Item(label="fine", word="lost"), Item(count=float("nan")), "text", Item("bad", tags="ab"), Item("bad")]
    found = said(Item, votes)
    assert (found.valid, found.abstained, found.winner) == (1, 4, Item("bad"))
    assert [ballot.reason for ballot in found.ballots] == [
        "label: 'fine' is none of the choices",
        "count: nan is not a number",
        "'text' is no Item",
        "tags: 'ab' is no list",
        None,
    ]


def test_a_threshold_in_a_field_wants_all_voters() -> None:
    """An errored voter must not pass for one that said no, in a field as in a vote."""
    by = rules.fields({"fresh": rules.any_of(True)}, of=Item)
    with pytest.raises(QuorumError):
        said(Item, [Item(fresh=False), No.FAILS, Item(fresh=False)], by)
    assert said(Item, [Item(fresh=False), No.FAILS, Item(fresh=False)], by, quorum=2).winner.fresh is False


# -- ties ---------------------------------------------------------------------------------------------------------


def test_a_field_ties_by_itself() -> None:
    """Declared order first, else voter order; the field says so, and the vote's own `tied` stays empty."""
    found = said(Item, [Item("ugly", word="b"), Item("bad", word="a")])
    assert (found.winner.label, found.winner.word) == ("bad", "b")
    assert found.fields["label"].tied == ("bad", "ugly")
    assert found.tied == ()
    assert "label: 'bad' and 'ugly' tied, and declared order decides" in found.why
    assert "word: 'b' and 'a' tied, and voter order decides" in found.why


def test_a_tie_in_a_field_can_be_an_error() -> None:
    """It names the field and what tied."""
    with pytest.raises(TieError, match="label: 'bad' and 'ugly' tied") as caught:
        said(Item, [Item("ugly"), Item("bad")], ties="error")
    assert caught.value.tied == ("bad", "ugly")
    with pytest.raises(TieError, match="place: city: 'a' and 'b' tied"):
        said(Item, [Item(place=Place("a", 1)), Item(place=Place("b", 1))], ties="error")
    assert said(Item, [Item("bad"), Item("bad")], ties="error").winner == Item("bad")


@dataclass
class Optional:
    """Fields that may be None."""

    label: Label | None
    count: int
    tags: list[str]


def test_a_tie_can_leave_a_field_empty() -> None:
    """Under "abstain" a field that ties is None; averages and lists cannot tie."""
    found = said(Optional, [Optional("bad", 1, ["a"]), Optional("good", 3, ["a"])], ties="abstain")
    assert found.winner == Optional(None, 1, ["a"])
    assert found.fields["label"].tied == ("good", "bad")


@pytest.mark.parametrize(
    ("ties", "words"), [("abstain", "Item.label cannot be: let its type"), ("step", "each field ties by itself")]
)
def test_ties_that_leave_no_record_are_refused(ties: Any, words: str) -> None:
    """A field that cannot be None cannot abstain, and a step cannot choose between fields' values."""
    with pytest.raises(UsageError, match=words):
        VoteFold(rules.fields(of=Item), names=voters(3), ties=ties)


# -- the record's own rules ---------------------------------------------------------------------------------------


class Range(BaseModel):
    """Two numbers that go together."""

    low: int
    high: int = Field(alias="HIGH")

    @model_validator(mode="after")
    def ordered(self) -> "Range":
        """The lower one is lower."""
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def a_range(low: int, high: int) -> Range:
    """A range, by its alias."""
    return Range.model_validate({"low": low, "HIGH": high})


def test_a_record_that_its_type_refuses_is_an_error_that_says_so() -> None:
    """A rule between two fields may not hold for their winners: no crash, and the values are kept."""
    by = rules.fields({"low": rules.mean()}, of=Range)
    votes = [a_range(1, 2), a_range(1, 2), a_range(100, 100)]
    with pytest.raises(
        RecordError, match="the fields that won make no Range: Value error, low is above high"
    ) as caught:
        said(Range, votes, by)
    assert caught.value.values == {"low": 34, "high": 2}
    assert said(Range, votes).winner == a_range(1, 2)


def test_a_dataclass_may_refuse_too() -> None:
    """Whatever its own `__post_init__` raises."""

    @dataclass
    class Even:
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ArithmeticError("odd")

    with pytest.raises(RecordError, match="make no Even: ArithmeticError: odd"):
        said(Even, [Even(2), Even(4)], rules.fields({"number": rules.mean()}, of=Even))


def test_the_record_of_a_vote_by_fields_travels() -> None:
    """The result survives pickling, and its fields refuse to be true or false."""
    found = said(Item, [Item("bad"), Item("good"), Item("bad")])
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert hash(again) == hash(found)
    assert again.fields["label"].tally["bad"] == 2
    with pytest.raises(TypeError, match=r"look at \.winner"):
        bool(found.fields["label"])


def test_the_key_of_a_record_is_no_part_of_it() -> None:
    """Fields are compared by the vote's own measure of equality."""
    fold = fold_of(
        Item, [None] * 2, stop=None, key=lambda value: value if isinstance(value, str) else ballot_key(value)
    )
    for at, word in enumerate(["B", "b"]):
        fold.add(arrival(at, Item(word=word)), 1 - at)
    assert fold.end("all").fields["word"].tally == {"B": 1, "b": 1}
