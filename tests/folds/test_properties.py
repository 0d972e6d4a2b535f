"""Every rule, policy and quorum against a count done the plain way and every completion tried out."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.folds.reference import (
    INVALID,
    Case,
    No,
    arrival,
    certain,
    feed,
    outcome,
    result,
    said_by,
    share_of,
    top,
)

WORDS = ("a", "b", "c")
NUMBERS = (1, 2.5, 7)
WEIGHTS = (0, 0.1, 0.2, 0.3, 1, 2)
RULES = ("plurality", "majority", "at_least", "any_of", "all_of", "weighted", "mean", "median")
TIES = ("declared", "error", "abstain", "step")
ELECTING = ("plurality", "weighted")
SHARING = ("plurality", "majority", "at_least", "any_of", "all_of", "weighted")

every_rule = pytest.mark.parametrize("rule", RULES)


@st.composite
def cases(draw: st.DrawFn, rule: str, most: int = 5) -> tuple[Case, list[int]]:
    """A vote of up to `most` voters, everybody in, and an order of arrival."""
    n = draw(st.integers(1, most))
    values = NUMBERS if rule in {"mean", "median"} else WORDS
    votes = draw(st.lists(st.sampled_from(values + values + (*INVALID, No.UNREADABLE)), min_size=n, max_size=n))
    ties = draw(st.sampled_from(TIES)) if rule in ELECTING else "declared"
    quorum = draw(st.none() | st.integers(1, n))
    # One choice alone makes even a mean certain; the fold waits for it all the same.
    fewest = 2 if rule == "mean" else 1
    choices = draw(st.none() | st.permutations(values).flatmap(_cut(fewest)))
    if choices is not None:
        votes = [vote if isinstance(vote, No) or vote in choices else choices[0] for vote in votes]
    args = draw(_arguments(rule, n, choices or WORDS))
    declared = None if choices is None else tuple(choices)
    return Case(rule, tuple(votes), args, ties, quorum, declared), draw(st.permutations(range(n)))


def _cut(fewest: int) -> Any:
    return lambda values: st.integers(fewest, len(values)).map(lambda size: values[:size])


def _arguments(rule: str, n: int, values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    if rule == "at_least":
        return st.tuples(st.integers(1, n), st.sampled_from(values))
    if rule in {"any_of", "all_of"}:
        return st.tuples(st.sampled_from(values))
    if rule == "weighted":
        weights = st.lists(st.sampled_from(WEIGHTS), min_size=n, max_size=n).filter(any)
        return weights.map(lambda drawn: ({f"v{i}": weight for i, weight in enumerate(drawn)},))
    return st.just(())


def assert_stops_exactly_when_certain(case: Case, order: list[int]) -> None:
    """Feed one by one; the fold says *enough* at the first moment at which every completion agrees."""
    fold = case.fold()
    for came in range(1, len(order)):
        enough = feed(fold, case, order[came - 1 : came])[0].enough
        only = certain(case.only(order[:came]))
        assert enough == (only is not None), (case, order[:came], only)
        if enough:
            assert said_by(fold) == only
            return
    feed(fold, case, order[-1:])
    assert said_by(fold, "all") == outcome(case)


@every_rule
@settings(max_examples=60)
@given(data=st.data())
def test_a_vote_stops_exactly_when_nothing_can_change_its_outcome(rule: str, data: st.DataObject) -> None:
    """The stop fires at a ballot iff all completions from there on have one and the same outcome, which is its."""
    assert_stops_exactly_when_certain(*data.draw(cases(rule)))


@every_rule
@settings(max_examples=25)
@given(data=st.data())
def test_an_early_end_never_differs_from_the_full_vote(rule: str, data: st.DataObject) -> None:
    """In votes too large to try everything, what the stop ended with is still what all ballots would have given."""
    case, order = data.draw(cases(rule, most=40))
    fold = case.fold()
    enough = feed(fold, case, order)[-1].enough
    assert said_by(fold, "enough" if enough else "all") == outcome(case)


@every_rule
@settings(max_examples=15)
@given(data=st.data())
def test_a_result_does_not_tell_who_came_first(rule: str, data: st.DataObject) -> None:
    """Whichever voters were folded, every order of their arrival gives the same record, down to the tally's order."""
    case, order = data.draw(cases(rule, most=8))
    came = order[: data.draw(st.integers(0, len(order)))]
    fold, other = case.fold(stop=None), case.fold(stop=None)
    feed(fold, case, came)
    feed(other, case, data.draw(st.permutations(came)))
    if len(fold.ballots) != len(other.ballots):
        return  # a quorum out of reach ended one of them before it had all
    assert said_by(fold, "timeout") == said_by(other, "timeout")
    if said_by(fold, "timeout")[0] not in {"no quorum", "tie error"}:
        one, two = fold.end("timeout"), other.end("timeout")
        assert one == two
        assert list(one.tally.items()) == list(two.tally.items())


@every_rule
@settings(max_examples=15)
@given(data=st.data())
def test_a_timeout_counts_who_is_out_as_absent(rule: str, data: st.DataObject) -> None:
    """At a timeout the outcome is that of a vote in which all who are out abstained."""
    case, order = data.draw(cases(rule, most=8))
    came = order[: data.draw(st.integers(0, len(order) - 1))]
    fold = case.fold(stop=None)
    feed(fold, case, came)
    absent = [vote if index in came else No.ABSTAINS for index, vote in enumerate(case.votes)]
    assert said_by(fold, "timeout") == outcome(replace(case, votes=tuple(absent)))


@pytest.mark.parametrize("rule", SHARING)
@settings(max_examples=15)
@given(data=st.data())
def test_share_bounds_hold_and_are_tight(rule: str, data: st.DataObject) -> None:
    """Over all completions the winner's share stays within the bounds, and both bounds are reached."""
    case, order = data.draw(cases(rule, most=4))
    partly = case.only(order[: data.draw(st.integers(1, len(order)))])
    fold = partly.fold(stop=None)
    feed(fold, partly, [index for index in order if partly.votes[index] is not No.OUT])
    if said_by(fold, "timeout")[0] != "won":
        return
    found = fold.end("timeout")
    value = case.args[-1] if isinstance(found.winner, bool) else found.winner
    shares = [share_of(completion, value) for completion in partly.completions()]
    assert found.share == share_of(partly, value)
    assert found.share_bounds == (min(shares), max(shares))


@pytest.mark.parametrize("rule", ["mean", "median"])
@settings(max_examples=10)
@given(data=st.data())
def test_an_average_is_nobodys_share(rule: str, data: st.DataObject) -> None:
    """Rules that average give neither a share nor its bounds."""
    case, _ = data.draw(cases(rule))
    if outcome(case) != ("no quorum",):
        found = result(case)
        assert found.share is None
        assert found.share_bounds is None


@pytest.mark.parametrize("rule", ELECTING)
@settings(max_examples=15)
@given(data=st.data())
def test_tied_lists_who_shares_the_top(rule: str, data: st.DataObject) -> None:
    """Whatever the policy, `tied` names the values of a shared first place in order, and is empty without one."""
    case, order = data.draw(cases(rule, most=8))
    if case.ties == "error" or outcome(case) == ("no quorum",):
        return
    tied = top(case)
    assert result(case, order).tied == (tied if len(tied) > 1 else ())


@every_rule
@settings(max_examples=15)
@given(data=st.data())
def test_the_counts_add_up(rule: str, data: st.DataObject) -> None:
    """Valid, abstained, errors and outstanding are counted apart and make n; the ballots stand in voter order."""
    case, order = data.draw(cases(rule, most=8))
    came = order[: data.draw(st.integers(1, len(order)))]
    partly = case.only(came)
    fold = partly.fold(stop=None, quorum=None)
    feed(fold, partly, came)
    if said_by(fold, "timeout")[0] in {"no quorum", "tie error"}:
        return
    found = fold.end("timeout")
    assert found.n == len(case.votes)
    assert found.valid == len(partly.valid()) == sum(ballot.kind == "valid" for ballot in found.ballots)
    assert found.abstained == sum(v in {No.ABSTAINS, No.UNREADABLE} for v in partly.votes)
    assert found.errors == partly.votes.count(No.FAILS)
    assert found.outstanding == len(case.votes) - len(came)
    assert [ballot.index for ballot in found.ballots] == sorted(came)


@every_rule
@settings(max_examples=15)
@given(data=st.data())
def test_waves_change_when_voters_are_asked_and_nothing_else(rule: str, data: st.DataObject) -> None:
    """With waves of w never more than w fly, none is asked before the wave is in; the outcome is the full vote's."""
    if rule == "weighted":
        return  # it refuses waves; see test_vote.py
    case, _ = data.draw(cases(rule, most=12))
    wave = data.draw(st.integers(1, 14))
    n = len(case.votes)
    fold = case.fold(wave=wave)
    launched = fold.begin(case.names).more
    flying = set(range(launched))
    while flying:
        assert len(flying) <= wave
        index = data.draw(st.sampled_from(sorted(flying)))
        flying.remove(index)
        go = feed_one(fold, case, index, len(flying))
        if go.enough:
            break
        assert go.more == (0 if flying else min(wave, n - launched))
        flying |= set(range(launched, launched + go.more))
        launched += go.more
    assert said_by(fold, "enough" if flying or launched < n else "all") == outcome(case)


def feed_one(fold: Any, case: Case, index: int, flying: int) -> Any:
    """Hand over one vote with the fan's own count of what still flies."""
    return fold.add(arrival(index, case.votes[index]), flying)


def small_votes(rule: str, n: int) -> Iterator[Case]:
    """Every vote of n voters on two values, under every policy and quorum, with and without declared choices."""
    values = (1, 2) if rule in {"mean", "median"} else ("a", "b")
    arguments: list[tuple[Any, ...]] = [()]
    if rule == "at_least":
        arguments = [(k, "a") for k in range(1, n + 1)]
    elif rule in {"any_of", "all_of"}:
        arguments = [("a",)]
    elif rule == "weighted":
        some = [(0, 1, 1), (2, 1, 1), (0.1, 0.2, 0.3)]
        drawn = [weights[:n] for weights in some]
        arguments = [({f"v{i}": weight for i, weight in enumerate(weights)},) for weights in drawn]
    ties = TIES if rule in ELECTING else ("declared",)
    quorums = (None, *range(1, n + 1))
    for votes in itertools.product((*values, No.FAILS), repeat=n):
        for args, tie, quorum, declared in itertools.product(arguments, ties, quorums, (None, values[::-1])):
            yield Case(rule, votes, args, tie, quorum, declared)


@every_rule
def test_every_vote_of_two_voters_stops_exactly_when_certain(rule: str) -> None:
    """The promise of the stop holds in every vote of two voters on two values, in both orders."""
    for case in small_votes(rule, 2):
        for order in itertools.permutations(range(2)):
            assert_stops_exactly_when_certain(case, list(order))


@pytest.mark.long
@every_rule
def test_every_vote_of_three_voters_stops_exactly_when_certain(rule: str) -> None:
    """The promise of the stop holds in every vote of three voters on two values, in every order."""
    for case in small_votes(rule, 3):
        for order in itertools.permutations(range(3)):
            assert_stops_exactly_when_certain(case, list(order))


@pytest.mark.long
@every_rule
@settings(max_examples=600)
@given(data=st.data())
def test_many_votes_stop_exactly_when_nothing_can_change_their_outcome(rule: str, data: st.DataObject) -> None:
    """The promise of the stop, over many more votes than the quick suite has time for."""
    assert_stops_exactly_when_certain(*data.draw(cases(rule)))
