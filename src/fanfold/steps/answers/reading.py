"""What every typed answer is: a wish, put to the model as a schema or a sentence, and a reader of replies."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fanfold.errors import ParseError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

T_co = TypeVar("T_co", covariant=True)

_SHOWN = 80

# As Qwen and DeepSeek, prompts for Claude, Magistral, Kimi and gpt-oss write it, where a server leaves it in.
_THINKS = re.compile(r"\s*(?:<think(?:ing)?>|\[THINK\]|◁think▷|<\|channel\|>analysis)")
_THOUGHT = re.compile(
    r"</think(?:ing)?>|\[/THINK\]|◁/think▷|<\|channel\|>final\s?(?:<\|constrain\|>\w{1,20}\s?)?<\|message\|>"
)


class Unreadable(Exception):
    """The reply is not what was wanted; the message says why, and holds no more of the reply than that takes."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Answer(Generic[T_co]):
    """What a prompt's `returns=` comes to.

    `schema` is a JSON Schema with an object at its root, fit for strict structured output; None where there is
    nothing to send: for plain text, and for types that strict schemas cannot express (open mappings, tuples),
    which then depend on the instruction. `instruction` is one sentence for the prompt's end, empty for plain text.
    `choices` are the values in declared order where there is a fixed set of them.
    """

    wanted: str
    reader: Callable[[str], T_co]
    schema: dict[str, Any] | None
    instruction: str
    item_schema: dict[str, Any] | None = None
    choices: tuple[Any, ...] | None = None
    is_text: bool = False
    name: str = "answer"

    def read(self, text: str) -> T_co:
        """Read a reply; raises `ParseError`, which carries the whole of it, and nothing else.

        What a reasoning model thinks aloud (up to ``</think>``, or how else it ends that) is no part of a typed answer.
        """
        try:
            return self.reader(text if self.is_text else _thought_through(text))
        except Unreadable as why:
            reason = str(why) if text.strip() else "the reply is empty"
            raise ParseError(f"wanted {self.wanted}, but {reason}: {start_of(text)}", text=text) from None


def _thought_through(text: str) -> str:
    """The reply behind its thoughts; raises `Unreadable` where they do not end, and what they weigh is no answer."""
    *_, reply = _THOUGHT.split(text)
    if len(reply) == len(text) and _THINKS.match(text):
        raise Unreadable("its thinking does not end")
    return reply


def start_of(text: str) -> str:
    """The start of a text in quotes, on one line."""
    line = " ".join(text[: 4 * _SHOWN].split())
    return repr(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…")


def wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object that holds the answer, since strict servers want an object at the root."""
    return {
        "type": "object",
        "properties": {"answer": schema},
        "required": ["answer"],
        "additionalProperties": False,
    }


def unsupported(returns: Any, reason: str = "") -> UsageError:
    """The error for a type that no reply can be read as."""
    name = returns.__name__ if isinstance(returns, type) else repr(returns)
    return UsageError(
        f"returns={name} is not supported{f' ({reason})' if reason else ''}: use str, int, float, bool, "
        f"Literal[...], an Enum, list[...], X | None, a pydantic model, a dataclass or a TypedDict"
    )
