"""Steps on a loop that starts tasks eagerly, as `asyncio.eager_task_factory` of Python 3.12 makes it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from fanfold import Session, fallback, gather, map_over, prompt, race, sample, sections, step, vote
from fanfold.core.clock import sleep
from fanfold.testing import no_leaks, run_virtual

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")


@step
async def at_once(given: Any) -> Any:
    return given


@step
async def late(given: Any) -> Any:
    await sleep(1)
    return given


@step
async def failing(given: Any) -> Any:
    raise ValueError("no")


@step
async def starting(given: int) -> list[int]:
    handles = [late.start(given), at_once.start(given + 1), at_once.start(given + 2)]
    return [await handle for handle in reversed(handles)]


async def rows() -> list[Any]:
    async with at_once.map(range(5)) as found:
        return [row.output async for row in found]


async def updates() -> list[Any]:
    async with sections({"a": at_once, "b": late}).updates("x") as found:
        return [update async for update in found]


WORKS: dict[str, Callable[[], Awaitable[Any]]] = {
    "sections": lambda: sections({"a": at_once, "b": late})("x"),
    "skipping": lambda: sections({"a": at_once, "b": failing}, on_error="skip")("x"),
    "vote": lambda: vote(prompt("{input}", returns=Literal["a", "b"]), n=5)("x"),
    "sample": lambda: sample(prompt("{input}"), n=3)("x"),
    "map_over": lambda: map_over(at_once)([1, 2, 3]),
    "race": lambda: race(at_once, late)("x"),
    "fallback": lambda: fallback(failing, late)("x"),
    "gather": lambda: gather(at_once(1), late(2)),
    "start": lambda: starting(1),
    "rows": rows,
    "updates": updates,
}


def run(work: Callable[[], Awaitable[Any]], *, eagerly: bool) -> Any:
    async def main() -> Any:
        if eagerly:
            asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        async with Session(model="fake:") as session, no_leaks(session):
            return await asyncio.wait_for(work(), 60)

    return run_virtual(main())


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_eager_tasks_change_nothing(work: Callable[[], Awaitable[Any]]) -> None:
    assert run(work, eagerly=True) == run(work, eagerly=False)
