"""Field-wise votes: each field of a record is tallied by its type, and the winners make a record."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from fanfold.errors import UsageError
from fanfold.folds import shapes
from fanfold.folds.ballots import FieldResult
from fanfold.folds.counting import Count, Elects, MayElect, Rule, Terms, Verdict, listed
from fanfold.folds.members import LowerMedian, Maybe, Membership
from fanfold.folds.numeric import Mean, Median
from fanfold.folds.plurality import Plurality, Weighted
from fanfold.folds.shapes import Bare, Field
from fanfold.folds.thresholds import Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

_LISTS: tuple[type, ...] = (list, set, frozenset)
_WHOLE = (int, Decimal)
_NUMBERS = (float, *_WHOLE)


class Column(msgspec.Struct, frozen=True):
    """One field under count: how its value is read from a ballot, and how its winner is fitted into the record."""

    count: Count[Any]
    rule: str
    read: Callable[[Any], Any]
    fit: Callable[[Any], Any]


class FieldCounts(Count[Any]):
    """The counts of a record's fields, side by side; whole records are grouped for the tally only."""

    def __init__(self, terms: Terms, record: Any, rules: Mapping[str, Rule[Any, Any]], within: tuple[Any, ...]) -> None:
        super().__init__(terms)
        self.record = record
        self.shape = shapes.shape(record)
        unknown = [name for name in rules if name not in self.shape]
        if unknown:
            raise UsageError(f"{record.__name__} has no field {listed(unknown)}: it has {listed(list(self.shape))}")
        inside = (*within, record)
        self.columns = {name: _column(terms, record, one, rules.get(name), inside) for name, one in self.shape.items()}

    def arrive(self, index: int) -> None:
        """The voter is in, in every field."""
        super().arrive(index)
        for column in self.columns.values():
            column.count.arrive(index)

    def refused(self, group: Hashable, value: Any) -> str | None:
        """What is no such record, or has a field that its rule cannot count: then none of its fields counts."""
        del group
        if not shapes.is_one(self.record, value):
            return f"{value!r:.60} is no {self.record.__name__}"
        for name, column in self.columns.items():
            part = column.read(shapes.part(value, name))
            refused = column.count.refused(self.terms.key(part), part)
            if refused is not None:
                return f"{name}: {refused}"
        return None

    def take(self, index: int, group: Hashable, value: Any) -> None:
        """Count every field of one record."""
        super().take(index, group, value)
        for name, column in self.columns.items():
            part = column.read(shapes.part(value, name))
            column.count.take(index, self.terms.key(part), part)

    def settled(self) -> bool:
        """Whether every field is; under ``ties="error"`` one field that ties for certain is enough.

        Exact but for that policy: which value a field gets does not depend on what others get, so the record is
        certain when each field is. With "error" it never fires too early, but may wait where it is certain that
        some field ties and not yet which.
        """
        counts = [column.count for column in self.columns.values()]
        if self.terms.ties == "error" and any(count.settled() and count.verdict().tied for count in counts):
            return True
        return all(count.settled() for count in counts)

    def verdict(self) -> Verdict[Any]:
        """The record of the fields' winners; raises `RecordError` where its own type refuses it."""
        results = {name: _result(column) for name, column in self.columns.items()}
        note = "; ".join(f"{name}: {one.why}" for name, one in results.items() if one.why)
        tied = next((one.tied for one in results.values() if one.tied), ()) if self.terms.ties == "error" else ()
        if tied:
            return Verdict(None, tied=tied, note=note, fields=results)
        winner = shapes.put_together(self.record, self.shape, {name: one.winner for name, one in results.items()})
        shares = [one.share for one in results.values() if one.share is not None]
        bounds = [one.share_bounds for one in results.values() if one.share_bounds is not None]
        least, most = (min(side) for side in zip(*bounds, strict=True)) if bounds else (0.0, 1.0)
        return Verdict(winner, min(shares, default=None), (least, most) if bounds else None, (), note, results)


def _result(column: Column) -> FieldResult:
    verdict = column.count.verdict()
    return FieldResult(
        winner=None if verdict.winner is None else column.fit(verdict.winner),
        share=verdict.share,
        share_bounds=verdict.bounds,
        tally=column.count.tally(),
        rule=column.rule,
        why=verdict.note,
        tied=verdict.tied,
        fields=verdict.fields,
    )


def _column(terms: Terms, record: Any, one: Field, given: Rule[Any, Any] | None, within: tuple[Any, ...]) -> Column:
    """How a field is counted: by the rule given for it, else by its type."""
    where = f"{record.__name__}.{one.name}"
    if given is not None:
        _check(given, one, where)
    rule = _rule(one.bare, given, within)
    read, choices = _reader(one.bare.type), _choices(one.bare)
    if isinstance(rule, _AVERAGES):
        count = rule.start(terms.declaring(choices))
        return Column(Maybe(terms, count) if one.nullable else count, repr(rule), read, _fitter(one.bare))
    _check_winner(terms, one, rule, where)
    if choices is not None and one.nullable:
        choices = [*choices, None]
    return Column(rule.start(terms.declaring(choices)), repr(rule), read, _same)


def _rule(bare: Bare, given: Rule[Any, Any] | None, within: tuple[Any, ...]) -> Rule[Any, Any]:
    """The rule that was given, as it is for this type; else the one that goes with the type."""
    record = shapes.record_in(bare.type)
    if isinstance(given, Fields):
        return Fields(given.rules, record, within)
    if isinstance(given, Median) and _is_whole(bare):
        return LowerMedian()
    if given is not None:
        return given
    if bare.type in _NUMBERS:
        return Median() if bare.type is float else LowerMedian()
    make = _list_of(bare.type)
    if make is not None:
        return Membership(make, _items(bare.type))
    # A record inside itself would have no end, so it counts as a whole.
    return Plurality() if record is None or record in within else Fields({}, record, within)


def _list_of(kind: Any) -> type[Any] | None:
    """What makes a list of this type: list, set, frozenset, or tuple where it may have any length."""
    origin = get_origin(kind) or kind
    if origin is tuple:
        return tuple if get_args(kind)[1:] == (...,) else None
    return next((made for made in _LISTS if origin is made), None)


def _items(kind: Any) -> Sequence[Any] | None:
    """The declared values of a list's items, None among them where an item may be."""
    args = get_args(kind)
    item = shapes.bare(args[0]) if args else Bare(Any)
    choices = _choices(item)
    return [*choices, None] if choices is not None and item.nullable else choices


def _choices(bare: Bare) -> Sequence[Any] | None:
    """The declared values of a type, in order; None where it declares none."""
    if get_origin(bare.type) is Literal:
        return get_args(bare.type)
    return list(bare.type) if isinstance(bare.type, type) and issubclass(bare.type, Enum) else None


def _is_whole(bare: Bare) -> bool:
    choices = _choices(bare)
    return bare.type in _WHOLE or (choices is not None and all(isinstance(choice, int) for choice in choices))


def _reader(kind: Any) -> Callable[[Any], Any]:
    """How a value is read: a model may keep an enum's bare values (`use_enum_values`), which are its members here."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: _member(kind, value)
    inner = get_args(kind)[:1] if _list_of(kind) is not None else ()
    if inner and isinstance(inner[0], type) and issubclass(inner[0], Enum):
        return lambda value: value if value is None else [_member(inner[0], item) for item in value]
    return _same


def _member(kind: type[Enum], value: Any) -> Any:
    return next((member for member in kind if value is member or value == member.value), value)


def _fitter(bare: Bare) -> Callable[[Any], Any]:
    """How an average becomes a value of the field's type: a whole number, half to even; a decimal as it is written."""
    if bare.type is int or (_choices(bare) is not None and _is_whole(bare)):
        return lambda value: round(value) if isinstance(value, float) else value
    if bare.type is Decimal:
        return lambda value: Decimal(repr(value)) if isinstance(value, float) else value
    return _same


def _same(value: Any) -> Any:
    return value


def _check(rule: Rule[Any, Any], one: Field, where: str) -> None:
    """Refuse a rule that cannot count a field of this type."""
    if isinstance(rule, Fields) and shapes.record_in(one.bare.type) is None:
        raise UsageError(f"{where} is no record, so {rule!r} finds no fields in it")
    if isinstance(rule, Mean | Median):
        choices = _choices(one.bare)
        numbers = choices and all(isinstance(choice, int | float) for choice in choices)
        if one.bare.type not in {*_NUMBERS, Any} and not numbers:
            raise UsageError(f"{where} is no number, so {rule!r} cannot average it")
    if isinstance(rule, Threshold) and one.bare.type is not bool:
        raise UsageError(f"{rule!r} gives True or False, and {where} is no bool: count it in a vote of its own")


def _check_winner(terms: Terms, one: Field, rule: Rule[Any, Any], where: str) -> None:
    """Refuse what may leave a field without a winner where its type has no None."""
    if one.nullable or isinstance(rule, Threshold):
        return
    if isinstance(rule, MayElect) and not (isinstance(rule, Weighted) and rule.elects_always):
        raise UsageError(f"{rule!r} may elect nothing, and {where} cannot be None: let its type say `| None`")
    if terms.ties == "abstain":
        raise UsageError(
            f"ties='abstain' leaves a field that ties None, and {where} cannot be: let its type say `| None`, or take "
            "ties='declared' or 'error', or rule=rules.plurality() for a vote on whole records"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Fields(Elects):
    """Each field by its type, or by the rule given for it; `of` is the record type, `within` those around it."""

    rules: Mapping[str, Any] = field(default_factory=dict, hash=False)
    of: Any = None
    within: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        wrong = [name for name, rule in self.rules.items() if not isinstance(rule, Rule)]
        if wrong:
            raise UsageError(f"the rule for {listed(wrong)} is none: give one of fanfold.rules, as rules.mean()")
        if self.of is not None and shapes.record_in(self.of) is None:
            raise UsageError(
                f"of={self.of!r} is no record type: a pydantic model, dataclass, TypedDict or msgspec struct"
            )

    @property
    def symmetric(self) -> bool:
        """Whether all voters weigh the same in every field."""
        return all(rule.symmetric for rule in self.rules.values())

    def check(self, names: Sequence[str]) -> None:
        """Every field's rule suits the voters."""
        for rule in self.rules.values():
            rule.check(names)

    def quorum(self, voters: int) -> int:
        """The largest that a field's rule wants: a ballot is valid for all fields or for none."""
        return max([rule.quorum(voters) for rule in self.rules.values()], default=1)

    def least(self, voters: int) -> int:
        """The most that a field's rule wants."""
        return max([rule.least(voters) for rule in self.rules.values()], default=1)

    def start(self, terms: Terms) -> Count[Any]:
        """A count of every field."""
        if self.of is None:
            raise UsageError(
                "rules.fields() has to know the record: these voters do not declare one and the same type "
                "(prompts do, by returns=), so say of=TheType"
            )
        if terms.ties == "step":
            raise UsageError(
                "a step as ties= chooses between whole answers, and each field ties by itself: take 'declared', "
                "'error' or 'abstain', or rule=rules.plurality() for a vote on whole records"
            )
        return FieldCounts(terms.declaring(None), shapes.record_in(self.of), self.rules, self.within)

    def __repr__(self) -> str:
        return f"fields({self.rules!r})" if self.rules else "fields()"


_AVERAGES = (Mean, Median, LowerMedian, Membership, Fields)
"""Rules whose winner need be nobody's value: where None is one, it has to win before these are asked."""
