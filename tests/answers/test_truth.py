"""Yes or no: read where it is the answer, refused where it is only a word."""

import pytest

from fanfold.steps.answers import answer
from tests.answers.cases import DRESS, read, refused

YES = ["yes", "Yes", "YES", "true", "True", "TRUE", "yeah", "yep", "y", "Y"]
NO = ["no", "No", "NO", "false", "False", "nope", "n", "N"]


@pytest.mark.parametrize("dress", DRESS)
@pytest.mark.parametrize(("word", "value"), [("yes", True), ("No", False), ("TRUE", True), ("false", False)])
def test_yes_and_no_are_read_in_every_dress(dress: str, word: str, value: bool) -> None:
    """A reply that is yes or no reads as such in bold, quoted, behind a marker, boxed, tagged and as JSON."""
    assert read(bool, DRESS[dress](word, value)) is value


@pytest.mark.parametrize("word", YES)
def test_words_for_yes(word: str) -> None:
    """Each word for yes, alone, is true."""
    assert read(bool, word) is True


@pytest.mark.parametrize("word", NO)
def test_words_for_no(word: str) -> None:
    """Each word for no, alone, is false."""
    assert read(bool, word) is False


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("YES, because it says so.", True),
        ("No, because you could say yes to that.", False),
        ("No … yes", False),
        ("Yes. No problems were found.", True),
        ("Yes. No doubt about it. True.", True),
        ("Yes. Is that illegal? No.", True),
        ("No. Wait, actually, no.", False),
        ("No. The customer had to wait, and yes, that is bad.", False),
        ("Yes, no problems were found.", True),
        ("Yes: it is.", True),
        ("Yes; it is.", True),
        ("Yes!", True),
        ("Yes - it is", True),
        ("Yes – it is", True),
        ("Yes \u2014 it is", True),
        ("Yes--it is", True),
        ("Yes (see above)", True),
        ("Yes because it is", True),
        ("Yes since it is", True),
        ("Yes it is.", True),
        ("Yes the text says so", True),
        ("No it isn't", False),
        ("No, I'm not sure why", False),
        ("No.\n\nThe text is fine.", False),
        ("**No**\n\nYes would need more.", False),
        ("# Yes\n\nbecause of this", True),
        ("> No", False),
        ("- Yes", True),
        ("[No] \n\nExplanation: it divides by 3.", False),
        ("(Yes) it does", True),
        ('"No," said the fox', False),
        ("\u201cYes\u201d, it says.", True),
        ("True. The claim holds.", True),
        ("True, but barely.", True),
        ("False: there is no such thing", False),
        ("True — false positives are rare", True),
        ("Nope, all fine.", False),
        ("Yes\uff0c\u56e0\u4e3a", True),
    ],
)
def test_the_first_word_decides_if_set_off(text: str, value: bool) -> None:
    """A reply that begins with yes or no, set off from the rest, is that; what else it mentions plays no part."""
    assert read(bool, text) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: no", False),
        ("answer = yes", True),
        ("Ans: yes", True),
        ("Answer -> no", False),
        ("Answer - yes", True),
        ("**Answer:** Yes, it is", True),
        ("The answer is yes.", True),
        ("So the answer would be no.", False),
        ("The answer to the question is no, it is not.", False),
        ("the answer is: **no**", False),
        ("The answer is clearly yes.", True),
        ('Therefore Answer("yes")', True),
        ("Answer(no)", False),
        ("\\boxed{\\text{Yes}}", True),
        ("<final_answer>\nno\n</final_answer>", False),
        ("Verdict: false", False),
        ("Reasoning: there is no proof.\nConclusion: yes", True),
        ("My verdict is no", False),
        ("[[yes]]", True),
        ("I would say so. [Yes]", True),
        ("[Yes], 11971 is a prime number; no number divides it", True),
    ],
)
def test_a_marker_names_the_answer(text: str, value: bool) -> None:
    """An "Answer:", "the answer is", a call, a box, a tag, a verdict and square brackets each name the answer."""
    assert read(bool, text) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It says yes here.\nIt says no there.\nNo.", False),
        ("Let me look at each part in turn.\n\nyes", True),
        ("There is no sign of it.\n\n**Yes**", True),
    ],
)
def test_a_lone_last_line_is_the_answer(text: str, value: bool) -> None:
    """Where nothing before is the answer, a last line that is yes or no alone is."""
    assert read(bool, text) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: yes\nOn second thought: no.\nAnswer: no", False),
        ("The answer is no. Wait. The answer is yes.", True),
        ("Yes, at first sight.\nFinal answer: no", False),
    ],
)
def test_the_last_marker_wins(text: str, value: bool) -> None:
    """Of several markers the last one counts; a firm one even against the first word."""
    assert read(bool, text) is value


@pytest.mark.parametrize(
    "text",
    [
        "Not sure",
        "Not at all sure, yes maybe",
        "Maybe",
        "I cannot say yes",
        "I can't say no",
        "I'd say no.",
        "It's a yes from me",
        "There is no way to know",
        "It is true that it is false",
        "The statement seems true",
        "unclear",
        "I am sorry, I cannot help with that.",
        "1",
        "0",
    ],
)
def test_mentions_are_no_answer(text: str) -> None:
    """A yes or no somewhere in a sentence is never taken for the answer."""
    assert "wanted yes or no" in refused(bool, text)


@pytest.mark.parametrize(
    "text",
    [
        "N/A",
        "n/a",
        "None of these",
        "None.",
        "Note: this is spam",
        "Nothing.",
        "Nobody, it seems",
        "Yesterday, all was well",
        "Yes-man",
        "no-one",
        "No one knows",
        "No problem at all",
        "No idea.",
        "No doubt",
        "No. 5 is the best",
        "No 7",
        "Truely",
        "True story",
        "False alarm",
        "Nope's",
        "nowhere",
    ],
)
def test_words_that_only_begin_like_it_are_no_answer(text: str) -> None:
    """Texts like "N/A", "None", "Note:", "Yesterday", "No problem" and "No. 5" are neither yes nor no."""
    refused(bool, text)


@pytest.mark.parametrize(
    "text",
    [
        "Yes and no",
        "Yes and no.",
        "Yes, and no",
        "yes or no",
        "yes/no",
        "Yes / No",
        "Yes, no, maybe",
        "Yes, but also no.",
        "yes\nno",
        "True or false?",
        'Answer("yes") or Answer("no")',
        "Answer: yes or no",
        "No. If it moved, the answer is yes.",
        "[No] it does not.\n\nThe correct answer is [Yes].",
        'The answer is "[Yes]" if it is prime or "[No]" if it is not.',
        "[Yes] would mean this and [No] would mean that",
        "Yes. No.",
        "Yes... no.",
        "Yes. No wait, no.",
        "Yes. Actually, no.",
        "Yes, actually no",
        "No, wait, yes",
        "Yes. Hmm, no.",
        "Yes. On second thought, no.",
        "Yes.\n\nWait, let me reconsider. No.",
        "Answer: Yes. No.",
    ],
)
def test_both_is_no_answer(text: str) -> None:
    """A reply that says yes and no, with neither firmly named as the answer, is refused."""
    refused(bool, text)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: unclear",
        "Yes. Answer: unclear",
        "Answer: N/A",
        'Answer("maybe")\nyes',
        "\\boxed{7}",
        '{"answer": 1}',
        '{"answer": null}',
        '{"answer": "maybe"}',
        '{"answer": [true]}',
    ],
)
def test_a_firm_marker_that_names_something_else_is_no_answer(text: str) -> None:
    """Where the answer is named and is neither yes nor no, nothing else in the reply can make it one."""
    assert "names" in refused(bool, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"answer": true}', True),
        ('{"answer": "No"}', False),
        ('{"Answer": false}', False),
        ('{"final_answer": true}', True),
        ('{"reason": "no", "answer": true}', True),
        ('[{"answer": true}', True),
        ('Yes: {"answer": false}', False),
        ("true", True),
        ('"false"', False),
    ],
)
def test_json_is_read(text: str, value: bool) -> None:
    """The "answer" of a JSON object counts, in words too, whatever stands around it."""
    assert read(bool, text) is value


def test_what_is_asked() -> None:
    """A bool asks for one word in a sentence and for a boolean in the schema; there is no declared order."""
    asked = answer(bool)
    assert asked.instruction == "Reply with exactly one word: yes or no."
    assert asked.schema == {
        "type": "object",
        "properties": {"answer": {"type": "boolean"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    assert asked.choices is None
    assert not asked.is_text
    assert asked.name == "answer"
