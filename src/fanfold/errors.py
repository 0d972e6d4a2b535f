"""Every error fanfold raises, and what each means for a retry.

    FanfoldError
    ├─ UsageError (ValueError)          your program: fix it, a retry cannot help
    │  ├─ TemplateError                 a field without a value, a broken template
    │  ├─ ModelError (FatalError)       unknown model or provider, missing key, refused host: ends the run
    │  └─ LoopError                     a session or step used where it cannot run
    ├─ CallError                        one request to one model failed; carries model, place, retry_after
    │  ├─ ConnectError                  · no server, or the connection broke: may be tried again
    │  │  └─ SilenceError               · nothing came for the `idle_timeout`
    │  ├─ StatusError                   · the server said no: 408, 409, 429, 5xx may be tried again
    │  │  └─ NotRecorded                  x recorded answers hold no such request
    │  ├─ ReplyError                    · the reply is not what the protocol says: may be tried again
    │  │  └─ StreamCut                    x after text came; tried again only while nobody has read it; carries it
    │  ├─ AccessError (FatalError)      x wrong key, no permission: ends the run
    │  │  └─ BillingError                 x no credit or spend limit reached: ends the run
    │  └─ QueueFull                     x more calls wait for their turn than `max_queued` allows
    ├─ BudgetError (FatalError)         the budget cannot cover what comes next: ends the run
    ├─ NotStarted                       a branch that a budget had no money for, under "shrink"
    ├─ JournalError (FatalError)        the journal cannot keep or give what it must: ends the run
    │  ├─ JournalLocked                   x another process has it open; carries its pid
    │  ├─ JournalCorrupt                  x its file is damaged
    │  └─ ReplayMiss                      x a replay needs what was not recorded
    ├─ WorkersError (FatalError)        the workers of a map are gone, or cannot run its step: ends the map
    ├─ ParseError                       a reply that is not of the type asked for; carries the text
    ├─ StepTimeout (TimeoutError)       the time given is over; it covered every attempt
    ├─ BranchError                      a branch failed; carries what the others finished
    ├─ RowError                         a row of a map failed; carries the row
    ├─ QuorumError                      too few branches succeeded or too few ballots are valid
    ├─ TieError                         a vote tied and `ties="error"`
    ├─ RecordError                      fields that won, each by itself, make no valid record together
    ├─ RouteError                       a route has no path for what was said
    ├─ GateError                        an answer did not pass its gate
    └─ ScopeEnded                       a call made under a step that has already ended

``·`` a retry may help; ``x`` it cannot. `FatalError` marks what ends the whole run: no fold absorbs it as a
skipped branch or an error ballot. Whatever escapes a run carries the run so far in `FanfoldError.run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

BILLING = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "enforced_spend_limit_reached",
    }
)
"""Codes that say that money is gone, which no waiting mends (OpenAI's error-code guide, Anthropic's "Errors").

Codes only: some servers say "you exceeded your current quota, check your billing" of a limit a minute.
"""

MADE = "fanfold: before this, the run made"
"""How the note begins that says what an error's run had made."""


class FanfoldError(Exception):
    """The root of the tree.

    `run` is the unfinished run when the error escaped one: its calls, usage, cost and events so far.
    """

    run: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        # An error may come from another process; its run, which may be large and hold anything, stays there.
        state = {name: value for name, value in self.__dict__.items() if name != "run"}
        return _bare, (type(self), self.args), state | {"args": self.args, "__cause__": self.__cause__}

    @property
    def cost(self) -> Any:
        """The `Cost` of the run so far, or None where the error did not come out of a run."""
        return None if self.run is None else self.run.cost


def _bare(kind: type[FanfoldError], args: tuple[Any, ...]) -> FanfoldError:
    """An error without what its `__init__` does; its state follows."""
    return kind.__new__(kind, *args)


class FatalError(FanfoldError):
    """Ends the whole run: no policy skips it."""


def is_fatal(error: BaseException) -> bool:
    """Whether it is a `FatalError`, or a group with one in it, as `asyncio.TaskGroup` raises what its tasks do."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(FatalError) is not None
    return isinstance(error, FatalError)


def words_of(error: BaseException) -> str:
    """What an error says; a group, as `asyncio.TaskGroup` raises it, says which errors are in it, each once."""
    if not isinstance(error, BaseExceptionGroup):
        return str(error)
    return f"{error.message}: {'; '.join(dict.fromkeys(map(described, error.exceptions)))}"


def described(error: BaseException) -> str:
    """An error in one text: its kind, and what it says."""
    return f"{type(error).__name__}: {words_of(error)}".removesuffix(": ")


def noted(error: BaseException) -> list[str]:
    """The notes of an error, or of the branch's it tells of; not that of what the run had made, which is told apart."""
    cause: BaseException | None = error
    while isinstance(cause, BranchError | RowError) or (isinstance(cause, QuorumError) and _alike(cause.missing)):
        cause = cause.__cause__
    return [note for note in getattr(cause, "__notes__", []) if not note.startswith(MADE)]


def _alike(missing: Mapping[str, str]) -> bool:
    """Whether all branches are missing for the same reason, so that what is noted of one is true of all."""
    return len(set(missing.values())) == 1


def noted_fields(error: BaseException) -> dict[str, list[str]]:
    """The notes of an error as a field of a document; none where it has none."""
    notes = noted(error)
    return {"notes": notes} if notes else {}


class UsageError(FanfoldError, ValueError):
    """The program asks for something that cannot be; the message names the cause and the fix."""


class TemplateError(UsageError):
    """A template is malformed, or names a field that its input does not have."""


class ModelError(UsageError, FatalError):
    """A model cannot be reached as named: unknown provider, missing key, or a host that is refused."""


class LoopError(UsageError):
    """A step or session is used where it cannot run, as `run_sync` inside a step."""


class CallError(FanfoldError):
    """One request to one model failed.

    `model` is the model's label, `place` where in the run the call was made, `retry_after` the seconds the
    server asked to wait (or None), `attempts` how often the request had been sent when the call was given up.
    """

    retryable = False
    attempts = 0

    def __init__(self, message: str, *, model: str = "", place: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.model = model
        self.place = place
        self.retry_after = retry_after


class ConnectError(CallError):
    """The server could not be reached, or the connection broke before the reply was whole.

    `reached` is False where no connection came about: then nothing was sent, and nothing can be billed.
    """

    retryable = True
    reached = True


class SilenceError(ConnectError):
    """Nothing came of a reply for `seconds`, the call's `idle_timeout`."""

    def __init__(self, message: str, *, seconds: float, model: str = "", place: str = "") -> None:
        super().__init__(message, model=model, place=place)
        self.seconds = seconds


class StatusError(CallError):
    """The server answered with an HTTP error `status`; `body` is the start of what it said, `code` its own word for it.

    `should_retry` is what the server itself said of trying again (None: nothing).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        body: str = "",
        code: str = "",
        model: str = "",
        place: str = "",
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message, model=model, place=place, retry_after=retry_after)
        self.status = status
        self.body = body
        self.code = code
        self.should_retry = should_retry

    @property
    def retryable(self) -> bool:  # type: ignore[override]  # a status decides, not the class
        """Whether trying again may help (408, 409, 429 and 5xx)."""
        return self.status in {408, 409, 429} or self.status >= 500


class NotRecorded(StatusError):
    """The recorded answers hold no answer to this request."""

    def __init__(self, message: str, *, model: str = "", place: str = "") -> None:
        super().__init__(message, status=404, model=model, place=place)


class ReplyError(CallError):
    """The reply is not what the protocol says: malformed JSON, no choices, an error inside a 200.

    `code` is the server's own word for such an error, where it gave one.
    """

    retryable = True

    def __init__(self, message: str, *, code: str = "", model: str = "", place: str = "") -> None:
        super().__init__(message, model=model, place=place)
        self.code = code


class StreamCut(ReplyError):
    """A stream ended before the reply was whole; `text` is what had come."""

    retryable = False

    def __init__(self, message: str, *, text: str, code: str = "", model: str = "", place: str = "") -> None:
        super().__init__(message, code=code, model=model, place=place)
        self.text = text


class AccessError(CallError, FatalError):
    """The key is wrong or lacks permission (401, 403)."""


class BillingError(AccessError):
    """No credit, or a spend limit is reached; waiting does not help."""


class QueueFull(CallError):
    """More calls wait for their turn than `Session(max_queued=...)` allows; the call was not sent.

    Where it was to be sent again, it was not sent once more: `__cause__` is how the send before had failed.
    """


class BudgetError(FatalError):
    """The budget cannot cover what comes next, and no money can come back; what does not fit was not sent.

    `unit` is ``"usd"``, ``"tokens"`` or ``"calls"``; in it, `limit` is the budget, of which `spent` is gone and `left`
    is free, and `needed` is what the worst case takes. `affordable` is how many branches of a fan could have been had.
    """

    def __init__(
        self,
        message: str,
        *,
        unit: str,
        limit: float,
        spent: float,
        needed: float,
        left: float,
        affordable: int | None = None,
    ) -> None:
        super().__init__(message)
        self.unit = unit
        self.limit = limit
        self.spent = spent
        self.needed = needed
        self.left = left
        self.affordable = affordable


class NotStarted(FanfoldError):
    """A branch was never begun, because the budget had no money for it and it may be left out; `refused` says why."""

    def __init__(self, refused: BudgetError) -> None:
        super().__init__(f"not started: {refused}")
        self.refused = refused


class JournalError(FatalError):
    """The journal cannot keep or give what it must: no space, no permission, no journal.

    Nothing goes on without it.
    """


class JournalLocked(JournalError):
    """Another process has the journal open; `pid` is that process (0: it could not be told)."""

    def __init__(self, message: str, *, pid: int = 0) -> None:
        super().__init__(message)
        self.pid = pid


class JournalCorrupt(JournalError):
    """The journal's file is damaged: a record does not match its checksum, or SQLite cannot read the file."""


class ReplayMiss(JournalError):
    """A replay needs a run or a call that was not recorded; nothing was sent."""


class WorkersError(FatalError):
    """The workers that run a map's rows cannot be had, are gone, or cannot run its step."""


class ParseError(FanfoldError):
    """A reply cannot be read as the type that was asked for; `text` is the whole reply."""

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text


class StepTimeout(FanfoldError, TimeoutError):
    """The time given to a call, step or run is over; `seconds` is what was given.

    Of a pattern's own timeout, `finished` maps the branches that had succeeded to their values.
    """

    def __init__(self, message: str, *, seconds: float, finished: Mapping[str, Any] = {}) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.finished = dict(finished)


class BranchError(FanfoldError):
    """A branch failed and the policy is "fail".

    `branch` names it, `finished` maps the branches that had succeeded to their values, and `__cause__` is the
    branch's own error. What it all cost stands in `cost`.
    """

    def __init__(self, branch: str, error: BaseException, finished: Mapping[str, Any]) -> None:
        kept = ", ".join(finished) or "none"
        super().__init__(
            f"branch {branch!r} failed: {described(error)} "
            f"(finished and kept in .finished: {kept}; to go on without it, use on_error='skip')"
        )
        self.branch = branch
        self.finished = dict(finished)
        self.__cause__ = error


class RowError(FanfoldError):
    """A row of a map failed and the policy is "fail", or more rows failed than may; `row` is its record.

    `__cause__` is the row's own error.
    """

    def __init__(self, row: Any, why: str) -> None:
        named = "" if row.key == str(row.number) else f" (key {row.key!r})"
        super().__init__(f"row {row.number}{named} failed: {why}")
        self.row = row
        self.run = getattr(row.error, "run", None)
        self.__cause__ = row.error


class QuorumError(FanfoldError):
    """Too few branches succeeded, or too few ballots are valid.

    `finished` maps the branches that did succeed to their values, `missing` the others to what went wrong. `late` is
    how the message ends where time was over and calls were held up by a failure or a limit: it names that.
    """

    late: str = ""

    def __init__(self, message: str, *, finished: Mapping[str, Any] = {}, missing: Mapping[str, str] = {}) -> None:
        super().__init__(message)
        self.finished = dict(finished)
        self.missing = dict(missing)


class TieError(FanfoldError):
    """A vote tied and its policy is ``ties="error"``; `tied` lists the values in order."""

    def __init__(self, message: str, *, tied: tuple[Any, ...]) -> None:
        super().__init__(message)
        self.tied = tied


class RecordError(FanfoldError):
    """What won field by field makes no record that its type accepts; `values` maps the fields to their winners."""

    def __init__(self, message: str, *, values: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.values = dict(values)


class RouteError(FanfoldError):
    """A route has no path for `label`; `known` are the labels it has."""

    def __init__(self, message: str, *, label: Any, known: tuple[str, ...]) -> None:
        super().__init__(message)
        self.label = label
        self.known = known


class GateError(FanfoldError):
    """An answer did not pass its gate; `value` is the last one, `reasons` what the check said, try by try."""

    def __init__(self, message: str, *, value: Any, reasons: tuple[str, ...]) -> None:
        super().__init__(message)
        self.value = value
        self.reasons = reasons


class ScopeEnded(FanfoldError):
    """A call was made under a step that has already ended; nothing was sent."""
