"""Gates: what does not pass goes no further; and retrying what raises."""

import asyncio
from typing import Any, Literal

import pytest

from fanfold import chain, gate, retry, sections, step, vote
from fanfold.core.clock import sleep
from fanfold.core.records import Request
from fanfold.errors import AccessError, ConnectError, GateError, StepTimeout, UsageError
from fanfold.steps.gate import Gated
from tests.patterns.hearing import ask, asked, heard, saying
from tests.steps.running import Asked, failed, ran, taking

WRITE = ask("write")
GOOD = ask("good? {input} for {original} |", returns=bool)


def drafts(*texts: str) -> Any:
    """A function from the request to the next draft, by how often it has been told to answer again."""
    return lambda request: texts[sum(message.role == "assistant" for message in request.messages)]


def model(verdicts: dict[str, str], *texts: str) -> Asked:
    """A writer of drafts, and a judge who says something of each."""

    def judged(request: Request) -> str:
        text = asked(request)
        return next(said for draft, said in verdicts.items() if f"? {draft} for" in text)

    def answer(request: Request) -> str:
        return judged(request) if asked(request).startswith("good?") else drafts(*texts)(request)

    return Asked(answer, structured=False)


# -- gates --------------------------------------------------------------------------------------------------------


def test_what_passes_goes_on() -> None:
    """An answer that passes is the output; the check saw it as {input} and the question as {original}."""
    fake = model({"fine": "yes"}, "fine")
    run = ran(WRITE | gate(GOOD), "a poem", fake)
    assert run.output == "fine"
    assert run.detail == Gated(passed=True, tries=1, reasons=())
    assert fake.texts[1].startswith("good? fine for a poem |")


def test_a_prompt_is_asked_again_with_the_reason() -> None:
    """What does not pass is asked for again: the model sees its last answer and the check's reason as messages."""
    fake = model({"bad": "No, it does not rhyme.", "fine": "Yes."}, "bad", "fine")
    run = ran(WRITE | gate(GOOD, retries=2) | str.upper, "a poem", fake)
    assert run.output == "FINE"
    again = fake.requests[2].messages
    assert [message.role for message in again] == ["user", "assistant", "user"]
    assert [message.content for message in again] == [
        "write: a poem",
        "bad",
        "That was not accepted: No, it does not rhyme.\n\nAnswer again, better.",
    ]


def test_the_reason_and_the_answer_are_no_templates() -> None:
    """Braces in an answer or a reason stay what they are."""
    fake = model({"{x} {input}": "No, because of {y}.", "fine": "yes"}, "{x} {input}", "fine")
    assert ran(WRITE | gate(GOOD, retries=1), "q", fake).output == "fine"
    assert fake.requests[2].messages[1].content == "{x} {input}"
    assert "because of {y}." in str(fake.requests[2].messages[2].content)


@pytest.mark.parametrize("said", ["no", "No.", '{"answer": false}'])
def test_a_bare_no_is_no_reason(said: str) -> None:
    """A check that only says no gives no reason, and its JSON is not shown to the writer."""
    fake = model({"bad": said, "fine": "yes"}, "bad", "fine")
    assert ran(WRITE | gate(GOOD, retries=1), "q", fake).detail.reasons == ("",)
    assert fake.requests[2].messages[2].content == "That was not accepted. Answer again, better."


def test_no_because_yes_does_not_pass() -> None:
    """A check whose reply begins with no refuses, whatever follows."""
    error = failed(WRITE | gate(GOOD), GateError, model=model({"bad": "No, because it only says yes."}, "bad"))
    assert error.reasons == ("No, because it only says yes.",)


def test_what_never_passes_is_a_gate_error() -> None:
    """It carries the last value and every reason, and how often it was tried."""
    fake = model({"bad": "No, too long.", "worse": "No, too short."}, "bad", "worse")
    error = failed(WRITE | gate(GOOD, retries=1), GateError, model=fake)
    assert error.value == "worse"
    assert error.reasons == ("No, too long.", "No, too short.")
    assert "in 2 tries: No, too long.; No, too short." in str(error)


def test_what_never_passes_can_take_another_way() -> None:
    """`otherwise` gets the last answer, and gives the output; its text is the gate's."""
    fake = saying({"write": (0.1, "bad"), "That": (0.1, "bad"), "other": (0.2, "the other way")})
    pattern = WRITE | gate(lambda _: False, otherwise=ask("other"), retries=1)
    run = ran(pattern, model=fake)
    assert run.output == "the other way"
    assert run.detail == Gated(passed=False, tries=2, reasons=("", ""))
    assert fake.texts[-1] == "other: bad"
    assert [piece for _, piece in heard(pattern, "text", fake).items] == ["the ", "other ", "way"]


def test_functions_check_and_may_give_a_reason() -> None:
    """A function gives a bool, or (False, reason), which the prompt is told."""
    fake = model({}, "x" * 20, "short")
    run = ran(WRITE | gate(lambda text: (len(text) < 10, f"{len(text)} letters"), retries=1), "q", fake)
    assert run.output == "short"
    assert run.detail.reasons == ("20 letters",)
    assert fake.requests[1].messages[2].content.startswith("That was not accepted: 20 letters")


def test_a_check_that_gives_no_verdict_is_an_error() -> None:
    """Neither True nor False is a mistake in the program, and passes nothing."""
    failed(WRITE | gate(lambda text: text), UsageError, model=model({}, "truthy"))


def test_nothing_of_an_answer_is_heard_before_it_passed() -> None:
    """A gated step's text comes whole, once it has passed."""
    fake = model({"bad draft": "No, worse than bad.", "fine text": "yes"}, "bad draft", "fine text")
    found = heard(WRITE | gate(GOOD, retries=1), "text", fake)
    assert found.text == "fine text"


def test_each_branch_has_its_own_gate() -> None:
    """On branches of sections each gate asks only its own step again."""
    branches = {name: ask(name) | gate(lambda text: (text != "bad", f"{text}!"), retries=1) for name in ("a", "b")}
    fake = saying({"a": (0.1, "good"), "b": (0.1, "bad"), "That": (0.1, "better")})
    assert ran(sections(branches), model=fake).output == {"a": "good", "b": "better"}
    assert len(fake.requests) == 3


def test_a_step_that_is_no_prompt_just_runs_again_with_new_samples() -> None:
    """A vote behind a gate runs again; its calls are new draws."""
    fake = Asked(["bad", "bad", "bad", "good", "good", "good"])
    run = ran(vote(WRITE, n=3, stop=None) | gate(lambda text: text == "good", retries=1), model=fake)
    assert run.output == "good"
    assert sorted(request.draw.ordinal for request in fake.requests) == [0, 1, 2, 3, 4, 5]


def test_a_gate_alone_passes_or_refuses_its_input() -> None:
    """Without a step before it there is nobody to ask again: retries= is refused, and the input judged."""
    short = gate(lambda text: len(text) < 3, otherwise=lambda text: text[:3])
    assert ran(short, "ab").output == "ab"
    assert ran(short, "abcdef").output == "abc"
    assert failed(gate(lambda text: (False, "why")), GateError).reasons == ("why",)
    failed(gate(lambda text: True, retries=1), UsageError)
    with pytest.raises(UsageError):
        gate(bool, retries=-1)


def test_gates_stand_between_steps() -> None:
    """A gate asks the link before it again, and no other."""
    fake = saying({"outline": (0, "an outline"), "write": (0, "bad"), "That": (0, "good")})
    pattern = ask("outline") | WRITE | gate(lambda text: text == "good", retries=3) | str.title
    assert ran(pattern, model=fake).output == "Good"
    assert [text.partition(":")[0] for text in fake.texts] == [
        "outline",
        "write",
        "That was not accepted. Answer again, better.",
    ]


def test_two_gates_behind_each_other_both_hold() -> None:
    """The second gate runs the first with its step again."""
    fake = model({}, "a", "bb", "a", "bb")
    pattern = WRITE | gate(lambda text: len(text) == 2, retries=1) | gate(lambda text: text == "bb")
    assert ran(pattern, model=fake).output == "bb"


def test_gated_prompts_keep_their_choices() -> None:
    """A gate does not change what a step may say, so ties still go by declared order."""
    from typing import Literal

    label = ask("label", returns=Literal["b", "a"])
    assert (label | gate(lambda _: True)).links[0].choices == ("b", "a")


# -- retrying -----------------------------------------------------------------------------------------------------


def test_a_step_that_raises_runs_again_with_a_new_draw() -> None:
    """Each try is a new sample of the same request: the ordinals differ."""

    def answer(request: Request) -> Any:
        return "here" if request.draw.ordinal == 2 else ConnectError("down")

    fake = Asked(answer)
    assert ran(retry(WRITE, retries=2), model=fake).output == "here"
    assert [request.draw.ordinal for request in fake.requests] == [0, 1, 2]
    assert len({request.key() for request in fake.requests}) == 1


def test_the_last_error_is_raised_when_the_tries_are_used_up() -> None:
    """Two retries are three tries."""
    fake = Asked(lambda request: ConnectError(f"down {request.draw.ordinal}"))
    assert str(failed(retry(WRITE, retries=2), ConnectError, model=fake)) == "down 2"
    assert len(fake.requests) == 3
    with pytest.raises(UsageError):
        retry(WRITE, retries=-1)


def test_fatal_errors_and_the_programs_own_are_not_retried() -> None:
    """A wrong key ends the run at the first try; so does a mistake in the program."""
    fake = Asked(lambda _: AccessError("key"))
    failed(retry(WRITE, retries=5), AccessError, model=fake)
    failed(retry(vote(WRITE, n=3), retries=5), AccessError, model=fake)
    assert len(fake.requests) <= 4
    tries: list[int] = []

    def wrong(_: str) -> str:
        tries.append(1)
        raise UsageError("wrong")

    async def grouped(_: str) -> None:
        tries.append(2)
        async with asyncio.TaskGroup() as group:
            group.create_task(taking(1, AccessError("key"))("q"))

    failed(retry(wrong, retries=5), UsageError)
    failed(retry(grouped, retries=5), ExceptionGroup)
    assert tries == [1, 2]


def test_only_what_is_asked_for_is_retried() -> None:
    """With `on`, other errors are raised at once."""
    fake = Asked(lambda _: ConnectError("down"))
    failed(retry(WRITE, retries=5, on=StepTimeout), ConnectError, model=fake)
    assert len(fake.requests) == 1
    failed(retry(WRITE, retries=1, on=(StepTimeout, ConnectError)), ConnectError, model=fake)
    assert len(fake.requests) == 3


def test_a_retrys_timeout_covers_all_tries() -> None:
    """Three tries of 0.4 s do not fit into one second."""

    @step
    async def slow(_: str) -> str:
        await sleep(0.4)
        raise ValueError("no")

    error = failed(retry(slow, retries=5, timeout=1), StepTimeout)
    assert error.run.wall == pytest.approx(1.0, abs=1e-2)
    assert ran(chain(retry(taking(0.1, "ok"), timeout=1), str.upper)).output == "OK"


@pytest.mark.parametrize("kind", [BaseException, KeyboardInterrupt, "ValueError", [ValueError]])
def test_a_retry_catches_exceptions_only(kind: Any) -> None:
    """One that caught cancellations would outlive the fan that cancels it."""
    with pytest.raises(UsageError, match="a kind of Exception"):
        retry(WRITE, on=kind)


def test_what_the_other_way_gives_may_win() -> None:
    """Behind a gate with another way, the choices of the step before it bind nobody."""
    choosing = ask("pick", returns=Literal["a", "b"])
    assert (choosing | gate(lambda _: False)).choices == ("a", "b")
    other = choosing | gate(lambda _: False, otherwise=lambda _: "neither")
    run = ran(vote(other, 3), model=saying({"pick": (0.0, "a")}, structured=False))
    assert (run.output, run.detail.abstained) == ("neither", 0)


def test_no_reason_is_no_reason() -> None:
    """A check that gives ``(False, None)`` has none to tell: neither the prompt nor the error hears of a "None"."""
    fake = Asked(drafts("first", "second"))
    error = failed(WRITE | gate(lambda _: (False, None), retries=1), GateError, model=fake)
    assert error.reasons == ("", "")
    assert "no reason given" in str(error)
    assert fake.texts[-1] == "That was not accepted. Answer again, better."
