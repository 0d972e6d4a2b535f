"""`fanfold demo jury`: judges and juries on real LLMBar pairs, with their recorded verdicts, through `best_of`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console

from fanfold.cli.figures import Gain
from fanfold.cli.measuring import TOGETHER, Progress, Tell, ask_all
from fanfold.cli.reports import encoded
from fanfold.cli.tables import cell, every_one, print_figures, print_gains, print_reading, table
from fanfold.folds.intervals import paired
from fanfold.folds.picking import Pick
from fanfold.models import llmbar
from fanfold.models.openai import OpenAI
from fanfold.runs.run import Run
from fanfold.session import Session
from fanfold.steps.best_of import best_of
from fanfold.steps.step import Step, step

STRONG = "GPT-4"
CHEAP = ("ChatGPT", "ChatGPT-0301", "Falcon", "LLaMA2", "PaLM2")
"""Every recorded judge but the strong one, whatever it did."""

GUIDED = f"{STRONG}, guided"
ROWS: dict[str, tuple[str, ...]] = {
    STRONG: (f"{STRONG}/{llmbar.PLAIN}",),
    **{name: (f"{name}/{llmbar.PLAIN}",) for name in CHEAP},
    "5 cheap": tuple(f"{name}/{llmbar.PLAIN}" for name in CHEAP),
    "all 6": tuple(f"{name}/{llmbar.PLAIN}" for name in (STRONG, *CHEAP)),
    GUIDED: (f"{STRONG}/{llmbar.GUIDED}",),
    "5 cheap, guided": tuple(f"{name}/{llmbar.GUIDED}" for name in CHEAP),
}
"""Judges and juries by title; a judge is named as in the recordings: who, and how it was asked."""

ADVERSARIAL = "all adversarial"
SHOWN = ("Natural", "Neighbor", ADVERSARIAL)
"""Where differences are printed; the document has them for every subset."""

MEMBER = "one of the 5"


class Judged(msgspec.Struct, frozen=True):
    """One pair before one jury: the run of the `best_of`, and what was right."""

    pair: llmbar.Pair
    run: Run[Any]

    @property
    def pick(self) -> Pick:
        """How the choice came about."""
        found: Pick = self.run.detail
        return found

    @property
    def right(self) -> bool:
        """Whether it chose the better output; undecided is not right."""
        return not self.pick.undecided and self.pick.chosen == self.pair.gold - 1

    @property
    def score(self) -> float:
        """1 for the better output, 0 for the worse; undecided is half, what a coin would get."""
        return 0.5 if self.pick.undecided else float(self.right)

    @property
    def consistent(self) -> float:
        """The share of the judges that chose the same output in both orders."""
        verdicts = self.pick.verdicts
        orders = list(zip(verdicts[::2], verdicts[1::2], strict=True))
        return sum(first is not None and first == second for first, second in orders) / len(orders)


class SubsetFigures(msgspec.Struct, frozen=True):
    """How one way of judging did on one subset; `accuracy` counts an undecided pair as half."""

    pairs: int
    right: int
    wrong: int
    undecided: int
    accuracy: float
    order_consistency: float


class JuryRow(msgspec.Struct, frozen=True):
    """One way of judging: its judges, its figures by subset and on all pairs, and what it took."""

    title: str
    judges: Sequence[str]
    subsets: dict[str, SubsetFigures]
    overall: SubsetFigures
    sent: int
    failed: int


class JuryFound(msgspec.Struct, frozen=True):
    """What the juries found; `gains` are differences to one judge alone, by subset."""

    rows: Sequence[JuryRow]
    gains: dict[str, list[Gain]]
    pairs: int


Sittings = Mapping[str, Sequence[Judged]]
"""All pairs before each jury, by its title, in the same order."""


async def measure_jury(url: str, tell: Tell, every: int) -> JuryFound:
    """Put the pairs before every jury on the recorded server at `url`, and compare."""
    sittings = await run_juries(url, tell, llmbar.pairs()[::every])
    return JuryFound(jury_rows(sittings), jury_gains(sittings), len(sittings[STRONG]))


async def run_juries(url: str, tell: Tell, asked: Sequence[llmbar.Pair]) -> dict[str, Sequence[Judged]]:
    """One jury after the other, each on all pairs at the same time."""

    async def sit(title: str, judges: Sequence[str]) -> Sequence[Judged]:
        models = [OpenAI(name=llmbar.PREFIX + name, base_url=url, structured=False) for name in judges]

        async def answer(pair: llmbar.Pair) -> Judged:
            return Judged(pair, await contest(pair, models).run(pair.input))

        return await ask_all(Progress(title, len(asked), things="pairs"), asked, answer, tell)

    async with Session(max_in_flight=TOGETHER):
        return {title: await sit(title, judges) for title, judges in ROWS.items()}


def contest(pair: llmbar.Pair, judges: Sequence[Any]) -> Step[Any, Any]:
    """The two outputs of a pair as candidates, before these judges."""
    candidates = {"output 1": step(_given(pair.output_1)), "output 2": step(_given(pair.output_2))}
    return best_of(candidates, judge=list(judges), name="contest")


def _given(text: str) -> Callable[[str], Awaitable[str]]:
    async def candidate(_: str) -> str:
        return text

    return candidate


def places_of(sitting: Sequence[Judged]) -> dict[str, list[int]]:
    """Where the pairs of each subset stand, and the adversarial ones together; subsets without a pair are left out."""
    kinds = [one.pair.subset for one in sitting]
    places: dict[str, list[int]] = {
        subset: [at for at, kind in enumerate(kinds) if kind == subset] for subset in llmbar.SUBSETS
    }
    places |= {ADVERSARIAL: [at for at, kind in enumerate(kinds) if kind != "Natural"]}
    return {subset: found for subset, found in places.items() if found}


def jury_rows(sittings: Sittings) -> list[JuryRow]:
    """Every way of judging."""
    return [
        JuryRow(
            title,
            ROWS[title],
            {subset: _figures([sitting[at] for at in places]) for subset, places in places_of(sitting).items()},
            _figures(sitting),
            sum(one.run.times_one_call for one in sitting),
            sum(call.state == "error" for one in sitting for call in one.run.calls),
        )
        for title, sitting in sittings.items()
    ]


def jury_gains(sittings: Sittings) -> dict[str, list[Gain]]:
    """Juries and better asking against the strong judge alone, and the jury of five against its own, by subset."""
    scores = {title: [one.score for one in sitting] for title, sitting in sittings.items()}
    member = [sum(given) / len(given) for given in zip(*(scores[name] for name in CHEAP), strict=True)]
    rivals = [(title, STRONG, scores[STRONG]) for title in ROWS if title not in {STRONG, *CHEAP}]
    rivals.append(("5 cheap", MEMBER, member))
    return {
        subset: [
            Gain(title, against, *paired([scores[title][at] - alone[at] for at in places]))
            for title, against, alone in rivals
        ]
        for subset, places in places_of(sittings[STRONG]).items()
    }


def _figures(sitting: Sequence[Judged]) -> SubsetFigures:
    undecided = sum(one.pick.undecided for one in sitting)
    right = sum(one.right for one in sitting)
    return SubsetFigures(
        len(sitting),
        right,
        len(sitting) - right - undecided,
        undecided,
        sum(one.score for one in sitting) / len(sitting),
        sum(one.consistent for one in sitting) / len(sitting),
    )


def print_jury(console: Console, found: JuryFound, _: float, every: int) -> None:
    """The table, the differences, how to read them."""
    made = table(
        "Right, by kind of pair, measured in this run", ("judges",), (*llmbar.SUBSETS, "agree", "open", "calls")
    )
    sizes = found.rows[0].subsets
    made.add_row(
        cell("pairs", "italic"), *(str(sizes[name].pairs) if name in sizes else "-" for name in llmbar.SUBSETS)
    )
    for row in found.rows:
        figures = [f"{row.subsets[name].accuracy:.0%}" if name in sizes else "-" for name in llmbar.SUBSETS]
        overall = row.overall
        agree, open_ = f"{overall.order_consistency:.0%}", f"{overall.undecided / overall.pairs:.0%}"
        made.add_row(cell(row.title), *figures, agree, open_, f"{row.sent:,}")
    print_figures(console, made)
    gains = {subset: found.gains[subset] for subset in SHOWN if subset in found.gains}
    print_gains(console, "Difference to one judge, in percentage points", gains)
    _print_reading(console, found, every)


def _print_reading(console: Console, found: JuryFound, every: int) -> None:
    failed = sum(row.failed for row in found.rows)
    print_reading(
        console,
        {
            "judges": f"{STRONG} is the strong one, the others are cheap. A jury asks each of its judges; those who "
            "contradict themselves have no say, and the most of the others win. Guided: asked with rules, own metrics "
            "and an own answer to compare with; all others were asked plainly.",
            "right": f"{every_one(every, 'pair')} is judged; one output follows the instruction, as people agreed. An "
            "undecided pair counts half, as a coin would do; so for one judge it is the mean of its two orders, but "
            "for a few replies that nobody could read.",
            "Neighbor": "And the three after it: adversarial pairs, where the worse output looks the better.",
            "agree": "How often a judge chose the same output in both orders; of a jury the mean of its judges.",
            "open": "Undecided: the orders disagree, a reply was no verdict, or the jury is split.",
            "calls": f"Two a judge and pair, at most {TOGETHER} at once. "
            "The choices are recorded, the words of the replies are not." + (f" {failed} failed." if failed else ""),
            "interval": f"Paired over pairs, adjusted (Bonett and Price); {MEMBER} is their mean.",
        },
    )


def jury_document(found: JuryFound, _: float) -> bytes:
    """The figures as one JSON document."""
    return encoded(msgspec.structs.asdict(found))
