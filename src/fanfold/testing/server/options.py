"""The options of the two commands that run a model server, and what they mean; both read them here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.errors import UsageError
from fanfold.testing.server.faults import Fault
from fanfold.testing.server.limits import Limits
from fanfold.testing.server.model_server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRUE = {"true": True, "false": False}


def server_of(given: Mapping[str, Any], *, keep: int) -> ModelServer:
    """The server that options describe, by their names; None is what was not given. Raises `UsageError`."""
    first = given["first_token"]
    return ModelServer(
        _answers(given),
        latency=seconds_of("latency", given["latency"]),
        first_token=None if first is None else seconds_of("first-token", first),
        between_tokens=given["between_tokens"],
        speed=given["speed"],
        seed=given["seed"],
        host=given["host"],
        port=given["port"],
        limits=limits_of(given),
        faults=[Fault.parse(text) for text in given["fault"] or ()],
        price=price_of(given["price"] or ()),
        reasoning=given["reasoning"],
        keep=keep,
    )


def _answers(given: Mapping[str, Any]) -> Any:
    """What the server answers with: a recording where one was given."""
    recording, answers = given.get("recording"), given["answers"]
    if recording is None:
        return answers or "recorded"
    if answers is not None:
        raise UsageError(
            f"--answers {answers} and --recording {recording}: give one of them, as both say what it answers"
        )
    from fanfold.testing.server.recording import RecordingModel  # loads SQLite

    return RecordingModel(recording)


def limits_of(given: Mapping[str, Any]) -> Limits:
    """The limits among options; raises `UsageError`."""
    told = {name: given[name] for name in Limits.__struct_fields__ if given.get(name) is not None}
    if "should_retry" in told:
        if told["should_retry"] not in TRUE:
            raise UsageError(f"--should-retry {told['should_retry']!r}: say true or false")
        told["should_retry"] = TRUE[told["should_retry"]]
    return Limits(**told)


def seconds_of(name: str, given: str) -> float | str:
    """Seconds, or the name of something that makes them, left for `Pace` to judge."""
    try:
        return float(given)
    except ValueError:
        if given in {"recorded", "stream"} or ":" in given:
            return given
    raise UsageError(f"--{name} {given!r}: give seconds, recorded, stream, uniform:LOW,HIGH or lognormal:MEDIAN,SIGMA")


def price_of(given: Sequence[str]) -> tuple[float, float] | dict[str, tuple[float, float]] | None:
    """A price for all models (``0.15,0.6``) or one for each (``MODEL=0.15,0.6``); raises `UsageError`."""
    if not given:
        return None
    named = {}
    for text in given:
        model, _, figures = text.rpartition("=")
        try:
            one, other = map(float, figures.split(","))
        except ValueError:
            raise UsageError(f"--price {text!r}: write INPUT,OUTPUT or MODEL=INPUT,OUTPUT, USD per million") from None
        named[model] = (one, other)
    if "" not in named:
        return named
    if len(named) > 1:
        raise UsageError("--price: give one price for all models, or one for each by name, not both")
    return named[""]
