"""`fanfold map` as a process that is killed: what is left, what was asked, how long it took."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from fanfold.testing import ModelServer
from tests.cli.calling import Outcome, file, finish, process
from tests.data.tables import numbered

STEP = 'main = prompt("{text}", model=OpenAI(name="m", base_url=URL, api_key="k"))\n'


@dataclass
class Job:
    """One map of `rows` rows over a model server, `in_flight` calls at a time."""

    folder: Path
    server: ModelServer
    rows: int
    in_flight: int = 16
    step: str = STEP
    options: tuple[str, ...] = ()
    source: Path | None = None

    def __post_init__(self) -> None:
        if self.source is None:
            self.source = numbered(self.folder / "in.jsonl", self.rows)
        self.file = file(self.folder, f"URL = {self.server.url!r}\n{self.step}")

    def start(self, out: str = "out.jsonl") -> subprocess.Popen[bytes]:
        """The command."""
        flying = str(self.in_flight)
        where = str(self.folder / out)
        return process("map", self.file, str(self.source), "-o", where, "--max-in-flight", flying, *self.options)

    def finish(self, out: str = "out.jsonl") -> Outcome:
        """The command, to its end."""
        done = finish(self.start(out))
        assert done.code == 0, done.err
        return done

    def stop(self, asked: int, number: signal.Signals, out: str = "out.jsonl") -> tuple[int, float]:
        """The command, with a signal once so many calls were asked for; gives its exit code, and how long it took."""
        started = self.start(out)
        until_asked(self.server, asked, started)
        began = time.monotonic()
        os.kill(started.pid, number)
        finish(started)
        return started.returncode, time.monotonic() - began

    def until_quiet(self) -> None:
        """Wait until the server has seen that its clients are gone."""
        until = time.monotonic() + 5
        while self.server.statistics().in_flight:
            assert time.monotonic() < until
            time.sleep(0.005)


def until_asked(server: ModelServer, count: int, started: subprocess.Popen[bytes]) -> None:
    """Wait until a server has been asked that often in all."""
    until = time.monotonic() + 40
    while server.statistics().requests < count:
        assert started.poll() is None, finish(started)
        assert time.monotonic() < until
        time.sleep(0.001)


def kill_points(rows: int, kills: int, seed: int) -> list[int]:
    """After how many calls in all to kill: anywhere, in order."""
    return sorted(random.Random(seed).sample(range(1, rows), kills))
