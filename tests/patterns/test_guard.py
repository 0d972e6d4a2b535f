"""Guardrails beside the answer: what gets out, and when."""

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest

from fanfold import chain, check, guard, prompt, race, retry, route, rules, sections, step, vote
from fanfold.core.clock import sleep
from fanfold.core.records import Usage
from fanfold.errors import (
    AccessError,
    BranchError,
    ConnectError,
    FanfoldError,
    ParseError,
    ReplyError,
    StatusError,
    StepTimeout,
    StreamCut,
    TemplateError,
    UsageError,
)
from fanfold.models.prices import FlatRate
from fanfold.steps.buffer import Buffer
from fanfold.steps.guard import REFUSAL
from tests.patterns.hearing import MARK, ask, asked, heard, saying
from tests.steps.running import Asked, failed, ran, taking

LONG = " ".join(f"{MARK}{at}" for at in range(30))
ANSWER = ask("answer")
HARM = ask("harm", returns=bool)
SAFE = guard(ANSWER, {"harm": HARM})

WAYS = ["text", "updates", "events", "run"]


def model(harm: tuple[float, Any] = (0.2, "YES: it asks for harm"), answer: tuple[float, Any] = (3.0, LONG)) -> Asked:
    return saying({"harm": harm, "answer": answer, "refuse": (0.1, "No, my friend, no.")}, structured=False)


# -- a check trips ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_an_answer_gets_out_when_a_check_trips(way: str) -> None:
    """A check trips after 0.2 s of a 3 s answer: the refusal in 0.3 s, not one character of the answer anywhere."""
    found = heard(SAFE, way, model())
    assert found.ended < 0.3
    assert found.run.output == REFUSAL
    assert MARK not in found.everything()
    assert [call.state for call in found.run.calls] == ["ok", "cancelled"]
    if way == "text":
        assert found.text == REFUSAL


def test_the_detail_says_what_tripped_and_what_the_answer_cost() -> None:
    """`run.detail` names the check, keeps its text, and gives the cancelled answer's cost as a range."""
    fake = model()
    fake.given_rate = FlatRate(1000.0, 1000.0)
    detail = ran(SAFE, model=fake).detail
    assert (detail.tripped, detail.said, detail.saved_seconds) == ("harm", "YES: it asks for harm", 0.0)
    assert detail.checks["harm"].seconds == pytest.approx(0.2, abs=1e-3)
    assert detail.cancelled_cost.at_least == 0
    assert detail.cancelled_cost.at_most is None or detail.cancelled_cost.at_most > 0
    with pytest.raises(TypeError):
        bool(detail)


@pytest.mark.parametrize("said", ["No, because the user only says yes.", "no", "No. Not harmful, yes it is fine"])
def test_no_because_yes_does_not_trip(said: str) -> None:
    """A check whose reply begins with no does not trip, whatever follows."""
    assert ran(SAFE, model=model((0.2, said))).output == LONG


def test_a_refusal_can_be_a_step_and_streams() -> None:
    """`otherwise` as a prompt gets the input, and its text is the guard's text."""
    pattern = guard(ANSWER, {"harm": HARM}, otherwise=ask("refuse"))
    found = heard(pattern, "text", model())
    assert [piece for _, piece in found.items] == ["No, ", "my ", "friend, ", "no."]
    assert found.items[0][0] < 0.3
    assert MARK not in found.everything()


def test_the_answers_own_error_is_not_seen_when_a_check_trips() -> None:
    """An answer that cannot be read fails before the check; its text (which the error carries) is not told."""
    pattern = guard(ask("answer", returns=int), {"harm": HARM})
    for way in WAYS:
        found = heard(pattern, way, model(answer=(0.1, f"{MARK} is no number")))
        assert found.error is None
        assert found.run.output == REFUSAL
        assert MARK not in found.everything()


def test_a_failed_call_of_a_held_answer_tells_its_kind_only() -> None:
    """The record of a call inside a held answer names the kind of its error, not its text."""
    found = heard(SAFE, "events", model(answer=(0.0, ConnectError(f"broke at {MARK}"))))
    assert found.run.output == REFUSAL
    assert MARK not in found.everything()
    assert {call.error for call in found.run.calls} == {None, "ConnectError"}


def test_the_answers_own_error_comes_once_the_checks_have_passed() -> None:
    """An answer that fails after 0.1 s fails the guard at 0.2 s, when the check has passed."""
    found = heard(guard(ask("answer", returns=int), {"harm": HARM}), "run", model((0.2, "no"), (0.1, "nothing")))
    assert isinstance(found.error, ParseError)
    assert found.ended == pytest.approx(0.2, abs=1e-3)


def test_the_other_checks_are_cancelled_when_one_trips() -> None:
    """Of two checks the first to trip ends it; the other is cancelled and not in the detail."""
    pattern = guard(ANSWER, {"slow": taking(5, outcome=False), "harm": HARM})
    detail = ran(pattern, model=model()).detail
    assert list(detail.checks) == ["harm"]


# -- the checks pass ----------------------------------------------------------------------------------------------


def test_text_begins_right_after_the_last_check() -> None:
    """Checks pass after 0.5 s: the first text comes within 50 ms of that, the rest live."""
    pattern = guard(ANSWER, {"harm": HARM, "other": taking(0.5, outcome=False)})
    found = heard(pattern, "text", model((0.3, "no")))
    times = [at for at, _ in found.items]
    assert 0.5 <= times[0] <= 0.55
    assert found.text == LONG
    assert times[-1] == pytest.approx(3.0, abs=0.01)
    late = [second - first for first, second in pairwise(times) if first > 0.51]
    assert max(late) == pytest.approx(0.1, abs=1e-3)


def test_checks_faster_than_the_answer_cost_no_time() -> None:
    """The guarded run takes as long as the bare answer, and says what running side by side saved."""
    bare = ran(ANSWER, model=model()).wall
    run = ran(SAFE, model=model((0.5, "no")))
    assert run.wall == pytest.approx(bare, rel=0.01)
    assert run.detail.tripped is None
    assert run.detail.saved_seconds == pytest.approx(0.5, abs=1e-3)


def test_an_answer_before_its_checks_waits_for_them() -> None:
    """An answer after 0.1 s is out at 0.5 s, when the check has passed, in order and whole."""
    found = heard(SAFE, "text", model((0.5, "no"), (0.1, LONG)))
    assert found.text == LONG
    assert all(at == pytest.approx(0.5, abs=1e-3) for at, _ in found.items)


def test_updates_name_the_checks_and_then_the_answer() -> None:
    """Where nothing trips, the updates have each check and the answer."""
    found = heard(SAFE, "updates", model((0.2, "no")))
    assert [item for _, item in found.items] == [("harm", False), ("answer", LONG)]


# -- checks of every kind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_error", "output"), [("trip", REFUSAL), ("pass", LONG)])
@pytest.mark.parametrize("broken", [ConnectError("down"), "neither of the two", ValueError("bug")])
def test_a_check_that_fails_trips_or_passes_as_its_terms_say(on_error: Any, output: str, broken: Any) -> None:
    """A check that errs trips by default; with ``on_error="pass"`` it lets pass; the detail keeps its error."""
    run = ran(guard(ANSWER, {"harm": check(HARM, on_error=on_error)}), model=model((0.2, broken)))
    assert run.output == output
    assert run.detail.checks["harm"].error


def test_a_check_that_fails_can_fail_the_guard() -> None:
    """With ``on_error="fail"`` it is a `BranchError` that names the check, without a word of the answer."""
    pattern = guard(ANSWER, {"harm": check(HARM, on_error="fail")})
    found = heard(pattern, "events", model((0.2, ConnectError("down"))))
    assert isinstance(found.error, BranchError)
    assert found.error.branch == "harm"
    assert MARK not in found.everything()


def test_a_fatal_error_of_a_check_ends_the_run() -> None:
    """No terms absorb a wrong key."""
    failed(guard(ANSWER, {"harm": check(HARM, on_error="pass")}), AccessError, model=model((0.2, AccessError("key"))))


def test_the_text_of_a_reply_that_is_no_verdict_is_kept() -> None:
    """Where a check trips because its reply cannot be read, `said` is that reply."""
    assert ran(SAFE, model=model((0.2, "I had rather not say"))).detail.said == "I had rather not say"


def test_a_vote_can_be_a_check() -> None:
    """A jury of three flags when two say so; it trips as soon as that is certain."""
    jury = vote([ask(name, returns=bool) for name in ("x", "y", "z")], rule=rules.at_least(2, True))
    said = {"x": (0.1, "yes"), "y": (0.2, "yes"), "z": (9.0, "no"), "answer": (3.0, LONG)}
    found = heard(guard(ANSWER, {"jury": jury}), "text", saying(said, structured=False))
    assert found.text == REFUSAL
    assert found.ended == pytest.approx(0.2, abs=1e-3)
    said["y"] = (0.2, "no")
    said["z"] = (0.3, "no")
    assert heard(guard(ANSWER, {"jury": jury}), "text", saying(said, structured=False)).text == LONG


def test_plain_functions_can_be_checks() -> None:
    """A bare function, async or not, is a check; `trips_on` says at which value."""

    async def later(text: str) -> bool:
        await sleep(0.1)
        return "bad" in text

    pattern = guard(ANSWER, {"now": lambda text: "evil" in text, "later": later, "legit": check(bool, trips_on=False)})
    assert ran(pattern, "good", model()).output == LONG
    assert ran(pattern, "evil", model()).detail.tripped == "now"
    assert ran(pattern, "bad", model()).detail.tripped == "later"
    assert ran(pattern, "", model()).detail.tripped == "legit"


def test_choices_can_trip() -> None:
    """`trips_on` is compared as ballots are: case and markdown play no part."""
    kind = ask("harm", returns=Literal["safe", "unsafe"])
    pattern = guard(ANSWER, {"kind": check(kind, trips_on="UNSAFE")})
    assert ran(pattern, model=model((0.2, "**Unsafe**."))).output == REFUSAL
    assert ran(pattern, model=model((0.2, "safe"))).output == LONG


@pytest.mark.parametrize("value", [None, "yes", 1])
def test_what_is_no_verdict_never_lets_an_answer_pass(value: Any) -> None:
    """A check that gives neither True nor False has failed, and trips by default."""
    run = ran(guard(ANSWER, {"odd": lambda _: value}), model=model())
    assert run.detail.tripped == "odd"
    assert "no verdict" in run.detail.checks["odd"].error


@dataclass
class Harm:
    """A verdict with its reason."""

    harmful: bool
    why: str


NOTHING: dict[str, Any] = {
    "no checks": lambda: guard(ANSWER, {}),
    "the answer's name": lambda: guard(ANSWER, {"answer": HARM}),
    "text, never a bool": lambda: guard(ANSWER, {"harm": ask("harm")}),
    "choices, never a bool": lambda: check(ask("harm", returns=Literal["safe", "unsafe"])),
    "not among the choices": lambda: check(ask("harm", returns=Literal["safe", "unsafe"]), trips_on="dangerous"),
    "True or False, never a word": lambda: check(HARM, trips_on="yes"),
    "True or False, never a number": lambda: check(HARM, trips_on=1),
    "a constrained text, never a bool": lambda: check(ask("harm", returns=Annotated[str, "a verdict"])),
    "a function in place of a value": lambda: check(len, trips_on=lambda size: size > 9),
    "a record, never a bool": lambda: check(ask("harm", returns=Harm)),
    "no such policy": lambda: check(HARM, on_error="skip"),
    "on nothing": lambda: check(HARM, on="output"),
    "empty windows": lambda: check(HARM, on="stream", every=0),
    "no buffer": lambda: guard(ANSWER, {"harm": HARM}, buffer=0),
}


@pytest.mark.parametrize("case", NOTHING)
def test_a_guard_that_guards_nothing_is_refused(case: str) -> None:
    """No checks, a check that can never trip, and terms that do not exist are errors before anything runs."""
    with pytest.raises(UsageError):
        NOTHING[case]()


# -- checks on the answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["function", "prompt"])
def test_a_check_on_the_answer_sees_it_whole_and_holds_it_back(form: str, way: str) -> None:
    """It starts when the answer is there and gets it; what it stops is not heard."""
    on_answer = (lambda text: MARK in text) if form == "function" else ask("judge {answer} of", returns=bool)
    pattern = guard(ANSWER, {"harm": HARM, "leak": check(on_answer, on="answer")})
    fake = saying({"harm": (0.2, "no"), "answer": (1.0, LONG), "judge": (0.5, "Yes, it leaks")}, structured=False)
    found = heard(pattern, way, fake)
    assert found.run.output == REFUSAL
    assert found.run.detail.tripped == "leak"
    assert MARK not in found.everything()
    assert found.ended == pytest.approx(1.0 if form == "function" else 1.5, abs=1e-2)
    if form == "prompt":
        assert fake.texts[-1].startswith(f"judge {LONG} of: q")


def test_a_check_on_the_answer_that_passes_lets_it_out() -> None:
    """The text comes when the check on the answer has passed."""
    fake = saying({"answer": (1.0, LONG), "judge": (0.5, "no")}, structured=False)
    found = heard(guard(ANSWER, {"leak": check(ask("judge", returns=bool), on="answer")}), "text", fake)
    assert found.text == LONG
    assert found.items[0][0] == pytest.approx(1.5, abs=1e-2)


@pytest.mark.parametrize("on", ["answer", "stream"])
@pytest.mark.parametrize("on_error", ["trip", "fail"])
def test_the_error_of_a_check_that_saw_the_answer_tells_nothing_of_it(on: Any, on_error: Any) -> None:
    """A check on the answer that raises with the answer in its message: no error text quotes it."""

    def quotes(text: str) -> bool:
        raise ValueError(text)

    for way in WAYS:
        found = heard(guard(ANSWER, {"leak": check(quotes, on=on, on_error=on_error)}), way, model(answer=(1.0, LONG)))
        assert MARK not in found.everything()
        assert isinstance(found.error, BranchError) if on_error == "fail" else found.run.output == REFUSAL


# -- checks on the stream -----------------------------------------------------------------------------------------

WORDS = " ".join(f"w{at:03}" for at in range(200))  # 5 characters a word, 999 in all


def windows(bad: str, seen: list[str], *, every: int = 100, **options: Any) -> Any:
    """A check on the stream that trips on a word and remembers what it was shown."""

    def has(window: str) -> bool:
        seen.append(window)
        return bad in window

    return check(has, on="stream", every=every, **options)


@pytest.mark.parametrize("way", WAYS)
def test_a_window_that_trips_cancels_the_answer(way: str) -> None:
    """The answer is cancelled at the window with the bad word, also when nobody reads; only checked text was heard."""
    seen: list[str] = []
    found = heard(guard(ANSWER, {"bad": windows("w050", seen)}), way, model(answer=(20.0, WORDS)))
    assert found.run.output == REFUSAL
    assert found.run.detail.tripped == "bad"
    assert found.ended == pytest.approx(6.0, abs=0.2)
    assert "w050" not in found.everything()
    assert found.run.calls[-1].state == "cancelled"
    if way == "text":
        assert found.text == WORDS[:200] + f"\n\n{REFUSAL}"


def test_text_gets_out_as_far_as_it_has_been_checked() -> None:
    """With windows of 100 characters, text comes 100 at a time; all of it comes in the end, in order."""
    seen: list[str] = []
    found = heard(guard(ANSWER, {"bad": windows("never", seen)}), "text", model(answer=(20.0, WORDS)))
    assert found.text == WORDS
    assert found.items[0][0] == pytest.approx(2.0, abs=0.01)
    assert seen[0] == WORDS[:100]
    assert seen[1] == WORDS[75:200]
    assert "".join([seen[0], *(window[25:] for window in seen[1:])]) == WORDS


def test_windows_wait_for_the_checks_on_the_input() -> None:
    """Text that has passed its window still waits for the checks on the input, and for the slowest reader."""
    pattern = guard(ANSWER, {"harm": HARM, "bad": windows("never", []), "slow": windows("never", [], every=300)})
    found = heard(pattern, "text", model((8.0, "no"), (20.0, WORDS)))
    assert found.text == WORDS
    assert found.items[0][0] == pytest.approx(8.0, abs=0.01)
    assert len([at for at, _ in found.items if at < 11.9]) == 60
    found = heard(pattern, "text", model((8.0, "yes"), (20.0, WORDS)))
    assert found.text == REFUSAL
    assert "w001" not in found.everything()


def test_an_answer_that_does_not_stream_is_checked_whole() -> None:
    """What comes in one piece is one window, before it is heard."""
    for answer in (taking(1, WORDS), retry(ANSWER), chain(ANSWER, lambda text: text)):
        seen: list[str] = []
        found = heard(guard(answer, {"bad": windows("w150", seen)}), "text", model(answer=(1.0, WORDS)))
        assert found.text == REFUSAL
        assert seen[-1] == WORDS
        assert "w001" not in found.everything()


def test_a_watched_answer_streams_inside_sections_without_being_heard() -> None:
    """A guard that is a branch is no tail: its answer is read in windows all the same, and is no text of the run."""
    pattern = sections({"a": guard(ANSWER, {"bad": windows("w050", [])}), "b": taking(1, "b")})
    found = heard(pattern, "events", model(answer=(20.0, WORDS)))
    assert found.run.output == {"a": REFUSAL, "b": "b"}
    assert found.ended == pytest.approx(6.0, abs=0.2)
    assert not [event for event in found.run.events if event.kind == "call.text"]


def test_a_prompt_reads_windows_with_what_came_before() -> None:
    """A prompt on the stream has {window}, {answer} so far and {input}."""
    fake = saying({"answer": (4.0, WORDS), "see": (0.1, "no")}, structured=False)
    judge = ask("see {window}|{answer}|", returns=bool)
    assert ran(guard(ANSWER, {"bad": check(judge, on="stream", every=500)}), model=fake).output == WORDS
    shown = [text for text in fake.texts if text.startswith("see")]
    assert shown[0].startswith(f"see {WORDS[:500]}|{WORDS[:500]}|: q")
    assert shown[1].startswith(f"see {WORDS[375:]}|{WORDS}|: q")


def test_a_reader_that_fails_and_may_holds_nothing_up() -> None:
    """With ``on_error="pass"`` a check on the stream that raises lets the text go on."""

    def broken(window: str) -> bool:
        raise ValueError("bug")

    pattern = guard(ANSWER, {"bad": check(broken, on="stream", on_error="pass")})
    found = heard(pattern, "text", model(answer=(20.0, WORDS)))
    assert found.text == WORDS
    assert found.run.detail.checks["bad"].error.startswith("FanfoldError: ValueError")


def test_a_watched_answer_that_fails_ends_its_readers() -> None:
    """Where the answer fails, the checks on its stream end with it, and the guard names the kind of its error."""

    async def breaks(_: str) -> str:
        await sleep(1)
        raise RuntimeError("broken")

    error = failed(guard(step(breaks), {"bad": windows("never", [])}), FanfoldError, model=model())
    assert str(error).startswith("the answer failed: RuntimeError (")


# -- the buffer ---------------------------------------------------------------------------------------------------


def test_an_answer_that_outgrows_the_buffer_fails() -> None:
    """More text than the buffer holds, while the checks are pending, is an error that names the remedy."""
    pattern = guard(ANSWER, {"harm": HARM}, buffer=100)
    found = heard(pattern, "text", model((2.5, "no")))
    assert isinstance(found.error, FanfoldError)
    assert "larger buffer=" in str(found.error)
    assert MARK not in found.everything()
    assert heard(pattern, "text", model((2.5, "yes"))).text == REFUSAL
    assert heard(pattern, "text", model((0.5, "no"))).text == LONG


# -- guards in patterns, and time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_guard_inside_a_route_inside_sections_holds(way: str) -> None:
    """However deep, nothing of the answer gets out; the siblings are heard."""
    pattern = sections(
        {"risky": route(lambda _: "a", {"a": SAFE}), "plain": ask("plain"), "raced": race(SAFE, taking(9))},
        merge=lambda risky, plain, raced: [risky, plain, raced],
    )
    fake = saying({"harm": (0.2, "yes"), "answer": (3.0, LONG), "plain": (0.1, "ok")}, structured=False)
    found = heard(pattern, way, fake)
    assert found.run.output == [REFUSAL, "ok", REFUSAL]
    assert MARK not in found.everything()


def test_a_guard_that_is_the_tail_of_a_route_streams() -> None:
    """The text of a guard at the end of a chain of route and guard is the pattern's text."""
    found = heard(chain(str.strip, route(lambda _: "a", {"a": SAFE})), "text", model((0.2, "no")))
    assert found.text == LONG
    assert found.items[0][0] == pytest.approx(0.2, abs=1e-2)


def test_a_guard_inside_a_guard_lets_out_when_both_have_passed() -> None:
    """The inner guard's checks pass first, the outer's later: text comes with the later."""
    pattern = guard(SAFE, {"outer": taking(1.0, outcome=False)})
    found = heard(pattern, "text", model((0.2, "no")))
    assert found.text == LONG
    assert found.items[0][0] == pytest.approx(1.0, abs=1e-2)
    assert heard(guard(SAFE, {"outer": taking(1.0, outcome=True)}), "text", model((0.2, "no"))).text == REFUSAL


def test_a_timeout_covers_the_answer_and_its_checks() -> None:
    """No safe answer in time is a `StepTimeout` that tells nothing of the answer."""
    found = heard(guard(ANSWER, {"harm": HARM}, timeout=1), "events", model((5.0, "no"), (0.5, LONG)))
    assert isinstance(found.error, StepTimeout)
    assert found.ended == pytest.approx(1.0, abs=1e-2)
    assert MARK not in found.everything()


def test_usage_passes_a_guard() -> None:
    """Tokens and times of held calls are known while their text is not."""
    found = heard(SAFE, "events", model((2.0, "yes"), (0.5, LONG)))
    ended = [event for _, event in found.items if event.kind == "call.ended"]
    assert [event.place for event in ended] == ["guard/answer", "guard/harm"]
    assert ended[0].at == pytest.approx(0.5, abs=1e-2)
    assert isinstance(ended[0].call.usage, Usage)
    assert MARK not in found.everything()


@pytest.mark.parametrize(("on_error", "output"), [("trip", REFUSAL), ("pass", WORDS)])
def test_a_check_on_the_stream_that_says_nothing_has_failed(on_error: Any, output: str) -> None:
    """None is no verdict on a window, as it is none on the input: a check that forgets to return lets nothing pass."""
    silent = check(lambda _: None, on="stream", on_error=on_error)
    found = heard(guard(ANSWER, {"silent": silent}), "text", model(answer=(1.0, WORDS)))
    assert found.run.output == output
    assert found.run.detail.checks["silent"].error


def test_an_answer_without_text_needs_no_verdict() -> None:
    """Where nothing was said, a check on the stream has nothing to judge, and passes."""
    seen: list[str] = []
    run = ran(guard(taking(1, outcome=""), {"bad": windows("never", seen)}))
    assert (run.output, run.detail.tripped, seen) == ("", None, [])


@pytest.mark.parametrize("on", ["answer", "stream"])
@pytest.mark.parametrize("way", WAYS)
def test_the_answers_own_error_quotes_nothing_that_its_checks_have_not_seen(on: Any, way: str) -> None:
    """What an answer that cannot be read said stays inside: a check on it would have tripped."""
    bad = check(lambda text: MARK in text, on=on)
    reply = model(answer=(1.0, f"{MARK} is no number"))
    found = heard(guard(ask("answer", returns=int), {"bad": bad}), way, reply)
    assert type(found.error) is FanfoldError
    assert "ParseError" in str(found.error)
    assert MARK not in found.everything()


@pytest.mark.parametrize("error", [ConnectError("down"), StepTimeout(f"late: {MARK}", seconds=1.0)])
def test_an_answer_that_was_never_given_keeps_the_kind_of_its_error(error: Any) -> None:
    """A failed call, and a time that is over, are what they are under checks on the answer, too."""
    pattern = guard(taking(1, outcome=error), {"bad": check(lambda _: True, on="answer")})
    found = heard(pattern, "run", model())
    assert isinstance(found.error, type(error))
    assert MARK not in found.everything()


@pytest.mark.parametrize("error", [StreamCut("ended early", text=MARK), ReplyError(f"no JSON: {MARK}")])
@pytest.mark.parametrize("on", ["answer", "stream"])
@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_breaks_in_its_reply_tells_nothing_of_that(on: Any, way: str, error: ReplyError) -> None:
    """What had come of a reply stands in the error of its call, and a check on the answer has not judged it."""
    pattern = guard(ANSWER, {"bad": check(lambda text: MARK in text, on=on)})
    found = heard(pattern, way, model(answer=(1.0, error)))
    assert type(found.error) is FanfoldError
    assert type(error).__name__ in str(found.error)
    assert MARK not in found.everything()


def refusing(status: int) -> Any:
    """A server that repeats a request in its refusal, as those do that check it against a schema."""
    return lambda request: StatusError(f"refused: {asked(request)}", status=status, code="invalid", body=asked(request))


@pytest.mark.parametrize("on", ["answer", "stream"])
@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_that_repeats_an_earlier_link_keeps_its_status_only(on: Any, way: str) -> None:
    """What a draft said stands in the request of the step behind it, and so in a refusal of that: not judged."""
    bad = check(lambda text: MARK in text, on=on)
    fake = saying({"answer": (1.0, LONG), "polish": (1.0, refusing(422))})
    found = heard(guard(ANSWER | ask("polish"), {"bad": bad}), way, fake)
    assert isinstance(found.error, StatusError)
    assert (found.error.status, found.error.code) == (422, "invalid")
    assert "422 invalid" in str(found.error)
    assert MARK not in found.everything()


@pytest.mark.parametrize("on", ["answer", "stream"])
@pytest.mark.parametrize("way", WAYS)
def test_a_template_names_no_fields_that_an_earlier_link_made(on: Any, way: str) -> None:
    """The fields of a record are the model's own words, too."""
    bad = check(lambda text: MARK in text, on=on)
    fake = saying({"answer": (1.0, f'{{"{MARK}": "x"}}')})
    pattern = guard(ask("answer", returns=dict[str, str]) | prompt("{lacking}"), {"bad": bad})
    found = heard(pattern, way, fake)
    assert isinstance(found.error, TemplateError)
    assert MARK not in found.everything()


def test_a_reader_with_a_fatal_error_lets_nothing_out() -> None:
    """With ``on_error="pass"`` a wrong key ends the run all the same, and what was not judged stays inside."""

    def refused(_: str) -> bool:
        raise AccessError("key")

    pattern = guard(ANSWER, {"bad": check(refused, on="stream", every=20, on_error="pass")})
    found = heard(pattern, "text", model(answer=(3.0, LONG)))
    assert isinstance(found.error, AccessError)
    assert MARK not in found.everything()


def test_the_cost_of_a_cancelled_answer_is_that_of_the_last_one() -> None:
    """A guard that a step runs twice in the same place: what the first answer had cost is not told as the second's."""
    told: list[tuple[Any, Any]] = []

    @step
    async def twice(given: str) -> None:
        for _ in range(2):
            run = await guard(ANSWER, {"no": check(lambda _: True, on="answer")}).run(given)
            told.append((run.detail.cancelled_cost, run.cost))

    fake = model()
    fake.given_rate = FlatRate(1000.0, 1000.0)
    ran(twice, model=fake)
    assert told[0] == told[1]
    assert told[1][0] == told[1][1]


@pytest.mark.parametrize("otherwise", [taking(1, outcome="no"), lambda _: "no", ask("refuse", returns=Literal["no"])])
def test_a_refusal_that_does_not_stream_follows_what_was_heard(otherwise: Any) -> None:
    """A function or a typed prompt as `otherwise`: its value is text behind the part of the answer that was heard."""
    pattern = guard(ANSWER, {"bad": windows("w050", [])}, otherwise=otherwise)
    fake = saying({"answer": (20.0, WORDS), "refuse": (0.1, "no")}, structured=False)
    found = heard(pattern, "text", fake)
    assert found.run.output == "no"
    assert found.text == WORDS[:200] + "\n\nno"


def test_a_refusal_that_streams_is_set_off_from_what_was_heard() -> None:
    """A prompt as `otherwise` streams its text, once, behind an empty line."""
    pattern = guard(ANSWER, {"bad": windows("w050", [])}, otherwise=ask("refuse"))
    found = heard(pattern, "text", model(answer=(20.0, WORDS)))
    assert found.text == WORDS[:200] + "\n\nNo, my friend, no."


def test_text_comes_out_in_the_order_in_which_it_was_said() -> None:
    """A short piece does not slip past a long one that the check has not read to its end, as in a replay."""
    out: list[str] = []
    around: Any = SimpleNamespace(run=SimpleNamespace(emit=lambda *event: out.append(event[3])), hold=None, tail=True)
    buffer = Buffer(around, 1000, ["check"])
    for piece in ("a long piece", "short", "!"):
        buffer.keep((0.0, "call.text", "run", piece, None, None))
    buffer.release()
    for upto, told in ((5, []), (11, []), (12, ["a long piece"]), (16, []), (18, ["short", "!"])):
        out.clear()
        buffer.passed("check", upto)
        assert out == told


def test_a_check_that_ends_itself_leaves_nothing_inside() -> None:
    """A check on the stream that is cancelled by something of its own, and passes so: all of the text is heard."""
    windows_left = [WORDS[:100]]

    async def gives_up(_: str) -> bool:
        if not windows_left:
            raise asyncio.CancelledError
        return not windows_left.pop()

    pattern = guard(ANSWER, {"odd": check(gives_up, on="stream", every=100, on_error="pass")})
    found = heard(pattern, "text", model(answer=(20.0, WORDS)))
    assert found.text == WORDS


def test_an_answer_that_cannot_be_written_down_has_failed() -> None:
    """A check on the stream reads an answer as text; one that makes none fails the guard, and nobody waits for more."""
    pattern = guard(taking(1, outcome={"half": "\ud800"}), {"bad": windows("never", [])})
    assert "UnicodeEncodeError" in str(failed(pattern, FanfoldError))
