"""fanfold: the table that `fanfold map` makes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fanfold import OpenAI, Session, prompt
from fanfold.data.table import Plan, Table
from tables.timing import run


def client(source: Path, out: Path, url: str, in_flight: int) -> None:
    """One prompt a row."""
    asyncio.run(_made(Plan(prompt("{text}", max_tokens=300), source, out), url, in_flight))


async def _made(plan: Plan, url: str, in_flight: int) -> None:
    async with Session(OpenAI(name="m", base_url=url, api_key="none"), max_in_flight=in_flight) as session:
        await Table(plan, session).make()


if __name__ == "__main__":
    run(client)
