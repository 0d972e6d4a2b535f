"""A map of very many rows: memory stays where it was after the first, and so do open files."""

import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fanfold import Session, prompt
from fanfold.testing import FakeModel

PAGE = resource.getpagesize()
MB = 1_000_000


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE


def descriptors() -> int:
    """Files and sockets that this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


SOAK = """
import asyncio, gc, json, sys
from tests.steps.test_rows_at_length import soak
print(json.dumps(asyncio.run(soak(int(sys.argv[1])))))
"""


async def soak(rows: int) -> dict[str, int]:
    """So many fake calls; memory and descriptors after the first tenth, and at the end."""
    ask = prompt("{input}", model=FakeModel(["yes", "no"]))
    found: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    lost: list[str] = []
    loop.set_exception_handler(lambda _, context: lost.append(str(context)))
    async with Session("fake:", max_in_flight=64) as session:
        async for row in ask.map((str(at) for at in range(rows)), session=session):
            if row.number == rows // 10:
                gc.collect()
                found |= {"warm": resident(), "open": descriptors()}
        gc.collect()
    return found | {"end": resident(), "still_open": descriptors(), "lost": len(lost), "rows": row.number + 1}


def soaked(rows: int) -> dict[str, int]:
    """The same in a process of its own, whose memory holds nothing else."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    made = subprocess.run(
        [sys.executable, "-W", "error", "-c", SOAK, str(rows)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert not made.stderr
    found: dict[str, int] = json.loads(made.stdout)
    return found


def check(found: dict[str, int], rows: int) -> None:
    assert found["rows"] == rows
    assert found["end"] - found["warm"] <= 5 * MB, found
    assert found["still_open"] <= found["open"]
    assert found["lost"] == 0


def test_memory_and_descriptors_stay() -> None:
    """After the first tenth of 20,000 fake calls memory grows by at most 5 MB, descriptors do not, no error is lost."""
    check(soaked(20_000), 20_000)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_they_stay_for_a_million_calls() -> None:
    """The same of 1,000,000."""
    check(soaked(1_000_000), 1_000_000)


def test_a_table_streams(tmp_path: Path) -> None:
    """From file to file, 10,000 rows take at most 10 MB beyond what 1,000 took."""
    assert beyond(tmp_path, [1_000, 10_000], "--no-journal") <= 10 * MB


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_long_table_streams(tmp_path: Path) -> None:
    """300,000 rows with a journal, from JSON Lines to CSV, take at most 20 MB beyond what 30,000 took."""
    assert beyond(tmp_path, [30_000, 300_000], "--journal", suffix="csv") <= 20 * MB


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_million_rows_stream(tmp_path: Path) -> None:
    """A table of 10,000,000 rows takes at most 100 MB beyond what 1,000 took."""
    assert beyond(tmp_path, [1_000, 10_000_000], "--no-journal") <= 100 * MB


MAP = """
import asyncio, json, sys
from pathlib import Path
from fanfold import Session, step
from fanfold.data.table import Plan, Table

@step
async def shout(row):
    return row["text"].upper()

async def main(source, out, journal):
    plan = Plan(shout, Path(source), Path(out), journal=journal == "--journal")
    return (await Table(plan, lambda path: Session("fake:", journal=path)).make()).done

done = asyncio.run(main(*sys.argv[1:]))
# Not ru_maxrss: that begins with what the process was that started this one.
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps([done, int(peak) * 1024]))
"""


def beyond(folder: Path, lengths: list[int], journal: str, *, suffix: str = "jsonl") -> int:
    """How much more memory a table of the second length takes at its peak than one of the first."""
    short, long = (mapped(folder, rows, journal, suffix) for rows in lengths)
    return long - short


def mapped(folder: Path, rows: int, journal: str, suffix: str) -> int:
    """The peak memory of a table of so many rows, in a process of its own."""
    source, out = folder / f"{rows}.jsonl", folder / f"out{rows}.{suffix}"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(f'{{"id": {at}, "text": "some words"}}\n' for at in range(rows))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MAP, str(source), str(out), journal]
    done, peak = json.loads(subprocess.check_output(command, env=environment))
    assert done == rows
    assert peak > 0
    with out.open("rb") as file:
        assert sum(1 for _ in file) == rows + (suffix == "csv")
    source.unlink()
    return int(peak)
