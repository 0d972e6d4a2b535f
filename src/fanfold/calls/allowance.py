"""What may be sent: the buckets of one lane or one provider, given by the user or told by the server."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING

import msgspec

from fanfold.calls.buckets import BURST, Bucket, Entry
from fanfold.core.numbers import is_amount
from fanfold.errors import UsageError

if TYPE_CHECKING:
    from fanfold.calls.buckets import Source
    from fanfold.core.records import Limits

PER = 60.0
"""Seconds of a window, where nobody said otherwise: vendors grant so much a minute, and their headers do not say so."""


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider grants: so many `requests` and `tokens` in `per` seconds (a minute); None: no such limit.

    `tokens` counts input and output together; where these have limits of their own, say `input_tokens` and
    `output_tokens`. Calls are paced at 0.98 of it. A limit that the server tells in its headers may lower it.
    """

    requests: float | None = None
    tokens: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    per: float = PER

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not is_amount(value) and (value is not None or name == "per"):
                raise UsageError(f"RateLimit({name}={value!r}): give a number above 0, or leave it out")


class Need(msgspec.Struct):
    """What one send takes: itself, and its tokens as estimated."""

    input_tokens: float = 0.0
    output_tokens: float = 0.0

    def of(self, name: str) -> float:
        """How much of the limit of this name."""
        if name == "requests":
            return 1.0
        if name == "tokens":
            return self.input_tokens + self.output_tokens
        return self.input_tokens if name == "input_tokens" else self.output_tokens


Taken = dict[str, Entry]


class Allowance:
    """The buckets by the name of their limit; a send takes from all of them or from none."""

    __slots__ = ("buckets", "per", "tokens")

    def __init__(self, given: RateLimit | None = None) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.per = PER if given is None else float(given.per)
        self.tokens = False
        """Whether it asks for the tokens of a send."""
        if given is not None:
            for name in ("requests", "tokens", "input_tokens", "output_tokens"):
                limit = getattr(given, name)
                if limit is not None:
                    self._open(name, limit, "given")

    def wait(self, need: Need, now: float) -> float:
        """Seconds until a send fits."""
        return max((bucket.wait(need.of(name), now) for name, bucket in self.buckets.items()), default=0.0)

    @property
    def rate(self) -> float:
        """Sends a second that it allows, if their tokens do not count."""
        bucket = self.buckets.get("requests")
        return inf if bucket is None else bucket.limit / bucket.per

    def slowest(self, need: Need, now: float) -> str:
        """Which of its limits a send waits longest for, and what would help."""
        name, bucket = max(self.buckets.items(), key=lambda entry: entry[1].wait(need.of(entry[0]), now))
        raised = "raise rate_limits= (or --rpm, --tpm), or" if bucket.source == "given" else "the server told it; raise"
        return f"the limit of {bucket.limit:g} {_words(name)} in {self.per:g} s: {raised} the timeout"

    def take(self, need: Need, now: float) -> Taken:
        """Take what a send needs."""
        return {name: bucket.take(need.of(name), now) for name, bucket in self.buckets.items()}

    def correct(self, taken: Taken, need: Need | None) -> None:
        """A send turned out to need so much; None: it was not sent at all."""
        for name, entry in taken.items():
            self.buckets[name].correct(entry, 0.0 if need is None else need.of(name))

    def hear(self, told: Limits, now: float) -> list[str]:
        """Take over what the server told; gives what is new, in words."""
        news = []
        for name in ("requests", "tokens", "input_tokens", "output_tokens"):
            limit = getattr(told, name)
            if limit is None:
                continue
            if name not in self.buckets:
                if limit.limit is None:
                    continue
                self._open(name, limit.limit, "headers")
                news.append(f"the server told its limit of {limit.limit:g} {_words(name)} in {self.per:g} s")
                self.buckets[name].hear(None, limit.remaining, limit.reset, now)
            elif self.buckets[name].hear(limit.limit, limit.remaining, limit.reset, now):
                news.append(f"the server's limit is now {self.buckets[name].limit:g} {_words(name)} in {self.per:g} s")
        return news

    def calm(self, now: float) -> None:
        """The server refused what we took for allowed: leave more evenly, and slower."""
        for bucket in self.buckets.values():
            bucket.calm(now)

    def relent(self, until: float) -> None:
        """What the server says is left counts no longer than until then, when it said to come again."""
        for bucket in self.buckets.values():
            bucket.relent(until)

    def _open(self, name: str, limit: float, source: Source) -> None:
        most = float(BURST) if name == "requests" else float("inf")
        self.buckets[name] = Bucket(float(limit), self.per, source, most=most)
        self.tokens = self.tokens or name != "requests"


class Given:
    """The limits that the user gave: one for each model, or by the name of a model or a provider.

    A provider's is shared by all its models; a model's, and one without a name, is the model's own.
    """

    def __init__(self, limits: RateLimit | Mapping[str, RateLimit] | None) -> None:
        self.everyone = limits if isinstance(limits, RateLimit) else None
        named = {} if limits is None or isinstance(limits, RateLimit) else limits
        if not isinstance(named, Mapping):
            raise UsageError(f"rate_limits={limits!r}: give a RateLimit, or a mapping from names to them")
        for name, limit in named.items():
            if not isinstance(limit, RateLimit):
                raise UsageError(f"rate_limits={{{name!r}: {limit!r}}}: give a RateLimit(requests=..., tokens=...)")
        self.named = dict(named)
        self._shared = {name: Allowance(limit) for name, limit in named.items() if ":" not in name}

    def own(self, label: str) -> Allowance:
        """A new allowance for one model."""
        allowance = Allowance(self.named.get(label, self.everyone))
        provider = self.shared(label)
        if label not in self.named and provider is not None:
            allowance.per = provider.per  # what its headers tell is meant for the same time
        return allowance

    def shared(self, label: str) -> Allowance | None:
        """That of its provider, if there is one."""
        return self._shared.get(label.partition(":")[0])


def _words(name: str) -> str:
    return name.replace("_", " ")
