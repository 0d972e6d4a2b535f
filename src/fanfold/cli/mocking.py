"""`fanfold mock`: serve recorded or made-up answers over HTTP until interrupted."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

from fanfold.cli.ending import DONE, say
from fanfold.errors import UsageError
from fanfold.testing.server import ModelServer

KEEP = 1000
"""Requests that the server remembers; it may run for weeks."""


def serve(
    *,
    host: str,
    port: int,
    answers: Literal["recorded", "fake"],
    latency: str,
    speed: float,
    seed: int,
) -> int:
    """Serve until Ctrl-C (or SIGTERM); gives the exit code. Raises `UsageError`, also where the port is taken."""
    server = ModelServer(answers, latency=_latency(latency), speed=speed, seed=seed, host=host, port=port, keep=KEEP)
    try:
        asyncio.run(server.run_forever(_announce))
    except KeyboardInterrupt:
        say("stopped")
    return DONE


def _announce(server: ModelServer) -> None:
    """The URL by itself for scripts that read it; for people, what it is good for."""
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    told = server.statistics()
    models = ", ".join(server.models)
    say(
        f"serving {told.answers} answers (latency {told.latency}, divided by {told.speed:g}) of {models}; any client "
        "of OpenAI's takes this as its base URL; Ctrl-C stops it"
    )


def _latency(given: str) -> float | Literal["recorded"]:
    if given == "recorded":
        return "recorded"
    try:
        return float(given)
    except ValueError:
        raise UsageError(f"--latency {given!r}: give seconds, or recorded") from None
