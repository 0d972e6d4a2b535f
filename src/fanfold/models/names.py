"""From a name to a model: ``provider:model`` strings, and objects that users bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from fanfold.core.records import Model, Rate
from fanfold.errors import ModelError
from fanfold.models.anthropic import Anthropic
from fanfold.models.endpoints import PROVIDERS, known
from fanfold.models.fake import FakeModel
from fanfold.models.openai import OpenAI
from fanfold.models.prices import flat, rate
from fanfold.models.transport import TransportName

if TYPE_CHECKING:
    from fanfold.models.transport import Transport


FOREIGN: Mapping[tuple[str, str], str] = {
    ("langchain_core.language_models.chat_models", "BaseChatModel"): "langchain",
    ("pydantic_ai.models", "Model"): "pydantic-ai",
}
"""The base classes of the models that are bridged, by module and name."""


@runtime_checkable
class Openable(Protocol):
    """A description of a model that needs a session's connections to become one."""

    def open(self, transport: Transport) -> Model:
        """The model, over `transport`."""
        ...


class LangChainChat(Protocol):
    """A LangChain chat model, as a type checker sees it without LangChain."""

    async def ainvoke(self, input: Any, config: Any = None) -> Any:
        """Its own call."""
        ...

    def bind_tools(self, tools: Any) -> Any:
        """What other Runnables do not have."""
        ...


class PydanticAIChat(Protocol):
    """A model of pydantic-ai, as a type checker sees it without pydantic-ai."""

    @property
    def model_name(self) -> str:
        """Its name at its provider."""
        ...

    async def request(self, messages: Any, model_settings: Any, model_request_parameters: Any) -> Any:
        """Its own call."""
        ...


ModelLike: TypeAlias = str | Model | Openable | LangChainChat | PydanticAIChat
"""What may be given as a model: ``provider:name``, a model or the description of one, or one of a bridged framework."""


class Settings(msgspec.Struct, frozen=True):
    """What a session was told: the key and URL of its own model's provider, those of others by name, what does HTTP."""

    model: ModelLike | None = None
    api_key: str | None = None
    base_url: str | None = None
    providers: Mapping[str, Mapping[str, Any]] = {}
    allow_http: bool = False
    transport: TransportName = "aiohttp"

    def __repr__(self) -> str:
        return f"Settings({self.model!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("model", self.model)]


class Line(msgspec.Struct, frozen=True):
    """An open model and its price (None where it is not known)."""

    model: Model
    rate: Rate | None


def open_line(spec: ModelLike, settings: Settings, transport: Callable[[], Transport]) -> Line:
    """Open what `spec` names; raises `ModelError`. `transport` is called only for models that need one."""
    described: Any = described_by(spec, settings) if isinstance(spec, str) else bridged(spec)
    model: Model = described.open(transport()) if isinstance(described, Openable) else described
    if not callable(getattr(model, "send", None)):
        raise ModelError(
            f"{spec!r} is not a model: give 'provider:model', OpenAI(...), a model of LangChain or pydantic-ai, or an "
            "object with send()"
        )
    given: Rate | None = getattr(model, "given_rate", None)
    if given is None and not model.made_up:
        given = rate(model.label)
    return Line(model, given)


def priced(spec: ModelLike, settings: Settings) -> tuple[str, Rate | None, bool]:
    """The label and the price of what `spec` names, and whether it has none for it is made up, without opening it."""
    described: Any = described_by(spec, settings) if isinstance(spec, str) else bridged(spec)
    label = getattr(described, "label", repr(spec))
    given = getattr(described, "given_rate", None) or flat(getattr(described, "price", None))
    made_up = bool(getattr(described, "made_up", False))
    return label, given if given is not None or made_up else rate(label), made_up and given is None


def described_by(name: str, settings: Settings) -> Model | Openable:
    """The model that a ``provider:model`` string names."""
    provider, colon, rest = name.partition(":")
    if provider == "fake":
        return FakeModel(seed=rest, label=name if colon else "fake:")
    if provider == "recorded":
        from fanfold.models.recorded import RecordedModel  # unpacks the recordings

        return RecordedModel(rest)
    own = settings.base_url is not None or settings.api_key is not None
    if provider not in PROVIDERS and settings.base_url is not None:
        return _described("openai", name, settings, own=True)
    if not colon or not rest:
        raise ModelError(
            f"the model {name!r} names no provider: write it like 'openai:gpt-4o-mini' or 'ollama:llama3.2'"
            + (f", here {_with_provider(name)!r}?" if name and not colon else "")
        )
    return _described(provider, rest, settings, own=own and provider == own_provider(settings))


def _with_provider(name: str) -> str:
    """What a bare name probably means: other libraries write ``openai/gpt-4o``, and claude is Anthropic's."""
    provider, slash, rest = name.partition("/")
    if slash and rest and provider in PROVIDERS:
        return f"{provider}:{rest}"
    return f"{'anthropic' if name.startswith('claude') else 'openai'}:{name}"


def bridged(thing: Any) -> Any:
    """A model of LangChain or pydantic-ai as one of ours; all else as it is."""
    match framework(thing):
        case "langchain":
            from fanfold.models.langchain import LangChainModel  # an extra

            return LangChainModel(thing)
        case "pydantic-ai":
            from fanfold.models.pydantic_ai import PydanticAIModel  # an extra

            return PydanticAIModel(thing)
        case _:
            return thing


def framework(thing: Any) -> str | None:
    """The framework whose model a thing is, told by the names of its classes: to ask neither need be installed."""
    names = ((base.__module__, base.__name__) for base in type(thing).__mro__)
    return next((FOREIGN[name] for name in names if name in FOREIGN), None)


def own_provider(settings: Settings) -> str:
    """The provider that a session's own key and URL are for: its model's, else OpenAI."""
    provider = settings.model.partition(":")[0] if isinstance(settings.model, str) else "openai"
    return provider if provider in PROVIDERS else "openai"


def _described(provider: str, name: str, settings: Settings, *, own: bool) -> Openable:
    known(provider)
    given: dict[str, Any] = dict(settings.providers.get(provider, {}))
    if own:
        given = {"api_key": settings.api_key, "base_url": settings.base_url, **given}
    given.setdefault("allow_http", settings.allow_http)
    kind = "Anthropic" if provider == "anthropic" else "OpenAI"
    try:
        if provider == "anthropic":
            return Anthropic(name=name, **given)
        return OpenAI(name=name, provider=provider, **given)
    except TypeError as error:
        raise ModelError(f"providers[{provider!r}]: {error}; it takes the options of {kind}(...)") from None
