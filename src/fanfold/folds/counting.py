"""What a rule is: values that start a count, and the questions a vote asks of that count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec

from fanfold.errors import UsageError
from fanfold.folds.ballots import FieldResult
from fanfold.folds.tally import Groups, Key, Tally

T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

Ties = Literal["declared", "error", "abstain", "step"]
"""What a tie gives: the first in declared (else voter) order, an error, no winner, or no winner yet."""

Reach = Literal["reached", "open", "closed"]
"""Whether an outcome that no quorum binds is reached, can still be, or cannot (any more)."""

SHOWN = 60
"""Characters of a value that are shown in the middle of a sentence."""


class Terms(msgspec.Struct, frozen=True):
    """What is fixed before the first ballot: who votes, on what, and by which policies.

    `choices` are the declared values and `places` their groups by position; None where any value may come.
    """

    names: tuple[str, ...]
    quorum: int
    ties: Ties
    key: Key
    choices: tuple[Any, ...] | None = None
    places: Mapping[Hashable, int] | None = None

    def declaring(self, choices: Sequence[Any] | None) -> Terms:
        """The same terms, with these choices declared (None: any value may come)."""
        if choices is None:
            return msgspec.structs.replace(self, choices=None, places=None)
        if not choices:
            raise UsageError("declared choices must hold at least one value; None declares nothing")
        places: dict[Hashable, int] = {}
        for choice in choices:
            places.setdefault(self.key(choice), len(places))
        return msgspec.structs.replace(self, choices=tuple(choices), places=places)


class Verdict(msgspec.Struct, Generic[R_co], frozen=True):
    """What a count comes to if nothing more arrives.

    `note` is for readers, as that a tie was broken; `fields` is how each field came about, where a record's fields are
    counted each by itself.
    """

    winner: R_co
    share: float | None = None
    bounds: tuple[float, float] | None = None
    tied: tuple[Any, ...] = ()
    note: str = ""
    fields: Mapping[str, FieldResult] = {}


class Count(ABC, Generic[R_co]):
    """The counting of one vote under one rule. Nothing here costs more than the number of distinct values."""

    def __init__(self, terms: Terms, groups: Groups | None = None) -> None:
        self.terms = terms
        self.groups = groups or Groups(len(terms.names), places=terms.places)

    def arrive(self, index: int) -> None:
        """The voter at `index` is no longer out, whatever it brought."""
        self.groups.arrive(index)

    def refused(self, group: Hashable, value: Any) -> str | None:
        """Why a readable ballot is no answer to this vote; None where it is one."""
        places = self.terms.places
        if places is not None and group not in places:
            # The choices bound what may still come, and an early end relies on it; so they bind here too.
            return f"{value!r:.60} is none of the choices"
        return None

    def take(self, index: int, group: Hashable, value: Any) -> None:
        """Count a ballot that is not refused."""
        self.groups.add(index, group, value)

    def tally(self) -> Tally[Any]:
        """What was counted, most first."""
        return self.groups.tally(self.terms.key)

    def reach(self) -> Reach:
        """Where the outcome stands that holds without a quorum; most rules have none such."""
        return "closed"

    @abstractmethod
    def settled(self) -> bool:
        """Whether, the quorum given, nothing outstanding can change the verdict. Exact in both directions."""

    @abstractmethod
    def verdict(self) -> Verdict[R_co]:
        """The verdict if nothing more arrives; asked only where at least one ballot is valid."""


class Rule(ABC, Generic[T_contra, R_co]):
    """How ballots of one type become one outcome. Make one with the functions of `fanfold.rules`."""

    @property
    def symmetric(self) -> bool:
        """Whether all voters weigh the same, so that it does not matter which of them are asked first."""
        return True

    def check(self, names: Sequence[str]) -> None:
        """Raise `UsageError` where the rule cannot be applied to these voters."""
        del names

    def quorum(self, voters: int) -> int:
        """How many ballots must be valid where the user did not say."""
        del voters
        return 1

    def least(self, voters: int) -> int:
        """To how few voters a vote of so many may be shrunk without becoming another vote, its quorum apart."""
        return 1 if self.symmetric else voters

    @abstractmethod
    def start(self, terms: Terms) -> Count[R_co]:
        """A new count; raises `UsageError` where the declared choices do not suit the rule."""


class Elects(Rule[Any, Any]):
    """A rule whose winner is of the ballots' own type: a `Rule[T, T]` for every T.

    It is a class of its own because no type checker infers that T where `plurality()` is written as an
    argument; told apart by its class, it lets an overload say so.
    """


class MayElect(Rule[Any, Any]):
    """A rule whose winner is of the ballots' own type or None: a `Rule[T, T | None]` for every T."""


def listed(values: Sequence[Any]) -> str:
    """Values as prose: ``'a', 'b' and 'c'``."""
    shown = [shortened(value) for value in values]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def shortened(value: Any) -> str:
    """A value in the middle of a sentence, where a whole answer would hide what is said of it."""
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"
