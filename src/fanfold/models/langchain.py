"""The bridge to LangChain: any of its chat models serves as a model here (extra: ``fanfold[langchain]``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_messages
from langchain_core.runnables import Runnable, RunnableSequence

from fanfold.core.records import Reply, Usage
from fanfold.errors import UsageError
from fanfold.models import chat
from fanfold.models.bridging import Bridge, Hearing, label_of
from fanfold.models.messages import FINISHES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

    from fanfold.core.records import Request

logger = logging.getLogger("fanfold")

CEILINGS = ("max_tokens", "max_output_tokens", "num_predict", "max_new_tokens")
"""What chat models call the most output tokens; the first that a model has is set."""


class Asked(msgspec.Struct, frozen=True):
    """A request as LangChain takes it: what to call, with what."""

    runnable: Runnable[Any, Any]
    messages: list[BaseMessage]
    options: dict[str, Any]


class LangChainModel(Bridge[Asked]):
    """A LangChain chat model as a model here. `prompt(model=...)` and `Session(model=...)` make it of themselves.

    Its own retries are switched off, and so is LangChain's cache, which would give five voters one sample. `label` is
    ``provider:name``, where LangChain's own name for it does not lead to its price; `price` is USD per million (input,
    output) tokens; `structured` says whether it honours a JSON Schema (default: what its profile says).

    An `extra_body` becomes keyword arguments of the model's call, as in its `bind()`.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        label: str | None = None,
        structured: bool | None = None,
        price: tuple[float, float] | None = None,
    ) -> None:
        made_up = type(model).__module__.startswith("langchain_core.language_models.fake")
        knows = bool((model.profile or {}).get("structured_output"))
        super().__init__(
            label or _label(model), made_up=made_up, structured=knows if structured is None else structured, price=price
        )
        self.model = _without_retries(model)
        if self.model.__class__.model_fields.get("max_retries") is None and not made_up:
            logger.warning(
                "%s: LangChain's %s has no max_retries, so fanfold cannot tell whether it tries again on its own",
                self.label,
                type(model).__name__,
            )

    def prepared(self, request: Request, *, structured: bool) -> Asked:
        """The chat model set up for this request, its messages, and the keyword arguments of the call."""
        settings: dict[str, Any] = {}
        options = dict(request.extra_body or {})
        if request.temperature is not None:
            _set(self.model, ("temperature",), request.temperature, settings, options)
        if request.max_tokens is not None:
            _set(self.model, CEILINGS, request.max_tokens, settings, options)
        model = self.model.model_copy(update=settings) if settings else self.model
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        try:
            spoken = convert_to_messages(messages)
        except (KeyError, ValueError, NotImplementedError) as error:
            raise UsageError(f"{self.label}: LangChain has no such message: {error}") from error
        if not structured:
            return Asked(model, spoken, options)
        return Asked(self._held_to(model, request, options), spoken, {})

    async def ask(self, prepared: Asked, hearing: Hearing) -> None:
        """Call `ainvoke`."""
        try:
            said = _reply(await prepared.runnable.ainvoke(prepared.messages, **prepared.options))
        except Exception as error:
            if (held := self._held_by(error)) is None:
                raise
            said = held
        hearing.done(said)

    async def listen(self, prepared: Asked, hearing: Hearing) -> None:
        """Call `astream`, which is `ainvoke` where the model does not stream."""
        chunks: list[Any] = []
        try:
            async for chunk in prepared.runnable.astream(prepared.messages, **prepared.options):
                chunks.append(chunk)
                hearing.text(str(chunk.text))
        except Exception as error:
            if (held := self._held_by(error)) is None:
                raise
            hearing.done(held)
        else:
            if chunks:
                first, *rest = chunks
                hearing.done(_reply(first + rest if isinstance(first, AIMessageChunk) else first))

    def _held_by(self, error: Exception) -> Reply | None:
        """The reply in an error: so OpenAI's SDK tells what is cut at its ceiling, or filtered, under a schema."""
        whole = getattr(error, "completion", None)
        return None if whole is None else chat.reply_of(whole.model_dump_json().encode(), self.label)

    def _held_to(self, model: BaseChatModel, request: Request, options: dict[str, Any]) -> Runnable[Any, Any]:
        """The chat model held to the request's schema, without LangChain's parser behind it: ours reads the reply."""
        schema = {"title": request.schema_name, "description": "The answer.", **(request.schema or {})}
        try:
            held = model.with_structured_output(schema, method="json_schema", **options)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise UsageError(
                f"{self.label} cannot be held to a JSON schema ({error}): say structured=False, and the prompt says it "
                "in words"
            ) from error
        return held.first if isinstance(held, RunnableSequence) else held


def _label(model: BaseChatModel) -> str:
    told = model._get_ls_params()  # noqa: SLF001  # its name for who bills and for what: what every partner fills in
    return label_of(told.get("ls_provider") or "langchain", told.get("ls_model_name") or type(model).__name__)


def _without_retries(model: BaseChatModel) -> BaseChatModel:
    """A copy that asks once. SDK clients keep the number they were made with, so those it holds are copied, too."""
    fields = type(model).model_fields
    changed: dict[str, Any] = {"cache": False}
    if "max_retries" in fields:
        changed["max_retries"] = 0
    if "stream_usage" in fields and "stream_usage" not in model.model_fields_set:
        changed["stream_usage"] = True  # else a stream behind a base URL tells no usage, and its cost is unknown
    for name, held in vars(model).items():
        client = _asking_once(held)
        if client is not held:
            changed[name] = client
    return model.model_copy(update=changed)


def _asking_once(held: Any) -> Any:
    """An SDK's client, or a resource of one (``client.chat.completions``), without retries; all else as it is."""
    if _is_client(held):
        return held.with_options(max_retries=0)
    inner = getattr(held, "_client", None)
    return type(held)(_asking_once(inner)) if _is_client(inner) else held


def _is_client(held: Any) -> bool:
    """Whether it is a client of the kind that OpenAI, Anthropic, Groq and others ship, made by one generator."""
    return isinstance(getattr(held, "max_retries", None), int) and callable(getattr(held, "with_options", None))


def _set(
    model: BaseChatModel, names: tuple[str, ...], value: Any, settings: dict[str, Any], options: dict[str, Any]
) -> None:
    """Set a field of the model; where it has none of these, it is a keyword argument of the call."""
    field = next((name for name in names if name in type(model).model_fields), None)
    if field is None:
        options.setdefault(names[0], value)
    else:
        settings[field] = value


def _reply(message: AIMessage) -> Reply:
    said, told = str(message.text), message.response_metadata
    if not said and message.tool_calls:
        said = msgspec.json.encode(message.tool_calls[0]["args"]).decode()  # some are held to a schema by a tool
    said = said or _refusal(message)
    reason = str(told.get("finish_reason") or told.get("stop_reason") or "stop")
    name = told.get("model_name") or told.get("model") or ""
    return Reply((said,), _usage(message), FINISHES.get(reason, reason), str(name), message.id or "")


def _refusal(message: AIMessage) -> str:
    """The words of a refusal, which OpenAI sends beside the text: an answer too, as on our wires."""
    blocks = message.content if isinstance(message.content, list) else ()
    told = [one.get("refusal") for one in blocks if isinstance(one, dict)]
    return "".join(str(words) for words in (message.additional_kwargs.get("refusal"), *told) if words)


def _usage(message: AIMessage) -> Usage | None:
    told = message.usage_metadata
    if told is None or told["input_tokens"] == told["output_tokens"] == 0:  # nobody counted
        return None
    given: Mapping[str, Any] = told.get("input_token_details", {})
    hour = given.get("ephemeral_1h_input_tokens") or 0  # some tell apart for how long, and then give no sum
    written = given.get("cache_creation") or hour + (given.get("ephemeral_5m_input_tokens") or 0)
    thought = told.get("output_token_details", {}).get("reasoning") or 0
    cached = given.get("cache_read") or 0
    return Usage(told["input_tokens"], told["output_tokens"], cached, thought, written, hour)
