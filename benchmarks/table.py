"""A table of rows against a server that takes 20 ms: rows a second, CPU a row, memory, and going on, beside others.

    make bench-table, or: python benchmarks/table.py [--rows 100000] [--beside 10000] [--in-flight 64] [--paced 16]

The server runs in a process of its own, on the other core, and so does every client. First fanfold by itself, with its
journal and without: at a tenth of the rows and at all of them its peak memory should differ by at most 10 %, and the
same once more, with all of the table there, should take at most 5 % of the time. Then at a server that is the limit,
for it works on a few requests at once and lets the others wait: there the journal should take at most 3 % of the rows a
second (the median of pairs, for no two runs are the same). And, for comparison, at one that takes all, with as few
calls in flight: what is missing there is a slot that waits until its reply is on the disk. Last the first rows side by
side with what people write by hand (gather and a JSONL file, which keeps nothing until all is there; so fanfold is here
without its journal, too), and with async-batch-llm and bespokelabs-curator, whose environments `make bench-table`
installs: fanfold should do at least as many rows a second as each.
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
from statistics import median

from served import server

HERE = Path(__file__).parent
PAUSE = 0.02


def environment(name: str) -> str:
    """The Python of an environment that make installs."""
    return str(HERE.parent / name / "bin" / "python")


OURS = {
    "fanfold": ("by_fanfold", sys.executable),
    "fanfold by wreq": ("by_fanfold_wreq", sys.executable),
    "the same, no journal": ("by_fanfold_wreq_bare", sys.executable),
}

BESIDE = {
    "gather and a file": ("by_gather", sys.executable),
    "async-batch-llm": ("by_async_batch_llm", environment(".venv-peers")),
    "bespokelabs-curator": ("by_curator", environment(".venv-curator")),
}


@dataclass(frozen=True)
class Taken:
    """What a client took: seconds, seconds of CPU, bytes of memory at most, and the rows it wrote."""

    wall: float
    cpu: float
    peak: int
    rows: int

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.wall


@dataclass
class Bench:
    """Where the clients run: a folder for their files, and the server's address."""

    folder: Path
    url: str

    def source(self, rows: int) -> Path:
        """A JSON Lines file of so many rows."""
        path = self.folder / f"{rows}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"id": at, "text": f"Item {at}: {'paper fold river ' * 12}"}) + "\n" for at in range(rows)
            )
        return path

    def run(
        self, name: str, rows: int, in_flight: int, *, python: str = sys.executable, out: str | None = None
    ) -> Taken:
        """Run one client on this process's core, into files of its own that are gone at the end, or into `out`."""
        source = self.source(rows)
        with tempfile.TemporaryDirectory(dir=self.folder) as own:
            made = Path(own) / "out.jsonl" if out is None else self.folder / out
            command = [python, "-m", f"tables.{name}", str(source), str(made), self.url, str(in_flight)]
            env = {**os.environ, "PYTHONPATH": path_of(python)}
            done = subprocess.run(command, cwd=HERE, env=env, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr.decode()}")
        taken = Taken(**json.loads(done.stdout.splitlines()[-1]))
        if taken.rows != rows:
            raise SystemExit(f"{name} wrote {taken.rows} rows of {rows}")
        return taken


def path_of(python: str) -> str:
    """Where a client finds its modules; a peer has nothing of fanfold's environment."""
    return os.pathsep.join([str(HERE), *(sys.path if python == sys.executable else [])])


def show(name: str, taken: Taken) -> None:
    """One line."""
    cpu, peak = taken.cpu / taken.rows * 1e6, taken.peak / 1e6
    figures = f"{taken.wall:8.2f} s {taken.rate:8,.0f} rows/s {cpu:7.0f} µs CPU a row {peak:6.0f} MB"
    print(f"  {name:20} {taken.rows:8,} rows {figures}", flush=True)


def ratio(what: str, found: float, bound: str, *, kept: bool) -> None:
    """What a ratio came to, and whether that is what was to be shown."""
    print(f"  {what}: {found:.3f} ({bound}: {'yes' if kept else 'NO'})", flush=True)


def alone(bench: Bench, rows: int, in_flight: int) -> None:
    """Fanfold at a tenth of the rows and at all of them, and once more with all of the table there."""
    print(f"fanfold map, {in_flight} in flight, a server that takes {PAUSE * 1e3:.0f} ms")
    tenth = bench.run("by_fanfold", rows // 10, in_flight)
    show("fanfold", tenth)
    whole = bench.run("by_fanfold", rows, in_flight, out="whole.jsonl")
    show("fanfold", whole)
    bare = bench.run("by_fanfold_bare", rows, in_flight)
    show("fanfold, no journal", bare)
    again = bench.run("by_fanfold", rows, in_flight, out="whole.jsonl")
    show("fanfold, once more", again)
    memory, time = whole.peak / tenth.peak, again.wall / whole.wall
    ratio(f"peak memory at {rows:,} rows over {rows // 10:,}", memory, "at most 1.10", kept=memory <= 1.10)
    ratio("time of the same once more over the run", time, "at most 0.05", kept=time <= 0.05)
    print(f"  CPU a row with the journal over without: {whole.cpu / bare.cpu:.3f}")
    print(f"  rows a second with the journal over without, the CPU being the limit: {whole.rate / bare.rate:.3f}")


def paced(bench: Bench, rows: int, in_flight: int, rounds: int) -> float:
    """The rows a second with the journal over those without, in turn."""
    rates = []
    for _ in range(rounds):
        kept, bare = (bench.run(name, rows, in_flight) for name in ("by_fanfold", "by_fanfold_bare"))
        show("fanfold", kept)
        show("fanfold, no journal", bare)
        rates.append(kept.rate / bare.rate)
    return median(rates)


def limited(folder: Path, rows: int, options: argparse.Namespace) -> None:
    """Where the server is the limit, and where the slots are."""
    at_once: int = options.paced
    most = f"{at_once / PAUSE:,.0f} rows/s at most"
    print(f"A server that works on {at_once} at once, {options.in_flight} in flight: {most}")
    with server(PAUSE, at_once) as url:
        found = paced(Bench(folder, url), rows, options.in_flight, options.rounds)
    ratio("rows a second with the journal over without, median", found, "at least 0.97", kept=found >= 0.97)
    print(f"A server that takes all, {at_once} in flight: {most}")
    with server(PAUSE) as url:
        found = paced(Bench(folder, url), rows, at_once, options.rounds)
    print(f"  rows a second with the journal over without, median: {found:.3f}")


def beside(bench: Bench, rows: int, in_flight: int, rounds: int) -> None:
    """The same rows by each client, in turn; of each the round with the median time."""
    print(f"Side by side, {in_flight} in flight, medians of {rounds}")
    taken: dict[str, list[Taken]] = {name: [] for name, (_, python) in (OURS | BESIDE).items() if Path(python).exists()}
    for _ in range(rounds):
        for name, found in taken.items():
            module, python = (OURS | BESIDE)[name]
            found.append(bench.run(module, rows, in_flight, python=python))
    middle = {name: sorted(found, key=lambda one: one.wall)[len(found) // 2] for name, found in taken.items()}
    for name, one in middle.items():
        show(name, one)
    for ours in OURS:
        for name in [name for name in BESIDE if name in middle]:
            over = middle[ours].rate / middle[name].rate
            ratio(f"rows a second of {ours} over {name}", over, "at least 1", kept=over >= 1)
    for name in BESIDE.keys() - middle.keys():
        print(f"  {name} is not here: `make bench-table` installs it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the table that fanfold makes alone")
    parser.add_argument("--beside", type=int, default=10_000, help="rows that each client makes, and of a paced run")
    parser.add_argument("--in-flight", type=int, default=64, help="calls on the wire at once")
    parser.add_argument("--paced", type=int, default=16, help="requests at once of a server that is the limit")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(PAUSE) as url:
            alone(Bench(folder, url), options.rows, options.in_flight)
        limited(folder, options.beside, options)
        with server(PAUSE) as url:
            beside(Bench(folder, url), options.beside, options.in_flight, options.rounds)


if __name__ == "__main__":
    main()
