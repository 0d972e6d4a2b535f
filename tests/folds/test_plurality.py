"""Rules that elect a value: plurality, majority, weighted; and what a tie gives."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from fanfold import rules
from fanfold.errors import TieError, UsageError
from fanfold.folds.vote import VoteFold
from tests.folds.reference import INVALID, Case, No, feed, result, said_by


def ended_after(case: Case, order: list[int] | None = None) -> int | None:
    """After how many ballots the fold says *enough*; None where it waits for all."""
    answers = feed(case.fold(), case, order or range(len(case.votes)))
    return len(answers) if answers[-1].enough else None


def test_a_vote_of_five_whose_first_three_agree_ends_after_three() -> None:
    """Two voters cannot change what three agree on, so they need not be waited for."""
    case = Case("plurality", ("spam", "spam", "spam", "ham", "ham"))
    assert ended_after(case) == 3
    fold = case.fold()
    feed(fold, case, range(5))
    found = fold.end("enough")
    assert found.winner == "spam"
    assert found.why == "decided after 3 of 5: nothing outstanding can change 'spam'"
    assert found.rule == "plurality()"
    assert found.tally == {"spam": 3}
    assert found.share == 1.0
    assert found.share_bounds == (0.6, 1.0)
    assert (found.n, found.valid, found.outstanding) == (5, 3, 2)


def test_plurality_needs_no_more_than_half() -> None:
    """The most ballots win, even if they are few."""
    found = result(Case("plurality", ("a", "b", "c", "b", "d")))
    assert found.winner == "b"
    assert found.share == 0.4
    assert found.why == "all 5 voters answered"


def test_invalid_ballots_do_not_count_in_the_share() -> None:
    """Abstentions and errors are counted apart: the share is of the valid ballots."""
    found = result(Case("plurality", ("a", *INVALID, "b", "a", No.UNREADABLE)))
    assert found.share == 2 / 3
    assert (found.valid, found.abstained, found.errors) == (3, 2, 1)
    assert found.why == "all 6 voters came back: 3 valid, 2 abstained, 1 failed"


def test_invalid_ballots_decide_a_vote_too() -> None:
    """Where one more vote could make a level, a voter that fails or abstains settles that it will not."""
    for said, ended in [(No.FAILS, 3), (No.ABSTAINS, 3), (No.UNREADABLE, 3), ("b", None)]:
        assert ended_after(Case("plurality", ("a", "a", said, "b"), ties="abstain")) == ended


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=str)
def test_a_tie_goes_by_declared_order(order: list[int]) -> None:
    """The first of the declared choices wins, whoever came first and whoever votes first."""
    found = result(Case("plurality", ("ham", "spam"), declared=("spam", "ham")), order)
    assert found.winner == "spam"
    assert found.tied == ("spam", "ham")
    assert found.why == "all 2 voters answered; 'spam' and 'ham' tied, and declared order decides"


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]], ids=str)
def test_a_tie_goes_by_voter_order_where_nothing_is_declared(order: list[int]) -> None:
    """The value of the lowest voter wins, never that of the first to arrive."""
    found = result(Case("plurality", ("c", "a", "b")), order)
    assert found.winner == "c"
    assert found.tied == ("c", "a", "b")
    assert found.why.endswith("'c', 'a' and 'b' tied, and voter order decides")


def test_a_tie_can_be_an_error() -> None:
    """`ties="error"` raises what tied, in order, and how else to treat it."""
    fold = Case("plurality", ("b", "a", "a", "b"), ties="error").fold()
    feed(fold, Case("plurality", ("b", "a", "a", "b")), range(4))
    with pytest.raises(TieError, match="'b' and 'a' tied") as caught:
        fold.end("all")
    assert caught.value.tied == ("b", "a")
    assert "ties=" in str(caught.value)


@pytest.mark.parametrize(("ties", "share"), [("abstain", None), ("step", 0.4)])
def test_a_tie_can_have_no_winner(ties: str, share: float | None) -> None:
    """`"abstain"` has no winner; `"step"` has none yet, and leaves the tied values, of one share, to who asked."""
    found = result(Case("plurality", ("b", "a", "a", "b", "c"), ties=ties))
    assert found.winner is None
    assert found.share == share
    assert found.share_bounds == (None if share is None else (share, share))
    assert found.tied == ("b", "a")
    assert found.why == "all 5 voters answered; 'b' and 'a' tied"


def test_a_tie_in_sight_is_waited_for_unless_order_decides_it() -> None:
    """Two ahead with two out: a rival can draw level, which declared order may settle and other policies not."""
    votes = ("b", "b", "a", "a")
    assert ended_after(Case("plurality", votes, declared=("b", "a"))) == 2
    assert ended_after(Case("plurality", votes, declared=("a", "b"))) is None
    for ties in ("error", "abstain", "step"):
        assert ended_after(Case("plurality", votes, ties=ties, declared=("b", "a"))) is None


def test_a_low_voter_still_out_can_win_a_tie_by_voter_order() -> None:
    """Level is enough for a rival if one of its voters comes before the leader's first; else it is not."""
    case = Case("plurality", ("a", "b", "b", "a"))
    assert ended_after(case, [1, 2, 0, 3]) is None  # b b, then a: voter 3 could make a level, and voter 0 is its
    assert ended_after(case, [1, 2, 3, 0]) is None  # as long as voter 0 is out, level is lost
    same = Case("plurality", ("b", "b", "a", "a"))
    assert ended_after(same, [0, 1, 2, 3]) == 2  # all who are out come after the leader's first voter


def test_the_last_voter_is_not_a_stop() -> None:
    """With nobody out there is nothing to end: the fan ends by itself, and `why` says that all came."""
    case = Case("plurality", ("a", "b", "c"))
    answers = feed(case.fold(), case, range(3))
    assert not any(answer.enough for answer in answers)


def test_one_choice_alone_is_decided_by_its_first_ballot() -> None:
    """Where only one value can come, the first valid ballot decides, and nothing can dilute its share."""
    for rule in ("plurality", "majority"):
        case = Case(rule, ("a", "a", "a"), declared=("a",))
        assert ended_after(case) == 1
        assert result(case, [2], "timeout").share_bounds == (1.0, 1.0)


def test_majority_is_more_than_half_of_the_valid_ballots() -> None:
    """Half is not enough; ballots that are not valid do not count against it."""
    assert result(Case("majority", ("a", "a", "b", "b"))).winner is None
    assert result(Case("majority", ("a", "a", "b", "c"))).winner is None
    assert result(Case("majority", ("a", "a", "b", "b", "a"))).winner == "a"
    assert result(Case("majority", ("a", "a", "b", *INVALID))).winner == "a"


def test_majority_without_a_winner_says_so() -> None:
    """No winner is None, no share, and no tie, whatever the policy for ties."""
    found = result(Case("majority", ("a", "b"), ties="error"))
    assert found.winner is None
    assert found.share is None
    assert found.tied == ()
    assert found.tally == {"a": 1, "b": 1}
    assert found.why == "all 2 voters answered; no value has more than half of the valid ballots"


def test_majority_ends_once_none_can_reach_it() -> None:
    """No winner is an outcome like any other, and can be certain early."""
    assert ended_after(Case("majority", ("a", "b", "c", "a"))) == 3  # two of four are no more than half
    case = Case("majority", ("a", "b", "c", "d", "a"))
    assert ended_after(case) == 4
    fold = case.fold()
    feed(fold, case, range(5))
    assert fold.end("enough").why.startswith(
        "decided after 4 of 5: nothing outstanding can change that there is no winner; "
    )


def test_majority_waits_while_abstentions_could_make_one() -> None:
    """A lead of one in three is a majority only if both others stay away."""
    assert ended_after(Case("majority", ("a", "a", "b", "c"))) is None
    assert ended_after(Case("majority", ("a", "a", "a", "b", "c"))) == 3


def test_the_most_weight_wins() -> None:
    """One heavy voter outweighs two light ones; the tally and the share are of weights."""
    weights = {"v0": 3, "v1": 1, "v2": 1}
    found = result(Case("weighted", ("a", "b", "b"), (weights,)))
    assert found.winner == "a"
    assert found.tally == {"a": 3, "b": 2}
    assert found.share == 0.6
    assert found.rule == "weighted({'v0': 3, 'v1': 1, 'v2': 1})"


def test_weights_are_summed_as_they_are_written() -> None:
    """0.1 and 0.2 tie with 0.3, in every order; as floats they would not."""
    case = Case("weighted", ("a", "a", "b"), ({"v0": 0.1, "v1": 0.2, "v2": 0.3},), ties="abstain")
    assert 0.1 + 0.2 != 0.3
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        found = result(case, order)
        assert found.tied == ("a", "b")
        assert found.tally == {"a": 0.3, "b": 0.3}


@pytest.mark.parametrize("weight", [Decimal("0.3"), Fraction(3, 10), 0.3], ids=repr)
def test_weights_may_be_exact_numbers(weight: Decimal | Fraction | float) -> None:
    """Decimals and fractions weigh what they say."""
    case = Case("weighted", ("a", "a", "b"), ({"v0": 0.1, "v1": Decimal("0.2"), "v2": weight},), ties="step")
    assert result(case).tied == ("a", "b")


class Byte(int):
    """A whole number of a library: what is calculated with it is one again, and no more than 255."""

    @property
    def numerator(self) -> "Byte":
        return self

    def __add__(self, other: int) -> "Byte":
        return Byte((int(self) + other) % 256)

    def __mul__(self, other: int) -> "Byte":
        return Byte(int(self) * other % 256)

    __radd__, __rmul__ = __add__, __mul__


def test_whole_weights_of_other_kinds_do_not_overflow() -> None:
    """NumPy's numbers of eight bits weigh what they say, whatever the weights' common denominator is."""
    case = Case("weighted", ("a", "b", "b"), ({"v0": Byte(200), "v1": Byte(90), "v2": 0.1},))
    assert result(case).tally == {"a": 200, "b": 90.1}


def test_a_weighted_vote_knows_who_is_still_out() -> None:
    """It ends once the weight out is less than the lead, which depends on who is out, not on how many."""
    weights = {"v0": 5, "v1": 1, "v2": 1, "v3": 1}
    case = Case("weighted", ("a", "b", "b", "b"), (weights,))
    assert ended_after(case, [0, 1, 2, 3]) == 1
    assert ended_after(case, [1, 2, 3, 0]) is None
    fold = case.fold()
    feed(fold, case, [0])
    assert fold.end("enough").share_bounds == (0.625, 1.0)


def test_a_voter_without_weight_has_no_say() -> None:
    """It is tallied, at 0, and is not waited for; it neither wins nor breaks a tie."""
    weights = {"v0": 0, "v1": 1, "v2": 1}
    case = Case("weighted", ("b", "a", "b"), (weights,))
    found = result(case)
    assert found.winner == "a"  # voter 1 comes before voter 2, and voter 0 does not count
    assert found.tied == ("a", "b")
    assert ended_after(Case("weighted", ("b", "a", "a"), (weights,)), [2, 1, 0]) == 2
    assert result(Case("weighted", ("c", "a", "a"), (weights,))).tally == {"a": 2, "c": 0}


def test_ballots_without_weight_elect_nobody() -> None:
    """Where only voters of weight 0 gave valid ballots the quorum is met, and there is no winner."""
    found = result(Case("weighted", ("a", No.FAILS), ({"v0": 0, "v1": 1},)))
    assert found.winner is None
    assert found.share is None
    assert found.why.endswith("no voter with a weight gave a valid ballot")


def test_a_tie_of_weights_can_be_certain_while_a_voter_without_weight_is_out() -> None:
    """The tie is then the outcome, and `why` says that it is final."""
    case = Case("weighted", ("a", "b", "c"), ({"v0": 1, "v1": 1, "v2": 0},), ties="step")
    fold = case.fold()
    assert feed(fold, case, range(3))[-1].enough
    assert said_by(fold) == ("tied", ("a", "b"))
    assert fold.end("enough").why.startswith(
        "decided after 2 of 3: nothing outstanding can change the tie of 'a' and 'b'"
    )


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"v0": -1}, "'v0' is -1"),
        ({"v0": math.nan}, "'v0' is nan"),
        ({"v0": math.inf}, "'v0' is inf"),
        ({"v0": Decimal("NaN")}, "a finite number"),
        ({"v0": True}, "'v0' is True"),
        ({"v0": "2"}, "'v0' is '2'"),
        ({"v0": 0, "v1": 0.0}, "needs a weight above 0"),
        ({}, "needs a weight above 0"),
        ({"v0": 1.7e308, "v1": 1.7e308}, "scale them down"),
        ({"v0": 10**400, "v1": 1}, "scale them down"),
    ],
    ids=str,
)
def test_weights_that_cannot_weigh_are_refused(weights: dict[str, float], says: str) -> None:
    """Negative, infinite, not numbers, all zero, too large to add: refused where the rule is made."""
    with pytest.raises(UsageError, match=says):
        rules.weighted(weights)


def test_weights_must_match_the_voters() -> None:
    """A voter without a weight, or a weight without a voter, is refused by name before the vote."""
    rule = rules.weighted({"x": 1, "y": 2})
    rule.check(["y", "x"])
    with pytest.raises(UsageError, match="no weight for 'z'"):
        rule.check(["x", "y", "z"])
    with pytest.raises(UsageError, match="weighs 'y', but the voters are 'x'"):
        VoteFold(rule, names=["x"])
    with pytest.raises(UsageError, match="no weight for '0' and '1'"):
        VoteFold(rule).begin(["0", "1"])


def test_a_rule_keeps_the_weights_it_was_given() -> None:
    """Changing the mapping afterwards changes nothing."""
    weights = {"v0": 1, "v1": 2}
    rule = rules.weighted(weights)
    weights["v1"] = 0
    assert repr(rule) == "weighted({'v0': 1, 'v1': 2})"
    assert rule == rules.weighted({"v1": 2, "v0": 1})
    assert hash(rule) == hash(rules.weighted({"v1": 2, "v0": 1}))


def test_rules_are_values() -> None:
    """Made twice, a rule is equal to itself, and shows how it was made."""
    assert rules.plurality() == rules.plurality() != rules.majority()
    assert {repr(rules.plurality()), repr(rules.majority())} == {"plurality()", "majority()"}
    assert len({rules.plurality(), rules.plurality(), rules.majority()}) == 2
