"""Ray's connection, of which a process has one: maps at once share it. A stub stands for Ray."""

import asyncio
import sys
import threading
import types
from typing import Any

import pytest

from fanfold.errors import UsageError, WorkersError
from fanfold.steps.workers import ray_cluster
from fanfold.steps.workers.hub import Hub
from fanfold.steps.workers.ray_cluster import RayCluster

VERSION = ray_cluster._version()


class Actor:
    """A handle of an actor, or of what runs as a task."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __getattr__(self, name: str) -> Any:
        return types.SimpleNamespace(remote=getattr(self.thing, name))


class Ray(types.ModuleType):
    """What of Ray the connection is made by; it says what was done, and refuses to be started twice."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.done: list[str] = []
        self.open = False
        self.values: set[str] = set()
        self.answers = threading.Event()
        self.answers.set()
        self.cloudpickle = types.SimpleNamespace(
            dumps=lambda thing: b"",
            register_pickle_by_value=lambda module: self.values.add(module.__name__),
            unregister_pickle_by_value=lambda module: self.values.remove(module.__name__),
        )

    def is_initialized(self) -> bool:
        return self.open

    def init(self, **options: Any) -> None:
        assert not self.open, "twice"
        self.answers.wait(30)
        self.open = True
        self.done.append("init")

    def shutdown(self) -> None:
        self.open = False
        self.done.append("shutdown")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def kill(self, hub: Any) -> None:
        self.done.append("kill")

    def remote(self, thing: Any) -> Any:
        return Maker(thing)


class Maker:
    """What Ray makes of a class or a function."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def options(self, **options: Any) -> "Maker":
        return self

    def remote(self, *given: Any) -> Any:
        if isinstance(self.thing, type) and issubclass(self.thing, Hub):
            return Actor(Quiet(*given))
        return asyncio.Future(loop=loops[0])


class Quiet(Hub):
    """A hub that nobody guards."""

    def guard(self) -> None:
        """Not here."""

    async def version(self) -> str:
        return VERSION


loops: list[asyncio.AbstractEventLoop] = []


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    """Ray's stub."""
    stub = Ray()
    monkeypatch.setitem(sys.modules, "ray", stub)
    monkeypatch.setitem(sys.modules, "ray.data", types.ModuleType("ray.data"))
    for wait in ("GOODBYE", "POLL"):
        monkeypatch.setattr(f"fanfold.steps.workers.ray_cluster.{wait}", 0.01)
    return stub


async def started(engine: str = "ray") -> RayCluster:
    """A map's cluster."""
    loops[:] = [asyncio.get_running_loop()]
    cluster = RayCluster(engine, 1)
    try:
        cluster.dumps(1)
        await cluster.start(b"", {"slots": 1}, lambda error: None)
    except BaseException:
        await cluster.close()
        raise
    return cluster


def test_maps_at_once_share_the_connection(ray: Ray) -> None:
    """The one that ends first takes nothing from the others; the last one shuts it down, and it can begin anew."""

    async def run() -> None:
        first, second = await asyncio.gather(started(), started())
        await first.close()
        assert ray.done == ["init", "kill"]
        assert ray.values
        assert (await second.call("spending")).calls == 0
        await second.close()
        await second.close()
        assert ray.done == ["init", "kill", "kill", "shutdown"]
        assert not ray.values
        await (await started()).close()
        assert ray.done[4:] == ["init", "kill", "shutdown"]

    asyncio.run(run())
    gone()


def gone() -> None:
    """Wait until no thread of Ray's is there."""
    for thread in [one for one in threading.enumerate() if one.name.startswith("fanfold-ray")]:
        thread.join(5)
        assert not thread.is_alive()


def test_another_cluster_meanwhile_is_refused(ray: Ray) -> None:
    """A map does not run where it was not to run."""

    async def run() -> None:
        first = await started()
        with pytest.raises(UsageError, match="while a map runs on 'ray'"):
            await started("ray://head:10001")
        assert ray.done == ["init"]
        await first.close()

    asyncio.run(run())


def test_a_connection_of_the_program_s_own_stays(ray: Ray) -> None:
    """Who has connected before has it afterwards."""
    ray.init()

    async def run() -> None:
        await (await started()).close()

    asyncio.run(run())
    assert ray.done == ["init", "kill"]


def test_a_cluster_that_does_not_answer_holds_nobody_up(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is interrupted meanwhile ends at once, and who waits is told; an answer that comes late is not kept open."""
    ray.answers.clear()

    async def interrupted() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await started("ray://auto")

    asyncio.run(interrupted())
    assert not ray.done
    monkeypatch.setattr("fanfold.steps.workers.ray_cluster.CONNECT", 0.05)
    with pytest.raises(WorkersError, match=r"\(ray://auto\) has not answered"):
        asyncio.run(started("ray://auto"))
    ray.answers.set()
    gone()
    assert ray.done == ["init", "shutdown"]
    assert not ray.open


def test_another_fanfold_on_the_cluster_is_named(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is not sent to where it might be read as something else."""

    async def other(hub: Hub) -> str:
        return "0.0.1"

    monkeypatch.setattr(Quiet, "version", other)
    with pytest.raises(WorkersError, match=r"the hub has fanfold 0.0.1, this process .*install the same"):
        asyncio.run(started())
    assert ray.done == ["init", "kill", "shutdown"]


def test_a_program_s_own_connection_is_no_other_cluster(ray: Ray) -> None:
    """Where the program has connected itself, an engine that names a cluster is refused, and what is there stays."""
    ray.init()
    with pytest.raises(UsageError, match=r"'ray://head:10001' .* connected to Ray itself"):
        asyncio.run(started("ray://head:10001"))
    assert ray.done == ["init"]

    async def run() -> None:
        await (await started("ray://auto")).close()

    asyncio.run(run())
    assert ray.done == ["init", "kill"]
