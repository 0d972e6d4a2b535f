"""Finding one of a fixed set of words in a reply, wherever a model may have put it, and never by a guess."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING
from unicodedata import normalize

from fanfold.steps.answers import shares
from fanfold.steps.answers.markers import Finder, Marker, settle
from fanfold.steps.answers.reading import Unreadable
from fanfold.steps.answers.replies import NOTHING, json_answer, last_line, plain, said, second_thought
from fanfold.steps.answers.spelling import cares_for_case, level, word_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

FINDER = Finder(
    *("category", "choice", "class", "classification", "conclusion", "decision", "judgement", "judgment", "label"),
    *("option", "output", "prediction", "response", "result", "selection", "verdict", "winner"),
)

# Words of everyday speech: "there is no way to tell" does not choose "no".
_EVERYDAY = frozenset({"yes", "no", "true", "false", "none", "not", "y", "n", "n/a", "maybe"})

_NOUNS = "answer|assistant|candidate|category|choice|class|label|letter|model|number|option|output|response"
_OPENING = r"[\s\"'\u201c\u2018\u00ab(\[<#>\u2022*$\\-]{0,10}"
_CLOSING = r"[\"'\u201d\u2019\u00bb)\]}>$]{0,4}"
_DELIMITER = (
    rf"(?:{_CLOSING}(?:\s{{0,3}}(?:$|[.,;:!(…–\u2014\u3002\uff01\uff0c\uff1a\uff1b\u3001]|-+(?=[\s>-]))"
    r"|\s{1,3}(?:because|since)\b)|[)\]}>])"
)
_FOLLOWED = r"(?:\s{1,3}(?:as|due|it|its|that|the|there|these|they|this|which|i|we|you)\b)"
_HEDGES = "actually|also|clearly|definitely|indeed|likely|most|obviously|probably|simply|still|therefore|thus|the"
_FILLERS = re.compile(rf"(?:(?:{_HEDGES})\s{{1,3}}){{1,4}}(?=\S)", re.IGNORECASE)
_NOUN_LED = re.compile(rf"{_OPENING}(?:(?:{_NOUNS})\s{{1,3}}){_OPENING}", re.IGNORECASE)

# "Spam: no", "B - wrong", "spam?": the word is named to be denied, or asked about.
_REFUTED = re.compile(
    rf"{_CLOSING}\s{{0,3}}(?:[:=–\u2014-]{{1,2}}\s{{0,3}}(?:no|not|false|incorrect|wrong)\s{{0,3}}(?:$|[.,;!}}\n])|\?)",
    re.IGNORECASE,
)
# "Spam is not …", "spam or not".
_DENIED = re.compile(
    r"\s{0,3}(?:or\s+not\b|(?:is|was|are|were|seems|would\s+be|can\s+be)\s+(?:eliminated|false|incorrect|no|not|out|ruled"
    r"|unlikely|wrong)\b|(?:is|was|are|does|do|would|could|ca)n['\u2019]?t\b|(?:cannot|does\s+not|do\s+not)\b)",
    re.IGNORECASE,
)
# "[Yes] if it is prime": in lower case, since "(A) If it rains" is a choice and its text.
_CONDITIONAL = re.compile(rf"{_CLOSING}\s{{1,3}}(?:if|means?|only|or|unless|when|would)\b")
_OPENERS = ("(", "[", '"', "'")
_BRACKETED = re.compile(r"\[([^\[\]\n]{1,80})\]")
_ENGLISH_NOES = (
    r"not|no|never|nor|neither|none|nothing|without|cannot|hardly|rarely|unlikely|unable|unclear|unsure|uncertain|doubtful"
    r"|whether|if|either|than|instead|doubt|(?:anything|everything)\s+but"
)
# "It lacks any sign of spam", and not "It lacks a sender and is clearly spam": these deny what follows at once.
_LACKING = r"\b(?:except|far\s+from|free\s+(?:from|of)|lacks?)(?:\s+(?!and\b)\w+){0,4}[\s\"'(\[*]*$"
# A reply may be in the language of what was asked; a label that it denies is no choice there, either.
_OTHER_NOES = (
    r"kein(?:e[mnrs]?|esfalls|eswegs)?|nicht|nie|niemals|weder|ohne|pas|jamais|aucune?|ni|sans|ne"
    r"|nunca|jam[aá]s|ning[uú]n[ao]?|tampoco|n[aã]o|nem|nenhuma?|sem|non|senza|nessun[ao]?|niet|geen|nooit"
    r"|inte|ingen|inget|ikke|aldrig|aldri|ei|nincs|nen[ií]|bez|tidak|bukan|kh[oô]ng"
    r"|не|нет|ни|никогда|без|ні|δεν|όχι"
)
_NEGATED = re.compile(
    rf"(?<!\\)\b(?:{_ENGLISH_NOES}|{_OTHER_NOES})(?!\w)|n['\u2019]t\b|\bn['\u2019](?=\w)|\bnon-?$|{_LACKING}"
    r"|\u4e0d(?!\u8fc7)|\u6ca1|\u6c92|\u975e(?!\u5e38)|[\u7121\u65e0](?!\u7591)|\u0644\u064a\u0633|\u063a\u064a\u0631",
    re.IGNORECASE,
)
# "No doubt this is spam", "nicht nur Spam": what holds such a word, and denies nothing.
_AFFIRMED = re.compile(
    r"\b(?:no|without(?:\s+an?y?)?)\s+(?:doubt|question(?!\s+(?:about|of)))\b|\bnot\s+(?:just|only)\b"
    r"|\b(?:kein(?:en)?|ohne(?:\s+jeden)?)\s+zweifel\b|\bkein\s+problem(?=,)|\bnicht\s+(?:bloß|nur)\b"
    r"|\bsans\s+(?:(?:aucun|nul)\s+)?doute\b|\b(?:n['\u2019]est\s+)?pas\s+seulement\b|\bniet\s+alleen\b"
    r"|\bsem\s+d[uú]vida\b|\bn[aã]o\s+(?:apenas|só)\b|\bnon?\s+s[oó]lo\b|\b\u043d\u0435\s+только\b|不[仅僅只]|[没沒]有?(?:问题|問題)",
    re.IGNORECASE,
)
# "Spam ist das nicht", "spam ではない": what some languages say behind it, in the same clause.
_DENIED_BEHIND = re.compile(
    r"(?:(?!\b(?:und|oder|weil|da|denn|et|ou|qui|que|car|parce|en|of|omdat|want|ve)\b)[^.,;:!?()\u2013\u2014\n]){0,40}?"
    r"(?:\b(?:nicht|kein\w*|niet|pas|de\u011fil\w*)(?!\w)|\u0928\u0939\u0940\u0902"
    r"|\u3067\u306f\u306a|\u3067\u306f\u3042\u308a|\u3058\u3083\u306a|\u3058\u3083\u3042\u308a|\uc544\ub2c8|\uc544\ub2d9)",
    re.IGNORECASE,
)
# Where a negation ends: "not personal, so it is spam".
_TURNS = re.compile(
    r"[.;:!?\n\u3002\uff1b\uff1a\uff01\uff1f]|(?<!anything )(?<!everything )\bbut\b|\b(?:hence|however"
    r"|(?<!not )(?<!nicht )so|therefore|thus|sondern|aber|(?<=,\s)mais|donc|pero|sino|maar|\u043d\u043e|\u0430)\b"
    r"|\u800c\u662f|\u4f46|\u6240\u4ee5",
    re.IGNORECASE,
)
# "I prefer A over B": a letter behind another is what that is compared with, unless it is plainly named.
_NAMED = re.compile(
    r"\b(?:are|be|choose|favou?r|go(?:ing)?\s+with|is|pick|prefer|say|select|take|vote\s+for|was)\s{1,3}$",
    re.IGNORECASE,
)
# "A outperforms B", "A > B": in front of a clause, anything else behind an A makes an article of it.
_ACTS = re.compile(r"\s{0,3}(?:[^\w\s'\u2019-]|(?:\w+s|beat|can|could|over|to|versus|will|would)\b|[A-Z]\b)")
# "Spam: 0.1", "spam is very low", {"spam": 5%}: how much of it there is, which is less than half.
_LITTLE = r"(?:improbable|low|minimal|negligible|nil|remote|slight|slim|small|tiny|unlikely|zero)"
_UNDER_HALF = (
    r"(?:0?[.,][0-4]\d{0,9}|0(?:[.,]0{1,9})?|[0-4]?\d(?:[.,]\d{1,9})?\s?(?:%|/\s?100)|[0-4](?:[.,]\d{1,9})?\s?/\s?10"
    r"|[0-2](?:[.,][0-4])?\s?/\s?5)(?![.,]?\d)"
)
_SLIGHT = re.compile(
    rf"{_CLOSING}[^\S\n]{{0,3}}(?:(?:[:=–\u2014-]{{1,2}}|at\b|is\b|was\b)\s{{0,3}})?"
    r"(?:(?:about|around|extremely|just|only|pretty|quite|rather|very)\s{1,3}){0,3}"
    rf"(?:(?P<little>{_LITTLE})\b|{_UNDER_HALF})\s{{0,3}}(?:$|[.,;!)\]}}\n])",
    re.IGNORECASE,
)
# "A low probability of spam", "5% spam", "few signs of spam".
_SLIGHTLY = re.compile(
    rf"\b(?:few|insufficient|little|weak|{_LITTLE})\s{{1,3}}(?:\w{{1,30}}\s{{1,3}})?(?:chances?|evidence|hints?|indications?"
    rf"|likelihood|odds|possibility|probability|risk|signs?|traces?)\b|(?<![\d.,]){_UNDER_HALF}\s{{1,3}}(?:$|(?:\w{{1,30}}"
    r"\s{1,3})?(?:chance|likelihood|probability|risk)\b)",
    re.IGNORECASE,
)
# "Spam score: 0.1", "a low spam score", "the spam filter": the word only says what is measured, or looked for.
_MEASURES = (
    r"\s{1,3}(?:\w{1,30}\s{1,3})?(?:chance|confidence|index|level|likelihood|odds|percentage|probability|risk|score)"
    r"s?\b"
)
_MEASURED = re.compile(
    rf"{_MEASURES}[^.;!?\n]{{0,40}}?(?:\.?\d|\b{_LITTLE}\b)|\s{{1,3}}(?:checker|classifier|detect(?:ion|or)|filter(?:ing)?)s?\b",
    re.IGNORECASE,
)
_MEASURE = re.compile(_MEASURES, re.IGNORECASE)
_LOW = re.compile(rf"\b{_LITTLE}\s{{1,3}}$", re.IGNORECASE)
# "High risk (80 %)", "low: 0.1": these say how much there is of what is measured.
_GRADE = re.compile(
    r"(?<![^\W_])(?:average|critical|good|high|info(?:rmational)?|low|major|medium|mild|minimal|minor|moderate|negligible"
    r"|normal|poor|severe|strong|trivial|weak)(?![^\W_])",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
# "A or B", "A -> B"; "A. No wait, B": the second is what was meant.
_AND = (
    r"[ ]{0,3}(?:[,/&|+]|;(?=[^\n,:]{0,80}(?:$|[.;!?]))|-{1,2}>|=>|\u2192|\((?=and\b|or\b))?[ ]{0,3}"
    r"(?:(?:and|or|but|also|maybe|perhaps)[ ]{1,3}){0,3}"
)
_RATHER = (
    r"[ ]{0,3}[,;.!?…–\u2014-]{1,3}\s{1,3}(?:(?:actually|hmm+|i\s+mean|make\s+that|no(?=[,:…]|\s+wait)|or\s+rather"
    r"|rather|sorry|wait)[,:.…!]{0,3}\s{1,3}){1,3}"
)
_SENTENCE = re.compile(r"[.!]\s{1,3}([^\s.!?][^.!?\n]{0,60}?)(?=[.!]|\s{0,3}$)")
# "- [ ] spam": what is not ticked.
_UNTICKED = re.compile(r"^[\s>*+-]{0,20}(?:\[ ?\]|\u2610)[^\n]*$", re.MULTILINE)
_CLAUSE = 200
_DRESS = 400
_MENTIONS = 200


class Vocabulary:
    """The words that a reply may choose from, each meaning a number; `texts` mean their own place.

    `others` are further spellings; one that reads like a word already there is left out. With `mentions`, a reply
    that speaks of one word only, and does not deny it, has chosen it.
    """

    def __init__(self, texts: Sequence[str], others: Sequence[tuple[str, int]] = (), *, mentions: bool = True) -> None:
        texts = [normalize("NFC", text) for text in texts]
        self.key = level(texts)
        self.index = {self.key(text): at for at, text in enumerate(texts)}
        self.mentions = mentions
        self.longest = _DRESS + 4 * max(map(len, texts))  # a bound only: it spares long replies the comparison
        spellings = list(texts)
        for text, at in ((normalize("NFC", other), at) for other, at in others):
            if self.key(text) and self.index.setdefault(self.key(text), at) == at:
                spellings.append(text)
        self.spellings = sorted(spellings, key=len, reverse=True)

    # Compiled when a reply first needs them, for that takes milliseconds: a judge's labels are new in every call, and
    # a reply of the form asked for needs none of these.

    @cached_property
    def _flags(self) -> int:
        return re.MULTILINE | (0 if cares_for_case(self.key) else re.IGNORECASE)

    @cached_property
    def _words(self) -> dict[str, str]:
        return {text: word_pattern(text, self.key) for text in self.spellings}

    @cached_property
    def _lead(self) -> re.Pattern[str]:
        short = [word for text, word in self._words.items() if _is_single(text)]
        long = [word for text, word in self._words.items() if not _is_single(text)]
        first = "|".join([rf"(?:{word})(?={_DELIMITER}|{_FOLLOWED})" for word in long])
        letters = "|".join(rf"(?:{word})(?={_DELIMITER})" for word in short)
        leads = "|".join(filter(None, (first, letters)))
        return re.compile(rf"^{_OPENING}(?:(?:{_NOUNS})\s{{1,3}}{_OPENING})?(?P<word>{leads})", self._flags)

    @cached_property
    def _also(self) -> re.Pattern[str]:
        """A second word right behind the first: "A, B", "yes and no", "spam/ham"."""
        every = "|".join(self._words.values())
        return re.compile(
            rf"{_CLOSING}(?:{_AND}|{_RATHER})[ \"'(\[]{{0,3}}"
            rf"(?P<word>{every})(?={_CLOSING}\s{{0,3}}(?:$|[.,;:!?/)]|(?:and|or)\b))",
            self._flags,
        )

    @cached_property
    def _every(self) -> str:
        return "|".join(f"(?-i:{word})" if _is_single(text) else word for text, word in self._words.items())

    @cached_property
    def _items(self) -> re.Pattern[str]:
        return shares.items(self._every, self._flags)

    @cached_property
    def _set_off(self) -> re.Pattern[str]:
        """Words in front of a delimiter or a verb."""
        return re.compile(
            rf"(?:{self._every})(?={_DELIMITER}|</|{_FOLLOWED}|\s{{1,3}}(?:instead|is|was)\b)", self._flags
        )

    @cached_property
    def _mention(self) -> re.Pattern[str]:
        """Long words as they stand; a single letter only behind a noun, enclosed, or before a delimiter."""
        found = []
        for text, word in self._words.items():
            if not _is_single(text):
                found.append(f"(?:{word})")
                continue
            found += [
                rf"\b(?:{_NOUNS})\s{{1,3}}{_OPENING}(?:{word})",
                rf"(?<=[(\[\"'])(?:{word})(?=[)\]\"'])",
                # "A or B" names two, and chooses none.
                rf"(?<!or\ )(?<!and\ )(?<![,&/]\ )(?<!\ ;\ )(?<!/)(?<!\w\.)(?-i:{word})(?=[.,):;!]|\s{{0,3}}$)",
            ]
        return re.compile("|".join(found), self._flags)

    @cached_property
    def _letters(self) -> re.Pattern[str]:
        """The single letters, spelled as declared; "I" is mostly the one who speaks."""
        single = [text for text in self.spellings if _is_single(text) and text != "I"]
        return re.compile("|".join(f"(?-i:{self._words[text]})" for text in single) or r"(?!)")

    def exact(self, text: str) -> int | None:
        """The word that the whole of `text` is."""
        if len(text) > self.longest:
            return None
        found = self.index.get(self.key(text))
        if found is None:
            bare = _NOUN_LED.sub("", text, count=1) if _NOUN_LED.match(text) else text
            found = self.index.get(self.key(bare.strip(" \t\n()[]{}<>$*#")))
        return found

    def leading(self, text: str) -> int | None:
        """The word that `text` begins with, set off from the rest, unless it is denied or one of several."""
        found = self.first(text)
        return found if found is not None and self._alone_in_front(text, found) else None

    def first(self, text: str) -> int | None:
        """The same, whatever the other lines begin with."""
        match = self._lead.match(text)
        if match is None:
            return None
        found = self._meant(match["word"])
        rest = text[match.end() : match.end() + _CLAUSE]
        conditional = not _is_single(match["word"]) and _CONDITIONAL.match(rest)
        if conditional or _is_slight(match["word"], rest) or _REFUTED.match(rest) or _is_numbered(match["word"], rest):
            return None
        if self._one_of_several(rest, found) or self._contradicted(rest, found):
            return None
        if shares.MARKED.match(rest) is None:
            return found
        line = text[match.start("word") :].partition("\n")[0][:_DRESS]
        return None if shares.first_of_several(self._items, line, self._meant) else found

    def _contradicted(self, rest: str, found: int | None) -> bool:
        """Whether another word is a sentence of its own: "Yes. No."."""
        return any(len(one) > 1 and self.exact(one) not in {None, found} for one in _SENTENCE.findall(rest))

    def _one_of_several(self, rest: str, found: int | None) -> bool:
        also = self._also.match(rest)
        return also is not None and self._meant(also["word"]) != found

    def _alone_in_front(self, text: str, found: int | None) -> bool:
        """Whether no other line begins with another word: "A) … B) …" goes through the choices, and makes none."""
        return all(self._meant(match["word"]) == found for match in self._lead.finditer(text))

    def alone(self, text: str) -> int | None:
        """The word that the last line is, if no other line is another."""
        found = self.exact(last_line(text))
        if found is None:
            return None
        return found if {self.exact(line) for line in text.splitlines()} <= {found, None} else None

    def bracketed(self, text: str) -> int | None:
        """The only word in square brackets: "so it is a prime number. [Yes]"."""
        found = {self.exact(inside) for inside in _BRACKETED.findall(text)} - {None}
        return found.pop() if len(found) == 1 else None

    def mentioned(self, text: str) -> int | None:
        """The only word that `text` speaks of as a whole word, unless it is denied, measured or everyday speech."""
        found: int | None = None
        chosen = False
        for place, match in enumerate(self._mention.finditer(text)):
            if place == _MENTIONS:
                return None
            meant = self._meant(match[0])
            if meant is None or found not in {None, meant} or match[0].casefold() in _EVERYDAY:
                return None
            if _denied(text, match) or self._one_of_several(text[match.end() : match.end() + _CLAUSE], meant):
                return None
            if _is_single(match[0]) and self._compared(text, match):
                return None
            found = meant
            chosen = chosen or not _measured(text, match)
        return found if chosen else None

    def takes_back(self, text: str, found: int) -> bool:
        """Whether the second thoughts of a text are of another word only."""
        tail = second_thought(text)
        if not tail or any(second_thought(f". {word}. ") for word in self.spellings):  # "wait" may be what is chosen
            return False
        named = {
            self._meant(match[0])
            for match in islice(self._set_off.finditer(tail), _MENTIONS)
            if match[0].casefold() in _EVERYDAY or not _denied(tail, match)
        }
        return bool(named) and found not in named and _by_marker(self, tail) != found

    def _compared(self, text: str, match: re.Match[str]) -> bool:
        """Whether a bare letter stands behind another one in its clause: "I prefer A over B", "A > B"."""
        before = text[max(0, match.start() - _CLAUSE) : match.start()].replace("vs.", "vs")
        clause = _TURNS.split(before)[-1].lstrip()
        if clause.endswith(_OPENERS) or _NAMED.search(clause):
            return False
        others = [other for other in self._letters.finditer(clause) if other[0] != match[0]]
        return any(other.start() or other[0] not in {"A", "a"} or _ACTS.match(clause, other.end()) for other in others)

    def _meant(self, word: str) -> int | None:
        found = self.index.get(self.key(word))
        return self.exact(word) if found is None else found

    def named(self, marker: Marker) -> int | None:
        """The word that a marker names."""
        value = _FILLERS.sub("", marker.value, count=1) if _FILLERS.match(marker.value) else marker.value
        for text in (marker.value, value):
            found = self.exact(text)
            if found is None:
                found = self.leading(text)
            if found is not None:
                return found
        return self.mentioned(value) if marker.grade == "firm" and self.mentions else None


def _is_single(text: str) -> bool:
    return len(text.strip(" ()[]\"'.:")) == 1


def _is_numbered(word: str, rest: str) -> bool:
    """Whether "No" is short for "number": "No. 5"."""
    return word.casefold() == "no" and re.match(r"\.?\s{0,3}\d", rest) is not None


def _denied(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - _CLAUSE) : match.start()]
    after = text[match.end() : match.end() + _CLAUSE]
    refuted = _REFUTED.match(after) or _DENIED.match(after) or _DENIED_BEHIND.match(after)
    if refuted or _is_slight(match[0], after):
        return True
    clause = _TURNS.split(before)[-1]
    return bool(_NEGATED.search(_AFFIRMED.sub("", clause)) or _SLIGHTLY.search(clause))


def _is_slight(word: str, after: str) -> bool:
    """Whether a word is given a share of less than half; "B: 0.25" is an option and its text, "Yes: 5%" an answer.

    "P3: low" is a grade and its meaning.
    """
    plain_word = not _is_single(word) and word.casefold() not in _EVERYDAY and not _GRADE.search(word)
    slight = _SLIGHT.match(after) if plain_word else None
    return slight is not None and not (slight["little"] and _DIGIT.search(word))


def _measured(text: str, match: re.Match[str]) -> bool:
    """Whether a word stands in front of a measure and says of what it is: it chooses nothing, and denies nothing."""
    if _GRADE.search(match[0]):
        return False
    after = text[match.end() : match.end() + _CLAUSE]
    low = _LOW.search(text, max(0, match.start() - 20), match.start())
    return bool(_MEASURED.match(after) or (low and _MEASURE.match(after)))


def decide(vocabulary: Vocabulary, text: str) -> int:
    """The word that a reply chooses; raises `Unreadable` where it names something else, several, or none.

    In this order: the whole reply, its JSON, the last place that names the answer, its first word if set off, its
    last line, the only word in brackets, and the only word mentioned, unless "the answer" is spoken of elsewhere.
    """
    text = _UNTICKED.sub("", normalize("NFC", text))
    found = vocabulary.exact(text)
    if found is None:
        found = _by_json(vocabulary, text)
    if found is None:
        bare = plain(text)
        found = _by_marker(vocabulary, bare)
        found = _by_place(vocabulary, bare) if found is None else found
        if found is None:
            raise Unreadable("the reply does not plainly say which")
        if vocabulary.takes_back(bare, found):
            raise Unreadable("it takes its answer back")
    return found


def _by_json(vocabulary: Vocabulary, text: str) -> int | None:
    value = json_answer(text)
    if value is NOTHING:
        return None
    return settle([Marker(said(value) or "null", "firm")], vocabulary.named)


def _by_marker(vocabulary: Vocabulary, bare: str) -> int | None:
    """What is named as the answer; failing that, as a verdict, a label and the like."""
    found = list(FINDER.markers(bare))
    named = settle([marker for marker in found if marker.grade != "weak"], vocabulary.named)
    if named is None:
        named = settle([marker for marker in found if marker.grade == "weak"], vocabulary.named)
    return named


def _by_place(vocabulary: Vocabulary, bare: str) -> int | None:
    for find in (vocabulary.leading, vocabulary.alone, vocabulary.bracketed):
        found = find(bare)
        if found is not None:
            return found
    prose = any(marker.grade == "soft" for marker in FINDER.markers(bare))
    return vocabulary.mentioned(bare) if vocabulary.mentions and not prose else None
