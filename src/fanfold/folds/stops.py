"""Stops: when a vote may end before all voters are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fanfold.folds.polls import Poll


class Stop(Protocol):
    """Asked after every ballot while voters are out; may cost as much as there are distinct values."""

    def fires(self, poll: Poll[Any]) -> str | None:
        """Why the vote may end now, as the sentence that `VoteResult.why` will hold; None to go on."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Decided:
    """Ends a vote exactly when nothing outstanding can change its outcome; see `Poll.settled`."""

    def fires(self, poll: Poll[Any]) -> str | None:
        """The sentence, once it is decided."""
        if not poll.settled():
            return None
        return f"decided after {poll.folded} of {poll.n}: nothing outstanding can change {poll.outcome()}"

    def __repr__(self) -> str:
        return "decided()"


DECIDED = Decided()
