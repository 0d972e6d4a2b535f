"""What six judges said of real LLMBar pairs, in both orders, and the reply that says it again.

Pure lookup in the packaged data, read once, on first use. `data/NOTICES.md` names its source and licence. LLMBar: Zeng
et al., 2024, arXiv:2310.07641. Which output a judge chose is recorded; the words of its reply are not, so a reply here
is no more than the form asked for, with the recorded choice in it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from fanfold.errors import NotRecorded
from fanfold.models.recordings import unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "llmbar/"
"""Before ``judge/way of asking`` where a judge is served."""

PLAIN, GUIDED = "Vanilla_NoRules", "Metrics_Reference"
"""How the source asked: which output is better, and no more; or with rules, the judge's own metrics and answer."""

Subset = Literal["Natural", "Neighbor", "GPTInst", "GPTOut", "Manual"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)
"""Natural pairs, and four kinds that are adversarial: there the worse output looks the better."""

SECTION = re.compile(r"^(\w+)\nBEGIN (\w+)\n(.*?)\nEND \2$", re.MULTILINE | re.DOTALL)
"""One fenced text with the label before it, as fanfold's judges are shown what they judge."""

NO_VERDICT = "There is no verdict."

Winner = Literal["1", "2"] | None


class Pair(msgspec.Struct, frozen=True):
    """An instruction, two outputs, which of them is better (1 or 2), and the judges' verdicts.

    `votes` maps ``judge/way of asking`` to the output it chose in the given order and with the order swapped; both
    mean the outputs as they are numbered here. None is a reply that its recorder could not read.
    """

    id: str
    subset: Subset
    input: str
    output_1: str
    output_2: str
    gold: Literal[1, 2]
    votes: dict[str, tuple[Winner, Winner]]


class Shown(msgspec.Struct, frozen=True):
    """What a request shows: a pair, whether in swapped order, and the labels of the outputs 1 and 2."""

    pair: Pair
    swapped: bool
    labels: tuple[str, str]


@cache
def pairs() -> tuple[Pair, ...]:
    """Return every packaged pair, in the order of the source."""
    return msgspec.json.decode(unpacked("llmbar.json.xz"), type=tuple[Pair, ...])


@cache
def models() -> tuple[str, ...]:
    """Return the names under which the judges are served, sorted."""
    return tuple(sorted({PREFIX + name for pair in pairs() for name in pair.votes}))


def shown(message: str) -> Shown | None:
    """Return which pair a judge is shown, in which order, under which labels; None if it is no packaged pair."""
    sections = [(label, text) for label, _, text in SECTION.findall(message)]
    if len(sections) != 3:
        return None
    (_, task), (first, one), (second, other) = sections
    index = _by_texts()
    if (pair := index.get((task, one, other))) is not None:
        return Shown(pair, swapped=False, labels=(first, second))
    if (pair := index.get((task, other, one))) is not None:
        return Shown(pair, swapped=True, labels=(second, first))
    return None


def verdict(name: str, message: str) -> str:
    """Return the reply with the recorded choice for the pair and the order in the message; raises `NotRecorded`."""
    found = shown(message)
    if found is None:
        raise NotRecorded(
            f"no recorded LLMBar pair is in this message, in the form of fanfold's judges: {name!r} has verdicts on "
            "these only (`fanfold demo jury` uses them)",
            model=f"recorded:{name}",
        )
    winner = found.pair.votes[name.removeprefix(PREFIX)][found.swapped]
    return NO_VERDICT if winner is None else f"Answer: {found.labels[int(winner) - 1]}"


@cache
def _by_texts() -> Mapping[tuple[str, str, str], Pair]:
    return {(pair.input, pair.output_1, pair.output_2): pair for pair in pairs()}
