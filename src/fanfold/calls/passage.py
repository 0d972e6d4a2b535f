"""One call on its way: what the wire tells of each send as it happens, and the record that remains of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from fanfold.calls.keeping import Keeping
from fanfold.calls.pricing import price_of
from fanfold.core.records import Attempt, Call, CallState, Cost, Limits, Rate, Reply, Request, Usage

if TYPE_CHECKING:
    from fanfold.calls.condition import Turn
    from fanfold.calls.lanes import Lane
    from fanfold.calls.policy import Policy
    from fanfold.core.clock import Clock
    from fanfold.core.scope import Scope, Stream


NOTHING = Cost()


class Race(Protocol):
    """What hears of the sends of a call while two of them are under way."""

    def sent(self, sending: Sending) -> None:
        """One goes out."""
        ...

    def chosen(self, sending: Sending) -> None:
        """One brought text, or its whole reply, before the other."""
        ...

    def failed(self, sending: Sending) -> None:
        """One ends without its reply, and is about to give its turn on."""
        ...


class Listener(Protocol):
    """What listens for signs of life of one send."""

    def begin(self) -> None:
        """There was one."""
        ...


class Passage:
    """One call, over all its sends; every stage of the road that learns something leaves it here.

    Of several sends under way only one is heard: `chosen`, the first that brought text.
    """

    __slots__ = (
        "answered",
        "attempts",
        "began",
        "begun",
        "chosen",
        "clock",
        "error",
        "heard",
        "keeping",
        "lane",
        "made_up",
        "policy",
        "queued_at",
        "race",
        "request",
        "run",
        "scope",
        "sent_at",
        "tells",
    )

    def __init__(self, scope: Scope, lane: Lane, request: Request, policy: Policy, key: bytes | None = None) -> None:
        self.scope = scope
        self.lane = lane
        self.tells = request.stream and scope.tail
        self.request = request if request.stream or not policy.streams else replace(request, stream=True)
        self.policy = policy
        self.race: Race | None = None
        """Who listens where two of its sends are under way."""
        self.heard = False
        """Whether a piece of text has left the road: from then on no send can take the place of another."""
        self.run: Stream = scope.run
        """It hears how far the call has come, held branch or not: a call's record has no text."""
        self.clock: Clock = scope.run.clock
        self.began: float = scope.run.began
        self.attempts: list[Sending] = []
        self.answered = False
        """Whether one of its sends brought a reply."""
        self.made_up: bool = lane.model.made_up
        self.chosen: Sending | None = None
        self.queued_at = self.clock.time()
        self.sent_at: float | None = None
        self.error: BaseException | None = None
        queued = self.queued_at - self.began
        self.begun = Call(
            scope.run.next_call(),
            scope.place,
            lane.model.label,
            request.draw,
            "queued",
            queued,
            None,
            None,
            queued,
            None,
            NOTHING,
            None,
            self.made_up,
        )
        """How far it has come; its sends stand in the records that are made once one of them is over."""
        self.keeping = None if scope.book is None else Keeping(self, scope.book, key)
        """Its page in the journal, where its run has one."""
        self.run.emit(self.queued_at, "call.queued", scope.place, None, None, self.begun)

    def begin(self, *, hedge: bool = False) -> Sending:
        """One more send of it."""
        sending = Sending(self, len(self.attempts), hedge=hedge)
        self.attempts.append(sending)
        return sending

    def sent(self, at: float) -> None:
        """One of its sends goes out."""
        if self.sent_at is None:
            self.sent_at = at
            seconds = at - self.began
            self.begun = replace(self.begun, state="sent", sent=seconds, ended=seconds)
            self.run.emit(at, "call.sent", self.scope.place, None, None, self.begun)

    def text(self, sending: Sending, piece: str) -> None:
        """A piece of text came; a tail call's text is the pattern's text."""
        if self.chosen is None:
            self.choose(sending)
        if sending is not self.chosen:
            return
        if self.begun.first is None:
            at = self.clock.time()
            seconds = at - self.began
            self.begun = replace(self.begun, state="answering", first=seconds, ended=seconds)
            self.run.emit(at, "call.first", self.scope.place, None, None, self.begun)
        if self.tells:
            self.heard = True
            self.scope.emit("call.text", piece)

    def choose(self, sending: Sending) -> None:
        """From now on this send is the one that is heard."""
        self.chosen = sending
        if self.race is not None:
            self.race.chosen(sending)

    def whole(self) -> Reply | None:
        """The reply that is heard, once it is whole, and kept where its run has a journal."""
        if self.chosen is None or (self.keeping is not None and not self.keeping.kept):
            return None
        return self.chosen.reply

    def goes_on(self) -> None:
        """One of its sends is over, and that was not the end of it."""
        self.chosen = None
        at = self.clock.time()
        self.run.emit(at, "call.attempt", self.scope.place, None, None, self._record("queued", at))

    def end(self) -> None:
        """Leave the final record."""
        if self.keeping is None:
            call = self._record(self._state(), self.clock.time())
        else:
            call = self._kept() or self.record(self._state())
            self.keeping.end(call)
        self.run.emit(self.began + call.ended, "call.ended", self.scope.place, None, None, call)
        # These know their call: without the circles all is freed at once, with no work for the garbage collector.
        self.attempts.clear()
        self.chosen = self.keeping = None

    def record(self, state: CallState) -> Call:
        """What it looks like now."""
        found = None if self.keeping is None else self.keeping.found
        made = self._record(state, self.clock.time())
        return made if found is None else _replayed(made, found.call)

    def _kept(self) -> Call | None:
        """The record that the journal has, and when its call ended; None where there is more to tell by now."""
        kept = None if self.keeping is None else self.keeping.call
        if kept is None or self.error is not None or len(self.attempts) > 1:
            return None
        return replace(kept, ended=self.clock.time() - self.began)

    def _state(self) -> CallState:
        if self.answered:
            return "ok"
        if self.error is not None:
            return "error"
        return "unsent" if self.sent_at is None else "cancelled"

    def _record(self, state: CallState, at: float) -> Call:
        attempts = tuple([sending.record(at) for sending in self.attempts])
        return replace(
            self.begun,
            state=state,
            ended=at - self.began,
            usage=_usage(attempts),
            cost=_cost(attempts),
            error=None if self.error is None else told(self.error, held=self.scope.held),
            made_up=self.made_up,
            attempts=attempts,
        )


class Sending:
    """One send of a call's request: the `Watch` that its model tells."""

    __slots__ = (
        "_cost",
        "alive_at",
        "backoff",
        "ended_at",
        "entered",
        "error",
        "first_at",
        "hedge",
        "listener",
        "number",
        "passage",
        "pieces",
        "queued_at",
        "rate_wait",
        "reply",
        "sent_at",
        "turn",
    )

    def __init__(self, passage: Passage, number: int, *, hedge: bool) -> None:
        self.passage = passage
        self.number = number
        self.hedge = hedge
        self.queued_at = passage.clock.time() if number else passage.queued_at
        self.rate_wait = 0.0
        self.sent_at: float | None = None
        self.alive_at: float | None = None
        self.first_at: float | None = None
        self.ended_at: float | None = None
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self.backoff = 0.0
        self.entered = False
        """Whether it had its turn; one that had none was refused by the lane, and no send helps."""
        self.pieces: list[str] | None = None
        self.listener: Listener | None = None
        self.turn: Turn | None = None
        self._cost = NOTHING

    def sent(self) -> None:
        """The request goes out."""
        self.sent_at = self.alive_at = at = self.passage.clock.time()
        self.passage.sent(at)
        if self.passage.race is not None:
            self.passage.race.sent(self)

    def alive(self) -> None:
        """Something of the response came."""
        self.alive_at = self.passage.clock.time()
        if self.listener is not None:
            self.listener.begin()

    def limits(self, told: Limits) -> None:
        """The server told of its limits."""
        self.passage.lane.hear(told)

    def text(self, piece: str) -> None:
        """A piece of text came."""
        self.alive()
        if self.pieces is None:
            self._surely_sent()
            self.pieces = []
            self.first_at = self.alive_at
        self.pieces.append(piece)
        self.passage.text(self, piece)

    def done(self, reply: Reply) -> None:
        """The reply is whole: from here on it is paid and kept, whatever happens to who waits for it."""
        self._surely_sent()
        self.reply = reply
        passage = self.passage
        passage.answered = True
        passage.made_up = passage.made_up or reply.made_up
        if passage.chosen is None:
            passage.choose(self)
        if passage.keeping is not None:
            passage.keeping.keep(self)

    def _surely_sent(self) -> None:
        """What is answered went out, though its model may be one that does not say so."""
        if self.sent_at is None:
            self.sent()

    def end(self) -> None:
        """It is over; `error` says how, unless it brought its reply."""
        self.ended_at = self.passage.clock.time()
        if self._cost is NOTHING:  # of a reply that is kept it is known by now
            self.price()

    def price(self) -> None:
        """Work out what it cost."""
        passage = self.passage
        if self.sent_at is not None:
            rate: Rate | None = passage.lane.rate
            self._cost = price_of(rate, passage.request, self.state, self.usage, self.error)

    @property
    def again(self) -> bool:
        """Whether it takes the place of one that failed."""
        return self.number > 0 and not self.hedge

    @property
    def state(self) -> CallState:
        """How it stands, or how it ended."""
        if self.reply is not None:
            return "ok"
        if self.ended_at is None:
            return "queued" if self.sent_at is None else "sent" if self.first_at is None else "answering"
        if isinstance(self.error, Exception) and (self.sent_at is not None or not self.hedge):
            return "error"  # a hedge that had no money or no turn failed nobody
        return "unsent" if self.sent_at is None else "cancelled"

    @property
    def usage(self) -> Usage | None:
        """What the server told."""
        return None if self.reply is None else self.reply.usage

    @property
    def cost(self) -> Cost:
        """What it cost, once it is over; a range where that cannot be known."""
        return self._cost

    def record(self, at: float) -> Attempt:
        """What it looks like, `at` this moment."""
        began, error = self.passage.began, self.error if isinstance(self.error, Exception) else None
        return Attempt(
            self.number,
            self.state,
            self.queued_at - began,
            self.rate_wait,
            None if self.sent_at is None else self.sent_at - began,
            None if self.first_at is None else self.first_at - began,
            (at if self.ended_at is None else self.ended_at) - began,
            self.usage,
            self._cost,
            getattr(error, "status", None),
            None if error is None else told(error, held=self.passage.scope.held),
            self.hedge,
            self.backoff,
        )


def told(error: BaseException, *, held: bool) -> str:
    """What a call's record says of its error; its text may quote the reply, and is held back with that."""
    return type(error).__name__ if held else f"{type(error).__name__}: {error}"


def _replayed(made: Call, then: Call) -> Call:
    """The record of a call that was not made: where and when it was wanted, and what came of it then."""
    return replace(
        made,
        state=then.state,
        usage=then.usage,
        cost=then.cost,
        made_up=then.made_up,
        attempts=then.attempts,
        replayed=True,
    )


def _usage(attempts: tuple[Attempt, ...]) -> Usage | None:
    if len(attempts) == 1:
        return attempts[0].usage
    told = [attempt.usage for attempt in attempts if attempt.usage is not None]
    return sum(told[1:], told[0]) if told else None


def _cost(attempts: tuple[Attempt, ...]) -> Cost:
    return attempts[0].cost if len(attempts) == 1 else sum((attempt.cost for attempt in attempts), Cost())
