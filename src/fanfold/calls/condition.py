"""What a lane knows of its server, and so when a send may leave: what comes back tells each of its parts.

A send leaves when all of these allow: the server is there (`health`), its key is not paused (`account`), it bears one
more (`window`), the way back from a pause or an outage is not overrun (`ramp`), and its limits: the `allowances`, or a
`guess` where nobody told them. The slot of the session is not its business.
"""

from __future__ import annotations

from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING

from fanfold.calls.allowance import Need
from fanfold.calls.appetite import Appetite
from fanfold.calls.guess import Guess
from fanfold.calls.health import Health
from fanfold.calls.pause import AHEAD
from fanfold.calls.pulse import Pulse
from fanfold.calls.ramp import Ramp
from fanfold.calls.retrying import LONGEST
from fanfold.calls.window import Window
from fanfold.core.clock import chance
from fanfold.core.numbers import counted
from fanfold.errors import CallError, ConnectError, StatusError

if TYPE_CHECKING:
    from fanfold.calls.allowance import Allowance, Taken
    from fanfold.calls.passage import Sending
    from fanfold.calls.pause import Account
    from fanfold.core.records import Limits, Request

AT_ONCE = 1e-6
"""Seconds of a wait that are none: what rounding leaves over."""

AGAIN = 10.0
"""Seconds within which a second refusal says that a known limit is wrong."""

NOBODY = 5.0
"""Seconds of the usual patience where nobody ever answered: more likely the address is wrong than the server away."""

STRANGER = 20.0
"""The same with a server that speaks, but has never answered well: it may be about to start, or be gone for good."""

A_WINDOW_MORE = 30.0
"""Seconds more of it where all is refused as too much, and no time told: the window of a minute may have to pass."""

QUIET = 10.0
"""Seconds without a try after which it is not known any more that a server fails all: the next to try has to tell."""

NOTHING = Need()


class Turn:
    """What a send holds while it is out."""

    __slots__ = ("at", "probe", "taken")

    def __init__(self, at: float, taken: list[tuple[Allowance, Taken]] | None, *, probe: bool) -> None:
        self.at = at
        self.taken = taken
        self.probe = probe


class Condition:
    """The state of one model under one key; every moment is told to it, and it waits for nothing."""

    def __init__(
        self,
        label: str,
        limit: int,
        account: Account,
        allowances: list[Allowance],
        patience: float | None,
        *,
        by_ceiling: bool,
        steadfast: bool = False,
    ) -> None:
        self.label = label
        self.account = account
        self.allowances = allowances
        """Its own first, then that of its provider."""
        self.patience = inf if patience is None else patience
        self.steadfast = steadfast
        """Whether the patience holds for a server that was never seen well, too: the user named it."""
        self.appetite = Appetite(by_ceiling=by_ceiling)
        self.health = Health()
        self.window = Window(limit)
        self.pulse = Pulse()
        self.guess = Guess(self.pulse)
        self.ramp = Ramp()
        self.in_use = self.sends = self.refusals = self.failures = self.unsent = 0
        self.why = ""
        """The reason for the last change, in words."""
        self._there = False
        self._overdue = False
        self._refused_at = -inf
        self._failed_at = -inf
        self._anew: float | None = None
        """When one left for a server that was down and that nobody had tried for long; None once it is heard of."""
        self._missed = 0
        """What `unsent` stood at when the failures began."""
        self._usual: float | None = None
        account.lanes.append(self)

    # -- before a send ---------------------------------------------------------------------------------------------

    def need(self, request: Request) -> Need:
        """What it will take; nothing is estimated where nothing asks for it."""
        for allowance in self.allowances:
            if allowance.tokens:
                return self.appetite.estimate(request)
        return NOTHING

    def lack(self, need: Need, at: float) -> tuple[float, bool]:
        """Seconds until a send may leave, but for a slot (endless: until one comes back); and whether for its rate."""
        # It is asked several times a call, so what is off, as all is on a calm lane, is seen without asking it.
        if self.health.since is not None:
            wait = self.health.wait(at)
        elif not self.window.open and self.in_use >= self.window.room:
            wait = inf  # one that is open lets as many out as there are slots, of which the turnstile knows
        else:
            wait = self.ramp.wait(at) if self.ramp.active else 0.0
        rated = self._rated(need, at)
        return (rated, True) if rated > wait else (wait, False)

    def paused(self, at: float) -> bool:
        """Whether its key is: asked of one that was let go and has not left yet, in the measure of who let it go."""
        return self.account.until - at > AT_ONCE

    def obstacle(self, at: float) -> BaseException | None:
        """The failure for which nobody, or not everybody, leaves now."""
        if self.health.down:
            return self.health.error
        return self.account.refusal if self.paused(at) or self.guess.active else None

    def slowest(self, request: Request, at: float) -> str | None:
        """The limit that a send waits longest for, in words; None where it waits for none that is known."""
        need = self.need(request)
        waits = [(allowance.wait(need, at), allowance) for allowance in self.allowances if allowance.buckets]
        return max(waits, key=itemgetter(0))[1].slowest(need, at) if waits else None

    def _rated(self, need: Need, at: float) -> float:
        pause = self.account.wait(at)
        if pause > 0:
            return pause
        if self.guess.pending is not None and self.guess.resume(at, min(known.rate for known in self.allowances)):
            found = f"{self.guess.rate * 60:.3g} requests a minute, by what was refused"
            self.why = f"nobody told the limit: {found}{'; now tried without' * self.guess.loss.trying}"
        wait = self.guess.wait(at)
        if self._overdue:
            return wait  # the server said to come now; whatever else it said must not keep us longer
        for allowance in self.allowances:
            if allowance.buckets:
                wait = max(wait, allowance.wait(need, at))
        return wait

    def take(self, need: Need, at: float) -> Turn:
        """A send leaves."""
        self.in_use += 1
        self.sends += 1
        taken = None
        for allowance in self.allowances:
            if allowance.buckets:
                taken = [*(taken or ()), (allowance, allowance.take(need, at))]
        probe = self.health.since is not None
        if probe and self._untried(at):
            self._anew = at
        self.health.probing = probe
        if self.account.refusing_since is not None and self._unasked(at):
            self.account.refusing_since = None
        self._overdue = False
        self.pulse.count(at)
        self.guess.take(at)
        if self.account.take(at):
            self.guess.hold(at + AHEAD)
        if self.ramp.active:
            self.ramp.take(at, self.window.room, self.pulse.latency)
        return Turn(at, taken, probe=probe)

    def undo(self, turn: Turn) -> None:
        """It was never sent: nothing of it counts."""
        self.in_use -= 1
        self.sends -= 1
        self.pulse.uncount(turn.at)
        self.guess.untake()
        for allowance, taken in turn.taken or ():
            allowance.correct(taken, None)
        if turn.probe:
            self.health.probing = False

    # -- after it --------------------------------------------------------------------------------------------------

    def hear(self, told: Limits, at: float) -> None:
        """The server told of its limits."""
        for news in self.allowances[0].hear(told, at):
            self.why = news

    def judge(self, sending: Sending, turn: Turn, at: float) -> None:
        """A send is over: learn from how it ended."""
        out = self.in_use
        self.in_use -= 1
        if turn.probe:
            self.health.probing = False
        error = sending.error
        if isinstance(error, StatusError) and sending.passage.scope.held:
            error = _unquoted(error)
        if sending.reply is not None:
            self._went_well(sending, turn, out, at)
        elif isinstance(error, StatusError) and error.status == 429:
            self._refused(error, turn, at)
        elif error is not None and is_failure(error):
            self._failed(error, turn, out, at)
        elif isinstance(error, CallError) or _spoke(sending):
            self._answered(turn, at)
        elif turn.probe:
            self.health.unknown(at, chance().random())

    def _went_well(self, sending: Sending, turn: Turn, out: int, at: float) -> None:
        self._answered(turn, at)
        self.window.succeeded(turn.at, out)
        self.pulse.took(at - turn.at)
        if turn.taken is not None and sending.usage is not None:
            needed = self.appetite.learn(sending.passage.request, sending.usage)
            if not self.appetite.by_ceiling:
                for allowance, taken in turn.taken:
                    allowance.correct(taken, needed)

    def _answered(self, turn: Turn, at: float) -> None:
        self.account.accepted(turn.at)
        self.health.known = True
        since = self.health.failing_since
        if since is not None and self.health.alive():
            self.window.close(at)
            self.ramp.begin(at, self._usual)
            self.why = f"the server answers again, after {at - since:.3g} s"

    def _refused(self, error: StatusError, turn: Turn, at: float) -> None:
        """Too many requests: pause all that use the key, and go on slower."""
        self.refusals += 1
        self.account.refusal = error
        self.pulse.uncount(turn.at)
        if self.health.failing_since is not None:
            self._answered(turn, at)
        told = error.retry_after
        news = turn.at > self._refused_at  # no echo of the refusal before
        self._doubt(turn, at, news=news, told=told is not None)
        if told is None and self.guess.loss.trying:
            self.why = "some are refused (429) at whatever rate: the others do not wait for them"
            return
        pause = self.account.refused(turn.at, told, at, chance().random(), self.guess.patience)
        if told is not None:
            self._overdue = True
            for allowance in self.allowances:
                allowance.relent(self.account.until)
        if news:
            self._refused_at = at
            for allowance in self.allowances:
                allowance.calm(at)
            said = "as the server asked" if told is not None else "for it said no time"
            self.why = f"too many requests (429): all calls with this key paused for {pause:.3g} s, {said}"
        if self.account.refusing_since == at:
            self._missed = self.unsent
        for lane in self.account.lanes:
            lane.rest(at)

    def _doubt(self, turn: Turn, at: float, *, news: bool, told: bool) -> None:
        """Guess at a limit where none is known, or what is known is refused twice."""
        known = any(allowance.buckets for allowance in self.allowances)
        if self.guess.active or (news and (not known or at - self._refused_at < AGAIN)):
            self.guess.refused(turn.at, at, told=told)

    def rest(self, at: float) -> None:
        """Its key is paused: what waits until then leaves one by one."""
        if not self.guess.active and not any(allowance.buckets for allowance in self.allowances):
            self.ramp.begin(self.account.until, self.pulse.usual(at))

    def _failed(self, error: BaseException, turn: Turn, out: int, at: float) -> None:
        self.failures += 1
        self._failed_at, self._anew = at, None
        self._there = self._there or isinstance(error, StatusError)
        self.pulse.uncount(turn.at)
        went_down = self.health.failed(error, at, probe=turn.probe, luck=chance().random())
        if self.window.failed(turn.at, out, at):
            self.why = f"{kind_of(error)}: at most {counted(self.window.room, 'call')} at once"
        if went_down:
            self._missed = self.unsent
            self._usual = self.pulse.usual(self.health.failing_since or at)
            self.why = f"the server is down ({kind_of(error)}): one call at a time tries it"

    # -- an outage -------------------------------------------------------------------------------------------------

    def hopeless(self, at: float) -> bool:
        """Whether it has been down for so long that nobody should wait for it."""
        return at >= self.hopeless_at(at) - AT_ONCE

    def hopeless_at(self, at: float) -> float:
        """When that will be, if nothing changes.

        After a time in which nobody tried it is not known: the first to try tells all who came meanwhile. A pause of
        more than a day is not sat out, by who was refused nor by who waits.
        """
        if self.account.until - at > LONGEST:
            return at
        since, more = self.health.failing_since, 0.0
        if since is None or not self.health.down:
            since, more = self.account.refusing_since, A_WINDOW_MORE
            if since is not None and self._unasked(at):
                since = None
        elif self._anew is not None:
            since = self._anew
        elif self._untried(at):
            since = None
        if since is None:
            return inf
        return since + self._patience + (more if self._proven else 0.0)

    def _untried(self, at: float) -> bool:
        return not self.health.probing and at > self._failed_at + QUIET

    def _unasked(self, at: float) -> bool:
        return at > self.account.until + QUIET  # whoever asks and is refused makes the pause longer

    @property
    def _known(self) -> bool:
        """Whether what fails was ever seen well: the server of this model, or a key that is refused, at any of its."""
        lanes = [self] if self.health.down else self.account.lanes
        return any(lane.health.known for lane in lanes)

    @property
    def _proven(self) -> bool:
        return self._known or self.steadfast

    @property
    def _patience(self) -> float:
        if self._proven:
            return self.patience
        return min(self.patience, STRANGER if self._there or self.account.refusal is not None else NOBODY)

    def gone(self, at: float) -> CallError:
        """The error of a call that is not sent, because the server fails all: of the kind of its last failure."""
        paused = self.account.until - at
        if self.account.refusal is not None and paused > LONGEST:
            return self._kept_out(self.account.refusal, paused)
        since = (self.health.failing_since if self.health.down else self.account.refusing_since) or at
        last = self.health.error if self.health.down else self.account.refusal
        always = "" if self._known else " and has never answered well"
        words = (
            f"{last or 'refused'} ({self.label} has failed for {at - since:.0f} s{always}: "
            f"{counted(self.unsent - self._missed, 'call was', 'calls were')} not sent)"
        )
        self.why = f"given up ({kind_of(last)}): it has failed for {at - since:.0f} s{always}; patience= says how long"
        if isinstance(last, StatusError):
            error: CallError = StatusError(words, status=last.status, code=last.code, model=self.label)
        else:
            error = ConnectError(words, model=self.label)
            error.reached = False
        error.__cause__ = last
        return error

    def _kept_out(self, refusal: StatusError, seconds: float) -> CallError:
        """The error of a call that is not sent, because the server asked this key to wait for days."""
        words = f"{refusal} (all calls with this key are to wait for {seconds:.0f} s more, and that is over a day)"
        error = StatusError(words, status=429, code=refusal.code, model=self.label, retry_after=seconds)
        error.__cause__ = refusal
        return error


def is_failure(error: BaseException) -> bool:
    """Whether it says that the server is away or overloaded, rather than that this request is wrong."""
    if isinstance(error, StatusError):
        return error.status >= 500
    return isinstance(error, ConnectError | TimeoutError)


def _spoke(sending: Sending) -> bool:
    return sending.alive_at is not None and sending.sent_at is not None and sending.alive_at > sending.sent_at


def _unquoted(refusal: StatusError) -> StatusError:
    """A refusal without the server's words: these may repeat what is held back, and are told to all who wait."""
    code, wait = refusal.code, refusal.retry_after
    return StatusError(kind_of(refusal), status=refusal.status, code=code, model=refusal.model, retry_after=wait)


def kind_of(error: BaseException | None) -> str:
    """What it is, without its text."""
    status = getattr(error, "status", None)
    return f"status {status}" if status is not None else type(error).__name__
