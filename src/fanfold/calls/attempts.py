"""The sends of one call. Each takes, in this order, its money, its turn in the lane, and the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanfold.calls.passage import Passage
    from fanfold.core.records import Reply
    from fanfold.core.timeouts import within


async def attempts(passage: Passage, timer: within) -> Reply:
    """Send it; `timer` counts from the first turn on."""
    return await once(passage, timer)


async def once(passage: Passage, timer: within, *, hedge: bool = False) -> Reply:
    """One send: budget > rate > slot > wire."""
    lane, scope = passage.lane, passage.scope
    sending = passage.begin(hedge=hedge)
    try:
        await lane.enter(sending)
        try:
            scope.check()  # again: the wait for the turn may have outlived it
            timer.start()
            return await lane.model.send(passage.request, sending)
        except BaseException as error:
            sending.error = error
            raise
        finally:
            lane.leave(sending)
    except BaseException as error:
        sending.error = error
        raise
    finally:
        sending.end()
