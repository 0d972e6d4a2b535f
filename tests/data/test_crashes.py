"""A map that is killed: no row lost, none twice, the output as if nothing had been, and a bill that has its bound."""

import signal
from pathlib import Path

import pytest

from fanfold.testing import ModelServer
from tests.data.crashing import Job, kill_points
from tests.data.tables import column, read


def say(request: object) -> str:
    """An answer that tells the question."""
    return f"answer to {request.messages[-1].content}"


def kill_often(folder: Path, rows: int, kills: int, seed: int, latency: float, in_flight: int = 16) -> None:
    """Kill a map so often, and hold what is left at the end against a map that was left in peace."""
    with ModelServer(say, latency=latency) as server:
        job = Job(folder, server, rows, in_flight)
        job.finish("whole.jsonl")
        asked = server.statistics().requests
        assert asked == rows
        for point in kill_points(rows, kills, seed):
            assert job.stop(asked + point, signal.SIGKILL)[0] == -signal.SIGKILL
            assert not (folder / "out.jsonl").exists()
        job.finish()
        bill = server.statistics().requests - asked
    assert (folder / "out.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
    assert column(read(folder / "out.jsonl"), "id") == [f"k{at}" for at in range(rows)]
    assert rows <= bill <= rows + kills * in_flight, f"{bill} calls for {rows} rows and {kills} kills, seed {seed}"


@pytest.mark.timing
def test_killed_twice_it_ends_the_same(tmp_path: Path) -> None:
    """SIGKILL anywhere: 0 rows lost, 0 twice, the same bytes, and at most rows + kills × in flight calls."""
    kill_often(tmp_path, rows=300, kills=2, seed=7, latency=0.02)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_fifty_times_it_ends_the_same(tmp_path: Path) -> None:
    """The same with 50 kills over 10,000 rows."""
    kill_often(tmp_path, rows=10_000, kills=50, seed=20_240_601, latency=0.02, in_flight=32)


@pytest.mark.timing
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_ends_soon_and_goes_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C or SIGTERM: it ends within 2 s with all finished rows written, and the rest is all that is asked again."""
    with ModelServer(say, latency=0.03) as server:
        job = Job(tmp_path, server, 200)
        ended, seconds = job.stop(90, number)
        assert ended == code
        assert seconds < 2
        job.until_quiet()
        kept = len(read(tmp_path / "out.jsonl.partial"))
        answered = server.statistics().answered
        assert answered - job.in_flight <= kept <= answered
        asked = server.statistics().requests
        assert "200 rows, " in job.finish().err
        assert server.statistics().requests - asked == 200 - kept
    assert column(read(tmp_path / "out.jsonl"), "output") == [f"answer to row {at}" for at in range(200)]
