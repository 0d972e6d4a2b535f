"""The server's own tokenizer: words in pieces and marks one by one, other than any client's guess by bytes."""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING

import msgspec

from fanfold.core.records import Usage
from fanfold.testing.server.faults import uniform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fanfold.core.records import Message, Reply, Request

_TOKEN = re.compile(r"\s*(?:\w{1,6}|[^\w\s])")

PER_MESSAGE = 4
"""Tokens that the format of a chat adds around each message, as OpenAI's does, and after the last."""

PER_IMAGE = 32
"""Tokens of an image. Real ones cost more, by their size, which this server does not look at."""


def count(text: str) -> int:
    """Tokens of a text: a piece of a word of up to six letters, or a mark; never more than its bytes."""
    return len(_TOKEN.findall(text))


def start(text: str, tokens: int) -> str:
    """The first so many tokens of a text."""
    ends = 0
    for number, found in enumerate(_TOKEN.finditer(text)):
        if number == tokens:
            return text[:ends]
        ends = found.end()
    return text


def given(messages: Iterable[Message]) -> int:
    """Input tokens of a request."""
    return sum(PER_MESSAGE + _content(message.content) for message in messages) + PER_MESSAGE


def stopped(reply: Reply, sequences: Iterable[str]) -> tuple[Reply, tuple[str | None, ...]]:
    """The reply with each text up to the first of the `stop` sequences in it, and which one ended each text.

    Usage that was measured is taken to be spread evenly over the texts.
    """
    cuts = [_cut(text, sequences) for text in reply.texts]
    texts = tuple(text[:at] for text, (at, _) in zip(reply.texts, cuts, strict=True))
    ended = tuple(one for _, one in cuts)
    if texts == reply.texts:
        return reply, ended
    usage = reply.usage
    if usage is not None:
        share = sum(map(len, texts)) / sum(map(len, reply.texts))
        usage = msgspec.structs.replace(usage, output_tokens=ceil(usage.output_tokens * share))
    return msgspec.structs.replace(reply, texts=texts, usage=usage), ended


def settled(
    reply: Reply, request: Request, *, told: bool, reasoning: float, key: str
) -> tuple[Reply, tuple[bool, ...]]:
    """The reply as this server gives it, and which of its texts `max_tokens` cut short.

    It has this server's count of tokens, reasoning included, and is within `max_tokens`.
    `told` says that the reply's usage was measured, as that of recorded answers: then it stays, but for the ceiling.
    Reasoning is a share of each text's tokens, between half and one and a half times `reasoning`.
    """
    ceiling = request.max_tokens
    texts, spoken, thought, cut = [], 0, 0, []
    for sample, text in enumerate(reply.texts):
        full = count(text)
        mused = round(full * reasoning * (0.5 + uniform("reasoning", key, sample))) if reasoning else 0
        over = ceiling is not None and full + mused > ceiling
        if ceiling is not None and over:
            mused = min(mused, ceiling)
            full = ceiling - mused
        cut.append(over)
        texts.append(start(text, full) if over else text)
        spoken += full
        thought += mused
    if told and reply.usage is not None:
        made = reply.usage.output_tokens + thought
        most = made if ceiling is None else min(made, ceiling * len(texts))
        usage = msgspec.structs.replace(reply.usage, output_tokens=most, reasoning_tokens=thought)
    else:
        usage = Usage(given(request.messages), spoken + thought, 0, thought)
    return msgspec.structs.replace(reply, texts=tuple(texts), usage=usage), tuple(cut)


def finished(reply: Reply, ended: Iterable[str | None], short: Iterable[bool]) -> tuple[str, ...]:
    """Why each text ends: out of tokens, before a sequence, or as the model says of all of them."""
    pairs = zip(ended, short, strict=True)
    return tuple("length" if cut else reply.finish if one is None else "stop" for one, cut in pairs)


def _cut(text: str, sequences: Iterable[str]) -> tuple[int, str | None]:
    """Where a text is cut, and before which of the sequences; an empty one ends nothing."""
    found = [(text.index(one), one) for one in sequences if one and one in text]
    return min(found, default=(len(text), None))


def _content(content: str | list[dict[str, object]]) -> int:
    if isinstance(content, str):
        return count(content)
    return sum(count(str(part["text"])) if "text" in part else PER_IMAGE for part in content)
