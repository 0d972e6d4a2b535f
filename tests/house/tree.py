"""What the house gates read: the project's files, parsed once.

Nothing here imports fanfold: the gates hold while the code is broken, too.
"""

from __future__ import annotations

import ast
import functools
import os
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "fanfold"
FRONT_DOOR = PACKAGE / "__init__.py"

Function = ast.FunctionDef | ast.AsyncFunctionDef

_MADE = {".git", "__pycache__", "build", "dist", "htmlcov"}
_CACHES = ("_cache", "_checkpoints", ".egg-info")


@dataclass(frozen=True)
class Module:
    """One Python file of the project."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def shown(self) -> str:
        """The path as messages show it."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def room(self) -> str:
        """The room of the house that a source file stands in; "" is the front door."""
        first = self.path.relative_to(PACKAGE).parts[0]
        return "" if first == "__init__.py" else first.removesuffix(".py")

    @property
    def lines(self) -> int:
        """How long the file is."""
        return len(self.text.splitlines())

    @property
    def filled(self) -> int:
        """How many lines of it are not blank."""
        return sum(1 for line in self.text.splitlines() if line.strip())

    def functions(self) -> Iterator[Function]:
        """Every function and method, nested ones included."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def comments(self) -> Iterator[tuple[int, str]]:
        """Every comment with its line number."""
        with self.path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.COMMENT:
                    yield token.start[0], token.string


@functools.cache
def python(*parts: str) -> tuple[Module, ...]:
    """The Python files under these directories of the project, in order."""
    paths = [path for part in parts for path in (ROOT / part).rglob("*.py") if not _made(path)]
    texts = [(path, path.read_text("utf-8")) for path in sorted(paths)]
    return tuple(Module(path, text, ast.parse(text, path)) for path, text in texts)


def source() -> tuple[Module, ...]:
    """The modules of the package."""
    return python("src/fanfold")


def files() -> Iterator[Path]:
    """Every file of the project that is not made by a tool."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not _made(Path(name))]
        yield from (Path(folder, name) for name in names if not name.startswith(".coverage"))


def public(name: str) -> bool:
    """Whether users may rely on a name."""
    return not name.startswith("_")


def _made(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts if path.is_absolute() else path.parts
    made = any(part in _MADE or part.startswith(".venv") or part.endswith(_CACHES) for part in parts)
    return made or ".hypothesis" in parts
