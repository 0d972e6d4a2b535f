"""When the server answers: after a fixed or drawn time, or after times that were measured on real endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fanfold.core.clock import seeded_source
from fanfold.core.records import Usage
from fanfold.errors import UsageError
from fanfold.models import recordings
from fanfold.testing.server.faults import uniform
from fanfold.testing.server.spread import Spread, spread

if TYPE_CHECKING:
    from fanfold.core.records import Reply

Seconds = float | str


class Timing(msgspec.Struct, frozen=True):
    """Seconds until the first word of a reply, and from there to its last."""

    first: float
    rest: float


class Pace:
    """Times for each reply.

    A number of seconds as `latency`: a plain reply comes after it; of a streamed one the first word comes after
    `first_token` (default: the latency) and each further one after `between_tokens`. ``"stream"``: a plain reply comes
    when its stream would have ended, as real models do it. Both may be drawn: ``"uniform:0.2,0.8"`` seconds, or
    ``"lognormal:0.5,0.4"`` (median and sigma), by seed, anew each time that a request is sent.

    ``"recorded"``: each request draws, by seed, the times of one recorded request: its first token's wait, and its
    mean pause between tokens times the tokens of the reply at hand. A plain reply comes after all of that.

    `speed` divides every time.
    """

    def __init__(
        self,
        latency: Seconds,
        *,
        first_token: Seconds | None = None,
        between_tokens: float = 0.0,
        speed: float = 1.0,
        seed: int | str = 0,
    ) -> None:
        _check(latency, first_token, speed)
        pause = spread("between_tokens", between_tokens)
        if pause.drawn:
            raise UsageError(f"between_tokens={between_tokens!r}: it is not drawn; give seconds")
        self.latency = latency
        self.between_tokens = pause.one
        if latency == "recorded" and between_tokens:
            raise UsageError("latency='recorded' brings its own times: leave first_token and between_tokens out")
        self.whole = None if latency in {"recorded", "stream"} else _spread("latency", latency)
        self.first = self.whole if first_token is None else spread("first_token", first_token)
        self.speed = speed
        self.seed = seed

    def load(self) -> None:
        """Read the recorded times, if it needs them; blocks."""
        if self.latency == "recorded":
            recordings.latencies()

    def timing(self, reply: Reply, words: int, key: str, *, stream: bool = True, slower: float = 1.0) -> Timing:
        """The times of one reply of so many words; `key` names its request, sample and attempt.

        `slower` multiplies the time until the first word.
        """
        if self.latency == "recorded":
            drawn = self._drawn(reply, key)
        elif not stream and self.whole is not None:
            drawn = Timing(self._at(self.whole, key), 0.0)
        else:
            first = 0.0 if self.first is None else self._at(self.first, key)
            drawn = Timing(first, self.between_tokens * max(0, words - 1))
        return Timing(drawn.first * slower / self.speed, drawn.rest / self.speed)

    def _at(self, given: Spread, key: str) -> float:
        return given.at(uniform(self.seed, "pace", key)) if given.drawn else given.one

    def _drawn(self, reply: Reply, key: str) -> Timing:
        # By request and sample, not in order of arrival: a run repeats whatever order its requests come in.
        row = seeded_source(f"{self.seed}|{key}").choice(recordings.latencies())
        tokens = (reply.usage or Usage()).output_tokens / max(1, len(reply.texts))
        return Timing(row.first_token, row.between_tokens * max(0.0, tokens - 1))


def _spread(name: str, given: Seconds) -> Spread:
    return spread(name, given, words=", or 'recorded' or 'stream'")


def _check(latency: Seconds, first_token: Seconds | None, speed: float) -> None:
    if latency == "recorded" and first_token is not None:
        raise UsageError("latency='recorded' brings its own times: leave first_token and between_tokens out")
    if not 0 < speed < float("inf"):
        raise UsageError(f"speed={speed!r}: it is the factor by which times are shortened, above 0")
