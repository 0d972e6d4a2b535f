"""Who is not needed any more is cut off at once: measured over real sockets, on both ends of the wire."""

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from fanfold import OpenAI, Session, prompt, sections, step, vote
from fanfold.core.clock import now
from fanfold.errors import BranchError, StatusError, StepTimeout
from fanfold.models.wire import Wire
from fanfold.testing import FakeModel, ModelServer, no_leaks
from tests.wire import raw

pytestmark = pytest.mark.usefixtures("either_transport")

ASK = prompt("Is it so? {input}", returns=bool)
TELL = prompt("Tell me: {input}")

RETURNS_WITHIN = 0.01
"""Seconds within which a vote has to be back once it is decided."""

SEEN_WITHIN = 0.05
"""Seconds within which the server has to see that a client is gone."""

LONG = 30.0
"""Seconds that nobody waits here."""


class Streamed(msgspec.Struct, frozen=True):
    """The same model, always asked to stream, as a pattern's tail is."""

    spec: OpenAI

    def open(self, transport: Any) -> Any:
        """The wire, with every request turned into a streamed one."""
        return StreamedWire(self.spec.open(transport))


class StreamedWire:
    """A wire that streams."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.label = wire.label
        self.made_up = wire.made_up
        self.structured = wire.structured

    async def send(self, request, watch):
        """Send, streamed."""
        return await self.wire.send(msgspec.structs.replace(request, stream=True), watch)


@contextlib.asynccontextmanager
async def talking(
    answers: Any, *, streamed: bool = False, max_in_flight: int = 64, **options: Any
) -> AsyncIterator[tuple[ModelServer, Session]]:
    """A server and a session that has spoken to it before, so that only the wire is measured; nothing may leak."""
    async with ModelServer(answers, **options) as server:
        spec = OpenAI(name="m", base_url=server.url)
        async with Session(model=Streamed(spec) if streamed else spec, max_in_flight=max_in_flight) as session:
            with contextlib.suppress(StatusError):
                await TELL.run("warm up", session=session)
            server.seen.clear()
            async with no_leaks(session):
                yield server, session


def by_ordinal(texts: list[str], seconds: list[float]) -> FakeModel:
    """Answers and times by the number of the sample; the warming up is refused."""

    def say(request):
        if "warm up" in request.messages[0].content:
            return StatusError("warm", status=418)
        return texts[request.draw.ordinal]

    return FakeModel(say, latency=lambda request: seconds[request.draw.ordinal])


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something has happened on the server's side."""
    end = now() + seconds
    while not condition():
        assert now() < end, "it did not happen"
        await asyncio.sleep(0.002)


async def cut_off(server: ModelServer, since: float, calls: int) -> float:
    """Seconds from `since` until the server had seen the last of so many disconnects."""
    await until(lambda: sum(seen.disconnected is not None for seen in server.seen) == calls)
    assert server.statistics().in_flight == 0
    return max(seen.disconnected - since for seen in server.seen if seen.disconnected is not None)


async def decided_vote(server: ModelServer, session: Session) -> tuple[float, float]:
    """Hold a vote of five that three decide; seconds from the third reply to the result and to the disconnects."""
    server.seen.clear()
    run = await vote(ASK, n=5).run("yes or no", session=session)
    returned = now()
    winners = [seen.answered for seen in server.seen if seen.answered is not None]
    assert (run.output, len(winners), run.saved.cancelled) == (True, 3, 2)
    third = max(winners)
    return returned - third, await cut_off(server, third, calls=2)


def hold_votes(began: bool, model: FakeModel, **options: Any) -> tuple[float, float]:
    """The medians of five such votes; `began` says whether their losers' replies have to have begun."""

    async def main():
        async with talking(model, **options) as (server, session):
            for _ in range(5):
                yield await decided_vote(server, session)
                losers = [seen for seen in server.seen if seen.answered is None]
                assert [seen.began is not None for seen in losers] == [began] * 2

    async def medians():
        returned, seen = zip(*[pair async for pair in main()], strict=True)
        return statistics.median(returned), statistics.median(seen)

    return asyncio.run(medians())


@pytest.mark.timing
def test_a_decided_vote_returns_at_once_and_hangs_up_on_losers_that_wait_for_headers():
    """A vote of 5 is back 10 ms after its third equal reply; the losers, still without headers, are cut off."""
    model = by_ordinal(["yes"] * 3 + ["no"] * 2, [0.02, 0.03, 0.04, LONG, LONG])
    returned, seen = hold_votes(False, model)
    assert returned <= RETURNS_WITHIN
    assert seen <= SEEN_WITHIN


@pytest.mark.timing
def test_a_decided_vote_returns_at_once_and_hangs_up_on_losers_in_mid_stream():
    """The same with losers whose text is already coming."""
    model = by_ordinal(["yes"] * 3 + ["no, " * 3000] * 2, [0.04, 0.05, 0.06, 0.0, 0.0])
    returned, seen = hold_votes(True, model, streamed=True, between_tokens=0.01)
    assert returned <= RETURNS_WITHIN
    assert seen <= SEEN_WITHIN


Act = Callable[[Session], Awaitable[Any]]


async def cancelled_task(session: Session) -> None:
    """Cancel the task that runs a step."""
    task = asyncio.create_task(TELL.run("x", session=session))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def run_out_of_time(session: Session) -> None:
    """Let a run's timeout end it."""
    with pytest.raises(StepTimeout):
        await TELL.run("x", session=session, timeout=0.05)


async def timed_out_around(session: Session) -> None:
    """Let a timeout of asyncio's own end it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await TELL.run("x", session=session)


async def left_text(session: Session) -> None:
    """Leave the text before it is over."""
    async with TELL.text("x", session=session):
        await asyncio.sleep(0.05)


async def failed_sibling(session: Session) -> None:
    """Let another branch fail."""

    @step
    async def fails(_given: str) -> str:
        await asyncio.sleep(0.05)
        raise ValueError("no")

    with pytest.raises(BranchError):
        await sections({"slow": TELL, "fails": fails}).run("x", session=session)


@pytest.mark.timing
@pytest.mark.parametrize("act", [cancelled_task, run_out_of_time, timed_out_around, left_text, failed_sibling])
@pytest.mark.parametrize("streaming", [False, True], ids=["before headers", "in mid-stream"])
def test_however_a_call_is_given_up_its_request_ends(act, streaming):
    """A cancelled task, a timeout, a reader that leaves, a failed sibling: the server sees the disconnect at once."""

    async def main():
        text = "word " * 3000
        timing = {"between_tokens": 0.01} if streaming else {"latency": LONG}
        answers = by_ordinal([text] * 2, [0.0] * 2)
        async with talking(answers, streamed=streaming, **timing) as (server, session):
            await act(session)
            since = now()
            seconds = await cut_off(server, since, calls=1)
            assert (server.seen[0].began is not None) == streaming
            return seconds

    assert asyncio.run(main()) <= SEEN_WITHIN


@pytest.mark.timing
def test_a_call_is_given_up_in_the_middle_of_a_plain_body():
    """A reply that comes slowly, its headers long there, is cut off as well."""

    async def main():
        gone = asyncio.get_running_loop().create_future()

        async def trickle(writer, _heard):
            writer.write(raw.in_chunks(raw.JSON))
            try:
                while True:
                    writer.write(raw.chunk(b" "))
                    await writer.drain()
                    await asyncio.sleep(0.002)
            except ConnectionError:
                gone.set_result(now())

        async with raw.raw_server(trickle) as server, Session(model=OpenAI(name="m", base_url=server.url)) as session:
            with pytest.raises(StepTimeout):
                await TELL.run("x", session=session, timeout=0.5)
            since = now()
            return await gone - since, session.statistics().sockets

    seconds, sockets = asyncio.run(main())
    assert seconds <= SEEN_WITHIN
    assert sockets == 0


def test_a_hundred_calls_given_up_together_leave_nothing():
    """Cancelling a fan of 100 calls frees every slot and socket, and the server sees all 100 go."""

    async def main():
        fan = sections({f"s{number}": prompt(f"{number} {{input}}") for number in range(100)})
        async with talking(by_ordinal(["x"], [LONG]), max_in_flight=100) as (server, session):
            task = asyncio.create_task(fan.run("x", session=session))
            await until(lambda: server.statistics().in_flight == 100)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            held = session.statistics()
            await cut_off(server, now(), calls=100)
            return held

    held = asyncio.run(main())
    assert (held.slots.in_use, held.slots.waiting) == (0, 0)


def test_a_connection_is_used_again_after_a_reply_and_never_after_a_cancellation():
    """What is left of a cancelled reply cannot be taken for the next call's."""

    async def main():
        async with talking(["one two three four five six"], streamed=True, between_tokens=0.02) as (server, session):
            async with TELL.text("x", session=session) as text:
                async for piece in text:
                    assert piece.startswith("one ")
                    break
            run = await TELL.run("y", session=session)
            await TELL.run("z", session=session)
            return run.output, len({seen.peer for seen in server.seen}), len(server.seen)

    assert asyncio.run(main()) == ("one two three four five six", 2, 3)
