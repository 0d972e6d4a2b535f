"""The fold of a vote: its policies for errors, quorums and waves, its stop, and what each addition costs."""

import sys
from collections import OrderedDict
from enum import Enum
from types import FrameType
from typing import Any

import pytest

from fanfold import rules
from fanfold.core.records import Go
from fanfold.errors import BranchError, ConnectError, ParseError, QuorumError, UsageError
from fanfold.folds.polls import Poll
from fanfold.folds.vote import VoteFold
from tests.folds.reference import INVALID, Case, No, arrival, feed, result, voters


def test_all_voters_are_launched_at_once() -> None:
    """That is the default: a vote takes as long as its slowest needed voter."""
    assert VoteFold(rules.plurality()).begin(voters(7)) == Go(more=7)


def test_without_a_stop_every_voter_is_waited_for() -> None:
    """`stop=None` collects all ballots, however clear the outcome is."""
    case = Case("plurality", ("a",) * 5)
    fold = case.fold(stop=None)
    assert feed(fold, case, range(5)) == [Go()] * 5
    assert fold.end("all").share_bounds == (1.0, 1.0)


def test_a_lost_quorum_ends_a_vote_without_a_stop_too() -> None:
    """A quorum fails once it cannot be reached: nothing that comes could be an answer."""
    case = Case("plurality", ("a", No.FAILS, No.ABSTAINS, "a", "a"), quorum=4)
    fold = case.fold(stop=None)
    assert len(feed(fold, case, range(5))) == 3


def test_a_missed_quorum_says_what_is_missing_and_why() -> None:
    """The error names what each voter gave or why it gave nothing, and its cause is the first voter's error."""
    votes = ("a", No.FAILS, No.UNREADABLE, No.ABSTAINS, "b")
    case = Case("plurality", votes, quorum=3)
    fold = case.fold(stop=None)
    feed(fold, case, [3, 2, 1])
    with pytest.raises(QuorumError, match="0 of 5 ballots are valid") as caught:
        fold.end("enough")
    assert caught.value.finished == {}
    assert caught.value.missing == {
        "v0": "not in when the vote ended",
        "v1": "ConnectError: no route for 1",
        "v2": "ParseError: no choice in the reply",
        "v3": "gave no answer",
        "v4": "not in when the vote ended",
    }
    assert isinstance(caught.value.__cause__, ConnectError)
    assert "(2 abstained, 1 failed, 2 not in); v1: ConnectError: no route for 1 (" in str(caught.value)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]], ids=str)
def test_the_cause_of_a_missed_quorum_is_the_first_voters_error(order: list[int]) -> None:
    """Of several errors the chained one is that of the lowest voter, whichever came first."""
    case = Case("plurality", (No.UNREADABLE, No.FAILS, No.FAILS))
    fold = case.fold()
    feed(fold, case, order)
    with pytest.raises(QuorumError) as caught:
        fold.end("all")
    assert str(caught.value.__cause__) == "no route for 1"


def test_a_poll_is_settled_by_a_lost_quorum() -> None:
    """A stop that asks the poll learns of it: nothing outstanding can change that the quorum is missed."""
    case = Case("plurality", ("a", No.FAILS, "a"), quorum=3)
    fold = case.fold(stop=None)
    feed(fold, case, range(2))
    assert fold.poll.lost()
    assert fold.poll.settled()
    assert rules.decided().fires(fold.poll) == (
        "decided after 2 of 3: nothing outstanding can change that the quorum is missed"
    )


def test_a_quorum_is_a_floor_and_no_stop() -> None:
    """Three valid ballots meet a quorum of three; the vote goes on all the same."""
    case = Case("plurality", ("a", "b", "c", "b", "a"), quorum=3)
    assert not any(answer.enough for answer in feed(case.fold(), case, range(5)))


def test_a_leader_is_not_decided_before_the_quorum_is() -> None:
    """Two of five agree and three are out; with quorum 4 they decide whether there is an outcome at all."""
    case = Case("weighted", ("a", "a", "a", "a", "b"), ({"v0": 9, "v1": 1, "v2": 1, "v3": 1, "v4": 1},))
    assert len(feed(case.fold(), case, range(5))) == 1
    assert len(feed(case.fold(quorum=4), case, range(5))) == 4


def test_no_valid_ballot_is_no_outcome() -> None:
    """Of rules that elect or average one ballot must be valid; nobody wins an empty vote."""
    for rule in ("plurality", "majority", "mean", "median"):
        with pytest.raises(QuorumError):
            result(Case(rule, (*INVALID, No.UNREADABLE)))
        with pytest.raises(QuorumError):
            result(Case(rule, (1, 2)), [], "timeout")


def test_a_timeout_gives_what_came() -> None:
    """The result is of the ballots that are in; `why` says so, and the bounds leave room for the others."""
    found = result(Case("plurality", ("a", "b", "a", "b", "b")), [0, 1, 2, 3][:3], "timeout")
    assert found.winner == "a"
    assert found.why == "time was over after 3 of 5"
    assert found.outstanding == 2
    assert found.share == 2 / 3
    assert found.share_bounds == (0.4, 0.8)
    assert [ballot.voter for ballot in found.ballots] == ["v0", "v1", "v2"]


def test_an_end_for_other_reasons_says_how_far_it_came() -> None:
    """A replay may end a vote where no stop of its own did."""
    assert result(Case("plurality", ("a", "b", "a")), [0, 2], "enough").why == "ended after 2 of 3"
    assert result(Case("plurality", ("a", "b", "a")), [0, 2], "all").why == "ended after 2 of 3"
    assert result(Case("plurality", ("a",))).why == "the one voter answered"


def test_ballots_stand_in_voter_order() -> None:
    """Whoever came first."""
    found = result(Case("plurality", ("a", "b", No.FAILS)), [2, 1, 0])
    assert [(ballot.voter, ballot.kind) for ballot in found.ballots] == [
        ("v0", "valid"),
        ("v1", "valid"),
        ("v2", "error"),
    ]


def test_a_vote_that_may_not_fail_ends_with_its_first_error() -> None:
    """`on_error="fail"` raises the voter's error, and keeps what the others said."""
    case = Case("plurality", ("a", "b", No.FAILS, "a", "a"))
    fold = case.fold(on_error="fail")
    assert [answer.enough for answer in feed(fold, case, [1, 0, 2, 3])] == [False, False, True]
    with pytest.raises(BranchError, match="branch 'v2' failed: ConnectError") as caught:
        fold.end("enough")
    assert list(caught.value.finished.items()) == [("v0", "a"), ("v1", "b")]
    assert isinstance(caught.value.__cause__, ConnectError)


def test_a_reply_that_cannot_be_read_never_fails_a_vote() -> None:
    """Under both policies it is an abstention: the voter did answer."""
    found = result(Case("plurality", ("a", No.UNREADABLE, "a")), on_error="fail")
    assert found.abstained == 1
    assert found.winner == "a"


def test_an_early_decision_comes_before_later_errors() -> None:
    """A vote that may not fail ends decided where nobody has failed yet: who is cancelled does not fail."""
    case = Case("plurality", ("a", "a", No.FAILS))
    fold = case.fold(on_error="fail")
    assert len(feed(fold, case, range(3))) == 2
    assert fold.end("enough").winner == "a"


def test_what_is_none_of_the_choices_abstains() -> None:
    """The choices bound what may come, and an early end relies on it; so they bind every ballot."""
    found = result(Case("plurality", ("a", "z", "z", "b"), declared=("a", "b")))
    assert found.winner == "a"
    assert found.abstained == 2
    assert found.ballots[1].reason == "'z' is none of the choices"
    assert found.ballots[1].text == "the reply"


def test_choices_alike_are_one_choice() -> None:
    """A choice that is declared twice, or spelled two ways, has the place of the first."""
    found = result(Case("plurality", ("b", "A"), declared=("a", "b", "A")), key=str.lower)
    assert found.winner == "A"


def test_a_wave_begins_when_the_one_before_is_in() -> None:
    """A wave of 2 of five voters: two at first, two more when both are in, then the last."""
    case = Case("plurality", ("a", "b", "c", "d", "e"))
    fold = case.fold(wave=2)
    assert fold.begin(case.names) == Go(more=2)
    flying = [1, 0, 1, 0, 0]
    answers = [fold.add(arrival(index, vote), flying[index]) for index, vote in enumerate(case.votes)]
    assert [answer.more for answer in answers] == [0, 2, 0, 1, 0]


def test_a_wave_saves_the_voters_that_are_not_needed() -> None:
    """Waves of three of nine, all agreeing: at the fifth ballot the vote is decided with the last wave never asked."""
    case = Case("plurality", ("a",) * 9)
    fold = case.fold(wave=3)
    launched = fold.begin(case.names).more
    for came in range(1, 10):
        go = fold.add(arrival(came - 1, "a"), launched - came)
        launched += go.more
        if go.enough:
            break
    assert (came, launched) == (5, 6)
    assert fold.end("enough").outstanding == 4


def test_a_wave_larger_than_the_vote_is_the_vote() -> None:
    """No more are launched than there are."""
    assert VoteFold(rules.plurality(), wave=9).begin(voters(3)) == Go(more=3)


def test_weighted_votes_refuse_waves() -> None:
    """Who is asked first would matter."""
    with pytest.raises(UsageError, match="leave out wave="):
        VoteFold(rules.weighted({"v0": 1}), wave=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quorum": 0}, "quorum=0 cannot be: give a number from 1 to 3"),
        ({"quorum": 4}, "quorum=4 cannot be"),
        ({"quorum": True}, "quorum=True cannot be"),
        ({"quorum": 1.5}, "quorum=1.5 cannot be"),
        ({"wave": 0}, "wave=0 cannot be"),
        ({"wave": True}, "wave=True cannot be"),
        ({"ties": "first"}, "ties='first' is not known: it is one of 'declared', 'error'"),
        ({"on_error": "raise"}, "on_error='raise' is not known: it is one of 'skip', 'fail'"),
        ({"declared": ()}, "must hold at least one value"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    """With the voters known that shows when the fold is made, and the message names the cause and the fix."""
    with pytest.raises(UsageError, match=says):
        VoteFold(rules.plurality(), names=voters(3), **options)


def test_a_vote_needs_a_voter() -> None:
    """An empty list of voters is a mistake."""
    with pytest.raises(UsageError, match="at least one voter"):
        VoteFold(rules.plurality()).begin([])


def test_ballots_are_compared_as_people_read_them() -> None:
    """By default case, markup and punctuation do not tell two answers apart."""
    fold = VoteFold(rules.plurality())
    fold.begin(voters(4))
    for index, said in enumerate(["**Spam**.", "spam", "ham", "SPAM"]):
        fold.add(arrival(index, said), 3 - index)
    found = fold.end("all")
    assert found.winner == "**Spam**."
    assert found.tally == {"spam": 3, "ham": 1}


def test_enum_members_and_bools_are_ballots() -> None:
    """A choice may be an enum; False wins like any other value."""

    class Color(Enum):
        RED = "red"
        BLUE = "blue"

    found = result(Case("plurality", (Color.RED, Color.BLUE, Color.BLUE), declared=tuple(Color)))
    assert found.winner is Color.BLUE
    assert result(Case("plurality", (False, True, False))).winner is False


def test_a_stop_of_ones_own_is_asked_while_voters_are_out() -> None:
    """A stop sees the poll and says why; its sentence is the result's, and the last ballot needs no stop."""
    seen: list[tuple[int, int, int]] = []

    class AtThree:
        def fires(self, poll: Poll[Any]) -> str | None:
            seen.append((poll.folded, poll.valid, poll.outstanding))
            return "three is enough for me" if poll.folded == 3 else None

    case = Case("plurality", ("a", No.FAILS, "b", "b", "b"))
    fold = case.fold(stop=AtThree())
    feed(fold, case, range(5))
    assert fold.end("enough").why == "three is enough for me; 'a' and 'b' tied, and voter order decides"
    assert seen == [(1, 1, 4), (2, 1, 3), (3, 2, 2)]


def test_the_default_stop_shows_its_name() -> None:
    """`decided()` is a value like the rules."""
    assert repr(rules.decided()) == "decided()"
    assert rules.decided() == rules.decided()


def test_a_poll_can_tell_its_outcome_in_words() -> None:
    """For the sentence of a stop: a winner, no winner, a tie, or that the quorum is missed."""
    fold = Case("plurality", ("a", "b", "c"), ties="step", quorum=2).fold(stop=None)
    told = []
    for index, said in enumerate(("a", "b", "b")):
        fold.add(arrival(index, said), 2 - index)
        told.append(fold.poll.outcome())
    assert told == ["that the quorum is missed", "the tie of 'a' and 'b'", "'b'"]


class Unread(dict[Any, Any]):
    """A dict that may be written to and looked up in, but not gone through."""

    def __iter__(self) -> Any:
        raise AssertionError("went through all ballots")

    keys = values = items = __iter__


def steps(fold: VoteFold[Any], index: int, said: Any, flying: int) -> int:
    """How many lines of Python one addition runs, in everything it calls."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    came = arrival(index, said)
    sys.settrace(trace)
    try:
        fold.add(came, flying)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("rule", ["plurality", "majority", "at_least", "weighted", "median", "mean"])
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_an_addition_costs_the_distinct_values_and_never_the_ballots(rule: str, backwards: bool) -> None:
    """The last of 2,000 ballots takes no more steps than the 20th, also when the first voter comes last."""
    n = 2_000
    values: tuple[Any, ...] = (1, 2, 3) if rule in {"mean", "median"} else ("a", "b", "c")
    args: tuple[Any, ...] = {"at_least": (n, "a"), "weighted": (dict.fromkeys(voters(n), 0.5),)}.get(rule, ())
    case = Case(rule, tuple(values[index % 3] for index in range(n)), args, quorum=1)
    fold = case.fold(stop=Watchful())
    fold.ballots = Unread()
    groups = fold.poll.count.groups
    assert isinstance(groups.out, OrderedDict)  # a plain dict's first key is found in linear time
    order = list(range(n - 1, -1, -1)) if backwards else list(range(n))
    counted: list[int] = []
    for came, index in enumerate(order):
        said, flying = case.votes[index], n - came - 1
        if 20 <= came < 50 or n - 50 <= came < n - 1:
            counted.append(steps(fold, index, said, flying))
        else:
            fold.add(arrival(index, said), flying)
    # How close the lead is makes a few lines of difference; going through the ballots would make thousands.
    assert max(counted[30:]) <= max(counted[:30]) + 100
    assert len(groups.weight) == 3


class Watchful:
    """A stop that does all the work of `decided` and never fires."""

    def fires(self, poll: Poll[Any]) -> str | None:
        """Ask, and go on."""
        poll.settled()
        poll.lost()
        return None


def test_an_unreadable_reply_keeps_its_text_in_the_result() -> None:
    """What the model said instead of an answer is there to be read."""
    fold = Case("plurality", ("a", No.UNREADABLE)).fold()
    fold.add(arrival(1, No.UNREADABLE, "It depends."), 1)
    fold.add(arrival(0, "a"), 0)
    ballot = fold.end("all").ballots[1]
    assert (ballot.kind, ballot.text) == ("abstained", "It depends.")
    assert ballot.reason is not None
    assert ballot.reason.startswith(ParseError.__name__)
