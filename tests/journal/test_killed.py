"""A map that is killed, again and again: what it gives, and what it pays."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROWS, AT_ONCE = 120, 8

CHILD = """
import asyncio, json, os, sys
from fanfold import Session, map_over, prompt
from fanfold.testing import FakeModel

journal, bill = sys.argv[1:]

class Billed(FakeModel):
    # Writes down every request before it is answered: the only truth about what was paid.
    def __init__(self):
        super().__init__(lambda request: request.messages[0].content[::-1], latency=0.004)
        self.file = os.open(bill, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async def send(self, request, watch):
        os.write(self.file, (request.messages[0].content + "\\n").encode())
        return await super().send(request, watch)

async def main():
    many = map_over(prompt("{input}"))
    async with Session(Billed(), journal=journal or None, max_in_flight=%d):
        run = await many.run([f"row {number}" for number in range(%d)])
    print(json.dumps(run.output))

asyncio.run(main())
"""
CHILD = CHILD.replace("%d", str(AT_ONCE), 1).replace("%d", str(ROWS), 1)


def start(journal: str, bill: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CHILD, journal, str(bill)], stdout=subprocess.PIPE, text=True)


def paid(bill: Path) -> int:
    return len(bill.read_text().splitlines()) if bill.exists() else 0


def killed_and_resumed(folder: Path, seed: int, kills: int) -> None:
    """Kill a map at random points of its bill, then let it end; compare with one that nobody disturbed."""
    chance = random.Random(seed)
    bill = folder / "bill"
    done = 0
    for _ in range(kills):
        enough = paid(bill) + chance.randrange(1, ROWS // kills)
        with start(str(folder / "j.db"), bill) as process:
            until = time.monotonic() + 20
            while paid(bill) < enough and process.poll() is None and time.monotonic() < until:
                time.sleep(0.001)
            done += process.poll() is None
            process.send_signal(signal.SIGKILL)
    with start(str(folder / "j.db"), bill) as process:
        output = json.loads(process.stdout.read())
    with start("", folder / "other") as process:
        undisturbed = json.loads(process.stdout.read())
    assert output == undisturbed
    assert ROWS <= paid(bill) <= ROWS + done * AT_ONCE, seed


def test_a_killed_map_goes_on(tmp_path: Path) -> None:
    """Killed twice, a map gives what an undisturbed one gives, and pays at most 2 × max_in_flight calls more."""
    killed_and_resumed(tmp_path, seed=1, kills=2)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_killed_maps_go_on(tmp_path: Path, seed: int) -> None:
    """Fifty kills at random moments, five a map: no row lost, none twice, the bill within its bound."""
    killed_and_resumed(tmp_path, seed, kills=5)
