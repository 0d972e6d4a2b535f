"""Hedges over sockets: the slower request is closed, and its server sees that at once."""

import asyncio

import pytest

from fanfold import Hedge, OpenAI, Session, prompt
from fanfold.calls.hedging import ENOUGH
from tests.wire import raw

pytestmark = pytest.mark.usefixtures("either_transport")

ASK = prompt("{input}")

GONE = 0.05
"""Seconds within which the server of the slower request has to see that its client is gone."""


@pytest.mark.timing
@pytest.mark.parametrize("where", ["before the headers", "after the headers"])
def test_the_slower_request_is_closed_when_the_other_brings_text(where):
    """The server sees the disconnect within 50 ms of the winner's text; one reply comes, and no socket is left."""
    times = {}

    async def stall(writer):
        if where == "after the headers":
            writer.write(raw.open_ended())
            await writer.drain()
        try:
            while True:  # what is written to a closed connection fails; nothing of it is an event
                await asyncio.sleep(0.002)
                if where == "after the headers":
                    writer.write(b": still here\n")
                await writer.drain()
                if writer.transport.is_closing() or gone(writer):
                    break
        except ConnectionError:
            pass
        times["seen"] = asyncio.get_running_loop().time()

    async def say(writer, _):
        if len(server.heard) == ENOUGH + 1:
            await stall(writer)
            return
        writer.write(raw.open_ended() + raw.stream("yes")[0])
        await writer.drain()
        times["text"] = asyncio.get_running_loop().time()
        await asyncio.sleep(0.1 if len(server.heard) > ENOUGH else 0.001)
        writer.write(b"".join(raw.stream("yes")[1:]))

    async def main():
        nonlocal server
        async with (
            raw.raw_server(say) as server,
            Session(OpenAI("m", base_url=server.url), hedge=Hedge(at_most=1.0)) as session,
        ):
            for _ in range(ENOUGH + 1):
                run = await ASK.run("q", session=session)
            return run, session.statistics(), len(server.heard)

    server = None
    run, held, heard = asyncio.run(main())
    (call,) = run.calls
    assert (run.output, heard, held.sockets) == ("yes", ENOUGH + 2, 0)
    assert [(attempt.hedge, attempt.state) for attempt in call.attempts] == [(False, "cancelled"), (True, "ok")]
    assert times["seen"] - times["text"] <= GONE


def gone(writer):
    """Whether the other side has closed: its end of the stream has been read."""
    return writer._protocol._stream_reader.at_eof()
