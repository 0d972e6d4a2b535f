"""What the journal costs: measured with the real clock, on a machine that does nothing else."""

import asyncio
import time
from pathlib import Path

import pytest

from fanfold import Session, map_over, prompt
from fanfold.core.records import Request
from fanfold.journal import Journal
from fanfold.testing import FakeModel

pytestmark = pytest.mark.timing

ASK = prompt("{input}")
TEXT = "word " * 200


class Timed(FakeModel):
    """Remembers when each reply was whole."""

    def __init__(self) -> None:
        super().__init__([TEXT], latency=0.01)
        self.whole: dict[str, float] = {}

    async def send(self, request: Request, watch: object) -> object:
        reply = await super().send(request, watch)
        self.whole[str(request.messages[0].content)] = time.perf_counter()
        return reply


async def waits(journal: Journal, calls: int, rate: float) -> list[float]:
    """Seconds between a reply and the return of its call, in order, at so many calls a second."""
    model = Timed()
    returned: dict[str, float] = {}

    async def one(text: str) -> None:
        await ASK.run(text)
        returned[text] = time.perf_counter()

    async with Session(model, journal=journal, max_in_flight=200):
        await ASK.run("warm")
        began = time.perf_counter()
        tasks = []
        for number in range(calls):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(one(f"{number} {TEXT}")))
        await asyncio.gather(*tasks)
    return sorted(returned[text] - model.whole[text] for text in returned)


def test_a_commit_adds_milliseconds(tmp_path: Path) -> None:
    """At 1,000 calls a second, each a run of its own, half of them return at most 10 ms later than without it."""
    runs = []
    for again in range(3):
        off = asyncio.run(waits(Journal(tmp_path / "none", mode="off"), 1000, 1000.0))
        kept = asyncio.run(waits(Journal(tmp_path / f"{again}.db", mode="record"), 1000, 1000.0))
        runs.append(kept[500] - off[500])
    assert min(runs) <= 0.01, runs


def test_a_call_costs_little_processor_time(tmp_path: Path) -> None:
    """With a journal a call costs at most 100 µs of CPU more, the writer's share included, on prompts of a kilobyte."""

    async def cost(journal: Journal) -> float:
        many = map_over(ASK)
        async with Session(Timed(), journal=journal, max_in_flight=200):
            await many.run([f"{number} {TEXT}" for number in range(200)])
            began = time.process_time()
            await many.run([f"{number} {TEXT}" for number in range(2000)])
            return (time.process_time() - began) / 2000

    more = [
        asyncio.run(cost(Journal(tmp_path / f"{again}.db", mode="record")))
        - asyncio.run(cost(Journal(tmp_path / "none", mode="off")))
        for again in range(3)
    ]
    assert min(more) <= 100e-6, more
