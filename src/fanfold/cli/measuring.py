"""What `fanfold demo` runs: the main job on real recorded answers, through real HTTP.

Votes of five by one model against single calls, and a panel of five models against each of them. The single calls
are counted over a full pass with the same draws and no early stop, so both sides saw the same answers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from fanfold import rules
from fanfold.cli.figures import Answered, Gain, Pass, Row, gain_of, single_row, vote_row
from fanfold.core.clock import now
from fanfold.core.records import Usage
from fanfold.models import recordings
from fanfold.models.openai import OpenAI
from fanfold.models.prices import MILLION
from fanfold.models.recorded import recorded_rate
from fanfold.runs.run import Run
from fanfold.session import Session
from fanfold.steps.gather import gather
from fanfold.steps.prompt import prompt
from fanfold.steps.step import Step
from fanfold.steps.vote import vote

VOTER = "gpt-35-turbo"
VOTES = 5
FIRST = 3
PANEL = (
    "claude-3-opus-20240229",
    "cohere-command-r-plus",
    "gemini-1.5-pro-preview-0409",
    "gpt-4",
    "mistral-large",
)
"""The largest recorded model of each vendor, chosen by that and not by how it did."""

QUESTION = 'Answer the question. Think first, then end with your choice, as in: Answer("A")\n\n{input}'

TOGETHER = 64
"""Calls on the wire at once."""


class Progress(msgspec.Struct):
    """How far a pass is, for the screen; `things` is what it asks about."""

    title: str
    total: int
    done: int = 0
    right: int = 0
    sent: int = 0
    saved: int = 0
    things: str = "questions"


class Done(Protocol):
    """One thing of a pass: the run that it took, and whether what came out was right."""

    @property
    def run(self) -> Run[Any]:
        """The run."""
        ...

    @property
    def right(self) -> bool:
        """Whether it was right."""
        ...


T = TypeVar("T")
D = TypeVar("D", bound=Done)

Tell = Callable[[Progress], None]


class Measured(msgspec.Struct, frozen=True):
    """What the demo found. `same_winners` counts the votes in which the early decision gave the full pass's winner."""

    rows: Sequence[Row]
    gains: Sequence[Gain]
    same_winners: int
    questions: int
    panel_questions: int
    example: Answered
    seconds: float


class Passes(msgspec.Struct, frozen=True):
    """All passes: votes with an early stop, with three asked first, without a stop; the panel with and without."""

    early: Pass
    waves: Pass
    full: Pass
    panel: Pass
    heard: Pass


async def measure(url: str, tell: Tell, *, every: int = 1) -> Measured:
    """Run all passes against the recorded server at `url`; with `every`, on each `every`-th question only."""
    began = now()
    passes = await run_passes(url, tell, every=every)
    early, full, heard = passes.early, passes.full, passes.heard
    same = sum(a.run.output == b.run.output for a, b in zip(early.answers, full.answers, strict=True))
    asked, joint = len(full.answers), len(heard.answers)
    seconds = now() - began
    return Measured(rows_of(passes), gains_of(passes), same, asked, joint, _example(early), seconds)


async def run_passes(url: str, tell: Tell, *, every: int = 1) -> Passes:
    """Ask all that is asked, one pass after the other, so that each has the server for itself."""
    solo = recordings.recordings("samples")[::every]
    joint = recordings.recordings("panel")[::every]
    async with Session(max_in_flight=TOGETHER):
        return Passes(
            early=await ask_questions(f"vote of {VOTES}", solo, lambda r: _vote_step(url, r), tell),
            waves=await ask_questions(
                f"vote of {FIRST} to {VOTES}", solo, lambda r: _vote_step(url, r, wave=FIRST), tell
            ),
            full=await ask_questions(f"all {VOTES} heard", solo, lambda r: _vote_step(url, r, stop=False), tell),
            panel=await ask_questions(f"panel of {len(PANEL)}", joint, lambda r: panel_step(url, r), tell),
            heard=await ask_questions("panel, all heard", joint, lambda r: panel_step(url, r, stop=False), tell),
        )


def rows_of(passes: Passes) -> list[Row]:
    """The table: single calls and votes of one model, then single calls of the panel's models and the panel."""
    votes = f"One model, {len(passes.full.answers)} questions"
    panel = f"{len(PANEL)} models, {len(passes.heard.answers)} questions"
    return [
        single_row(passes.full, VOTER, votes, None, VOTES),
        vote_row(passes.early, votes),
        vote_row(passes.waves, votes),
        *(single_row(passes.heard, model, panel, model) for model in PANEL),
        vote_row(passes.panel, panel),
    ]


def gains_of(passes: Passes) -> list[Gain]:
    """Every way of voting against single calls: of the same model, and of each of the panel's."""
    votes = [gain_of(voted, passes.full, VOTER, None) for voted in (passes.early, passes.waves)]
    return votes + [gain_of(passes.panel, passes.heard, model, model) for model in PANEL]


async def ask_all(
    progress: Progress, asked: Sequence[T], answer: Callable[[T], Awaitable[D]], tell: Tell
) -> Sequence[D]:
    """Ask about all things at the same time; the session's slots say how many calls are on the wire at once."""
    tell(progress)

    async def count(thing: T) -> D:
        one = await answer(thing)
        progress.done += 1
        progress.right += one.right
        progress.sent += one.run.times_one_call
        progress.saved += one.run.saved.calls
        tell(progress)
        return one

    return await gather(*map(count, asked))


async def ask_questions(
    title: str,
    asked: Sequence[recordings.Recording],
    make: Callable[[recordings.Recording], Step[Any, Any]],
    tell: Tell,
) -> Pass:
    """One pass over exam questions, by the way of voting that `make` makes for each."""
    began = now()

    async def answer(recording: recordings.Recording) -> Answered:
        return Answered(recording, await make(recording).run(recording.question))

    answers = await ask_all(Progress(title, len(asked)), asked, answer, tell)
    return Pass(title, answers, now() - began)


def _vote_step(url: str, recording: recordings.Recording, *, stop: bool = True, wave: int | None = None) -> Any:
    asked = _ask(url, recording, VOTER)
    return vote(asked, VOTES, stop=rules.decided() if stop else None, wave=wave, name="vote")


def panel_step(
    url: str, recording: recordings.Recording, members: Sequence[str] = PANEL, *, stop: bool = True
) -> Step[Any, Any]:
    """One question to several models, each asked once; without `stop` all are heard."""
    jury = {model: _ask(url, recording, model) for model in members}
    return vote(jury, stop=rules.decided() if stop else None, name="panel")


def _ask(url: str, recording: recordings.Recording, model: str) -> Step[Any, Any]:
    served = OpenAI(name=model, base_url=url, price=_list_price(model), structured=False)
    return prompt(QUESTION, returns=_choices(recording), model=served, name=model)


def _choices(recording: recordings.Recording) -> Any:
    """The answers a question offers: most have A to D or E, some 1 to 4."""
    labels = re.findall(r"^ *([A-Z0-9]):", recording.question.partition("Choices:")[2], re.MULTILINE)
    return Literal[tuple(labels)]


@functools.cache
def _list_price(model: str) -> tuple[float, float] | None:
    """USD per million tokens in and out, as the vendor lists it."""
    rate = recorded_rate(model)
    return None if rate is None else (rate.price(Usage(MILLION, 0)), rate.price(Usage(0, MILLION)))


def _example(voted: Pass) -> Answered:
    """The first vote that the voters did not agree on and that ended early, else the first that they disagreed on."""
    torn = [one for one in voted.answers if len(one.detail.tally) > 1] or list(voted.answers)
    return next((one for one in torn if one.detail.outstanding), torn[0])
