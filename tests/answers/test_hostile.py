"""Long and malicious replies: no reader takes more than linear time over them, near enough."""

import pytest

from tests.answers.test_properties import ANSWERS, refusal

LONG = 100_000

UNITS = {
    "spaces": " ",
    "newlines": "\n",
    "asterisks": "*",
    "spaced asterisks": "* ",
    "worded asterisks": "*a",
    "underscores": "_",
    "worded underscores": "a_",
    "backticks": "`",
    "quotes": '"',
    "braces": "{",
    "closing braces": "}",
    "objects": '{"',
    "keys": '{"a":',
    "answers": '{"answer":',
    "empty objects": "{} ",
    "brackets": "[",
    "spaced brackets": "[ ",
    "arrays": "[1,",
    "nested ones": "[[1],",
    "footnotes": "[1] ",
    "parentheses": "(",
    "digits": "9",
    "spaced digits": "9 ",
    "grouped digits": "9,",
    "thousands": "999,",
    "decimals": "9.",
    "signs": "-",
    "minus ones": "-1",
    "scales": "1/",
    "exponents": "1e",
    "percents": "%",
    "letters": "a",
    "words": "spam ",
    "pairs": "spam or ham ",
    "capitals": "A ",
    "capitals in parentheses": "(A) ",
    "lines of letters": "A)\n",
    "options": "option ",
    "yes": "yes ",
    "yeses": "yes, ",
    "no": "no\n",
    "not": "not ",
    "answer": "answer ",
    "marker": "answer: ",
    "bold markers": "**answer:** ",
    "named": "Answer: spam\n",
    "is": "the answer is ",
    "is what": "the answer is spam, ",
    "calls": 'Answer("',
    "pairs of calls": 'Answer("A") or ',
    "boxes": "\\boxed{",
    "double brackets": "[[",
    "tags": "<answer>",
    "thoughts": "</think>",
    "scores": "score: ",
    "scored": "score: 7/10 ",
    "bold numbers": "**7** ",
    "hashes": "####",
    "bullets": "- ",
    "bulleted": "- a\n",
    "numbered": "1. a\n",
    "indented": "- a\n  b\n",
    "commas": ", ",
    "dots": ".",
    "ends": ".?! ",
    "fences": "```",
    "fenced": "```json\n{\n",
    "fenced arrays": "```[```",
    "backslashes": "\\",
    "dotted": "\u0130",
    "emoji": "\U0001f600",
    "nulls": "\0",
}


WORST = ["spaces", "newlines", "spaced asterisks", "worded asterisks", "braces", "keys", "brackets", "digits"]
WORST += ["quotes", "words", "is", "boxes", "fenced arrays"]
READERS = ["letters", "signs", "bool", "int", "texts", "optional", "model", "union"]


def check(name: str, text: str) -> None:
    """Read or refuse; how long it takes is the test's timeout to judge."""
    error = refusal(ANSWERS[name], text)
    if error is not None:
        assert error.text is text
        assert len(str(error)) < 1000


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("unit", WORST)
def test_a_long_reply_is_read_in_time(unit: str, name: str) -> None:
    """100 KB of spaces, asterisks, braces, digits or markers are read or refused within the timeout."""
    check(name, UNITS[unit] * (LONG // len(UNITS[unit])) + "x")


@pytest.mark.long
@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", UNITS)
def test_a_long_reply_of_anything_repeated_is_read_in_time(unit: str) -> None:
    """The same (at 20 KB) for every unit and every type, with an answer behind it too."""
    many = UNITS[unit] * (LONG // 5 // len(UNITS[unit]))
    for name in ANSWERS:
        for text in (many, f"x {many}\nAnswer: x"):
            check(name, text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["letters", "words", "bool", "int"])
def test_the_answer_at_the_end_of_a_long_reply_is_found(name: str) -> None:
    """100 KB of reasoning do not hide the answer at their end."""
    reasoning = "First, 1 + 2 is 3. So (A) may be spam, or no. **Then** again, {x} and [1] say: yes, B.\n" * (
        LONG // 86
    )
    said = {"letters": "C", "words": "not spam", "bool": "no", "int": "7"}[name]
    value = {"letters": "C", "words": "not spam", "bool": False, "int": 7}[name]
    assert ANSWERS[name].read(f"{reasoning}\nAnswer: {said}\n") == value
    assert ANSWERS[name].read(f'{reasoning}\n{{"answer": "{said}"}}') == value
