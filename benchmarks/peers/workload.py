"""The work that every client is given, and the report it makes: fans of ten calls, their times, what failed.

A client is a module of this folder with `client(work)`: an async context manager that gives a function from the texts
of one fan to their replies, with an exception in the place of each call that failed for good. It is run as
``python -m peers.workload CLIENT WORK`` (WORK as JSON), in a process of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any

Fan = Callable[[Sequence[str]], Awaitable[Sequence[Any]]]

MODEL = "gpt-4o-mini"
KEY = "sk-of-no-account"
PATIENCE = 240.0
"""Seconds after which a client that does not come to its end is ended: what is missing counts as failed."""


@dataclass(frozen=True)
class Work:
    """What to do: `fans` of `width` calls each, so many fans at once, by which limits a client may be set up."""

    url: str
    fans: int
    width: int = 10
    at_once: int = 1_000_000
    concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_tokens: int = 64
    seed: int = 0
    hedge: bool = False

    def texts(self) -> list[list[str]]:
        """The prompts, by fan; of 60 to 600 characters."""
        chance = random.Random(self.seed)
        words = ["paper", "fold", "river", "stone", "light", "answer", "morning", "window", "garden", "letter"]

        def text(fan: int, call: int) -> str:
            return f"Item {fan}-{call}: " + " ".join(chance.choices(words, k=chance.randint(8, 90)))

        return [[text(fan, call) for call in range(self.width)] for fan in range(self.fans)]


@dataclass(frozen=True)
class Report:
    """What became of it; times in seconds. A fan that was ended has the time that it had."""

    wall: float
    cpu: float
    fans: list[float]
    failed: int
    errors: dict[str, int]


async def run(name: str, work: Work, report: Callable[[Report], None]) -> None:
    """Do the work with one client, and report before it puts its things away: that may take for ever, too."""
    client: Callable[[Work], AbstractAsyncContextManager[Fan]] = importlib.import_module(f"peers.{name}").client
    gate = asyncio.Semaphore(work.at_once)
    times: list[float] = []
    errors: dict[str, int] = {}

    async def one(fan: Fan, texts: Sequence[str]) -> None:
        async with gate:
            began = time.perf_counter()
            for reply in await fan(texts):
                if isinstance(reply, BaseException) or not reply:
                    kind = type(reply).__name__
                    errors[kind] = errors.get(kind, 0) + 1
            times.append(time.perf_counter() - began)

    async with client(work) as fan:
        began, cpu = time.perf_counter(), time.process_time()
        tasks = [asyncio.create_task(one(fan, texts)) for texts in work.texts()]
        _, late = await asyncio.wait(tasks, timeout=PATIENCE)
        for task in late:
            task.cancel()
        ended = time.perf_counter()
        failures = [task for task in tasks if task not in late and task.exception() is not None]
        failed = sum(errors.values()) + work.width * (len(late) + len(failures))
        for task in failures:
            errors[repr(task.exception())[:80]] = work.width
        times += [ended - began] * len(late)
        report(Report(ended - began, time.process_time() - cpu, times, failed, errors))


def main() -> None:
    """Run one client and print its report as JSON."""
    name, given = sys.argv[1:]
    work = Work(**json.loads(given))
    asyncio.run(run(name, work, lambda report: print(json.dumps(asdict(report)), flush=True)))


if __name__ == "__main__":
    main()
