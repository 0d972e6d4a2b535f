"""Picking: from what judges said to one candidate. Pure; a judge that contradicts itself has said nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class Pick(msgspec.Struct, frozen=True):
    """How a best-of came about.

    `candidates` are the distinct ones in the order of their draws, `counts` how often each came. `chosen` is the
    chosen one's place among them. `undecided` says that no judge could tell: then it is the first. `scores` are the
    candidates' points (shares of wins, scores, or a checker's values), where there are such; `verdicts` what each
    judge call said (a candidate's place, or None for no verdict); `why` is one sentence.
    """

    chosen: int
    undecided: bool
    candidates: tuple[Any, ...]
    counts: tuple[int, ...]
    scores: tuple[float | None, ...]
    verdicts: tuple[int | None, ...]
    missing: dict[str, str]
    why: str

    def __bool__(self) -> bool:
        raise TypeError("a Pick is a record, not a truth value: look at .chosen or .undecided")


class Choice(msgspec.Struct, frozen=True):
    """What a way of judging came to: the place of the best (None: it could not tell), points, verdicts, a sentence."""

    best: int | None
    scores: tuple[float | None, ...]
    verdicts: tuple[int | None, ...]
    why: str


def by_orders(first: int | None, second: int | None, count: int) -> Choice:
    """One judge, both orders: agreement chooses; disagreement is a tie, and no verdict is none."""
    verdicts = (first, second)
    if None in verdicts:
        return Choice(None, (None,) * count, verdicts, "a judge's reply was no verdict")
    if first != second:
        return Choice(None, (None,) * count, verdicts, "the judge chose differently when the order was reversed: a tie")
    return Choice(first, (None,) * count, verdicts, "the judge chose it in both orders")


def by_points(points: Sequence[float | None], why: str) -> Choice:
    """The most points win; a tie goes to the earlier candidate; without any points there is no verdict."""
    known = [(score, -at) for at, score in enumerate(points) if score is not None]
    if not known:
        return Choice(None, tuple(points), (), "no judge's reply was a verdict")
    most, least = max(known)
    others = sum(score == most for score, _ in known) - 1
    tied = f", and so for {others} more: the earliest counts" if others else ""
    return Choice(-least, tuple(points), (), why + tied)


def by_matches(matches: Sequence[tuple[int, int, int | None, int | None]], count: int) -> Choice:
    """A round robin in both orders: a match is won by agreement (1 point), else it is a tie (half a point each)."""
    points = [0.0] * count
    verdicts: list[int | None] = []
    for one, other, first, second in matches:
        verdicts += [first, second]
        if first is not None and first == second:
            points[first] += 1
        else:
            points[one] += 0.5
            points[other] += 0.5
    if not any(verdict is not None for verdict in verdicts):
        return Choice(None, (None,) * count, tuple(verdicts), "no judge's reply was a verdict")
    if max(points) == min(points):
        return Choice(None, tuple(points), tuple(verdicts), "every match was a tie, or they cancel out")
    chosen = by_points(points, "it won the most matches, each played in both orders")
    return Choice(chosen.best, tuple(points), tuple(verdicts), chosen.why)
