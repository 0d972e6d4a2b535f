"""Calls of the `fanfold` command: in this process, where coverage sees them, and as processes of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fanfold.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a call left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document that standard output has to be."""
        return json.loads(self.out)

    @property
    def told(self) -> str:
        """The one line on standard error."""
        assert self.err.count("\n") == 1, self.err
        return self.err.rstrip("\n")


class Terminal(io.TextIOWrapper):
    """A standard input that is a terminal, at which nobody types."""

    def isatty(self) -> bool:
        return True


def fanfold(*arguments: str, stdin: str | bytes | None = "", encoding: str = "utf-8") -> Outcome:
    """Call the command in this process; `stdin` None is a terminal, `encoding` that of the output."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    out, err = io.BytesIO(), io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fanfold", *arguments])
        patch.setattr(sys, "stdin", Terminal(io.BytesIO()) if data is None else io.TextIOWrapper(io.BytesIO(data)))
        patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
        patch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding=encoding, line_buffering=True))
        with pytest.raises(SystemExit) as ended:
            main()
        sys.stdout.flush()
        sys.stderr.flush()
        said = out.getvalue().decode(encoding), err.getvalue().decode(encoding)
    assert isinstance(ended.value.code, int)
    return Outcome(ended.value.code, *said)


STARTED: list[subprocess.Popen[bytes]] = []
"""Processes of the running test; none outlives it."""


def process(*arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command as a process of its own."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-m", "fanfold", *arguments]
    STARTED.append(started := subprocess.Popen(command, env={**os.environ, **(env or {})}, **pipes))
    return started


def end_all() -> None:
    """Kill what a test that failed has left, and close its pipes."""
    while STARTED:
        with STARTED.pop() as started:
            if started.poll() is None:
                started.kill()


def finish(started: subprocess.Popen[bytes], stdin: bytes | None = None) -> Outcome:
    """Wait for a process."""
    out, err = started.communicate(stdin, timeout=30)
    return Outcome(started.returncode, (out or b"").decode(), (err or b"").decode())


def file(folder: Path, text: str, name: str = "steps.py") -> str:
    """A Python file for `fanfold run`; it has the usual names at hand."""
    header = "from typing import Literal\nfrom fanfold import *\nfrom fanfold.testing import FakeModel\n"
    path = folder / name
    path.write_text(header + text, encoding="utf-8")
    return str(path)
