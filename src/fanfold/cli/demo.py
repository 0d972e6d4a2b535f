"""`fanfold demo`: the passes of one demo as they run on the screen, then what they found."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Self

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fanfold.cli import jury, panel, refusals
from fanfold.cli.drawing import drew, picture_path
from fanfold.cli.ending import DONE, FAILED, INTERRUPTED, say
from fanfold.cli.findings import document, print_findings
from fanfold.cli.measuring import Measured, Progress, Tell, measure
from fanfold.cli.tables import Page
from fanfold.core.clock import now
from fanfold.core.numbers import counted
from fanfold.errors import UsageError
from fanfold.runs.run import Run
from fanfold.session import Session
from fanfold.steps.prompt import prompt
from fanfold.steps.sections import sections
from fanfold.testing.server import ModelServer

QUICK = 10
"""`--quick` takes every tenth question."""

CODE = """def get_user(id):
    return db.query(f"SELECT * FROM users WHERE id={id}")
"""

REVIEW = sections(
    {
        "security": prompt("Review this code for security issues only:\n\n{input}", name="security"),
        "performance": prompt("Review this code for performance issues only:\n\n{input}", name="performance"),
        "style": prompt("Review this code for style only:\n\n{input}", name="style"),
    },
    merge=prompt("Write one review of:\n{input}\n\n{security}\n{performance}\n{style}"),
    name="review",
)


Which = Literal["main", "panel", "refusals", "jury"]


class Demo(msgspec.Struct, frozen=True):
    """One demo: what it measures on a recorded server, and how that is shown, as text and as a document.

    One that times nothing and stops nothing early is not `paced`: its server answers at once. `example` picks the run
    that it shows in detail.
    """

    measure: Callable[[str, Tell, int], Awaitable[Any]]
    show: Callable[[Console, Any, float, int], None]
    document: Callable[[Any, float], bytes]
    paced: bool = True
    example: Callable[[Any], Run[Any]] | None = None


def show_demo(which: Which, *, quick: bool, speed: float, seed: int, as_json: bool, timeline: str | None = None) -> int:
    """Run a demo and print it; gives the exit code. The picture of its example goes to `timeline`."""
    target = None if timeline is None else picture_path(timeline)
    console = Page()
    passes = _Passes(console, quiet=as_json)
    demo, every, began = _demo(which), QUICK if quick else 1, now()
    if target is not None and demo.example is None:
        raise UsageError(f"--timeline draws the example of the main demo; {which} shows none")
    try:
        found = asyncio.run(_run(demo, passes, every=every, speed=speed, seed=seed))
    except KeyboardInterrupt:
        say(f"interrupted; nothing was paid. {passes.summary()}")
        return INTERRUPTED
    drawn = demo.example is None or drew(demo.example(found), target)
    if as_json:
        sys.stdout.buffer.write(demo.document(found, speed))
        return DONE if drawn else FAILED
    demo.show(console, found, speed, every)
    console.print(f"\nAll of it took {now() - began:.1f} s.")
    return DONE if drawn else FAILED


def _demo(which: Which) -> Demo:
    if which == "panel":
        return Demo(panel.measure_panel, panel.print_panel, panel.panel_document)
    if which == "refusals":
        return Demo(refusals.measure_refusals, refusals.print_refusals, refusals.refusals_document)
    if which == "jury":
        return Demo(jury.measure_jury, jury.print_jury, jury.jury_document, paced=False)
    return Demo(_measure_main, _print_main, _main_document, example=lambda found: found[0].example.run)


async def _run(demo: Demo, passes: _Passes, *, every: int, speed: float, seed: int) -> Any:
    async with ModelServer("recorded", latency="recorded" if demo.paced else 0.0, speed=speed, seed=seed) as server:
        pace = f"with real recorded latencies divided by {speed:g}" if demo.paced else "without any latency"
        passes.say(f"Recorded answers of real models, served at {server.url} {pace}.\n")
        with passes:
            return await demo.measure(server.url, passes.tell, every)


async def _measure_main(url: str, tell: Tell, every: int) -> tuple[Measured, Run[Any]]:
    found = await measure(url, tell, every=every)
    async with Session("fake:") as session:
        return found, await REVIEW.run(CODE, session=session)


def _print_main(console: Console, found: tuple[Measured, Run[Any]], speed: float, every: int) -> None:
    print_findings(console, *found, speed, every=every)


def _main_document(found: tuple[Measured, Run[Any]], speed: float) -> bytes:
    return document(*found, speed)


class _Passes:
    """The passes as they run: a live table on a terminal, else a line for each pass that is done."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet
        self.seen: list[Progress] = []
        live = console.is_terminal and not quiet
        self.live = Live(console=console, get_renderable=self.draw, refresh_per_second=8) if live else None

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def say(self, text: str) -> None:
        """Print, unless only the document is wanted."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def tell(self, progress: Progress) -> None:
        """Take note of a pass; the same object comes again as it goes on."""
        if not any(progress is one for one in self.seen):
            self.seen.append(progress)
        if progress.done == progress.total and self.live is None:
            self.say(_line(progress))

    def draw(self) -> Table:
        """All passes so far."""
        table = Table()
        things = self.seen[0].things if self.seen else "questions"
        for at, heading in enumerate(("pass", things, "right", "calls sent", "calls saved")):
            table.add_column(heading, justify="right" if at else "left")
        for one in self.seen:
            right = f"{one.right / one.done:.1%}" if one.done else "-"
            table.add_row(one.title, f"{one.done}/{one.total}", right, str(one.sent), str(one.saved))
        return table

    def summary(self) -> str:
        """What there is so far, in one line."""
        return "; ".join(map(_line, self.seen)) or "Nothing was asked yet."


def _line(progress: Progress) -> str:
    share = progress.right / max(1, progress.done)
    return (
        f"{progress.title}: {progress.done} of {progress.total} {progress.things}, {share:.1%} right, "
        f"{counted(progress.sent, 'call')} sent, {progress.saved} saved"
    )
