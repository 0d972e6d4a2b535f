"""A map that is killed: no row lost, none twice, the output as if nothing had been, and a bill that has its bound."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fanfold.calls.pricing import PER_MESSAGE
from fanfold.calls.tab import PARTS
from fanfold.data.state import read_state
from fanfold.models.recordings import recordings
from fanfold.testing import ModelServer
from tests.cli.calling import finish
from tests.data.crashing import Job, kill_points
from tests.data.tables import column, read, write_rows

WITH, WITHOUT = (), ("--no-journal",)


def say(request: object) -> str:
    """An answer that tells the question."""
    return f"answer to {request.messages[-1].content}"


def kill_often(job: Job, kills: int, seed: int) -> None:
    """Kill a map so often, and hold what is left at the end against a map that was left in peace."""
    server, folder, rows = job.server, job.folder, job.rows
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
    assert rows <= bill <= rows + kills * job.in_flight, f"{bill} calls for {rows} rows and {kills} kills, seed {seed}"


@pytest.mark.timing
def test_killed_twice_it_ends_the_same(tmp_path: Path) -> None:
    """SIGKILL anywhere: 0 rows lost, 0 twice, the same bytes, and at most rows + kills × in flight calls."""
    with ModelServer(say, latency=0.02) as server:
        kill_often(Job(tmp_path, server, 300), kills=2, seed=7)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [WITH, WITHOUT])
def test_killed_fifty_times_it_ends_the_same(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The same with 50 kills over 10,000 rows."""
    with ModelServer(say, latency=0.02) as server:
        kill_often(Job(tmp_path, server, 10_000, 32, options=options), kills=50, seed=20_240_601)


@pytest.mark.timing
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_ends_soon_and_goes_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C or SIGTERM: it ends within 2 s, and of what had come until then nothing is asked again."""
    with ModelServer(say, latency=0.03) as server:
        job = Job(tmp_path, server, 200)
        ended, seconds = job.stop(90, number)
        assert ended == code
        assert seconds < 2
        job.until_quiet()
        kept, asked = replies(tmp_path / "out.jsonl.journal"), server.statistics().requests
        assert asked - job.in_flight <= kept <= server.statistics().answered
        assert "200 rows, " in job.finish().err
        assert server.statistics().requests - asked == 200 - kept
    assert column(read(tmp_path / "out.jsonl"), "output") == [f"answer to row {at}" for at in range(200)]


def replies(journal: Path) -> int:
    """How many replies a journal holds."""
    with closing(sqlite3.connect(journal)) as store:
        (count,) = store.execute("SELECT count(*) FROM calls WHERE state = 'ok'").fetchone()
    return int(count)


@pytest.mark.long
def test_stopped_without_a_journal(tmp_path: Path) -> None:
    """Then the rows that were written are not asked again; those that finished ahead of another may be."""
    with ModelServer(say, latency=0.03) as server:
        job = Job(tmp_path, server, 200, options=WITHOUT)
        assert job.stop(90, signal.SIGINT)[0] == 130
        job.until_quiet()
        kept, asked = len(read(tmp_path / "out.jsonl.partial")), server.statistics().requests
        assert server.statistics().answered - job.in_flight <= kept
        job.finish()
        assert server.statistics().requests - asked == 200 - kept


EXAM = """
ASK = 'Answer the question. Think first, then end with your choice, as in: Answer("A")\\n\\n{question}'
exam = OpenAI(name="gpt-35-turbo", base_url=URL, api_key="k")
main = vote(prompt(ASK, returns=Literal["A", "B", "C", "D", "E"], model=exam), 5, STOP)
"""


def kill_votes(folder: Path, stop: str, questions: int) -> tuple[int, int, int]:
    """Votes of five on recorded questions, left in peace and killed three times; gives both bills, and the bound."""
    rows = ({"question": one.question, "letter": one.gold} for one in recordings("samples")[:questions])
    source = write_rows(folder / "exam.jsonl", rows)
    with ModelServer("recorded", latency=0.02) as server:
        options = ("--on-error", "skip", "--keep", "letter")
        job = Job(folder, server, questions, 16, EXAM.replace(", STOP", stop), options, source)
        job.finish("whole.csv")
        whole = server.statistics().requests
        for point in kill_points(whole, 3, seed=5):
            job.stop(whole + point, signal.SIGKILL, "out.csv")
        job.finish("out.csv")
        assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()
        return server.statistics().requests - whole, whole, 3 * job.in_flight


@pytest.mark.timing
def test_a_vote_on_each_row_killed_three_times(tmp_path: Path) -> None:
    """Votes of five on recorded questions: the output as left in peace, at most that bill + kills × in flight."""
    bill, whole, bound = kill_votes(tmp_path, ", stop=None", 40)
    assert whole == 200
    assert whole <= bill <= whole + bound


@pytest.mark.long
def test_votes_that_stop_early_killed_three_times(tmp_path: Path) -> None:
    """The same of votes that end once they are decided, on every question: which calls that spares is chance."""
    bill, whole, bound = kill_votes(tmp_path, "", 150)
    assert whole <= 750
    assert bill <= 750 + bound


PRICE = (1.0, 4.0)
PRICED = 'main = prompt("{text}", max_tokens=20, model=OpenAI(name="m", base_url=URL, api_key="k", price=(1.0, 4.0)))\n'
BUDGET = 0.005
MOST = (len("row 999") + PER_MESSAGE) * PRICE[0] / 1e6 + 20 * PRICE[1] / 1e6
"""USD that one call can come to at most."""


@pytest.mark.timing
@pytest.mark.parametrize("journal", [WITH, WITHOUT])
def test_killed_three_times_it_never_passes_its_budget(tmp_path: Path, journal: tuple[str, ...]) -> None:
    """The server's bill of all runs is at most the budget.

    A kill counts what was on the wire in full, and at most one part in 200 of the budget that was not spent.
    """
    with ModelServer(say, latency=0.02, price=PRICE) as server:
        job = Job(tmp_path, server, 1000, 4, PRICED, (*journal, "--budget", str(BUDGET)))
        for asked in (30, 60, 90):
            assert job.stop(asked, signal.SIGKILL)[0] == -signal.SIGKILL
        ended = finish(job.start())
        assert ended.code != 0
        assert "budget" in ended.err
        job.until_quiet()
        bill = server.bill.usd
        assert bill <= BUDGET
        assert bill >= BUDGET - MOST - 3 * (job.in_flight * MOST + BUDGET / PARTS)
        assert finish(job.start()).code != 0
        assert server.bill.usd == pytest.approx(bill, abs=MOST)
        assert server.bill.usd <= BUDGET


@pytest.mark.timing
def test_stopped_it_knows_what_it_was_charged(tmp_path: Path) -> None:
    """After Ctrl-C nothing is lost to caution: the state says what was charged, cut-off calls in full."""
    with ModelServer(say, latency=0.03, price=PRICE) as server:
        job = Job(tmp_path, server, 200, 4, PRICED, ("--budget", "1"))
        assert job.stop(50, signal.SIGINT)[0] == 130
        job.until_quiet()
        state = read_state(tmp_path / "out.jsonl.state.json")
        assert state is not None
        assert server.bill.usd <= state.tab <= server.bill.usd + job.in_flight * MOST
