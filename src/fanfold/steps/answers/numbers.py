"""Reading numbers, as people and models write them."""

from __future__ import annotations

import math
import re
from typing import Any

from fanfold.folds.canonical import clean
from fanfold.steps.answers.markers import FORMULA, Finder, Marker, settle
from fanfold.steps.answers.reading import Answer, Unreadable, start_of, wrapped
from fanfold.steps.answers.replies import NOTHING, json_answer, plain, said, second_thought

_WORDS = ("amount", "count", "grade", "number", "rating", "result", "score", "sum", "total", "value")
_FINDER = Finder(*_WORDS)

_NUMBER = re.compile(
    r"""
    (?<![\w.,\u2013])(?<!\w[-−])(?<!\d[:/])
    (?P<sign>[-+−]?|(?:minus|negative)\s)(?:[$\u20ac\u00a3\u00a5\u20b9]\s?)?(?P<inner>[-−]?)
    (?P<digits>(?:[0-9]{1,3}(?:,[0-9]{3})++|[0-9]++)(?:\.[0-9]++)?|\.[0-9]++)
    (?P<exponent>[eE][-+]?[0-9]{1,4}+)?
    (?:\s?(?P<scale>hundred|thousand|million|billion|trillion|dozen|lakh|crore|mio|mrd|bn|k|m)\b)?
    (?:\s{0,3}(?:/|out\ of|of)\s{0,3}(?P<top>[0-9]{1,6}+(?:\.0)?))?
    (?:\s?[%\u20ac])?
    (?!\w)(?![.,/:][0-9])(?!\s?\^)(?!-[0-9])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MONTHS = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t|tember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_UNITS = (
    r"(?:years?|yrs?|months?|weeks?|days?|hours?|hrs?|min(?:ute)?s?|sec(?:ond)?s?|feet|foot|ft|inch(?:es)?|yards?"
    r"|(?:centi|kilo)?met(?:er|re)s?|pounds?|lbs?|ounces?|oz|dollars?|euros?|cents?|pence|rupees?)"
)
# What makes the number before it part of something else: a sum, a range, one of two, "1 000", "1 1/2", "2\\pi",
# "3 hours 30 minutes", "3% of 900", or one that is taken back ("8 -> 9").
_GOES_ON = re.compile(
    r"\s{0,3}!?\s{0,3}(?:[-+*/×·\u00f7=^–\u2014]{1,2}|-{1,2}>|=>|\u2192|~|&|\\times|x|to|or|and|plus|minus"
    r"|times|mod|vs\.?|(?:per\s?cent\s{1,3})?of)\s{0,3}[$(]?[-−]?[0-9]"
    r"|(?:\.{2,3}|…)[-−]?[0-9]|\s{0,3}\(or\s{1,3}[$]?[-−]?[0-9][0-9.,]{0,20}\)|\s{0,3}[.,;…–\u2014-]\s{0,3}(?:no|actually|rather)\b,?\s{1,3}[0-9][0-9.]{0,20}\s{0,3}(?:$|[.,;!/])"
    r"|[\s'\u2019]{1,3}[0-9]|\s{0,3}[,;]\s{0,3}[-−]?[0-9][0-9.]{0,20}\s{0,3}(?:$|[)\]},;])"
    r"|\s{1,3}[\u00bc-\u00be\u2150-\u215e]|\s{1,3}and\s{1,3}(?:a|one|two|three)[\s-](?:half|third|fourth|quarter)s?\b"
    rf"|\s{{1,3}}{_MONTHS}\.?,?\s{{1,3}}[0-9]"
    rf"|\s{{0,3}}{_UNITS},?\s{{1,3}}(?:and\s{{1,3}})?[0-9]{{1,9}}\s{{0,3}}{_UNITS}\b|\s{{0,3}}{FORMULA}",
    re.IGNORECASE,
)
_FORMULA = re.compile(FORMULA)
# "It is not 8", "less than 8", "sqrt(8)": whichever number is meant, this one is not.
_EXCLUDED = re.compile(
    r"(?:(?:\b(?:not|never|cannot)|n['\u2019]t)\s{1,3}(?:(?:a|an|be|even|exactly|quite|the)\s{1,3}){0,2}"
    r"|(?<!no\s)(?<!not\s)\b(?:fewer|greater|higher|less|lower|more|other|rather)\s{1,3}than\s{1,3}"
    r"|(?:[<\u2264\u2265]|>=|\u221a|\bsqrt(?:\s{1,3}of\s)?)\s{0,3})[$(]?$",
    re.IGNORECASE,
)
_HEDGES = "a|about|an|approximately|around|exactly|is|just|of|only|probably|roughly|the|therefore|thus"
_FILLERS = re.compile(
    rf"(?:[\s\"'(\[{{$~\u2248=\\]|(?:{_HEDGES})\s){{1,12}}(?=[\s$-]?(?:minus\s|negative\s)?[-+−.0-9\u20ac\u00a3\u00a5])",
    re.IGNORECASE,
)
# "4 of 5 requirements" is no scale.
_OUT_OF = re.compile(r"/|out\s+of", re.IGNORECASE)
_BOLD = re.compile(r"\*\*\s{0,3}([^*\n]{1,40})\*\*")
_HASHES = re.compile(r"^####\s{0,3}(\S[^\n]{0,60})$", re.MULTILINE)
_DECLINED = re.compile(r"\W*(?:n/a|no|none|not|null|unclear|unknown)\b", re.IGNORECASE)
_DIGIT = re.compile(r"[0-9]")
_BEFORE = 40


def whole_number() -> Answer[int]:
    """The answer that is a whole number."""
    return _answer("a whole number", "integer", read_int)


def number() -> Answer[float]:
    """The answer that is a number."""
    return _answer("a number", "number", read_float)


def _answer(wanted: str, kind: str, reader: Any) -> Answer[Any]:
    schema = {"type": kind}
    return Answer(
        wanted=wanted,
        reader=reader,
        schema=wrapped(schema),
        item_schema=schema,
        instruction=f"Reply with only {wanted}, in digits.",
    )


def read_int(text: str) -> int:
    """Read a whole number; 7.0 is one, 7.5 is none."""
    return as_int(_read(text))


def read_float(text: str) -> float:
    """Read a finite number."""
    return _as_float(_read(text))


def _read(text: str) -> str:
    found = stated(text)
    if found is None:
        found = _only(plain(text))
    if found is None:
        raise Unreadable("the reply does not plainly say which number" if _DIGIT.search(text) else "it has none")
    return found


def stated(text: str) -> str | None:
    """The digits of the number that a reply gives as its answer: not one that it merely has in it.

    In this order: the whole reply, its JSON, the last place that names a score, a result or the answer, and the one
    number that stands out in bold.
    """
    match = _NUMBER.fullmatch(clean(text))
    if match is not None:
        return _digits(match)
    value = json_answer(text, frozenset(_WORDS))
    if value is not NOTHING:
        return settle([Marker(said(value) or "null", "firm")], _named)
    bare = plain(text)
    found = settle([*_FINDER.markers(bare)], _named)
    found = _standing_out(text) if found is None else found
    if found is not None and _changed(found, second_thought(bare)):
        raise Unreadable(f"it takes {found} back")
    return found


def _changed(found: str, tail: str) -> bool:
    """Whether a second thought names other numbers only."""
    named = {f"{match['digits']}{match['exponent'] or ''}".replace(",", "") for match in _NUMBER.finditer(tail)}
    return bool(named) and found.lstrip("-") not in named and settle([*_FINDER.markers(tail)], _named) != found


def _named(marker: Marker) -> str | None:
    """The number a marker names: what its line begins with, what its sum comes to, or the only one there."""
    value = marker.value
    for text in (value, value.rpartition("=")[2]):
        match = _at_start(text)
        if match and not _GOES_ON.match(text, match.end()):
            return _digits(match)
    return _only(value) if marker.grade == "firm" and not _DECLINED.match(value) else None


def begun(text: str) -> str | None:
    """The digits that the last place to name an answer begins with, whether or not they go on."""
    *_, value = "", *(marker.value for marker in _FINDER.markers(text))
    match = _at_start(value)
    return _digits(match) if match else None


def _at_start(text: str) -> re.Match[str] | None:
    start = _FILLERS.match(text)
    return _NUMBER.match(text, start.end() if start else 0)


def _only(text: str) -> str | None:
    """The only number in a text: with any other digit in it, there is no telling which one is meant."""
    match = None if _FORMULA.search(text) else _NUMBER.search(text)
    if match is None or _DIGIT.search(text, match.end()) or _DIGIT.search(text[: match.start()]):
        return None
    excluded = _EXCLUDED.search(text, max(0, match.start() - _BEFORE), match.start())
    if excluded and excluded[0] == "<" and text.startswith(">", match.end()):  # "<8>", as a template may have it
        excluded = None
    return None if excluded or _GOES_ON.match(text, match.end()) else _digits(match)


def _standing_out(text: str) -> str | None:
    hashes = _HASHES.findall(text)
    found = {match for bold in hashes[-1:] or _BOLD.findall(text) if (match := _NUMBER.fullmatch(clean(bold)))}
    digits = {_digits(match) for match in found}
    return digits.pop() if len(digits) == 1 else None


def scaled(text: str) -> str | None:
    """The only number in a text, if it is given on a scale: "I would say 4/5"."""
    match = _NUMBER.search(text)
    return _only(text) if match and match["top"] else None


def _digits(match: re.Match[str]) -> str:
    if match["scale"]:
        raise Unreadable(f"{start_of(match[0])} is not in digits")
    digits = match["digits"].replace(",", "")
    if match["top"]:
        _check_scale(match, float(digits), float(match["top"]))
    minus = {match["sign"].strip().casefold(), match["inner"]} & {"-", "−", "minus", "negative"}
    return f"{'-' if minus else ''}{digits}{match['exponent'] or ''}"


def _check_scale(match: re.Match[str], value: float, top: float) -> None:
    if value > top:
        raise Unreadable(f"{start_of(match[0])} is off its own scale")
    if top < 5 and "/" in match[0]:
        raise Unreadable(f"{start_of(match[0])} may be a fraction")


def check_top(text: str, digits: float, top: float) -> None:
    """Raise `Unreadable` where the number is said to be on another scale: neither 8/10 nor 8 % is an 8 of 50."""
    said = [match for match in _NUMBER.finditer(text) if float(match["digits"].replace(",", "")) == abs(digits)]
    last = said[-1] if said else None  # "3/10 of it is wrong … Score: 3" says no scale
    if last is not None and _top(last) not in {None, top}:
        raise Unreadable(f"{start_of(last[0])} is on another scale")


def _top(match: re.Match[str]) -> float | None:
    """The top of the scale that a number is said to be on."""
    if match[0].endswith("%"):
        return 100.0
    return float(match["top"]) if match["top"] and _OUT_OF.search(match[0]) else None


def as_int(digits: str) -> int:
    """Whole digits as an int, exact at any length that Python reads."""
    whole, _, fraction = digits.partition(".")
    try:
        if "e" not in digits.casefold():
            if fraction.strip("0"):
                raise Unreadable(f"{digits} is not whole")
            return int(whole or "0")
        value = _as_float(digits)
        if not value.is_integer():
            raise Unreadable(f"{digits} is not whole")
        return int(value)
    except ValueError:
        raise Unreadable("the number has too many digits") from None


def _as_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Unreadable("the number is too large")
    return value
