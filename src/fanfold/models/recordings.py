"""Recorded answers of real models, found by the question inside a message, and recorded latencies.

Pure lookup in the packaged data, read once, on first use. `data/NOTICES.md` names its sources and licences.
"""

import json
import lzma
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["samples", "panel"]

_DATA = Path(__file__).with_name("data")


@dataclass(frozen=True, slots=True)
class Sample:
    """One recorded answer, its letter as its recorder read it, and the tokens of this answer alone.

    `letter` is "" where none could be read. `input_tokens` are those of the recorded request: the question
    and some 300 tokens of instructions before it, which are not in the data. `output_tokens` are the source's
    own count in the set `"panel"`. In `"samples"` the source has only the total of the ten, so the count of
    one is an **estimate**: its share of that total by length of text. The ten add up to the recorded total.
    """

    text: str
    letter: str
    input_tokens: int
    output_tokens: int

    @property
    def failed(self) -> bool:
        """Whether the recorded call failed: its text is an error message, and no token was counted."""
        return not self.output_tokens


@dataclass(frozen=True, slots=True)
class Recording:
    """One exam question as it was asked, its right letter, and what each model answered.

    `set` is `"samples"` (ten answers by gpt-35-turbo, temperature 0.7) or `"panel"` (nine models, one each).
    `source` names the question in its exam; 20 questions are in both sets under one `source`.
    """

    exam: str
    source: str
    question: str
    gold: str
    set: Kind
    samples: Mapping[str, tuple[Sample, ...]] = field(hash=False)  # a mapping has no hash


@dataclass(frozen=True, slots=True)
class Latency:
    """The times of one recorded streamed request, in seconds.

    `between_tokens` is the mean pause after the first token, so that
    `first_token + between_tokens * (output_tokens - 1)` is `total`.
    """

    first_token: float
    between_tokens: float
    total: float
    output_tokens: int
    endpoint: str


def recordings(kind: Kind | None = None) -> tuple[Recording, ...]:
    """Return all recorded questions, or those of one set, in the order of their sources."""
    return _sets()[kind]


@cache
def models() -> tuple[str, ...]:
    """Return the names of all recorded models, sorted."""
    return tuple(sorted({model for recording in recordings() for model in recording.samples}))


def find(message: str, model: str) -> Recording | None:
    """Return the longest question recorded for this model that occurs verbatim inside the message.

    Instructions around it are ignored, and so is white space at the question's own ends.
    """
    found = [(question, recording) for question, recording in _inside(message) if model in recording.samples]
    return max(found, key=lambda pair: len(pair[0]))[1] if found else None


def question_known(message: str) -> bool:
    """Return whether the message contains a question that was recorded for any model."""
    return any(True for _ in _inside(message))


@cache
def latencies() -> tuple[Latency, ...]:
    """Return the times of every recorded request that succeeded, in the order of their source."""
    columns: dict[str, list[Any]] = json.loads(unpacked("latency.json.xz"))
    names = ("ttft_s", "e2e_s", "out_tok", "endpoint")
    return tuple(_latency(*row) for row in zip(*(columns[name] for name in names), strict=True))


def _latency(first: float, total: float, tokens: int, endpoint: str) -> Latency:
    # Not the source's `itl_s`: that is the whole time over the tokens, so the first token's wait is in it.
    between = (total - first) / max(1, tokens - 1)
    return Latency(first, between, total, tokens, endpoint)


@cache
def _sets() -> Mapping[Kind | None, tuple[Recording, ...]]:
    every = tuple(_recording(row) for row in json.loads(unpacked("recorded.json.xz")))
    samples = tuple(recording for recording in every if recording.set == "samples")
    panel = tuple(recording for recording in every if recording.set == "panel")
    return {None: every, "samples": samples, "panel": panel}


def _recording(row: dict[str, Any]) -> Recording:
    answers = {model: tuple(Sample(*answer) for answer in given) for model, given in row["samples"].items()}
    return Recording(**{**row, "samples": MappingProxyType(answers)})


def _inside(message: str) -> Iterator[tuple[str, Recording]]:
    """Yield every recorded question that occurs in the message, without the white space at its ends."""
    # To search for each question in turn takes ten times as long: 0.4 ms in a message of 2 KB.
    index = _by_line()
    for line in dict.fromkeys(message.split("\n")):
        yield from (pair for pair in index.get(line, ()) if pair[0] in message)


@cache
def _by_line() -> Mapping[str, tuple[tuple[str, Recording], ...]]:
    """Return the questions by one of their inner lines: where a question occurs, that line occurs as a whole.

    The first and the last line will not do, since a template may put text beside them. The choices give every
    question inner lines; the one that the fewest questions share leaves the fewest to search for.
    """
    questions = [(recording.question.strip(), recording) for recording in recordings()]
    shared = Counter(line for question, _ in questions for line in set(_inner(question)))
    index: dict[str, tuple[tuple[str, Recording], ...]] = {}
    for question, recording in questions:
        line = min(_inner(question), key=shared.__getitem__)
        index[line] = (*index.get(line, ()), (question, recording))
    return index


def _inner(question: str) -> list[str]:
    return question.split("\n")[1:-1]


def unpacked(name: str) -> bytes:
    """Return the JSON of one packaged file."""
    return lzma.decompress((_DATA / name).read_bytes())
