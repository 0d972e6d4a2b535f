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
