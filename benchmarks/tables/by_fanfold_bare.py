"""fanfold without its journal."""

from __future__ import annotations

from functools import partial

from tables.by_fanfold import make
from tables.timing import run

if __name__ == "__main__":
    run(partial(make, journal=False))
