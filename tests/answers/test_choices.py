"""One of a declared set: found wherever a model may have put it, and never guessed."""

from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal

import pytest

from fanfold.errors import UsageError
from fanfold.folds.canonical import ballot_key
from fanfold.steps.answers import answer
from fanfold.steps.answers.words import Vocabulary, decide
from tests.answers.cases import DRESS, read, refused

Mail = Literal["spam", "ham"]
Letter = Literal["A", "B", "C", "D"]
Stars = Literal[1, 2, 3, 4, 5]
Scope = Literal["unsafe", "safe"]
Sorted = Literal["spam", "not spam"]
Language = Literal["C", "C++", "C#"]
Country = Literal["us", "US", "fr"]
Certain = Literal["yes", "no", "unsure"]
Phrase = Literal["strongly agree", "agree", "neither agree nor disagree"]
Odd = Literal["yes", 2, True]


class Colour(Enum):
    RED = "#f00"
    GREEN = "#0f0"
    SKY_BLUE = "#08f"


class Kind(StrEnum):
    QUESTION = "a question"
    ORDER = "an order"
    ASK = "a question"


class Size(IntEnum):
    SMALL = 1
    LARGE = 10


class Shape(Enum):
    ROUND = (1, 2)
    SQUARE = None


class Swapped(Enum):
    A = "B"
    B = "A"


@pytest.mark.parametrize("dress", DRESS)
@pytest.mark.parametrize(
    ("returns", "value"),
    [
        (Mail, "spam"),
        (Letter, "B"),
        (Letter, "A"),
        (Stars, 4),
        (Scope, "unsafe"),
        (Scope, "safe"),
        (Sorted, "not spam"),
        (Language, "C++"),
        (Country, "US"),
        (Certain, "no"),
        (Phrase, "neither agree nor disagree"),
        (Phrase, "agree"),
        (Odd, 2),
    ],
    ids=range(13),
)
def test_a_choice_is_read_in_every_dress(dress: str, returns: Any, value: Any) -> None:
    """A reply that is a choice reads as it in bold, quoted, behind a marker, boxed, tagged and as JSON."""
    assert read(returns, DRESS[dress](str(value), value)) == value


@pytest.mark.parametrize("dress", DRESS)
@pytest.mark.parametrize(
    ("text", "member"),
    [("#f00", Colour.RED), ("RED", Colour.RED), ("green", Colour.GREEN), ("sky_blue", Colour.SKY_BLUE)],
)
def test_an_enum_is_read_in_every_dress(dress: str, text: str, member: Colour) -> None:
    """A reply that is an Enum's value or a member's name reads as the member, however it is put."""
    if dress == "underscored" and text.startswith("#"):
        pytest.skip("no model underscores a colour code")
    assert read(Colour, DRESS[dress](text, text)) is member


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SPAM", "spam"),
        ("Spam!", "spam"),
        ("  *spam* ", "spam"),
        ("- spam", "spam"),
        ("* ham", "ham"),
        ("(ham)", "ham"),
        ("[ham]", "ham"),
        ("<spam>", "spam"),
        ("$spam$", "spam"),
        ("Label spam", "spam"),
        ("Category: Spam", "spam"),
    ],
)
def test_case_markdown_and_punctuation_play_no_part(text: str, value: str) -> None:
    """A choice alone is read whatever its case and whatever marks stand around it."""
    assert read(Mail, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("spam — because of the link", "spam"),
        ("spam - because of the link", "spam"),
        ("spam. It says it is not ham.", "spam"),
        ("spam: it wants money", "spam"),
        ("spam, not ham", "spam"),
        ("spam; obviously", "spam"),
        ("spam because ham would not ask", "spam"),
        ("spam (it wants money)", "spam"),
        ("**ham**\n\nThis is no spam.", "ham"),
        ("ham\nIt is not spam", "ham"),
        ('"Spam", I would say; surely not ham', "spam"),
        ("Spam! Ham does not look like this", "spam"),
        ("### Ham\nThis is not spam", "ham"),
        ("Category spam. Not ham.", "spam"),
    ],
)
def test_a_leading_choice_counts_if_set_off(text: str, value: str) -> None:
    """A reply that begins with a choice and a delimiter has chosen it."""
    assert read(Mail, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B) because", "B"),
        ("(B) because it is", "B"),
        ("(A) Very optimistic", "A"),
        ("(B) Does not describe research scientists well.", "B"),
        ("(A) Don't want to carry", "A"),
        ("(C) If it rains", "C"),
        ("B. 15.8113", "B"),
        ("B: 15.8113", "B"),
        ("B - the second", "B"),
        ("A, because", "A"),
        ("A because B is wrong", "A"),
        ("**C**\nA and B are wrong.", "C"),
        ("Option C: it is", "C"),
        ("Choice (D): it is", "D"),
        ("b) because", "B"),
        ("[A] is it", "A"),
        ("D\n\nA rectangular solid has eight vertices.", "D"),
    ],
)
def test_a_leading_letter_counts_if_set_off(text: str, value: str) -> None:
    """A single letter in front counts with a delimiter."""
    assert read(Letter, text) == value


@pytest.mark.parametrize(
    "text",
    [
        "A rectangular solid is inscribed in a sphere",
        "a rectangular solid",
        "B is a letter",
        "C major would fit here",
        "A-frame houses",
        "D'Artagnan",
        "A's are good",
        "I think a) or b) would do",
        "vitamin B complex",
        "U.S.A",
        "see fig. A1",
        "The letters ABC",
        "plan b-side",
    ],
)
def test_a_letter_in_prose_is_no_choice(text: str) -> None:
    """The reply "A rectangular solid is …" does not choose A: a single letter needs a delimiter, or to stand alone."""
    refused(Letter, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: B", "B"),
        ("answer is (B)", "B"),
        ("The correct answer is C: clarifying a principle", "C"),
        ("The answer is most likely B.", "B"),
        ("The answer would be option D.", "D"),
        ("The answer must be A, since B and C are out.", "A"),
        ("The answer to this question is B.", "B"),
        ("Answer -> B", "B"),
        ("Answer \u2192 B", "B"),
        ("Answer - B", "B"),
        ("Answer: **B**. It is the one.", "B"),
        ("Answer: (B) 15.8113", "B"),
        ("Answer:\n\n(B)", "B"),
        ("Ans: C", "C"),
        ("answer=C", "C"),
        ("Answer\uff1aC", "C"),
        ('Action: Answer("B")', "B"),
        ("Action: Answer('B')", "B"),
        ("Action: Answer(B)", "B"),
        ('Answer: Answer("D")', "D"),
        ('Action: Answer("E") None of these.\nAction: Answer("B")', "B"),
        ("\\boxed{B}", "B"),
        ("$\\boxed{\\text{C}}$", "C"),
        ("the answer is $\\boxed{\\textbf{(D)}\\ 2x-y=7a}$.", "D"),
        ("<answer>B</answer>", "B"),
        ("<final answer> B </final answer>", "B"),
        ("A and B are close. [[B]]", "B"),
        ("The best choice is D", "D"),
        ("My selection: C", "C"),
        ("Winner: A", "A"),
        ("The right option is B because A is not.", "B"),
    ],
)
def test_a_marker_names_the_choice(text: str, value: str) -> None:
    """An "Answer:", an "answer is", a call, a box, a tag and the like name the choice, wherever they stand."""
    for padded in (
        text,
        f"Thought:\n  A rectangular solid has 8 vertices.\n  {text}\n",
        f"{text}\n\nI hope this helps.",
    ):
        assert read(Letter, padded) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Answer("A")\nNo, wait.\nAnswer("C")', "C"),
        ('The answer is A: 13.3542.\nAction: Answer("B")', "B"),
        ('The answer is approximately 15.8113.\nAction: Answer("B")', "B"),
        ("B) is tempting, but the answer is C.", "C"),
        ("Answer: D\n\nFinal answer: A", "A"),
        ("**D: Answer(D)**\n\nLet me analyze each option:\nA: no good", "D"),
        ("Answer: B. The answer is clear from line 3.", "B"),
        ("The wrong answer is A. The right answer is B.", "B"),
        ("The incorrect answer: A\nAnswer: C", "C"),
    ],
)
def test_the_last_marker_wins(text: str, value: str) -> None:
    """Of several places that name the answer the last one that names a choice counts."""
    assert read(Letter, text) == value


@pytest.mark.parametrize(
    "text",
    [
        'B is close. Action: Answer("None of the above")',
        'A, B and C are wrong. Action: Answer("N")',
        'Option B is best.\nAction: Answer("E")',
        'Answer("ABC")',
        'Answer("A or B")',
        'Answer("A, B, D")',
        'Answer("B") or Answer("C")',
        'Answer("B") and Answer("C")',
        'Answer("A", "C")',
        "Answer: A or B",
        "Answer: A, B",
        "Answer: A/B",
        "Answer: none, though B. is close",
        "Answer: A rectangle",
        "\\boxed{15}",
        "<answer>unknown</answer>",
        '{"answer": "E"}',
        '{"answer": null}',
        '{"answer": ["A", "B"]}',
        '{"answer": 3}',
    ],
)
def test_a_marker_that_names_no_choice_is_refused(text: str) -> None:
    """Where the named answer is not one of the choices, letters elsewhere do not make it one."""
    assert "names" in refused(Letter, text)


@pytest.mark.parametrize(
    "text",
    [
        "The answer is unclear, though (B) looks good to me somehow",
        "The answer is Rs. 63, which is not listed. Option C is near.",
        "The answer is a rectangle",
        "The answer is either A or B.",
        "The answer is (A) or (C).",
        "The answer is not B.",
    ],
)
def test_prose_about_the_answer_forbids_guessing(text: str) -> None:
    """Where "the answer is" goes on with something else, a choice mentioned elsewhere is no choice made."""
    refused(Letter, text)


def test_long_prose_behind_a_colon_names_nothing() -> None:
    """The words "Answer: Let us think step by step …" begins some reasoning; what stands at the end still counts."""
    reasoning = (
        "Answer: Let us look at this step by step, since the question has several parts that depend on each other."
    )
    assert read(Letter, f"{reasoning}\nSo it is the second one.\n\nB") == "B"
    assert read(Letter, f"{reasoning}\nAnswer: C") == "C"
    refused(Letter, f"{reasoning} Option B looks good")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("I weighed spam against ham.\n\nham", "ham"),
        ("It is not spam, all in all.\n**Ham.**", "ham"),
        ("spam or ham?\n\n  - Spam\n\n", "spam"),
        ("spam: 0.2\nham: 0.8\n\nham", "ham"),
    ],
)
def test_a_lone_last_line_is_the_choice(text: str, value: str) -> None:
    """Where nothing before is the choice, a last line that is one alone is."""
    assert read(Mail, text) == value


def test_a_lone_last_line_after_going_through_the_letters() -> None:
    """A reply that goes through the choices line by line has chosen by its last line, if by any."""
    assert read(Letter, "A) too small\nB) too large\nC) just right\n\nC") == "C"
    refused(Letter, "A) too small\nB) too large\nC) just right")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("This is clearly spam to me", "spam"),
        ("I'd say ham.", "ham"),
        ("It looks like SPAM since it wants money", "spam"),
        ("I am confident this message is _spam_", "spam"),
        ("It is not personal, so it is spam", "spam"),
        ("I see nothing wrong with it: ham", "ham"),
        ("No link in it. Ham, I think", "ham"),
        ("It is spam. Spam like this is common.", "spam"),
        ('{"label": "ham"}', "ham"),
        ('{"label": "ham", "why": "no link"}', "ham"),
        ("Verdict: this mail is spam", "spam"),
        ("Answer: The mail is spam.", "spam"),
    ],
)
def test_the_only_choice_mentioned_is_the_choice(text: str, value: str) -> None:
    """A reply that speaks of one choice only, as a whole word and without denying it, has chosen it."""
    assert read(Mail, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("I would go with B.", "B"),
        ("I choose (C) here", "C"),
        ("Option B is right", "B"),
        ("It has to be option D", "D"),
        ("Between A and B, I would take B", "B"),
        ('My pick would be "C"', "C"),
        ("the letter d fits", "D"),
    ],
)
def test_the_only_letter_mentioned_with_a_delimiter_is_the_choice(text: str, value: str) -> None:
    """A single letter is a mention behind "option" and the like, enclosed, or before a delimiter."""
    assert read(Letter, text) == value


@pytest.mark.parametrize(
    "text",
    [
        "I prefer A over B.",
        "A outperforms B.",
        "A beats B",
        "A is preferable to B.",
        "A is clearly superior to B!",
        "B wins against A.",
        "C edges out D.",
        "A > B",
        "A >> B",
        "B>A",
        "A|B",
        "A&B",
        "A vs. B",
        "A \u227b B",
        "Answer: A over B",
        "Verdict: A > B",
        "Both are good, yet I think A is the best, compared with B.",
    ],
)
def test_a_letter_that_another_is_compared_with_is_no_choice(text: str) -> None:
    """Of "I prefer A over B" only the last letter has a delimiter, and it is the one that was not chosen."""
    refused(Letter, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A careful look at the facts leads me to B.", "B"),
        ("A better fit is B.", "B"),
        ("Of C and D the better one is D.", "D"),
        ("Over A I prefer B.", "B"),
        ("I looked at A but settle on C.", "C"),
        ("Both C and D are near but it should be B.", "B"),
    ],
)
def test_a_letter_behind_another_is_the_choice_where_it_is_plainly_named(text: str, value: str) -> None:
    """An article is no letter, and "is", "I prefer" or another clause says that this one is meant."""
    assert read(Letter, text) == value


def test_a_pronoun_is_no_letter_to_compare_with() -> None:
    """Where "I" is a choice, it is mostly the one who speaks."""
    assert read(Literal["A", "B", "C", "D", "E", "F", "G", "H", "I"], "All in all I settle on B.") == "B"


@pytest.mark.parametrize(
    "text",
    [
        "not spam",
        "isn't spam",
        "isn\u2019t spam",
        "no spam",
        "It is not spam.",
        "This is not really what I would call spam",
        "It isn't spam at all",
        "I cannot tell whether this is spam",
        "I am unable to say if it is spam",
        "It could never be spam",
        "Nothing about it is spam",
        "neither spam nor anything else",
        "without any spam",
        "Unlikely to be spam",
        "rather than spam",
        "spam is not what this is",
        "Spam is unlikely",
        "It was spam? No.",
        "spam can be ruled out",
        "spam isn't it",
        "Is this spam?",
        "Is it spam or not",
        "Spam: no",
        "Spam - false.",
        '{"spam": false}',
        "I doubt that it is spam",
    ],
)
def test_a_denied_choice_is_no_choice(text: str) -> None:
    """Texts like "not spam", "isn't spam", "no spam", "spam: no" and "is it spam?" choose nothing."""
    refused(Mail, text)


@pytest.mark.parametrize(
    "text",
    [
        "Das ist kein Spam.",
        "Das ist nicht spam",
        "Spam ist das nicht.",
        "Ce n'est pas du spam.",
        "Ce n\u2019est gu\u00e8re du spam.",
        "Aucun spam ici",
        "N\u00e3o \u00e9 spam",
        "Non \u00e8 spam",
        "Nunca spam",
        "Dit is geen spam",
        "Det \u00e4r inte spam",
        "To nie jest spam",
        "To nen\u00ed spam",
        "\u042d\u0442\u043e \u043d\u0435 spam",
        "\u0394\u03b5\u03bd \u03b5\u03af\u03bd\u03b1\u03b9 spam",
        "Bu spam de\u011fildir",
        "\u8fd9\u4e0d\u662f spam",
        "\u5e76\u975e spam",
        "\u3053\u308c\u306f spam \u3067\u306f\u306a\u3044",
        "spam \uc544\ub2d9\ub2c8\ub2e4",
        "\u092f\u0939 spam \u0928\u0939\u0940\u0902 \u0939\u0948",
        "far from spam",
        "anything but spam",
        "It is free of spam",
        "everything except spam",
        "It lacks any sign of spam",
        "It is not so clearly spam",
        "N\u00e3o \u00e9 mais spam",
        "Spam ist der Text nicht",
        "There is no question of spam here",
        "Kein Problem mit Spam",
    ],
)
def test_a_choice_denied_in_other_words_or_another_language_is_none(text: str) -> None:
    """Who is asked in German answers in German, and "kein Spam" is no ballot for spam."""
    refused(Mail, text)


@pytest.mark.parametrize(
    "text",
    [
        "Das ist eindeutig Spam.",
        "Das ist nichts Pers\u00f6nliches, sondern Spam",
        "C'est du spam, sans aucun doute",
        "Il s'agit de spam",
        "Es un spam",
        "\u042d\u0442\u043e spam",
        "\u8fd9\u975e\u5e38\u660e\u663e\u662f spam",
        "\u3053\u308c\u306f spam \u3067\u3059",
        "It is nothing but spam",
        "Except for the greeting, this is spam",
        "It lacks a sender and is clearly spam",
        "There is no doubt that this is spam",
        "This is not only spam but a crime",
        "Kein Problem, das ist Spam",
        "Ohne Zweifel ist das Spam",
        "Das ist nicht nur Spam",
        "Das ist Spam und sollte nicht ge\u00f6ffnet werden",
        "Ce n'est pas une lettre, mais du spam",
        "Sans aucun doute du spam",
        "C'est du spam et il ne faut pas cliquer",
        "\u6beb\u7121\u7591\u554f\u662f spam",
    ],
)
def test_a_choice_affirmed_in_another_language_is_one(text: str) -> None:
    """A word of denial denies what its own clause says of the choice, and "no doubt" denies nothing."""
    assert read(Mail, text) == "spam"


@pytest.mark.parametrize(
    "text",
    [
        "spam score: 0.1",
        "**Spam score:** 2",
        "The spam probability is very low.",
        "I would put the spam score at .1",
        "Spam score (0-10): 2",
        "Answer: spam score 0.1",
        '{"spam score": 0.1}',
        "Low spam score",
        "It passed the spam filter",
        "Spam: 0.1",
        "Spam: 5%, at most",
        "spam = 0,02",
        '{"spam": 0.1}',
        "The likelihood of spam is low.",
        "The chance that this is spam is 5%",
        "There is little evidence of spam",
        "There is only a small chance that this is spam",
        "10% spam",
    ],
)
def test_a_choice_that_is_only_measured_is_none(text: str) -> None:
    """A text that says how little spam there is, or how much of what spam has, does not choose spam."""
    refused(Mail, text)


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (Mail, "spam (confidence 0.9)", "spam"),
        (Mail, "spam (confidence: 0.4)", "spam"),
        (Mail, "spam: 0.9", "spam"),
        (Mail, "spam - 98%", "spam"),
        (Mail, "It is spam. Spam score: 0.99", "spam"),
        (Mail, "Spam score: 0.1. I would call it ham.", None),
        (Mail, "There is a 95% chance this is spam", "spam"),
        (Mail, "There is a high probability that this is spam", "spam"),
        (Mail, "This is a spam email with 3 links", "spam"),
        (Mail, "Move it to the spam folder", "spam"),
        (Literal["low", "high"], "It is high risk (80%).", "high"),
        (Literal["low", "high"], "low: 0.1", "low"),
        (Literal["low risk", "high risk"], "low risk: 5%", "low risk"),
        (Letter, "B: 0.25", "B"),
        (Letter, "Option B: 5%", "B"),
        (bool, "Yes: 5%", True),
        (bool, "\\boxed{\\operatorname{Yes}}", True),
        (Mail, "spam\n0.3", "spam"),
        (Mail, "spam\n\nlow", "spam"),
        (Mail, "**spam**\n- low", "spam"),
        (Literal["P1", "P3"], "P3 - low", "P3"),
        (Literal["P1", "P3"], "P3: Low.", "P3"),
        (Literal["sev 1", "sev 4"], "Sev 4: minimal", "sev 4"),
        (Literal["P1", "P3"], "P3: 0.1", None),
        (Literal["trivial", "urgent"], "Trivial - low", "trivial"),
        (Literal["info", "warning"], "Info: low", "info"),
        (Literal["info", "warning"], "Warning: low", None),
    ],
)
def test_a_choice_beside_a_number_is_still_one(returns: Any, text: str, value: Any) -> None:
    """How sure the choice is, or what else is counted, takes nothing from it."""
    if value is None:
        refused(returns, text)
    else:
        assert read(returns, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("spam (0.02), ham (0.98)", None),
        ("Spam (2%), ham (98%)", None),
        ("spam (probability: 0.02), ham (probability: 0.98)", None),
        ("spam [0.02] ham [0.98]", None),
        ("spam -> 0.02, ham -> 0.98", None),
        ("spam (low), ham (high)", None),
        ("spam (0.5), ham (0.5)", None),
        ("spam: 3, ham: 8", None),
        ("Answer: spam (0.3), ham (0.7)", None),
        ("ham: 3/10, spam: 7/10", None),
        ("spam: 1/10", None),
        ("spam (the link), ham (the greeting)", None),
        ("ham (0.98), spam (0.02)", "ham"),
        ("ham: 0.98, spam: 0.02", "ham"),
        ("spam (70%), ham (30%)", "spam"),
        ("spam: 7/10, ham: 3/10", "spam"),
        ("spam: yes, ham: no", "spam"),
        ("spam (0.02)", "spam"),
        ("spam (ham is less likely)", "spam"),
        ("Label: spam (unwanted mail), not ham (wanted mail)", "spam"),
        ("Spam (it sells), whereas ham (letters) does not", "spam"),
        ("spam: because ham: would be personal", "spam"),
        ("spam: it wants money", "spam"),
    ],
)
def test_a_line_that_goes_through_the_choices_has_chosen_the_first_only_where_it_is_given_the_most(
    text: str, value: str | None
) -> None:
    """A label with its share in front of the others is the first on a list, not the one that was chosen."""
    if value is None:
        refused(Mail, text)
    else:
        assert read(Mail, text) == value


def test_three_choices_with_their_shares_are_held_against_each_other() -> None:
    """The first of three is chosen if it has more than each of the others, half or not."""
    mood = Literal["positive", "negative", "neutral"]
    assert read(mood, "neutral (0.4), positive (0.35), negative (0.25)") == "neutral"
    refused(mood, "negative (0.3), positive (0.1), neutral (0.6)")
    assert read(Letter, "A: 3:4") == "A"
    assert read(Letter, "B (Paris). C (London) is not the capital.") == "B"
    assert read(Letter, "The answer is B (Paris), not A (London).") == "B"
    assert read(Letter, "Answer: B (12). A (15) is too large.") == "B"
    assert read(Letter, "Answer: B: Paris. A: London is in England.") == "B"
    assert read(Letter, "B: the ratio of C to D") == "B"


@pytest.mark.parametrize("text", ["B -> C", "Answer: B -> C", "B \u2192 C.", "B; C", "Answer: B (or C)", "B (or D)."])
def test_a_letter_that_another_follows_is_no_choice(text: str) -> None:
    """What is put after an arrow, or offered in parentheses, is a second choice."""
    refused(Letter, text)


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (Mail, "Spam. No wait, ham.", None),
        (Mail, "Spam. Actually, ham.", None),
        (Mail, "Spam, or rather ham", None),
        (Mail, "spam \u2026 no, ham", None),
        (Mail, "Spam. It has a link. Ham.", None),
        (Mail, "Answer: spam\n\nOn second thought, it is ham.", None),
        (Letter, "B. Wait, C is right.", None),
        (Letter, "Answer: B. Wait, actually C.", None),
        (Letter, "The answer is B... no, C.", None),
        (Letter, "Answer: B\n\nWait, that is wrong. It is C.", None),
        (Letter, "Answer: B\n\nHold on. Let me reconsider.\n\nAnswer: C", "C"),
        (Letter, "B. Wait, A could be meant, too. No: B is best.", "B"),
        (Letter, "Is it A? Wait, no.\nAnswer: B", "B"),
        (Letter, "(C) Wait, then leave.", "C"),
        (Letter, "B. Wait until it rains", "B"),
        (Letter, "A. C. Clarke", "A"),
        (Letter, "D. Actually, A is wrong, too.", "D"),
        (Mail, "Spam. Ham is rarer.", "spam"),
        (Mail, "Spam, no ham in it.", "spam"),
        (Mail, "Spam, actually.", "spam"),
        (Mail, "Actually, spam.", "spam"),
        (Mail, "Spam. Wait for the next one.", "spam"),
        (Mail, 'Spam. The sender says: "Wait, ham is cheap!"', "spam"),
        (Mail, "Wait, ham is possible.\nLabel: spam as it sells", "spam"),
        (Letter, "Hmm. Wait, A is possible.\n<answer>B</answer>", "B"),
        (Letter, "B; A, C and D are wrong", "B"),
        (Letter, "B ; C", None),
        (Literal["buy", "sell", "wait"], "Answer: wait. Buy is too risky.", "wait"),
        (Literal["buy", "sell", "wait"], "Verdict: wait, sell is worse", "wait"),
        (Literal["buy", "sell", "wait"], "Answer: buy; wait: no", "buy"),
    ],
)
def test_a_choice_that_is_taken_back_is_none(returns: Any, text: str, value: str | None) -> None:
    """Who thinks again and speaks of another choice only has not made the first; who comes back to it has."""
    if value is None:
        refused(returns, text)
    else:
        assert read(returns, text) == value


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (Mail, "[x] spam\n[ ] ham", "spam"),
        (Mail, "- [ ] spam\n- [x] ham", "ham"),
        (Mail, "\u2610 spam\n\u2611 ham", "ham"),
        (Letter, "- [ ] A\n- [x] B\n- [ ] C", "B"),
        (Mail, "[ ] spam\n[ ] ham", None),
        (Mail, "[ ] ham", None),
        (bool, "[x] Yes\n[ ] No", None),
        (Literal["X", "Y"], "[X]", "X"),
    ],
)
def test_a_box_that_is_not_ticked_is_no_choice(returns: Any, text: str, value: Any) -> None:
    """A reply that ticks one box of a list has not chosen the last of them."""
    if value is None:
        refused(returns, text)
    else:
        assert read(returns, text) == value


def test_a_choice_is_the_same_however_its_accents_are_encoded() -> None:
    """An accent is one character or two, which nobody sees: both are the choice, and one ballot."""
    drinks = Literal["caf\u00e9", "th\u00e9"]
    for reply in ("cafe\u0301", "CAFE\u0301.", "The answer is **cafe\u0301**.", '{"answer": "cafe\u0301"}'):
        assert read(drinks, reply) == "caf\u00e9"
    assert read(Literal["cafe\u0301", "the\u0301"], "caf\u00e9") == "cafe\u0301"
    assert ballot_key("Caf\u00e9") == ballot_key("cafe\u0301")


@pytest.mark.parametrize(
    "text",
    [
        "spam or ham",
        "spam/ham",
        "spam, ham",
        "spam and ham.",
        "Could be spam, could be ham",
        "Spam: 0.5\nHam: 0.5",
        '{"spam": 0.4, "ham": 0.6}',
        "Not ham but spam",
        "neither spam nor ham",
        "Answer: spam or ham",
        "spam\nham",
    ],
)
def test_several_choices_are_no_choice(text: str) -> None:
    """A reply that speaks of more than one choice, without naming one the answer, is refused."""
    refused(Mail, text)


@pytest.mark.parametrize(
    "text", ["A, B", "A or B", "A/B", "A and B", "A & B", "A, B or C.", "Options: A, B, C", "A\nB"]
)
def test_several_letters_are_no_choice(text: str) -> None:
    """The same for letters."""
    refused(Letter, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "spammy",
        "unspam",
        "hamster",
        "spam_folder",
        "spam-like behaviour",
        "non-spam",
        "anti-spam",
        "sham",
        "eggs",
        "I'm sorry, but I can't help with that.",
        "???",
        "{}",
        "null",
    ],
)
def test_what_is_no_choice_is_refused(text: str) -> None:
    """A choice inside a longer word is none, and neither is anything else."""
    assert "wanted one of spam, ham" in refused(Mail, text)


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (Sorted, "This is not spam.", "not spam"),
        (Sorted, "not spam — a newsletter", "not spam"),
        (Sorted, "Answer: not spam", "not spam"),
        (Sorted, "Not-spam: fine", "not spam"),
        (Sorted, "NOT_SPAM", "not spam"),
        (Sorted, "This is spam.", "spam"),
        (Scope, "This is unsafe.", "unsafe"),
        (Scope, "It is quite safe to say", "safe"),
        (Scope, "Unsafe, not safe", "unsafe"),
        (Phrase, "I strongly agree with this", "strongly agree"),
        (Phrase, "I agree with this", "agree"),
        (Phrase, "Strongly agree.", "strongly agree"),
        (Language, "C# because it is typed", "C#"),
        (Language, "I would take C++ for this", "C++"),
        (Language, "Answer: C", "C"),
        (Language, "C, not C++", "C"),
    ],
)
def test_the_longest_choice_comes_first(returns: Any, text: str, value: str) -> None:
    """The text "not spam" as a declared choice is not spam, "unsafe" is not safe, "C++" is not C."""
    assert read(returns, text) == value


@pytest.mark.parametrize("text", ["Us", "uS.", "Answer: Us", "FR", "I'd say Us"])
def test_choices_that_differ_by_case_match_exactly(text: str) -> None:
    """With "us" and "US" both declared, case decides for all of them, and "Us" is neither."""
    assert read(Country, "us") == "us"
    assert read(Country, "Answer: US") == "US"
    assert read(Country, "US — clearly") == "US"
    refused(Country, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("4.0", 4),
        ("4/5", 4),
        ("I'd rate it 4/5.", 4),
        ("4 out of 5 \u2013 solid", 4),
        ("Rating: 3", 3),
        ("**Score:** 2/5", 2),
        ("I give it 5 stars out of 5? No.\nScore: 3", 3),
        ("2. Because of 3 things", 2),
        ('{"rating": 4}', 4),
        ('{"answer": "4"}', 4),
        ("Option 2 is the best", 2),
        ("[[5]]", 5),
    ],
)
def test_whole_numbers_as_choices_are_read_as_numbers(text: str, value: int) -> None:
    """Choices that are all whole numbers take scores: "4/5" is 4, and so is "Rating: 4"."""
    assert read(Stars, text) == value
    assert read(Literal["1", "2", "3", "4", "5"], text) == str(value)


@pytest.mark.parametrize(
    "text",
    [
        "6",
        "0",
        "-1",
        "1.5",
        "Score: 7/10",
        "Score: 3/10",
        "Score: 3%",
        "10",
        "None of the 2 replies",
        "3 or 4",
        "3-4",
        '{"answer": 9}',
        "five",
    ],
)
def test_numbers_that_are_no_choice_are_refused(text: str) -> None:
    """A number off the list is not rounded, clipped or guessed at."""
    refused(Stars, text)


@pytest.mark.parametrize(
    ("text", "value"), [("Response 1 is better", "1"), ("Output (2) wins", "2"), ("[[2]]", "2"), ("Winner: 1", "1")]
)
def test_judges_name_a_response_by_its_number(text: str, value: str) -> None:
    """Both "Response 1 is better" and "[[1]]" choose 1."""
    assert read(Literal["1", "2"], text) == value
    refused(Literal["1", "2"], "Response 2 is better than response 1")


@pytest.mark.parametrize(
    "text", ["There is no way to tell", "I see no reason", "That is not true, I think", "unsure, or rather no"]
)
def test_everyday_words_need_more_than_a_mention(text: str) -> None:
    """As choices, yes, no, true, false and none count only where they are the answer, not where they occur."""
    refused(Literal["yes", "no", "true", "none", "perhaps so"], text)


def test_an_everyday_word_beside_another_choice_forbids_guessing() -> None:
    """The word "unsure" is a mention; beside a "no" it is none."""
    assert read(Certain, "I am unsure") == "unsure"
    assert read(Certain, "No, it is not.") == "no"
    refused(Certain, "I am unsure, there is no clue")


def test_mixed_choices_come_back_as_declared() -> None:
    """Strings, ints and bools may be mixed; each comes back with its own type."""
    for text, value in [("yes", "yes"), ("2", 2), ("true", True), ('{"answer": true}', True), ('{"answer": 2}', 2)]:
        found = read(Odd, text)
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("returns", "text", "member"),
    [
        (Colour, "#0F0", Colour.GREEN),
        (Colour, "Green.", Colour.GREEN),
        (Colour, "sky blue", Colour.SKY_BLUE),
        (Colour, "It is Sky-Blue to me", Colour.SKY_BLUE),
        (Colour, '{"answer": "#f00"}', Colour.RED),
        (Kind, "A question.", Kind.QUESTION),
        (Kind, "ask", Kind.QUESTION),
        (Kind, "ORDER", Kind.ORDER),
        (Kind, "Answer: an order", Kind.ORDER),
        (Size, "10", Size.LARGE),
        (Size, "small", Size.SMALL),
        (Size, "Score: 1/10", Size.SMALL),
        (Size, '{"answer": 10}', Size.LARGE),
        (Shape, "round", Shape.ROUND),
        (Shape, "Answer: SQUARE", Shape.SQUARE),
        (Swapped, "A", Swapped.B),
        (Swapped, "B", Swapped.A),
    ],
)
def test_enums_are_read_by_value_and_by_name(returns: Any, text: str, member: Enum) -> None:
    """A member comes back for its value, its name or an alias; where a name is another's value, the value counts."""
    assert read(returns, text) is member


def test_literals_may_hold_enum_members() -> None:
    """A Literal of members reads their values."""
    assert read(Literal[Colour.RED, Colour.GREEN], "#f00") is Colour.RED
    assert answer(Literal[Colour.RED, Colour.GREEN]).choices == (Colour.RED, Colour.GREEN)


@pytest.mark.parametrize(
    ("returns", "choices", "types", "sent", "listed"),
    [
        (Mail, ("spam", "ham"), "string", ["spam", "ham"], "spam, ham"),
        (Stars, (1, 2, 3, 4, 5), "integer", [1, 2, 3, 4, 5], "1, 2, 3, 4, 5"),
        (Odd, ("yes", 2, True), ["string", "integer", "boolean"], ["yes", 2, True], "yes, 2, true"),
        (Sorted, ("spam", "not spam"), "string", ["spam", "not spam"], "spam, not spam"),
        (Language, ("C", "C++", "C#"), "string", ["C", "C++", "C#"], 'C, "C++", "C#"'),
        (Size, (Size.SMALL, Size.LARGE), "integer", [1, 10], "1, 10"),
        (Kind, (Kind.QUESTION, Kind.ORDER), "string", ["a question", "an order"], "a question, an order"),
        (Shape, (Shape.ROUND, Shape.SQUARE), "string", ["ROUND", "SQUARE"], "ROUND, SQUARE"),
    ],
    ids=range(8),
)
def test_what_is_asked(returns: Any, choices: Any, types: Any, sent: Any, listed: str) -> None:
    """The choices stand in declared order, in the schema as an enum, and in one strict sentence."""
    asked = answer(returns)
    assert asked.choices == choices
    assert asked.instruction == f"Reply with exactly one of: {listed}."
    assert asked.schema == {
        "type": "object",
        "properties": {"answer": {"type": types, "enum": sent}},
        "required": ["answer"],
        "additionalProperties": False,
    }


class Empty(Enum):
    pass


@pytest.mark.parametrize(
    ("returns", "says"),
    [
        (Literal["a", "a "], "cannot be told apart"),
        (Literal[1, "1"], "cannot be told apart"),
        (Literal[""], "cannot be told apart"),
        (Literal[b"a"], "cannot be a choice"),
        (Empty, "it has no members"),
        (Literal[*()], "it leaves no choice"),
    ],
    ids=range(6),
)
def test_choices_that_no_reply_could_make_are_refused(returns: Any, says: str) -> None:
    """Choices that read alike, are empty or are no scalars raise `UsageError` when the prompt is made."""
    with pytest.raises(UsageError, match=says):
        answer(returns)


def test_many_choices_are_as_good_as_few() -> None:
    """A set of several hundred choices is read like one of two."""
    returns = Literal[tuple(f"topic {number}" for number in range(400))]
    for text in ("topic 7", "Answer: Topic 77", "It is about topic 399, clearly"):
        assert read(returns, text).removeprefix("topic ") in {"7", "77", "399"}
    refused(returns, "topic 400")
    refused(returns, "It is about topic 7 and topic 8")


def test_a_reply_of_the_form_asked_for_needs_no_patterns_of_its_own() -> None:
    """The labels of a judge are new in every call, and what they would compile takes longer than the rest of it."""
    words = Vocabulary(["K7", "C3"])
    assert [decide(words, text) for text in ("C3", "**K7**", "Both are good.\nAnswer: C3", '{"answer": "K7"}')] == [
        1,
        0,
        1,
        0,
    ]
    assert not {"_lead", "_also", "_mention"} & vars(words).keys()
    assert decide(words, "K7, because it is kinder.") == 0
    assert "_lead" in vars(words)
