"""Workers by Ray Data: the one file that imports Ray, and only when it is asked for.

The hub is a named actor. A task on the cluster, the pilot, runs the pipeline of Ray Data: one reader that streams
blocks of rows from the hub, and a pool of actors that run them. One that dies is restarted by Ray, with the blocks that
it had. All of it belongs to the driver's job, and ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from importlib import import_module, metadata
from inspect import signature
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from fanfold.calls.ledger import EXPIRY
from fanfold.core.clock import chance, now, sleep
from fanfold.core.tasks import begin_task
from fanfold.errors import FanfoldError, UsageError, WorkersError
from fanfold.steps.fingerprints import users_own
from fanfold.steps.workers.hub import POLL, Hub
from fanfold.steps.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

BEAT = 2.0
"""Seconds between two renewals of a worker's lease."""

BLOCKS = 64
"""Blocks that one worker has at once; a block ends with the slowest of its rows."""

READS, WORKS = 0.01, 0.02
"""CPUs that Ray reserves for the reader and for a worker, which mostly wait. Equal ones would let it fuse the two."""

MOST = 8
"""Workers, where nobody said how many: one a CPU, but not more than these."""

STORE = 256 * 2**20
"""Bytes of the object store of a cluster of our own; what does not fit goes to the disk."""

GOODBYE = 5.0
"""Seconds that a pipeline on a foreign cluster gets to end by itself."""


CONNECT = 60.0
"""Seconds until a cluster that does not answer is given up; Ray itself may try for ten minutes."""


class _Job(Future[Any]):
    """What a thread is to do, and how it ended: leaving its block with an error is one of the ways."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self.work = work

    def __enter__(self) -> None:
        """It runs."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is not None:
            self.set_exception(error)
        return True


class _Thread:
    """A thread for all that blocks, one after another. Ray's processes belong to the thread that starts them.

    The interpreter does not wait for it at its end: an address that does not answer holds nobody up.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="fanfold-ray", daemon=True).start()

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Do this after all that came before."""
        job = _Job(work)
        self._jobs.put(job)
        return job

    def end(self) -> None:
        """End, after all that came before."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.set_running_or_notify_cancel():
                with job:
                    job.set_result(job.work())


class _Connection:
    """Ray's connection, of which a process has one: the first map opens it, and the last one to leave shuts it down."""

    now: ClassVar[_Connection | None] = None
    door: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.thread = _Thread()
        self.maps = 0
        self._engine = ""
        self._own = False
        """Whether fanfold opened it, for this engine, and shuts it down."""
        self._cluster = False
        """Whether the cluster was started with it, and ends with it."""
        self._by_value: list[Any] = []

    @classmethod
    def joined(cls, ray: Any) -> _Connection:
        """The one of this process, with one map more."""
        with cls.door:
            if cls.now is None:
                cls.now = cls(ray)
            cls.now.maps += 1
            return cls.now

    @property
    def ends_all(self) -> bool:
        """Whether all that runs on the cluster is one map's, and ends with the connection."""
        return self._cluster and self.maps == 1

    def share(self) -> None:
        """Let what the user's own modules define be pickled by value: workers cannot import these."""
        with self.door:
            for module in users_own():
                if module not in self._by_value:
                    self.ray.cloudpickle.register_pickle_by_value(module)
                    self._by_value.append(module)

    def open(self, engine: str) -> None:
        """Connect, or start a cluster of our own, where that is still to do."""
        ray = self.ray
        silent = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        if ray.is_initialized():
            if not self._own and engine not in {"ray", "ray://auto"}:
                raise UsageError(f"engine={engine!r} in a program that has connected to Ray itself: 'ray' is that one")
            if self._own and engine != self._engine:
                raise UsageError(f"engine={engine!r} while a map runs on {self._engine!r}: a process has one at a time")
            return
        logging.getLogger("ray").setLevel(logging.ERROR)  # it would tell of its own settings
        if engine != "ray":
            ray.init(address="auto" if engine == "ray://auto" else engine, **silent)
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            own = {"address": "local", "include_dashboard": False, "object_store_memory": STORE}
            ray.init(**own, _node_ip_address="127.0.0.1", **silent)  # for nobody outside this machine
            self._cluster = True
        self._engine, self._own = engine, True

    def leave(self) -> None:
        """A map is over."""
        with self.door:
            self.maps -= 1
            if self.maps:
                return
            for module in self._by_value:
                self.ray.cloudpickle.unregister_pickle_by_value(module)
            self._by_value.clear()
        if self._own:
            self.ray.shutdown()
        self._own = self._cluster = False
        with self.door:
            if not self.maps:  # else one came meanwhile, and opens it again
                type(self).now = None
                self.thread.end()


class RayCluster:
    """A `Cluster` by Ray; `engine` is ``ray``, ``ray://auto`` or ``ray://HOST:PORT``."""

    def __init__(self, engine: str, workers: int | None) -> None:
        try:
            self.ray: Any = import_module("ray")
            import_module("ray.data")  # it is asked for now, and not by the pilot
        except ModuleNotFoundError as error:
            raise UsageError(f"engine={engine!r} needs Ray ({error}): install fanfold[ray]") from error
        self.engine = engine
        self.workers = workers
        self._connection = _Connection.joined(self.ray)
        self._closed = self._shared = False
        self._calling = False
        """Whether a cluster elsewhere is asked for, and has not answered."""
        self._hub: Any = None
        self._pilot: Any = None
        self._watching: asyncio.Task[None] | None = None

    def dumps(self, thing: Any) -> bytes:
        """As bytes; what the user's own modules define goes along by value."""
        if not self._shared:
            self._connection.share()
            self._shared = True
        return _dumps(self.ray, thing)

    def loads(self, data: bytes) -> Any:
        """What these bytes are."""
        return self.ray.cloudpickle.loads(data)

    def call(self, method: str, *given: Any) -> Awaitable[Any]:
        """Ask the hub."""
        return _asked(self._hub, method, given)

    async def start(self, order: bytes, ledger: dict[str, Any], lost: Callable[[FanfoldError], None]) -> None:
        """Connect, or start a cluster of our own; then the hub and the pilot."""
        try:
            await self._connect()
            await self._blocking(lambda: self._begin(order, ledger))
            _check_version(await self.call("version"), await self._blocking(_version), "this process")
        except FanfoldError:
            raise
        except Exception as error:
            raise WorkersError(f"the Ray cluster ({self.engine}) cannot be had: {error}") from error
        self._watching = begin_task(self._watch(lost))

    async def close(self) -> None:
        """End the pipeline and the hub; a cluster of our own ends, too. Once is enough."""
        if self._closed:
            return
        self._closed = True
        watching = set() if self._watching is None else {self._watching}
        if self._calling:
            self._connection.thread.submit(self._end)  # once there is an answer, if there ever is
            return
        stays = bool(watching) and not self._connection.ends_all
        try:
            if stays:
                await asyncio.wait(watching, timeout=GOODBYE)  # the hub was told to stop: the pipeline ends by itself
        finally:
            await self._blocking(self._end)
        if stays:
            await asyncio.wait(watching, timeout=POLL)  # Ray's client does not like to be left before it answers
        for task in watching:
            task.cancel()

    async def _connect(self) -> None:
        opening = self._connection.thread.submit(lambda: self._connection.open(self.engine))
        if self.engine == "ray":
            await asyncio.wrap_future(opening)
            return
        try:
            answers, _ = await asyncio.wait({asyncio.wrap_future(opening)}, timeout=CONNECT)
        finally:
            self._calling = not opening.done()
        if not answers:
            raise WorkersError(f"the Ray cluster ({self.engine}) has not answered for {CONNECT:.0f} s")
        await answers.pop()

    async def _watch(self, lost: Callable[[FanfoldError], None]) -> None:
        ended: Any = await asyncio.gather(self._pilot, return_exceptions=True)
        error = ended[0]
        why = "before all rows were done" if error is None else _last_line(getattr(error, "cause", None) or error)
        if not self._closed:
            lost(WorkersError(f"Ray Data ended: {why}"))

    # -- in the thread: Ray's processes belong to the one that starts them ---------------------------------------------

    async def _blocking(self, work: Callable[[], Any]) -> Any:
        return await asyncio.wrap_future(self._connection.thread.submit(work))

    def _begin(self, order: bytes, ledger: dict[str, Any]) -> None:
        ray = self.ray
        name = f"fanfold-{chance().randbytes(8).hex()}"
        workers = self.workers or max(1, min(MOST, int(ray.cluster_resources().get("CPU", 1))))
        hub = ray.remote(HubActor).options(name=name, num_cpus=0, max_concurrency=10_000)
        self._hub = hub.remote(order, ledger, workers)
        self._hub.guard.remote()
        self._pilot = ray.remote(pilot).options(num_cpus=0, max_retries=0).remote(name, workers)

    def _end(self) -> None:
        try:
            if self._hub is not None and self.ray.is_initialized():
                self.ray.kill(self._hub)
        finally:
            self._connection.leave()


class HubActor(Hub):
    """The hub as an actor."""

    async def version(self) -> str:
        """The fanfold that the driver's hub runs on."""
        return _version()

    async def guard(self) -> None:
        """End the process when the driver is dead: on a cluster that is not the driver's own it might not."""
        while not await self.alone():
            await sleep(POLL)
        os._exit(1)


class RayWorker:
    """An actor of the pool, as Ray Data wants it; it joins the hub of this name with its first block."""

    def __init__(self, hub: str) -> None:
        ray = self.ray = import_module("ray")
        self.hub: Any = ray.get_actor(hub)
        life = chance().randbytes(4).hex()
        self.name = f"{ray.get_runtime_context().get_actor_id()}:{life}"
        self.worker: Worker | None = None
        self._door = asyncio.Lock()

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        async with self._door:
            if self.worker is None:
                await self._start()
        if self.worker is not None and self.worker.order is not None:
            for rows in batch["rows"]:
                await self.worker.block(self.loads(rows))
        yield {"block": batch["block"]}

    def dumps(self, thing: Any) -> bytes:
        """As bytes."""
        return _dumps(self.ray, thing)

    def loads(self, data: bytes) -> Any:
        """What these bytes are."""
        return self.ray.cloudpickle.loads(data)

    def call(self, method: str, *given: Any) -> Awaitable[Any]:
        """Ask the hub."""
        return _asked(self.hub, method, given)

    async def start(self, order: bytes, ledger: dict[str, Any], lost: Callable[[FanfoldError], None]) -> None:
        """A worker starts no cluster."""
        raise AssertionError((order, ledger, lost))

    async def close(self) -> None:
        """A worker ends no cluster."""

    async def _start(self) -> None:
        _check_version(await self.call("version"), _version(), "a worker")
        worker = self.worker = Worker(self, self.name, _fence)
        if await worker.start():
            threading.Thread(target=self._beat, args=(worker,), name="fanfold-beat", daemon=True).start()

    def _beat(self, worker: Worker) -> None:
        """Renew the lease, on a thread of its own: a step that holds the loop up is slow, not dead."""
        pause = threading.Event()
        alive = True
        while alive:
            asked = now()
            alive = False
            with suppress(Exception):  # whatever Ray says when the hub is gone
                alive = self.ray.get(self.hub.beat.remote(self.name), timeout=EXPIRY - BEAT)
            alive = alive and now() - asked < EXPIRY - BEAT
            pause.wait(BEAT)
        worker.lost()


def pilot(hub: str, workers: int) -> None:
    """Run the pipeline to its end, on the cluster."""
    data: Any = import_module("ray.data")
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # a row of Ray's is a block of ours, and leaves at once
    source = type("Blocks", (data.Datasource,), {"get_read_tasks": partial(_tasks, hub), **_UNKNOWN_SIZE})
    named = "num_cpus" in signature(data.read_datasource).parameters  # an older Ray has no name for it
    reads = {"num_cpus": READS} if named else {"ray_remote_args": {"num_cpus": READS}}
    blocks = data.read_datasource(source(), override_num_blocks=1, **reads)
    done = blocks.map_batches(
        RayWorker,
        fn_constructor_args=[hub],
        batch_size=None,
        batch_format="numpy",
        compute=data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=BLOCKS),
        num_cpus=WORKS,
        max_concurrency=BLOCKS,
    )
    for _ in done.iter_internal_ref_bundles():
        pass


_UNKNOWN_SIZE: dict[str, Any] = {"estimate_inmemory_data_size": lambda _: None}


def _tasks(hub: str, *_: Any, **__: Any) -> list[Any]:
    """One reader; a second would only wait for rows beside it."""
    data, blocks = import_module("ray.data"), import_module("ray.data.block")
    unknown = blocks.BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
    return [data.ReadTask(partial(_read, hub), unknown)]


def _read(hub: str) -> Iterator[Any]:
    """The blocks of the hub as rows of Ray's, as they come; read again after a failure they are the same."""
    ray, arrow = import_module("ray"), import_module("pyarrow")
    there = ray.get_actor(hub)
    for index in count():
        rows = ray.get(there.take.remote(index))
        if rows is None:
            return
        yield arrow.table({"block": [index], "rows": [ray.cloudpickle.dumps(rows)]})


def _fence() -> None:
    """End this worker's process: Ray starts another, and nothing that it held is used any more."""
    os._exit(1)


def _dumps(ray: Any, thing: Any) -> bytes:
    try:
        data: bytes = ray.cloudpickle.dumps(thing)
    except Exception as error:
        raise UsageError(f"{type(error).__name__}: {error}") from error
    return data


async def _asked(hub: Any, method: str, given: tuple[Any, ...]) -> Any:
    try:
        return await getattr(hub, method).remote(*given)
    except FanfoldError:
        raise
    except Exception as error:
        raise WorkersError(f"the workers are gone: {_last_line(error)}") from error


def _version() -> str:
    try:
        return metadata.version("fanfold")
    except metadata.PackageNotFoundError:  # it runs from its sources
        return ""


def _check_version(there: str, here: str, who: str) -> None:
    """Raise `WorkersError` where the hub's fanfold is another one than that here."""
    if there != here:
        raise WorkersError(f"the hub has fanfold {there}, {who} {here}: install the same on all machines")


def _last_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
