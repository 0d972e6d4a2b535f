"""``python -m fanfold.testing.server``: run the model server; the first line printed is its URL."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from fanfold.errors import UsageError
from fanfold.testing.server.limits import Limits
from fanfold.testing.server.options import server_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanfold.testing.server.model_server import ModelServer

KEEP = 1000
"""Requests that the server remembers whole; its bill remembers more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; gives the exit code."""
    options = _parser().parse_args(arguments)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    try:
        server = server_of(vars(options), keep=KEEP)
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
    parser.add_argument("--latency", default="0", help="seconds, recorded, stream, uniform:LOW,HIGH, lognormal:…")
    parser.add_argument("--first-token", help="seconds, of streamed replies, fixed or drawn")
    parser.add_argument("--between-tokens", type=float, default=0.0, help="seconds, of streamed replies")
    parser.add_argument("--speed", type=float, default=1.0, help="divides every time")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--fault", action="append", default=[], help="a fault in short form, as 503:0.1; repeatable")
    parser.add_argument("--price", action="append", default=[], help="USD per million: INPUT,OUTPUT or MODEL=…")
    parser.add_argument("--reasoning", type=float, default=0.0, help="reasoning tokens, as a share of each text's")
    for name, default in zip(Limits.__struct_fields__, Limits.__struct_defaults__, strict=True):
        _add_limit(parser, f"--{name.replace('_', '-')}", default)
    parser.add_argument("--core", type=int, help="the one core to run on (Linux)")
    parser.add_argument("--attached", action="store_true", help="end when standard input does")
    return parser


def _add_limit(parser: argparse.ArgumentParser, option: str, default: object) -> None:
    """A field of `Limits` as an option; `fanfold mock --help` explains them."""
    if isinstance(default, bool):
        parser.add_argument(option, action=argparse.BooleanOptionalAction)
    elif isinstance(default, str) or option == "--should-retry":
        parser.add_argument(option)
    else:
        parser.add_argument(option, type=int if option in {"--at-once", "--assumed-output"} else float)


if __name__ == "__main__":
    raise SystemExit(main())
