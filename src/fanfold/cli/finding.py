"""`fanfold models`: which models can be used now; local servers are asked, all at the same time."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial

import msgspec

from fanfold.core.fan import fan
from fanfold.core.records import Branch
from fanfold.errors import CallError, FanfoldError
from fanfold.folds.collect import Collect
from fanfold.models.endpoints import PROVIDERS, endpoint
from fanfold.models.recordings import models as recorded_models
from fanfold.models.transport import Transport

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
    data: list[_Listed]


async def find_models() -> list[Found]:
    """Ask the local servers, look for the keys of the others."""
    local = [name for name, provider in PROVIDERS.items() if provider.local]
    transport = Transport()
    try:
        branches = [Branch(name, partial(_ask, transport, name)) for name in local]
        asked = await fan(branches, Collect[Found]("skip"), timeout=PATIENCE * 2)
    except FanfoldError:
        asked = None
    finally:
        await transport.close()
    answered = asked.values if asked is not None else {}
    silent = [Found(name, False, (), f"no server; start it: {PROVIDERS[name].start}") for name in local]
    servers = [answered.get(found.provider, found) for found in silent]
    return [*servers, *_vendors(), *_built_in()]


async def _ask(transport: Transport, provider: str) -> Found:
    target = endpoint(provider, "models")
    url = target.url.removesuffix("/chat/completions") + "/models"
    status, body = await transport.get(url, target.headers, PATIENCE)
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except msgspec.MsgspecError:
        raise CallError(f"{url} answered {status}, not a list of models") from None
    return Found(provider, True, tuple(f"{provider}:{model.id}" for model in listing.data), f"answers at {url}")


def _vendors() -> list[Found]:
    found = []
    for name, provider in PROVIDERS.items():
        if not provider.local:
            usable = bool(os.environ.get(provider.key))
            note = f"{provider.key} is set" if usable else f"set {provider.key}"
            found.append(Found(name, usable, (), note + (f" and {provider.url_name}" if not provider.url else "")))
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
    sys.stdout.write(f"{mark} {found.provider:10} {found.note}\n")
    for model in found.models:
        sys.stdout.write(f"    {model}\n")
