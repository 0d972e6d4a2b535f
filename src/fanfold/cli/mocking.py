"""`fanfold mock`: serve recorded or made-up answers over HTTP until interrupted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from fanfold.cli.ending import DONE, say
from fanfold.testing.server import ModelServer
from fanfold.testing.server.options import server_of

KEEP = 1000
"""Requests that the server remembers; it may run for weeks."""


def serve(given: Mapping[str, Any]) -> int:
    """Serve as the command's options say until Ctrl-C (or SIGTERM); gives the exit code. Raises `UsageError`."""
    server = server_of(given, keep=KEEP)
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
