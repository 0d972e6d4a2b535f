"""Voting: one task several times or across a panel, counted as ballots come, and ended once it is decided."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import pytest

from fanfold import chain, prompt, rules, sections, step, vote
from fanfold.core.records import Request
from fanfold.errors import (
    AccessError,
    BranchError,
    ConnectError,
    QuorumError,
    TieError,
    UsageError,
)
from fanfold.testing import FakeModel
from tests.steps.running import Asked, by_prompt, failed, latencies, ran, taking

COUNTRY = prompt("Where? {input}", returns=Literal["us", "US", "fr"])
SPAM = prompt("Spam? {input}", returns=Literal["spam", "ham"])
WORD = prompt("{input}")


def said(*texts: str, latency: Any = 0.0) -> Asked:
    """A model in words that gives these texts by ordinal."""
    return Asked(list(texts), structured=False, latency=latency)


def slowly(*seconds: float) -> Any:
    """Latency by ordinal."""
    return lambda request: seconds[request.draw.ordinal % len(seconds)]


def panel(**outcomes: Any) -> dict[str, Any]:
    """Voters that say their outcome, or fail with it."""
    return {name: taking(0, outcome) for name, outcome in outcomes.items()}


# -- voters -------------------------------------------------------------------------------------------------------


def test_one_step_is_asked_n_times() -> None:
    """The most frequent answer wins; the voters are called "0" to "n-1"."""
    run = ran(vote(SPAM, n=5, stop=None), model=said("spam", "ham", "spam", "ham", "spam"))
    assert run.output == "spam"
    assert [ballot.voter for ballot in run.detail.ballots] == list("01234")
    assert run.detail.share == pytest.approx(0.6)
    assert run.detail.tally == {"spam": 3, "ham": 2}
    assert len(run.calls) == 5


def test_n_can_be_given_by_position() -> None:
    """`vote(step, 3)` is `vote(step, n=3)`; one voter is a vote, too."""
    assert len(ran(vote(SPAM, 3, stop=None), model=said("spam")).calls) == 3
    assert ran(vote(SPAM, 1), model=said("ham")).output == "ham"


def test_a_list_of_steps_is_a_panel() -> None:
    """Different prompts, temperatures and models vote by their position."""
    voters = [prompt("A"), prompt("B", temperature=0.9), prompt("C", model=FakeModel(["yes"]))]
    run = ran(vote(voters, stop=None), model=FakeModel(by_prompt({"A": "no", "B": "yes"})))
    assert run.output == "yes"
    assert [(ballot.voter, ballot.value) for ballot in run.detail.ballots] == [("0", "no"), ("1", "yes"), ("2", "yes")]


def test_a_mapping_names_the_voters() -> None:
    """Ballots bear the names of the mapping."""
    run = ran(vote(panel(ann="a", bob="b", cid="b")))
    assert run.output == "b"
    assert [(ballot.voter, ballot.value) for ballot in run.detail.ballots] == [("ann", "a"), ("bob", "b"), ("cid", "b")]


def test_any_step_can_vote() -> None:
    """Plain functions, chains and votes are voters."""
    assert ran(vote(str.upper, n=3)).output == "Q"
    assert ran(vote([chain(WORD, str.upper), str.upper, len])).output == "Q"
    assert ran(vote(vote(WORD, n=3), n=3)).output == "q"


# -- the decision -------------------------------------------------------------------------------------------------


def test_a_vote_ends_when_the_winner_cannot_change() -> None:
    """Three of five agree: the other two are cancelled at once, and counted as saved."""
    model = said("spam", "spam", "spam", "ham", "ham", latency=slowly(1, 2, 3, 60, 60))
    run = ran(vote(SPAM, n=5), model=model)
    assert run.output == "spam"
    assert run.wall == pytest.approx(3, abs=1e-3)
    assert (run.saved.calls, run.saved.cancelled, run.saved.unsent) == (2, 2, 0)
    assert len(run.detail.ballots) == 3
    assert run.detail.outstanding == 2
    assert run.detail.why.startswith("decided after 3 of 5")
    assert run.detail.share_bounds[0] <= run.detail.share <= run.detail.share_bounds[1]
    assert [call.state for call in run.calls] == ["ok"] * 3 + ["cancelled"] * 2


def test_what_waits_for_a_slot_when_it_is_decided_is_never_sent() -> None:
    """With one slot three agreeing voters save two calls that cost nothing."""
    run = ran(vote(SPAM, n=5), model=said("spam", latency=1), max_in_flight=1)
    assert (run.saved.unsent, run.saved.cancelled) == (2, 0)
    assert (run.times_one_call, len(run.calls)) == (3, 5)
    assert run.summary().startswith("3 calls, 2 saved")


def test_without_a_stop_all_are_waited_for() -> None:
    """`stop=None` collects every ballot."""
    run = ran(vote(SPAM, n=5, stop=None), model=said("spam"))
    assert len(run.detail.ballots) == 5
    assert run.saved.calls == 0


def test_the_order_of_the_replies_does_not_change_the_outcome() -> None:
    """With any latencies an early vote has the winner of the full one, and the same ballots where none is cut off."""
    words = ["a", "b", "a", "c", "b", "a", "b"]
    outcomes = set()
    for seed in range(40):
        full = ran(vote(WORD, n=7, stop=None), model=Asked(words, latency=latencies(seed)))
        early = ran(vote(WORD, n=7), model=Asked(words, latency=latencies(seed)))
        outcomes.add((full.output, early.output, tuple(ballot.value for ballot in full.detail.ballots)))
    assert outcomes == {("a", "a", tuple(words))}


def test_a_vote_runs_in_waves() -> None:
    """With `wave` two are asked at first, the next two only if those did not decide it."""
    model = said("spam", latency=1)
    run = ran(vote(SPAM, n=5, wave=2), model=model)
    assert run.output == "spam"
    assert run.wall == pytest.approx(2, abs=1e-2)
    assert len(run.detail.ballots) == 3
    assert [(call.state, round(call.queued)) for call in run.calls] == [("ok", 0), ("ok", 0), ("ok", 1), ("ok", 1)]
    assert run.saved.calls == 1


def test_a_wave_as_large_as_the_vote_is_none() -> None:
    """A wave of n, or more, launches all at once."""
    for wave in (5, 9):
        assert ran(vote(SPAM, n=5, wave=wave, stop=None), model=said("spam", latency=1)).wall == pytest.approx(
            1, abs=0.1
        )


# -- rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "answers", "output"),
    [
        (rules.plurality(), ["a", "b", "b", "c", "d"], "b"),
        (rules.majority(), ["a", "b", "b", "c", "d"], None),
        (rules.majority(), ["a", "b", "b", "b", "d"], "b"),
        (rules.at_least(2, "b"), ["a", "b", "b", "c", "d"], True),
        (rules.at_least(3, "b"), ["a", "b", "b", "c", "d"], False),
        (rules.any_of("d"), ["a", "b", "b", "c", "d"], True),
        (rules.all_of("a"), ["a", "a", "a", "a", "b"], False),
        (rules.weighted({"0": 5, "1": 1, "2": 1, "3": 1, "4": 1}), ["a", "b", "b", "b", "b"], "a"),
    ],
)
def test_the_output_is_the_rules(rule: Any, answers: list[str], output: Any) -> None:
    """A rule makes the winner, None, or a bool of the same ballots, early or not."""
    for stop in (rules.decided(), None):
        assert ran(vote(WORD, n=5, rule=rule, stop=stop), model=FakeModel(answers)).output == output


@pytest.mark.parametrize(("rule", "output"), [(rules.mean(), 4.0), (rules.median(), 3.0)])
def test_numbers_are_averaged(rule: Any, output: float) -> None:
    """A mean or median of typed ballots is a number."""
    assert ran(vote(prompt("{input}", returns=int), n=3, rule=rule), model=said("2", "3", "7")).output == output


def test_a_jury_flags_when_two_say_so() -> None:
    """Of different models two yeses are enough, and the third is not waited for."""
    jurors = [
        prompt("{input}", returns=bool, model=said(text, latency=at)) for at, text in enumerate(["YES", "No", "y"])
    ]
    run = ran(vote([*jurors, jurors[0]], rule=rules.at_least(2, True)))
    assert run.output is True
    assert run.wall < 1


def test_choices_are_compared_as_people_would() -> None:
    """Case, markdown and punctuation tell no two ballots apart; an enum's values vote as such."""

    class Mood(Enum):
        GOOD = "good"
        BAD = "bad"

    assert ran(vote(WORD, n=3), model=said("Paris.", "**paris**", "Rome")).output == "Paris."
    assert ran(vote(prompt("{input}", returns=Mood), n=3), model=said("**Good**.", "bad", "good")).output is Mood.GOOD


# -- ballots ------------------------------------------------------------------------------------------------------


def test_ballots_keep_the_text_they_were_read_from() -> None:
    """A valid ballot has its value and the whole reply; so has one that could not be read."""
    run = ran(vote(SPAM, n=3, stop=None), model=said("I'd say **spam**.", "SPAM", "who knows?"))
    kinds = [(ballot.kind, ballot.value, ballot.text) for ballot in run.detail.ballots]
    assert kinds[0] == ("valid", "spam", "I'd say **spam**.")
    assert kinds[1] == ("valid", "spam", "SPAM")
    assert kinds[2] == ("abstained", None, "who knows?")
    assert run.detail.ballots[2].reason.startswith("ParseError")


def test_the_text_of_a_voter_that_is_a_chain_is_its_last_reply() -> None:
    """A voter's ballot keeps the reply that its value was read from, through chains."""
    run = ran(vote(chain(WORD, prompt("Again {input}", returns=Literal["a", "b"])), n=1), model=said("the answer is a"))
    (ballot,) = run.detail.ballots
    assert (ballot.value, ballot.text) == ("a", "the answer is a")


def test_abstentions_and_errors_are_counted_apart() -> None:
    """What cannot be read abstains, what fails is an error; neither is a vote, both keep their reason."""
    answers: dict[int, str | Exception] = {0: "spam", 1: "?", 2: ConnectError("gone"), 3: "ham", 4: "spam"}
    model = FakeModel(lambda request: answers[request.draw.ordinal], structured=False)
    result = ran(vote(SPAM, n=5, stop=None), model=model).detail
    assert (result.n, result.valid, result.abstained, result.errors, result.outstanding) == (5, 3, 1, 1, 0)
    assert result.ballots[2].reason == "ConnectError: gone"
    assert result.tally == {"spam": 2, "ham": 1}


def test_a_voter_that_gives_none_abstains() -> None:
    """A step whose value is None has cast no valid ballot."""

    @step
    async def silent(given: str) -> None:
        return None

    result = ran(vote({"a": str, "b": silent}, stop=None)).detail
    assert [ballot.kind for ballot in result.ballots] == ["valid", "abstained"]


def test_a_retry_saves_a_ballot() -> None:
    """A voter that retries casts a valid ballot in the end, with the text of its last reply."""
    picky = prompt("{input}", returns=Literal["a", "b"], retries=1)
    run = ran(vote(picky, n=1), model=said("?", "b"))
    assert (run.output, run.detail.ballots[0].text, len(run.calls)) == ("b", "b", 2)


def test_the_detail_is_no_truth_value() -> None:
    """A result refuses to be true or false: False may have won."""
    run = ran(vote(prompt("{input}", returns=bool), n=1), model=said("no"))
    assert run.output is False
    with pytest.raises(TypeError, match=r"\.winner"):
        bool(run.detail)


# -- ties ---------------------------------------------------------------------------------------------------------


def test_ties_go_by_declared_order() -> None:
    """Two against two: the choice that was declared first wins, whoever answered first."""
    for latency in (slowly(1, 2, 3, 4), slowly(4, 3, 2, 1)):
        run = ran(vote(SPAM, n=4, stop=None), model=said("ham", "spam", "ham", "spam", latency=latency))
        assert run.output == "spam"
        assert run.detail.tied == ("spam", "ham")


def test_ties_without_declared_choices_go_by_voter_order() -> None:
    """Free answers that tie: the first voter's wins, never the fastest."""
    for latency in (slowly(1, 2), slowly(2, 1)):
        assert ran(vote(WORD, n=2), model=said("b", "a", latency=latency)).output == "b"


def test_a_tie_can_abstain_or_raise() -> None:
    """`abstain` elects nobody; `error` raises a `TieError` that lists the tied."""
    assert ran(vote(SPAM, n=2, ties="abstain"), model=said("ham", "spam")).output is None
    error = failed(vote(SPAM, n=2, ties="error"), TieError, model=said("ham", "spam"))
    assert error.tied == ("spam", "ham")
    assert len(error.run.calls) == 2


def test_a_step_can_break_a_tie() -> None:
    """A step as `ties` gets the input's own names, `{input}` and `{tied}`, and its choice wins."""
    breaker = prompt("Which of these for {title}?\n{tied}", model=said("**Ham**"))
    run = ran(
        vote(prompt("{title}", returns=Literal["spam", "ham"]), n=2, ties=breaker), {"title": "T"}, said("ham", "spam")
    )
    assert run.output == "ham"
    assert run.detail.winner == "ham"
    assert "broken by 'prompt'" in run.detail.why
    assert run.calls[-1].place == "vote/ties"


def test_a_winner_by_a_tie_step_has_its_share() -> None:
    """It is the same as where order breaks the tie: its part of the valid ballots, or of their weight."""
    run = ran(vote(WORD, n=5, ties=taking(0, "b"), stop=None), model=said("a", "b", "a", "b", "c"))
    assert (run.output, run.detail.share, run.detail.share_bounds) == ("b", 0.4, (0.4, 0.4))
    voters = {"one": taking(0, "a"), "two": taking(0, "b"), "three": taking(9, "c")}
    for one, other, bounds in ((2, 1, (0.4, 0.6)), (0.7, 0.1, (7 / 15, 8 / 15))):  # as exact as any other share
        weights = rules.weighted({"one": one, "two": one, "three": other})
        late = ran(vote(voters, rule=weights, ties=taking(0, "b"), timeout=5))
        assert (late.output, late.detail.share, late.detail.share_bounds) == ("b", 0.5, bounds)


def test_a_tie_step_is_asked_only_for_a_tie() -> None:
    """Where there is a winner the step does not run."""
    breaker = Asked(["spam"])
    assert ran(vote(SPAM, n=3, ties=prompt("{tied}", model=breaker)), model=said("ham")).output == "ham"
    assert breaker.requests == []


def test_a_tie_step_has_to_choose_one_of_the_tied() -> None:
    """A choice that was not tied is a `TieError` that says what it was."""
    error = failed(vote(WORD, n=2, ties=taking(0, "c")), TieError, model=said("a", "b"))
    assert "gave 'c', which is none of ['a', 'b']" in str(error)


# -- failures and quorum ------------------------------------------------------------------------------------------


def test_failed_voters_are_skipped_by_default() -> None:
    """One valid ballot elects; none is a `QuorumError` with everybody's reason."""
    run = ran(vote(panel(a=ConnectError("x"), b="yes", c=ValueError("y")), stop=None))
    assert run.output == "yes"
    error = failed(vote(panel(a=ConnectError("x"), b=ValueError("y"))), QuorumError)
    assert error.missing == {"a": "ConnectError: x", "b": "ValueError: y"}


def test_under_fail_the_first_failure_ends_the_vote() -> None:
    """`on_error="fail"` raises a `BranchError` with the valid ballots so far; an unreadable reply still abstains."""
    voters = {"a": taking(0, "yes"), "b": taking(1, ValueError("no")), "c": taking(60)}
    error = failed(vote(voters, on_error="fail", stop=None), BranchError)
    assert (error.branch, error.finished) == ("b", {"a": "yes"})
    assert error.run.wall < 2
    run = ran(vote(SPAM, n=3, on_error="fail", stop=None), model=said("spam", "?", "spam"))
    assert run.detail.abstained == 1


def test_a_quorum_of_valid_ballots_is_a_floor() -> None:
    """With fewer valid ballots than the quorum the vote fails as soon as that is certain."""
    voters = {"a": taking(0, "yes"), "b": taking(1, ValueError("1")), "c": taking(2, ValueError("2")), "d": taking(60)}
    error = failed(vote(voters, quorum=3, stop=None), QuorumError)
    assert error.finished == {"a": "yes"}
    assert error.missing["d"] == "not in when the vote ended"
    assert error.run.wall < 3


def test_a_quorum_delays_the_decision() -> None:
    """A winner that cannot change is no outcome before the quorum is in."""
    assert len(ran(vote(SPAM, n=5), model=said("spam")).detail.ballots) == 3
    assert len(ran(vote(SPAM, n=5, quorum=4), model=said("spam")).detail.ballots) == 4


def test_an_errored_voter_never_yields_not_flagged() -> None:
    """Under a threshold one error makes a negative outcome impossible; a reached threshold stands."""
    flags = {"a": taking(0, False), "b": taking(0, ConnectError("gone")), "c": taking(0, False)}
    failed(vote(flags, rule=rules.any_of(True)), QuorumError)
    assert ran(vote({**flags, "c": taking(0, True)}, rule=rules.any_of(True))).output is True
    assert ran(vote(flags, rule=rules.any_of(True), quorum=2)).output is False


def test_a_fatal_error_ends_a_vote() -> None:
    """A refused key is no error ballot."""
    answers: dict[int, str | Exception] = {0: "spam", 1: AccessError("wrong key"), 2: "spam"}
    model = FakeModel(lambda request: answers[request.draw.ordinal], structured=False)
    error = failed(vote(SPAM, n=3, stop=None), AccessError, model=model)
    assert len(error.run.calls) == 3


# -- time ---------------------------------------------------------------------------------------------------------


def test_at_its_timeout_a_vote_counts_what_is_there() -> None:
    """Voters that are out when the time is over are absent; the ballots that are in decide."""
    voters = {"a": taking(0, "yes"), "b": taking(1, "no"), "c": taking(60), "d": taking(1, "no")}
    run = ran(vote(voters, timeout=2))
    assert run.output == "no"
    assert run.detail.why.startswith("time was over after 3 of 4")
    assert run.wall == pytest.approx(2, abs=1e-2)


def test_a_timeout_without_a_valid_ballot_is_an_error() -> None:
    """Nobody answered in time: a `QuorumError` that names them."""
    error = failed(vote({"a": taking(9), "b": taking(9)}, timeout=1), QuorumError)
    assert error.missing == {"a": "not in when the time was over", "b": "not in when the time was over"}


# -- what cannot be -----------------------------------------------------------------------------------------------


@dataclass
class Finding:
    """What a reviewer says of code."""

    vulnerable: bool
    why: str


FLAG, COUNT, FOUND = (prompt("{input}", returns=kind) for kind in (bool, int, Finding))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: vote(SPAM), "n=None: say how often"),
        (lambda: vote(SPAM, n=0), "n=0: say how often"),
        (lambda: vote(SPAM, n=-3), "n=-3: say how often"),
        (lambda: vote([SPAM], n=3), "n= is for one step"),
        (lambda: vote([]), "at least one voter"),
        (lambda: vote({}, quorum=1), "a vote needs at least one"),
        (lambda: vote({"a": "no step"}), "is not a step"),
        (lambda: vote(SPAM, n=3, rule=rules.at_least(4, "spam")), "at_least"),
        (lambda: vote(SPAM, n=3, rule=rules.weighted({"0": 1})), "weighted"),
        (lambda: vote(SPAM, n=3, quorum=4), "quorum=4"),
        (lambda: vote(SPAM, n=3, quorum=0), "quorum=0"),
        (lambda: vote(SPAM, n=3, ties="coin"), "ties='coin'"),
        (lambda: vote(SPAM, n=3, on_error="ignore"), "on_error='ignore'"),
        (lambda: vote(SPAM, n=3, wave=0), "wave=0"),
        (lambda: vote(COUNTRY, n=3), "counts 'us' and 'US' as one answer"),
        (lambda: vote(FLAG, n=3, rule=rules.at_least(2, "yes")), "gives True or False: say which of them, not 'yes'"),
        (lambda: vote([FLAG, FLAG], rule=rules.all_of(1)), "all_of(1) counts what no voter gives"),
        (lambda: vote(WORD, n=3, rule=rules.any_of(True)), "gives text: give its prompt returns=bool"),
        (lambda: vote(COUNT, n=3, rule=rules.any_of("7")), "gives numbers: give its prompt the type of that"),
        (lambda: vote(FOUND, n=3, rule=rules.any_of(True)), "gives records of Finding: take what counts of one"),
        (lambda: vote({"a": SPAM, "b": SPAM}, wave=1, rule=rules.weighted({"a": 1, "b": 2})), "leave out wave="),
    ],
)
def test_a_vote_that_cannot_be_is_refused_when_made(make: Any, words: str) -> None:
    """A rule that these voters cannot satisfy, and every other mistake, shows where it is written."""
    with pytest.raises(UsageError) as caught:
        make()
    assert words in str(caught.value)


def test_a_threshold_may_count_what_only_some_voters_give() -> None:
    """A voter of another type is heard, and counts for the number only; so is one whose type nobody knows."""
    voters = {"flag": FLAG, "word": WORD, "function": step(lambda _: True)}
    assert ran(vote(voters, rule=rules.at_least(2, True)), model=FakeModel(lambda _: "yes")).output is True
    found = FakeModel(['{"vulnerable": true, "why": "x"}'])
    rule = rules.any_of({"vulnerable": True, "why": "X"})
    assert ran(vote(FOUND, n=2, rule=rule), model=found).output is True
    assert ran(vote(COUNT, n=2, rule=rules.any_of(7.0)), model=FakeModel(["7"])).output is True


def test_a_threshold_may_count_the_key_of_what_voters_give() -> None:
    """Where same= tells the key, of what is counted, too, the type of the voters says nothing of it."""
    found = FakeModel(['{"vulnerable": true, "why": "x"}'])
    made = vote(FOUND, n=2, rule=rules.at_least(2, True), same=lambda said: getattr(said, "vulnerable", said))
    assert ran(made, model=found).output is True
    assert ran(vote(COUNT, n=2, rule=rules.at_least(2, "7"), same=str), model=FakeModel(["7"])).output is True


def test_choices_that_differ_in_case_alone_are_counted_by_a_key_of_ones_own() -> None:
    """The bug: "us" and "US" were read apart, and counted together: the first ballot decided it."""
    run = ran(vote(COUNTRY, n=3, same=lambda country: country), model=said("US", "us", "us"))
    assert run.output == "us"
    assert run.detail.tally == {"us": 2, "US": 1}


# -- inside other patterns ----------------------------------------------------------------------------------------


def test_a_votes_value_travels_its_record_stays() -> None:
    """In a chain or a section the next step gets the winner; the record of the last step is the run's."""
    run = ran(chain(vote(WORD, n=3), str.upper), model=said("yes"))
    assert (run.output, run.detail) == ("YES", None)
    run = ran(chain(WORD, vote(WORD, n=3)), model=said("yes"))
    assert (run.output, run.detail.winner) == ("yes", "yes")
    assert ran(sections({"a": vote(WORD, n=3)}), model=said("yes")).output == {"a": "yes"}


def test_one_vote_serves_many_runs() -> None:
    """A vote keeps no ballots: its second run counts anew."""
    jury = vote(SPAM, n=3)
    assert ran(jury, model=said("spam")).output == "spam"
    assert ran(jury, model=said("ham")).output == "ham"


def test_voters_have_samples_of_their_own() -> None:
    """Five voters with one prompt make five different requests of a seeded model, not one five times."""
    run = ran(vote(WORD, n=5, stop=None), model=FakeModel())
    assert len({ballot.value for ballot in run.detail.ballots}) == 5
    assert run.made_up


def test_a_vote_asks_one_question() -> None:
    """All repetitions send the same request but for the draw."""
    model = said("spam")
    ran(vote(SPAM, n=3, stop=None), model=model)
    keys: set[bytes] = {request.key() for request in model.requests}
    draws = [request.draw for request in model.requests]
    assert len(keys) == 1
    assert len(set(draws)) == 3
    assert isinstance(model.requests[0], Request)


def test_two_voters_of_one_name_are_refused() -> None:
    """Names that are the same as text would drop a voter without a word."""
    ask = prompt("{input}")
    with pytest.raises(UsageError, match="same name"):
        vote({1: ask, "1": prompt("{input}?")})
