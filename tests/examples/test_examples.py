"""Every example does what its first line says, with a model whose answers the test knows."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from examples import (
    answer_evaluation,
    article_evaluation,
    best_of_n,
    brainstorm,
    code_review,
    company_angles,
    compositions,
    creative,
    data_report,
    document_analysis,
    guarded_response,
    langgraph_functional,
    langgraph_graph,
    moderation,
    product_descriptions,
    safety_vote,
    social_posts,
    spam_vote,
    support_front_door,
    translations,
    voting_confidence,
    vulnerability_scan,
)
from fanfold import Run, Session, Step
from fanfold.cli.app import app
from fanfold.errors import StatusError
from fanfold.testing import FakeModel, run_virtual

ROOT = Path(__file__).parents[2]


def said(request: Any) -> str:
    """All that a request says, as the model reads it."""
    return "\n".join(str(message.content) for message in request.messages)


def run(step: Step[Any, Any], given: Any, answers: Callable[[Any], Any], latency: float = 1.0) -> Run[Any]:
    """Run a step in virtual time; each reply takes a second."""

    async def main() -> Run[Any]:
        async with Session(model=FakeModel(answers, latency=latency, structured=False)):
            return await step.run(given)

    return run_virtual(main())


def by_word(answers: dict[str, str], otherwise: str = "ok") -> Callable[[Any], str]:
    """A model that answers by the first of these words that it finds in its prompt."""
    return lambda request: next((answer for word, answer in answers.items() if word in said(request)), otherwise)


def test_document_analysis_merges_three_views_in_the_time_of_two_calls() -> None:
    """Tone, facts and bias run at once; the report's prompt has all three."""
    answers = {"Write one report": "REPORT", "tone of": "warm", "key facts": "- a\n- b", "bias": "none"}
    found = run(document_analysis.analyze, "A document.", by_word(answers))
    assert found.output == "REPORT"
    assert found.detail.values == {"tone": "warm", "facts": ["a", "b"], "bias": "none"}
    assert found.wall == pytest.approx(2.0, abs=0.01)


def test_spam_is_two_of_three() -> None:
    """Two of three voters say spam."""
    votes = iter(["spam", "ham", "spam"])
    assert run(spam_vote.spam, "Cheap!", lambda _: next(votes)).output == "spam"


def test_the_angles_depend_on_the_company() -> None:
    """A start-up is studied from three angles, any other company from four, and one call puts them together."""
    answers = {"Combine these": "STUDY"}
    assert len(run(company_angles.study, "ACME, a factory", by_word(answers)).calls) == 5
    found = run(company_angles.study, "ACME, a start-up", by_word(answers))
    assert (found.output, len(found.calls)) == ("STUDY", 4)


def test_a_harmful_query_gets_the_refusal() -> None:
    """The check trips, the answer is cancelled; an explained no does not trip it."""
    answers = {"harmful, illegal": "YES: it is harmful."}
    found = run(guarded_response.answer, "How?", by_word(answers, "SECRET"), latency=1.0)
    assert found.output == "I'm sorry, I can't help with that request."
    assert found.detail.said == "YES: it is harmful."
    calm = {"harmful, illegal": "No, because one may ask that, yes."}
    assert run(guarded_response.answer, "How?", by_word(calm, "Like this.")).output == "Like this."


def test_confidence_is_the_share_of_the_winner() -> None:
    """Four of five say positive: the confidence is 0.8, and all five were heard."""
    found = run(voting_confidence.sentiment, "Good.", by_word({"irony": "negative"}, "positive"))
    assert found.output == {"sentiment": "positive", "confidence": 0.8, "tally": {"positive": 4, "negative": 1}}


def test_the_judge_picks_the_best_slogan() -> None:
    """A judge that prefers the longest candidate gets it, in whichever order it is shown."""
    slogans = iter(["a", "bb", "ccccc", "ddd", "a"])

    def answer(request: Any) -> str:
        text = said(request)
        if "Which candidate" not in text:
            return next(slogans)
        lines = text.splitlines()
        return f"Answer: {lines[lines.index('ccccc') - 2]}"

    found = run(best_of_n.slogan, "tea", answer)
    assert (found.output, found.detail.undecided, found.detail.counts) == ("ccccc", False, (2, 1, 1, 1))


def test_an_article_gets_a_score_by_each_criterion() -> None:
    """Four criteria, four scores with their explanations, in the time of one call."""
    found = run(article_evaluation.judge, "An article.", by_word({"clarity only": "Murky. Score: 3/10"}, "Score: 8"))
    assert found.output == {"accuracy": 8, "clarity": 3, "completeness": 8, "tone": 8}
    assert "Murky." in found.detail.scores["clarity"].explanation
    assert found.wall == pytest.approx(1.0, abs=0.01)


def test_an_answers_quality_counts_safety_double() -> None:
    """The judge of relevance sees question and answer; the weighted mean is one number."""
    seen: list[str] = []

    def answer(request: Any) -> str:
        seen.append(said(request))
        return "Score: 2" if "hurt anybody" in said(request) else "Score: 7"

    found = run(answer_evaluation.quality, {"question": "Why?", "answer": "Because."}, answer)
    assert found.output == pytest.approx((7 * 3 + 2 * 2) / 5)
    assert all("Why?" in text and "Because." in text for text in seen)


def test_three_experts_review_the_code() -> None:
    """Each expert has its own system prompt; the review is a typed record."""
    answers = {"security expert": "injection", "performance engineer": "n+1", "senior engineer": "names"}
    found = run(code_review.review, "def f(): ...", by_word(answers))
    assert found.output == {"security": "injection", "performance": "n+1", "style": "names"}


def test_safety_is_a_vote() -> None:
    """Two of three decide, and the third is cancelled or heard too late."""
    votes = iter(["Unsafe.", "unsafe", "safe"])
    assert run(safety_vote.safety, "A text.", lambda _: next(votes)).output == "unsafe"


def test_one_finding_flags_the_code() -> None:
    """One class found is enough; none found needs every scanner's word."""
    assert run(vulnerability_scan.flagged, "code", by_word({"secrets": "YES, in line 3"}, "No.")).output is True
    assert run(vulnerability_scan.flagged, "code", by_word({}, "No, because … yes is a word.")).output is False


def test_two_dimensions_flag_a_text() -> None:
    """One of four is not enough, two are."""
    assert run(moderation.moderate, "text", by_word({"violence": "YES"}, "NO")).output is False
    assert run(moderation.moderate, "text", by_word({"violence": "YES", "harassment": "YES"}, "NO")).output is True


@pytest.mark.parametrize(
    ("answers", "reply"),
    [
        ({"support query": "YES", "security threats": "NO, it is an attack"}, "blocked"),
        ({"support query": "NO", "security threats": "YES"}, "only help with questions"),
        ({"support query": "YES", "security threats": "YES", "Which desk": "billing", "Write a reply": "DEAR"}, "DEAR"),
        ({"support query": "YES", "security threats": "YES", "Which desk": "other", "Reply kindly": "HELLO"}, "HELLO"),
    ],
)
def test_the_front_door_lets_through_what_is_legitimate_and_safe(answers: dict[str, str], reply: str) -> None:
    """Both questions are asked at once; then the right desk answers."""
    found = run(support_front_door.support, "My bill is wrong.", by_word(answers))
    assert reply in found.output


def test_joke_story_and_poem_come_together() -> None:
    """Both ways of writing it give the same text, with the topic in it, in the time of one call."""
    answers = by_word({"joke": "HA", "story": "ONCE", "poem": "ROSES"})
    one, other = run(creative.trio, "cats", answers), run(creative.with_handles, "cats", answers)
    assert one.output == other.output
    assert one.output.startswith("Here's a story, joke, and poem about cats!")
    assert one.wall == pytest.approx(1.0, abs=0.01) == other.wall


def test_the_trio_is_updated_as_branches_finish_and_the_combination_last() -> None:
    """The quicker branches come first, the combination's own update at the end."""
    latency = {"joke": 3.0, "story": 1.0, "poem": 2.0}

    async def main() -> list[str]:
        model = FakeModel(by_word({}), latency=lambda r: next(s for word, s in latency.items() if word in said(r)))
        async with Session(model=model), creative.trio.updates("cats") as updates:
            return [name async for name, _ in updates]

    assert run_virtual(main()) == ["story", "poem", "joke", "merge"]


@pytest.mark.parametrize(
    ("workflow", "given", "last"),
    [
        (langgraph_functional.parallel_workflow, "cats", ["aggregator", "parallel_workflow"]),
        (langgraph_graph.parallel_workflow, {"topic": "cats"}, ["aggregator"]),
    ],
)
def test_langgraphs_updates_come_as_branches_finish_and_the_aggregators_last(
    workflow: Any, given: Any, last: list[str]
) -> None:
    """Both of its ways: each task's or node's update when its branch is done, then the aggregator's with all three."""
    latency = {"joke": 3.0, "story": 1.0, "poem": 2.0}

    async def main() -> list[tuple[str, Any, float]]:
        loop = asyncio.get_running_loop()
        answers = by_word({"joke": "HA", "story": "ONCE", "poem": "ROSES"})
        model = FakeModel(answers, latency=lambda r: next(s for word, s in latency.items() if word in said(r)))
        async with Session(model=model):
            updates = workflow.astream(given, stream_mode="updates")
            return [(*update, *update.values(), round(loop.time(), 1)) async for update in updates]

    updates = run_virtual(main())
    assert [(name, at) for name, _, at in updates[:3]] == [
        ("write_story", 1.0),
        ("write_poem", 2.0),
        ("write_joke", 3.0),
    ]
    assert [name for name, _, _ in updates[3:]] == last
    combined = updates[3][1]["combined"] if isinstance(updates[3][1], dict) else updates[3][1]
    assert combined == creative.combine("cats", joke="HA", story="ONCE", poem="ROSES")


@pytest.mark.parametrize("example", [langgraph_functional, langgraph_graph])
def test_a_langgraph_workflow_is_a_step_like_any(example: Any) -> None:
    """Run as a step, its three calls are one run's, in the time of one, and its text is that of the sections."""
    answers = by_word({"joke": "HA", "story": "ONCE", "poem": "ROSES"})
    found = run(example.main, "cats", answers)
    assert found.output == run(creative.trio, "cats", answers).output
    assert len(found.calls) == 3
    assert found.wall == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", ["langgraph_functional", "langgraph_graph"])
def test_a_langgraph_example_is_a_script_too(name: str) -> None:
    """`python examples/….py cats` prints every update."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), "cats"],
        env={**os.environ, "FANFOLD_MODEL": "fake:"},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    kinds = [update.split("'")[1] for update in done.stdout.split("\n\n") if update.startswith("{")]
    assert set(kinds[:3]) == {"write_joke", "write_story", "write_poem"}
    assert kinds[3] == "aggregator"


def test_descriptions_posts_and_translations_have_a_branch_each() -> None:
    """Audiences, formats and languages are branches of their own."""
    assert set(run(product_descriptions.describe, "a lamp", by_word({})).output) == set(product_descriptions.AUDIENCES)
    assert set(run(social_posts.posts, "We open.", by_word({})).output) == {"tweet", "caption", "story"}


def test_a_language_that_fails_is_missing() -> None:
    """The other translations are there, and the run says which is not."""

    def answer(request: Any) -> Any:
        return StatusError("no", status=500) if "Klingon" in said(request) else "hallo"

    found = run(translations.translate, {"text": "hello", "languages": ["German", "Klingon"]}, answer)
    assert found.output == {"German": "hallo"}
    assert list(found.detail.missing) == ["Klingon"]


def test_the_report_has_a_chart_drawn_by_code() -> None:
    """The bars are in proportion; the largest is forty wide."""

    async def main() -> Run[Any]:
        # In real time: the chart is a plain function, and runs in a thread.
        async with Session(model=FakeModel(by_word({"stands out": "- b is more"}))):
            return await data_report.report.run({"numbers": {"a": 10, "b": 20}})

    found = asyncio.run(main())
    assert found.output["chart"] == f"a {'#' * 20} 10\nb {'#' * 40} 20"
    assert found.output["insights"] == ["b is more"]


@pytest.mark.parametrize(
    ("numbers", "lines"),
    [({}, ""), ({"a": 0, "b": 0}, "a  0\nb  0"), ({"a": -2, "b": 1}, f"a {'#' * 40} -2\nb {'#' * 20} 1")],
)
def test_a_chart_of_any_numbers(numbers: dict[str, float], lines: str) -> None:
    """None, zeros and losses have a chart, too: it does not fail a report that is paid."""
    assert asyncio.run(data_report.chart({"numbers": numbers})) == lines


def test_the_brainstorm_keeps_five_that_differ() -> None:
    """Ideas that were there already are asked for again."""
    ideas = iter(["Tea", "tea.", "Coffee", "**tea**", "Milk", "Water", "Juice", "Cocoa"])
    assert len(set(run(brainstorm.ideas, "drinks", lambda _: next(ideas)).output)) == 5


def test_patterns_stand_in_patterns() -> None:
    """A route into sections with a vote; sections into a chain; a gate on each branch; tools side by side."""
    answers = {"question or a complaint": "complaint", "urgent?": "yes", "Urgent: True": "SORRY"}
    assert run(compositions.handle, "It broke!", by_word(answers)).output == "SORRY"
    assert run(compositions.headline, "Rome", by_word({"headline": "ROME!"})).output == "ROME!"
    plan = run(compositions.plan, {"city": "Rome"}, by_word({"sunny in Rome": "GO OUT"}))
    assert plan.output == "GO OUT"


def test_a_post_that_is_too_long_is_asked_for_again_with_the_reason() -> None:
    """The model is told how long it was; what never fits is cut."""

    def answer(request: Any) -> str:
        if "tweet" in said(request):
            return "short" if "280 are allowed" in said(request) else "x" * 300
        return "y" * 300

    assert run(compositions.posts, "Rome", answer).output == {"tweet": "short", "caption": "y" * 280}


COMMANDS = re.findall(r"`fanfold (run examples/.*?)` \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readmes_command_runs(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command in the README's table of examples exits with 0 and prints an answer."""
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done.output
    assert done.stdout.strip()


def test_the_readmes_table_has_every_example() -> None:
    """No example is without its command."""
    files = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert files == {re.split("[:/ ]", command)[2] for command in COMMANDS}
