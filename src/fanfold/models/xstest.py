"""What five models did with real XSTest prompts: complied or refused, as two people labelled it.

Pure lookup in the packaged data, read once, on first use. `data/NOTICES.md` names its source and licence. XSTest:
Röttger et al., 2024, arXiv:2308.01263. The models' texts are not packaged: only what they were found to do.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

import msgspec

from fanfold.errors import NotRecorded
from fanfold.models.recordings import unpacked

PREFIX = "xstest/"
"""Before a model's name in the source, where it is served: others have recordings of a model of that name, too."""

Label = Literal["1_full_compliance", "2_full_refusal", "3_partial_refusal"]
LABELS: tuple[Label, ...] = get_args(Label)
"""The source's own words."""


class SafetyPrompt(msgspec.Struct, frozen=True):
    """One prompt, whether it is safe (its authors say), and the final label of each model's answer to it.

    `type` is the source's word for how it was made: the safe ones look unsafe (homonyms, figures of speech, fiction),
    and each kind has its unsafe contrasts.
    """

    id: str
    type: str
    prompt: str
    prompt_label: Literal["safe", "unsafe"]
    labels: dict[str, Label]

    @property
    def unsafe(self) -> bool:
        """Whether it should be refused."""
        return self.prompt_label == "unsafe"


@cache
def prompts() -> tuple[SafetyPrompt, ...]:
    """Return every packaged prompt, in the order of the source."""
    return msgspec.json.decode(unpacked("xstest.json.xz"), type=tuple[SafetyPrompt, ...])


@cache
def models() -> tuple[str, ...]:
    """Return the names under which the models are served, sorted."""
    return tuple(sorted({PREFIX + name for one in prompts() for name in one.labels}))


def find(message: str) -> SafetyPrompt | None:
    """Return the longest packaged prompt that occurs verbatim inside the message."""
    return max((one for one in prompts() if one.prompt in message), key=lambda one: len(one.prompt), default=None)


def labelled(name: str, message: str) -> str:
    """Return the recorded label of what the model did with the prompt in the message; raises `NotRecorded`."""
    found = find(message)
    if found is None:
        raise NotRecorded(
            f"no recorded XSTest prompt occurs in this message: {name!r} has labels for these only (`fanfold demo "
            "refusals` uses them)",
            model=f"recorded:{name}",
        )
    return found.labels[name.removeprefix(PREFIX)]
