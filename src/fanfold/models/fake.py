"""A model that makes its answers up: seeded, of the type asked for, and marked as made up wherever it shows."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import msgspec

from fanfold.core.clock import Chance, seeded_source, sleep
from fanfold.core.records import Rate, Reply, Request, Usage, Watch
from fanfold.errors import UsageError
from fanfold.models.wished import noted, wished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

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


def _day(source: Chance) -> str:
    return f"20{source.randint(10, 39)}-{source.randint(1, 12):02}-{source.randint(1, 28):02}"


def _time(source: Chance) -> str:
    return f"{source.randint(0, 23):02}:{source.randint(0, 59):02}:00Z"


def _uuid(source: Chance) -> str:
    """One of the form that is for made-up ones."""
    digits = "".join(source.choices("0123456789abcdef", k=30))
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-{digits[18:]}"


def _bytes(source: Chance) -> str:
    return b64encode(f"{MARK} {source.choice(WORDS)}".encode()).decode()


FORMATS: Mapping[str, Callable[[Chance], str]] = {
    "date": _day,
    "time": _time,
    "date-time": lambda source: f"{_day(source)}T{_time(source)}",
    "duration": lambda source: f"PT{source.randint(1, 59)}M",
    "uuid": _uuid,
    "uuid4": _uuid,
    "base64": _bytes,
    "decimal": lambda source: f"{source.randint(0, 99)}.{source.randint(10, 99)}",
    "email": lambda source: f"{source.choice(WORDS)}@made-up.example",
    "hostname": lambda source: f"{source.choice(WORDS)}.made-up.example",
    "ipv4": lambda source: f"192.0.2.{source.randint(1, 254)}",
    "uri": lambda source: f"https://made-up.example/{source.choice(WORDS)}",
    "ipv6": lambda source: f"2001:db8::{source.randint(1, 9999)}",
}
"""Texts that have to be of a form, which has no room for the mark; hosts and addresses are those kept for examples."""

DEEP = 8
"""Levels down at which a made-up value of a recursive type begins to come to its end."""

DEEPEST = 100
LARGEST = 10_000


class FakeModel:
    """A model without a model: for tests, demos and trying things out.

    `answers` is what it says: None for seeded made-up text (of the type asked for, by schema or in words), a list of
    texts taken in turn by the draw's ordinal, or a function from the `Request` to a text (or to an exception, which is
    raised). Raises `UsageError` for anything else.
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
        _check(answers)
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
            if not isinstance(said, str):
                raise UsageError(f"the fake model's answers gave {said!r}: let them return a text, or an exception")
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


def _check(answers: object) -> None:
    """Raise `UsageError` for what cannot answer; a text alone is none, for its letters would be the answers."""
    if isinstance(answers, list | tuple):
        usable = bool(answers) and all(isinstance(text, str) for text in answers)
    else:
        usable = answers is None or (callable(answers) and not iscoroutinefunction(answers))
    if not usable:
        raise UsageError(
            f"answers={answers!r}: give a list of texts, at least one, or a function from a Request to one, not async"
        )


def made_up_text(source: Chance) -> str:
    """Two short sentences of nothing, marked."""
    sentences = [" ".join(source.choices(WORDS, k=source.randint(5, 9))).capitalize() + "." for _ in range(2)]
    return f"{MARK} {' '.join(sentences)}"


def words(text: str) -> list[str]:
    """The text in pieces of a word and the white space behind it; together they are the text."""
    return re.findall(r"\S+\s*|\s+", text)


def instance(schema: Mapping[str, Any], source: Chance) -> Any:
    """A made-up value that a JSON Schema allows (of the parts of the language that typed answers use).

    Raises ValueError for a schema that no small value satisfies, as one that contains itself without a way out, and
    for one that refers to what it does not hold.
    """
    return _Filling(source, schema).value(schema, 0)


class _Filling:
    """One value in the making, and how many parts it may still get."""

    def __init__(self, source: Chance, root: Any) -> None:
        self.source = source
        self.root = root
        self.left = LARGEST
        self._least: dict[str, float] | None = None

    def value(self, schema: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            raise ValueError(f"a made-up value has at most {LARGEST} parts, {DEEPEST} deep")
        schema = _read(schema)
        if "$ref" in schema or "allOf" in schema:
            return self.value(self._joined(schema), depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.source.choice(_some(schema["enum"], schema))
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            return self.value(self._chosen(options, depth), depth + 1)
        kind = _kind(schema)
        if isinstance(kind, list):
            return self.value(self._chosen([{**schema, "type": one} for one in kind], depth), depth + 1)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        return _plain(kind, schema, self.source)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """All of its fields, but deep down those that it needs; and so many others as it has to have."""
        needed = schema.get("required", ())
        fields = schema.get("properties", {}).items()
        fields = [(name, field) for name, field in fields if name in needed or not self._ends(depth)]
        made = {name: self.value(field, depth + 1) for name, field in fields}
        others, names = schema.get("additionalProperties", True), schema.get("propertyNames", True)
        for _ in range(10 * schema.get("minProperties", 0)):
            if len(made) >= schema["minProperties"]:
                break
            name = self.source.choice(WORDS) if names is True else self.value(names, depth + 1)
            made.setdefault(str(name), self.value(others, depth + 1))
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        """The items that have a schema each, as those of a tuple, then as many as there may be of the others."""
        made = [self.value(item, depth + 1) for item in schema.get("prefixItems", ())]
        others = schema.get("items", not made)
        if others is False:
            return made
        length = self._length(schema, depth)
        for _ in range(10 * length):
            if len(made) >= length:
                break
            item = self.value(others, depth + 1)
            if not (schema.get("uniqueItems") and item in made):
                made.append(item)
        return made

    def _length(self, schema: Mapping[str, Any], depth: int) -> int:
        least: int = schema.get("minItems", 0)
        length = max(0 if self._ends(depth) else self.source.randint(2, 3), least)
        most: int = schema.get("maxItems", length)
        return min(length, most)

    def _ends(self, depth: int) -> bool:
        """Whether the value has to come to its end: deep down, and where it is large."""
        return depth >= DEEP or self.left < LARGEST / 2

    def _chosen(self, options: list[Mapping[str, Any]], depth: int) -> Mapping[str, Any]:
        """Any of the options; deep down one that ends the soonest, so that recursive types come to an end.

        Of a number that may also be written as text, as a decimal, the number.
        """
        if any(option.get("type") == "number" for option in options):
            options = [option for option in options if option.get("type") != "string"]
        if self._ends(depth):
            if self._least is None:
                self._least = self._heights()
            heights = [self._height(option, self._least) for option in options]
            options = [one for one, height in zip(options, heights, strict=True) if height == min(heights)]
        return self.source.choice(options)

    def _joined(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What a schema says itself, with all that it refers to; each step of a chain of references is one."""
        parts = [{"$ref": schema["$ref"]}] if "$ref" in schema else []
        own = {name: said for name, said in schema.items() if name not in {"$ref", "allOf"}}
        joined: dict[str, Any] = {}
        for part in (*parts, *schema.get("allOf", ()), own):
            found = _read(part)
            found = _read(self._found(found["$ref"])) if "$ref" in found else found
            fields = {**joined.get("properties", {}), **found.get("properties", {})}
            needed = [*joined.get("required", ()), *found.get("required", ())]
            joined |= {
                **found,
                **({"properties": fields} if fields else {}),
                **({"required": needed} if needed else {}),
            }
        return joined

    def _found(self, ref: object) -> Any:
        """What a JSON Pointer points to, within the schema."""
        found = self.root
        try:
            before, _, path = str(ref).partition("#")
            if before:
                raise LookupError(before)
            for part in unquote(path).split("/")[1:]:
                name = part.replace("~1", "/").replace("~0", "~")
                found = found[int(name)] if isinstance(found, list) else found[name]
        except (LookupError, TypeError, ValueError):
            raise ValueError(f"the JSON Schema refers to {ref!r}, which it does not hold") from None
        return found

    def _heights(self) -> dict[str, float]:
        """How many levels what is referred to has at least; without a way out, no number of levels is enough."""
        heights: dict[str, float] = {}
        found = dict.fromkeys(_references(self.root), math.inf)
        while found != heights:
            heights = found
            found = {ref: self._height(self._found(ref), heights) for ref in heights}
        return heights

    def _height(self, schema: Any, known: Mapping[str, float]) -> float:
        schema = _read(schema)
        parts = [known.get(schema["$ref"], math.inf)] if "$ref" in schema else []
        parts += [self._height(part, known) for part in schema.get("allOf", ())]
        if options := schema.get("anyOf") or schema.get("oneOf"):
            parts.append(min(self._height(option, known) for option in options))
        fields = schema.get("properties", {})
        parts += [self._height(fields[name], known) for name in schema.get("required", ()) if name in fields]
        parts += [self._height(item, known) for item in schema.get("prefixItems", ())]
        if schema.get("minItems", 0) > len(schema.get("prefixItems", ())):
            parts.append(self._height(schema.get("items", True), known))
        return 1 + max(parts) if parts else 0


def _read(schema: Any) -> Mapping[str, Any]:
    """A schema as an object; true allows anything."""
    if schema is True:
        return {}
    if isinstance(schema, dict):
        return schema
    raise ValueError(f"{schema!r} in a JSON Schema allows no value")


def _kind(schema: Mapping[str, Any]) -> Any:
    """Its type; where it says none, that of which it tells more, else a text."""
    told = "object" if schema.keys() & {"properties", "additionalProperties"} else "string"
    return schema.get("type", "array" if schema.keys() & {"items", "prefixItems"} else told)


def _references(part: Any) -> Iterator[str]:
    """All pointers in a schema."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _references(one)


def _some(values: Sequence[T], schema: Mapping[str, Any]) -> Sequence[T]:
    """The values, if there is one."""
    if not values:
        raise ValueError(f"no value is allowed by {dict(schema)}")
    return values


def _plain(kind: str, schema: Mapping[str, Any], source: Chance) -> Any:
    if kind == "integer":
        return _whole(schema, source)
    if kind == "number":
        return _number(schema, source)
    if kind == "boolean":
        return source.random() < 0.5
    if kind == "null":
        return None
    wanted = noted(schema)
    form = FORMATS.get(wanted.get("format", wanted.get("contentEncoding", "")))
    return _said(wanted, source) if form is None else form(source)


def _said(schema: Mapping[str, Any], source: Chance) -> str:
    """A few words, marked, of the length asked for: a short one has no room for all of the mark."""
    said = f"{MARK} {' '.join(source.choices(WORDS, k=4))}"
    least, most = schema.get("minLength", 0), schema.get("maxLength", LARGEST)
    if least > LARGEST:
        raise ValueError(f"a made-up text has at most {LARGEST} characters")
    while len(said) < least:
        said += f" {source.choice(WORDS)}"
    return said[:most]


def _whole(schema: Mapping[str, Any], source: Chance) -> int:
    """A whole number within the bounds, and a multiple of what it has to be one of."""
    step = int(schema.get("multipleOf", 1)) or 1
    lows = [math.ceil(schema["minimum"])] if "minimum" in schema else []
    lows += [math.floor(schema["exclusiveMinimum"]) + 1] if "exclusiveMinimum" in schema else []
    highs = [math.floor(schema["maximum"])] if "maximum" in schema else []
    highs += [math.ceil(schema["exclusiveMaximum"]) - 1] if "exclusiveMaximum" in schema else []
    low, high = _span(max(lows, default=None), min(highs, default=None), 10 * step)
    first: int = -(-low // step)
    last: int = high // step
    _some([first] if first <= last else [], schema)
    return step * source.randint(first, last)


def _number(schema: Mapping[str, Any], source: Chance) -> float:
    """A number within the bounds, of two decimals where one such fits."""
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    low, high = _span(schema.get("minimum", over), schema.get("maximum", under), 10)
    if step := schema.get("multipleOf"):
        whole = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)[:LARGEST]]
        return float(source.choice(_some([one for one in whole if one not in {over, under}], schema)))
    _some([low] if low <= high else [], schema)
    found = source.uniform(float(low), float(high))
    short = round(found, 2)
    return short if low <= short <= high and short not in {over, under} else found


def _span(low: Any, high: Any, width: int) -> tuple[Any, Any]:
    """From where to where a number may be, where one end or both are open."""
    if low is None:
        low = 0 if high is None or high > 0 else high - width
    return low, low + width if high is None else high


def _usage(request: Request, texts: list[str]) -> Usage:
    """A word or so a token; made up like the rest."""
    given = sum(len(str(message.content)) for message in request.messages)
    return Usage(given // 4 + 1, sum(len(text) for text in texts) // 4 + 1)
