"""When a vote by fields is decided: the stop against every completion, in both directions, and the bounds of shares."""

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, make_dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.errors import QuorumError, TieError
from fanfold.folds.vote import VoteFold
from tests.folds.reference import No, arrival
from tests.folds.test_fields import fold_of, said

WORDS = ("a", "b")
KINDS: dict[str, tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = {
    # type, values that voters say, values that may still come besides those seen
    "choice": (Literal["a", "b", "c"], ("a", "b", "c"), ("a", "b", "c")),
    "choice?": (Literal["a", "b"] | None, ("a", "b", None), ("a", "b", None)),
    "bool": (bool, (True, False), (True, False)),
    "text": (str, WORDS, ("new",)),
    "int": (int, (1, 2, 5), (-(10**6), 10**6)),
    "int?": (int | None, (1, 2, None), (-(10**6), 10**6, None)),
    "float": (float, (1.0, 2.0, 5.0), (-1e6, 1e6)),
    "list": (tuple[str, ...], ((), ("a",), ("a", "b"), ("b", "a")), ("new",)),
    "list!": (tuple[Literal["a", "b"], ...], ((), ("a",), ("a", "b")), ("a", "b")),
    "list?": (tuple[str, ...] | None, ((), ("a",), None), ("new", None)),
    "settled": (Literal["z"], ("z",), ("z",)),  # so that the other field alone decides
}


@dataclass(frozen=True)
class Case:
    """A vote on a record of two fields: their kinds, and what each voter says of both (or that it says nothing)."""

    kinds: tuple[str, str]
    votes: tuple[Any, ...]
    ties: str = "declared"
    quorum: int | None = None

    @property
    def record(self) -> Any:
        return make_dataclass("Pair", [("x", KINDS[self.kinds[0]][0]), ("y", KINDS[self.kinds[1]][0])], frozen=True)

    def only(self, came: Sequence[int]) -> "Case":
        return replace(self, votes=tuple(v if at in came else No.OUT for at, v in enumerate(self.votes)))

    def completions(self) -> Iterator["Case"]:
        """This vote with everybody who is out saying everything they could."""
        out = [at for at, vote in enumerate(self.votes) if vote is No.OUT]
        sayable = [*itertools.product(self.sayable(0), self.sayable(1)), No.FAILS]
        for rest in itertools.product(sayable, repeat=len(out)):
            votes = list(self.votes)
            for at, vote in zip(out, rest, strict=True):
                votes[at] = vote
            yield replace(self, votes=tuple(votes))

    def sayable(self, side: int) -> list[Any]:
        """What a field may still get: what was seen and what was not; of lists every subset, in every order."""
        _, _, new = KINDS[self.kinds[side]]
        seen = [vote[side] for vote in self.votes if not isinstance(vote, No)]
        if not self.kinds[side].startswith("list"):
            return list(dict.fromkeys([*seen, *new]))
        items = sorted({item for value in seen if value is not None for item in value} | {n for n in new if n})
        subsets = [some for size in range(len(items) + 1) for some in itertools.permutations(items, size)]
        return [*subsets, *([None] if None in new else [])]


def outcome(case: Case) -> Any:
    """What the vote comes to, by definition over the complete list of ballots."""
    ballots = [vote for vote in case.votes if not isinstance(vote, No)]
    if len(ballots) < (case.quorum or 1):
        return "no quorum"
    sides = [one_field(kind, [vote[at] for vote in ballots], case.ties) for at, kind in enumerate(case.kinds)]
    return "tie error" if "tie error" in sides else tuple(sides)


def one_field(kind: str, values: list[Any], ties: str) -> Any:
    """The outcome of one field."""
    if kind in {"choice", "choice?", "bool", "text", "settled"}:
        return most(kind, values, ties)
    filled = [value for value in values if value is not None]
    if 2 * len(filled) < len(values):
        return ("won", None)
    if kind.startswith("int"):
        return ("won", statistics.median_low(filled))
    if kind == "float":
        return ("won", float(statistics.median(map(Fraction, filled))))
    times = Counter(item for value in filled for item in set(value))
    first = dict.fromkeys(item for value in filled for item in value)
    return ("won", tuple(item for item in first if 2 * times[item] > len(filled)))


def most(kind: str, values: list[Any], ties: str) -> Any:
    """The outcome of an elected field."""
    times = Counter(values)
    tied = [value for value in times if times[value] == max(times.values())]
    if len(tied) == 1:
        return ("won", tied[0])
    if ties == "declared":
        declared = KINDS[kind][1] if kind.startswith("choice") else values
        return ("won", min(tied, key=declared.index))
    return "tie error" if ties == "error" else ("tied", frozenset(tied))


def real(fold: VoteFold[Any], why: Any) -> Any:
    """The fold's outcome, in the same words."""
    try:
        found = fold.end(why)
    except QuorumError:
        return "no quorum"
    except TieError:
        return "tie error"
    if fold.ties == "abstain":
        tied = {name: ("tied", frozenset(one.tied)) for name, one in found.fields.items() if one.tied}
    else:
        tied = {}
    values = {name: getattr(found.winner, name) for name in ("x", "y")}
    sides = {name: ("won", value) for name, value in values.items()}
    return tuple({**sides, **tied}.values())


def certain(case: Case) -> Any:
    """The outcome that every completion gives, or None."""
    seen = set()
    for completion in case.completions():
        seen.add(outcome(completion))
        if len(seen) > 1:
            return None
    return seen.pop()


@st.composite
def cases(
    draw: st.DrawFn, kind: str, least: int = 2, most_voters: int = 3, *, alone: bool = False
) -> tuple[Case, list[int]]:
    """A vote with everybody in, and an order of arrival; `alone`: the other field is always settled."""
    n = draw(st.integers(least, most_voters))
    other = (
        "settled"
        if alone
        else draw(st.sampled_from(["bool", "choice?", "settled"] if kind.startswith("list") else sorted(KINDS)))
    )
    pair = st.tuples(st.sampled_from(KINDS[kind][1]), st.sampled_from(KINDS[other][1]))
    votes = draw(st.lists(pair | pair | pair | st.just(No.FAILS), min_size=n, max_size=n))
    nullable = {kind, other} <= {"choice?", "int", "int?", "float", "list", "list!", "list?"}
    ties = draw(st.sampled_from(["declared", "abstain"] if nullable else ["declared"]))
    quorum = draw(st.none() | st.integers(1, n))
    return Case((kind, other), tuple(votes), ties, quorum), draw(st.permutations(range(n)))


def assert_stops_exactly_when_certain(case: Case, order: list[int], *, late: bool = False) -> None:
    """Feed one by one: *enough* comes at the first moment at which all completions agree (`late`: not before it)."""
    record = case.record
    fold = fold_of(record, case.votes, ties=case.ties, quorum=case.quorum)
    for at, index in enumerate(order):
        vote = case.votes[index]
        enough = fold.add(arrival(index, vote if isinstance(vote, No) else record(*vote)), len(order) - at - 1).enough
        if at == len(order) - 1:
            assert real(fold, "all") == outcome(case)
            return
        only = certain(case.only(order[: at + 1]))
        if enough:
            assert only is not None, (case, order, at)
            assert real(fold, "enough") == only
            return
        assert late or only is None, (case, order, at, only)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_vote_by_fields_stops_exactly_when_every_field_is_certain(kind: str, data: st.DataObject) -> None:
    """The stop fires iff all completions from there on give one and the same record, which is the vote's."""
    assert_stops_exactly_when_certain(*data.draw(cases(kind)))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_single_field_stops_exactly_when_it_is_certain(kind: str, data: st.DataObject) -> None:
    """The same of one field by itself, with more voters."""
    assert_stops_exactly_when_certain(*data.draw(cases(kind, 2, 4, alone=True)))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_many_votes_by_fields_stop_exactly_when_every_field_is_certain(kind: str, data: st.DataObject) -> None:
    """The same over many more votes."""
    assert_stops_exactly_when_certain(*data.draw(cases(kind)))


@pytest.mark.parametrize("kind", ["choice", "text", "int", "list!"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_tie_that_is_an_error_is_never_found_too_early(kind: str, data: st.DataObject) -> None:
    """Under ``ties="error"`` what the vote ends with is what every completion gives; it may wait a ballot longer."""
    case, order = data.draw(cases(kind))
    assert_stops_exactly_when_certain(replace(case, ties="error"), order, late=True)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_early_end_by_fields_never_differs_from_the_full_vote(data: st.DataObject) -> None:
    """In votes too large to try everything, what the stop ended with is what all ballots would have given."""
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    case, order = data.draw(cases(kind, 3, 15))
    record, fold = case.record, fold_of(case.record, case.votes, ties=case.ties, quorum=case.quorum)
    fold = fold_of(record, case.votes, ties=case.ties, quorum=case.quorum)
    for at, index in enumerate(order):
        vote = case.votes[index]
        if fold.add(arrival(index, vote if isinstance(vote, No) else record(*vote)), len(order) - at - 1).enough:
            break
    assert real(fold, "enough") == outcome(case)


@pytest.mark.parametrize("kind", ["choice", "list", "list!", "list?", "choice?"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_share_bounds_of_a_field_hold_and_are_tight(kind: str, data: st.DataObject) -> None:
    """Over all completions the share of what leads stays within its bounds, and both are reached."""
    case, order = data.draw(cases(kind))
    case = replace(case, kinds=(kind, "bool"), ties="declared", quorum=None)
    case = replace(case, votes=tuple(v if isinstance(v, No) else (v[0], True) for v in case.votes))
    partly = case.only(order[: data.draw(st.integers(1, len(order)))])
    if not any(not isinstance(vote, No) for vote in partly.votes):
        return
    record = case.record
    found = said(record, [v if isinstance(v, No) else record(*v) for v in partly.votes], why="timeout").fields["x"]
    shares = [share(kind, found.winner, completion) for completion in partly.completions()]
    assert found.share == share(kind, found.winner, partly)
    assert found.share_bounds == pytest.approx((min(shares), max(shares)))


def share(kind: str, winner: Any, case: Case) -> float:
    """How much of the valid ballots agrees with a winner: for lists, on the item on which it is the least."""
    values = [vote[0] for vote in case.votes if not isinstance(vote, No)]
    if not kind.startswith("list") or winner is None:
        return values.count(winner) / len(values)
    filled = [value for value in values if value is not None]
    items = {item for value in filled for item in value} | set(winner)
    agreeing = [sum((item in value) == (item in winner) for value in filled) / len(filled) for item in items if filled]
    return min([*agreeing, len(filled) / len(values)])
