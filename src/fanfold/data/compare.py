"""Several steps on the same rows, whose right answers are known: how often each is right, and what that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.clock import now
from fanfold.data.choosing import Choice
from fanfold.data.columns import Columns, Item
from fanfold.data.files import spent_on
from fanfold.data.formats import open_rows
from fanfold.data.state import Spent
from fanfold.errors import UsageError, described
from fanfold.folds.canonical import ballot_key, clean
from fanfold.folds.intervals import paired, share_interval
from fanfold.steps.row import Row, Terms
from fanfold.steps.rows import Rows
from fanfold.steps.templates import ordered, own_names, plain, told

if TYPE_CHECKING:
    from fanfold.session import Session
    from fanfold.steps.step import Step


class Gold(msgspec.Struct, frozen=True):
    """Rows with right answers: a file, the column of the `answer`, and which rows. `timeout` is seconds a row."""

    source: Path
    answer: str
    input: str | None = None
    choice: Choice = Choice()
    timeout: float | None = None

    def items(self) -> list[Item]:
        """The rows, all of them; it blocks. Raises `UsageError` where one has no answer, or not the input."""
        with open_rows(self.source) as rows:
            items = list(self.choice.items(rows))
        for item in items:
            item.check()
            answer = item.row.get(self.answer)
            if answer is None or answer == "":
                raise UsageError(f"{self.source}: row {item.number} has no {self.answer!r}, the column of --answer")
            self.given(item)
        if not items:
            raise UsageError(f"{self.source} has no rows")
        return items

    def given(self, item: Item) -> Any:
        """What a step gets of a row: not the answer."""
        row = {name: value for name, value in item.row.items() if name != self.answer}
        return Columns(self.input).given(Item(item.number, row))

    def right(self, row: Row[Any]) -> bool:
        """Whether what came of a row is its right answer."""
        item: Item = row.input
        return row.error is None and same_answer(answer_of(row.output, self.answer), item.row[self.answer])


class Way(msgspec.Struct, frozen=True):
    """One step on all rows: which it got right, what it said, and what it took in `wall` seconds.

    `failed` counts the rows that failed, and `first_failed` is the place of the first of them.
    """

    name: str
    right: tuple[bool, ...]
    said: tuple[str, ...]
    failed: int
    spent: Spent
    wall: float
    first_failed: int | None = None

    @property
    def count(self) -> int:
        """How many it got right."""
        return sum(self.right)

    @property
    def accuracy(self) -> float:
        """The share that it got right."""
        return self.count / len(self.right)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of that share."""
        return share_interval(self.count, len(self.right))


class Against(msgspec.Struct, frozen=True):
    """A step against the first one, paired over the rows: how much more often right, with its 95 % interval.

    `per_right` is what each further right answer cost, in USD: None where there is none, or a cost is not known.
    """

    name: str
    gain: float
    low: float
    high: float
    more_right: int
    more_cost: float | None
    per_right: float | None


class Comparison(msgspec.Struct, frozen=True):
    """What came of all steps on all rows."""

    items: Sequence[Item]
    ways: Sequence[Way]

    def against(self) -> list[Against]:
        """Every other step against the first."""
        return [_against(way, self.ways[0]) for way in self.ways[1:]]

    def disagreements(self) -> list[int]:
        """The rows that some steps got right and others wrong, by their place."""
        return [at for at in range(len(self.items)) if len({way.right[at] for way in self.ways}) > 1]


async def compare(
    steps: Mapping[str, Step[Any, Any]],
    gold: Gold,
    session: Session,
    tell: Callable[[str, int, int], None],
    ways: list[Way] | None = None,
) -> Comparison:
    """Run every step on all rows, one step after the other, so that each has the session for itself.

    `tell` hears the step's name, how many rows are done, and how many there are. A row that fails was not got right.
    Steps that are done are added to `ways`, for whoever wants them where another one ends it all.
    """
    items = await asyncio.to_thread(gold.items)
    ways = [] if ways is None else ways
    for name, step in steps.items():
        ways.append(await _way(name, step, items, gold, session, tell))
    return Comparison(items, ways)


async def _way(
    name: str,
    step: Step[Any, Any],
    items: Sequence[Item],
    gold: Gold,
    session: Session,
    tell: Callable[[str, int, int], None],
) -> Way:
    began = now()
    terms = Terms(on_error="skip", timeout=gold.timeout, given=gold.given)
    right, said, spent, failed = [], [], Spent(), list[int]()
    async with Rows(step, items, session, terms) as rows:
        async for row in rows:
            right.append(gold.right(row))
            said.append(told(row.output) if row.error is None else described(row.error))
            spent += spent_on(row)
            failed += [] if row.error is None else [row.number]
            tell(name, len(right), len(items))
    first = failed[0] if failed else None
    return Way(name, tuple(right), tuple(said), len(failed), spent, now() - began, first)


def answer_of(output: Any, name: str) -> Any:
    """What of an output is its answer: of a record the field of this name, if it has one, else all of it."""
    own = own_names(output)
    return own.get(name, output)


def same_answer(output: Any, gold: Any) -> bool:
    """Whether two answers are the same as ballots are, where a text beside what is no text is read as that.

    So "42" and "42.0" are two answers, and both are the number 42; "true" is a truth value, and the JSON of a list
    is that list. A file knows no enums and no sets: a member is what it stands for, and a set has no order.
    """
    try:
        return any(_alike(one, other) for one in _forms(output) for other in _forms(gold))
    except RecursionError:  # an output that holds itself, which no file does
        return False


def _forms(answer: Any) -> list[Any]:
    """An answer as it is, and as a file would hold it where one can."""
    with suppress(TypeError, ValueError, RecursionError):
        return [answer, msgspec.to_builtins(ordered(answer), enc_hook=plain)]
    return [answer]


def _alike(one: Any, other: Any) -> bool:
    if _key(one) == _key(other):
        return True
    if isinstance(one, AbstractSet) and isinstance(other, list):
        return _key(one) == ("set", frozenset(map(_key, other)))
    if isinstance(one, str) == isinstance(other, str):
        return False
    return _writes(one, other) if isinstance(one, str) else _writes(other, one)


def _key(answer: Any) -> Hashable:
    """The key of a ballot; what could be none is like nothing else."""
    with suppress(UsageError):
        return ballot_key(answer)
    return object()


def _writes(text: str, value: Any) -> bool:
    """Whether a text writes a value, in whatever way: "5.00" is the number 5."""
    if _key(told(value)) == _key(text):
        return True
    if isinstance(value, (int, float, Decimal, Fraction)) and not isinstance(value, bool):
        for read in (type(value), float):
            with suppress(ValueError, ArithmeticError):
                return _key(read(clean(text))) == _key(value)
        return False
    with suppress(ValueError):
        return _alike(value, msgspec.json.decode(text))
    return False


def _against(way: Way, first: Way) -> Against:
    gain, low, high = paired([one - other for one, other in zip(way.right, first.right, strict=True)])
    more, cost, base = way.count - first.count, way.spent.cost.usd, first.spent.cost.usd
    extra = None if cost is None or base is None else cost - base
    return Against(way.name, gain, low, high, more, extra, extra / more if more > 0 and extra is not None else None)
