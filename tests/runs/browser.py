"""Chromium without a screen, driven over its DevTools protocol: as little of it as the tests of pages need."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

FLAGS = (
    "--headless",
    "--no-sandbox",  # it only ever shows our own pages, and root may not have a sandbox
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)

WAIT = 40.0
"""Seconds for anything; a slow machine is no failure."""


def program() -> str:
    """The browser's path; where there is none the test is skipped, and fails where CI says that it should be there."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        say = pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip
        say("no Chromium to look at the page with: `make browser` installs Debian's, as root")
    return str(found)


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """Start a browser with a fresh profile; gives the address of its DevTools."""
    command = [program(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        try:
            yield _address(started, profile / "DevToolsActivePort")
        finally:
            started.terminate()  # it ends its own processes
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()


def _address(started: subprocess.Popen[bytes], file: Path) -> str:
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        assert started.poll() is None, f"the browser ended with {started.returncode}"
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)
    raise TimeoutError("the browser did not say where it listens")


class Page:
    """One tab: what it said on its console, and what it does when told."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.session = ""
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.loaded = asyncio.Event()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def send(self, method: str, **parameters: Any) -> Any:
        """One command, and its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        await self.socket.send_json(message | ({"sessionId": self.session} if self.session else {}))
        async with asyncio.timeout(WAIT):
            return await answer

    async def read(self) -> None:
        """Take what the browser says, as long as it speaks."""
        async for message in self.socket:
            said = message.json()
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if "error" in said:
                    answer.set_exception(RuntimeError(said["error"]["message"]))
                else:
                    answer.set_result(said["result"])
            else:
                self._note(said["method"], said.get("params", {}))

    def _note(self, method: str, told: Any) -> None:
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"].get("exception", told)))
        elif method == "Runtime.consoleAPICalled" and told["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])

    async def show(self, url: str) -> None:
        """Load a page, and wait until it is there."""
        self.loaded.clear()
        self.asked.clear()
        await self.send("Page.navigate", url=url)
        async with asyncio.timeout(WAIT):
            await self.loaded.wait()

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, awaited if it is a promise."""
        told = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def drawn(self) -> None:
        """Wait until what was asked for is drawn."""
        await self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    async def size(self, width: int, height: int) -> None:
        """The size of the window in pixels."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def scheme(self, name: str) -> None:
        """`light` or `dark`, as the user's system would say."""
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    async def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move, press or release the mouse, or turn its wheel."""
        await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    async def click(self, x: float, y: float) -> None:
        """One click of the left button."""
        await self.mouse("mouseMoved", x, y)
        for kind in ("mousePressed", "mouseReleased"):
            await self.mouse(kind, x, y, button="left", clickCount=1)

    async def key(self, name: str, text: str = "") -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            await self.send("Input.dispatchKeyEvent", type=kind, key=name, **({"text": text} if text else {}))

    async def picture(self) -> bytes:
        """A screenshot as PNG."""
        told = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])


@asynccontextmanager
async def opened(address: str, *, width: int = 1280, height: int = 800) -> AsyncIterator[Page]:
    """A tab of the browser at `address`."""
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
        page = Page(socket)
        reader = asyncio.create_task(page.read())
        try:
            target = await page.send("Target.createTarget", url="about:blank")
            attached = await page.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.send(f"{domain}.enable")
            await page.size(width, height)
            yield page
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
