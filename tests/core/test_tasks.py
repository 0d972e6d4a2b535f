"""How tasks begin: not before their maker gives way, whatever the loop's task factory makes of its own."""

import asyncio
import sys
from typing import Any

import pytest

from fanfold.core.fan import fan
from fanfold.core.tasks import begin_task
from fanfold.testing import no_leaks, run_virtual
from tests.core.fanning import Script, branch

eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")


def refuse(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
    """A task factory that nobody may ask."""
    work.close()
    raise AssertionError("the loop's task factory was asked")


def test_a_task_has_done_nothing_yet_when_its_maker_has_it() -> None:
    """It runs at the next turn of the loop that is named, or of the running one; the loop's factory is not asked."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(refuse)
        done: list[int] = []

        async def work(number: int) -> None:
            done.append(number)

        tasks = [begin_task(work(1)), begin_task(work(2), loop)]
        loop.set_task_factory(None)
        assert done == []
        await asyncio.wait(tasks)
        assert done == [1, 2]

    run_virtual(main())


@eager
def test_a_fan_hears_of_branches_that_would_end_before_it_knows_them() -> None:
    """Where the loop starts tasks eagerly, branches arrive as elsewhere: the fan waited for them for ever."""

    async def main() -> Any:
        factory: Any = vars(asyncio)["eager_task_factory"]
        asyncio.get_running_loop().set_task_factory(factory)
        async with no_leaks():
            return await fan([branch("at once"), branch("late", 1), branch("no", 0, ValueError("no"))], Script())

    assert run_virtual(main()) == ["at once", "no", "late"]
