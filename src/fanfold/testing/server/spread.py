"""Distributions of seconds, written short: a number, ``uniform:LOW,HIGH`` or ``lognormal:MEDIAN,SIGMA``."""

from __future__ import annotations

from math import exp, inf
from statistics import NormalDist

import msgspec

from fanfold.errors import UsageError

_NORMAL = NormalDist()


class Spread(msgspec.Struct, frozen=True):
    """Seconds, fixed or drawn: ``uniform`` between `one` and `other`, or ``lognormal`` of median `one` and sigma
    `other`.
    """

    kind: str
    one: float
    other: float = 0.0

    def at(self, place: float) -> float:
        """The seconds at a place of the distribution, from 0 to 1."""
        if self.kind == "uniform":
            return self.one + place * (self.other - self.one)
        if self.kind == "lognormal":
            return self.one * exp(self.other * _NORMAL.inv_cdf(min(max(place, 1e-9), 1 - 1e-9)))
        return self.one

    @property
    def drawn(self) -> bool:
        """Whether it is more than one figure."""
        return self.kind != "fixed"


def spread(name: str, given: float | str, *, words: str = "") -> Spread:
    """What is given for the option `name`; raises `UsageError`. `words` names what else the option takes."""
    try:
        found = _read(given)
        if 0 <= found.one < inf and 0 <= found.other < inf and (found.kind != "uniform" or found.one <= found.other):
            return found
    except ValueError:
        pass
    raise UsageError(f"{name}={given!r}: give seconds, 0 or more{words}; or uniform:LOW,HIGH or lognormal:MEDIAN,SIGMA")


def _read(given: float | str) -> Spread:
    if not isinstance(given, str):
        return Spread("fixed", given)
    kind, colon, rest = given.partition(":")
    if not colon:
        return Spread("fixed", float(given))
    one, other = rest.split(",")
    if kind not in {"uniform", "lognormal"}:
        raise ValueError(kind)
    return Spread(kind, float(one), float(other))
