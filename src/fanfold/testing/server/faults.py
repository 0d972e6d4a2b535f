"""Faults on demand: what goes wrong, how often and when; decided by seed and request, not by order of arrival."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import inf

import msgspec

from fanfold.core.records import Request
from fanfold.errors import UsageError

KINDS: dict[str, str] = {
    "outage": "503 (or the status, or `reset`, that is its value) to everything; without counting it",
    "script": "a status for each request in turn, as script=503,429,200; then all is well",
    "quota": "no credit: OpenAI's 429 insufficient_quota, Anthropic's 402 billing_error",
    "credit": "no credit: OpenAI's 429 credit_balance_exhausted, Anthropic's 400 about the balance",
    "spend": "a spend limit: OpenAI's 429 billing_hard_limit_reached, Anthropic's 429 without Retry-After",
    "slow": "headers so many seconds later than they would come, as slow=2.5",
    "stragglers": "times until the first token x FACTOR; stragglers=inherent: of a request, however often it is sent",
    "stall": "no answer ever; stall=K: none after K pieces of the reply",
    "reset": "a reset connection, before anything is done; reset=late: in place of the reply; reset=K: after K pieces",
    "cut": "the connection ends after K pieces, as cut=3, or N bytes, as cut=100b",
    "end": "like cut, but ended as HTTP ends a reply: only the missing end shows that it is short",
    "no-done": "a stream without the event that ends it",
    "malformed": "broken JSON; in a stream in place of piece K, as malformed=3",
    "error": "an error event inside a 200, after K pieces, as error=0; in a plain reply an error in place of it",
    "empty": "a 200 without a body",
    "dribble": "one byte at a time",
    "split": "every character of several bytes in two halves",
}
"""What can go wrong, and what its value means; besides these, each status from 400 to 599."""

_COUNTS = re.compile(r"\d+")
_BYTES = re.compile(r"\d+b")
_VALUES: dict[str, Callable[[str], object]] = {
    "outage": lambda value: value in {"", "reset"} or _is_status(value),
    "script": lambda value: bool(value) and all(one == "200" or _is_status(one) for one in value.split(",")),
    "slow": lambda value: _seconds(value) is not None,
    "stragglers": lambda value: value in {"", "inherent"},
    "stall": lambda value: not value or _COUNTS.fullmatch(value),
    "reset": lambda value: value in {"", "late"} or _COUNTS.fullmatch(value),
    "cut": lambda value: _COUNTS.fullmatch(value) or _BYTES.fullmatch(value),
    "end": lambda value: _COUNTS.fullmatch(value) or _BYTES.fullmatch(value),
    "malformed": lambda value: not value or _COUNTS.fullmatch(value),
    "error": lambda value: not value or _COUNTS.fullmatch(value),
}

_WRITTEN = re.compile(
    r"(?P<kind>[a-z0-9-]+)(?:=(?P<value>[^:@#]*))?(?P<when>(?::[^:@#]*)*)(?:@(?P<requests>[0-9,-]+))?(?:\#(?P<attempts>\d+))?"
)
_SPAN = re.compile(r"(?P<start>[\d.]+)\+(?P<seconds>[\d.]+)?")
_SHARE = re.compile(r"(?P<share>[\d.]+)?(?:x(?P<factor>[\d.]+))?")


class Asking(msgspec.Struct, frozen=True):
    """One request as faults see it.

    `number` counts the requests to models, `attempt` how often this one (`key`) was sent before, and `at` is the
    seconds since the first of all. `model` and `request` say what is asked.
    """

    number: int
    key: str
    attempt: int = 0
    at: float = 0.0
    model: str = ""
    request: Request = Request(())


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong: for a `share` of the requests, and only where all else said here holds.

    `kind` is an HTTP status (as ``"503"``) or one of `KINDS`, which also says what `value` means; of a status it is
    the Retry-After. `start` and `seconds` bound it in time from the first request on, `requests` names the requests
    by number (``"0-9,12,20-"``), and `attempts` lets only the first so many sendings of a request be hit. `factor` is
    that of stragglers. In short form: ``KIND[=VALUE][:SHARE[xFACTOR]][:START+SECONDS][@REQUESTS][#ATTEMPTS]``.
    """

    kind: str
    value: str = ""
    share: float = 1.0
    start: float = 0.0
    seconds: float = inf
    requests: str = ""
    attempts: int | None = None
    factor: float = 10.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS and not _is_status(self.kind):
            raise UsageError(f"fault {self.kind!r}: it is a status from 400 to 599, or one of {', '.join(KINDS)}")
        if not _fits(self.kind, self.value) or not (self.value.isascii() and self.value.isprintable()):
            raise UsageError(f"fault {self.kind}={self.value}: {KINDS.get(self.kind, 'its value is a header')}")
        if not 0 < self.share <= 1:
            raise UsageError(f"fault {self.kind}: its share is above 0 and at most 1, not {self.share:g}")
        if not (0 <= self.start < inf and self.seconds > 0):
            raise UsageError(
                f"fault {self.kind}: an interval is START+SECONDS, as 5+20, not {self.start:g}+{self.seconds:g}"
            )
        if not 0 < self.factor < inf:
            raise UsageError(f"fault {self.kind}: its factor is above 0, not {self.factor:g}")
        if self.attempts is not None and self.attempts < 1:
            raise UsageError(f"fault {self.kind}: it hits at least the first attempt, or leave attempts out")
        _ranges(self.requests)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault in short form, as ``503:0.1``; raises `UsageError`."""
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise _unreadable(text)
        given: dict[str, object] = {"value": found["value"] or "", "requests": found["requests"] or ""}
        if found["attempts"]:
            given["attempts"] = int(found["attempts"])
        for part in found["when"].split(":")[1:]:
            told = _when(part, text)
            if given.keys() & told.keys() or ("factor" in told and found["kind"] != "stragglers"):
                raise _unreadable(text)
            given.update(told)
        return cls(found["kind"], **given)  # type: ignore[arg-type]  # read from text, checked above

    def __str__(self) -> str:
        said = self.kind + (f"={self.value}" if self.value else "")
        factor = f"x{self.factor:g}" if self.kind == "stragglers" else ""
        if self.share != 1 or factor:
            said += f":{self.share:g}{factor}"
        if self.start or self.seconds != inf:
            said += f":{self.start:g}+" + (f"{self.seconds:g}" if self.seconds != inf else "")
        said += f"@{self.requests}" if self.requests else ""
        return said + (f"#{self.attempts}" if self.attempts else "")

    def hits(self, asking: Asking, seed: str | int, place: int = 0) -> bool:
        """Whether it happens to a request; `place` tells two faults of one kind apart."""
        if not self.start <= asking.at < self.start + self.seconds:
            return False
        if self.attempts is not None and asking.attempt >= self.attempts:
            return False
        if self.requests and not any(first <= asking.number <= last for first, last in _ranges(self.requests)):
            return False
        attempt = "" if self.value == "inherent" else asking.attempt
        return self.share == 1 or uniform(seed, place, self.kind, asking.key, attempt) < self.share


GivenFault = Fault | str
GivenFaults = GivenFault | Sequence[GivenFault] | Callable[[Asking], GivenFault | None]


class Struck(msgspec.Struct, frozen=True):
    """The faults that one request meets."""

    faults: tuple[Fault, ...] = ()

    def first(self, *kinds: str) -> Fault | None:
        """The first of these kinds."""
        return next((fault for fault in self.faults if fault.kind in kinds), None)

    def bare(self, kind: str) -> bool:
        """Whether one is of this kind without a value: then nothing at all comes of the request."""
        return any(fault.kind == kind and not fault.value for fault in self.faults)

    def status(self) -> Fault | None:
        """The first that is a status."""
        return next((fault for fault in self.faults if fault.kind.isdecimal()), None)

    def slowness(self) -> float:
        """What times until the first token are multiplied with."""
        found = self.first("stragglers")
        return 1.0 if found is None else found.factor

    def delay(self) -> float:
        """Seconds by which headers come later."""
        found = self.first("slow")
        return 0.0 if found is None else float(found.value)


class Faults:
    """All that goes wrong at one server."""

    def __init__(self, given: GivenFaults, seed: str | int) -> None:
        self.seed = seed
        self.function: Callable[[Asking], GivenFault | None] | None = None
        self.listed: tuple[Fault, ...] = ()
        if callable(given):
            self.function = given
        else:
            several = [given] if isinstance(given, str | Fault) else given
            if not isinstance(several, Sequence):
                raise UsageError(f"faults={given!r}: give a Fault or its short form, a list of these, or a function")
            self.listed = tuple(_fault(one) for one in several)

    def strike(self, asking: Asking) -> Struck:
        """What happens to a request."""
        if self.function is not None:
            chosen = self.function(asking)
            return Struck() if chosen is None else Struck((_resolved(_fault(chosen), asking),))
        hit = (fault for place, fault in enumerate(self.listed) if fault.hits(asking, self.seed, place))
        return Struck(tuple(_resolved(fault, asking) for fault in hit if _applies(fault, asking)))


def uniform(*parts: object) -> float:
    """A figure from 0 to 1 that hangs on the parts alone: the same in every process, in any order of requests."""
    digest = blake2b("|".join(map(str, parts)).encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _fits(kind: str, value: str) -> bool:
    if kind in _VALUES:
        return bool(_VALUES[kind](value))
    return _is_status(kind) or not value


def _fault(given: GivenFault) -> Fault:
    if isinstance(given, Fault):
        return given
    if isinstance(given, str):
        return Fault.parse(given)
    raise UsageError(f"fault {given!r}: give a Fault, or its short form as '503:0.1'")


def _applies(fault: Fault, asking: Asking) -> bool:
    if fault.kind != "script":
        return True
    statuses = fault.value.split(",")
    return asking.number < len(statuses) and statuses[asking.number] != "200"


def _resolved(fault: Fault, asking: Asking) -> Fault:
    """A script's line is the status that it is this time."""
    if fault.kind == "script":
        return Fault(fault.value.split(",")[asking.number])
    return fault


def _when(part: str, text: str) -> dict[str, object]:
    span = _SPAN.fullmatch(part)
    share = _SHARE.fullmatch(part)
    found = span or share
    if found is None or not part:
        raise _unreadable(text)
    try:
        return {name: float(value) for name, value in found.groupdict().items() if value is not None}
    except ValueError:
        raise _unreadable(text) from None


def _unreadable(text: str) -> UsageError:
    return UsageError(
        f"fault {text!r}: write KIND[=VALUE][:SHARE[xFACTOR]][:START+SECONDS][@REQUESTS][#ATTEMPTS], as 503:0.1, "
        f"outage:5+20 or cut=3; kinds are statuses and {', '.join(KINDS)}"
    )


@lru_cache(maxsize=256)
def _ranges(requests: str) -> tuple[tuple[int, float], ...]:
    made = []
    for part in requests.split(",") if requests else ():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (last and not (last.isdecimal() and int(first) <= int(last))):
            raise UsageError(f"requests {requests!r}: write numbers and ranges, as 0-9,12,20-")
        made.append((int(first), float(last) if last else inf if dash else int(first)))
    return tuple(made)


def _is_status(text: str) -> bool:
    return text.isdecimal() and len(text) == 3 and 400 <= int(text) <= 599


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < inf else None
