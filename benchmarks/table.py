"""A table of rows against a server that takes 20 ms: rows a second, CPU a row, memory, and going on, beside others.

    python benchmarks/table.py [--rows 100000] [--beside 10000] [--in-flight 64] [--peers PYTHON]

The server runs in a process of its own, on the other core, and so does every client. First fanfold by itself, at a
tenth of the rows and at all of them: its peak memory should differ by at most 10 %, the journal should take at most 3 %
of the rows a second where the server is the limit, and the same once more, with all of the table there, at most 5 % of
the time. Then the first rows side by side with what people write by hand (gather and a JSONL file) and, where its
environment is there, with async-batch-llm.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from served import server

HERE = Path(__file__).parent
PAUSE = 0.02
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class Taken:
    """What a client took: seconds, seconds of CPU, bytes of memory at most, and the rows it wrote."""

    wall: float
    cpu: float
    peak: int
    rows: int


def client(python: str, name: str, source: Path, out: Path, url: str, in_flight: int) -> Taken:
    """Run one client, on this process's core."""
    command = [python, "-m", f"tables.{name}", str(source), str(out), url, str(in_flight)]
    environment = {**os.environ, "PYTHONPATH": path_of(name)}
    done = subprocess.run(command, cwd=HERE, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Taken(**json.loads(done.stdout.splitlines()[-1]))


def path_of(name: str) -> str:
    """Where the client finds its modules; a peer has nothing of fanfold's environment."""
    return os.pathsep.join([str(HERE), *(sys.path if name.startswith("by_fanfold") else [])])


def table(folder: Path, rows: int) -> Path:
    """A JSON Lines file of so many rows."""
    path = folder / f"{rows}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"id": at, "text": f"Item {at}: {'paper fold river ' * 12}"}) + "\n" for at in range(rows)
        )
    return path


def show(name: str, rows: int, taken: Taken) -> None:
    """One line."""
    if taken.rows != rows:
        raise SystemExit(f"{name} wrote {taken.rows} rows of {rows}")
    rate, cpu, peak = rows / taken.wall, taken.cpu / rows * 1e6, taken.peak / 1e6
    print(f"  {name:20} {rows:8,} rows {taken.wall:8.1f} s {rate:8,.0f} rows/s {cpu:7.0f} µs CPU a row {peak:6.0f} MB")


def alone(folder: Path, url: str, rows: int, in_flight: int) -> None:
    """Fanfold at a tenth of the rows and at all of them, and once more with all of the table there."""
    print(f"fanfold map, {in_flight} in flight, a server that takes {PAUSE * 1e3:.0f} ms")
    taken = []
    for count in (rows // 10, rows):
        source, out = table(folder, count), folder / f"out{count}.jsonl"
        taken.append(client(sys.executable, "by_fanfold", source, out, url, in_flight))
        show("fanfold", count, taken[-1])
    bare = client(sys.executable, "by_fanfold_bare", source, folder / "bare.jsonl", url, in_flight)
    show("fanfold, no journal", rows, bare)
    again = client(sys.executable, "by_fanfold", source, out, url, in_flight)
    show("fanfold, once more", rows, again)
    print(f"  memory at {rows:,} over {rows // 10:,}: {taken[1].peak / taken[0].peak:.2f} (goal 1.10)")
    print(f"  with the journal over without: {taken[1].wall / bare.wall:.3f} of the time (goal 1.03)")
    print(f"  once more over the run: {again.wall / taken[1].wall:.1%} (goal 5 %)")


def beside(folder: Path, url: str, rows: int, in_flight: int, peers: Path) -> None:
    """The same rows by each client."""
    print(f"Side by side, {in_flight} in flight")
    source = table(folder, rows)
    clients = {"fanfold": ("by_fanfold", sys.executable), "gather and a file": ("by_gather", sys.executable)}
    if peers.exists():
        clients["async-batch-llm"] = ("by_async_batch_llm", str(peers))
    for name, (module, python) in clients.items():
        show(name, rows, client(python, module, source, folder / f"{module}.jsonl", url, in_flight))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--beside", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--peers", type=Path, default=PEERS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, server(PAUSE) as url:
        folder = Path(made)
        alone(folder, url, options.rows, options.in_flight)
        beside(folder, url, options.beside, options.in_flight, options.peers)


if __name__ == "__main__":
    main()
