"""What the server remembers: every request with its times, and the counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fanfold.core.clock import now
from fanfold.models.wire import DRAW
from fanfold.testing.server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

    from fanfold.testing.server.completions import Asked

K = TypeVar("K", bytes, str)


@dataclass(slots=True, eq=False)
class Seen:
    """One request as the server saw it; times are in seconds on the server's loop clock.

    `peer` is the other end of its connection, `url` the path and query, `raw` the body.
    `ordinal` is the sample that was meant, `draw` the header that said so (None: it was counted). `began` is when the
    reply's head went out, `answered` when the reply was whole, and `disconnected` when the client was seen to be
    gone before that. `status` is None until there is an answer. `attempt` counts the sendings of one sample of one
    request before this, and `cut` says that a fault of the server ended it.
    """

    number: int
    method: str
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    peer: Any
    received: float
    raw: bytes = field(default=b"", repr=False)
    model: str = ""
    draw: str | None = None
    ordinal: int | None = None
    n: int = 1
    stream: bool = False
    attempt: int = 0
    status: int | None = None
    began: float | None = None
    answered: float | None = None
    disconnected: float | None = None
    cut: bool = False

    @property
    def path(self) -> str:
        """The path of the URL."""
        return self.url.path

    @property
    def query(self) -> Mapping[str, str]:
        """The fields of the URL's query."""
        return self.url.query

    @property
    def body(self) -> Any:
        """The body, decoded from JSON; raises ValueError where it is not."""
        return msgspec.json.decode(self.raw)

    def digest(self) -> bytes:
        """What stands for the body: identical requests have the same."""
        return blake2b(self.raw, digest_size=16).digest()

    def learn(self, asked: Asked, ordinal: int) -> None:
        """Note what the body says."""
        self.model = asked.model
        self.ordinal = ordinal
        self.n = asked.request.n
        self.stream = asked.request.stream


class ServerStatistics(msgspec.Struct, frozen=True):
    """Counts since the server began: of `requests`, those in flight, answered, refused (4xx and 5xx), given up, and
    cut by a fault.

    `samples` counts the texts given. `latency` and `speed` say how the server was told to pace them.
    """

    requests: int
    in_flight: int
    answered: int
    refused: int
    disconnected: int
    cut: int
    samples: int
    answers: str
    latency: float | str
    speed: float


class Book:
    """The requests of one server; it keeps the last `keep` of them, and at least half as many."""

    def __init__(self, keep: int) -> None:
        self.keep = max(2, keep)
        self.seen: list[Seen] = []
        self.counts: Counter[str] = Counter()
        self.closing = False
        self._drawn: dict[bytes, int] = {}
        self._sent: dict[str, int] = {}

    def forget(self) -> None:
        """Forget which samples and attempts there were; the counts go on."""
        self._drawn.clear()
        self._sent.clear()

    def open(self, method: str, url: URL, headers: Mapping[str, str], peer: Any) -> Seen:
        """A request has come."""
        seen = Seen(self.counts["requests"], method, url, headers, peer, now(), draw=headers.get(DRAW))
        self.counts["requests"] += 1
        self.counts["in_flight"] += 1
        if len(self.seen) >= self.keep:
            del self.seen[: self.keep // 2]
        self.seen.append(seen)
        return seen

    def close(self, seen: Seen) -> None:
        """It is over: answered, refused, or its client has gone (unless we are the ones who close)."""
        self.counts["in_flight"] -= 1
        if seen.cut:
            self.counts["cut"] += 1
        elif seen.answered is None:
            if not self.closing:
                seen.disconnected = now()
                self.counts["disconnected"] += 1
        elif seen.status == 200:
            self.counts["answered"] += 1
        else:
            self.counts["refused"] += 1

    def ordinal(self, seen: Seen, n: int) -> int:
        """Which sample is meant: the draw header's last part, else one further than the last identical request."""
        if seen.draw is not None:
            return _last_part(seen.draw)
        return _counted(self._drawn, seen.digest(), n, self.keep)

    def attempt(self, key: str) -> int:
        """How often the sample of a request that `key` stands for was sent before."""
        return _counted(self._sent, key, 1, self.keep)


def _counted(counts: dict[K, int], key: K, step: int, keep: int) -> int:
    """The count of a key, which goes on by `step`; of too many keys the longest unused are forgotten."""
    found = counts.pop(key, 0)
    if len(counts) >= keep:
        for old in list(counts)[: keep // 2]:
            del counts[old]
    counts[key] = found + step
    return found


def _last_part(header: str) -> int:
    last = header.rpartition("/")[2]
    if not (last.isascii() and last.isdecimal() and len(last) <= 18):
        raise Refusal(400, f"{DRAW}: {header[:200]!r} does not end in the number of a sample", code="bad_draw")
    return int(last)
