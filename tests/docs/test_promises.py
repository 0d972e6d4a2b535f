"""docs/promises.md names tests; each of them is there, and is long where the page says so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text()


def named() -> list[tuple[str, str]]:
    """The tests that the page names, each with its file: the one before it in the same cell, where it names none."""
    found = []
    for line in PAGE.splitlines():
        file = ""
        for path, test in re.findall(r"`(?:(tests/[\w/]+\.py))?(?:::)?(test_\w+)?`", line):
            file = path or file
            if file and test:
                found.append((file, test))
    return found


@pytest.mark.parametrize(("file", "test"), named())
def test_a_promise_has_its_test(file: str, test: str) -> None:
    """A promise without its test would be a claim."""
    tree = ast.parse((ROOT / file).read_text())
    assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_line_of_a_table_names_a_test() -> None:
    """No promise stands there without one."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(lines) > 30
    assert [line for line in lines if "`tests/" not in line] == []
