"""What the tests of rates share: a server with limits in virtual time, and clients that keep it busy through a lane."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from fanfold.calls.lanes import PATIENCE, Lane, Lanes
from fanfold.calls.turnstile import Turnstile
from fanfold.core.clock import chance, now, sleep
from fanfold.core.records import Limit, Limits, Message, Reply, Request, Usage
from fanfold.errors import CallError, ConnectError, StatusError

ASKED = Request((Message("user", "x" * 400),), max_tokens=100)
TOKENS = 200
"""What `ASKED` is worth to the server: 100 tokens in (a token for 4 bytes), at most 100 out."""

PER = 60.0


class Flow:
    """A token bucket, that holds `burst` and refills evenly."""

    def __init__(self, limit: float, now: float, burst: float | None = None) -> None:
        self.limit, self.most, self.at = limit, burst or limit, now
        self.level = self.most

    def left(self, now: float) -> float:
        self.level, self.at = min(self.most, self.level + (now - self.at) * self.limit / PER), now
        return self.level

    def wait(self, need: float, now: float) -> float:
        return max(0.0, need - self.left(now) - 1e-9) * PER / self.limit

    def take(self, need: float, now: float) -> None:
        self.level = self.left(now) - need

    def reset(self, now: float) -> float:
        return (self.most - self.left(now)) * PER / self.limit

    def resize(self, limit: float) -> None:
        self.most = limit if self.most == self.limit else self.most
        self.limit, self.level = limit, min(self.level, self.most)


class Minutes:
    """Windows one after another, or (sliding) the minute behind each moment."""

    def __init__(self, limit: float, now: float, *, sliding: bool) -> None:
        self.limit, self.sliding, self.began = limit, sliding, now
        self.taken: deque[tuple[float, float]] = deque()
        self.used = 0.0

    def left(self, now: float) -> float:
        edge = now - PER if self.sliding else now - (now - self.began) % PER
        while self.taken and (self.taken[0][0] <= edge if self.sliding else self.taken[0][0] < edge):
            self.used -= self.taken.popleft()[1]
        return self.limit - self.used

    def wait(self, need: float, now: float) -> float:
        lack = need - self.left(now)
        if lack <= 0:
            return 0.0
        if not self.sliding:
            return PER - (now - self.began) % PER
        for at, cost in self.taken:
            lack -= cost
            if lack <= 0:
                return at + PER - now
        raise AssertionError("more than the limit in one request")

    def take(self, need: float, now: float) -> None:
        self.taken.append((now, need))
        self.used += need

    def reset(self, now: float) -> float:
        return PER if self.sliding else PER - (now - self.began) % PER

    def resize(self, limit: float) -> None:
        self.limit = limit


class Sent:
    """A send as a lane sees it."""

    def __init__(self, request: Request = ASKED, *, again: bool = False) -> None:
        self.passage = self.scope = self
        self.held = False
        self.request = request
        self.turn: Any = None
        self.again = again
        self.rate_wait = 0.0
        self.sent_at: float | None = None
        self.alive_at: float | None = None
        self.reply: Reply | None = None
        self.error: BaseException | None = None

    @property
    def usage(self) -> Usage | None:
        return None if self.reply is None else self.reply.usage


class Server:
    """A server that grants so many requests and tokens a minute, and remembers when what came.

    `kind` says how it counts, `burst` how much of a bucket there is at once, `told` whether its headers say so, and
    `retry` whether a refusal says when to come again (in whole seconds, rounded up, as servers do).
    """

    label = "test:model"
    made_up = True
    structured = True

    def __init__(
        self,
        kind: str = "bucket",
        *,
        rpm: float | None = None,
        tpm: float | None = None,
        burst: float | None = None,
        told: bool = False,
        retry: bool = True,
        count_rejected: bool = False,
        by_ceiling: bool = True,
        latency: tuple[float, float] = (0.4, 1.2),
        account: str = "key",
        label: str = "test:model",
        output: int = 50,
        jitter: float = 0.01,
    ) -> None:
        self.account = account
        self.label = label
        self.meters_ceiling = self.by_ceiling = by_ceiling
        self.kind, self.burst, self.told, self.retry, self.latency = kind, burst, told, retry, latency
        self.count_rejected = count_rejected
        self.output = output
        self.jitter = jitter
        self.given = {"requests": rpm, "tokens": tpm}
        self.windows: dict[str, Any] = {}
        self.came: list[float] = []
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.failed: list[float] = []
        self.down: Callable[[float], bool] = lambda _at: False
        self.by_chance = 0.0
        """The share that it refuses however little comes."""
        self.out = self.most = 0

    def open(self) -> None:
        """The windows begin now."""
        for name, limit in self.given.items():
            if limit is not None and self.kind == "bucket":
                self.windows[name] = Flow(limit, now(), self.burst if name == "requests" else None)
            elif limit is not None:
                self.windows[name] = Minutes(limit, now(), sliding=self.kind == "sliding")

    async def answer(self, request: Request, hear: Callable[[Limits], None]) -> Reply:
        """Answer as the limits allow."""
        if not self.windows:
            self.open()
        await sleep(0.02 + self.jitter * chance().random())
        at = now()
        self.came.append(at)
        if self.down(at):
            self.failed.append(at)
            raise ConnectError("nobody there")
        wait = self._admit(request, at)
        if self.told:
            hear(self._limits(at))
        if wait > 0 or (self.by_chance and chance().random() < self.by_chance):
            self.refused.append(at)
            raise StatusError("slow down", status=429, retry_after=float(-(-wait // 1)) if self.retry else None)
        self.accepted.append(at)
        self.out += 1
        self.most = max(self.most, self.out)
        try:
            await sleep(chance().uniform(*self.latency))
        finally:
            self.out -= 1
        if not self.by_ceiling and "tokens" in self.windows:
            self.windows["tokens"].take(self.output, now())
        return Reply(("x",), Usage(len(request.messages[0].content) // 4, self.output))

    def _admit(self, request: Request, at: float) -> float:
        given = len(request.messages[0].content) // 4
        need = {"requests": 1, "tokens": given + (request.max_tokens or 0) if self.by_ceiling else given}
        wait = max((window.wait(need[name], at) for name, window in self.windows.items()), default=0.0)
        for name, window in self.windows.items():
            if wait == 0:
                window.take(need[name], at)
            elif self.count_rejected and name == "requests":
                window.take(1, at)
        return wait

    def _limits(self, at: float) -> Limits:
        return Limits(
            **{
                name: Limit(window.limit, float(max(0, int(window.left(at)))), window.reset(at))
                for name, window in self.windows.items()
            }
        )

    def resize(self, **limits: float) -> None:
        """Other limits from now on."""
        for name, limit in limits.items():
            self.windows[name].resize(limit)

    def share_refused(self, start: float, end: float) -> float:
        """The 429s of the requests that came from `start` to `end`."""
        came = within(self.came, start, end)
        return within(self.refused, start, end) / max(1, came)


def within(times: list[float], start: float, end: float) -> int:
    """How many of these times are from `start` to before `end`."""
    return sum(start <= at < end for at in times)


def lane_to(server: Any, limit: int = 64, rate_limits: Any = None, patience: float | None = PATIENCE) -> Lane:
    """A lane to a server, in lanes of its own."""
    return Lanes(Turnstile(limit), rate_limits, patience).of(server, None)


async def send(lane: Lane, server: Any, request: Request = ASKED) -> Sent:
    """One send through the lane; raises `CallError`."""
    sending = Sent(request)
    await lane.enter(sending)
    try:
        sending.sent_at = now()
        sending.reply = await server.answer(request, lane.hear)
    except BaseException as error:
        sending.error = error
        raise
    finally:
        lane.leave(sending)
    return sending


async def keep_busy(lane: Lane, server: Any, seconds: float, clients: int = 64, request: Any = None) -> None:
    """So many clients, each sending again as soon as it may, what failed, too."""
    end = now() + seconds

    async def client() -> None:
        while now() < end:
            try:
                await send(lane, server, request() if request is not None else ASKED)
            except CallError:
                continue

    working = [asyncio.create_task(client()) for _ in range(clients)]
    await sleep(seconds)
    for one in working:
        one.cancel()
    await asyncio.gather(*working, return_exceptions=True)
