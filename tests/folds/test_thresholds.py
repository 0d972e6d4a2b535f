"""Rules that ask whether a value got enough ballots: at_least, any_of, all_of."""

from typing import Any

import pytest

from fanfold import rules
from fanfold.errors import QuorumError, UsageError
from fanfold.folds.vote import VoteFold
from tests.folds.reference import Case, No, feed, result, said_by


def jury(*votes: object, k: int = 2, **options: Any) -> Case:
    """A jury that flags when `k` say True."""
    return Case("at_least", votes, (k, True), **options)


def test_a_jury_flags_as_soon_as_two_say_so() -> None:
    """`at_least(2, True)` is true at the second True, whatever the others would say."""
    case = jury(False, True, True, False, False)
    fold = case.fold()
    assert len(feed(fold, case, range(5))) == 3
    found = fold.end("enough")
    assert found.winner is True
    assert found.rule == "at_least(2, True)"
    assert found.why == "decided after 3 of 5: nothing outstanding can change True"
    assert found.share == 2 / 3
    assert found.share_bounds == (0.4, 0.8)


def test_a_reached_threshold_stands_whatever_failed() -> None:
    """Two say so, three failed: flagged, for no quorum binds the positive outcome."""
    case = jury(True, No.FAILS, No.FAILS, No.UNREADABLE, True)
    assert result(case).winner is True
    assert result(case).errors == 2
    fold = case.fold()
    assert not any(answer.enough for answer in feed(fold, case, range(5)))
    assert said_by(fold, "all") == ("won", True)


def test_an_errored_voter_never_yields_not_flagged() -> None:
    """One failed and the others say no: that is no False but an error, with what each of them gave."""
    case = jury(False, False, False, No.FAILS, False)
    fold = case.fold()
    answers = feed(fold, case, range(5))
    assert answers[-1].enough
    assert len(answers) == 4  # the fifth cannot make two, and the fourth cannot be made up for
    with pytest.raises(QuorumError, match=r"at_least\(2, True\) needs 5 to say anything") as caught:
        fold.end("enough")
    assert caught.value.finished == {"v0": False, "v1": False, "v2": False}
    assert caught.value.missing == {"v3": "ConnectError: no route for 3", "v4": "not in when the vote ended"}


def test_a_failure_is_waited_out_while_the_threshold_is_in_reach() -> None:
    """With one failed the quorum is lost, but two who are out may still flag: the vote goes on, and they do."""
    case = jury(False, False, No.FAILS, True, True)
    fold = case.fold()
    assert [answer.enough for answer in feed(fold, case, range(5))] == [False] * 5
    assert said_by(fold, "all") == ("won", True)


def test_not_flagged_takes_every_voter() -> None:
    """False is certain only when all are in and valid; one who is out could still miss the quorum."""
    case = jury(False, False, False, False, True)
    fold = case.fold()
    assert not any(answer.enough for answer in feed(fold, case, range(5)))
    found = fold.end("all")
    assert found.winner is False
    assert found.share == 0.2
    assert found.why == "all 5 voters answered"


def test_a_lower_quorum_lets_the_negative_stand_earlier() -> None:
    """With quorum 3 of 5 the answer is no once three are valid and two cannot be reached any more."""
    case = jury(False, False, False, False, True, quorum=3)
    fold = case.fold()
    assert len(feed(fold, case, range(5))) == 4
    assert said_by(fold) == ("won", False)
    failing = jury(False, False, False, No.FAILS, No.FAILS, quorum=3)
    assert result(failing).winner is False


def test_any_of_flags_at_once() -> None:
    """One True is enough, at the moment it comes."""
    case = Case("any_of", (True, False, False), (True,))
    fold = case.fold()
    assert len(feed(fold, case, range(3))) == 1
    found = fold.end("enough")
    assert found.winner is True
    assert found.rule == "any_of(True)"
    assert found.share_bounds == (1 / 3, 1.0)


def test_any_of_is_not_kept_from_flagging_by_errors_before() -> None:
    """Errors first, then one True: flagged."""
    case = Case("any_of", (No.FAILS, No.FAILS, True, False), (True,))
    fold = case.fold()
    assert [answer.enough for answer in feed(fold, case, range(4))] == [False, False, True]


def test_all_of_takes_every_voter() -> None:
    """True only if all say so: an abstention or an error is no agreement."""
    assert result(Case("all_of", (True, True, True), (True,))).winner is True
    assert result(Case("all_of", (True, False, True), (True,))).winner is False
    case = Case("all_of", (True, No.ABSTAINS, True), (True,))
    with pytest.raises(QuorumError):
        result(case)
    assert result(Case("all_of", (True, No.ABSTAINS, True), (True,), quorum=2)).winner is False


def test_all_of_under_a_lower_quorum_ends_with_the_first_no() -> None:
    """Once one says no and enough are valid, nothing can make it all."""
    case = Case("all_of", (True, False, True, True), (True,), quorum=2)
    assert len(feed(case.fold(), case, range(4))) == 2


def test_a_timeout_with_voters_out_is_no_clean_bill() -> None:
    """At a timeout a reached threshold stands, and an unreached one misses its quorum."""
    assert result(jury(True, False, True, False), [0, 2], "timeout").winner is True
    with pytest.raises(QuorumError) as caught:
        result(jury(False, False, True, False), [0, 1], "timeout")
    assert caught.value.missing == dict.fromkeys(("v2", "v3"), "not in when the time was over")


def test_the_value_is_compared_as_ballots_are() -> None:
    """By the same key: "Spam" is asked for and "spam" is said; 1 is not True."""
    assert result(Case("any_of", ("SPAM", "ham"), ("spam",)), key=str.lower).winner is True
    assert result(Case("any_of", (1, 1), (True,))).winner is False


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "2"], ids=repr)
def test_a_threshold_counts_from_one(k: Any) -> None:
    """Zero voters, a part of a voter, or a bool is refused where the rule is made."""
    with pytest.raises(UsageError, match="a number of voters from 1 up"):
        rules.at_least(k, True)


def test_a_threshold_above_the_number_of_voters_is_refused() -> None:
    """It could never be reached; the message says how to mend it."""
    rule = rules.at_least(3, True)
    rule.check(["a", "b", "c"])
    with pytest.raises(UsageError, match=r"at_least\(3, True\) cannot be reached by 2 voters: lower k"):
        VoteFold(rule, names=["a", "b"])
    with pytest.raises(UsageError, match="cannot be reached"):
        VoteFold(rule).begin(["a", "b"])


def test_a_value_that_no_voter_can_give_is_refused() -> None:
    """A threshold on a misspelled choice would never be reached, so it does not even begin."""
    with pytest.raises(UsageError, match="not among the choices 'spam' and 'ham'"):
        Case("any_of", ("spam",), ("spma",), declared=("spam", "ham")).fold()
    with pytest.raises(UsageError, match="whose value is None abstains"):
        rules.any_of(None)
    with pytest.raises(UsageError, match=r"at_least\(\) counts a value, not what a function is true of"):
        rules.at_least(2, lambda score: score > 7)


def test_thresholds_are_values() -> None:
    """They show how they were made, and are equal if made alike."""
    made = [rules.at_least(1, "x"), rules.any_of("x"), rules.all_of(["x"])]
    assert [repr(rule) for rule in made] == ["at_least(1, 'x')", "any_of('x')", "all_of(['x'])"]
    assert rules.any_of("x") == rules.any_of("x")
    assert rules.any_of("x") != rules.all_of("x")
    assert hash(rules.all_of(["x"])) == hash(rules.all_of(["x"]))
