"""fanfold, with its HTTP done in Rust and without its journal: as little is kept as by who writes it by hand."""

from __future__ import annotations

from functools import partial

from fanfold.models.transport import load
from tables.by_fanfold import make
from tables.timing import run

load("wreq")

if __name__ == "__main__":
    run(partial(make, journal=False, transport="wreq"))
