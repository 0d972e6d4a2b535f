"""The live screen: what it makes of a run's events, with and without a terminal."""

import io
import re
from asyncio import CancelledError
from typing import Literal

import pytest
from rich.console import Console

from fanfold import Session, prompt, sections, step, vote
from fanfold.core.clock import sleep
from fanfold.core.records import Call, Cost, Draw, Event, Usage
from fanfold.errors import ModelError
from fanfold.folds.ballots import Said
from fanfold.runs.console import LONGEST, LineScreen, LiveScreen, Progress, Screen, screen_for
from fanfold.testing import FakeModel, run_virtual


class Tty(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def event(kind: str, place: str = "vote", at: float = 0.0, **more: object) -> Event:
    """An event of a run."""
    return Event(0, at, kind, place, **more)


def call(state: str, place: str, *, sent: float | None = 0.0, made_up: bool = False) -> Call:
    """A call of five tokens that cost a tenth of a cent."""
    usage, cost = (Usage(3, 2), Cost(0.001, 0.001)) if state == "ok" else (None, Cost())
    return Call(0, place, "m:m", Draw(), state, 0.0, sent, None, 1.0, usage, cost, None, made_up)


def followed(*events: Event) -> Progress:
    """What a run looks like after these."""
    progress = Progress()
    for one in events:
        progress.take(one)
    return progress


def row(progress: Progress, name: str) -> tuple[str, int, int, str]:
    """State, calls, tokens and answer of a row."""
    found = progress.rows[name]
    return found.state, found.calls, found.tokens, found.value


# -- rows -------------------------------------------------------------------------------------------------------


def test_a_branch_on_its_way() -> None:
    """A branch waits for a slot, runs, and is done; its calls and tokens are counted."""
    progress = followed(event("run.started", value="vote"), event("branch.started", "vote/0", 0.1))
    assert row(progress, "0") == ("running", 0, 0, "")
    progress.take(event("call.queued", "vote/0", call=call("queued", "vote/0", sent=None)))
    assert row(progress, "0") == ("queued", 0, 0, "")
    progress.take(event("call.sent", "vote/0", call=call("sent", "vote/0")))
    assert row(progress, "0") == ("running", 0, 0, "")
    assert progress.footer(0.5) == "calls: 1 running · 0.5 s"
    progress.take(event("call.ended", "vote/0", call=call("ok", "vote/0")))
    ended = progress.take(event("branch.ended", "vote/0", 1.5, value=Said("spam", "It is **spam**.")))
    assert ended is progress.rows["0"]
    assert (ended.since, ended.until) == (0.1, 1.5)
    assert row(progress, "0") == ("done", 1, 5, "spam")
    assert progress.footer(1.5) == "tally: spam 1 · calls: 1 ok · 3 + 2 tokens · cost $0.001000 · 1.5 s"


def test_how_a_branch_may_end() -> None:
    """Failed, late and cancelled are states of their own; only folded ballots are in the tally."""
    progress = followed(
        event("run.started", value="vote"),
        *(event("branch.started", f"vote/{name}") for name in "abcd"),
        event("branch.ended", "vote/a", error=ValueError("no luck")),
        event("branch.late", "vote/b", value=Said("ham")),
        event("branch.cancelled", "vote/c"),
        event("branch.ended", "vote/d", value=Said("spam")),
        event("run.ended", "vote", 2.0),
    )
    states = {name: (found.state, found.value) for name, found in progress.rows.items()}
    assert states == {"a": ("failed", "no luck"), "b": ("late", "ham"), "c": ("cancelled", ""), "d": ("done", "spam")}
    assert progress.tally == {"spam": 1}
    assert progress.ended == 2.0


def test_how_a_step_may_end() -> None:
    """A chain's link that was cut off by Ctrl-C has not failed; a branch that gave itself up has."""
    progress = followed(
        event("run.started", "chain", value="chain"),
        *(event("step.started", f"chain/{name}") for name in "ab"),
        event("step.ended", "chain/a", error=CancelledError()),
        event("step.ended", "chain/b", error=ValueError("no luck")),
        event("branch.started", "chain/c"),
        event("branch.ended", "chain/c", error=CancelledError()),
    )
    assert [found.state for found in progress.rows.values()] == ["cancelled", "failed", "failed"]


def test_nothing_runs_on_in_a_run_that_is_over() -> None:
    """A guarded answer that was there when a check tripped never says its end: it is held, as in the timeline."""
    progress = followed(
        event("run.started", "guard", value="guard"),
        event("branch.started", "guard/answer", 0.5),
        event("branch.started", "guard/harm", 0.5),
        event("branch.ended", "guard/harm", 1.0, value=True),
        event("run.ended", "guard", 1.5, value="No."),
    )
    assert row(progress, "answer") == ("held", 0, 0, "")
    assert progress.rows["answer"].until == 1.5
    assert row(progress, "harm")[0] == "done"


def test_what_is_deeper_counts_for_its_branch() -> None:
    """Calls and branches inside a branch have no row of their own; a call outside any counts for the run alone."""
    progress = followed(
        event("run.started", "report", value="sections"),
        event("branch.started", "report/a"),
        event("branch.started", "report/a/deep"),
        event("step.started", "report/a/deep/step"),
        event("call.queued", call=call("queued", "report/a/deep", sent=None)),
        event("call.sent", call=call("sent", "report/a/deep")),
        event("call.ended", call=call("ok", "report/a/deep")),
        event("branch.ended", "report/a/deep", value="x"),
        event("call.queued", call=call("queued", "report", sent=None)),
        event("call.sent", call=call("sent", "report")),
        event("call.ended", call=call("ok", "report")),
    )
    assert list(progress.rows) == ["a"]
    assert row(progress, "a") == ("running", 1, 5, "")
    assert progress.calls["ok"] == 2
    assert progress.title == "sections report"
    assert not progress.tally, "only a vote has one"


def test_a_step_that_runs_again() -> None:
    """A step that comes a second time in the same place runs again, and its row says so."""
    progress = followed(
        event("step.started", "chain/prompt", 0.0),
        event("step.ended", "chain/prompt", 1.0, value="first"),
        event("step.started", "chain/prompt", 2.0),
    )
    assert row(progress, "prompt")[0] == "running"
    progress.take(event("step.ended", "chain/prompt", 3.0, value="second"))
    assert (progress.rows["prompt"].since, progress.rows["prompt"].value) == (2.0, "second")


def test_a_call_that_was_never_sent() -> None:
    """A call that was cancelled while it waited leaves nothing behind."""
    progress = followed(
        event("branch.started", "vote/0"),
        event("call.queued", call=call("queued", "vote/0", sent=None)),
        event("call.ended", call=call("unsent", "vote/0", sent=None)),
    )
    assert progress.footer(0.0) == "calls: 1 unsent · cost $0.000000 · 0.0 s"
    assert (progress.rows["0"].queued, progress.rows["0"].flying) == (0, 0)


def test_what_is_made_up_says_so() -> None:
    """Where a fake model answered there is no cost."""
    progress = followed(
        event("call.sent", call=call("sent", "p")), event("call.ended", call=call("ok", "p", made_up=True))
    )
    assert "made up" in progress.footer(0.0)
    assert "cost" not in progress.footer(0.0)


def test_what_was_paid_beside_what_is_made_up() -> None:
    """One call of two was answered by a fake model: the other is paid all the same."""
    progress = followed(
        *(event("call.sent", call=call("sent", "p")) for _ in range(2)),
        event("call.ended", call=call("ok", "p", made_up=True)),
        event("call.ended", call=call("ok", "p")),
    )
    assert "cost $0.002000 + made up" in progress.footer(0.0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("  two\n lines ", "two lines"),
        ("\x1b[2Jgone\x07", "[2Jgone"),
        ("x" * 200, "x" * (LONGEST - 1) + "…"),
        (None, ""),
        (True, "True"),
        ("Grüße, 世界", "Grüße, 世界"),
    ],
)
def test_answers_are_one_short_line(value: object, shown: str) -> None:
    """An answer cannot move the cursor, and takes one line."""
    progress = followed(event("branch.started", "vote/0"), event("branch.ended", "vote/0", value=value))
    assert progress.rows["0"].value == shown


def test_those_that_go_on_are_shown_first() -> None:
    """Of more rows than there is room for, those that run are shown, in their order; the rest is counted."""
    progress = followed(
        *(event("branch.started", f"s/{at}") for at in range(6)),
        *(event("branch.ended", f"s/{at}", value="x") for at in (0, 1, 4)),
    )
    shown = progress.shown(4)
    assert [one.name for one in shown] == ["0", "2", "3", "5"]
    assert progress.others(shown) == ["… 2 more: 2 done"]
    assert progress.others(progress.shown(6)) == []


def test_a_name_with_a_slash() -> None:
    """A voter called like a model with a slash in it is shown as it is called."""
    progress = followed(event("branch.started", "vote/openrouter:meta%2Fllama"))
    assert [found.name for found in progress.rows.values()] == ["openrouter:meta/llama"]


# -- screens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"), [("\x1b[2Ja\r\nb", "[2Ja b"), ("[red]a", "[red]a"), ("[/a]", "[/a]"), ("a\ud800b", "a b")]
)
def test_a_name_moves_no_cursor_and_is_no_markup(name: str, shown: str) -> None:
    """A name may come from data: it is one line, as it is written, in a table, its title, and a plain line."""
    place = name.replace("/", "%2F")
    events = [
        event("run.started", place, value="sections"),
        event("branch.started", f"{place}/{place}"),
        event("branch.ended", f"{place}/{place}", value=1),
    ]
    lines, tty = io.StringIO(), Tty()
    plain, live = LineScreen(lines), LiveScreen(tty)
    for one in events:
        plain.on_event(one)
        live.on_event(one)
    assert lines.getvalue() == f"done      {shown} (0.00 s): 1\n"
    Console(file=tty, width=80, height=30).print(live)
    assert tty.getvalue().splitlines()[0].strip() == f"sections {shown}"
    assert f"│ {shown} │" in re.sub(" +", " ", tty.getvalue())


def test_the_screen_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """None when quiet, live on a terminal that can redraw, else lines."""
    monkeypatch.setenv("TERM", "xterm")
    assert type(screen_for(Tty(), quiet=True)) is Screen
    assert type(screen_for(Tty(), quiet=False)) is LiveScreen
    assert type(screen_for(io.StringIO(), quiet=False)) is LineScreen
    monkeypatch.setenv("TERM", "dumb")
    assert type(screen_for(Tty(), quiet=False)) is LineScreen


def test_no_screen_takes_everything() -> None:
    """A quiet run's screen is one like the others."""
    with Screen() as screen:
        screen.on_event(event("run.started", value="vote"))


def test_lines_of_a_run() -> None:
    """Without a terminal every branch that ends is a line: state, name, seconds, answer."""
    out = io.StringIO()
    model = FakeModel(["spam", "ham", "spam"], latency=lambda request: 1.0 + request.draw.ordinal)
    spam = vote(prompt("{input}", returns=Literal["spam", "ham"], model=model), 5)

    async def run() -> None:
        with LineScreen(out) as screen:
            async with Session(on_event=screen.on_event) as session:
                await spam.run("x", session=session)

    run_virtual(run())
    lines = re.sub(r"\(\d\.\d\d s\)", "(… s)", out.getvalue()).splitlines()
    assert lines == [
        "done      0 (… s): spam",
        "done      1 (… s): ham",
        "done      2 (… s): spam",
        "done      3 (… s): spam",
        "cancelled 4 (… s)",
    ]


def test_a_mistake_is_not_told_by_each_branch() -> None:
    """What the program got wrong is one line at the end, which the command writes, and none for each branch."""
    out = io.StringIO()
    screen = LineScreen(out)
    for name in "ab":
        screen.on_event(event("branch.started", f"vote/{name}"))
        screen.on_event(event("branch.ended", f"vote/{name}", error=ModelError("no key")))
    screen.on_event(event("branch.started", "vote/c"))
    screen.on_event(event("branch.ended", "vote/c", error=OSError("no luck")))
    assert out.getvalue() == "failed    c (0.00 s): no luck\n"


def drawn(screen: LiveScreen, *, width: int = 80, height: int = 24) -> list[str]:
    """The lines of a screen now."""
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(screen)
    return console.file.getvalue().splitlines()


def test_a_live_run() -> None:
    """On a terminal there are branches, states, seconds, calls, tokens and answers, and a footer with the rest."""
    pictures: list[list[str]] = []
    model = FakeModel(["spam", "ham", "spam"], latency=lambda request: 1.0 + request.draw.ordinal)
    spam = vote(prompt("{input}", returns=Literal["spam", "ham"], model=model), 5, name="is spam?")

    @step
    async def watched(text: str) -> None:
        await sleep(2.5)
        pictures.append(drawn(screen))

    main = sections({"vote": spam, "watch": watched})

    async def run() -> None:
        async with Session(on_event=screen.on_event) as session:
            await main.run("x", session=session)

    screen = LiveScreen(Tty())
    run_virtual(run())
    (early,) = pictures
    assert early[0].strip() == "sections"
    assert [cell.strip() for cell in early[4].split("│")[1:4]] == ["vote", "running", "2.5"]
    calls, tokens, answer = (cell.strip() for cell in early[4].split("│")[4:7])
    assert (calls, int(tokens) > 0, answer) == ("2", True, "")
    assert early[-1].startswith("calls: 2 ok, 3 running · ")
    assert early[-1].endswith(" · made up · 2.5 s")
    late = drawn(screen)
    assert "done" in late[4]
    assert late[-1].startswith("calls: 1 cancelled, 4 ok · ")


def test_nothing_wraps_on_a_narrow_terminal() -> None:
    """Names and answers are cut, so that a row stays one line and the table does not jump."""
    screen = LiveScreen(Tty())
    for at in range(30):
        place = f"sections/a branch with a rather long name, number {at}"
        screen.on_event(event("branch.started", place))
        screen.on_event(event("branch.ended", place, value="an answer that goes on and on " * 9))
    lines = drawn(screen, width=60, height=16)
    assert all(len(line) <= 60 for line in lines)
    assert len(lines) <= 16
    assert sum(line.startswith("│") for line in lines) == 8
    assert lines[-2] == "… 22 more: 22 done"


def test_the_screen_comes_and_goes() -> None:
    """It hides the cursor while it is there, and gives it back, even when the run fails."""
    out = Tty()
    with pytest.raises(KeyboardInterrupt), LiveScreen(out):
        raise KeyboardInterrupt
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")
