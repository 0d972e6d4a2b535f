"""What every client prints at its end. It imports nothing of fanfold, for peers run without it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

FromFile = Callable[[Path, Path, str, int], None]
InMemory = Callable[[Sequence[dict[str, Any]], str, int], Awaitable[Sequence[str]]]


def run(client: FromFile) -> None:
    """Run a client by the command line's arguments; print seconds, CPU, peak memory and the rows that it wrote."""
    source, out, url, in_flight = sys.argv[1:]
    began, cpu = time.perf_counter(), time.process_time()
    client(Path(source), Path(out), url, int(in_flight))
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    # Not ru_maxrss: that begins with what the process was that started this one.
    status = Path("/proc/self/status").read_text("ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    with Path(out).open("rb") as file:
        rows = sum(1 for _ in file)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak, "rows": rows}))


def in_memory(client: InMemory) -> FromFile:
    """A client of one that wants all rows at once, and gives all replies at once."""

    def whole(source: Path, out: Path, url: str, in_flight: int) -> None:
        rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
        said = asyncio.run(_awaited(client(rows, url, in_flight)))
        made = ({**row, "output": text} for row, text in zip(rows, said, strict=True))
        out.write_text("".join(f"{json.dumps(row)}\n" for row in made), encoding="utf-8")

    return whole


async def _awaited(work: Awaitable[Sequence[str]]) -> Sequence[str]:
    return await work
