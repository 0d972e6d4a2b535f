"""Wall time of `import fanfold` against `import asyncio`, side by side in fresh interpreters.

Goal: at most 2 times.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15


def wall(code: str) -> float:
    """Milliseconds of an interpreter that runs `code`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    rounds = [(wall("import asyncio"), wall("import fanfold"), wall("from fanfold import vote")) for _ in range(ROUNDS)]
    asyncio_ms, front, used = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"import asyncio {asyncio_ms:.0f} ms, import fanfold {front:.0f} ms: {front / asyncio_ms:.2f} times (goal 2)")
    print(f"from fanfold import vote {used:.0f} ms")


if __name__ == "__main__":
    main()
