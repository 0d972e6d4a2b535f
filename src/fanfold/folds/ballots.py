"""Ballots: what voters said, and the record of how a vote came about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar

import msgspec

from fanfold.errors import ParseError, described
from fanfold.folds.tally import Tally

if TYPE_CHECKING:
    from fanfold.core.records import Arrival

T = TypeVar("T")
R = TypeVar("R")

BallotKind = Literal["valid", "abstained", "error"]


class Said(msgspec.Struct, Generic[T], frozen=True):
    """What a voter's branch brings: a value (None abstains), and the reply's text it was read from."""

    value: T | None
    text: str | None = None


class Ballot(msgspec.Struct, frozen=True):
    """One voter's answer. `value` is there when it is valid; `reason` says why it is not.

    A reply that cannot be read is an abstention and keeps its `text`; only what failed to reply is an error.
    """

    voter: str
    index: int
    kind: BallotKind
    value: Any = None
    text: str | None = None
    reason: str | None = None

    def without(self, reason: str) -> Ballot:
        """The same ballot as an abstention: it was readable, but is no answer to this vote."""
        return msgspec.structs.replace(self, kind="abstained", value=None, reason=reason)


def ballot_of(arrival: Arrival[Any]) -> Ballot:
    """The ballot that an arrival is: its value a `Said` or, where no text belongs to it, the bare value."""
    voter, index, error = arrival.name, arrival.index, arrival.error
    if isinstance(error, ParseError):
        return Ballot(voter, index, "abstained", text=error.text, reason=described(error))
    if error is not None:
        return Ballot(voter, index, "error", reason=described(error))
    said = arrival.value if isinstance(arrival.value, Said) else Said(arrival.value)
    if said.value is None:
        return Ballot(voter, index, "abstained", text=said.text, reason="gave no answer")
    return Ballot(voter, index, "valid", said.value, said.text)


class FieldResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one field of a record came about, in a vote by fields; as a `VoteResult` has it of whole answers.

    Of a list `tally` maps items to the number of lists that have them, and `share` is the least agreement on any one
    item, in or out. Where None is a value, `share` counts those who left the field empty as against what won. A nested
    record has `fields` of its own, and the least share among them.
    """

    winner: Any
    share: float | None
    share_bounds: tuple[float, float] | None
    tally: Tally[Any]
    rule: str
    why: str = ""
    tied: tuple[Any, ...] = ()
    fields: Mapping[str, FieldResult] = {}

    def __bool__(self) -> NoReturn:
        raise TypeError("a FieldResult is a record, not a truth value: look at .winner")


class VoteResult(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """How a vote came about. Compare `winner`; the record itself refuses to be true or false.

    `share` is the winner's part of the valid ballots (of their weight in a weighted vote; for a threshold
    rule the part that equals its value) and `share_bounds` the range it could still have taken over all
    that was outstanding; both are None where the rule averages or nothing won. `tally` maps values to
    counts (or weights), most first. `ballots` holds those that were folded, in voter order. `rule` and
    `why` say by what rule, and why the vote ended when it did. Of `n` voters `valid`, `abstained` and
    `errors` are in, `outstanding` are not. `tied` lists the values that shared the top, in declared or
    voter order; it is empty where one stood alone. `shrunk_from` is how many voters there were to be, where a budget
    covered only `n` of them.

    In a vote by fields `fields` maps each to how it came about. Then `winner` is put together from their winners, and
    may be nobody's ballot; `share` is the least among the fields that have one, `tally` is of whole records, and
    ties stand in the fields.
    """

    winner: R
    share: float | None
    share_bounds: tuple[float, float] | None
    tally: Tally[Any]
    ballots: tuple[Ballot, ...]
    rule: str
    why: str
    n: int
    valid: int
    abstained: int
    errors: int
    outstanding: int
    tied: tuple[Any, ...] = ()
    fields: Mapping[str, FieldResult] = {}
    shrunk_from: int | None = None

    def __hash__(self) -> int:
        # By what equal results share and can always be hashed: winners and fields may be anything.
        return hash((self.tally, self.rule, self.why, self.n))

    def __bool__(self) -> NoReturn:
        raise TypeError("a VoteResult is a record, not a truth value: look at .winner")
