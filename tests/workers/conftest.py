"""What tests of workers ask for."""

from collections.abc import Callable

import pytest

from tests.workers.here import HereCluster


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., HereCluster]:
    """A cluster in this loop in the place of Ray's, for the next map; may be made anew."""

    def make(workers: int = 2, *, restarts: bool = True) -> HereCluster:
        cluster = HereCluster(workers, restarts=restarts)
        monkeypatch.setattr("fanfold.steps.workers.ray_cluster.RayCluster", lambda engine, workers: cluster)
        return cluster

    return make
