"""When the server answers: after a fixed time, or after times that were measured on real endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fanfold.core.clock import seeded_source
from fanfold.core.records import Usage
from fanfold.errors import UsageError
from fanfold.models import recordings

if TYPE_CHECKING:
    from fanfold.core.records import Reply

Seconds = float | Literal["recorded"]


class Timing(msgspec.Struct, frozen=True):
    """Seconds until the first word of a reply, and from there to its last."""

    first: float
    rest: float


class Pace:
    """Times for each reply.

    A number of seconds as `latency`: a plain reply comes after it; of a streamed one the first word comes after
    `first_token` (default: the latency) and each further one after `between_tokens`.

    ``"recorded"``: each request draws, by seed, the times of one recorded request: its first token's wait, and its
    mean pause between tokens times the tokens of the reply at hand. A plain reply comes after all of that.

    `speed` divides every time.
    """

    def __init__(
        self,
        latency: Seconds,
        *,
        first_token: float | None = None,
        between_tokens: float = 0.0,
        speed: float = 1.0,
        seed: int | str = 0,
    ) -> None:
        _check(latency, first_token, between_tokens, speed)
        self.latency = latency
        self.first_token = first_token
        self.between_tokens = between_tokens
        self.speed = speed
        self.seed = seed

    def load(self) -> None:
        """Read the recorded times, if it needs them; blocks."""
        if self.latency == "recorded":
            recordings.latencies()

    def timing(self, reply: Reply, words: int | None, key: str) -> Timing:
        """The times of one reply; `words` is None for a plain one, and `key` names its request and sample."""
        if self.latency == "recorded":
            drawn = self._drawn(reply, key)
        elif words is None:
            drawn = Timing(self.latency, 0.0)
        else:
            first = self.latency if self.first_token is None else self.first_token
            drawn = Timing(first, self.between_tokens * max(0, words - 1))
        return Timing(drawn.first / self.speed, drawn.rest / self.speed)

    def _drawn(self, reply: Reply, key: str) -> Timing:
        # By request and sample, not in order of arrival: a run repeats whatever order its requests come in.
        row = seeded_source(f"{self.seed}|{key}").choice(recordings.latencies())
        tokens = (reply.usage or Usage()).output_tokens / max(1, len(reply.texts))
        return Timing(row.first_token, row.between_tokens * max(0.0, tokens - 1))


def _check(latency: Seconds, first_token: float | None, between_tokens: float, speed: float) -> None:
    fixed = {"latency": latency, "first_token": first_token or 0.0, "between_tokens": between_tokens}
    for name, seconds in fixed.items():
        if seconds == "recorded" and name == "latency":
            continue
        if isinstance(seconds, str) or not 0 <= seconds < float("inf"):
            more = ", or 'recorded'" if name == "latency" else ""
            raise UsageError(f"{name}={seconds!r}: give seconds, 0 or more{more}")
    if latency == "recorded" and (first_token is not None or between_tokens):
        raise UsageError("latency='recorded' brings its own times: leave first_token and between_tokens out")
    if not 0 < speed < float("inf"):
        raise UsageError(f"speed={speed!r}: it is the factor by which times are shortened, above 0")
