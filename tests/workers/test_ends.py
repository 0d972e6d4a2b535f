"""How a map over workers ends, and how it waits: in good order, with all that was spent, and not without a word."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import Budget, Session, prompt
from fanfold.core.clock import sleep
from fanfold.steps.workers.hub import LIVES, Hub
from fanfold.testing import SimulatedModel, run_virtual
from tests.workers.here import HereCluster, Life

Here = Callable[..., HereCluster]
ROWS = [{"text": f"row {at}"} for at in range(50)]


@pytest.mark.parametrize("most", [2, 50])
def test_workers_end_in_good_order(here: Here, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Done or broken off, each worker calls off what it runs and leaves the hub; none has to be ended by its fence.

    On a cluster that outlives the map Ray told users of each that "a worker died by an unexpected system error".
    """
    here()
    model, close, left = SimulatedModel(lambda request: "x", latency=1.0), HereCluster.close, list[bool]()

    async def closed(it: HereCluster) -> None:
        if it.hub is not None:
            await sleep(3.0)  # until they would have renewed their leases
            assert not it.hub.workers
            left.extend(life.worker.left and not life.dead for life in it.lives.values())
        await close(it)

    monkeypatch.setattr(HereCluster, "close", closed)

    async def run() -> None:
        async with (
            Session(max_in_flight=8) as session,
            prompt("{text}", model=model).map(ROWS, session=session, engine="ray") as rows,
        ):
            async for row in rows:
                if row.number + 1 == most:
                    break

    run_virtual(run())
    assert left == [True, True]


def test_a_silent_worker_s_calls_count_as_spent(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not tell in time what was under way has spent all that it was lent: no less than is billed."""
    here()
    model = SimulatedModel(lambda request: "x", price=(10.0, 40.0), latency=2.0)
    call, silent = Life.call, list[bool]()

    async def slow(life: Life, method: str, *given: Any) -> Any:
        if silent and method == "post":
            await sleep(5.0)
        return await call(life, method, *given)

    monkeypatch.setattr(Life, "call", slow)

    async def run() -> None:
        asks = prompt("{text}", model=model, max_tokens=100)
        async with Session(max_in_flight=8, budget=Budget(usd=1.0)) as session:
            async with asks.map(ROWS, session=session, engine="ray") as rows:
                async for _ in rows:
                    await sleep(0.5)
                    silent.append(True)
                    break
            budget = session.statistics().budget
            assert budget is not None
            assert budget.usd is not None
            assert model.bill.usd <= budget.usd.charged < 1.0
            assert budget.usd.reserved == 0

    run_virtual(run())


def test_a_block_that_comes_twice_takes_no_life() -> None:
    """A row is taken for deadly by the workers that died of it, not by how often one is handed its block."""

    async def run() -> None:
        hub = Hub(b"", {"slots": 1}, 1)
        await hub.add([("row", 3, b"")])
        for life in range(LIVES):
            worker = f"actor:{life}"
            await hub.join(worker)
            await hub.take(0)
            for _ in range(3):
                assert await hub.claim(worker, [3])
        assert not hub.driver.messages
        await hub.join("actor:last")
        await hub.claim("actor:last", [3])
        assert hub.driver.messages == [("fallen", 3)]
        await hub.stop()

    run_virtual(run())


def test_rows_do_not_wait_without_a_word(
    here: Here, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A cluster that has no place for a worker may get one, so the map waits; it says what for, now and then."""
    cluster = here()

    async def nothing() -> None:
        """No blocks are asked for."""

    monkeypatch.setattr(cluster, "begin", lambda actor: None)
    monkeypatch.setattr(cluster, "read", nothing)

    async def run() -> None:
        async with asyncio.timeout(70), prompt("{text}", model="fake:").map(ROWS[:3], engine="ray") as rows:
            async for _ in rows:
                pass

    with pytest.raises(TimeoutError):
        run_virtual(run())
    told = [record.getMessage() for record in caplog.records if record.name == "fanfold"]
    assert told == ["3 rows wait, for engine='ray' has had no worker for 30 s: it may have no CPU or memory free"] * 2
