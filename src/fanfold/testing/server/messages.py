"""Anthropic's messages seen from the server: requests read strictly, replies written whole or as events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from fanfold.core.records import Message, Reply, Request, Usage
from fanfold.models.fake import words
from fanfold.testing.server.completions import Asked
from fanfold.testing.server.refusals import decoded

_Tokens = Annotated[int, msgspec.Meta(ge=1)]
_Temperature = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Block(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class _Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class _Output(msgspec.Struct):
    format: _Format | None = None


class _Body(msgspec.Struct):
    model: _Name
    max_tokens: _Tokens
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    system: str | list[_Block] | None = None
    stream: bool | None = None
    temperature: _Temperature | None = None
    output_config: _Output | None = None
    stop_sequences: list[str] | None = None


_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


def read(data: bytes) -> Asked:
    """The request in a body; raises `Refusal` (400) where it is not one."""
    body = decoded(_decode, data, "a message")
    wanted = body.output_config and body.output_config.format
    request = Request(
        (*_system(body.system), *(Message(message.role, _content(message.content)) for message in body.messages)),
        body.temperature,
        body.max_tokens,
        wanted.schema if wanted else None,
        stream=bool(body.stream),
    )
    return Asked(body.model, request, include_usage=True, stop=tuple(body.stop_sequences or ()))


def _system(system: str | list[_Block] | None) -> list[Message]:
    text = system if isinstance(system, str) else "\n\n".join(block.text for block in system or ())
    return [Message("system", text)] if text else []


def _content(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_part(block) for block in content]


def _part(block: dict[str, Any]) -> dict[str, Any]:
    """A block in no vendor's dialect: images as parts are, all else as it came."""
    source = block.get("source")
    if block.get("type") != "image" or not isinstance(source, dict):
        return block
    url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": url}}


class Answered:
    """One reply on its way out; `maker` says in the message's id what made it."""

    def __init__(self, number: int, asked: Asked, reply: Reply, maker: str) -> None:
        self.reply = reply
        self.words = words(reply.text) if asked.request.stream else []
        self.usage = reply.usage or Usage()
        (self.finish,) = asked.finishes
        # Who has no tokens left has met no sequence, either.
        self.ended = asked.ended if self.finish == "stop" else None
        self.head = {
            "id": f"msg_fanfold-{maker}-{number}",
            "type": "message",
            "role": "assistant",
            "model": reply.model or asked.model,
        }

    def whole(self) -> bytes:
        """The body of a plain reply."""
        content = [{"type": "text", "text": self.reply.text}]
        return _encode({**self.head, "content": content, **self._stop(), "usage": _usage(self.usage)})

    @property
    def length(self) -> int:
        """How many pieces a streamed reply has: one for each word, and at least one."""
        return max(1, len(self.words))

    def piece(self, position: int) -> bytes:
        """The events of one word; the first opens the message, too."""
        opening = self._opening() if position == 0 else b""
        if position >= len(self.words):
            return opening
        delta = {"type": "text_delta", "text": self.words[position]}
        return opening + _event("content_block_delta", index=0, delta=delta)

    def ending(self) -> bytes:
        """The events that close a streamed reply."""
        return b"".join(
            [
                _event("content_block_stop", index=0),
                _event("message_delta", delta=self._stop(), usage=_usage(self.usage)),
                _event("message_stop"),
            ]
        )

    def _opening(self) -> bytes:
        # Nothing has been put out yet, and that is what is told; the end tells all of it.
        usage = _usage(msgspec.structs.replace(self.usage, output_tokens=0, reasoning_tokens=0))
        unsaid: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
        block = {"type": "text", "text": ""}
        started = _event("message_start", message={**self.head, **unsaid, "usage": usage})
        return started + _event("content_block_start", index=0, content_block=block) + _event("ping")

    def _stop(self) -> dict[str, Any]:
        reason = _STOPS.get(self.finish, self.finish) if self.ended is None else "stop_sequence"
        return {"stop_reason": reason, "stop_sequence": self.ended}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields}))


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - usage.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
