"""fanfold: what `fanfold map` does, in its process."""

from __future__ import annotations

import importlib
from pathlib import Path

from fanfold import OpenAI, prompt
from fanfold.cli.mapping import make_table
from fanfold.data.table import Plan
from fanfold.models.transport import TransportName, load
from tables.timing import run

# What a session loads when it opens: what others take to load is not timed either.
load("aiohttp")
for name in ("fanfold.journal.journal", "genai_prices"):
    importlib.import_module(name)


def client(source: Path, out: Path, url: str, in_flight: int) -> None:
    """One prompt a row, with a journal beside the output."""
    make(source, out, url, in_flight, journal=True)


def make(
    source: Path, out: Path, url: str, in_flight: int, *, journal: bool, transport: TransportName = "aiohttp"
) -> None:
    """Make the table."""
    model = OpenAI(name="m", base_url=url, api_key="none")
    plan = Plan(prompt("{text}", max_tokens=300), source, out, journal=journal)
    options = {"model": model, "max_in_flight": in_flight, "transport": transport}
    if make_table(lambda: plan, options, dry_run=False, json=False, quiet=True):
        raise SystemExit("the table was not made")


if __name__ == "__main__":
    run(client)
