"""What a send will need in tokens, estimated before it goes out and learned from what the replies told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.calls.allowance import Need

if TYPE_CHECKING:
    from fanfold.core.records import Message, Request, Usage

PER_BYTE = 0.25
"""Tokens a byte, until the first reply: that of English text."""

OUTPUT = 256.0
"""Output tokens of a reply, until the first one."""

PART = 4000
"""Bytes that a part that is no text (a picture) counts as: about a thousand tokens."""

MEMORY = 0.1
"""How much the newest reply counts."""


class Appetite:
    """The tokens that calls of one lane take.

    Where a server takes the ceiling of a reply when it admits a request (`by_ceiling`, as OpenAI does), so do we;
    else what replies have had lately.
    """

    __slots__ = ("by_ceiling", "output", "per_byte")

    def __init__(self, *, by_ceiling: bool) -> None:
        self.by_ceiling = by_ceiling
        self.per_byte = PER_BYTE
        self.output = OUTPUT

    def estimate(self, request: Request) -> Need:
        """What this request will need."""
        each = self.output
        if request.max_tokens is not None:
            each = request.max_tokens if self.by_ceiling else min(each, request.max_tokens)
        return Need(size_of(request) * self.per_byte + 1, each * request.n)

    def learn(self, request: Request, usage: Usage) -> Need:
        """A reply came; gives what its request needed after all."""
        size = size_of(request)
        if size and usage.input_tokens:
            self.per_byte += MEMORY * (usage.input_tokens / size - self.per_byte)
        self.output += MEMORY * (usage.output_tokens / request.n - self.output)
        return Need(usage.input_tokens, usage.output_tokens)


def size_of(request: Request) -> int:
    """The bytes of a request's text."""
    return sum(_size(message) for message in request.messages)


def _size(message: Message) -> int:
    content = message.content
    if isinstance(content, str):
        return len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
    texts = (part.get("text") for part in content)
    return sum(len(text.encode("utf-8", "replace")) if isinstance(text, str) else PART for text in texts)
