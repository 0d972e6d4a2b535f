"""What a model server allows: requests and tokens per window, and how it says so."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fanfold.core.numbers import is_amount
from fanfold.errors import UsageError

WINDOWS = ("bucket", "fixed", "sliding")
METERS = ("admission", "used")
SCOPES = ("server", "key", "model", "key+model")
OVERS = ("queue", "503", "529")


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rates that a model server grants, and what it does beyond them; all defaults mean: no limit.

    `rpm`, `tpm`, `input_tpm` and `output_tpm` are requests, tokens, input and output tokens in `per` seconds (a minute,
    unless a test scales it down). `window` says how they are counted: in a token ``"bucket"`` that holds `burst`
    requests and `burst_tokens` tokens (default: a whole window's), in ``"fixed"`` windows one after another, or in
    the ``"sliding"`` one behind each moment. With `count_rejected` a rejected request counts as one, too.

    ``meter="admission"`` takes input and `max_tokens` when a request is admitted, as OpenAI does; for a request that
    names none it takes `assumed_output`. ``meter="used"`` takes the input then and the output when it has been made,
    as Anthropic does. `by` says who shares a window: everyone (``"server"``), each ``"key"``, ``"model"``, or both.

    `headers` tells the limits with every reply. `retry_after` is the form in which a 429 says how long to wait:
    ``"seconds"``, ``"float"``, ``"ms"`` (the header ``retry-after-ms``), ``"date"``, ``"none"``; any other text is
    sent as it stands, so that a client can be tried with ``"-10"`` or ``""``. `should_retry` adds ``x-should-retry``.

    `at_once` requests are served at the same time; `over` says what happens to more: they ``"queue"``, or are refused
    with ``"503"`` or ``"529"``.
    """

    rpm: float | None = None
    tpm: float | None = None
    input_tpm: float | None = None
    output_tpm: float | None = None
    per: float = 60.0
    window: Literal["bucket", "fixed", "sliding"] = "bucket"
    burst: float | None = None
    burst_tokens: float | None = None
    count_rejected: bool = False
    meter: Literal["admission", "used"] = "admission"
    assumed_output: int = 1024
    by: Literal["server", "key", "model", "key+model"] = "key"
    headers: bool = True
    retry_after: str = "seconds"
    should_retry: bool | None = None
    at_once: int | None = None
    over: Literal["queue", "503", "529"] = "queue"

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "input_tpm", "output_tpm", "burst", "burst_tokens", "per", "at_once"):
            _check_positive(name, getattr(self, name))
        for name, allowed in (("window", WINDOWS), ("meter", METERS), ("by", SCOPES), ("over", OVERS)):
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name}={getattr(self, name)!r}: take one of {', '.join(allowed)}")
        if self.assumed_output < 0:
            raise UsageError(f"assumed_output={self.assumed_output!r}: give a number of tokens, 0 or more")
        if self.burst is not None and self.burst < 1:
            raise UsageError(f"burst={self.burst!r}: a bucket that holds less than one request never admits any")
        if self.window != "bucket" and not (self.burst is None and self.burst_tokens is None):
            raise UsageError(f"a {self.window} window has no burst: leave burst and burst_tokens out, or take a bucket")
        if not self.retry_after.isascii() or not self.retry_after.isprintable():
            raise UsageError(f"retry_after={self.retry_after!r}: a header holds printable ASCII only")

    def rates(self) -> dict[str, tuple[float, float | None]]:
        """The limit and the burst of each window there is, by the name that headers have for it."""
        given = {
            "requests": (self.rpm, self.burst),
            "tokens": (self.tpm, self.burst_tokens),
            "input-tokens": (self.input_tpm, self.burst_tokens),
            "output-tokens": (self.output_tpm, self.burst_tokens),
        }
        return {name: (limit, burst) for name, (limit, burst) in given.items() if limit is not None}

    def but(self, **changes: Any) -> Limits:
        """These limits with some of them changed; raises `UsageError`."""
        unknown = set(changes) - set(self.__struct_fields__)
        if unknown:
            raise UsageError(f"there is no limit {min(unknown)!r}: {', '.join(self.__struct_fields__)}")
        return msgspec.structs.replace(self, **changes)


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not is_amount(value):
        raise UsageError(f"{name}={value!r}: give a number above 0, or leave it out")
