"""Votes and samples that are merged: every answer goes into one, and the merge is told what is missing."""

from typing import Any, Literal

import pytest

from fanfold import Run, Session, Step, prompt, rules, sample, vote
from fanfold.errors import QuorumError, StatusError, UsageError
from fanfold.testing import FakeModel, run_virtual

ASK = prompt("Ask: {input}", returns=Literal["a", "b"])


def run(step: Step[Any, Any], answers: Any, given: Any = "x") -> Run[Any]:
    """Run a step on a fake model in virtual time."""

    async def main() -> Run[Any]:
        async with Session(model=FakeModel(answers, latency=1.0), attempts=1):
            return await step.run(given)

    return run_virtual(main())


def scripted(*answers: Any) -> Any:
    """A model that says these in turn, and repeats the merge's prompt."""
    left = iter(answers)

    def answer(request: Any) -> Any:
        text = str(request.messages[-1].content)
        return text if text.startswith("Merge") else next(left)

    return answer


def test_a_merge_hears_every_voter_and_the_rule_stays_in_the_detail() -> None:
    """Three agree of five: with a merge the others are heard all the same, and the winner is in the detail."""
    step = vote(ASK, 5, merge=prompt("Merge {input}:\n{parts}"))
    found = run(step, scripted("a", "a", "a", "b", "b"))
    assert found.output == "Merge x:\n## 0\na\n\n## 1\na\n\n## 2\na\n\n## 3\nb\n\n## 4\nb"
    assert (found.detail.winner, found.detail.outstanding) == ("a", 0)


def test_a_merge_is_told_who_has_no_ballot() -> None:
    """A voter that failed and one that could not be read are missing in the merge, each with its reason."""
    step = vote({"one": ASK, "two": ASK, "three": ASK}, merge=prompt("Merge {one}, {two}, {three}"))
    found = run(step, scripted("a", StatusError("down", status=500), "neither of them"))
    assert found.output.startswith("Merge a, (two is missing: StatusError: down), (three is missing: ParseError:")


def test_a_merge_by_code_gets_the_valid_ballots() -> None:
    """A function of one parameter gets the mapping of voters to values."""
    assert run(vote(ASK, 3, merge=dict), scripted("a", "b", "?!")).output == {"0": "a", "1": "b"}


def test_a_panel_whose_quorum_is_missed_is_not_merged() -> None:
    """The quorum holds before the merge: too few valid ballots are an error, and no merging call is made."""
    step = vote(ASK, 3, quorum=3, rule=rules.plurality(), merge=prompt("Merge {parts}"))
    with pytest.raises(QuorumError, match="of 3 ballots are valid"):
        run(step, scripted("a", "b", "?!"))


def test_a_voter_cannot_have_a_name_that_the_merge_uses() -> None:
    """The names that a merging template has for itself are refused at construction."""
    with pytest.raises(UsageError, match="'parts'"):
        vote({"parts": ASK}, merge=prompt("Merge {parts}"))


def test_samples_are_merged_in_the_order_of_their_draws() -> None:
    """The merge gets every sample and the original input; a failed draw is named."""
    step = sample(prompt("Ask: {input}"), 3, merge=prompt("Merge {input}:\n{parts}"))
    found = run(step, scripted("one", StatusError("down", status=500), "three"))
    assert found.output == "Merge x:\n## 0\none\n\n## 1\nthree\n\n## draw 1\n(draw 1 is missing: StatusError: down)"
    assert found.wall == pytest.approx(2.0, abs=0.01)


def test_the_merges_text_is_the_patterns_text() -> None:
    """Only the merging call is streamed, and its update comes last."""

    async def main() -> tuple[str, list[str]]:
        step = vote(ASK, 3, merge=prompt("Merge {parts}"))
        async with Session(model=FakeModel(scripted("a", "b", "a", "a", "b", "a"))):
            async with step.text("x") as text:
                streamed = "".join([piece async for piece in text])
            async with step.updates("x") as updates:
                return streamed, [name async for name, _ in updates]

    assert run_virtual(main()) == ("Merge ## 0\na\n\n## 1\nb\n\n## 2\na", ["0", "1", "2", "merge"])
