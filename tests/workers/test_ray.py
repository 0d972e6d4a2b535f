"""A map over workers of a real Ray cluster on this machine: processes that are killed, a server that keeps the bill."""

import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from fanfold.models.recordings import recordings
from fanfold.testing import Limits, ModelServer
from tests.cli.calling import file
from tests.data.tables import numbered, write_rows

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

WAIT = 110.0
"""Seconds for anything; a slow machine is no failure."""

WORKER = "MapWorker"
"""What Ray calls the processes of its actor pools."""


@pytest.fixture(autouse=True)
def _with_ray() -> None:
    """Without Ray the tests are skipped, and fail where CI says that it should be there."""
    if importlib.util.find_spec("ray") is None:
        say = pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip
        say("Ray is not installed: `make test-all` does that")


class Driver:
    """A process that maps over workers, and all that it started."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.said = folder / "said"
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def text(self) -> str:
        return self.said.read_text(errors="replace")

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is so."""
        until = time.monotonic() + WAIT
        while not reached():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < until, self.text()
            time.sleep(0.01)

    def finish(self) -> int:
        """Wait for its end."""
        return self.process.wait(WAIT)

    def family(self) -> list[psutil.Process]:
        """The processes that it has started, and they."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """Those that run rows."""
        return [one for one in self.family() if WORKER in _title(one)]

    def kill_a_worker(self) -> None:
        """SIGKILL for one that runs rows."""
        os.kill(self.workers()[0].pid, signal.SIGKILL)


def _title(one: psutil.Process) -> str:
    try:
        return " ".join(one.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def driving(folder: Path, *command: str) -> Iterator[Driver]:
    """Start a driver; nothing of it outlives the block."""
    driver = Driver(folder, *command)
    family: list[psutil.Process] = []
    try:
        yield driver
    finally:
        if driver.process.poll() is None:
            family = driver.family()
            driver.process.kill()
            driver.process.wait()
        for one in family:
            if one.is_running():
                one.kill()


EXAM = """
ASK = 'Answer the question. Think first, then end with your choice, as in: Answer("A")\\n\\n{question}'
exam = OpenAI(name="gpt-35-turbo", base_url=URL, api_key="k")
main = vote(prompt(ASK, returns=Literal["A", "B", "C", "D", "E"], model=exam), 5, stop=None)
"""


def test_votes_with_a_worker_killed_are_those_of_the_local_engine(tmp_path: Path) -> None:
    """Votes of five on recorded questions by two workers, one killed: the same bytes, and at most what flew again."""
    rows = ({"question": one.question, "letter": one.gold} for one in recordings("samples")[:40])
    source = write_rows(tmp_path / "exam.jsonl", rows)
    with ModelServer("recorded", latency=0.3) as server:
        step = file(tmp_path, f"URL = {server.url!r}\n{EXAM}")
        command = ["-m", "fanfold", "map", step, str(source), "--on-error", "skip", "--keep", "letter"]
        command += ["--max-in-flight", "16"]
        with driving(tmp_path, *command, "-o", "local.csv") as local:
            assert local.finish() == 0, local.text()
        whole = server.statistics().requests
        assert whole == 200
        with driving(tmp_path, *command, "-o", "ray.csv", "--engine", "ray", "--workers", "2") as driver:
            driver.until(lambda: server.statistics().requests >= whole + 60)
            assert len(driver.workers()) == 2
            driver.kill_a_worker()
            assert driver.finish() == 0, driver.text()
        assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
        assert whole <= server.statistics().requests - whole <= whole + 16
        assert twice(tmp_path / "ray.csv.journal") == 0


def twice(journal: Path) -> int:
    """How many calls have more than one reply in a journal: they were asked again although they were recorded."""
    with closing(sqlite3.connect(journal)) as store:
        kept = store.execute(
            "SELECT run, place, nth, digest FROM entries WHERE kind = 'call' AND body LIKE '%\"reply\"%'"
        ).fetchall()
    assert kept
    return len(kept) - len(set(kept))


SHOUT = 'main = prompt("{text}", model=OpenAI(name="m", base_url=URL, api_key="k"))\n'


def test_a_killed_driver_s_command_goes_on(tmp_path: Path) -> None:
    """SIGKILL for the driver: its actors end with it; the same command ends the same, and asks what flew again."""
    source = numbered(tmp_path / "in.jsonl", 120)
    with ModelServer(lambda request: f"answer to {request.messages[-1].content}", latency=0.2) as server:
        step = file(tmp_path, f"URL = {server.url!r}\n{SHOUT}")
        command = ["-m", "fanfold", "map", step, str(source), "-o", "out.jsonl", "--max-in-flight", "8"]
        command += ["--engine", "ray", "--workers", "2"]
        with driving(tmp_path, *command) as driver:
            driver.until(lambda: server.statistics().requests >= 50)
            actors = [one for one in driver.family() if WORKER in _title(one) or "HubActor" in _title(one)]
            assert len(actors) == 3
            driver.process.kill()
            driver.process.wait()
            _, alive = psutil.wait_procs(actors, timeout=30)
            assert not alive
        assert not (tmp_path / "out.jsonl").exists()
        with driving(tmp_path, *command) as driver:
            assert driver.finish() == 0, driver.text()
        said = (tmp_path / "out.jsonl").read_text().splitlines()
        assert len(said) == 120
        assert all(f'"output":"answer to row {at}"' in line for at, line in enumerate(said))
        assert 120 <= server.statistics().requests <= 120 + 8


LIMITED = """
import asyncio, sys
from fanfold import Budget, OpenAI, RateLimit, Session, prompt

asks = prompt("{text}", model=OpenAI(name="m", base_url=URL, api_key="k", price=(10.0, 40.0)), max_tokens=100)


async def main():
    rows = ({"id": f"k{at}", "text": f"row {at}"} for at in range(ROWS))
    session = Session(max_in_flight=64, journal="runs.db", **OPTIONS)
    async with session, asks.map(rows, key="id", engine="ray", workers=WORKERS, session=session) as done:
        async for row in done:
            assert row.output == f"answer to row {row.number}", row
            print(row.number, flush=True)


asyncio.run(main())
"""


def script(folder: Path, server: ModelServer, rows: int, workers: int, options: str) -> str:
    """A script that maps, with these options of its session."""
    told = f"URL = {server.url!r}\nROWS, WORKERS = {rows}, {workers}\n"
    text = LIMITED.replace("**OPTIONS", options)
    path = folder / "script.py"
    path.write_text(told + text, encoding="utf-8")
    return str(path)


def test_eight_workers_on_one_key(tmp_path: Path) -> None:
    """By the server's own log no window of its limit sees more than 1.01 × that, with a worker killed on the way."""
    limits = Limits(rpm=200, per=10.0, window="sliding", headers=False)
    with ModelServer(lambda request: f"answer to {request.messages[-1].content}", limits=limits, latency=0.1) as server:
        path = script(tmp_path, server, 500, 8, "rate_limits=RateLimit(requests=200, per=10.0)")
        with driving(tmp_path, path) as driver:
            driver.until(lambda: server.statistics().requests >= 180)
            driver.kill_a_worker()
            assert driver.finish() == 0, driver.text()
        sent = sorted(seen.received for seen in server.seen)
        most = max(sum(at <= other < at + 10 for other in sent) for at in sent)
        assert most <= 202
        assert server.statistics().refused == 0
        assert 500 <= len(sent) <= 500 + 64
        assert twice(tmp_path / "runs.db") == 0
        again = Counter(seen.raw for seen in server.seen)
        assert max(again.values()) <= 2


def test_a_budget_over_workers(tmp_path: Path) -> None:
    """The server's bill stays below the budget of all workers together, with one of them killed; then the map ends."""
    with ModelServer(
        lambda request: f"answer to {request.messages[-1].content}", price=(10.0, 40.0), latency=0.2
    ) as server:
        path = script(tmp_path, server, 2000, 3, "budget=Budget(usd=0.06)")
        with driving(tmp_path, path) as driver:
            driver.until(lambda: server.statistics().requests >= 60)
            driver.kill_a_worker()
            assert driver.finish() == 1
            assert "BudgetError: the budget of $0.060000 cannot cover" in driver.text()
        assert 0.02 < server.bill.usd <= 0.06
