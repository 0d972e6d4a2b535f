"""Slow, limited and failing servers: fanfold beside what people use instead, against the same model server.

    python benchmarks/adversity.py [--only limited,outage] [--clients fanfold,gather,...] [--seeds 5] [--log FILE]

Each run is a fresh server in a process of its own and a client in another. `limited`: 2,000 calls at a server that
takes so many requests and tokens a second. `stragglers`: fans of ten, where 3 % of the first tokens come late.
`outage`: 2,000 calls, and for 20 s the server answers 503. The bill is the server's own count. The peers run in
environments of their own (`make bench-peers` makes them), since their needs exclude each other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        said, _ = await process.communicate()
        bill = await asyncio.to_thread(_bill, url)
    if process.returncode:
        raise SystemExit(f"{client} did not come to its end; is its environment there? `make bench-peers` makes it")
    report = json.loads(said.decode().splitlines()[-1])
    calls = scenario.work["fans"] * 10
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
