"""A model that makes its answers up: seeded, of the type asked for, and marked as made up wherever it shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.clock import Chance, seeded_source, sleep
from fanfold.core.records import Rate, Reply, Request, Usage, Watch
from fanfold.models.wished import wished

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WORDS: tuple[str, ...] = (
    "branch",
    "fold",
    "paper",
    "wind",
    "river",
    "stone",
    "light",
    "answer",
    "question",
    "morning",
    "window",
)
WORDS += ("garden", "letter", "bridge", "quiet", "early", "plain", "narrow", "green", "second", "open", "careful")

MARK = "[made up]"

DEEP = 8
"""Levels down at which a made-up value of a recursive type begins to come to its end."""

DEEPEST = 100
LARGEST = 10_000


class FakeModel:
    """A model without a model: for tests, demos and trying things out.

    `answers` is what it says: None for seeded made-up text (of the type asked for, by schema or in words), a list of
    texts taken in turn by the draw's ordinal, or a function from the `Request` to a text (or to an exception, which is
    raised).
    `latency` is seconds until the reply, or a function from the request to seconds. `structured=False` makes it
    answer typed prompts in words, as a model without structured output does. A streamed reply comes a word at a time.
    """

    made_up = True

    def __init__(
        self,
        answers: list[str] | Callable[[Request], str | Exception] | None = None,
        *,
        seed: int | str = 0,
        latency: float | Callable[[Request], float] = 0.0,
        structured: bool = True,
        label: str = "fake:",
    ) -> None:
        self.answers = answers
        self.seed = seed
        self.latency = latency
        self.structured = structured
        self.label = label
        self.given_rate: Rate | None = None

    async def send(self, request: Request, watch: Watch) -> Reply:
        """Answer after the latency; every sample of `request.n` counts on from the draw's ordinal."""
        watch.alive()
        watch.sent()
        texts = [self._text(request, request.draw.ordinal + sample) for sample in range(request.n)]
        seconds = self.latency(request) if callable(self.latency) else self.latency
        await self._deliver(texts[0], seconds, request, watch)
        reply = Reply(tuple(texts), _usage(request, texts), model=self.label)
        watch.done(reply)
        return reply

    async def _deliver(self, text: str, seconds: float, request: Request, watch: Watch) -> None:
        if not request.stream:
            if seconds:
                await sleep(seconds)
            return
        pieces = words(text) or [""]
        for piece in pieces:
            if seconds:
                await sleep(seconds / len(pieces))
            watch.text(piece)

    def _text(self, request: Request, ordinal: int) -> str:
        if callable(self.answers):
            said = self.answers(request)
            if isinstance(said, Exception):
                raise said
            return said
        if self.answers is not None:
            return self.answers[ordinal % len(self.answers)]
        source = seeded_source(f"{self.seed}|{ordinal}|{request.key().hex()}")
        if request.schema is not None:
            return msgspec.json.encode(instance(request.schema, source)).decode()
        schema = wished(request)
        if schema is None:
            return made_up_text(source)
        value = instance(schema, source)
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def made_up_text(source: Chance) -> str:
    """Two short sentences of nothing, marked."""
    sentences = [" ".join(source.choices(WORDS, k=source.randint(5, 9))).capitalize() + "." for _ in range(2)]
    return f"{MARK} {' '.join(sentences)}"


def words(text: str) -> list[str]:
    """The text in pieces of a word and the white space behind it; together they are the text."""
    return re.findall(r"\S+\s*|\s+", text)


def instance(schema: Mapping[str, Any], source: Chance) -> Any:
    """A made-up value that a JSON Schema allows (of the parts of the language that typed answers use).

    Raises ValueError for a schema that no small value satisfies, as one that contains itself without a way out.
    """
    return _Filling(source, schema.get("$defs", {})).value(schema, 0)


class _Filling:
    """One value in the making, and how many parts it may still get."""

    def __init__(self, source: Chance, defs: Mapping[str, Any]) -> None:
        self.source = source
        self.defs = defs
        self.left = LARGEST

    def value(self, schema: Mapping[str, Any], depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            raise ValueError(f"a made-up value has at most {LARGEST} parts, {DEEPEST} deep")
        if "$ref" in schema:
            return self.value(self.defs[schema["$ref"].rpartition("/")[2]], depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.source.choice(schema["enum"])
        if "anyOf" in schema:
            return self.value(self._chosen(schema["anyOf"], depth), depth + 1)
        kind = schema.get("type", "string")
        if kind == "object":
            return {name: self.value(field, depth + 1) for name, field in schema.get("properties", {}).items()}
        if kind == "array":
            return [self.value(schema.get("items", {}), depth + 1) for _ in range(self._length(schema, depth))]
        return _plain(kind, schema, self.source)

    def _length(self, schema: Mapping[str, Any], depth: int) -> int:
        least: int = schema.get("minItems", 0)
        return max(self.source.randint(2, 3) if depth < DEEP else 0, least)

    def _chosen(self, options: list[Mapping[str, Any]], depth: int) -> Mapping[str, Any]:
        """Any of the options; deep down one that nests no further, so that recursive types come to an end."""
        plain = [option for option in options if "$ref" not in option and "properties" not in option]
        return self.source.choice(plain if plain and depth >= DEEP else options)


def _plain(kind: str, schema: Mapping[str, Any], source: Chance) -> Any:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 10))
    if kind == "integer":
        return source.randint(int(low), int(high))
    if kind == "number":
        return round(source.uniform(float(low), float(high)), 2)
    if kind == "boolean":
        return source.random() < 0.5
    if kind == "null":
        return None
    return f"{MARK} {' '.join(source.choices(WORDS, k=4))}"


def _usage(request: Request, texts: list[str]) -> Usage:
    """A word or so a token; made up like the rest."""
    given = sum(len(str(message.content)) for message in request.messages)
    return Usage(given // 4 + 1, sum(len(text) for text in texts) // 4 + 1)
