"""The session: what runs share. It wires the ground and the road together: models, slots, connections, listeners."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

import msgspec

from fanfold.calls.amounts import check_budget
from fanfold.calls.budget import BudgetStatistics, Purse
from fanfold.calls.estimates import Quote
from fanfold.calls.hedging import RetryStatistics
from fanfold.calls.lanes import PATIENCE, Lanes
from fanfold.calls.levels import LaneStatistics
from fanfold.calls.policy import ATTEMPTS, policy
from fanfold.calls.road import Road
from fanfold.calls.turnstile import SlotStatistics, Turnstile
from fanfold.core import door
from fanfold.core.scope import current
from fanfold.core.timeouts import check_seconds
from fanfold.errors import LoopError, ModelError, UsageError
from fanfold.models.names import Line, ModelLike, Openable, Settings, described_by, framework, open_line, priced
from fanfold.models.prices import load as load_prices
from fanfold.models.silent import secrets_in, secrets_of, silent_line
from fanfold.models.transport import TransportName, chosen, load, open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextvars import Token
    from types import TracebackType

    from fanfold.calls.allowance import RateLimit
    from fanfold.calls.amounts import Budget
    from fanfold.calls.hedging import Hedge
    from fanfold.core.records import Event
    from fanfold.journal import Journal
    from fanfold.models.transport import Transport

DEFAULT_TIMEOUT = 600.0
"""Seconds a call may take where nobody said otherwise: long enough for any reply, and an end all the same."""


class SessionStatistics(msgspec.Struct, frozen=True):
    """What a session holds now: its slots, how many calls it has seen, sockets taken by a request, and its budget.

    `lanes` has one entry for each model under each key: its limits, its pauses, what waits, and why; `retries` says of
    each what it may still send beyond first sends, and its hedges.
    """

    slots: SlotStatistics
    calls: int
    sockets: int
    lanes: tuple[LaneStatistics, ...] = ()
    retries: tuple[RetryStatistics, ...] = ()
    budget: BudgetStatistics | None = None


class Session:
    """What runs share: the default model, keys, limits, connections, and who listens.

    `model` is ``provider:model`` or a model object; `api_key` and `base_url` are for its provider, `providers` maps
    the names of others to theirs (``{"groq": {"api_key": ...}}``). At most `max_in_flight` calls are on the wire at
    once, each for at most `timeout` seconds (None: no end), backoffs included. All its runs together spend at most
    `budget`. `on_event` gets every `Event` of every
    run. `allow_http` lets plain HTTP leave this machine. `transport` does the HTTP: ``"aiohttp"``, or ``"wreq"`` (extra
    ``fanfold[wreq]``), which takes less CPU; left out, it is FANFOLD_TRANSPORT of the environment, else aiohttp.

    `rate_limits` says what providers grant: a `RateLimit` for every model, or a mapping from ``provider:model``, or
    from a provider for all its models together; what servers tell in their headers is heard all the same. More than
    `max_queued` calls that wait are refused (None: no bound). A server that has failed for `patience` seconds
    (None: without an end) fails the calls to it unsent, until a probe succeeds. Left out, it is 60 s for a server that
    was seen well, 20 s for one that has only refused or failed, and 5 s where nobody ever answered. Limits are the
    session's own: two sessions on one key have twice as many, eight processes eight times.

    A call is sent at most `attempts` times: again where a failure may pass (no connection, 408, 409, 429, 5xx, a broken
    reply nobody has read of), after the wait that the server asks for or a random one, never past its timeout. 1 is no
    retry. `idle_timeout` is the longest silence of a reply, from the send on, and `hedge` (off by default) sends a
    second request beside one that is slow to begin; both have the replies streamed, read or not.

    Use it as ``async with``, or as ``with`` from a script. It belongs to the event loop that first uses it.
    """

    def __init__(
        self,
        model: ModelLike | None = None,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        providers: Mapping[str, Mapping[str, Any]] | None = None,
        max_in_flight: int = 64,
        max_queued: int | None = None,
        rate_limits: RateLimit | Mapping[str, RateLimit] | None = None,
        patience: float | None = PATIENCE,
        timeout: float | None = DEFAULT_TIMEOUT,
        idle_timeout: float | None = None,
        attempts: int = ATTEMPTS,
        hedge: Hedge | None = None,
        budget: Budget | None = None,
        journal: Journal | str | os.PathLike[str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        allow_http: bool = False,
        transport: TransportName | None = None,
    ) -> None:
        check_seconds(timeout)
        if on_event is not None and not callable(on_event):
            raise UsageError(f"on_event={on_event!r}: give a function of one Event")
        self.settings = Settings(model, api_key, base_url, _providers(providers), allow_http, chosen(transport))
        self.on_event = on_event
        self.gate = Turnstile(max_in_flight, max_queued)
        self.road = Road(Lanes(self.gate, rate_limits, patience), timeout, policy(attempts, hedge, idle_timeout))
        self.purse = None if budget is None else Purse(check_budget(budget))
        self.journal = _journal(journal)
        self.closed = False
        self._opened = False
        self._door = asyncio.Lock()
        self._warmed = False
        self._lines: dict[str | int, tuple[Any, Line]] = {}
        self._quotes: dict[str | int, tuple[Any, Quote]] = {}
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tokens: list[Token[Session | None]] = []
        if isinstance(model, str):
            self._check_name(model)

    def __repr__(self) -> str:
        return f"Session({self.settings.model!r})"

    async def __aenter__(self) -> Self:
        self.bind()
        await self.open()
        self._tokens.append(_entered.set(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        await self.close()

    def __enter__(self) -> Self:
        if current() is not None:
            raise LoopError("inside a step, enter a session with `async with`")
        self._loop = door.loop()
        self._tokens.append(_entered.set(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        door.run_sync(self.close(), "closing a session")

    def bind(self) -> None:
        """Tie the session to the running loop; raises `LoopError` if it belongs to another, or is closed."""
        running = asyncio.get_running_loop()
        if self.closed:
            raise LoopError("this session is closed: make a new one, or run the step inside its `with` block")
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            raise LoopError(
                "this session belongs to another event loop (connections cannot cross loops): enter it with `async "
                "with` where you await, and with a plain `with` where you use run_sync"
            )
        if not self._warmed:
            self._warmed = True
            self._warm()

    async def open(self) -> None:
        """Open the journal, if it has one and that is still to do; raises `JournalError`."""
        if self.journal is None or self._opened:
            return
        async with self._door:  # of several runs that begin at once, one opens it and the others wait
            if not self._opened:
                self.journal.hide(secrets_in(self.settings))
                await self.journal.open()
                self._opened = True

    def line(self, spec: ModelLike | None) -> Line:
        """The open model that `spec` names (default: the session's own); raises `ModelError`."""
        wanted, key = self._wanted(spec)
        found = self._lines.get(key)
        if found is None:
            self.bind()
            found = self._lines[key] = (wanted, self._open_line(wanted))
        return found[1]

    def quote(self, spec: ModelLike | None = None) -> Quote:
        """What is known of that model's price; it is not opened, and no key is needed. Raises `ModelError`."""
        wanted, key = self._wanted(spec)
        found = self._quotes.get(key)
        if found is None:
            found = self._quotes[key] = (wanted, Quote(*priced(wanted, self.settings)))
        return found[1]

    def _wanted(self, spec: ModelLike | None) -> tuple[ModelLike, str | int]:
        """The model that is meant, and the key it is kept under.

        Objects are known by identity, and kept beside what is made of them so that an identity is not used twice.
        """
        wanted = spec if spec is not None else self.settings.model or os.environ.get("FANFOLD_MODEL") or None
        if wanted is None:
            raise ModelError(
                "no model: give model='provider:model' to the prompt or the Session, --model to the command, or set "
                "FANFOLD_MODEL; to try things without a key, use model='fake:'"
            )
        return wanted, wanted if isinstance(wanted, str) else id(wanted)

    def statistics(self) -> SessionStatistics:
        """What it holds, now; at rest all of it is 0 but what is counted: calls, `retries`, what was charged."""
        sockets = 0 if self._transport is None else self._transport.sockets()
        budget = None if self.purse is None else self.purse.statistics()
        lanes = self.road.lanes
        return SessionStatistics(
            self.gate.statistics(), self.road.calls, sockets, lanes.statistics(), lanes.retries(), budget
        )

    async def close(self) -> None:
        """Close its connections; it cannot be used again."""
        self.closed = True
        self.road.lanes.close()
        transport, self._transport = self._transport, None
        try:
            if transport is not None:
                await transport.close()
        finally:
            if self.journal is not None and self._opened:
                self._opened = False
                await self.journal.close()

    def _warm(self) -> None:
        """Load now what a first call would have to wait for: the transport and the price list, or the recordings."""
        model = self.settings.model or os.environ.get("FANFOLD_MODEL")
        if model is None or isinstance(model, Openable) or _is_remote(model):
            load(self.settings.transport)
            load_prices()
        elif isinstance(model, str) and model.startswith("recorded:"):
            import_module("fanfold.models.recorded")
        elif framework(model) is not None:
            load_prices()

    def _leave(self) -> None:
        token = self._tokens.pop()
        try:
            _entered.reset(token)
        except ValueError:
            # Entered in one task and left in another, as test fixtures do: that context is gone with its task.
            return

    def _open_line(self, wanted: ModelLike) -> Line:
        """Open a model; in a replay only its name and kind are wanted, and nothing that could be sent is made."""
        if self.journal is not None and self.journal.mode == "replay":
            return silent_line(wanted, self.settings)
        line = open_line(wanted, self.settings, self._open_transport)
        if self.journal is not None:
            self.journal.hide(secrets_of(line))
        return line

    def _open_transport(self) -> Transport:
        if self._transport is None:
            self._transport = open_transport(self.settings.transport)
        return self._transport

    def _check_name(self, model: str) -> None:
        """An unknown provider is known at once; a missing key only matters once a call needs it."""
        described_by(model, self.settings)


def _journal(given: Journal | str | os.PathLike[str] | None) -> Journal | None:
    """The journal of a session: a path is one to resume from."""
    if given is None:
        return None
    from fanfold.journal import Journal  # loads SQLite

    if isinstance(given, Journal):
        return given
    if not isinstance(given, str | os.PathLike):
        raise UsageError(f"journal={given!r}: give the path of a file, or a Journal")
    return Journal(given)


def _providers(given: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Mapping[str, Any]]:
    """The options of providers by name; an error quotes none of them, for there are keys among them."""
    options: object = given if given is not None else {}
    if not isinstance(options, Mapping) or not all(isinstance(one, Mapping) for one in options.values()):
        raise UsageError('providers= maps names of providers to their options, as {"groq": {"api_key": ...}}')
    return dict(options)


def _is_remote(model: object) -> bool:
    return isinstance(model, str) and not model.startswith(("fake:", "recorded:"))


_entered: ContextVar[Session | None] = ContextVar("fanfold_session", default=None)
_defaults: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Session, Any]] = weakref.WeakKeyDictionary()


def session_now(given: Session | None) -> Session:
    """The session of a run that would begin here: as `session_for`, and without a loop."""
    around = current()
    here = None if around is None else around.run.session
    return given or here or _entered.get() or Session()


async def session_for(given: Session | None) -> Session:
    """The session of a new run: the one given, or that of the run around it, or the innermost entered.

    Where there is none, it is the loop's own, made from the environment.
    """
    around = current()
    here = None if around is None else around.run.session
    session = given or here or _entered.get() or await _default()
    if not isinstance(session, Session):
        raise UsageError(f"session={session!r} is not a Session")
    session.bind()
    if session.journal is not None:
        await session.open()
    return session


async def _default() -> Session:
    """One session for each loop, made from the environment; it closes when the loop shuts down.

    A loop runs the clean-up of its asynchronous generators before it closes (asyncio.run does), and that is the
    only moment a loop offers to close connections in.
    """
    loop = asyncio.get_running_loop()
    held = _defaults.get(loop)
    if held is None:
        for gone in [other for other in _defaults if other.is_closed()]:
            del _defaults[gone]  # a session holds its loop, so a loop that ran no clean-up would stay for ever
        session = Session()
        keeper = _keep(session)
        await anext(keeper)
        held = _defaults[loop] = (session, keeper)
    return held[0]


async def _keep(session: Session) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await session.close()
        _defaults.pop(asyncio.get_running_loop(), None)
