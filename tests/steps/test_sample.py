"""Sampling: one step several times, every answer kept."""

from typing import Any

import pytest

from fanfold import chain, prompt, sample
from fanfold.errors import AccessError, BranchError, ConnectError, QuorumError, UsageError
from fanfold.testing import FakeModel
from tests.steps.running import Asked, failed, latencies, ran, taking

IDEA = prompt("{input}")


def ideas(*texts: str | Exception, **options: Any) -> FakeModel:
    """A model that gives these by ordinal."""
    return Asked(lambda request: texts[request.draw.ordinal % len(texts)], **options)


def test_n_answers_are_kept_in_the_order_of_their_draws() -> None:
    """All n, repeats included, whoever came first."""
    for seed in range(5):
        run = ran(sample(IDEA, 4), model=ideas("a", "b", "a", "c", latency=latencies(seed)))
        assert run.output == ["a", "b", "a", "c"]
    assert run.detail is None
    assert run.saved.calls == 0


def test_distinct_asks_again_for_what_was_there() -> None:
    """An answer that differs only in dress is replaced by one more draw, until n differ."""
    run = ran(sample(IDEA, 3, distinct=True), model=ideas("Paris", "**paris**.", "Rome", "PARIS", "Oslo"))
    assert run.output == ["Paris", "Rome", "Oslo"]
    assert len(run.calls) == 5


def test_distinct_gives_up_in_the_end() -> None:
    """At most 3 × n draws, or `at_most`; then there may be fewer than n, and no error."""
    assert len(ran(sample(IDEA, 3, distinct=True), model=ideas("same")).calls) == 9
    run = ran(sample(IDEA, 3, distinct=True, at_most=4), model=ideas("same"))
    assert (run.output, len(run.calls)) == (["same"], 4)


def test_distinct_by_a_key_of_ones_own() -> None:
    """A function says what has to differ."""
    run = ran(sample(IDEA, 2, distinct=len), model=ideas("aa", "bb", "ccc"))
    assert run.output == ["aa", "ccc"]


def test_the_first_of_equal_answers_is_kept_by_its_draw() -> None:
    """Of two equal answers the one of the earlier draw stays, also where the later one came first."""
    model = Asked(["Paris", "PARIS", "Rome"], latency=lambda request: [2, 1, 3][request.draw.ordinal % 3])
    assert ran(sample(IDEA, 2, distinct=True, at_most=3), model=model).output == ["Paris", "Rome"]


def test_failed_draws_are_skipped() -> None:
    """A failed call leaves a gap, which nothing fills."""
    assert ran(sample(IDEA, 3), model=ideas("a", ConnectError("gone"), "c")).output == ["a", "c"]


def test_too_few_answers_are_an_error() -> None:
    """Fewer than `quorum` (one, unless told) raise, with what there is and the reasons of the rest."""
    model = ideas("a", ConnectError("gone"), ConnectError("lost"))
    error = failed(sample(IDEA, 3, quorum=2), QuorumError, model=model)
    assert error.finished == {"0": "a"}
    assert error.missing == {"1": "ConnectError: gone", "2": "ConnectError: lost"}
    failed(sample(IDEA, 2), QuorumError, model=ideas(ConnectError("gone")))


def test_under_fail_the_first_failure_ends_it() -> None:
    """`on_error="fail"` raises with what was there."""
    error = failed(sample(IDEA, 3, on_error="fail"), BranchError, model=ideas("a", ConnectError("gone"), "c"))
    assert error.branch == "1"
    assert error.finished == {"0": "a"}


def test_a_fatal_error_ends_it() -> None:
    """A refused key is not skipped."""
    failed(sample(IDEA, 3), AccessError, model=ideas("a", AccessError("wrong key"), "c"))


def test_at_its_timeout_it_goes_on_with_what_is_there() -> None:
    """Draws that are out when the time is over are left out."""
    model = Asked(["a", "b", "c"], latency=lambda request: [1, 60, 1][request.draw.ordinal])
    run = ran(sample(IDEA, 3, timeout=2), model=model)
    assert run.output == ["a", "c"]
    assert run.wall == pytest.approx(2, abs=1e-2)


def test_enough_distinct_answers_end_it() -> None:
    """As soon as n differ what still flies is cancelled."""
    model = Asked(["a", "a", "b", "c"], latency=lambda request: [0, 0, 1, 60][request.draw.ordinal % 4])
    run = ran(sample(IDEA, 2, distinct=True), model=model)
    assert run.output == ["a", "b"]
    assert run.wall < 2


def test_any_step_can_be_sampled() -> None:
    """Functions and chains are drawn like prompts."""
    assert ran(sample(chain(IDEA, str.upper), 2), model=ideas("a", "b")).output == ["A", "B"]
    assert ran(sample(str.upper, 2)).output == ["Q", "Q"]
    assert ran(sample(taking(1), 2)).output == ["q", "q"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sample(IDEA, 0), "n=0"),
        (lambda: sample(IDEA, 3, at_most=2), "at_most=2 is less than n=3"),
        (lambda: sample(IDEA, 3, quorum=4), "quorum=4"),
        (lambda: sample(IDEA, 3, on_error="ignore"), "on_error='ignore'"),
        (lambda: sample("no step", 3), "is not a step"),
        (lambda: sample(IDEA, 3, timeout=0), "timeout=0"),
    ],
)
def test_a_sample_that_cannot_be_is_refused_when_made(make: Any, words: str) -> None:
    """Every mistake shows where it is written."""
    with pytest.raises(UsageError, match=words):
        make()


def test_at_most_no_calls_is_refused() -> None:
    """A bound of 0 is a bound, and less than n."""
    with pytest.raises(UsageError, match="at_most=0"):
        sample(prompt("{input}"), 3, at_most=0)


def test_draws_that_nobody_needed_are_not_saved_ones() -> None:
    """What may be asked again in place of a repeated answer was never planned, so nothing was saved by its lack."""
    run = ran(sample(IDEA, 2, distinct=True), model=ideas("a", "b"))
    assert run.saved.calls == 0
    assert "saved" not in run.summary()


def test_a_sample_that_ran_out_of_time_says_so() -> None:
    """Where too few came in time, the error names the draws that were still out."""
    error = failed(sample(IDEA, 2, timeout=1.0), QuorumError, model=ideas("a", latency=2.0))
    assert error.missing == {"0": "no answer within the timeout", "1": "no answer within the timeout"}
    assert "no answer within the timeout" in str(error)


def test_a_key_that_tells_nothing_apart_is_named() -> None:
    """A list is no key: the error says which function gave it, and what to give."""
    error = failed(sample(IDEA, 2, distinct=lambda text: [text]), UsageError, model=ideas("a", "b"))
    assert str(error) == "distinct= gave ['a'], which is no key: give a text, a number or a tuple"


def test_a_sample_that_only_repeats_says_so() -> None:
    """Answers came, and were all the same: the error does not leave that open."""
    error = failed(sample(IDEA, 2, distinct=True, quorum=2), QuorumError, model=ideas("a"))
    assert str(error) == "1 of 2 samples succeeded and quorum=2: 5 of 6 answers repeated another"


def test_too_few_samples_have_a_cause() -> None:
    """The error that the first failed draw had is the cause, so that its traceback is seen."""
    error = failed(sample(IDEA, 2), QuorumError, model=ideas(ConnectError("first"), ConnectError("second")))
    assert str(error.__cause__) == "first"
