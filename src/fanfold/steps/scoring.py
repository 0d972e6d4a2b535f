"""A judge's score: how it is asked for, how it is read, and which failures are no verdict."""

from __future__ import annotations

import math
from functools import partial

import msgspec

from fanfold.errors import CallError, ParseError, StepTimeout, UsageError
from fanfold.steps.answers.numbers import check_top, number
from fanfold.steps.answers.reading import Answer, Unreadable
from fanfold.steps.answers.replies import find_json

Scale = tuple[float, float]

NO_VERDICT = (ParseError, CallError, StepTimeout)
"""What a judge may fail with and be passed over; a model that nobody can reach as named is the program's error."""


class Score(msgspec.Struct, frozen=True):
    """A score on the given scale, and the judge's explanation."""

    score: float
    explanation: str = ""

    def __bool__(self) -> bool:
        raise TypeError("a Score is a record, not a truth value: look at .score")


def check_scale(scale: Scale) -> Scale:
    """Refuse a scale that does not go upwards."""
    try:
        low, high = scale
        upwards = math.isfinite(low) and math.isfinite(high) and low < high
    except (TypeError, ValueError, OverflowError):
        upwards = False
    if not upwards:
        raise UsageError(f"scale={scale!r}: give the lowest and the highest score, as (1, 10)")
    return scale


def score_answer(scale: Scale) -> Answer[Score]:
    """The typed answer of a judge: a score within the scale, with an explanation before it."""
    low, high = (f"{bound:g}" for bound in check_scale(scale))
    schema = {
        "type": "object",
        "properties": {
            "explanation": {"type": "string"},
            "score": {"type": "number", "minimum": scale[0], "maximum": scale[1]},
        },
        "required": ["explanation", "score"],
        "additionalProperties": False,
    }
    return Answer(
        wanted=f"a score from {low} to {high}",
        reader=partial(_read, scale),
        schema=schema,
        instruction=f"Explain briefly, then end with a line of the form: Score: N (from {low} to {high}).",
        name="score",
    )


def _read(scale: Scale, text: str) -> Score:
    for found in find_json(text):
        if isinstance(found, dict) and "score" in found:
            score = found["score"]
            score = _said(scale, score) if isinstance(score, str) else score  # "8", or "8/10"
            return _checked(scale, score, str(found.get("explanation", "")))
    return _checked(scale, _said(scale, text), text.strip())


def _said(scale: Scale, text: str) -> float:
    found: float = number().reader(text)
    check_top(text, found, scale[1])
    return found


def _checked(scale: Scale, score: object, explanation: str) -> Score:
    """A score off the scale is no score: clamping it would turn a judge's slip into a top mark."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not scale[0] <= score <= scale[1]:
        raise Unreadable(f"{score!r} is not on the scale from {scale[0]:g} to {scale[1]:g}")
    return Score(float(score), explanation)
