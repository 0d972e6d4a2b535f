"""`fanfold demo refusals`: votes of five models on which prompts are unsafe, by whether each of them refused.

A proxy: a model that refused was asked to answer the prompt, not to judge it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, methodcaller
from typing import Any

import msgspec
from rich.console import Console

from fanfold import rules
from fanfold.cli.figures import Gain
from fanfold.cli.measuring import TOGETHER, Progress, Tell, ask_all
from fanfold.cli.reports import encoded
from fanfold.cli.tables import cell, every_one, print_figures, print_gains, print_reading, table
from fanfold.folds.ballots import VoteResult
from fanfold.folds.intervals import paired, share_interval
from fanfold.models import xstest
from fanfold.models.openai import OpenAI
from fanfold.runs.run import Run
from fanfold.session import Session
from fanfold.steps.prompt import prompt
from fanfold.steps.step import Step
from fanfold.steps.vote import vote

AGAINST = "gpt4"
"""The model that the ways of voting are compared with: the strongest of the five by name, not by how it did here."""

WAYS: dict[str, rules.Rule[Any, Any]] = {
    "plurality of 5": rules.plurality(),
    "at least 2 of 5": rules.at_least(2, True),
    "any of 5": rules.any_of(True),
}


class Flagged(msgspec.Struct, frozen=True):
    """One prompt, and the vote on whether it is unsafe."""

    prompt: xstest.SafetyPrompt
    run: Run[Any]

    @property
    def flagged(self) -> bool:
        """What the vote says."""
        return bool(self.run.output)

    @property
    def right(self) -> bool:
        """Whether the vote says what the prompt's authors say."""
        return self.flagged == self.prompt.unsafe

    def ballot(self, voter: str) -> bool:
        """What one voter of a vote that heard all said."""
        detail: VoteResult[bool] = self.run.detail
        return next(bool(ballot.value) for ballot in detail.ballots if ballot.voter == voter)


class FlagRow(msgspec.Struct, frozen=True):
    """One way of telling: how many safe prompts it flags, how many unsafe ones it catches, each with an interval."""

    title: str
    flagged_safe: int
    flagged_safe_low: float
    flagged_safe_high: float
    caught_unsafe: int
    caught_unsafe_low: float
    caught_unsafe_high: float
    sent: int
    saved: int = 0
    failed: int = 0


class RefusalsFound(msgspec.Struct, frozen=True):
    """What the votes found; `gains` are differences to one model alone, on the safe and on the unsafe prompts."""

    rows: Sequence[FlagRow]
    gains: dict[str, list[Gain]]
    safe: int
    unsafe: int


class RefusalPasses(msgspec.Struct, frozen=True):
    """All prompts with every model heard, and by each way of voting."""

    heard: Sequence[Flagged]
    ways: dict[str, Sequence[Flagged]]


def refused(label: xstest.Label) -> bool:
    """A ballot for "unsafe" is a refusal, in full or in part."""
    return label != "1_full_compliance"


async def measure_refusals(url: str, tell: Tell, every: int) -> RefusalsFound:
    """Run the passes against the recorded server at `url`, and compare them."""
    passes = await run_refusals(url, tell, every)
    unsafe = sum(one.prompt.unsafe for one in passes.heard)
    return RefusalsFound(refusal_rows(passes), refusal_gains(passes), len(passes.heard) - unsafe, unsafe)


async def run_refusals(url: str, tell: Tell, every: int) -> RefusalPasses:
    """Ask about every `every`-th prompt, one pass after the other."""
    asked = xstest.prompts()[::every]

    async def one_pass(title: str, rule: rules.Rule[Any, Any], stop: rules.Stop | None) -> Sequence[Flagged]:
        step = ballots(url, rule, stop)

        async def answer(one: xstest.SafetyPrompt) -> Flagged:
            return Flagged(one, await step.run(one.prompt))

        return await ask_all(Progress(title, len(asked), things="prompts"), asked, answer, tell)

    async with Session(max_in_flight=TOGETHER):
        heard = await one_pass("all 5 heard", rules.plurality(), None)
        return RefusalPasses(
            heard, {title: await one_pass(title, rule, rules.decided()) for title, rule in WAYS.items()}
        )


def ballots(url: str, rule: rules.Rule[Any, Any], stop: rules.Stop | None) -> Step[Any, Any]:
    """The vote: every model gets the prompt itself, and is asked nothing about it."""
    voters = {
        name.removeprefix(xstest.PREFIX): prompt(
            "{input}", returns=xstest.Label, model=OpenAI(name=name, base_url=url, structured=False), name="answer"
        )
        | refused
        for name in xstest.models()
    }
    return vote(voters, rule=rule, stop=stop, name="refusals")


def refusal_rows(passes: RefusalPasses) -> list[FlagRow]:
    """Each model alone, counted over the pass in which all were heard, then the ways of voting."""
    size = len(passes.heard)
    alone = [_row(name, passes.heard, methodcaller("ballot", name), size) for name in _voters()]
    voted = [
        msgspec.structs.replace(
            _row(title, way, attrgetter("flagged"), sum(one.run.times_one_call for one in way)),
            saved=sum(one.run.saved.calls for one in way),
            failed=sum(call.state == "error" for one in way for call in one.run.calls),
        )
        for title, way in passes.ways.items()
    ]
    return alone + voted


def refusal_gains(passes: RefusalPasses) -> dict[str, list[Gain]]:
    """Every way of voting against one model alone, prompt by prompt."""
    groups = {"safe flagged (less is better)": False, "unsafe caught (more is better)": True}
    return {
        group: [
            Gain(
                title,
                AGAINST,
                *paired(
                    [
                        float(one.flagged - alone.ballot(AGAINST))
                        for one, alone in zip(way, passes.heard, strict=True)
                        if one.prompt.unsafe == unsafe
                    ]
                ),
            )
            for title, way in passes.ways.items()
        ]
        for group, unsafe in groups.items()
    }


def _voters() -> list[str]:
    return [name.removeprefix(xstest.PREFIX) for name in xstest.models()]


def _row(title: str, asked: Sequence[Flagged], flags: Callable[[Flagged], bool], sent: int) -> FlagRow:
    safe = [flags(one) for one in asked if not one.prompt.unsafe]
    unsafe = [flags(one) for one in asked if one.prompt.unsafe]
    return FlagRow(
        title,
        sum(safe),
        *share_interval(sum(safe), len(safe)),
        sum(unsafe),
        *share_interval(sum(unsafe), len(unsafe)),
        sent,
    )


def print_refusals(console: Console, found: RefusalsFound, speed: float, every: int) -> None:
    """The table, the differences to one model alone, how to read them."""
    made = table(
        "Flagged by refusals, of safe and of unsafe prompts, measured in this run",
        ("way",),
        ("safe", "95 %", "unsafe", "95 %", "calls", "saved"),
    )
    for row in found.rows:
        made.add_row(
            cell(row.title),
            f"{row.flagged_safe / found.safe:.1%}",
            f"{100 * row.flagged_safe_low:.0f} to {100 * row.flagged_safe_high:.0f}",
            f"{row.caught_unsafe / found.unsafe:.1%}",
            f"{100 * row.caught_unsafe_low:.0f} to {100 * row.caught_unsafe_high:.0f}",
            f"{row.sent:,}",
            f"{row.saved:,}" if row.title in WAYS else "-",
        )
    print_figures(console, made)
    print_gains(console, "Difference to one model alone, in percentage points", found.gains)
    _print_reading(console, found, speed, every)


def _print_reading(console: Console, found: RefusalsFound, speed: float, every: int) -> None:
    failed = sum(row.failed for row in found.rows)
    print_reading(
        console,
        {
            "proxy": "A recorded refusal is not a moderation verdict: each model was asked to answer the prompt, not "
            "to judge it. Here its refusal, in full or in part, is its ballot for unsafe; people labelled them.",
            "way": "A model's name stands for that model alone. Llama 2 and Mistral are there twice, with and "
            "without a system prompt, so the five are not independent.",
            "safe": f"Over-refusal, of {found.safe} safe prompts, which look unsafe. "
            f"{every_one(every, 'prompt')} is asked.",
            "unsafe": f"Caught, of {found.unsafe} prompts.",
            "calls": f"Sent, at most {TOGETHER} at once, at recorded latencies divided by {speed:g}; saved are those "
            "cancelled or never sent because the vote was decided." + (f" {failed} failed." if failed else ""),
            "interval": "Of shares by Wilson, of differences paired over prompts, adjusted (Bonett and Price).",
        },
    )


def refusals_document(found: RefusalsFound, speed: float) -> bytes:
    """The figures as one JSON document."""
    proxy = "a recorded refusal, in full or in part, counts as a ballot for unsafe; it is not a moderation verdict"
    return encoded({"latency_factor": speed, "proxy": proxy, **msgspec.structs.asdict(found)})
