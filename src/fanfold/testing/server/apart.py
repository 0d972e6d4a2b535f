"""The model server in a process of its own, for benchmarks that want it on another core."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fanfold.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def apart(*options: str) -> AsyncIterator[str]:
    """Run ``python -m fanfold.testing.server`` with these options and give its URL; it ends with the block.

    It ends with this process, too, however that ends. Raises `UsageError` if it does not start.
    """
    command = [sys.executable, "-m", "fanfold.testing.server", "--attached", *options]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    if process.stdin is None or process.stdout is None:
        raise AssertionError("it was made with pipes")
    try:
        line = await process.stdout.readline()
        if not line:
            raise UsageError(f"the model server did not start with {' '.join(options)}: see above for its reason")
        yield line.decode().strip()
    finally:
        process.stdin.close()
        await process.wait()
