"""The record of a finished run: what came out, how it came about, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from fanfold.core.numbers import counted
from fanfold.core.records import Call, Cost, Event, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fanfold.runs.state import RunState

Out_co = TypeVar("Out_co", covariant=True)


class Saved(msgspec.Struct, frozen=True):
    """Calls that were planned and not finished because the answer was there before.

    `unsent` never reached the wire and cost nothing; `cancelled` were under way, and a provider may bill them.
    """

    unsent: int = 0
    cancelled: int = 0

    @property
    def calls(self) -> int:
        """Both together."""
        return self.unsent + self.cancelled

    def __bool__(self) -> bool:
        raise TypeError("Saved is a record, not a truth value: compare .calls")


@dataclass(frozen=True, slots=True)
class Run(Generic[Out_co]):
    """One execution of a step.

    `output` is the step's plain value and `detail` the record of how it came about (a `VoteResult`, a
    `Sections`, …; None for steps that have none). `wall` is the seconds it took. Of a run that failed, which
    an error carries in its `.run`, `error` is that error and `output` is None.
    """

    name: str
    output: Out_co
    detail: Any
    wall: float
    calls: tuple[Call, ...] = field(repr=False)
    events: tuple[Event, ...] = field(repr=False)
    error: BaseException | None = None

    def __bool__(self) -> bool:
        raise TypeError("a Run is a record, not a truth value: look at .output")

    @property
    def usage(self) -> Usage:
        """Tokens of all calls that told theirs."""
        return sum((call.usage for call in self.calls if call.usage is not None), Usage())

    @property
    def cost(self) -> Cost:
        """List price of all calls; a range while a cancelled call may or may not have been billed.

        Replies that a journal gave again count with what they cost then; `paid` leaves them out.
        """
        return sum((call.cost for call in self.calls), Cost())

    @property
    def paid(self) -> Cost:
        """List price of the calls that were made now, and not found in a journal."""
        return sum((call.cost for call in self.calls if not call.replayed), Cost())

    @property
    def sequential(self) -> float:
        """Seconds the same calls would have taken one after another (the sum of their times on the wire)."""
        return sum(call.seconds for call in self.calls)

    @property
    def times_one_call(self) -> int:
        """The N in "N calls cost N times as much": how many were sent, cancelled ones in full."""
        return sum(call.sent is not None for call in self.calls)

    @property
    def saved(self) -> Saved:
        """Calls that an early decision made unnecessary; of a run that failed, none."""
        if self.error is not None:
            return Saved()
        unlaunched = sum(
            event.value["branches"] - event.value["launched"]
            for event in self.events
            if event.kind == "fan.ended" and event.value["why"] == "enough"
        )
        unsent = sum(call.state == "unsent" for call in self.calls)
        return Saved(unlaunched + unsent, sum(call.state == "cancelled" for call in self.calls))

    @property
    def made_up(self) -> bool:
        """Whether any answer in it was invented by a fake model."""
        return any(call.made_up for call in self.calls)

    def timeline(self, path: str | Path) -> Path:
        """Write the picture of this run to `path`, and give that path.

        A path in ``.html`` gets a page for any browser: one file that needs no network, a waterfall of the calls with
        their waits, sends, hedges, cancellations and costs. One in ``.json`` gets a trace for Perfetto. Neither holds a
        prompt, a reply or an output. Raises `UsageError` for another suffix, and `OSError` where the file cannot be
        written. A run that failed has one, too: that of its error's `.run`.
        """
        from fanfold.runs.picture import draw  # most runs are never drawn

        return draw(self, path)

    def summary(self) -> str:
        """One line for people: calls, tokens, cost, time."""
        made = sum(call.sent is not None for call in self.calls)
        parts = [counted(made, "call")]
        found = sum(call.replayed for call in self.calls)
        if found:
            parts.append(f"{found} from the journal")
        if self.saved.calls:
            parts.append(f"{self.saved.calls} saved")
        parts.append(f"{self.usage.input_tokens} + {self.usage.output_tokens} tokens")
        now = f" ({self.paid} of it now)" if found else ""
        parts.append(money(self, now))
        parts.append(f"× {self.times_one_call} of one call")
        parts.append(f"{self.wall:.2f} s ({self.sequential:.2f} s one after another)")
        return ", ".join(parts)


def may_cost(call: Call) -> bool:
    """Whether a call may have cost something; one that was cut off at a fake model did not, without a reply."""
    return not call.made_up and call.cost.at_most != 0


def money(run: Run[Any], now: str = "") -> str:
    """What a run cost, in words; `now` says how much of it now. What a fake model made up was not paid."""
    if run.made_up and not any(may_cost(call) for call in run.calls):
        return "made up, nothing was paid"
    return f"cost {run.cost}{now}{' + made up' * run.made_up}"


def finished(state: RunState, wall: float, output: Any, detail: Any, error: BaseException | None) -> Run[Any]:
    """The record of the whole of `state`."""
    return Run(state.name, output, detail, wall, tuple(state.calls), tuple(state.events), error)


def ended(state: RunState, output: Any) -> Run[Any]:
    """The record of the run of `state`, which ended well."""
    return finished(state, state.wall, output, state.detail, None)


def part(
    name: str, events: Sequence[Event], *, wall: float, output: Any, detail: Any, error: BaseException | None
) -> Run[Any]:
    """The record of the step `name` that ran inside another run: its own calls and events only."""
    calls = [event.call for event in events if event.kind == "call.ended" and event.call is not None]
    return Run(name, output, detail, wall, tuple(calls), tuple(events), error)
