"""Where in a run the code stands: one scope per running step or branch, found through a context variable.

A scope knows its place, whether its text is the pattern's text, which sample a request under it is, and
whether what it says is held back. Nothing may be called under a scope that has ended.
"""

from __future__ import annotations

from contextvars import ContextVar
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from fanfold.core.records import Branch, Call, Draw
from fanfold.errors import ScopeEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanfold.core.journaling import Book

CONTENT = frozenset({"call.text", "branch.ended", "branch.late", "step.ended"})
"""The kinds of event that carry text, outputs or error texts; times and usage pass a held branch."""


def place_in(place: str, name: str) -> str:
    """The place of what is called `name` inside `place`; a slash in a name is written ``%2F``."""
    return f"{place}/{segment(name)}"


def segment(name: str) -> str:
    """A name as one part of a place."""
    return name.replace("/", "%2F") if "/" in name else name


class Stream(Protocol):
    """A run's one event stream, as the ground sees it."""

    def emit(
        self, at: float, kind: str, place: str, value: Any, error: BaseException | None, call: Call | None
    ) -> None:
        """Append one event; `at` is in the loop's time."""
        ...


class Hold:
    """What a held branch would have said, kept until its fold releases it."""

    __slots__ = ("kept", "open", "outer", "stream")

    def __init__(self, stream: Stream, outer: Hold | None) -> None:
        self.stream = stream
        self.outer = outer
        self.open = False
        self.kept: list[tuple[Any, ...]] = []

    @property
    def watched(self) -> bool:
        """Whether somebody inside the run reads the text as it comes."""
        return self.outer is not None and self.outer.watched

    @property
    def closed(self) -> bool:
        """Whether what is said here stays inside for now."""
        return not self.open or (self.outer is not None and self.outer.closed)

    def keep(self, event: tuple[Any, ...]) -> None:
        """Keep one event, or pass it outwards once released."""
        if not self.open:
            self.kept.append(event)
        elif self.outer is not None:
            self.outer.keep(event)
        else:
            self.stream.emit(*event)

    def release(self) -> None:
        """Let everything out, in the order in which it happened, and hold no more."""
        self.open = True
        kept, self.kept = self.kept, []
        for event in kept:
            self.keep(event)


class Scope:
    """One running step or branch.

    `run` is the run it belongs to; `outer` the scope around it, and `around` that of another run in which its own
    began; `detail` and `said` are what the step leaves beside its value: its record, and the text of the reply that its
    value was read from; `started` holds what it started and has to see the end of (None where it is nothing that
    starts). `purse` pays for the calls under it (None: no budget), and `deadline` (in the loop's time) is when the
    earliest timeout around it ends. `book` is what the journal holds of the run (None: there is none), and `settled`
    says that all that happens here happened before. `counted` is what a branch has counted, until it is folded.
    `held_up` is the last failure, in words, that a call cut off under it was waiting out, else what one waited for;
    whose timeout cuts calls off forgets it first, and names it then.
    """

    __slots__ = (
        "_branch",
        "around",
        "book",
        "counted",
        "deadline",
        "detail",
        "ended",
        "failed",
        "held_up",
        "hold",
        "level",
        "ordinal",
        "outer",
        "place",
        "purse",
        "run",
        "said",
        "settled",
        "started",
        "stride",
        "tail",
    )

    def __init__(self, run: Any, place: str, *, tail: bool = True) -> None:
        self.run = run
        self.place = place
        self.outer: Scope | None = None
        self.around: Scope | None = None
        self._branch: Scope | None = None
        self.ordinal = 0
        self.stride = 1
        self.level = 0
        self.tail = tail
        self.ended = False
        self.hold: Hold | None = None
        self.detail: Any = None
        self.said: str | None = None
        self.started: list[Any] | None = None
        self.purse: Any = None
        self.deadline: float | None = None
        self.book: Book | None = None
        self.settled = False
        self.counted: list[tuple[str, bytes]] | None = None
        self.held_up: str | None = None
        self.failed = False

    @property
    def branch(self) -> Scope:
        """The nearest scope that a fan launched, or the root: its place names the samples of identical requests."""
        # A branch does not keep itself: that circle would leave each run to the garbage collector.
        return self._branch or self

    def inside(self, name: str, *, tail: bool) -> Scope:
        """The scope of a step that runs here, as a part of the same branch."""
        self.check()
        child = Scope(self.run, place_in(self.place, name), tail=tail and self.tail)
        child.outer = self
        child._branch = self.branch
        child.ordinal = self.ordinal
        child.stride = self.stride
        child.level = self.level
        child.hold = self.hold
        child.purse = self.purse
        child.deadline = self.deadline
        child.book = self.book
        child.settled = self.settled
        return child

    def arm(self, branch: Branch[Any]) -> Scope:
        """The scope of a branch that a fan launches from here."""
        child = Scope(self.run, place_in(self.place, branch.name), tail=branch.tail and self.tail)
        child.outer = self
        child.ordinal = self.ordinal * branch.repeats + branch.ordinal
        child.stride = self.stride * branch.repeats
        child.level = self.level + 1
        child.hold = Hold(self.run, self.hold) if branch.held else self.hold
        child.purse = self.purse
        child.deadline = self.deadline
        child.book = self.book
        child.settled = self.settled
        child.counted = None if self.book is None else []
        return child

    def until(self, moment: float | None) -> None:
        """Everything under it has to end by `moment`, if not before."""
        if moment is not None and (self.deadline is None or moment < self.deadline):
            self.deadline = moment

    @property
    def end(self) -> float | None:
        """Its `deadline`, or an earlier one of a step in which its run began, for as long as that step goes on."""
        ends: list[float | None] = [self.deadline]
        scope: Scope | None = self
        while scope is not None:
            around = scope.around
            if around is not None and not around.ended:
                ends.append(around.deadline)
            scope = scope.outer or around
        return min((end for end in ends if end is not None), default=None)

    def hold_up(self, cause: str, *, failed: bool = True) -> None:
        """A call is cut off here that was waiting out a failure, or for a limit: let all around it know which.

        A failure goes before a limit, for who waits it out keeps others from what they wait for. What is held back
        around the run of another session is told of no failure's text.
        """
        scope: Scope | None = self
        while scope is not None:
            if failed or not scope.failed:
                scope.held_up, scope.failed = cause, failed
            if failed and scope.around is not None and scope.around.held:
                cause = "a failure in the run of another session"
            scope = scope.outer or scope.around

    def forget(self) -> None:
        """Time is over here: what calls were held up by is told from now on."""
        self.held_up, self.failed = None, False

    @property
    def why_late(self) -> str:
        """What to add to the words of a timeout."""
        return "" if self.held_up is None else f"; its calls were held up by {self.held_up}"

    def unsettle(self) -> None:
        """Something happens here that did not happen before: so it is with all around it."""
        scope: Scope | None = self
        while scope is not None:
            scope.settled = False
            scope = scope.outer

    @property
    def held(self) -> bool:
        """Whether what is said here stays inside for now."""
        return self.hold is not None and self.hold.closed

    def check(self) -> None:
        """Raise `ScopeEnded` if this scope, or one around it, is over."""
        scope: Scope | None = self
        while scope is not None:
            if scope.ended:
                raise ScopeEnded(
                    f"a call was made under {scope.place!r} after it had ended; await everything a step starts "
                    "before it returns (gather() does)"
                )
            scope = scope.outer

    def draw(self, key: bytes) -> Draw:
        """Name the next sample of the request with this key.

        The run keeps the count, by place: a pattern that runs a second time in the same place draws new samples.
        """
        branch = self.branch
        place = branch.place
        if self.book is None or branch.outer is None:
            # No fan leaves it out, so no other process need know its name: Python's own hash takes a tenth of the time.
            nth = self._next(hash((place, key)))
        else:
            nth = self.count(place, blake2b(key, digest_size=16).digest())
        return Draw(place, nth, self.ordinal + nth * self.stride)

    def count(self, place: str, what: bytes) -> int:
        """How often this was counted at that place before, in a journaled run.

        Every branch around remembers it: one that is cut off has counted all the same, and a run that leaves it out,
        because it was not folded, has to count on from there.
        """
        for counted in self._remembering():
            counted.append((place, what))
        return self._next((place, what))

    def _next(self, name: tuple[str, bytes] | int) -> int:
        draws = self.run.draws
        nth: int = draws.get(name, 0)
        draws[name] = nth + 1
        return nth

    def uncount(self, place: str, what: bytes) -> None:
        """Take back one count of a journaled run: what was left out is done after all, and counts by itself."""
        self.run.draws[place, what] -= 1
        for counted in self._remembering():
            counted.remove((place, what))

    def _remembering(self) -> Iterator[list[tuple[str, bytes]]]:
        """What the branches around have counted, each for itself."""
        branch: Scope | None = self.branch
        while branch is not None and branch.book is not None:
            if branch.counted is not None:
                yield branch.counted
            branch = None if branch.outer is None else branch.outer.branch

    def emit(
        self,
        kind: str,
        value: Any = None,
        error: BaseException | None = None,
        call: Call | None = None,
        *,
        at: float | None = None,
    ) -> None:
        """Say that something happened here, now (or `at`, where the time was taken already)."""
        when = self.run.clock.time() if at is None else at
        if self.hold is not None and kind in CONTENT:
            self.hold.keep((when, kind, self.place, value, error, call))
        else:
            self.run.emit(when, kind, self.place, value, error, call)


_current: ContextVar[Scope | None] = ContextVar("fanfold_scope", default=None)


def current() -> Scope | None:
    """The scope this code runs under, or None outside every run."""
    return _current.get()


def enter(scope: Scope | None) -> Scope | None:
    """Make `scope` the current one; gives the one that was, to go back to by another `enter`."""
    before = _current.get()
    _current.set(scope)
    return before
