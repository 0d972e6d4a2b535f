"""What the tests of tables share: files of rows, a table made of them, what is in its files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fanfold import Session, Step
from fanfold.data.formats import open_rows
from fanfold.data.jsonl import JsonLines
from fanfold.data.reading import Unreadable
from fanfold.data.table import Plan, Standing, Table

RAN: list[str] = []
"""The rows that steps were run on. It stands here, for what a step's own file holds is a part of the step."""


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def numbered(path: Path, count: int) -> Path:
    """Rows with an id and a text."""
    return write_rows(path, ({"id": f"k{at}", "text": f"row {at}"} for at in range(count)))


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    with JsonLines(path) if path.suffix == ".partial" else open_rows(path) as rows:
        return [row if isinstance(row, Unreadable) else dict(row) for row in rows]


def table(step: Step[Any, Any], source: Path, out: Path, *, in_flight: int = 8, **terms: Any) -> Table:
    """A table to make; without a journal, unless the terms say so."""
    plan = Plan(step, source, out, **{"journal": False, **terms})
    return Table(plan, lambda journal: Session("fake:", max_in_flight=in_flight, journal=journal))


def make(step: Step[Any, Any], source: Path, out: Path, **terms: Any) -> Standing:
    """Make a table in this process."""
    return asyncio.run(table(step, source, out, **terms).make())


def names(folder: Path) -> list[str]:
    """The files of a folder."""
    return sorted(path.name for path in folder.iterdir())


def column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """One column."""
    return [row[name] for row in rows]
