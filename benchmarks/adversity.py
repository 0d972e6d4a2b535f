"""Slow, limited and failing servers: fanfold beside what people use instead, against the same model server.

    python benchmarks/adversity.py [--only limited,outage] [--clients fanfold,gather,...] [--seeds 5] [--log FILE]

Each run is a fresh server in a process of its own and a client in another. `limited`: 2,000 calls at a server that
takes so many requests and tokens a second. `stragglers`: fans of ten, where 3 % of the first tokens come late.
`outage`: 2,000 calls, and for 20 s the server answers 503. A client that has not come to its end after four minutes is
ended: its fans under way count with the time that they had, and their calls as failed. The bill is the server's own
count. The peers run in environments of their own (`make bench-peers` makes them), since their needs exclude each other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.workload import PATIENCE

from fanfold.testing.server.apart import apart

HERE = Path(__file__).parent
ROOT = HERE.parent

CLIENTS = ("fanfold", "gather", "openai", "langchain", "litellm", "async_batch_llm", "inspect")
APART = {"inspect": ".venv-inspect"}
"""Whose environment is its own; the other peers share one."""

RATE = 100.0
"""Requests a second that the limited server takes; it holds as many for a burst."""

TOKENS = 13_500.0
"""Tokens a second that it takes, and holds, metered when it admits a call: input and `max_tokens`, some 130 a call."""

LONGEST = PATIENCE + 30.0
"""Seconds after which a client is ended that has not even reported that its patience is over."""


@dataclass(frozen=True)
class Scenario:
    """What the server does, what the clients have to do, and how long that takes where nothing is lost."""

    server: tuple[str, ...]
    work: dict[str, Any]
    ideal: float


SCENARIOS = {
    "limited": Scenario(
        (
            *("--rpm", str(60 * RATE), "--tpm", str(60 * TOKENS), "--per", "60"),
            *("--window", "bucket", "--burst", str(RATE), "--burst-tokens", str(TOKENS)),
            *("--latency", "lognormal:0.3,0.3"),
        ),
        {"fans": 200, "requests_per_minute": 60 * RATE, "tokens_per_minute": 60 * TOKENS},
        2000 / RATE - 1 + 0.3,
    ),
    "stragglers": Scenario(
        ("--latency", "0.2", "--fault", "stragglers:0.03x15"), {"fans": 100, "at_once": 10, "hedge": True}, 2.0
    ),
    "outage": Scenario(("--latency", "0.3", "--fault", "outage:3+20"), {"fans": 200}, 20.0 + 2000 / 64 * 0.3),
}


@dataclass(frozen=True)
class Outcome:
    """One run of one client in one scenario."""

    wall_over_ideal: float
    refused: int
    sends_per_call: float
    p50: float
    p95: float
    p99: float
    failed: int
    usd: float
    cpu: float


COLUMNS = ("wall_over_ideal", "refused", "sends_per_call", "p50", "p95", "p99", "failed", "usd", "cpu")


def python_of(client: str) -> str:
    """The interpreter that has the client's packages."""
    if client == "fanfold":
        return sys.executable
    return str(ROOT / APART.get(client, ".venv-peers") / "bin" / "python")


async def outcome(client: str, scenario: Scenario, seed: int) -> Outcome:
    """One run."""
    async with apart("--answers", "fake", "--seed", str(seed), *scenario.server) as url:
        work = {"url": url, "seed": seed, **scenario.work}
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        process = await asyncio.create_subprocess_exec(
            *(python_of(client), "-m", "peers.workload", f"by_{client}", json.dumps(work)),
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": path, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        said, ended = await _said(process)
        bill = await asyncio.to_thread(_bill, url)
    if not said and not ended:
        raise SystemExit(f"{client} made no report; is its environment there? `make bench-peers` makes it")
    fans = scenario.work["fans"]
    calls = fans * 10
    report = json.loads(said.splitlines()[-1]) if said else _unreported(fans, int(bill["by_status"].get("200", 0)))
    cuts = statistics.quantiles(report["fans"], n=100, method="inclusive")
    return Outcome(
        report["wall"] / scenario.ideal,
        int(bill["by_status"].get("429", 0)),
        bill["calls"] / calls,
        cuts[49],
        cuts[94],
        cuts[98],
        report["failed"],
        bill["usd"],
        report["cpu"],
    )


async def _said(process: asyncio.subprocess.Process) -> tuple[str, bool]:
    """What a client reports, and whether it had to be ended: one that heeds its own patience reports before."""
    saying = asyncio.create_task(process.communicate())
    _, late = await asyncio.wait([saying], timeout=LONGEST)
    if late:
        process.kill()
    said, _ = await saying
    return said.decode(), bool(late)


def _unreported(fans: int, answered: int) -> dict[str, Any]:
    """The report of a client that was ended before it made one: what the server did not answer has failed."""
    return {"wall": LONGEST, "cpu": math.nan, "fans": [LONGEST] * fans, "failed": fans * 10 - answered}


def _bill(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/bill?charges=no") as response:
        found: dict[str, Any] = json.load(response)
        return found


async def main() -> None:
    """Run all asked for, and print medians over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="where to add every single outcome, a line of JSON each")
    options = parser.parse_args()
    clients = options.clients.split(",")
    for name in options.only.split(","):
        runs: dict[str, list[Outcome]] = {client: [] for client in clients}
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for client in clients:  # one after another, so that what else the machine does falls on all of them
                runs[client].append(await outcome(client, SCENARIOS[name], seed))
                if options.log:
                    with options.log.open("a") as log:
                        log.write(
                            json.dumps({"scenario": name, "client": client, "seed": seed, **vars(runs[client][-1])})
                        )
                        log.write("\n")
        print_table(name, runs)


def print_table(name: str, runs: dict[str, list[Outcome]]) -> None:
    """The medians over the seeds."""
    print(f"\n{name}, medians of {len(next(iter(runs.values())))} seeds\n")
    print("| client | " + " | ".join(COLUMNS) + " |\n|---" + "|---:" * len(COLUMNS) + "|")
    for client, outcomes in runs.items():
        middle = [statistics.median(getattr(one, column) for one in outcomes) for column in COLUMNS]
        print(f"| {client} | " + " | ".join(f"{figure:.4g}" for figure in middle) + " |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
