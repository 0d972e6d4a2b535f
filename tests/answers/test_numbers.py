"""Numbers as people and models write them; where it is not clear which number is meant, none is."""

import math
from typing import Any, Literal

import pytest

from fanfold.steps.answers import answer
from tests.answers.cases import DRESS, read, refused


@pytest.mark.parametrize("dress", DRESS)
@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("42", 42), ("-3", -3), ("0", 0), ("1234567", 1234567)], ids=range(5)
)
def test_an_int_is_read_in_every_dress(dress: str, text: str, value: int) -> None:
    """A reply that is a whole number reads as it in bold, quoted, behind a marker, boxed, tagged and as JSON."""
    found = read(int, DRESS[dress](text, value))
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize("dress", DRESS)
@pytest.mark.parametrize(("text", "value"), [("7.5", 7.5), ("-0.25", -0.25), ("1e-3", 0.001), ("8", 8.0)])
def test_a_float_is_read_in_every_dress(dress: str, text: str, value: float) -> None:
    """The same for numbers with a fraction or an exponent."""
    found = read(float, DRESS[dress](text, value))
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("+7", 7),
        ("\u22127", -7),
        ("007", 7),
        ("7.0", 7),
        ("7.000", 7),
        ("7.", 7),
        ("(7)", 7),
        ("~7", 7),
        ("1,234", 1234),
        ("1,234,567", 1234567),
        ("1,234.00", 1234),
        ("$5", 5),
        ("$ 5", 5),
        ("$1,234", 1234),
        ("-$5", -5),
        ("$-5", -5),
        ("\u20ac5", 5),
        ("5\u20ac", 5),
        ("5 \u20ac", 5),
        ("\u00a35", 5),
        ("\u00a55", 5),
        ("85%", 85),
        ("85 %", 85),
        ("1e3", 1000),
        ("1E+3", 1000),
        ("1.5e3", 1500),
        ("12345678901234567890", 12345678901234567890),
        ("9007199254740993.0", 9007199254740993),
    ],
)
def test_a_whole_reply_is_a_number(text: str, value: int) -> None:
    """Signs, separators of thousands, currencies, percent signs and exponents are read, to the last digit."""
    assert read(int, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7/10", 7),
        ("7 / 10", 7),
        ("7 out of 10", 7),
        ("7 of 10", 7),
        ("10/10", 10),
        ("0/5", 0),
        ("4/5.", 4),
        ("I give it 7/10.", 7),
        ("Score: 7/10\nIt has 3 flaws.", 7),
        ("Rating: 4 out of 5", 4),
        ("3 out of 4", 3),
        ("85/100 overall", 85),
    ],
)
def test_a_scale_means_its_first_number(text: str, value: int) -> None:
    """Both "7/10" and "7 out of 10" are 7."""
    assert read(int, text) == value
    assert read(float, text) == value


@pytest.mark.parametrize("text", ["11/10", "Score: 12/10", "7/5", "1/2", "2/3", "3/4", "Answer: 2/3", "6 out of 5"])
def test_what_is_no_scale_is_refused(text: str) -> None:
    """A number beyond its scale is no score, and over a number below 5 it may be a fraction."""
    refused(int, text)
    refused(float, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Score: 7", 7),
        ("**Score:** 7\n\nIt has 3 flaws.", 7),
        ("score = 7, for 2 reasons", 7),
        ("Rating: 4 (3 flaws)", 4),
        ("Grade: 9. I found 1 flaw.", 9),
        ("Result: 12 in 3 steps", 12),
        ("Total: $1,234 for 5", 1234),
        ("Value: 0 after 2 tries", 0),
        ("Count: 3\nOf 10", 3),
        ("The answer is 42, by 6 * 7.", 42),
        ("The answer is $18 for 2 eggs", 18),
        ("the answer is: about 20 of them, give or take 3", 20),
        ("The answer is therefore 5 and not 4.", 5),
        ("The final score is 8; the first was 3", 8),
        ("my rating is 6, down from 8", 6),
        ("A total of 9 points. Score: 9", 9),
        ("1. First\n2. Second\nAnswer: 7", 7),
        ('3 apples and 4 pears.\nAnswer("7")', 7),
        ("3 + 4 is $\\boxed{7}$.", 7),
        ("3 + 4 = 7\n#### 7", 7),
        ("He has 3 and then 4.\n#### 1,012", 1012),
        ("<answer>7</answer> after 3 tries", 7),
        ("2 * 3 = 6, so **6** it is", 6),
        ("It has 3 flaws. **8**", 8),
        ("It has 3 flaws. Rating: [[8]]", 8),
        ("Score: 3\n\nOn reflection, 2 of these count less.\nScore: 5", 5),
        ("Answer: 42 apples, 3 of them red", 42),
        ("Answer: 3 + 4 = 7", 7),
        ("Answer: 3*4 = 12 apples", 12),
        ("Answer: 200 + 48 = 248", 248),
        ("Answer: 7 (since 2+3=5, plus 2)", 7),
        ("Answer: x = 5", 5),
        ("Answer: The total is 42.", 42),
        ("The answer is 100% wrong in 2 places.\nScore: 2", 2),
    ],
)
def test_a_marker_names_the_number(text: str, value: int) -> None:
    """A score, rating, grade, result, total, value or answer is the number named so last; or one in bold or boxed."""
    assert read(int, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("I would say 7.", 7),
        ("It costs $5 in all", 5),
        ("There are seven, that is 7, of them", 7),
        ("roughly 85% I think", 85),
        ("Temperature: -4 degrees", -4),
        ("about 1,000 people", 1000),
        ("*7*", 7),
        ("The score is 7 and nothing else", 7),
    ],
)
def test_the_only_number_in_a_reply_counts(text: str, value: int) -> None:
    """A reply with one number in it means that number."""
    assert read(int, text) == value


@pytest.mark.parametrize(
    "text",
    [
        "7 or 8",
        "7-8",
        "7 \u2013 8",
        "between 7 and 8",
        "Score: 7-8",
        "Score: 7 to 8",
        "Score: 7 or 8",
        "1, 2, 3",
        "3 apples and 4 pears",
        "3 + 4 = 7",
        "**3** and **4**",
        "first 7, then 8",
        "2024-01-05",
        "05/06/2024",
        "12:30",
        "1.2.3",
        "1,5",
        "1,23,456",
        "1 2",
        "10^5",
        "2 x 10^5",
        "555-1234",
        "GPT-4 says 7",
        "4b says 7",
    ],
)
def test_several_numbers_without_a_marker_are_refused(text: str) -> None:
    """Where a reply has several numbers and names none of them, there is no telling which one is meant."""
    assert "wanted a whole number" in refused(int, text)
    assert "wanted a number" in refused(float, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "seven",
        "none",
        "N/A",
        "no number here",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1e999",
        "-1e999",
        "Score: N/A",
        "Grade: B",
        "7kg",
        "7th",
        "0x1F",
        "1_000",
        "GPT-4 agrees",
        "v2",
        "H2O",
        "5k",
        "5 million",
        "5M",
        "3 dozen",
        "$5bn",
        "Answer: unknown, 3 or 4",
        "Answer: none. There are 7",
        '{"answer": null}',
        '{"answer": NaN}',
        '{"answer": Infinity}',
        '{"answer": 1e999}',
        '{"answer": true}',
        '{"answer": [7]}',
        '{"answer": "seven"}',
        "true",
        "\u0667",
        "m\u00b2",
    ],
)
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    """Words, units, ordinals, magnitudes ("5 million"), nan and infinities are no numbers in digits."""
    refused(int, text)
    refused(float, text)


@pytest.mark.parametrize("text", ["7.5", "0.1", "1e-3", "Score: 7.5/10", "1,234.5", '{"answer": 7.5}', "1.5e0"])
def test_an_int_is_never_rounded(text: str) -> None:
    """A number with a fraction is no int, and the message says so."""
    assert "is not whole" in refused(int, text)
    assert not read(float, text).is_integer()


def test_numbers_too_long_for_python_are_refused() -> None:
    """Thousands of digits raise `ParseError`, not what Python raises."""
    assert "too many digits" in refused(int, "9" * 5000)
    assert "too large" in refused(float, "9" * 5000)
    refused(int, '{"answer": ' + "9" * 5000 + "}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7.5", 7.5),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1e-3", 1e-3),
        ("1.5E+3", 1500.0),
        ("1,234.5", 1234.5),
        ("$0.99", 0.99),
        ("99.9%", 99.9),
        ("8.5/10", 8.5),
        ("Score: 8.5 out of 10, for 2 reasons", 8.5),
        ("The answer is 3.14.", 3.14),
        ("\\boxed{2.50}", 2.5),
        ("0.1", 0.1),
        ("-0", 0.0),
    ],
)
def test_floats_are_read_exactly(text: str, value: float) -> None:
    """A float is the double nearest to the digits, as Python itself reads them."""
    assert read(float, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"answer": 7}', 7),
        ('{"answer": "7"}', 7),
        ('{"answer": "7/10"}', 7),
        ('{"answer": "$1,234"}', 1234),
        ('{"answer": "100 + 80 = 180"}', 180),
        ('{"answer": 7.0}', 7),
        ('{"score": 7, "flaws": 3}', 7),
        ('{"Rating": "4 out of 5"}', 4),
        ('{"final_answer": 7}', 7),
        ('It has 3 flaws: {"grade": 7}', 7),
        ('```json\n{"reasoning": "3 + 4 = 7", "answer": "7"}\n```', 7),
        ('```json\n{\n  "reasoning": "3 and\n4",\n  "answer": 7\n}\n```\nI hope these 2 lines help.', 7),
        ('{"reasoning": "so 3", "answer": 7', 7),
        ("{'score': 7, 'why': 'x'}", 7),
    ],
)
def test_json_is_read(text: str, value: int) -> None:
    """A JSON object's "answer" or "score" (rating, grade, total, …) counts, as a number or in words, even cut short."""
    assert read(int, text) == value


@pytest.mark.parametrize(
    ("returns", "kind", "wanted"), [(int, "integer", "a whole number"), (float, "number", "a number")], ids=range(2)
)
def test_what_is_asked(returns: Any, kind: str, wanted: str) -> None:
    """A number is asked for in digits, and as a number in the schema."""
    asked = answer(returns)
    assert asked.instruction == f"Reply with only {wanted}, in digits."
    assert asked.schema is not None
    assert asked.schema["properties"] == {"answer": {"type": kind}}
    assert asked.schema["required"] == ["answer"]
    assert asked.schema["additionalProperties"] is False
    assert asked.choices is None
    assert asked.name == "answer"


def test_no_reading_gives_nan_or_infinity() -> None:
    """Whatever spelling of a number too large for a float is tried, none comes through."""
    for text in ("1e308", "-1e308", "1" + "0" * 308):
        assert math.isfinite(read(float, text))
    for text in ("1e309", "2e308", "1" + "0" * 400, "Answer: 1e400", "**1e400**", "#### 1e400"):
        refused(float, text)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 1 000",
        "The total is 12\u202f345 euros.",
        "Answer: 1'000",
        "<answer>3 000 000</answer>",
        "Answer: 1 1/2",
        "Answer: 3, 4",
        "Answer: 2**10",
        "Answer: 1.5 Mio.",
        "\\boxed{1\\,000}",
        "\\boxed{1~000}",
        "\\boxed{\\frac{3}{4}}",
        "\\boxed{2\\pi}",
        "\\boxed{3\\sqrt{2}}",
        "\\boxed{\\sqrt{16}}",
        "\\boxed{(3, 4)}",
    ],
)
def test_the_beginning_of_a_longer_number_is_none(text: str) -> None:
    """Of "1 000", "1 1/2", "1.5 Mio." and formulas the first digits are not the answer."""
    refused(int, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\boxed{1{,}000}", 1000),
        ("\\boxed{12,\\!345}", 12345),
        ("\\boxed{\\frac{12}{4} = 3}", 3),
        ("\\boxed{5\\text{ apples}}", 5),
        ("\\boxed{x = 5}", 5),
        ("\\boxed{\\displaystyle5}", 5),
        ("\\boxed{\\operatorname{Total}=5}", 5),
        ("Answer: 42, since 6*7=42", 42),
        ("Answer: 12 (3 boxes)", 12),
        ("7.00", 7),
    ],
)
def test_a_number_in_the_dress_of_latex_is_whole(text: str, value: int) -> None:
    """LaTeX groups digits by "{,}" and by a comma with a negative space."""
    assert read(int, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("minus 5", -5),
        ("Negative 5", -5),
        ("The answer is negative 5 degrees.", -5),
        ("Score: minus 5, for 2 reasons", -5),
        ('{"answer": "minus 5"}', -5),
        ("\\boxed{- 5}", -5),
        ("\\boxed{-\\,5}", -5),
        ("\\boxed{7 \\text{ m}}", 7),
        ("\\boxed{7\\,\\text{m}}", 7),
        ("Answer: 12 minus 5 = 7", 7),
        ("Answer:\n- 5", 5),
    ],
)
def test_a_sign_may_be_a_word_or_stand_apart(text: str, value: int) -> None:
    """A number that is said to be negative is no positive one."""
    assert read(int, text) == value


@pytest.mark.parametrize(
    "text",
    [
        "not 8",
        "It is not 8.",
        "It isn't 8",
        "It cannot be an 8",
        "The answer is not 8.",
        "Score: not 8",
        "The answer is not 8 but nine",
        "less than 8",
        "Score: fewer than 8",
        "Answer: more than 8",
        "Answer: < 8",
        "Answer: \u2265 8",
        "Answer: \u20138",
    ],
)
def test_a_number_that_is_ruled_out_is_none(text: str) -> None:
    """Whatever "It is not 8" means, it is not 8."""
    refused(int, text)
    refused(float, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no more than 8", 8),
        ("at least 8", 8),
        ("It is not perfect, so 8.", 8),
        ("Not bad: 8", 8),
        ("I counted more than a few. Score: 8", 8),
        ("Score: 8. It is not 9.", 8),
        ("Answer: 5 days, 3 of them wet", 5),
        ("Answer: 5! = 120", 120),
        ("Answer: 3\u00b74 = 12", 12),
        ("Answer: 3% of 900 = 27", 27),
        ("Answer: 8 or more", 8),
        ("Answer: 12 (or twelve)", 12),
        ("Score: 8 (or so)", 8),
        ("Score: 8... 2 issues", 8),
        ("Answer: <8>", 8),
        ("The sqrt of the area is 4.", 4),
        ("\u221ax = 4", 4),
    ],
)
def test_a_number_beside_such_words_is_still_one(text: str, value: int) -> None:
    """A word that excludes another number, or a sum with its result, leaves the number as it is."""
    assert read(int, text) == value


@pytest.mark.parametrize(
    "text",
    [
        "7 and a half",
        "Score: 7 and a half",
        "Answer: 7 and three quarters",
        '{"score": "7 and a half"}',
        "Answer: 2 \u00bd",
        "Answer: \u221a16",
        "Answer: sqrt(16)",
        "Answer: the sqrt of 16",
        "Answer: 3\u00b74",
        "Answer: 3% of 900",
        "Answer: 3 percent of 900",
        "Answer: 17 mod 5",
        "Score: 8 \u2192 9",
        "Score: 8 -> 9",
        "Score: 8 (or 9)",
        "Answer: 30~40",
        "Answer: 30..40",
        "Answer: 30 & 40",
        "Answer: 3 hours 30 minutes",
        "Answer: 2 dollars and 50 cents",
        "The answer is 1 year and 6 months.",
        "Answer: 5 May 2024",
        "\\boxed{3\\text{ hours }30\\text{ minutes}}",
        "\\boxed{3 \\text{ or } 4}",
    ],
)
def test_a_number_that_goes_on_is_not_its_beginning(text: str) -> None:
    """Of a mixed number, a compound of units, a date, a range and a change the first number is not the answer."""
    refused(int, text)
    refused(float, text)


@pytest.mark.parametrize(
    "text",
    ["Score: 8, no, 9", "Score: 8. Actually, 9.", "Score: 8. Wait, it should be 7.", "**12**. Hold on, 13 of them."],
)
def test_a_number_that_is_taken_back_is_none(text: str) -> None:
    """Who thinks again and names another number only has not meant the first."""
    refused(int, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: 8\nWait, let me add that again: 3 + 4 = 7.\nAnswer: 7", 7),
        ("Let me see. Wait, 3 * 4 = 12.\n#### 12", 12),
        ("Score: 8.\n\nWait times of 3 days are long.", 8),
        ("Score: 8. Wait, what a style!", 8),
        ("Wait, that is 3 * 400.\n\\boxed{1{,}200}", 1200),
        ("Wait, 2e5 and 3e5.\nAnswer: 5e5", 500000),
    ],
)
def test_a_number_behind_a_second_thought_stands(text: str, value: int) -> None:
    """What is named last, or by itself, is meant."""
    assert read(int, text) == value


@pytest.mark.parametrize("text", ["Score: 7 -> 4", "Score: 8 vs 4", "Answer: 9 mod 5", "Rating: 7 \u2192 4."])
def test_what_a_number_that_is_no_choice_goes_on_to_is_none_either(text: str) -> None:
    """Of a change that begins outside the choices, its end is not what was chosen."""
    refused(Literal[1, 2, 3, 4, 5], text)
