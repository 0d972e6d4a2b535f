"""The bridge to pydantic-ai: any of its models serves as a model here (extra: ``fanfold[pydantic-ai]``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.exceptions import UnexpectedModelBehavior, UserError
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings

from fanfold.core.records import Reply, Usage
from fanfold.errors import ReplyError, UsageError
from fanfold.models.bridging import Bridge, Hearing, label_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic_ai.messages import UserContent
    from pydantic_ai.models import Model as PydanticAI

    from fanfold.core.records import Message, Request
    from fanfold.errors import FanfoldError

logger = logging.getLogger("fanfold")

INVENTED = frozenset({"function", "test"})
"""The systems of pydantic-ai's models for tests."""


CUT = frozenset({"incomplete", "interrupted"})
"""The states of a streamed response that is known not to be whole."""


class Asked(msgspec.Struct, frozen=True):
    """A request as pydantic-ai takes it."""

    messages: list[ModelMessage]
    settings: ModelSettings
    parameters: ModelRequestParameters


class PydanticAIModel(Bridge[Asked]):
    """A model of pydantic-ai as a model here. `prompt(model=...)` and `Session(model=...)` make it of themselves.

    Its own retries are switched off. `label` is ``provider:name``, where pydantic-ai's own name for it does not lead to
    its price; `price` is USD per million (input, output) tokens; `structured` says whether it honours a JSON Schema
    (default: what its profile says).
    """

    def __init__(
        self,
        model: PydanticAI,
        *,
        label: str | None = None,
        structured: bool | None = None,
        price: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(
            label or label_of(model.system, model.model_name),
            made_up=model.system in INVENTED,
            structured=_takes_schema(model) if structured is None else structured,
            price=price,
        )
        self.model = model
        inside = list(_inside(model))
        deaf = [type(one).__name__ for one in inside if "max_retries" in one.unsupported_settings]
        # Where no model listens the setting would only make pydantic-ai warn, at every call.
        self.once: ModelSettings = {"max_retries": 0} if len(deaf) < len(inside) else {}
        if deaf:
            logger.warning(
                "%s: the retries of pydantic-ai's %s cannot be switched off from here: switch them off in its client",
                self.label,
                ", ".join(sorted(set(deaf))),
            )

    def prepared(self, request: Request, *, structured: bool) -> Asked:
        """Its messages, settings and parameters."""
        settings: ModelSettings = {**self.once}
        if request.temperature is not None:
            settings["temperature"] = request.temperature
        if request.max_tokens is not None:
            settings["max_tokens"] = request.max_tokens
        if request.extra_body:
            settings["extra_body"] = dict(request.extra_body)
        parameters = ModelRequestParameters()
        if structured and request.schema is not None:
            wanted = OutputObjectDefinition(dict(request.schema), name=request.schema_name, strict=True)
            parameters = ModelRequestParameters(output_mode="native", output_object=wanted, allow_text_output=False)
        return Asked(list(_messages(request.messages)), settings, parameters)

    async def ask(self, prepared: Asked, hearing: Hearing) -> None:
        """One request."""
        response = await model_request(
            self.model,
            prepared.messages,
            model_settings=prepared.settings,
            model_request_parameters=prepared.parameters,
        )
        hearing.done(_reply(response))

    async def listen(self, prepared: Asked, hearing: Hearing) -> None:
        """One streamed request."""
        async with model_request_stream(
            self.model,
            prepared.messages,
            model_settings=prepared.settings,
            model_request_parameters=prepared.parameters,
        ) as stream:
            async for event in stream:
                hearing.text(_piece(event))
            response = stream.get()
            if response.state in CUT:
                raise hearing.failed("the stream ended before it")
            hearing.done(_reply(response))

    def error_of(self, error: Exception, seen: str) -> FanfoldError:
        """Its two errors that come from no server, and all others by what they carry."""
        if isinstance(error, UserError):
            return UsageError(f"{self.label}: {error}")
        if isinstance(error, UnexpectedModelBehavior) and not seen:
            return ReplyError(f"{self.label}: {error}", model=self.label)
        return super().error_of(error, seen)


def _takes_schema(model: PydanticAI) -> bool:
    try:
        return bool(model.profile.get("supports_json_schema_output", False))
    except NotImplementedError:  # one that stands for several, as FallbackModel does
        return False


def _inside(model: PydanticAI) -> Iterator[PydanticAI]:
    """The models that a wrapper or a fallback asks; one that asks itself is itself."""
    held = [getattr(model, "wrapped", None), *getattr(model, "models", ())]
    found = [inner for one in held if one is not None for inner in _inside(one)]
    yield from found or [model]


def _messages(given: Sequence[Message]) -> Iterator[ModelMessage]:
    parts: list[SystemPromptPart | UserPromptPart] = []
    for message in given:
        if message.role == "assistant":
            if parts:
                yield ModelRequest(parts=parts)
            yield ModelResponse(parts=[TextPart(_text(message))])
            parts = []
        elif message.role in {"system", "developer"}:
            parts.append(SystemPromptPart(_text(message)))
        elif message.role == "user":
            parts.append(UserPromptPart(_content(message)))
        else:
            raise UsageError(f"a message of the role {message.role!r} cannot go to a pydantic-ai model")
    if parts:
        yield ModelRequest(parts=parts)


def _text(message: Message) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    texts = [_written(part) for part in content]
    if None not in texts:
        return "\n\n".join(filter(None, texts))
    raise UsageError(f"a message of the role {message.role!r} can hold only text for a pydantic-ai model")


def _content(message: Message) -> str | list[UserContent]:
    return message.content if isinstance(message.content, str) else [_part(part) for part in message.content]


def _written(part: Any) -> str | None:
    """The text of a part that is one."""
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
    return text if isinstance(text, str) else None


def _part(part: Any) -> UserContent:
    text = _written(part)
    if text is not None:
        return text
    if not isinstance(part, dict) or part.get("type") == "text":
        raise UsageError(f"a part of text reads {{'type': 'text', 'text': '…'}}, not {str(part)[:40]!r}")
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if part.get("type") != "image_url" or not isinstance(url, str):
        raise UsageError(
            f"a part of the type {part.get('type')!r} cannot go to a pydantic-ai model: text and image_url can"
        )
    if not url.startswith("data:"):
        return ImageUrl(url)
    try:
        return BinaryContent.from_data_uri(url)
    except ValueError as error:
        raise UsageError(f"an image's data URL reads data:image/png;base64,…, not {url[:40]!r}") from error


def _piece(event: object) -> str:
    """The text in an event; thinking and tools are none."""
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _reply(response: ModelResponse) -> Reply:
    details = response.provider_details or {}
    text = "".join(part.content for part in response.parts if isinstance(part, TextPart))
    text = text or str(details.get("refusal") or "")  # an answer too, as on our wires
    reason = str(response.finish_reason or details.get("finish_reason") or "stop")
    finish = "tool_calls" if reason == "tool_call" else reason
    return Reply((text,), _usage(response), finish, response.model_name or "", response.provider_response_id or "")


def _usage(response: ModelResponse) -> Usage | None:
    told = response.usage
    if told.unmeasured_requests or not (told.input_tokens or told.output_tokens):
        return None
    thought = told.output_reasoning_tokens or told.details.get("reasoning_tokens", 0)
    hour = getattr(told, "cache_write_1h_tokens", 0) or 0
    written = told.cache_write_tokens
    return Usage(told.input_tokens, told.output_tokens, told.cache_read_tokens, thought, written, min(hour, written))
