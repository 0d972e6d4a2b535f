"""The OpenAI-shaped dialect: requests and replies of chat completions, as typed records and bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from fanfold.core.halves import Pieces, mended
from fanfold.core.records import Reply, Request, Usage
from fanfold.errors import ReplyError
from fanfold.models.loose import decoded
from fanfold.models.refusals import UNREAD, code_of, error_code, error_text, start_of
from fanfold.models.sse import EventData

MADE_UP = "fanfold-made-up"
"""The fingerprint by which a model server says that its answers are invented."""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Said(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None
    error: Any = None


class _Body(msgspec.Struct):
    """A whole reply, or one chunk of a streamed one."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    id: str | None = None
    system_fingerprint: str | None = None
    error: Any = None
    object: Any = None


_body = msgspec.json.Decoder(_Body)
_encode = msgspec.json.Encoder().encode


def body_of(name: str, request: Request, *, ceiling: str, structured: bool) -> bytes:
    """The JSON body of a request; `ceiling` is the dialect's word for the most output tokens."""
    body: dict[str, Any] = {"model": name, "messages": request.messages}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body[ceiling] = request.max_tokens
    if structured and request.schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": request.schema_name, "schema": request.schema, "strict": True},
        }
    if request.n != 1:
        body["n"] = request.n
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if request.extra_body:
        body.update(request.extra_body)
    return _encode(body)


def reply_of(data: bytes, label: str) -> Reply:
    """The reply in a whole body; raises `ReplyError` where it is not one."""
    body = _read(data, label)
    choices = body.choices
    if not choices:
        raise ReplyError(f"{label} sent a reply without choices: {start_of(data)}", model=label)
    made_up = body.system_fingerprint == MADE_UP
    for choice in choices:
        _check(choice, label)
    if len(choices) > 1:
        choices = sorted(choices, key=lambda choice: choice.index)
    finish = choices[0].finish_reason or "stop"
    texts = tuple([mended(_text(choice.message)) for choice in choices])
    return Reply(texts, _usage(body.usage), finish, body.model or "", body.id or "", made_up)


def samples_of(request: Request) -> int:
    """How many samples a request asks for; its `extra_body` has the last word."""
    told = (request.extra_body or {}).get("n")
    return told if isinstance(told, int) else request.n


class StreamedReply:
    """Puts a streamed reply of `samples` samples together; it is whole only when the stream says so itself."""

    def __init__(self, label: str, samples: int = 1) -> None:
        self.label = label
        self.samples = samples
        self.texts: dict[int, list[str]] = {}
        self.finishes: dict[int, str] = {}
        self.usage: _Usage | None = None
        self.counted: _Usage | None = None
        """The last usage of the one choice, where Moonshot has it; some count again with every piece."""
        self.model = ""
        self.id = ""
        self.made_up = False
        self.over = False
        self._events = EventData()
        self._pieces: dict[int, Pieces] = {}

    def feed(self, chunk: bytes) -> str:
        """Take some bytes; gives the new text of the first sample."""
        return "".join(map(self._take, self._events.feed(chunk)))

    def rest(self) -> str:
        """Take what is left when the stream has ended."""
        piece = "".join(map(self._take, self._events.rest()))
        left = {index: pieces.rest() for index, pieces in self._pieces.items()}
        for index, half in left.items():
            self.texts[index].append(half)
        return piece + left.get(0, "")

    def finished(self) -> bool:
        """Whether the stream has said that the reply is whole."""
        if 0 not in self.texts:
            return False
        return self.over or (len(self.finishes) >= self.samples and self.texts.keys() <= self.finishes.keys())

    def reply(self) -> Reply:
        """The whole reply; raises `ReplyError` where the stream ended too soon."""
        if not self.finished():
            raise ReplyError(
                f"{self.label}: the stream ended before the reply was whole, after {len(self.text())} characters",
                model=self.label,
            )
        texts = tuple("".join(self.texts[index]) for index in sorted(self.texts))
        usage = _usage(self.usage or self.counted)
        return Reply(texts, usage, self.finishes.get(0, "stop"), self.model, self.id, self.made_up)

    def text(self) -> str:
        """What came of the first sample so far."""
        return "".join(self.texts.get(0, ()))

    def _take(self, data: bytes) -> str:
        if data.startswith(b"[DONE]"):
            self.over = True
            return ""
        body = _read(data, self.label)
        self.usage = body.usage or self.usage
        self.model = body.model or self.model
        self.made_up = self.made_up or body.system_fingerprint == MADE_UP
        self.id = body.id or self.id
        return "".join(self._piece(choice) for choice in body.choices or ())

    def _piece(self, choice: _Choice) -> str:
        _check(choice, self.label)
        if choice.finish_reason:
            self.finishes[choice.index] = choice.finish_reason
        if self.samples == 1:
            self.counted = choice.usage or self.counted
        if choice.index not in self.texts:
            self.texts[choice.index], self._pieces[choice.index] = [], Pieces()
        piece = self._pieces[choice.index].feed(_text(choice.delta))
        self.texts[choice.index].append(piece)
        return piece if choice.index == 0 else ""


def _read(data: bytes, label: str) -> _Body:
    try:
        body = decoded(_body, data)
    except UNREAD as error:
        said = f"{label} sent what is not a chat completion ({error}): {start_of(data)}"
        raise ReplyError(said, model=label) from error
    if body.error or body.object == "error":  # the latter is how vLLM says it
        said = f"{label} reported an error in its reply: {error_text(data)}"
        raise ReplyError(said, code=error_code(data), model=label)
    return body


def _check(choice: _Choice, label: str) -> None:
    """Raise `ReplyError` for a sample whose provider failed in the middle of it, as OpenRouter tells it."""
    if choice.error or choice.finish_reason == "error":
        said = error_text(_encode(choice.error)) if choice.error else "it ended with an error that it does not name"
        raise ReplyError(f"{label} reported an error in its reply: {said}", code=code_of(choice.error), model=label)


def _text(said: _Said | None) -> str:
    """A refusal is an answer too: it is text, and usage was paid for it. Of content in parts, thinking is no text."""
    if said is None:
        return ""
    content = said.content
    if isinstance(content, list):
        content = "".join([part.text or "" for part in content if part.type == "text"])
    return content or said.refusal or ""


def _usage(usage: _Usage | None) -> Usage | None:
    """None where a count is missing or nothing was counted; thinking that only the total counts (xAI) is output."""
    if usage is None or usage.prompt_tokens is None:
        return None
    sent, total, output = usage.prompt_tokens, usage.total_tokens, usage.completion_tokens
    if total is not None and total > sent + (output or 0):
        output = total - sent
    if output is None or sent < 0 or output < 0 or sent == output == 0:
        return None
    given, made = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = max(0, min(given.cached_tokens or 0, sent)) if given else 0
    written = max(0, min(given.cache_write_tokens or 0, sent - cached)) if given else 0
    return Usage(sent, output, cached, (made.reasoning_tokens or 0) if made else 0, written)
