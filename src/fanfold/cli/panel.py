"""`fanfold demo panel`: nine recorded models on exam questions, one by one and as panels of five and of all."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Console

from fanfold.cli.figures import Gain, Pass, Row, gain_of, single_row, vote_row
from fanfold.cli.findings import print_rows
from fanfold.cli.measuring import PANEL, TOGETHER, Tell, ask_questions, panel_step
from fanfold.cli.reports import encoded
from fanfold.cli.tables import every_one, print_gains, print_reading
from fanfold.models import recordings
from fanfold.session import Session


class PanelPasses(msgspec.Struct, frozen=True):
    """The panel of five and the panel of all with an early stop, and all with every voter heard."""

    five: Pass
    all_of_them: Pass
    heard: Pass


class PanelFound(msgspec.Struct, frozen=True):
    """What the panels found. `same_winners` counts the votes of all that gave, decided early, the full winner."""

    rows: Sequence[Row]
    gains: Sequence[Gain]
    same_winners: int
    questions: int


def members() -> tuple[str, ...]:
    """Every recorded model, the panel of five first; each of them was asked the panel's questions."""
    return (*PANEL, *(name for name in recordings.models() if name not in PANEL))


async def measure_panel(url: str, tell: Tell, every: int) -> PanelFound:
    """Run the passes against the recorded server at `url`, and compare them."""
    passes = await run_panels(url, tell, every)
    early, heard = passes.all_of_them.answers, passes.heard.answers
    same = sum(one.run.output == other.run.output for one, other in zip(early, heard, strict=True))
    return PanelFound(panel_rows(passes), panel_gains(passes), same, len(heard))


async def run_panels(url: str, tell: Tell, every: int) -> PanelPasses:
    """Ask every `every`-th question, one pass after the other."""
    asked, everyone = recordings.recordings("panel")[::every], members()
    size = len(everyone)
    async with Session(max_in_flight=TOGETHER):
        return PanelPasses(
            await ask_questions(f"panel of {len(PANEL)}", asked, lambda one: panel_step(url, one), tell),
            await ask_questions(f"panel of {size}", asked, lambda one: panel_step(url, one, everyone), tell),
            await ask_questions(
                f"panel of {size}, all heard", asked, lambda one: panel_step(url, one, everyone, stop=False), tell
            ),
        )


def panel_rows(passes: PanelPasses) -> list[Row]:
    """Single calls of the five and the panel of five, then single calls of the others and the panel of all."""
    five, others = "The largest model of each vendor", "The other recorded models, and all together"
    return [
        *(single_row(passes.heard, name, five, name) for name in PANEL),
        vote_row(passes.five, five),
        *(single_row(passes.heard, name, others, name) for name in members() if name not in PANEL),
        vote_row(passes.all_of_them, others),
    ]


def panel_gains(passes: PanelPasses) -> list[Gain]:
    """Each panel against a single call of every one of its members."""
    five = [gain_of(passes.five, passes.heard, name, name) for name in PANEL]
    return five + [gain_of(passes.all_of_them, passes.heard, name, name) for name in members()]


def print_panel(console: Console, found: PanelFound, speed: float, every: int) -> None:
    """The table, the gains, how to read them."""
    print_rows(console, found.rows)
    print_gains(console, "More often right than one call, in percentage points", {"": found.gains})
    failed = sum(row.failed for row in found.rows)
    print_reading(
        console,
        {
            "way": "A model's name stands for one call of it a question; a panel asks each of its models once, and the "
            "most frequent answer wins. Ties go by the order of the choices.",
            "right": f"{every_one(every, 'question')} is asked; the winner is compared with the exam's own answer. A "
            "ballot that cannot be read counts as wrong. Single calls are counted over a pass in which every model "
            "was heard, so both sides saw the same answers.",
            "calls": f"Sent, at most {TOGETHER} at once." + (f" {failed} failed." if failed else ""),
            "saved": "By early decision: cancelled under way + never sent. For the panel of all it gave the winner of "
            f"the full pass in {found.same_winners} of {found.questions} votes.",
            "price": "List price of the answered calls, where each model has one. Nothing was paid.",
            "in turn": f"The time of the same calls one after another, of recorded latencies divided by {speed:g}.",
            "interval": "Paired over questions, adjusted (Bonett and Price). Which member is the best is known only "
            "afterwards.",
        },
    )


def panel_document(found: PanelFound, speed: float) -> bytes:
    """The figures as one JSON document."""
    return encoded({"latency_factor": speed, **msgspec.structs.asdict(found)})
