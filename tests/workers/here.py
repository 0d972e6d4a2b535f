"""A cluster in one event loop: a hub and workers as on machines of their own, with slow messages, and who die."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from fanfold.core.clock import now, sleep
from fanfold.errors import FanfoldError, WorkersError
from fanfold.steps.workers.hub import Hub
from fanfold.steps.workers.worker import Worker

RESTART = 3.0
"""Seconds until a worker that died is there again."""

AWAY = 0.001
"""Seconds that a message takes."""


class Life:
    """One life of a worker: what a process is elsewhere."""

    def __init__(self, cluster: HereCluster, actor: int, number: int) -> None:
        self.cluster = cluster
        self.name = f"{actor}:{number}"
        self.worker = Worker(self, self.name, self.die)
        self.dead = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.beating = asyncio.create_task(self.beat())

    dumps = property(lambda self: self.cluster.dumps)
    loads = property(lambda self: self.cluster.loads)

    async def call(self, method: str, *given: Any) -> Any:
        """Ask the hub; of the dead nothing comes, and they hear nothing."""
        if self.dead:
            await asyncio.Future()
        answer = await self.cluster.call(method, *given)
        if self.dead:
            await asyncio.Future()
        return answer

    async def beat(self) -> None:
        while True:
            await sleep(2.0)
            if not await self.call("beat", self.name):
                self.worker.lost()
                return

    def die(self) -> None:
        """As by SIGKILL: all that it did stops, and nobody is told."""
        self.dead = True
        session = self.worker.session
        mine = {*self.tasks, *self.worker.running.values(), self.beating}
        worker = self.worker
        mine |= {task for task in (worker._polling, worker._closing, worker.post._sending) if task is not None}
        for task in mine - {asyncio.current_task()}:
            task.cancel()
        if session is not None:
            session.closed = True


class HereCluster:
    """A `Cluster` whose processes are tasks. Objects pass by reference: what can be pickled is no question here."""

    def __init__(self, workers: int = 2, *, restarts: bool = True) -> None:
        self.count = workers
        self.restarts = restarts
        self.hub: Hub | None = None
        self.lives: dict[int, Life] = {}
        self.things: list[Any] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.blocks: dict[int, tuple[int, Any]] = {}
        self.born = 0

    def dumps(self, thing: Any) -> bytes:
        self.things.append(thing)
        return str(len(self.things) - 1).encode()

    def loads(self, data: bytes) -> Any:
        return self.things[int(data)]

    async def call(self, method: str, *given: Any) -> Any:
        if self.hub is None:
            raise WorkersError("no hub")
        await sleep(AWAY)
        answer = await getattr(self.hub, method)(*given)
        await sleep(AWAY)
        return answer

    async def start(self, order: bytes, ledger: dict[str, Any], lost: Callable[[FanfoldError], None]) -> None:
        self.hub = Hub(order, ledger, self.count)
        self.lost = lost
        for actor in range(self.count):
            self.begin(actor)
        self.do(self.read())

    def do(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def begin(self, actor: int) -> None:
        """A worker's next life; it gets the blocks that the one before left."""
        self.born += 1
        life = self.lives[actor] = Life(self, actor, self.born)
        self.do(self.live(life, actor))

    async def live(self, life: Life, actor: int) -> None:
        if await life.worker.start():
            for index in [index for index, (whose, _) in self.blocks.items() if whose == actor]:
                self.give(index)

    async def read(self) -> None:
        index = 0
        while (rows := await self.call("take", index)) is not None:
            idle = Counter(dict.fromkeys(range(self.count), 0))
            idle.update(actor for actor, _ in self.blocks.values())
            self.blocks[index] = (min(idle, key=lambda actor: idle[actor]), rows)
            self.give(index)
            index += 1

    def give(self, index: int) -> None:
        actor, rows = self.blocks[index]
        life = self.lives[actor]
        if life.dead or life.worker.session is None:
            return  # it is given when that worker is there
        task = self.do(life.worker.block(rows))
        life.tasks.add(task)
        task.add_done_callback(lambda _: life.dead or self.blocks.pop(index, None))

    def kill(self, actor: int) -> float:
        """Kill a worker; gives when."""
        self.lives[actor].die()
        if self.restarts:
            asyncio.get_running_loop().call_later(RESTART, self.begin, actor)
        return now()

    def lose(self) -> None:
        """All is gone."""
        self.hub = None
        self.lost(WorkersError("the cluster burned down"))

    async def close(self) -> None:
        for life in self.lives.values():
            life.die()
        tasks = [*self.tasks, *(task for life in self.lives.values() for task in (*life.tasks, life.beating))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for life in self.lives.values():
            if life.worker.session is not None:
                await life.worker.session.close()
        self.hub = None
