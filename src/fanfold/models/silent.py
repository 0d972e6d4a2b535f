"""Models that are not asked: what a replay needs of a model is its name, and whether it takes a JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.errors import ReplayMiss
from fanfold.models.names import Line, Openable, bridged, described_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanfold.core.records import Rate, Reply, Request, Watch
    from fanfold.models.names import ModelLike, Settings


class SilentModel:
    """A model by its name, with no way to it: needs no key, and opens nothing."""

    made_up = False
    given_rate: Rate | None = None

    def __init__(self, label: str, *, structured: bool) -> None:
        self.label = label
        self.structured = structured

    async def send(self, request: Request, watch: Watch) -> Reply:
        """Never: a replay sends nothing."""
        del request, watch
        raise ReplayMiss(f"a replay does not send to {self.label}")


def silent_line(spec: ModelLike, settings: Settings) -> Line:
    """What `spec` names, for a replay; raises `ModelError` for what is no model."""
    described: Any = described_by(spec, settings) if isinstance(spec, str) else bridged(spec)
    if not isinstance(described, Openable):
        return Line(described, None)
    label = getattr(described, "label", repr(described))
    return Line(SilentModel(label, structured=getattr(described, "answers_schema", False)), None)


def secrets_in(settings: Settings) -> Iterator[str]:
    """The keys that a session was given."""
    for given in ({"api_key": settings.api_key}, *settings.providers.values()):
        key = given.get("api_key")
        if isinstance(key, str):
            yield key


def secrets_of(line: Line) -> frozenset[str]:
    """The keys that an open model sends."""
    target = getattr(line.model, "target", None)
    return frozenset() if target is None else target.secrets()
