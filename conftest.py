"""Runs every code block of the README and of docs/: Python in one namespace a page, shell commands in a shell."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parent


def run_shell(example: Example) -> None:
    """One block of shell commands, with the command of this environment first in the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.parsed],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")


def _setup(namespace: dict[str, Any]) -> None:
    namespace["patch"] = patch = pytest.MonkeyPatch()
    patch.setenv("FANFOLD_MODEL", "fake:")


def _teardown(namespace: dict[str, Any]) -> None:
    namespace["patch"].undo()


pytest_collect_file = Sybil(
    path=str(ROOT),
    parsers=[PythonCodeBlockParser(), CodeBlockParser(language="sh", evaluator=run_shell)],
    patterns=["README.md", "docs/*.md"],
    setup=_setup,
    teardown=_teardown,
).pytest()
