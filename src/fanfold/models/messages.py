"""Anthropic's dialect: requests and replies of its messages, as typed records and bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fanfold.core.halves import Pieces, mended
from fanfold.core.records import Message, Reply, Request, Usage
from fanfold.errors import ReplyError, UsageError
from fanfold.models.loose import decoded
from fanfold.models.refusals import UNREAD, code_of, error_text, start_of
from fanfold.models.sse import EventData

if TYPE_CHECKING:
    from collections.abc import Mapping

MADE_UP = "msg_fanfold-made-up-"
"""How the id of a message begins by which a model server says that its answers are invented."""

FINISHES: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Reasons to stop in the words of `Reply.finish`; those without a counterpart stay as they are."""

# What its structured output does not take in a schema (Anthropic, "Structured outputs: JSON Schema limitations").
_TOLD = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "pattern"})
_TOLD |= {"minLength", "maxLength", "minItems", "maxItems", "uniqueItems"}

_ABOVE = frozenset({"system", "developer"})

_REFERENCE = re.compile(r'"\$ref":"#/\$defs/([^"]+)"')

_DATA = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)


class _Thinking(msgspec.Struct):
    thinking_tokens: int | None = None


class _Written(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Written | None = None
    output_tokens_details: _Thinking | None = None


class _Details(msgspec.Struct):
    explanation: str | None = None


class _Block(msgspec.Struct):
    """A block of content, or a piece of one."""

    type: str = ""
    text: str | None = None
    stop_reason: str | None = None
    stop_details: _Details | None = None


class _Message(msgspec.Struct):
    content: list[_Block] | None = None
    usage: _Usage | None = None
    stop_reason: str | None = None
    stop_details: _Details | None = None
    model: str | None = None
    id: str | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Block | None = None
    usage: _Usage | None = None
    error: Any = None


T = TypeVar("T", _Message, _Event)

_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)
_encode = msgspec.json.Encoder().encode


def body_of(name: str, request: Request, *, ceiling: int, structured: bool) -> bytes:
    """The JSON body of a request; `ceiling` is the most output tokens where the request does not say."""
    system = [message for message in request.messages if message.role in _ABOVE]
    spoken = [message for message in request.messages if message.role not in _ABOVE]
    schema = request.schema if structured else None
    if schema is not None and is_recursive(schema):  # which its structured output refuses, too
        spoken[-1:] = [_asked_for(schema, message) for message in spoken[-1:]]
        schema = None
    body: dict[str, Any] = {
        "model": name,
        "max_tokens": ceiling if request.max_tokens is None else request.max_tokens,
        "messages": [{"role": message.role, "content": _content(message)} for message in spoken],
    }
    if system:
        body["system"] = _system(system)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": fitted(schema)}}
    if request.stream:
        body["stream"] = True
    if request.extra_body:
        body.update(request.extra_body)
    return _encode(body)


def fitted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without the words that structured output refuses; what they said is told in the description."""
    told = [f"{key}: {value}" for key, value in schema.items() if _is_told(key, value)]
    kept = {key: _fitted(key, value) for key, value in schema.items() if not _is_told(key, value)}
    if told:
        kept["description"] = f"{schema.get('description', '')} ({', '.join(told)})".strip()
    return kept


def is_recursive(schema: Mapping[str, Any]) -> bool:
    """Whether one of its definitions leads back to itself."""
    left = {name: set(_REFERENCE.findall(_encode(node).decode())) for name, node in schema.get("$defs", {}).items()}
    while ends := [name for name, referred in left.items() if not referred & left.keys()]:
        for name in ends:
            del left[name]
    return bool(left)


def reply_of(data: bytes, label: str) -> Reply:
    """The reply in a whole body; raises `ReplyError` where it is not one."""
    message = _read(_message, data, label)
    if message.content is None:
        raise ReplyError(f"{label} sent a reply without content: {start_of(data)}", model=label)
    text = "".join(map(_text, message.content)) or _explanation(message.stop_details)
    return _reply(mended(text), message, message.stop_reason, _usage(message.usage))


class StreamedReply:
    """Puts a streamed reply together; it is whole only when the stream says so itself."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.pieces: list[str] = []
        self.head = _Message()
        self.usage = _Usage()
        self.stop_reason: str | None = None
        self.over = False
        self._events = EventData()
        self._pieces = Pieces()

    def feed(self, chunk: bytes) -> str:
        """Take some bytes; gives the new text."""
        return "".join(map(self._take, self._events.feed(chunk)))

    def rest(self) -> str:
        """Take what is left when the stream has ended."""
        piece = "".join(map(self._take, self._events.rest()))
        self.pieces.append(half := self._pieces.rest())
        return piece + half

    def finished(self) -> bool:
        """Whether the stream has said that the reply is whole."""
        return self.over or self.stop_reason is not None

    def reply(self) -> Reply:
        """The whole reply; raises `ReplyError` where the stream ended too soon."""
        if not self.finished():
            raise ReplyError(
                f"{self.label}: the stream ended before the reply was whole, after {len(self.text())} characters",
                model=self.label,
            )
        return _reply(self.text(), self.head, self.stop_reason, _usage(self.usage))

    def text(self) -> str:
        """What came so far."""
        return "".join(self.pieces)

    def _take(self, data: bytes) -> str:
        event = _read(_event, data, self.label)
        piece = ""
        match event.type:
            case "message_start":
                self._begin(event.message or _Message())
            case "content_block_start":
                piece = _text(event.content_block)
            case "content_block_delta":
                piece = _text(event.delta)
            case "message_delta":
                piece = self._end(event.delta or _Block(), event.usage)
            case "message_stop":
                self.over = True
        if piece:
            piece = self._pieces.feed(piece)
            self.pieces.append(piece)
        return piece

    def _begin(self, head: _Message) -> None:
        self.head = head
        # What it has put out by now is told here, too: a count that only the end makes whole.
        self.usage = msgspec.structs.replace(head.usage or _Usage(), output_tokens=None)

    def _end(self, delta: _Block, usage: _Usage | None) -> str:
        self.stop_reason = delta.stop_reason or self.stop_reason
        stated = {key: value for key, value in msgspec.structs.asdict(usage or _Usage()).items() if value is not None}
        self.usage = msgspec.structs.replace(self.usage, **stated)
        return "" if self.text() else _explanation(delta.stop_details)


def _asked_for(schema: Mapping[str, Any], message: Message) -> Message:
    """The message with the schema in words at its end, as prompts write it."""
    words = f"Reply with only JSON that matches this JSON Schema: {_encode(schema).decode()}"
    if isinstance(message.content, str):
        return Message(message.role, f"{message.content}\n\n{words}")
    return Message(message.role, [*message.content, {"type": "text", "text": words}])


def _content(message: Message) -> str | list[dict[str, Any]]:
    return message.content if isinstance(message.content, str) else [_part(part) for part in message.content]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """A part of a message as its blocks are written: images are translated, all else is left to the server."""
    if part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise UsageError("an image_url part needs a url: {'type': 'image_url', 'image_url': {'url': 'https://…'}}")
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    found = _DATA.fullmatch(url)
    if found is None:
        raise UsageError(f"an image's data URL reads data:image/png;base64,…, not {url[:40]!r}")
    return {"type": "image", "source": {"type": "base64", "media_type": found["kind"], "data": found["data"]}}


def _system(messages: list[Message]) -> str | list[dict[str, Any]]:
    """All system messages as one text, or as blocks where one of them is."""
    texts = [message.content for message in messages if isinstance(message.content, str)]
    if len(texts) == len(messages):
        return "\n\n".join(texts)
    blocks: list[dict[str, Any]] = []
    for message in messages:
        blocks += [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
    return blocks


def _is_told(key: str, value: Any) -> bool:
    return key in _TOLD and not (key == "minItems" and value in {0, 1})


def _fitted(key: str, value: Any) -> Any:
    if key in {"properties", "$defs"} and isinstance(value, dict):
        return {name: fitted(node) for name, node in value.items()}
    if key == "items" and isinstance(value, dict):
        return fitted(value)
    if key in {"anyOf", "allOf"}:
        return [fitted(node) for node in value]
    return value


def _read(decoder: msgspec.json.Decoder[T], data: bytes, label: str) -> T:
    try:
        body = decoded(decoder, data)
    except UNREAD as error:
        raise ReplyError(f"{label} sent what is not a message ({error}): {start_of(data)}", model=label) from error
    if body.error is not None:
        said = f"{label} reported an error in its reply: {error_text(data)}"
        raise ReplyError(said, code=code_of(body.error), model=label)
    return body


def _text(block: _Block | None) -> str:
    """Thinking, tools and citations are no text."""
    return block.text or "" if block is not None and block.type in {"text", "text_delta"} else ""


def _explanation(details: _Details | None) -> str:
    """A refusal is an answer too: where nothing else was said, its explanation is the text."""
    return details.explanation or "" if details is not None else ""


def _reply(text: str, head: _Message, stop_reason: str | None, usage: Usage | None) -> Reply:
    reason = stop_reason or "end_turn"
    name, number = head.model or "", head.id or ""
    return Reply((text,), usage, FINISHES.get(reason, reason), name, number, number.startswith(MADE_UP))


def _usage(usage: _Usage | None) -> Usage | None:
    """Its input tokens leave out what was read from a cache or written to one; ours are all of them."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    hour = (usage.cache_creation.ephemeral_1h_input_tokens or 0) if usage.cache_creation else 0
    thought = (usage.output_tokens_details.thinking_tokens or 0) if usage.output_tokens_details else 0
    if min(usage.input_tokens, cached, written, usage.output_tokens) < 0:
        return None
    given = usage.input_tokens + cached + written
    if given == usage.output_tokens == 0:  # nobody counted
        return None
    return Usage(given, usage.output_tokens, cached, thought, written, max(0, min(hour, written)))
