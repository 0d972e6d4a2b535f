"""The model service itself, without sockets: limits, faults, answers, times and the bill, in the order of a request.

It may be reached over HTTP (`Face`) or straight from a client of the same process (`SimulatedModel`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, TypedDict

import msgspec

from fanfold.core.clock import now
from fanfold.core.records import Draw, Usage
from fanfold.errors import FanfoldError, UsageError
from fanfold.models.fake import words as split
from fanfold.testing.server import tokens
from fanfold.testing.server.answers import answerer_of
from fanfold.testing.server.bill import Bill, Charge, Prices
from fanfold.testing.server.book import Book, ServerStatistics
from fanfold.testing.server.delivery import Work, deliver, forever, planned, send, until
from fanfold.testing.server.faults import Asking, Faults
from fanfold.testing.server.limits import Limits
from fanfold.testing.server.meter import Meter
from fanfold.testing.server.pace import Pace
from fanfold.testing.server.refusals import Refusal, refusal_of
from fanfold.testing.server.telling import retry_headers, should_retry

if TYPE_CHECKING:
    from fanfold.core.records import Reply
    from fanfold.testing.server.answers import Answers
    from fanfold.testing.server.bill import GivenPrice
    from fanfold.testing.server.book import Seen
    from fanfold.testing.server.completions import Asked
    from fanfold.testing.server.delivery import Outlet
    from fanfold.testing.server.dialects import Dialect
    from fanfold.testing.server.faults import Fault, GivenFaults, Struck
    from fanfold.testing.server.meter import Excess
    from fanfold.testing.server.pace import Seconds
    from fanfold.testing.server.refusals import Answer

_log = logging.getLogger("fanfold")

CHARGES = 100_000
"""Charges that a bill keeps one by one."""

WORDS: dict[int, tuple[str, str | None]] = {
    401: ("authentication_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
"""OpenAI's type and code for statuses that have their own."""

KEYS = ("Authorization", "x-api-key", "api-key")


class Conditions(TypedDict, total=False):
    """Under which conditions a model is served; see `Service`."""

    latency: Seconds
    first_token: Seconds | None
    between_tokens: float
    speed: float
    seed: int | str
    limits: Limits | None
    faults: GivenFaults
    price: GivenPrice
    reasoning: float
    keep: int


class Service:
    """Answers requests, whoever brings them.

    `latency`, `first_token`, `between_tokens` and `speed` are those of `Pace`; `limits` and `faults` say what it grants
    and what goes wrong (a `Fault`, its short form, several, or a function from an `Asking` to one or None); `price` is
    USD per million (input, output) tokens, for all models or by name (default: list prices); `reasoning` adds that
    share of each text's tokens as reasoning; `seed` makes all of it repeat. `book` and `bill` keep what happened.
    """

    def __init__(
        self,
        answers: Answers = "recorded",
        *,
        latency: Seconds = 0.0,
        first_token: Seconds | None = None,
        between_tokens: float = 0.0,
        speed: float = 1.0,
        seed: int | str = 0,
        limits: Limits | None = None,
        faults: GivenFaults = (),
        price: GivenPrice = None,
        reasoning: float = 0.0,
        keep: int = 100_000,
    ) -> None:
        if not 0 <= reasoning < float("inf"):
            raise UsageError(f"reasoning={reasoning!r}: it is a share of each reply's tokens, 0 or more")
        self.answerer = answerer_of(answers, seed)
        self.pace = Pace(latency, first_token=first_token, between_tokens=between_tokens, speed=speed, seed=seed)
        self.seed = seed
        self.reasoning = reasoning
        self.book = Book(keep)
        self.bill = Bill(Prices(price), CHARGES)
        self._faults = Faults(faults, seed)
        self._limits = _granted(limits or Limits())
        self._meters: dict[tuple[str, str], Meter] = {}
        self._number = 0
        self._began: float | None = None
        self.desk = _Desk(self._limits)

    @property
    def limits(self) -> Limits:
        """What it grants; setting it changes that for the requests to come, and keeps what was counted."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = _granted(limits)
        for meter in self._meters.values():
            meter.change(limits, now())
        self.desk.change(limits)

    @property
    def faults(self) -> Faults:
        """What goes wrong; may be set, in any form that is given at the start, for the requests to come."""
        return self._faults

    @faults.setter
    def faults(self, faults: GivenFaults) -> None:
        self._faults = Faults(faults, self.seed)

    def load(self) -> None:
        """Read what answers and times need; blocks."""
        self.answerer.load()
        self.pace.load()

    def reset(self) -> None:
        """Begin anew: an empty bill, windows that nothing was taken from, request number 0 at second 0."""
        self.bill.clear()
        self.book.forget()
        self._meters.clear()
        self._number = 0
        self._began = None

    def statistics(self) -> ServerStatistics:
        """The counts so far, and how it was told to pace."""
        counts = self.book.counts
        return ServerStatistics(
            counts["requests"],
            counts["in_flight"],
            counts["answered"],
            counts["refused"],
            counts["disconnected"],
            counts["cut"],
            counts["samples"],
            self.answerer.kind,
            self.pace.latency,
            self.pace.speed,
        )

    async def respond(self, seen: Seen, dialect: Dialect, outlet: Outlet) -> None:
        """Answer the request whose body is in `seen`, with whatever goes wrong; cancelled when its client goes away."""
        asked = dialect.read(seen.raw)
        seen.learn(asked, self.book.ordinal(seen, asked.request.n))
        asking = self._asking(seen, asked)
        visit = _Visit(self, seen, dialect, asked, asking, self._faults.strike(asking))
        billed = _Billed(outlet, visit)
        try:
            await visit.serve(billed)
        except (Refusal, FanfoldError) as error:
            refusal = refusal_of(error)
            await until(now() + visit.struck.delay())
            answer = dialect.refuse(refusal, seen.number).told(visit.told())
            await send(answer, billed, seen)
        finally:
            visit.close()

    def meter(self, seen: Seen) -> Meter:
        """The windows that a request counts in."""
        by = self._limits.by
        key = next((seen.headers[name] for name in KEYS if name in seen.headers), "") if "key" in by else ""
        shared = (key, seen.model if "model" in by else "")
        if shared not in self._meters:
            self._meters[shared] = Meter(self._limits, now())
        return self._meters[shared]

    async def answered(self, asked: Asked, draw: Draw) -> Reply:
        """What the answerer says; a bug on its side is a 500 that names it, and is logged."""
        request = msgspec.structs.replace(asked.request, draw=draw)
        try:
            return await self.answerer.answer(asked.model, request)
        except (Refusal, FanfoldError):
            raise
        except Exception as error:
            _log.exception("the model server's answers raised")
            raise Refusal(500, f"{type(error).__name__}: {error}", kind="server_error") from error

    def _asking(self, seen: Seen, asked: Asked) -> Asking:
        # Who says which draw it is says what is one request, sent again; else equal bodies are.
        key = f"{seen.draw or ''}|{seen.digest().hex()}"
        seen.attempt = self.book.attempt(key)
        if self._began is None:
            self._began = seen.received
        number, self._number = self._number, self._number + 1
        return Asking(number, key, seen.attempt, seen.received - self._began, asked.model, asked.request)


class _Visit:
    """One request on its way through the service."""

    def __init__(
        self, service: Service, seen: Seen, dialect: Dialect, asked: Asked, asking: Asking, struck: Struck
    ) -> None:
        self.service = service
        self.seen = seen
        self.dialect = dialect
        self.asked = asked
        self.struck = struck
        self.meter = service.meter(seen)
        self.work: Work | None = None
        self.usage = self.sent = Usage()
        self.charge = Charge(
            asking.number,
            asked.model,
            dialect.vendor,
            asking.key,
            asking.attempt,
            seen.received,
            service.bill.prices,
        )
        service.bill.open(self.charge)

    def told(self) -> dict[str, str]:
        """How the limits stand, as headers."""
        if not self.service.limits.headers:
            return {}
        return self.dialect.tell(self.meter.standings(now()))

    async def serve(self, outlet: Outlet) -> None:
        """All of it, in order: what fails before anything is done, limits, refusals, the queue, the work, the reply."""
        outage = self.struck.first("outage")
        if outage is not None and outage.value != "reset":
            raise Refusal(int(outage.value or 503), "The server is temporarily out of service.", kind="server_error")
        if outage is not None or self.struck.bare("reset"):
            self.seen.cut = True
            return await outlet.cut(reset=True)
        self._admit()
        self._refuse()
        await self.service.desk.enter()
        try:
            return await self._work(outlet)
        finally:
            self.service.desk.leave()

    def _admit(self) -> None:
        request = self.asked.request
        ceiling = None if request.max_tokens is None else request.max_tokens * request.n
        excess = self.meter.admit(tokens.given(request.messages), ceiling, now())
        if excess is not None:
            raise _too_many(excess, self.service.limits, self.asked.model)

    def _refuse(self) -> None:
        billing = self.struck.first("quota", "credit", "spend")
        if billing is not None:
            raise self.dialect.billing[billing.kind]
        fault = self.struck.status()
        if fault is not None:
            raise _failed(fault, self.service.limits)

    async def _work(self, outlet: Outlet) -> None:
        service, seen, request = self.service, self.seen, self.asked.request
        began = self.charge.admitted = now()
        raw = await service.answered(self.asked, Draw(ordinal=seen.ordinal or 0))
        raw, met = tokens.stopped(raw, self.asked.stop)
        # Without a draw, equal bodies are told apart by their ordinals already.
        again = f"|{seen.attempt}" if seen.draw is not None and seen.attempt else ""
        key = f"{seen.ordinal}|{seen.digest().hex()}{again}"
        told = service.answerer.kind == "recorded"
        reply, short = tokens.settled(raw, request, told=told, reasoning=service.reasoning, key=f"{service.seed}|{key}")
        finishes = tokens.finished(raw, met, short)
        self.usage = reply.usage or Usage()
        # What was recorded without its tokens is told so; the bill has a count of its own.
        said = msgspec.structs.replace(reply, usage=None) if told and raw.usage is None else reply
        asked = msgspec.structs.replace(self.asked, ended=met[0], finishes=finishes)
        outgoing = self.dialect.write(seen.number, asked, said, service.answerer.kind)
        words = outgoing.length if request.stream else max(1, *(len(split(text)) for text in reply.texts))
        timing = service.pace.timing(reply, words, key, stream=request.stream, slower=self.struck.slowness())
        self.work = Work(began, timing, words, request.stream)
        if self.struck.bare("stall"):
            await forever()
        plan = planned(self.work, outgoing, self.dialect, self.struck)
        self.sent = plan.made(self.work, self.usage)
        await deliver(plan, self.work, outlet, seen, self.told(), self.struck)
        service.book.counts["samples"] += len(reply.texts)

    def note(self, status: int | None) -> None:
        """Write the charge of what is about to end: who has a whole reply finds it on the bill."""
        charge = self.charge
        charge.status, charge.first, charge.ended = status, self.seen.began, now()
        if self.seen.cut:
            charge.state, charge.usage = "cut", self.sent
        elif status == 200:
            charge.state, charge.usage = "answered", self.sent
        else:
            charge.state = "refused"

    def close(self) -> None:
        """It is over; a client that left before pays for what was made until now."""
        charge, seen, at = self.charge, self.seen, now()
        charge.status, charge.first, charge.ended = seen.status, seen.began, at
        if seen.answered is None and not seen.cut:
            charge.state, charge.gone = "gone", at
            charge.usage = Usage() if self.work is None else self.work.made(self.usage, at)
        self.meter.settle(charge.usage.output_tokens, at)


class _Billed:
    """An outlet that writes the charge before the end of an answer goes out."""

    def __init__(self, outlet: Outlet, visit: _Visit) -> None:
        self.outlet = outlet
        self.visit = visit
        self.begin = outlet.begin
        self.write = outlet.write

    async def whole(self, answer: Answer) -> None:
        self.visit.note(answer.status)
        await self.outlet.whole(answer)

    async def end(self) -> None:
        self.visit.note(self.visit.seen.status)
        await self.outlet.end()

    async def cut(self, *, reset: bool) -> None:
        self.visit.note(self.visit.seen.status)
        await self.outlet.cut(reset=reset)


class _Desk:
    """So many at once: the others wait their turn, or are sent away."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.taken = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Take a place; raises `Refusal` where none is free and none may wait."""
        if self._free() and not self.waiting:
            self.taken += 1
            return
        if self.limits.over != "queue":
            raise Refusal(int(self.limits.over), "The server is overloaded: try again later.", kind="server_error")
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # its turn had come in the same tick: to the next
            elif turn in self.waiting:  # it may have been passed over already
                self.waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Give a place back, and others their turn."""
        self.taken -= 1
        self._let_in()

    def change(self, limits: Limits) -> None:
        """Other limits from now on; may come from another thread than the server's."""
        self.limits = limits
        if self.waiting:
            self.waiting[0].get_loop().call_soon_threadsafe(self._let_in)

    def _free(self) -> bool:
        return self.limits.at_once is None or self.taken < self.limits.at_once

    def _let_in(self) -> None:
        while self.waiting and self._free():
            turn = self.waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)


def _granted(limits: Limits) -> Limits:
    """The limits, if that is what they are."""
    if not isinstance(limits, Limits):
        raise UsageError(f"limits={limits!r}: give Limits, as Limits(rpm=600)")
    return limits


def _failed(fault: Fault, limits: Limits) -> Refusal:
    """A status on demand, in the words that go with it."""
    headers = {**should_retry(limits), **({"Retry-After": fault.value} if fault.value else {})}
    status = int(fault.kind)
    kind, code = WORDS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return Refusal(status, f"Fault on demand: {fault}.", kind=kind, code=code, headers=headers)


def _too_many(excess: Excess, limits: Limits, model: str) -> Refusal:
    message = (
        f"Rate limit reached for {model} on {excess.name}: limit {excess.limit:.0f} per {limits.per:g} s, left "
        f"{int(excess.remaining)}, requested {excess.requested:.0f}."
    )
    kind = "requests" if excess.name == "requests" else "tokens"
    headers = retry_headers(limits, excess.wait)
    return Refusal(429, message, code="rate_limit_exceeded", kind=kind, headers=headers)
