"""Folds that keep what comes: every branch by name, or a number of samples; and what is missing, with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import msgspec

from fanfold.core.numbers import counted, is_count
from fanfold.core.records import ENOUGH, WAIT, Arrival, Go, Why
from fanfold.errors import BranchError, NotStarted, QuorumError, StepTimeout, UsageError, described

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

T = TypeVar("T")

OnError = Literal["fail", "skip"]


class Collected(msgspec.Struct, Generic[T], frozen=True):
    """The values by branch, in the order of the branches, and why the others are missing."""

    values: dict[str, T]
    missing: dict[str, str]


class Collect(Generic[T]):
    """Keep every branch's value.

    With ``on_error="fail"`` the first error ends the fan with a `BranchError`. With ``"skip"``, or a `quorum`, a
    failed branch is missing; fewer than `quorum` (default 1) values are a `QuorumError`, raised as soon as it is
    certain. Under each policy a branch that was not started, for want of money, is missing.
    `timeout` is only for the words of the `StepTimeout` that a fan's own timeout makes under ``"fail"``.
    """

    def __init__(self, on_error: OnError = "fail", quorum: int | None = None, timeout: float | None = None) -> None:
        self.skips = check_policy(on_error, quorum)
        self.quorum = 1 if quorum is None else quorum
        self.timeout = timeout
        self.names: Sequence[str] = ()
        self.values: dict[int, T] = {}
        self.errors: dict[int, BaseException] = {}
        self.unstarted: dict[int, NotStarted] = {}

    def begin(self, names: Sequence[str]) -> Go:
        """Launch all."""
        self.names = names
        check_quorum(self.quorum if self.skips else None, len(names))
        return Go(more=len(names))

    def add(self, arrival: Arrival[T], flying: int) -> Go:
        """Keep it; enough once an error decides the outcome."""
        del flying
        if arrival.error is None:
            self.values[arrival.index] = arrival.value  # type: ignore[assignment]  # a value where no error is
            return WAIT
        if isinstance(arrival.error, NotStarted):
            self.unstarted[arrival.index] = arrival.error
        else:
            self.errors[arrival.index] = arrival.error
        out_of_reach = len(self.names) - len(self.errors) - len(self.unstarted) < self.quorum
        failed = not self.skips and bool(self.errors)
        return ENOUGH if failed or (self.skips and out_of_reach) else WAIT

    def end(self, why: Why) -> Collected[T]:
        """The values and what is missing, or the error that the policy asks for."""
        values = {self.names[index]: self.values[index] for index in sorted(self.values)}
        if self.errors and not self.skips:
            index, error = next(iter(self.errors.items()))
            raise BranchError(self.names[index], error, values)
        if self.unstarted and len(self.unstarted) == len(self.names):
            raise next(iter(self.unstarted.values())).refused
        missing = self._missing(why)
        if why == "timeout" and missing and not self.skips:
            raise StepTimeout(
                f"no answer from {', '.join(missing)} within {self.timeout:g} s (finished and kept in .finished: "
                f"{', '.join(values) or 'none'}; to go on with what is there, give quorum=)",
                seconds=self.timeout or 0.0,
                finished=values,
            )
        if self.skips and len(values) < self.quorum:
            raise QuorumError(
                f"{len(values)} of {len(self.names)} branches succeeded and quorum={self.quorum}: "
                + "; ".join(f"{name}: {reason}" for name, reason in missing.items()),
                finished=values,
                missing=missing,
            ) from _first(self.errors)
        return Collected(values, missing)

    def _missing(self, why: Why) -> dict[str, str]:
        reasons = {index: described(error) for index, error in self.errors.items()}
        reasons |= {index: str(error) for index, error in self.unstarted.items()}
        pending = _pending(why)
        return {name: reasons.get(index, pending) for index, name in enumerate(self.names) if index not in self.values}


class Samples(Generic[T]):
    """Keep `n` answers in the order of their branches; with `key`, only such as differ by it.

    An answer that is there already is replaced by one more branch, as long as the fan has one left. Failed
    branches are treated as by `Collect`; `quorum` counts the answers kept.
    """

    def __init__(
        self,
        n: int,
        *,
        key: Callable[[T], Hashable] | None = None,
        on_error: OnError = "skip",
        quorum: int | None = None,
    ) -> None:
        self.n = n
        self.key = key
        self.skips = check_policy(on_error, quorum)
        self.quorum = 1 if quorum is None else quorum
        self.names: Sequence[str] = ()
        self.launched = 0
        self.kept: dict[Hashable, tuple[int, T]] = {}
        self.errors: dict[int, BaseException] = {}
        self.answered: set[int] = set()

    def begin(self, names: Sequence[str]) -> Go:
        """Launch the first n."""
        self.names = names
        self.launched = min(self.n, len(names))
        check_quorum(self.quorum, self.n)
        return Go(more=self.launched)

    def add(self, arrival: Arrival[T], flying: int) -> Go:
        """Keep it if it is new, else ask for one more; enough when n are there."""
        del flying
        if arrival.error is not None:
            self.errors[arrival.index] = arrival.error
            return WAIT if self.skips or isinstance(arrival.error, NotStarted) else ENOUGH
        value: T = arrival.value  # type: ignore[assignment]  # a value where no error is
        self.answered.add(arrival.index)
        key = arrival.index if self.key is None else _hashable(self.key(value))
        known = self.kept.get(key)
        if known is None or arrival.index < known[0]:
            self.kept[key] = (arrival.index, value)
        if known is None:
            return ENOUGH if len(self.kept) == self.n else WAIT
        if self.launched == len(self.names):
            return WAIT
        self.launched += 1
        return Go(more=1)

    def end(self, why: Why) -> list[T]:
        """The answers kept, by branch order."""
        values = {self.names[index]: value for index, value in sorted(self.kept.values(), key=lambda kept: kept[0])}
        failed = [(index, error) for index, error in self.errors.items() if not isinstance(error, NotStarted)]
        if failed and not self.skips:
            index, error = failed[0]
            raise BranchError(self.names[index], error, values)
        if self.errors and not failed and not values:
            raise next(error.refused for error in self.errors.values() if isinstance(error, NotStarted))
        if len(values) < self.quorum:
            reasons = self._missing(why)
            told = [f"{name}: {reason}" for name, reason in reasons.items()]
            repeated = len(self.answered) - len(self.kept)
            told += [f"{repeated} of {len(self.answered)} answers repeated another"] if repeated else []
            raise QuorumError(
                f"{len(values)} of {self.n} samples succeeded and quorum={self.quorum}: {'; '.join(told)}",
                finished=values,
                missing=reasons,
            ) from _first(self.errors)
        return list(values.values())

    def _missing(self, why: Why) -> dict[str, str]:
        """Why those that were asked and gave no answer did not."""
        out = set(range(self.launched)) - self.answered - set(self.errors)
        reasons = {index: _told(error) for index, error in self.errors.items()} | dict.fromkeys(out, _pending(why))
        return {self.names[index]: reasons[index] for index in sorted(reasons)}


def _first(errors: Mapping[int, BaseException]) -> BaseException | None:
    """The first error in the order of the branches: like the rest, it must not tell who came first."""
    return errors[min(errors)] if errors else None


def _pending(why: Why) -> str:
    return "no answer within the timeout" if why == "timeout" else "cancelled before it answered"


def _hashable(key: Hashable) -> Hashable:
    """The key; raises where answers cannot be told apart by it."""
    try:
        hash(key)
    except TypeError:
        raise UsageError(f"distinct= gave {key!r:.60}, which is no key: give a text, a number or a tuple") from None
    return key


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, NotStarted) else described(error)


def check_policy(on_error: str, quorum: int | None) -> bool:
    """Whether failures are skipped: said so, or implied by a quorum. Refuses what is no policy."""
    if on_error not in {"fail", "skip"}:
        raise UsageError(f"on_error={on_error!r}: it is 'fail' or 'skip'")
    if quorum is not None and not is_count(quorum):
        raise UsageError(f"quorum={quorum!r}: it is how many branches have to succeed, a whole number from 1 up")
    return on_error == "skip" or quorum is not None


def check_quorum(quorum: int | None, n: int) -> None:
    """Refuse a quorum that the number of branches cannot reach."""
    if quorum is not None and quorum > n:
        raise UsageError(f"quorum={quorum} cannot be reached by {counted(n, 'branch', 'branches')}")
