"""The sends of one call: the first, one more after a failure that it may mend, one beside another that is slow.

Each takes, in this order, its money, its turn in the lane, and the wire. This is the one place that sends again: the
wires below it never do, and a prompt that asks again because it could not read the reply makes another call. So a
call has at most ``Session(attempts=4)`` sends, hedges among them; only a lane whose server is down lets a call try
beyond that, one call at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanfold.calls.hedging import hedged
from fanfold.calls.idle import speaking
from fanfold.calls.retrying import LONGEST, as_fatal, backoff, is_throttle, row_for
from fanfold.calls.spending import leased, settle
from fanfold.core.clock import now
from fanfold.core.records import Reply
from fanfold.errors import CallError, FatalError, ModelError, QueueFull, ReplyError, StreamCut

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from fanfold.calls.budget import Lease
    from fanfold.calls.hedging import Hedge
    from fanfold.calls.passage import Passage, Sending
    from fanfold.core.timeouts import within


async def attempts(passage: Passage, timer: within) -> Reply:
    """Send it until there is a reply, or none can be hoped for; `timer` counts from the first turn on.

    Between two sends the call holds nothing: no slot, no money.
    """
    quota, hedge, spared, before = passage.lane.quota, passage.policy.hedge, 0, 0
    while True:
        try:
            reply = await (once(passage, timer) if hedge is None else _hedged(passage, hedge, timer, spared))
        except CallError as error:
            if await _goes_on(passage, error, spared):
                spared += _sends(passage) - before
            before = _sends(passage)
        else:
            quota.give_back()
            return reply


async def once(passage: Passage, timer: within, *, hedge: bool = False) -> Reply:
    """One send: budget > rate > slot > wire."""
    lane, scope = passage.lane, passage.scope
    sending = passage.begin(hedge=hedge)
    lease: Lease | None = None
    try:
        if scope.purse is not None:
            lease = await leased(sending, scope.purse)
        await lane.enter(sending)
        sending.entered = True
        try:
            if lease is not None:
                await lease.fly()
            scope.check()  # again: the wait for the turn may have outlived it
            lane.check()
            timer.start()
            keeping, idle = passage.keeping, passage.policy.idle_timeout
            if keeping is not None:
                keeping.book.check()  # nothing is sent whose reply could not be kept
            reply = await (lane.model.send(passage.request, sending) if idle is None else _speaking(sending, idle))
            if sending.reply is None:
                _told_late(sending, reply)
            if keeping is not None:
                await keeping.safe()
            return reply
        except BaseException as error:
            sending.error = error
            lane.hedging.hear(error)
            if passage.race is not None:
                passage.race.failed(sending)
            raise
        finally:
            lane.leave(sending)
    except BaseException as error:
        sending.error = error
        raise
    finally:
        sending.end()
        if lease is not None:
            settle(lease, sending)


def _told_late(sending: Sending, reply: object) -> None:
    """A model of the user's own may give its reply and tell its watch nothing: it is as whole, and as paid."""
    if not isinstance(reply, Reply):
        label = sending.passage.lane.model.label
        raise ModelError(f"{label}: its send() gave {type(reply).__name__}, where a Reply is wanted")
    sending.done(reply)


async def _speaking(sending: Sending, idle: float) -> Reply:
    passage = sending.passage
    async with speaking(sending, idle):
        return await passage.lane.model.send(passage.request, sending)


def _hedged(passage: Passage, hedge: Hedge, timer: within, spared: int) -> Awaitable[Reply]:
    room = passage.policy.attempts - _sends(passage) + spared
    return hedged(passage, hedge, room, lambda beside: once(passage, timer, hedge=beside))


def _sends(passage: Passage) -> int:
    """How many sends it has had; one that nobody let through, or that found no money, is none."""
    return sum(sent.sent_at is not None if sent.hedge else sent.entered for sent in passage.attempts)


async def _goes_on(passage: Passage, error: CallError, spared: int) -> bool:
    """Wait until the next send may go, or raise what ends the call; gives whether the last one does not count.

    A send into a lane that is down does not count: the lane, not this call, says when its server is tried again.
    """
    lane = passage.lane
    sending = next((sent for sent in reversed(passage.attempts) if sent.error is error), None)
    error.attempts = _sends(passage)
    row = row_for(error, heard=passage.heard)
    if row.verdict == "fatal":
        raise as_fatal(error)
    if row.verdict == "fail":
        raise _told(passage, error, row.why)
    if sending is None or not sending.entered:
        raise _told(passage, error, "it was not let through to the server")
    if lane.down and not is_throttle(error):
        passage.goes_on()
        return True
    used = error.attempts - spared
    if used >= passage.policy.attempts:
        times = "once" if used == 1 else f"{used} times"
        raise _told(passage, error, f"sent {times}, which is all that attempts= allows")
    wait = backoff(error, used)
    deadline = passage.scope.end
    if wait > LONGEST or (deadline is not None and now() + wait >= deadline):
        raise _told(passage, error, _too_long(error, wait))
    if not is_throttle(error) and not lane.quota.take():
        raise _told(passage, error, f"too many calls to {lane.model.label} fail: its retry quota is empty")
    sending.backoff = wait
    passage.goes_on()
    try:
        await lane.rest(wait)
    except BaseException:
        if not is_throttle(error):
            lane.quota.untake()  # it will not be sent
        raise
    return False


def last_failure(passage: Passage, but: BaseException | None = None) -> CallError | None:
    """How the last send failed of those that did, `but` for this error."""
    failures = [sent.error for sent in passage.attempts if isinstance(sent.error, CallError) and sent.error is not but]
    return failures[-1] if failures else None


def held_up(passage: Passage) -> BaseException | None:
    """The failure that a call under way waits out: its own, or one for which its lane lets it wait for its turn."""
    if passage.answered or not passage.attempts:
        return None
    waits = not passage.attempts[-1].entered
    return last_failure(passage) or (passage.lane.obstacle if waits else None)


def held_back(passage: Passage) -> str | None:
    """The limit for whose sake a call has waited most of the time since it came, if it waits for its turn."""
    last = passage.attempts[-1] if passage.attempts else None
    if last is None or last.entered or last.rate_wait <= (now() - last.queued_at) / 2:
        return None
    return passage.lane.traffic.condition.slowest(passage.request, now())


def _too_long(error: CallError, wait: float) -> str:
    most = "a day" if wait > LONGEST else "the time given"
    if error.retry_after:
        _add(error, f"the wait of {wait:.3g} s that it asks for would outlast {most}")
    return f"the wait of {wait:.3g} s before the next send would outlast {most}"


def _add(error: CallError, why: str) -> None:
    """Let its message say this too; a model of one's own may raise the same object again and again."""
    if why not in str(error):
        error.args = (f"{error}; {why}",)


def _told(passage: Passage, error: CallError, why: str) -> CallError:
    """The error as the caller gets it: it says why it is the end, and keeps the text that had come."""
    error.add_note(f"not sent again: {why}")
    before = last_failure(passage, but=error) if isinstance(error, QueueFull) else None
    if before is not None:
        _add(error, f"the send before it had failed: {before}")
        error.__cause__ = before
    chosen = passage.chosen
    if isinstance(error, StreamCut | FatalError) or chosen is None or not chosen.pieces:
        return error
    code = error.code if isinstance(error, ReplyError) else ""
    cut = StreamCut(str(error), text="".join(chosen.pieces), code=code, model=error.model)
    cut.attempts, cut.retry_after, cut.__cause__ = error.attempts, error.retry_after, error
    return cut
