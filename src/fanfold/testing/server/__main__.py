"""``python -m fanfold.testing.server``: run the model server; the first line printed is its URL."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from fanfold.errors import UsageError
from fanfold.testing.server.model_server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; gives the exit code."""
    options = _parser().parse_args(arguments)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    try:
        server = ModelServer(
            options.answers,
            latency=options.latency,
            first_token=options.first_token,
            between_tokens=options.between_tokens,
            speed=options.speed,
            seed=options.seed,
            host=options.host,
            port=options.port,
            keep=1000,
        )
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(server, attached=options.attached))
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def _serve(server: ModelServer, *, attached: bool) -> None:
    if not attached:
        await server.run_forever(_announce)
        return
    async with server:
        _announce(server)
        await asyncio.to_thread(sys.stdin.read)


def _announce(server: ModelServer) -> None:
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fanfold.testing.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--answers", choices=("recorded", "fake"), default="recorded")
    parser.add_argument("--latency", type=_seconds, default=0.0, help="seconds, or 'recorded'")
    parser.add_argument("--first-token", type=float, help="seconds, of streamed replies")
    parser.add_argument("--between-tokens", type=float, default=0.0, help="seconds, of streamed replies")
    parser.add_argument("--speed", type=float, default=1.0, help="divides every time")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--core", type=int, help="the one core to run on (Linux)")
    parser.add_argument("--attached", action="store_true", help="end when standard input does")
    return parser


def _seconds(text: str) -> float | str:
    return text if text == "recorded" else float(text)


if __name__ == "__main__":
    raise SystemExit(main())
