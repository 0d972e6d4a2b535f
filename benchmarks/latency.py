"""Wall time of fans: three sections of 1 s over sockets, and 1,000 branches of 0.2 s on the fake model.

Goals: under 1.3 s and under 1.2 s.
"""

from __future__ import annotations

import asyncio
import time

from served import server

from fanfold import OpenAI, Session, prompt, sections
from fanfold.testing import FakeModel


async def three(url: str) -> float:
    """Three sections, each with 1 s of latency."""
    step = sections({name: prompt(f"{name}: {{input}}") for name in ("tone", "facts", "bias")})
    async with Session(model=OpenAI(name="m", base_url=url)) as session:
        session.line(None)  # opening loads prices and the transport, once a session
        began = time.perf_counter()
        await step("A document.")
        return time.perf_counter() - began


async def thousand() -> float:
    """1,000 sections at 0.2 s."""
    step = sections([prompt(f"{number}: {{input}}") for number in range(1000)])
    async with Session(model=FakeModel(latency=0.2), max_in_flight=1000):
        began = time.perf_counter()
        await step("A document.")
        return time.perf_counter() - began


def main() -> None:
    with server(1.0) as url:
        print(f"3 sections of 1 s over sockets: {asyncio.run(three(url)):.3f} s (goal 1.3)")
    print(f"1,000 branches of 0.2 s on the fake model: {asyncio.run(thousand()):.3f} s (goal 1.2)")


if __name__ == "__main__":
    main()
