"""fanfold, with its HTTP done in Rust (extra ``wreq``)."""

from __future__ import annotations

from pathlib import Path

from fanfold.models.transport import load
from tables.by_fanfold import make
from tables.timing import run

load("wreq")


def client(source: Path, out: Path, url: str, in_flight: int) -> None:
    """One prompt a row, with a journal beside the output."""
    make(source, out, url, in_flight, journal=True, transport="wreq")


if __name__ == "__main__":
    run(client)
