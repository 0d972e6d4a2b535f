"""Evaluation: scores by criterion, each judged by itself."""

import json
import numbers
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from fanfold import criterion, evaluate
from fanfold.core.records import Request
from fanfold.errors import BranchError, ConnectError, ParseError, QuorumError, StepTimeout, UsageError
from fanfold.steps.scoring import Score, score_answer
from tests.patterns.hearing import asked, heard
from tests.steps.running import Asked, failed, ran

SCORES = {"accuracy": 8, "tone": 4, "clarity": 6}


def judge(request: Request) -> str:
    """A judge that knows the score of each criterion."""
    name = asked(request).removeprefix("You judge one thing only: ").partition(".")[0]
    return json.dumps({"explanation": f"{name} it is", "score": SCORES[name]})


def test_each_criterion_is_one_call_and_all_at_once() -> None:
    """Three criteria are three calls at the same time; scores are the output, explanations the detail."""
    fake = Asked(judge, latency=1.0)
    run = ran(evaluate({"accuracy": "Are the facts right?", "tone": "Is it kind?", "clarity": ""}), "a text", fake)
    assert run.output == SCORES
    assert run.wall == pytest.approx(1.0, abs=1e-2)
    assert run.detail.scores["tone"] == Score(4.0, "tone it is")
    assert "Are the facts right?" in fake.texts[0]
    assert "Judge accuracy only, and nothing else, on a scale from 1 (worst) to 10 (best)" in fake.texts[0]
    with pytest.raises(TypeError):
        bool(run.detail)
    with pytest.raises(TypeError):
        bool(run.detail.scores["tone"])


@pytest.mark.parametrize(
    "reply",
    [
        '{"explanation": "good", "score": 7}',
        'Here it is: ```json\n{"score": 7.0, "explanation": "good"}\n```',
        "It is good, with one slip.\n\nScore: 7/10",
        "Well argued. **Score: 7**",
        '{"explanation": "Well argued.", "score": "7"}',
        'So: {"explanation": "Well argued.", "score": "7/10"}',
        "7",
    ],
)
def test_scores_are_read_from_json_and_from_words(reply: str) -> None:
    """A typed reply, JSON in words, and "… Score: 7/10" are all a 7."""
    run = ran(evaluate(["tone"]), "x", Asked(lambda _: reply, structured=False))
    assert run.output == {"tone": 7.0}
    assert run.detail.scores["tone"].explanation


@pytest.mark.parametrize("reply", ['{"explanation": "!", "score": 11}', "Score: 0", "great", '{"score": true}', "NaN"])
def test_a_score_off_the_scale_is_no_score(reply: str) -> None:
    """It is an error, and never clamped to the nearest mark."""
    error = failed(evaluate(["tone"]), BranchError, "x", model=Asked(lambda _: reply, structured=False))
    assert isinstance(error.__cause__, ParseError)


@pytest.mark.parametrize("reply", ["Score: 8/10", "I give it 8 out of 10.", '{"explanation": "x", "score": "8/10"}'])
def test_a_score_on_another_scale_is_no_score(reply: str) -> None:
    """Near the top of ten is not near the bottom of a hundred; what else an explanation counts is no scale."""
    error = failed(evaluate(["tone"], scale=(1, 100)), BranchError, "x", Asked(lambda _: reply, structured=False))
    assert "on another scale" in str(error)
    assert ran(evaluate(["tone"]), "x", Asked(lambda _: reply, structured=False)).output == {"tone": 8.0}
    counted = Asked(lambda _: "3/10 of the facts are wrong, 2 of 7 parts are missing.\nScore: 3", structured=False)
    assert ran(evaluate(["tone"], scale=(1, 5)), "x", counted).output == {"tone": 3.0}


@pytest.mark.parametrize("reply", ["Score: 1%", "I would say 1 %.", '{"explanation": "x", "score": "1%"}'])
def test_a_percentage_is_on_a_scale_up_to_a_hundred(reply: str) -> None:
    """Where the best is 1, a score of 1 % is no top mark."""
    judge = Asked(lambda _: reply, structured=False)
    assert "on another scale" in str(failed(evaluate(["tone"], scale=(0, 1)), BranchError, "x", judge))
    assert ran(evaluate(["tone"], scale=(0, 100)), "x", judge).output == {"tone": 1.0}


def test_scales_are_the_users() -> None:
    """A scale from 0 to 1 takes 0.25; it is told to the judge and in the schema."""
    fake = Asked(lambda _: '{"explanation": "", "score": 0.25}')
    assert ran(evaluate(["tone"], scale=(0, 1)), "x", fake).output == {"tone": 0.25}
    assert "from 0 (worst) to 1 (best)" in fake.texts[0]
    assert fake.requests[0].schema["properties"]["score"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert score_answer((0, 1)).read("Score: 1").score == 1.0
    with pytest.raises(UsageError):
        evaluate(["tone"], scale=(10, 1))


@pytest.mark.parametrize(
    ("merge", "number"), [("mean", 6.0), ("min", 4.0), ({"accuracy": 3, "tone": 1, "clarity": 0}, 7.0)]
)
def test_scores_can_be_one_number(merge: Any, number: float) -> None:
    """The mean, the least, or the weighted mean; the single scores stay in the detail."""
    run = ran(evaluate(list(SCORES), merge=merge), "x", Asked(judge))
    assert run.output == number
    assert run.detail.merged == number
    assert {name: one.score for name, one in run.detail.scores.items()} == SCORES


WRONG = {
    "no such merge": {"merge": "max"},
    "a weight too few": {"merge": {"tone": 1}},
    "a weight too many": {"merge": {**SCORES, "wit": 1}},
    "weights of nothing": {"merge": dict.fromkeys(SCORES, 0)},
    "a negative weight": {"merge": {**SCORES, "tone": -1}},
    "a weight beyond any float": {"merge": {**SCORES, "tone": 10**400}},
    "a weight that is none": {"merge": {**SCORES, "tone": "2"}},
}


@pytest.mark.parametrize("case", WRONG)
def test_merges_that_cannot_be_are_refused(case: str) -> None:
    """An unknown merge and weights that do not fit the criteria are errors when it is made."""
    with pytest.raises(UsageError):
        evaluate(list(SCORES), **WRONG[case])


@numbers.Real.register
class Single:
    """A number of a library, which is real and no float."""

    def __float__(self) -> float:
        return 0.25

    def __str__(self) -> str:
        return "0.25"


@pytest.mark.parametrize("weight", [1e308, Decimal("0.1"), Fraction(1, 3), 5e-324, Single()])
def test_weights_may_be_of_any_kind_and_size(weight: Any) -> None:
    """Weights whose sum no float holds, and decimals, merge exactly: equal ones are the mean."""
    merged = ran(evaluate(list(SCORES), merge=dict.fromkeys(SCORES, weight)), "x", Asked(judge)).output
    assert merged == ran(evaluate(list(SCORES), merge="mean"), "x", Asked(judge)).output


def test_criteria_are_names_or_rubrics() -> None:
    """No criteria, or a text for a list, are refused."""
    for wrong in ([], {}, "tone"):
        with pytest.raises(UsageError):
            evaluate(wrong)


def test_question_and_answer_are_both_shown_each_in_a_fence() -> None:
    """Of a mapping every field is shown under its name, inside a fence; a field called input is one of them."""
    fake = Asked(judge)
    ran(evaluate(["tone"]), {"input": "why {rule}?", "answer": "because\nEND"}, fake)
    text = fake.texts[0]
    mark = text.partition("a line BEGIN ")[2].split()[0]
    assert f"input\nBEGIN {mark}\nwhy {{rule}}?\nEND {mark}" in text
    assert f"answer\nBEGIN {mark}\nbecause\nEND\nEND {mark}" in text
    ran(evaluate(["tone"]), "plain text", fake)
    assert "\nplain text\nEND " in fake.texts[1]


def test_every_judge_has_a_fence_of_its_own() -> None:
    """No two calls of a run share a mark."""
    fake = Asked(judge)
    ran(evaluate({"tone": criterion(panel=["fake:", "fake:"]), "clarity": ""}, on_error="skip"), "x", fake)
    ran(evaluate(list(SCORES)), "x", fake)
    marks = [text.partition("a line BEGIN ")[2].split()[0] for text in fake.texts]
    assert len(set(marks[-3:])) == 3


def test_a_criterion_can_have_its_own_model_and_prompt() -> None:
    """`criterion` gives a rubric, a model, and a template with the fields that it names."""
    own = Asked(lambda _: "Score: 9", structured=False)
    mine = criterion("short is good", model=own, template="{rubric} / {criterion} / {low}-{high}\n{rule}\n{content}")
    run = ran(evaluate({"brevity": mine, "tone": ""}), "x", Asked(judge))
    assert run.output == {"brevity": 9.0, "tone": 4.0}
    assert own.texts[0].startswith("short is good / brevity / 1-10\nThe text between")
    whole = ran(evaluate({"tone": ""}, model=own), "x", Asked(judge))
    assert whole.output == {"tone": 9.0}


def test_a_panel_counts_by_its_mean() -> None:
    """Each judge of a panel is one call; the mean counts, the single scores and the missing are in the detail."""
    panel = [Asked(lambda _: "Score: 6"), Asked(lambda _: "Score: 9"), Asked(lambda _: ConnectError("down"))]
    for one in panel:
        one.structured = False
    run = ran(evaluate({"tone": criterion(panel=panel)}), "x")
    assert run.output == {"tone": 7.5}
    assert [one.score for one in run.detail.judges["tone"].values()] == [6.0, 9.0]
    assert run.detail.missing == {"tone/2": "ConnectError: down"}
    assert "0: Score: 6" in run.detail.scores["tone"].explanation
    with pytest.raises(UsageError):
        criterion(model="a", panel=["b"])


def test_failures_are_skipped_or_fail() -> None:
    """With skip a criterion without a score is missing and named, and the merge goes over the others."""

    def lossy(request: Request) -> Any:
        return ConnectError("down") if "only: tone" in asked(request) else judge(request)

    run = ran(evaluate(list(SCORES), on_error="skip", merge="mean"), "x", Asked(lossy))
    assert run.output == 7.0
    assert run.detail.missing == {"tone": "ConnectError: down"}
    assert failed(evaluate(list(SCORES)), BranchError, "x", model=Asked(lossy)).branch == "tone"
    failed(evaluate(list(SCORES), quorum=3), QuorumError, "x", model=Asked(lossy))
    only = {"tone": 1, "accuracy": 0, "clarity": 0}
    failed(evaluate(list(SCORES), on_error="skip", merge=only), QuorumError, "x", model=Asked(lossy))


def test_a_criterion_that_is_in_is_seen_as_its_score() -> None:
    """Updates, and what an error carries, have the score and explanation of a criterion, of a panel its mean."""
    pattern = evaluate({"accuracy": criterion(panel=[None, None]), "tone": ""})
    fake = Asked(judge, latency=lambda request: 9.0 if "tone" in asked(request) else 1.0)
    found = heard(pattern, "updates", fake)
    assert [(name, score.score) for _, (name, score) in found.items] == [("accuracy", 8.0), ("tone", 4.0)]
    pattern.timeout = 5
    error = failed(pattern, StepTimeout, "a text", fake)
    assert {name: score.score for name, score in error.finished.items()} == {"accuracy": 8.0}
