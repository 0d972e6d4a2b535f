"""`fanfold mock`: serve recorded or made-up answers over HTTP until interrupted."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

from fanfold.core.clock import sleep
from fanfold.errors import UsageError
from fanfold.testing.server import ModelServer

DAY = 86_400.0


def serve(
    *,
    host: str,
    port: int,
    answers: Literal["recorded", "fake"],
    latency: str,
    speed: float,
    seed: int,
) -> int:
    """Serve until Ctrl-C; gives the exit code."""
    try:
        server = ModelServer(answers, latency=_latency(latency), speed=speed, seed=seed, host=host, port=port)
        asyncio.run(_serve(server))
    except UsageError as error:
        sys.stderr.write(f"fanfold: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"fanfold: cannot listen on {host}:{port} ({error.strerror}); try another --port, or 0\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("fanfold: stopped\n")
    return 0


async def _serve(server: ModelServer) -> None:
    async with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stderr.write(f"{server!r}; stop it with Ctrl-C\n")
        while True:
            await sleep(DAY)


def _latency(given: str) -> float | Literal["recorded"]:
    if given == "recorded":
        return "recorded"
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < DAY:
        raise UsageError(f"--latency {given!r}: give seconds, or 'recorded'")
    return seconds
