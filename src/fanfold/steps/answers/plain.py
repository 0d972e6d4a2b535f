"""Answers that are plain text, and answers that may be left out."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from fanfold.steps.answers.reading import Answer, Unreadable, wrapped
from fanfold.steps.answers.replies import json_answer
from fanfold.steps.answers.words import Vocabulary, decide

T = TypeVar("T")

NONE = Vocabulary(("none", "null", "n/a"), mentions=False)
"""How a reply says that there is nothing."""


def text() -> Answer[str]:
    """The answer that is the reply as it is."""
    return Answer(wanted="text", reader=str, schema=None, item_schema={"type": "string"}, instruction="", is_text=True)


def optional(item: Answer[T]) -> Answer[T | None]:
    """The answer that may be none: "none", "null", "n/a", or null in JSON."""
    schema = {"anyOf": [item.item_schema, {"type": "null"}]}
    asked = item.instruction.removesuffix(".") or "Reply with the answer"
    return Answer(
        wanted=f"{item.wanted}, or none",
        reader=partial(_read, item),
        schema=wrapped(schema),
        item_schema=schema,
        instruction=f"{asked}, or with none if there is no answer.",
        choices=item.choices,
    )


def unwrapped(reply: str) -> str:
    """The text in a reply that was asked for as JSON and came as ``{"answer": "…"}``; else the reply as it is."""
    if not reply.lstrip().startswith(("{", "```")):
        return reply
    value = json_answer(reply)
    return value if isinstance(value, str) else reply


def is_none(reply: str) -> bool:
    """Whether the whole reply says that there is none."""
    return json_answer(reply) is None or NONE.exact(reply) is not None


def _read(item: Answer[T], reply: str) -> T | None:
    if item.is_text:
        return None if is_none(reply) else item.reader(unwrapped(reply))
    # Declared choices come first: one of them may itself be called "none".
    if item.choices is None and _says_none(reply):
        return None
    try:
        return item.reader(reply)
    except Unreadable:
        if _says_none(reply):
            return None
        raise


def _says_none(reply: str) -> bool:
    try:
        return is_none(reply) or decide(NONE, reply) >= 0
    except Unreadable:
        return False
