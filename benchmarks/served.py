"""A model server for the benchmarks, in a process of its own on the other core: one fixed reply after a pause.

It can be told how many requests it works on at once; all others wait at the server, as they do for a model's machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from aiohttp import web

REPLY = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":250,'
    '"completion_tokens":200,"total_tokens":450}}' % ("word " * 190)
).encode()


@contextlib.contextmanager
def server(pause: float, at_once: int = 1_000_000) -> Iterator[str]:
    """Serve in a subprocess on core 1 and pin this process to core 0; gives the base URL."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, __file__, str(pause), str(cores[-1]), str(at_once)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(0, {cores[0]})
    try:
        if process.stdout is None:
            raise RuntimeError("the server has no output")
        yield process.stdout.readline().strip()
    finally:
        os.sched_setaffinity(0, set(cores))
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def _serve(pause: float, at_once: int) -> None:
    places = asyncio.Semaphore(at_once)

    async def complete(request: web.Request) -> web.Response:
        await request.read()
        async with places:
            await asyncio.sleep(pause)
        return web.Response(body=REPLY, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(f"http://{host}:{port}/v1\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(float(sys.argv[1]), int(sys.argv[3])))
