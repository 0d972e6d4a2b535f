"""OpenAI's chat completions seen from the server: requests read strictly, replies written whole or in chunks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from fanfold.core.clock import wall
from fanfold.core.records import Message, Reply, Request, Usage
from fanfold.models.fake import words
from fanfold.testing.server.refusals import Refusal, decoded

_Tokens = Annotated[int, msgspec.Meta(ge=1)]
_Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
_Samples = Annotated[int, msgspec.Meta(ge=1, le=128)]
_Stops = Annotated[list[str], msgspec.Meta(max_length=4)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class _Schema(msgspec.Struct):
    name: str = "answer"
    schema: dict[str, Any] = {}


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    model: _Name
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    n: _Samples | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: _Temperature | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    response_format: _Format | None = None
    stop: str | _Stops | None = None


class Asked(msgspec.Struct, frozen=True):
    """One request: the model's name, what it is asked in no vendor's dialect, and whether a stream tells usage.

    A text ends before any of the sequences in `stop`. Once there is a reply, `ended` is the one that its first text
    met, and `finishes` is why each of its texts ends.
    """

    model: str
    request: Request
    include_usage: bool
    stop: tuple[str, ...] = ()
    ended: str | None = None
    finishes: tuple[str, ...] = ()


_ROLE = {"role": "assistant", "content": "", "refusal": None}

_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


def read(data: bytes) -> Asked:
    """The request in a body; raises `Refusal` (400) where it is not one."""
    body = decoded(_decode, data, "a chat completion")
    options = body.stream_options
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    return Asked(body.model, _request(body), options is not None and bool(options.include_usage), stop)


def _request(body: _Body) -> Request:
    wanted = body.response_format
    return Request(
        tuple(Message(message.role, message.content or "") for message in body.messages),
        body.temperature,
        body.max_completion_tokens or body.max_tokens,
        None if wanted is None else _schema(wanted),
        n=body.n or 1,
        stream=bool(body.stream),
    )


def _schema(wanted: _Format) -> dict[str, Any] | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None:
        raise Refusal(400, "response_format of type json_schema needs a json_schema", param="response_format")
    return wanted.json_schema.schema


class Completion:
    """One reply on its way out; `maker` says in the system fingerprint what made it."""

    def __init__(self, number: int, asked: Asked, reply: Reply, maker: str) -> None:
        self.reply = reply
        self.words = [words(text) for text in reply.texts] if asked.request.stream else []
        self.finishes = asked.finishes
        self.include_usage = asked.include_usage
        self.head = {
            "id": f"chatcmpl-fanfold-{number}",
            "created": int(wall()),
            "model": reply.model or asked.model,
            "system_fingerprint": f"fanfold-{maker}",
        }

    def whole(self) -> bytes:
        """The body of a plain reply."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": finish,
            }
            for index, (text, finish) in enumerate(zip(self.reply.texts, self.finishes, strict=True))
        ]
        usage = _usage(self.reply.usage)
        return _encode({**self.head, "object": "chat.completion", "choices": choices, "usage": usage})

    @property
    def length(self) -> int:
        """How many pieces a streamed reply has: one for each word of its longest sample, and at least one."""
        return max([1, *map(len, self.words)])

    def piece(self, position: int) -> bytes:
        """The events of one piece: a word of each sample that has so many; the first opens the samples, too."""
        events = [self._chunk(index, _ROLE) for index in range(len(self.words))] if position == 0 else []
        said = [(index, words[position]) for index, words in enumerate(self.words) if position < len(words)]
        return b"".join([*events, *(self._chunk(index, {"content": word}) for index, word in said)])

    def ending(self) -> bytes:
        """The events that close a streamed reply."""
        events = [self._chunk(index, {}, finish) for index, finish in enumerate(self.finishes)]
        if self.include_usage:
            events.append(self._event([], _usage(self.reply.usage)))
        return b"".join([*events, b"data: [DONE]\n\n"])

    def _chunk(self, index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._event([{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}], None)

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        chunk = {**self.head, "object": "chat.completion.chunk", "choices": choices}
        if self.include_usage:
            chunk["usage"] = usage
        return b"data: %b\n\n" % _encode(chunk)


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:  # not known is not nothing
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
