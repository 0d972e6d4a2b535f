"""Replays: the same run again, without a network, whichever branch is quicker this time."""

from pathlib import Path
from typing import Any

import pytest

from fanfold.errors import FanfoldError, ReplayMiss
from tests.journal.patterns import PATTERNS, Moody, document, outcome_of, ran


class Closed(Moody):
    """A model that nobody may ask."""

    async def send(self, request: Any, watch: Any) -> Any:
        raise AssertionError("a replay asked")


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("seed", range(3))
def test_a_replay_is_the_run_again(tmp_path: Path, name: str, seed: int) -> None:
    """A replay has the output, the detail or the error of its recording, asks nothing, and is the same each time."""
    path = tmp_path / "j.db"
    pattern = PATTERNS[name]
    recorded = ran(path, pattern, model=Moody(seed), mode="record")
    documents = set()
    for again in range(4):
        replayed = ran(path, pattern, model=Closed(seed + again), mode="replay", max_in_flight=(1, 8, 64)[again % 3])
        assert not isinstance(replayed, ReplayMiss), replayed
        assert outcome_of(replayed) == outcome_of(recorded)
        documents.add(document(replayed))
        run = replayed.run if isinstance(replayed, FanfoldError) else replayed
        assert all(call.replayed for call in run.calls)
        assert run.calls
    assert len(documents) == 1
