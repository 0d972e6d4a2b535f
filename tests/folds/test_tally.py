"""The tally that a result shows, and the groups it is made from."""

import pytest

from fanfold.folds.tally import NOBODY, Groups, Tally
from tests.folds.reference import Case, plain_key, result


def folded(value: object) -> object:
    """A measure of equality that ignores case."""
    return (type(value), value.lower() if isinstance(value, str) else value)


def test_a_tally_lists_the_most_first() -> None:
    """The order is by count, then by the first voter, whatever the order of arrival."""
    votes = ("c", "a", "b", "a", "b", "d")
    expected = [("a", 2), ("b", 2), ("c", 1), ("d", 1)]
    for order in (range(6), range(5, -1, -1)):
        assert list(result(Case("plurality", votes), list(order)).tally.items()) == expected


def test_a_tally_breaks_its_ties_by_declared_order() -> None:
    """Where choices are declared, equal counts stand in their order; choices nobody took are not listed."""
    found = result(Case("plurality", ("c", "a", "b"), declared=("b", "x", "c", "a")))
    assert list(found.tally.items()) == [("b", 1), ("c", 1), ("a", 1)]


def test_a_tally_is_looked_up_as_ballots_are_compared() -> None:
    """A value is found however it is spelled, if it would have counted as the same ballot."""
    tally = Tally([("Spam", 3), ("ham", 2)], folded)
    assert tally["SPAM"] == tally["spam"] == 3
    assert "Ham" in tally
    assert tally.get("eggs") is None
    with pytest.raises(KeyError, match="eggs"):
        tally["eggs"]


def test_a_tally_tells_true_from_one() -> None:
    """A plain dict would merge True and 1; they are two answers."""
    tally = result(Case("plurality", (True, 1, 1, 1.0))).tally
    assert tally[1] == 2
    assert tally[True] == 1
    assert tally[1.0] == 1
    assert len(tally) == 3


def test_a_tally_holds_lists() -> None:
    """Ballots may be lists, which no dict could hold as keys."""
    tally = Tally([(["x", "y"], 2), (["x"], 1)], tuple)
    assert tally[["x", "y"]] == 2
    assert list(tally) == [["x", "y"], ["x"]]
    assert repr(tally) == "Tally({['x', 'y']: 2, ['x']: 1})"


def test_a_tally_equals_the_mapping_it_shows() -> None:
    """It compares with a dict by its own measure, and is unequal to what is no mapping."""
    tally = Tally([("Spam", 3), ("ham", 2)], folded)
    assert tally == {"spam": 3, "ham": 2}
    shown = {"HAM": 2, "spam": 3}
    assert shown == tally
    assert tally != {"spam": 3}
    assert tally != {"spam": 3, "ham": 1}
    assert tally != {"spam": 3, "eggs": 2}
    assert tally != 5


def test_equal_tallies_have_equal_hashes() -> None:
    """However their values are spelled."""
    one, two = Tally([("Spam", 3), ("ham", 2)], folded), Tally([("spam", 3), ("HAM", 2)], folded)
    assert one == two
    assert hash(one) == hash(two)


def test_a_group_is_spelled_as_its_first_voter_put_it() -> None:
    """The spelling is that of the lowest voter in the group, whoever came first."""
    votes = ("Yes.", "yes", "no", "YES")
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        found = result(Case("plurality", votes), order, key=lambda value: value.strip(".").lower())
        assert found.winner == "Yes."
        assert list(found.tally) == ["Yes.", "no"]
    without_first = result(Case("plurality", votes), [3, 1], "timeout", key=str.lower)
    assert without_first.winner == "yes"


def test_a_key_may_be_none() -> None:
    """A user's own key that gives None makes a group like any other."""
    found = result(Case("majority", ("a", "b", "c")), key=lambda value: None)
    assert found.winner == "a"
    assert found.share_bounds == (1.0, 1.0)
    assert list(Groups(3).rivals(None)) == [(0, 0)]


def test_groups_know_who_is_out() -> None:
    """Weight pending, and the nearest voter still out, follow every arrival."""
    groups = Groups(4, weights=[1, 0, 2, 3])
    assert (groups.pending, list(groups.out)) == (6, [0, 2, 3])
    for index, pending, out in [(2, 4, [0, 3]), (1, 4, [0, 3]), (0, 3, [3]), (3, 0, [])]:
        groups.arrive(index)
        assert (groups.pending, list(groups.out)) == (pending, out)
    groups.arrive(3)
    assert groups.pending == 0


def test_rivals_include_what_nobody_said_yet() -> None:
    """Without declared choices a new value may come; with them only the choices can, seen or not."""
    groups = Groups(3)
    groups.arrive(1)
    groups.add(1, plain_key("a"), "a")
    assert list(groups.rivals(plain_key("a"))) == [(0, 0)]
    assert list(groups.rivals(NOBODY)) == [(1, 0), (0, 0)]
    declared = Groups(3, places={"a": 0, "b": 1})
    declared.arrive(1)
    declared.add(1, "a", "a")
    assert list(declared.rivals("a")) == [(0, 1)]
    assert list(declared.rivals()) == [(1, 0), (0, 1)]


def test_leaders_stand_in_order_of_their_places() -> None:
    """The groups that share the top come by their first voters that have a say."""
    groups = Groups(4, weights=[0, 1, 1, 1])
    for index, value in [(3, "c"), (2, "b"), (0, "c")]:
        groups.arrive(index)
        groups.add(index, value, value)
    assert groups.leaders() == ["b", "c"]
    assert Groups(2).leaders() == []
