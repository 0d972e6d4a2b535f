"""A pattern's timeout is total: it covers the branches and what follows them."""

import asyncio
from typing import Any

import pytest

from fanfold import Session, best_of, chain, guard, map_over, prompt, sample, sections, step, vote
from fanfold.core.clock import now, sleep
from fanfold.core.scope import current
from fanfold.errors import StatusError, StepTimeout, UsageError
from fanfold.testing import run_virtual
from tests.calls.scripted import in_turn, status
from tests.steps.running import failed, ran, taking

SLOW = taking(99, name="slow")


def slow_merge(seconds: float, **options: Any) -> Any:
    """A step that merges after this many seconds."""
    return taking(seconds, "merged", **options)


FOLLOWED = {
    "sections": lambda by, **options: sections({"a": str, "b": SLOW}, merge=by, on_error="skip", **options),
    "map_over": lambda by, **options: map_over(
        taking_first, items=lambda _: [0, 99], merge=by, on_error="skip", **options
    ),
    "vote": lambda by, **options: vote({"a": str, "b": SLOW}, merge=by, **options),
    "sample": lambda by, **options: sample(taking(0, "x"), 2, merge=by, **options),
}


async def taking_first(seconds: float) -> float:
    """Takes as long as it is told."""
    return await taking(seconds, seconds)(seconds)


@pytest.mark.parametrize("pattern", FOLLOWED)
def test_a_timeout_covers_the_merge(pattern: str) -> None:
    """A merge that takes longer than what is left ends in a `StepTimeout`, at the pattern's timeout and no later."""
    error = failed(FOLLOWED[pattern](slow_merge(50), timeout=10), StepTimeout)
    assert error.run.wall == pytest.approx(10, abs=0.01)
    assert "timeout of 10 s" in str(error)


@pytest.mark.parametrize("pattern", ["sections", "map_over", "vote"])
def test_branches_leave_a_fifth_to_the_merge(pattern: str) -> None:
    """Where what is missing is skipped, the branches end after four fifths of the timeout, so that a call can merge."""
    run = ran(FOLLOWED[pattern](slow_merge(1.9), timeout=10))
    assert run.output == "merged"
    assert run.wall == pytest.approx(9.9, abs=0.01)


def test_a_merge_with_a_timeout_of_its_own_is_left_just_that() -> None:
    """The branches may take all but the merging step's own timeout."""
    run = ran(FOLLOWED["sections"](prompt("{a}", timeout=0.5), timeout=10))
    assert run.wall == pytest.approx(9.5, abs=0.01)


def test_a_merge_by_code_leaves_the_branches_all_of_it() -> None:
    """A function takes no time of its own, so nothing is kept for it."""
    run = ran(FOLLOWED["sections"](lambda parts: parts, timeout=10))
    assert run.wall == pytest.approx(10, abs=0.01)
    assert run.output == {"a": "q"}


def test_where_nothing_is_skipped_the_branches_have_all_of_the_time() -> None:
    """Under "fail" a branch of nine seconds is not cut off at eight."""
    run = ran(sections({"a": taking(9, "late")}, merge=slow_merge(0.5), timeout=10))
    assert run.output == "merged"
    error = failed(sections({"a": taking(9, "late")}, merge=slow_merge(2), timeout=10), StepTimeout)
    assert error.run.wall == pytest.approx(10, abs=0.01)


def test_a_tie_breaking_step_is_left_time() -> None:
    """Voters out of time leave a tie and a fifth of the timeout in which to break it."""
    voters = {"a": taking(0, "x"), "b": taking(0, "y"), "c": SLOW}
    run = ran(vote(voters, ties=taking(1.5, "y"), timeout=10, stop=None))
    assert run.output == "y"
    assert run.wall == pytest.approx(9.5, abs=0.01)


def test_judging_is_covered_too() -> None:
    """A checker that takes too long ends best_of at its timeout."""
    candidates = {"a": taking(0, "x"), "b": taking(0, "y")}

    async def checker(candidate: Any) -> bool:
        return await taking(60, True)(candidate)

    error = failed(best_of(candidates, judge=checker, timeout=10), StepTimeout)
    assert error.run.wall == pytest.approx(10, abs=0.01)


def test_a_guards_refusal_is_covered_too() -> None:
    """A refusal that is written by a step has what the checks left of the guard's timeout."""
    pattern = guard(SLOW, {"harm": taking(4, True)}, otherwise=taking(60, "no"), timeout=10)
    assert failed(pattern, StepTimeout).run.wall == pytest.approx(10, abs=0.01)


def test_a_timeout_that_leaves_the_branches_nothing_is_refused_when_made() -> None:
    """A merging step may not take longer than the whole."""
    with pytest.raises(UsageError, match="has to cover its branches too"):
        sections({"a": str}, merge=prompt("{a}", timeout=30), on_error="skip", timeout=20)
    with pytest.raises(UsageError, match="has to cover its branches too"):
        vote({"a": str}, merge=prompt("{a}", timeout=30), timeout=20)


def test_everything_under_a_timeout_knows_the_earliest_end() -> None:
    """A scope's `deadline` is that of the tightest timeout around it, and is gone behind it."""
    seen: dict[str, float | None] = {}

    def look(name: str) -> Any:
        def step(given: Any) -> Any:
            scope = current()
            assert scope is not None
            seen[name] = scope.deadline
            return given

        return step

    inner = sections({"b": look("tight")}, timeout=2)
    ran(sections({"a": look("wide"), "inner": inner}, merge=look("merge"), timeout=10))
    ran(sections({"a": look("free")}))
    assert seen["wide"] == pytest.approx(10, abs=0.01)
    assert seen["tight"] == pytest.approx(2, abs=0.01)
    assert seen["merge"] == pytest.approx(10, abs=0.01)
    assert seen["free"] is None


def test_a_run_of_another_session_knows_the_end_of_the_step_around_it() -> None:
    """It began a backoff that would outlast the step, whose error then said neither that it was refused nor for how
    long.
    """

    async def main() -> None:
        refused = status(503, retry_after=30.0)
        async with Session("fake:") as session, Session(in_turn([0.1, refused])) as other:

            @step
            async def away(text: str) -> str:
                return (await prompt("{input}").run(text, session=other)).output

            began = now()
            with pytest.raises(StatusError, match="would outlast the time given") as caught:
                await away.run("q", session=session, timeout=5)
            assert caught.value.retry_after == 30.0
            assert now() - began < 1

    run_virtual(main())


@pytest.mark.parametrize("inside", [False, True])
def test_a_run_of_another_session_that_outlives_the_step_has_its_own_time(*, inside: bool) -> None:
    """The bug: a step began it and was done in time, and its calls were not sent again for that step's timeout."""

    async def main() -> None:
        answers = in_turn([0.1, status(503, retry_after=3.0)], [0.1, "sent again"])
        async with Session("fake:") as session, Session(answers) as other:
            begun: list[asyncio.Task[Any]] = []

            @step
            async def away(text: str) -> str:
                begun.append(asyncio.ensure_future(prompt("{input}").run(text, session=other)))
                await sleep(0.01)
                return text

            await (chain(away, timeout=2) if inside else away).run("q", session=session, timeout=2)
            assert (await begun[0]).output == "sent again"

    run_virtual(main())


@pytest.mark.parametrize(
    ("pattern", "finished"),
    [
        (sections({"a": taking(1, "x"), "b": taking(1, "y")}, merge=taking(60)), {"a": "x", "b": "y"}),
        (map_over(taking(1), items=lambda _: ["x", "y"], merge=taking(60)), {"0": "x", "1": "y"}),
        (sample(taking(1, "x"), 2, merge=taking(60)), {"0": "x", "1": "x"}),
        (vote([taking(1, "x"), taking(1, "y")], ties=taking(60), timeout=10), {"0": "x", "1": "y"}),
        (best_of([taking(1, "x"), taking(1, "y")], judge=taking(60)), {"0": "x", "1": "y"}),
    ],
)
def test_what_follows_the_branches_does_not_lose_them(pattern: Any, finished: dict[str, str]) -> None:
    """Where the time is over in a merge, a judge or a tie-breaker, the error carries what the branches gave."""
    pattern.timeout = 10
    assert failed(pattern, StepTimeout).finished == finished
