"""`fanfold models`: which models can be used now; local servers are asked, all at the same time."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial

import msgspec

from fanfold.cli.visible import lines_of
from fanfold.core.fan import fan
from fanfold.core.records import Branch
from fanfold.errors import ConnectError, ModelError
from fanfold.folds.collect import Collect
from fanfold.models.endpoints import PROVIDERS, endpoint
from fanfold.models.recordings import models as recorded_models
from fanfold.models.transport import Transport, chosen, open_transport

PATIENCE = 1.0
"""Seconds that a local server has to answer."""


class Found(msgspec.Struct, frozen=True):
    """One provider: whether it can be used now, with which models (as far as it tells), and what else to know."""

    provider: str
    usable: bool
    models: tuple[str, ...]
    note: str


class _Listed(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Listed] | None  # Ollama without a model gives null


async def find_models() -> list[Found]:
    """Ask the local servers, look for the keys of the others."""
    local = [name for name, provider in PROVIDERS.items() if provider.local]
    transport = open_transport(chosen())
    try:
        servers = await fan([Branch(name, partial(_ask, transport, name)) for name in local], Collect[Found]("fail"))
    finally:
        await transport.close()
    return [*servers.values.values(), *_vendors(), *_built_in()]


async def _ask(transport: Transport, provider: str) -> Found:
    try:
        target = endpoint(provider, "models")
        url = target.url.removesuffix("/chat/completions") + "/models"
        status, body = await transport.get(url, target.headers, PATIENCE)
    except ConnectError:
        return Found(provider, False, (), f"no server; start it: {PROVIDERS[provider].start}")
    except ModelError as error:
        return Found(provider, False, (), str(error))
    try:
        listed = msgspec.json.decode(body, type=_Listing).data or []
    except msgspec.MsgspecError:
        return Found(provider, False, (), f"{url} answered {status}, not a list of models")
    models = tuple(f"{provider}:{model.id}" for model in listed)
    return Found(provider, True, models, f"answers at {url}" + ("" if models else ", and has no models yet"))


def _vendors() -> list[Found]:
    found = []
    for name, provider in PROVIDERS.items():
        if not provider.local:
            needed = [provider.key] if provider.url else [provider.key, provider.url_name]
            lacking = [variable for variable in needed if not os.environ.get(variable)]
            note = f"set {' and '.join(lacking)}" if lacking else f"{provider.key} is set: {name}:MODEL for any of its"
            found.append(Found(name, not lacking, (), note))
    return found


def _built_in() -> list[Found]:
    recorded = tuple(f"recorded:{name}" for name in recorded_models())
    return [
        Found("recorded", True, recorded, "real recorded answers to the questions of `fanfold demo`"),
        Found("fake", True, ("fake:",), "made-up answers, marked as such"),
    ]


def show_models(*, as_json: bool) -> int:
    """Print what can be used; gives the exit code."""
    found = asyncio.run(find_models())
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode({"providers": found}), indent=2) + b"\n")
        return 0
    for one in sorted(found, key=lambda one: not one.usable):
        print_provider(one)
    return 0


def print_provider(found: Found) -> None:
    """One provider and its models, as text."""
    mark = "+" if found.usable else "-"
    sys.stdout.write(lines_of([f"{mark} {found.provider:10} {found.note}", *(f"    {name}" for name in found.models)]))
