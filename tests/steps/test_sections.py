"""Sectioning: different tasks on one input, kept by name or merged, and what happens when some fail."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from fanfold import Session, chain, prompt, sections, step, vote
from fanfold.core.records import Cost
from fanfold.errors import (
    AccessError,
    BranchError,
    ConnectError,
    FanfoldError,
    ModelError,
    ParseError,
    QuorumError,
    StepTimeout,
    TemplateError,
    UsageError,
)
from fanfold.models.prices import FlatRate
from fanfold.testing import FakeModel, run_virtual
from tests.steps.running import Asked, by_prompt, echo, failed, ran, taking

ASK = prompt("{input}")
TONE = prompt("Tone: {input}")
FACTS = prompt("Facts: {input}", returns=list[str])


def priced(answers: Any = echo, **options: Any) -> FakeModel:
    """A model that costs a dollar a million tokens."""
    model = Asked(answers, **options)
    model.given_rate = FlatRate(1.0, 1.0)
    return model


# -- the output ---------------------------------------------------------------------------------------------------


def test_a_mapping_gives_a_mapping_in_its_own_order() -> None:
    """The output has the branches' values by name, in the order of the branches, whoever came first."""
    run = ran(sections({"slow": taking(2, "s"), "fast": taking(1, "f"), "now": str}))
    assert list(run.output.items()) == [("slow", "s"), ("fast", "f"), ("now", "q")]
    assert dict(run.detail.values) == run.output
    assert run.detail.missing == {}


def test_a_list_gives_a_list() -> None:
    """Branches without names give their values in order."""
    assert ran(sections([taking(2, "s"), taking(1, "f"), str])).output == ["s", "f", "q"]
    assert len(ran(sections([ASK] * 12)).output) == 12


def test_branches_run_together() -> None:
    """Three branches of a second each take one second."""
    run = ran(sections(dict.fromkeys("abc", ASK)), model=FakeModel(latency=1))
    assert run.wall == pytest.approx(1, abs=1e-3)
    assert run.sequential == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_branches_can_be_made_when_the_step_runs(asynchronous: bool) -> None:
    """A function of the input makes the branches: a list gives a list, a mapping a mapping."""

    def by_word(text: str) -> list[Any]:
        return [prompt(f"{word}: {{input}}") for word in text.split()]

    async def by_letter(text: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return dict.fromkeys(text, TONE)

    if asynchronous:
        assert ran(sections(by_letter), "xy").output == {"x": "Tone: xy", "y": "Tone: xy"}
    else:
        assert ran(sections(by_word), "a b").output == ["a: a b", "b: a b"]


def test_plain_functions_can_be_branches() -> None:
    """A bare function, async or not, is a branch like any step."""

    async def later(text: str) -> int:
        await asyncio.sleep(0)
        return len(text)

    assert ran(sections({"a": str.upper, "b": later, "c": len}), "abc").output == {"a": "ABC", "b": 3, "c": 3}


def test_sections_nest() -> None:
    """A section may be sections; its output is a mapping inside the mapping."""
    inner = sections({"x": ASK, "y": sections([ASK, ASK])})
    run = ran(sections({"inner": inner, "vote": vote(ASK, n=3), "line": chain(ASK, str.upper)}))
    assert run.output == {"inner": {"x": "q", "y": ["q", "q"]}, "vote": "q", "line": "Q"}


# -- merging ------------------------------------------------------------------------------------------------------


def test_a_function_of_one_parameter_gets_all_that_answered() -> None:
    """It gets the mapping, whatever its parameter is called."""

    def named_like_a_branch(a: Any) -> list[str]:
        return list(reversed(list(a)))

    for merge in (sorted, named_like_a_branch):
        assert ran(sections({"b": ASK, "a": ASK}, merge=merge)).output == ["a", "b"]


def test_a_function_of_several_is_filled_by_name() -> None:
    """Branches by their names in any order, `input` with the original, and what is missing with None."""

    def merge(facts: Any, input: str, tone: Any) -> tuple[Any, ...]:
        return tone, facts, input

    assert ran(sections({"tone": taking(0, "kind"), "facts": taking(0, 3)}, merge=merge)).output == ("kind", 3, "q")
    lossy = {"tone": taking(0, ValueError("no")), "facts": taking(0, 3)}
    assert ran(sections(lossy, merge=merge, on_error="skip")).output == (None, 3, "q")


def test_a_default_is_left_alone_unless_a_branch_has_its_name() -> None:
    """A function of one parameter and defaults gets all parts; a default that names a branch is filled by it."""

    def joined(parts: Mapping[str, str], end: str = ".") -> str:
        return "+".join(parts.values()) + end

    def named(a: str, b: str = "nothing", end: str = ".") -> str:
        return a + b + end

    assert ran(sections({"a": str, "b": str.upper}, merge=joined)).output == "q+Q."
    assert ran(sections({"a": str, "b": str.upper}, merge=named)).output == "qQ."
    assert ran(sections({"a": str}, merge=json.dumps)).output == '{"a": "q"}'


def test_an_async_function_can_merge() -> None:
    """A merge may await, and call further steps, which are parts of the run."""

    async def merge(parts: Mapping[str, Any]) -> str:
        return await chain(ASK, str.upper)("+".join(parts.values()))

    run = ran(sections({"a": TONE, "b": ASK}, merge=merge))
    assert run.output == "TONE: Q+Q"
    assert len(run.calls) == 3


def test_a_prompt_merges_branches_by_name_with_the_input() -> None:
    """A merging prompt's template has the branches' values, the input's own names, `{input}` and `{parts}`."""
    model = Asked(by_prompt({"Tone": "kind", "Facts": '{"answer": ["one", "two"]}', "Write": "the report"}))
    merge = prompt("Write: {tone}|{facts}|{input}")
    assert ran(sections({"tone": TONE, "facts": FACTS}, merge=merge), "text", model).output == "the report"
    assert model.texts[-1] == "Write: kind|- one\n- two|text"

    model = Asked(by_prompt({"Tone": "kind", "Write": "done"}))
    ran(sections({"tone": prompt("Tone: {title}")}, merge=prompt("Write {title}, {tone}")), {"title": "T"}, model)
    assert model.texts[-1] == "Write T, kind"


def test_parts_are_all_branches_under_headings() -> None:
    """`{parts}` holds every branch under its name, the missing ones with their reason."""
    model = Asked(by_prompt({"Tone": "kind", "Facts": ConnectError("gone"), "All": "done"}))
    branches = {"tone": TONE, "facts": prompt("Facts")}
    ran(sections(branches, merge=prompt("All: {parts}"), on_error="skip"), "q", model)
    assert model.texts[-1] == "All: ## tone\nkind\n\n## facts\n(facts is missing: ConnectError: gone)"


def test_a_missing_part_says_so_in_the_merges_template() -> None:
    """Where a branch failed its field is filled with that fact and the reason."""
    model = Asked(by_prompt({"Tone": ConnectError("gone"), "Facts": '{"answer": ["one"]}', "Write": "done"}))
    ran(sections({"tone": TONE, "facts": FACTS}, merge=prompt("Write: {tone}; {facts}"), quorum=1), "q", model)
    assert model.texts[-1] == "Write: (tone is missing: ConnectError: gone); - one"


def test_a_branchs_answer_is_never_read_as_a_template() -> None:
    """Braces in what a branch said reach the merge as they are."""
    model = Asked(by_prompt({"Tone": "{input} {facts} {{x}}", "Merge": "done"}))
    ran(sections({"tone": TONE, "facts": str}, merge=prompt("Merge {tone} and {parts}")), "SECRET", model)
    assert model.texts[-1] == "Merge {input} {facts} {{x}} and ## tone\n{input} {facts} {{x}}\n\n## facts\nSECRET"


def test_any_step_can_merge() -> None:
    """A chain or a vote as merge gets the same mapping as a prompt."""
    merge = chain(prompt("Write: {tone}"), str.upper)
    assert ran(sections({"tone": TONE}, merge=merge)).output == "WRITE: TONE: Q"
    assert ran(sections({"tone": TONE}, merge=vote(prompt("{parts}"), n=3))).output == "## tone\nTone: q"


def test_the_record_of_a_merged_run_keeps_the_parts() -> None:
    """`run.detail` has every branch's value and what is missing, beside the merged output."""
    lossy = {"a": ASK, "b": taking(0, ValueError("no"))}
    run = ran(sections(lossy, merge=len, on_error="skip"))
    assert run.output == 1
    assert run.detail.values == {"a": "q"}
    assert run.detail.missing == {"b": "ValueError: no"}
    with pytest.raises(TypeError, match=r"\.values and \.missing"):
        bool(run.detail)


@pytest.mark.parametrize(
    ("branches", "merge", "words"),
    [
        ({"input": ASK}, str, "cannot be called 'input'"),
        ({"parts": ASK}, str, "cannot be called 'parts'"),
        ({"merge": ASK}, str, "cannot be called 'merge'"),
        ({"a": ASK, "b": ASK}, lambda a, c: a, r"parameters \['c'\], which are no branches \(branches: a, b"),
        ({"a": ASK}, "Write {a}", "neither a step nor a function"),
        ({"a": ASK, "b": ASK}, lambda **parts: parts, "cannot be called with the mapping of the branches"),
        ({"a": ASK, "b": ASK}, lambda a, b, /: a + b, r"\(missing a required argument: 'b'\): give it one parameter"),
        ({"a": ASK}, lambda: "", r"\(too many positional arguments\)"),
        ({"a": ASK}, lambda *, a: a, "cannot be called with the mapping"),
    ],
)
def test_a_merge_that_could_never_be_filled_is_refused_when_made(branches: Any, merge: Any, words: str) -> None:
    """Reserved names, parameters that are no branches, and what cannot merge show where they are written."""
    with pytest.raises(UsageError, match=words):
        sections(branches, merge=merge)


def test_without_a_merge_any_name_will_do() -> None:
    """Names are reserved only where a merge uses them."""
    assert ran(sections({"input": ASK, "parts": ASK, "merge": ASK})).output == dict.fromkeys(
        ["input", "parts", "merge"], "q"
    )


def test_a_merge_names_the_branches_that_are_there() -> None:
    """A merging template that names no branch gets an error with those there are."""
    error = failed(sections({"tone": ASK}, merge=prompt("{tune}")), TemplateError)
    assert "{tune}" in str(error)
    assert "{tone}" in str(error)
    assert error.run.calls == ()


# -- records ------------------------------------------------------------------------------------------------------


class Typed(TypedDict):
    tone: str
    facts: list[str]


@dataclass
class Data:
    tone: str
    facts: list[str]


class Model(BaseModel):
    tone: str
    facts: list[str] = []


ANSWERS = {"Tone": "kind", "Facts": '{"answer": ["one"]}'}


@pytest.mark.parametrize(
    ("returns", "made"),
    [
        (Typed, Typed(tone="kind", facts=["one"])),
        (Data, Data("kind", ["one"])),
        (Model, Model(tone="kind", facts=["one"])),
        (dict[str, Any], {"tone": "kind", "facts": ["one"]}),
    ],
)
def test_the_output_can_be_a_record(returns: Any, made: Any) -> None:
    """`returns=` makes the mapping a TypedDict, a dataclass or a pydantic model."""
    pattern = sections({"tone": TONE, "facts": FACTS}, returns=returns)
    assert ran(pattern, "q", FakeModel(by_prompt(ANSWERS))).output == made


def test_a_record_with_defaults_may_miss_a_branch() -> None:
    """A skipped branch is the record's default; without one the error names the branch and its reason."""
    lossy = FakeModel(by_prompt({"Tone": "kind", "Facts": ConnectError("gone")}))
    pattern = {"tone": TONE, "facts": FACTS}
    assert ran(sections(pattern, returns=Model, on_error="skip"), "q", lossy).output == Model(tone="kind")
    error = failed(sections(pattern, returns=Data, on_error="skip"), FanfoldError, "q", lossy)
    assert "do not make a Data" in str(error)
    assert "facts is missing: ConnectError: gone" in str(error)
    assert len(error.run.calls) == 2


def test_branches_that_do_not_fit_the_record_are_named() -> None:
    """A value of the wrong type is an error that names the field, without a traceback of the validator."""
    error = failed(sections({"tone": len, "facts": FACTS}, returns=Model), FanfoldError, "q", FakeModel(['["x"]']))
    assert "the branches do not make a Model: tone:" in str(error)


def test_a_merge_and_a_record_are_one_too_many() -> None:
    """Where there is a merge its value is the output: `returns=` belongs to the merging prompt."""
    with pytest.raises(UsageError, match="returns= to the merging prompt"):
        sections({"a": ASK}, merge=str, returns=Model)


# -- failures -----------------------------------------------------------------------------------------------------

FOUR = {name: prompt(f"{name} {{input}}") for name in ("one", "two", "three", "four")}


def test_one_of_four_that_fails_is_named_and_the_others_stay() -> None:
    """With `skip` the three that answered are the output, and `run.detail.missing` says why the fourth is not."""
    model = priced(by_prompt({"four": ConnectError("the line is dead"), "": "x"}))
    run = ran(sections(FOUR, on_error="skip"), "q", model)
    assert run.output == {"one": "x", "two": "x", "three": "x"}
    assert run.detail.missing == {"four": "ConnectError: the line is dead"}
    assert sum(call.state == "ok" for call in run.calls) == 3


def test_a_failure_carries_what_was_finished_and_what_it_cost() -> None:
    """With `fail` the error has the finished branches' values, and in `.cost` and `.run` what was spent."""
    fail = chain(prompt("four {input}"), taking(2, ValueError("not that")))
    model = priced(lambda request: str(request.messages[-1].content)[:3], latency=0.5)
    error = failed(sections({**FOUR, "four": fail}), BranchError, "q", model)
    assert error.branch == "four"
    assert error.finished == {"one": "one", "two": "two", "three": "thr"}
    assert isinstance(error.__cause__, ValueError)
    assert len(error.run.calls) == 4
    assert error.cost == error.run.cost
    assert error.cost.usd > 0
    assert "kept in .finished: one, two, three" in str(error)


def test_a_failure_cancels_the_siblings() -> None:
    """The first error ends the step at once; what flew is cancelled, and its cost is a range."""
    model = priced(by_prompt({"two": ConnectError("gone"), "": "x"}), latency=5)
    capped = {name: prompt(f"{name} {{input}}", max_tokens=10) for name in FOUR}
    error = failed(sections(capped), BranchError, "q", model)
    assert error.branch == "two"
    assert sorted(call.state for call in error.run.calls) == ["cancelled"] * 3 + ["error"]
    assert error.cost.at_least == 0
    assert error.cost.at_most > 0


def test_an_error_in_a_nested_section_has_all_of_the_run() -> None:
    """The innermost failure is the cause's cause, and the run has the outer branches' calls, too."""
    inner = sections({"deep": taking(1, ValueError("deep down")), "beside": ASK})
    error = failed(sections({"inner": inner, "outer": ASK}), BranchError)
    assert error.branch == "inner"
    assert error.finished == {"outer": "q"}
    assert isinstance(error.__cause__, BranchError)
    assert error.__cause__.finished == {"beside": "q"}
    assert isinstance(error.__cause__.__cause__, ValueError)
    assert len(error.run.calls) == 2


def test_a_fatal_error_is_never_skipped() -> None:
    """A refused key ends the run under every policy, as itself."""
    model = FakeModel(by_prompt({"two": AccessError("wrong key"), "": "x"}))
    for options in ({"on_error": "skip"}, {"quorum": 1}, {"on_error": "fail"}):
        error = failed(sections(FOUR, **options), AccessError, "q", model)
        assert error.run.calls


def test_a_quorum_implies_skip_and_is_a_floor() -> None:
    """With a quorum the failed branches are missing; all that succeed count, not just so many."""
    model = FakeModel(by_prompt({"two": ConnectError("gone"), "": "x"}))
    run = ran(sections(FOUR, quorum=2), "q", model)
    assert list(run.output) == ["one", "three", "four"]


def test_a_missed_quorum_ends_at_once_and_names_everything() -> None:
    """As soon as it cannot be reached the others are cancelled; the error has what succeeded and why not the rest."""
    branches = {"a": str, "b": taking(1, ValueError("b")), "c": taking(2, ValueError("c")), "d": taking(60)}
    error = failed(sections(branches, quorum=3), QuorumError)
    assert error.finished == {"a": "q"}
    assert error.missing == {"b": "ValueError: b", "c": "ValueError: c", "d": "cancelled before it answered"}
    assert error.run.wall < 3


def test_skip_without_a_single_answer_is_an_error() -> None:
    """Where every branch failed there is nothing to go on with."""
    error = failed(sections({"a": taking(0, ValueError("a"))}, on_error="skip"), QuorumError)
    assert error.missing == {"a": "ValueError: a"}


def test_a_reply_that_does_not_parse_fails_its_branch() -> None:
    """A `ParseError` is a failure like any, with the text kept in the cause."""
    error = failed(sections({"n": prompt("{input}", returns=int)}), BranchError, model=FakeModel(["many"]))
    assert isinstance(error.__cause__, ParseError)
    assert error.__cause__.text == "many"


# -- time ---------------------------------------------------------------------------------------------------------


def test_a_timeout_under_fail_raises_with_what_was_finished() -> None:
    """Without skip the fan's timeout is an error that names who did not answer and keeps who did."""
    error = failed(sections({"a": str, "b": taking(9), "c": taking(9)}, timeout=1), StepTimeout)
    assert error.finished == {"a": "q"}
    assert error.seconds == 1
    assert "no answer from b, c within 1 s" in str(error)
    assert error.run.wall == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("options", [{"on_error": "skip"}, {"quorum": 1}])
def test_a_timeout_under_skip_goes_on_with_what_is_there(options: Any) -> None:
    """With skip or a quorum the branches that are out are missing, and the merge runs."""
    pattern = sections({"a": str, "b": taking(9)}, timeout=1, merge=prompt("{a} {b}"), **options)
    run = ran(pattern)
    assert run.output == "q (b is missing: no answer within the timeout)"
    assert run.detail.missing == {"b": "no answer within the timeout"}


def test_a_timeout_below_the_quorum_is_an_error() -> None:
    """Time over with too few is a `QuorumError` with what is there."""
    error = failed(sections({"a": str, "b": taking(9)}, timeout=1, quorum=2), QuorumError)
    assert error.finished == {"a": "q"}


def test_a_nested_pattern_is_cancelled_by_the_outer_timeout() -> None:
    """An outer fan's timeout cancels an inner one, whose own policy does not apply."""
    inner = sections({"x": str, "y": taking(9)}, on_error="skip")
    error = failed(sections({"inner": inner, "quick": str}, timeout=1), StepTimeout)
    assert error.finished == {"quick": "q"}


# -- what cannot be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sections({}), "sections has no branches"),
        (lambda: sections([]), "no branches"),
        (lambda: sections({"a": "not a step"}), "is not a step"),
        (lambda: sections("abc"), "not str"),
        (lambda: sections(3), "not int"),
        (lambda: sections({1: ASK}), "a branch's name is a text, not 1"),
        (lambda: sections({"": ASK}), "a branch's name is a text, not ''"),
        (lambda: sections({"a": ASK}, returns=object()), "not supported"),
        (lambda: sections({"a": ASK}, quorum=2), "quorum=2 cannot be reached by 1"),
        (lambda: sections({"a": ASK}, quorum=0), "quorum=0"),
        (lambda: sections({"a": ASK}, on_error="ignore"), "on_error='ignore'"),
    ],
)
def test_sections_that_cannot_be_are_refused_when_made(make: Any, words: str) -> None:
    """Every mistake that shows in the arguments shows there, with its cause."""
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize("made", [{}, [], "text", None, {"a": 3}, 5])
def test_branches_made_at_run_time_are_checked_too(made: Any) -> None:
    """A function that makes no branches, or what are none, is an error of the same kind."""
    failed(sections(lambda _: made), UsageError)


def test_a_branch_that_names_a_sibling_is_told_that_this_is_a_chain() -> None:
    """Branches run at the same time: a template that needs a sibling's answer says so before anything is sent."""
    model = Asked()
    pattern = sections({"outline": ASK, "text": prompt("Write along {outline}")})
    error = failed(pattern, TemplateError, "q", model)
    assert "branch 'text' names {outline}, which is a branch beside it" in str(error)
    assert "that is a chain" in str(error)
    assert model.requests == []


def test_a_sibling_that_the_input_has_as_well_is_the_inputs() -> None:
    """Where the input has a field of that name, it is meant."""
    pattern = sections({"outline": ASK, "text": prompt("Write along {outline}")})
    assert ran(pattern, {"outline": "this"}).output["text"] == "Write along this"


def test_a_branch_that_lacks_a_field_is_named_before_any_call() -> None:
    """No branch is sent where another could never be."""
    model = Asked()
    error = failed(sections({"good": ASK, "bad": prompt("{title}")}), TemplateError, "q", model)
    assert "branch 'bad'" in str(error)
    assert model.requests == []


def test_one_sections_serves_many_runs_at_once() -> None:
    """A pattern keeps nothing of a run: one object runs beside itself."""
    pattern = sections({"a": prompt("a {input}"), "b": prompt("b {input}")}, merge=prompt("{a}+{b}"))

    @step
    async def thrice(given: str) -> list[Any]:
        return await asyncio.gather(*(pattern(word) for word in given.split()))

    assert ran(thrice, "x y z").output == ["a x+b x", "a y+b y", "a z+b z"]


def test_what_was_not_sent_cost_nothing() -> None:
    """A run whose branches never called is free."""
    assert ran(sections({"a": str})).cost == Cost()


def test_a_merge_that_lacks_a_field_is_refused_before_anything_is_sent() -> None:
    """A merging prompt that names what no branch and no input has fails with the name, and no call is made."""
    step = sections({"tone": prompt("{input}")}, merge=prompt("{tone} and {tonne}"))
    with pytest.raises(TemplateError, match="tonne"):
        run_virtual(in_a_session(step))


def test_a_model_that_cannot_be_ends_the_run_whatever_the_policy() -> None:
    """A missing key or unknown model is the program's mistake: no fold skips it as a failed branch."""
    step = sections({"a": prompt("{input}"), "b": prompt("{input}", model="openai:gpt-4o")}, on_error="skip")
    with pytest.raises(ModelError, match="set OPENAI_API_KEY"):
        asyncio.run(in_a_session(step))


async def in_a_session(given: Any) -> Any:
    """Run a step in a session of its own."""
    async with Session(FakeModel()):
        return await given.run("x")
