"""The timeline of a run, as data: a tree of rows by place, the calls under them, and what they did when.

Everything in it comes from the run's records and events. It holds names, times, tokens and money, never a prompt, a
reply or an output: of an error that may quote one, only the type is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fanfold.core.numbers import counted
from fanfold.core.records import Call, Cost, Usage
from fanfold.runs.phases import FINAL, Phase, sends, stopped
from fanfold.runs.places import Fanned, Node, Span, Tree, ending, grow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanfold.core.records import Attempt
    from fanfold.runs.run import Run

TELLING = frozenset({"AccessError", "BillingError", "ConnectError", "StatusError", "StepTimeout"})
"""Errors whose message says what a server or a clock said; that of any other may quote a reply."""

LONGEST = 300
"""Characters of an error that are shown."""

State = Literal["ok", "error", "cancelled", "unsent", "late", "held", "unfinished"]


class Send(msgspec.Struct, frozen=True, omit_defaults=True):
    """One send of a call: its phases, and how it ended; `sent` is None where it never went out."""

    state: State
    phases: tuple[Phase, ...]
    cost: str
    sent: float | None = None
    first: float | None = None
    ended: float = 0.0
    hedge: bool = False
    status: int | None = None
    error: str | None = None


class Bar(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call as it is drawn. `late` says that it was answered after the fan around it had its answer."""

    number: int
    row: int
    model: str
    state: State
    queued: float
    ended: float
    cost: str
    sends: tuple[Send, ...]
    sent: float | None = None
    first: float | None = None
    tokens: tuple[int, int, int, int, int] | None = None
    error: str | None = None
    made_up: bool = False
    late: bool = False


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the picture: a call, or a place in the run with all that happened under it.

    `parent` is the number of the row around it (-1: none). Where a place holds just one call, both share a row, and
    `bar` is that call's number in the list of bars (-1: none). `calls`, `tokens`, `cost` are of all that is under it.
    """

    name: str
    place: str
    kind: str
    parent: int
    depth: int
    state: State
    start: float
    end: float
    calls: int
    tokens: int
    cost: str
    bar: int = -1
    error: str | None = None
    spans: tuple[Span, ...] = ()
    fans: tuple[Fanned, ...] = ()


class Timeline(msgspec.Struct, frozen=True):
    """The picture of one run as data; times are seconds since it began, and `end` is when the last thing happened."""

    name: str
    kind: str
    state: State
    error: str | None
    end: float
    summary: str
    figures: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    bars: tuple[Bar, ...]


def timeline_of(run: Run[Any]) -> Timeline:
    """The timeline of a finished run, or of one that failed or was interrupted."""
    origin = run.events[0].at if run.events and run.events[0].kind != "run.started" else 0.0
    end = max([origin + run.wall, *(event.at for event in run.events), *(call.ended for call in run.calls)])
    calls = [stopped(call, end) for call in _calls(run)]
    tree = grow(run.name, run.events, calls)
    rows, bars = _Drawing(tree, calls, origin).drawn()
    return Timeline(
        clean(run.name),
        tree.root.kind,
        ending(run.error),
        None if run.error is None else type(run.error).__name__,
        end - origin,
        clean(run.summary()),
        tuple(_figures(run, calls)),
        tuple(_notes(run, calls)),
        rows,
        bars,
    )


def _calls(run: Run[Any]) -> list[Call]:
    """The calls of a run by number; of one that never ended, the last that was said of it."""
    found = {event.call.number: event.call for event in run.events if event.call is not None}
    found.update((call.number, call) for call in run.calls)
    return [found[number] for number in sorted(found)]


class _Drawing:
    """Rows and bars of one tree, in the order in which they are shown: every place before what is under it."""

    def __init__(self, tree: Tree, calls: Sequence[Call], origin: float) -> None:
        self.tree = tree
        self.calls = calls
        self.origin = origin
        self.rows: list[Row] = []
        self.bars: list[Bar] = []

    def drawn(self) -> tuple[tuple[Row, ...], tuple[Bar, ...]]:
        """All of it."""
        waiting: list[tuple[Node | Call, int, int, bool]] = [(self.tree.root, -1, 0, False)]
        while waiting:
            this, parent, depth, late = waiting.pop()
            number = len(self.rows)
            if isinstance(this, Call):
                self._call_row(this, None, parent, depth, late=late)
                continue
            late = late or this.state == "late"
            if this.alone is not None:
                self._call_row(this.alone, this, parent, depth, late=late)
                continue
            self.rows.append(self._place_row(this, parent, depth))
            waiting += [(under, number, depth + 1, late) for under in reversed(this.under())]
        return tuple(self.rows), tuple(self.bars)

    def _place_row(self, node: Node, parent: int, depth: int) -> Row:
        return Row(
            clean(node.name),
            clean(node.place),
            node.kind,
            parent,
            depth,
            node.state,
            self._at(node.start),
            self._at(node.end),
            node.calls_below,
            node.tokens,
            paid(node.cost, made_up=node.made_up and node.calls_below > 0),
            error=node.error,
            spans=tuple(span.moved(-self.origin) for span in node.spans),
            fans=tuple(fan.moved(-self.origin) for fan in node.fans),
        )

    def _call_row(self, call: Call, node: Node | None, parent: int, depth: int, *, late: bool) -> None:
        """The row of one call; `node` is the place that holds nothing else, and may have ended in another way."""
        bar = self._bar(call, len(self.rows), late=late)
        state = bar.state if node is None or node.state == "ok" or bar.state != "ok" else node.state
        self.rows.append(
            Row(
                f"call {call.number}" if node is None else clean(node.name),
                clean(call.place),
                "call" if node is None else node.kind,
                parent,
                depth,
                state,
                bar.queued,
                bar.ended,
                1,
                0 if call.usage is None else call.usage.total_tokens,
                bar.cost,
                bar=len(self.bars),
                error=bar.error if node is None or bar.error else node.error,
            )
        )
        self.bars.append(bar)

    def _bar(self, call: Call, row: int, *, late: bool) -> Bar:
        usage = call.usage
        return Bar(
            call.number,
            row,
            clean(call.model),
            _state(call.state),
            self._at(call.queued),
            self._at(call.ended),
            paid(call.cost, made_up=call.made_up),
            tuple(self._send(attempt, spent, call) for attempt, spent in sends(call)),
            self._maybe(call.sent),
            self._maybe(call.first),
            None if usage is None else _counts(usage),
            shown(call.error),
            call.made_up,
            late,
        )

    def _send(self, attempt: Attempt, spent: Sequence[Phase], call: Call) -> Send:
        return Send(
            _state(attempt.state),
            tuple(Phase(one.kind, self._at(one.start), self._at(one.end)) for one in spent),
            paid(attempt.cost, made_up=call.made_up),
            self._maybe(attempt.sent),
            self._maybe(attempt.first),
            self._at(attempt.ended),
            attempt.hedge,
            attempt.status,
            shown(attempt.error),
        )

    def _at(self, moment: float) -> float:
        return round(moment - self.origin, 6)

    def _maybe(self, moment: float | None) -> float | None:
        return None if moment is None else self._at(moment)


def _state(state: str) -> State:
    known: dict[str, State] = {"ok": "ok", "error": "error", "cancelled": "cancelled", "unsent": "unsent"}
    return known[state] if state in FINAL else "unfinished"


def _counts(usage: Usage) -> tuple[int, int, int, int, int]:
    sent, made = usage.input_tokens, usage.output_tokens
    return sent, made, usage.cached_tokens, usage.reasoning_tokens, usage.cache_write_tokens


def paid(cost: Cost, *, made_up: bool) -> str:
    """What something cost, in words."""
    return "made up, nothing was paid" if made_up else str(cost)


def shown(error: str | None) -> str | None:
    """A call's error as the picture may show it: the message only where it cannot be a reply's text."""
    if error is None:
        return None
    kind, _, _ = error.partition(":")
    return clean(error[:LONGEST] if kind in TELLING else kind)


def clean(text: str) -> str:
    """Text that any file can hold: half of a surrogate pair is written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _figures(run: Run[Any], calls: Sequence[Call]) -> Iterator[tuple[str, str]]:
    """The run in numbers, each with its name."""
    sent = sum(call.sent is not None for call in calls)
    tries = [attempt for call in calls for attempt in call.attempts if attempt.sent is not None]
    yield "wall time", f"{run.wall:,.2f} s"
    yield "one after another", f"{run.sequential:,.2f} s"
    yield "calls", f"{sent:,}" + (f", {run.saved.calls:,} saved" if run.saved.calls else "")
    if len(tries) > sent:
        hedges = sum(attempt.hedge for attempt in tries)
        yield "sends", f"{len(tries):,}" + (f", {hedges:,} hedge{'s' * (hedges != 1)}" if hedges else "")
    yield "tokens in + out", f"{run.usage.input_tokens:,} + {run.usage.output_tokens:,}"
    every = all(call.made_up for call in calls)
    yield "cost", paid(run.cost, made_up=run.made_up and every) + (" + made up" if run.made_up and not every else "")


def _notes(run: Run[Any], calls: Sequence[Call]) -> Iterator[str]:
    """What one has to know to read the figures: what is made up, what is a range, what is not known."""
    real = [call for call in calls if not call.made_up]
    if run.made_up:
        some = "Some answers are" if len(real) < len(calls) and real else "The answers are"
        yield f"{some} made up by a fake model: nothing was paid for them, and their times mean little."
    cut = sum(call.cost.usd is None and call.cost.at_most is not None for call in real)
    if cut:
        have = counted(cut, "call has", "calls have")
        yield f"The cost is a range: {have} a send that was cut off under way, and may be billed or not."
    unknown = sum(call.cost.at_most is None for call in real)
    if unknown:
        yield f"The cost is not known whole: {_calls_were(unknown)} without a known price or usage."
    silent = sum(call.usage is None and call.state == "ok" for call in calls)
    if silent:
        yield f"The tokens are not known whole: {_calls_were(silent)} answered without a word on usage."
    open_ = sum(call.state not in FINAL for call in calls)
    if open_:
        yield f"{_calls_were(open_)} still under way when the run ended.".capitalize()


def _calls_were(count: int) -> str:
    return counted(count, "call was", "calls were")
