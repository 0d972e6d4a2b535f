"""Runs that begin inside the rows of a map over workers: the journal has them, too."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanfold import Session, prompt, step
from fanfold.core.clock import now, sleep
from fanfold.journal import Journal
from fanfold.steps.row import Row
from fanfold.testing import SimulatedModel, run_virtual
from tests.workers.here import HereCluster

Here = Callable[..., HereCluster]
ROWS = [{"id": f"k{at}", "text": f"row {at}"} for at in range(8)]


def nested(model: Any) -> Any:
    """A step with runs inside: a map over keys, a map without, and one that is read while it runs."""
    ask = prompt("{text}", model=model, name="ask")

    @step
    async def outer(row: dict[str, str]) -> list[Any]:
        parts = [{"id": f"{row['id']}/{at}", "text": f"{row['text']}, part {at}"} for at in range(2)]
        found: list[Any] = []
        for key in ("id", "id", None, None):
            async with ask.map(parts, key=key) as done:
                found += [part.output async for part in done]
        async with ask.updates({"text": "the same for all rows"}) as updates:
            async for _ in updates:
                pass
        return [*found, updates.run.output]

    return outer


@pytest.mark.parametrize("kills", [[], [0.35], [0.15, 0.75]])
def test_runs_inside_rows_are_journaled(here: Here, tmp_path: Path, kills: list[float]) -> None:
    """A map in a step, and what is read while it runs, are found in the journal by a worker and by this process."""
    local = SimulatedModel(lambda request: f"x {request.messages[-1].content}", latency=0.1)
    model = SimulatedModel(lambda request: f"x {request.messages[-1].content}", latency=0.1)
    cluster = here()

    async def killer() -> None:
        for at in kills:
            await sleep(at - now())
            cluster.kill(0)

    async def run(what: Any, path: Path, engine: str) -> list[Row[Any]]:
        async with Session(max_in_flight=8, journal=Journal(path)) as session:
            beside = asyncio.create_task(killer())
            async with what.map(ROWS, key="id", session=session, engine=engine) as done:
                rows = [row async for row in done]
            beside.cancel()
            assert session.journal is not None
            assert session.journal.statistics().runs == 0
        return rows

    kept, told = (
        tmp_path / "runs.db",
        [row.output for row in run_virtual(run(nested(local), tmp_path / "l.db", "local"))],
    )
    rows = run_virtual(run(nested(model), kept, "ray"))
    assert [(row.error, row.output) for row in rows] == [(None, output) for output in told]
    asked = len(model.service.book.seen)
    assert 0 <= asked - len(local.service.book.seen) <= 8 * len(kills)
    for engine in ("local", "ray"):
        here()
        again = run_virtual(run(nested(model), kept, engine))
        assert [(row.error, row.output) for row in again] == [(None, output) for output in told]
        assert len(model.service.book.seen) == asked
