"""The small frozen records that pass between rooms: what fans and folds say, what a call sends and brings.

Those made of text, numbers and each other can be part of no circle, so the garbage collector need not look at them
(``gc=False``): a run keeps thousands.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

Why = Literal["enough", "all", "timeout"]

_sorted = msgspec.json.Encoder(order="sorted").encode


@functools.lru_cache(maxsize=256)
def _quoted(place: str) -> str:
    return quote(place, errors="backslashreplace")


class Branch(msgspec.Struct, Generic[T], frozen=True):
    """One arm of a pattern: a name, and how to start it.

    `held` keeps its content inside until the fold releases it; `tail` makes its text the pattern's text.
    `ordinal` of `repeats` says which repetition of one and the same task this is (see `Draw`). A `spare` one is
    launched only in place of another, so leaving it out saves nothing.
    """

    name: str
    start: Callable[[], Awaitable[T]]
    held: bool = False
    tail: bool = False
    ordinal: int = 0
    repeats: int = 1
    spare: bool = False


class Arrival(msgspec.Struct, Generic[T], frozen=True):
    """What came back from a branch: a value or an error, and when (seconds on the loop's clock)."""

    index: int
    name: str
    value: T | None
    error: BaseException | None
    started: float
    ended: float


class Go(msgspec.Struct, frozen=True):
    """A fold's answer to an arrival; all defaults mean: wait.

    `more` branches are launched, in order; `release` lets the held content of branches (by index) out;
    `enough` ends the fan and cancels what still flies.
    """

    more: int = 0
    release: tuple[int, ...] = ()
    enough: bool = False


WAIT = Go()
ENOUGH = Go(enough=True)


class Fold(Protocol[T, R_co]):
    """Takes arrivals one at a time, says what to do next, gives the one answer. One object per execution."""

    def begin(self, names: Sequence[str]) -> Go:
        """Say how many branches to launch first."""
        ...

    def add(self, arrival: Arrival[T], flying: int) -> Go:
        """Take one arrival; `flying` counts branches launched and not yet added."""
        ...

    def end(self, why: Why) -> R_co:
        """Give the answer, or raise what the policy says."""
        ...


class Draw(msgspec.Struct, frozen=True, gc=False):
    """Which sample of a request this is.

    `place` is the branch's place in the run and `nth` the n-th identical request inside it: together they
    name the sample for good. `ordinal` numbers the repetitions of one task in its fan, then those asked again.
    """

    place: str = ""
    nth: int = 0
    ordinal: int = 0

    def header(self) -> str:
        """The draw as one ASCII header value; its last part is the ordinal."""
        return f"{_quoted(self.place)}/{self.nth}/{self.ordinal}"


UNDRAWN = Draw()
"""Stands in every request's key. It is not the default, which would be left out: journals hold keys with it."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens, as the server counted them.

    Those read from a cache (`cached_tokens`) and those written to one are part of the input, those written for an hour
    part of the written ones, and reasoning is part of the output.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Cost(msgspec.Struct, frozen=True, gc=False):
    """Money in USD: at least this, at most that; `at_most` is None where no upper bound is known.

    An unknown price is unknown, never zero: then `at_least` holds what is known, and `usd` is None.
    """

    at_least: float = 0.0
    at_most: float | None = 0.0

    @property
    def usd(self) -> float | None:
        """The cost where it is known exactly, else None."""
        return self.at_least if self.at_least == self.at_most else None

    def __add__(self, other: Cost) -> Cost:
        known = self.at_most is not None and other.at_most is not None
        most = (self.at_most or 0.0) + (other.at_most or 0.0) if known else None
        return Cost(self.at_least + other.at_least, most)

    def __str__(self) -> str:
        if self.usd is not None:
            return f"${self.usd:.6f}"
        if self.at_most is not None:
            return f"${self.at_least:.6f} to ${self.at_most:.6f}"
        return f"at least ${self.at_least:.6f}" if self.at_least else "unknown"


UNKNOWN_COST = Cost(0.0, None)


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One chat message; `content` is text, or a list of parts as the OpenAI format has them (images)."""

    role: str
    content: str | list[dict[str, Any]]


ROLES = ("user", "assistant", "system")
"""Who speaks in nearly all chats."""

SCHEMA_NAME = "answer"
"""What the schema of a typed answer is called where nobody names it."""


class Request(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One request to one model, in no vendor's dialect.

    `schema` is the JSON Schema of a typed answer (with `schema_name`) and `structured` whether to send it;
    `extra_body` goes into the request as it is; `n` asks for several samples in one reply.
    """

    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None
    schema_name: str = SCHEMA_NAME
    structured: bool | None = None
    extra_body: Mapping[str, Any] | None = None
    n: int = 1
    stream: bool = False
    draw: Draw = Draw()

    def key(self) -> bytes:
        """The request as canonical bytes, the draw and the way of delivery left out: equal requests are equal."""
        # msgspec knows a default by its identity, which it has lost in a request that was pickled.
        name = SCHEMA_NAME if self.schema_name == SCHEMA_NAME else self.schema_name
        return _sorted(replace(self, schema_name=name, draw=UNDRAWN, stream=False))

    def mark(self) -> bytes:
        """What stands for `key` in this process only: of a long text it takes half the time (and 1 and 1.0 are one).

        Raises `UnicodeEncodeError` for what no UTF-8 can hold, as `key` does.
        """
        messages = self.messages
        if self.schema is not None or self.extra_body is not None:
            return self.key()
        for message in messages:
            text = message.content
            if not isinstance(text, str) or message.role not in ROLES:
                return self.key()
            if not text.isascii():
                text.encode()
        said = (messages, self.temperature, self.max_tokens, self.schema_name, self.structured, self.n)
        return hash(said).to_bytes(8, signed=True)


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What a model answered. `texts` has one entry a sample; `finish` is the vendor's reason for stopping.

    `usage` is None where the server did not tell it: then what the call cost is not known. `made_up` is for answers
    that say of themselves that they are.
    """

    texts: tuple[str, ...]
    usage: Usage | None
    finish: str = "stop"
    model: str = ""
    id: str = ""
    made_up: bool = False

    @property
    def text(self) -> str:
        """The first sample's text."""
        return self.texts[0]


CallState = Literal["queued", "sent", "answering", "ok", "error", "cancelled", "unsent"]
"""The last four are final; unsent: cancelled before it reached the wire."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One send of a call's request; times are seconds since the run began.

    It asked for its turn at `queued`, of which it spent `rate_wait` seconds waiting for the rate limit and the rest
    for a slot; `sent` and `first` are None where it did not come so far. `status` is the HTTP status of a refusal.
    `hedge` says that it was sent beside another that was slow, and `backoff` how long the call waited after it.
    """

    number: int
    state: CallState
    queued: float
    rate_wait: float
    sent: float | None
    first: float | None
    ended: float
    usage: Usage | None
    cost: Cost
    status: int | None = None
    error: str | None = None
    hedge: bool = False
    backoff: float = 0.0


class Call(msgspec.Struct, frozen=True, gc=False):
    """The record of one request: where, to whom, when (seconds since the run began), and what it cost.

    `number` counts the calls of the run. `sent` (the first time) and `first` (first piece of text of a streamed reply)
    are None where it did not come so far, and `ended` is the time of this record. `attempts` are its sends, in order
    of their beginning; usage and cost are those of all of them. It holds no text.

    `replayed` says that it was not made now: its reply was in the journal, and so are its attempts, its usage and what
    it cost then.
    """

    number: int
    place: str
    model: str
    draw: Draw
    state: CallState
    queued: float
    sent: float | None
    first: float | None
    ended: float
    usage: Usage | None
    cost: Cost
    error: str | None = None
    made_up: bool = False
    attempts: tuple[Attempt, ...] = ()
    replayed: bool = False

    @property
    def seconds(self) -> float:
        """Time from its first send to its end; 0 where it was never sent."""
        return 0.0 if self.sent is None else self.ended - self.sent


class Event(msgspec.Struct, frozen=True):
    """One thing that happened in a run. `number` is its place in the stream, `at` seconds since the run began.

    Kinds: ``run.started``, ``run.ended``, ``step.started``, ``step.ended``, ``branch.started``, ``branch.ended``,
    ``branch.late``, ``branch.cancelled``, ``fan.ended``, ``call.queued``, ``call.sent`` (the first time),
    ``call.attempt`` (one of its sends is over, and it goes on), ``call.first``, ``call.text``, ``call.ended``.
    """

    number: int
    at: float
    kind: str
    place: str
    value: Any = None
    error: BaseException | None = None
    call: Call | None = None


class Limit(msgspec.Struct, frozen=True, gc=False):
    """One limit as a server told it: `limit` a window, `remaining` of them now, all again in `reset` seconds."""

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What a server told of its limits with one response; None where it said nothing."""

    requests: Limit | None = None
    tokens: Limit | None = None
    input_tokens: Limit | None = None
    output_tokens: Limit | None = None


class Watch(Protocol):
    """How a model tells the road what happens, at the moment it happens and without an await in between."""

    def sent(self) -> None:
        """The request went out."""
        ...

    def alive(self) -> None:
        """Something of the response came, text or not; a model that never says so has no idle timeout."""
        ...

    def limits(self, told: Limits) -> None:
        """The response's headers told of the server's limits."""
        ...

    def text(self, piece: str) -> None:
        """A piece of the first sample's text came (streamed requests only)."""
        ...

    def done(self, reply: Reply) -> None:
        """The reply is whole; called before `send` returns, so that a cancellation cannot lose it."""
        ...


class Rate(Protocol):
    """The price of a model."""

    def price(self, usage: Usage) -> float:
        """USD for this usage."""
        ...


class Model(Protocol):
    """What a call is sent to. Write one to bring your own; `fanfold.testing.FakeModel` is an example."""

    label: str
    """``provider:name``; prices follow it."""

    made_up: bool
    """Whether its answers are invented (a fake); runs say so."""

    structured: bool
    """Whether it honours a JSON Schema; where it does not, the instruction in the prompt has to do."""

    async def send(self, request: Request, watch: Watch) -> Reply:
        """Send one request; raise `CallError`. Cancelling must end the request at once."""
        ...
