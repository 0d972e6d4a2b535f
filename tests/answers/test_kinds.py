"""What every typed answer has in common: plain text, errors, thoughts, and how little it loads."""

import subprocess
import sys
from typing import Any, Literal, NewType, Union

import pytest

from fanfold.errors import FanfoldError, ParseError
from fanfold.steps.answers import Answer, answer
from tests.answers.cases import read, refused

SIMPLE: list[Any] = [int, float, bool, Literal["spam", "ham"], list[str], list[int], int | None, Literal["a"] | None]


@pytest.mark.parametrize(
    "text", ["", " ", "as it is\n", "**bold**", '{"answer": "x"}', "<think>why</think>so", "Answer: x", "\0\ud800"]
)
def test_text_is_the_reply_unchanged(text: str) -> None:
    """With `str` the reply comes back character for character; nothing is refused."""
    assert read(str, text) == text


@pytest.mark.parametrize("returns", SIMPLE, ids=range(len(SIMPLE)))
def test_an_error_says_what_was_wanted_and_quotes_the_start(returns: Any) -> None:
    """A `ParseError` names what was wanted, quotes the start of the reply on one line, and carries all of it."""
    asked = answer(returns)
    text = "I would rather\nnot say, " + "so let us talk of other things instead. " * 20
    message = refused(returns, text)
    assert message.startswith(f"wanted {asked.wanted}, but ")
    assert "'I would rather not say, so let us" in message
    assert message.endswith("…'")
    assert len(message) < 300


@pytest.mark.parametrize("returns", SIMPLE, ids=range(len(SIMPLE)))
@pytest.mark.parametrize("text", ["", "  ", "\n\n\t"])
def test_an_empty_reply_is_said_to_be_empty(returns: Any, text: str) -> None:
    """An empty reply is refused by every type but text, as empty."""
    assert "the reply is empty" in refused(returns, text)


def test_a_parse_error_does_not_chain_what_is_inside() -> None:
    """What made a reply unreadable is in the message; no inner exception is shown."""
    with pytest.raises(ParseError) as caught:
        read(int, "x")
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, FanfoldError)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>\nIs it spam? Answer: spam\n</think>\n\nham", "ham"),
        ("Answer: spam</think>ham", "ham"),
        ("<think>a</think><think>b</think>Answer: ham", "ham"),
        ("<thinking>The answer is spam.</thinking>\nham", "ham"),
        ("[THINK]Answer: spam[/THINK]ham", "ham"),
        ("\u25c1think\u25b7Answer: spam\u25c1/think\u25b7ham", "ham"),
        (
            "<|channel|>analysis<|message|>The answer is spam.<|end|><|start|>assistant<|channel|>final<|message|>ham",
            "ham",
        ),
        (
            '<|channel|>analysis<|message|>spam?<|end|><|channel|>final <|constrain|>json<|message|>{"answer": "ham"}',
            "ham",
        ),
    ],
)
def test_thoughts_are_no_part_of_the_answer(text: str, value: str) -> None:
    """What stands before the last ``</think>`` is not read, nor what other models put before the like of it."""
    assert read(Literal["spam", "ham"], text) == value


def test_thoughts_alone_are_no_answer() -> None:
    """A reply that was cut short while thinking says nothing."""
    refused(Literal["spam", "ham"], "<think>It is spam, I think.</think>")


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nFirst guess:\nAnswer: spam\nBut the sender",
        "<thinking>Is the answer spam?\n\nspam",
        "<|channel|>analysis<|message|>The answer is spam. Or",
    ],
)
def test_thoughts_that_do_not_end_are_no_answer(text: str) -> None:
    """What is weighed in thoughts that the limit of tokens cut off is not what the model came to."""
    assert "its thinking does not end" in refused(Literal["spam", "ham"], text)
    assert "its thinking does not end" in refused(bool, text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Union[*(int, None)], int | None),  # unpacked, so that no tool modernises what is tested
        (Literal[*("a", None)], Literal["a"] | None),
        (None | int, int | None),
        (list, list[str]),
        (list[str], list[str]),
        (NewType("Name", int), int),
    ],
    ids=range(6),
)
def test_spellings_of_one_type_ask_for_the_same(one: Any, other: Any) -> None:
    """However a type is spelled, the schema, the sentence and the choices are the same."""
    first, second = answer(one), answer(other)
    assert (first.schema, first.instruction, first.choices) == (second.schema, second.instruction, second.choices)


def test_an_answer_can_be_used_by_many_at_once() -> None:
    """An answer is frozen and keeps nothing between replies."""
    asked: Answer[int] = answer(int)
    assert [asked.read(text) for text in ("1", "Score: 2/5", "3")] == [1, 2, 3]
    with pytest.raises(AttributeError):
        asked.name = "other"


PROGRAM = """
import enum, sys, typing
from fanfold.steps.answers import answer

class Colour(enum.Enum):
    RED = "red"

simple = [str, int, float, bool, typing.Literal["a"], Colour, list[str], list[Colour], int | None, list[int] | None]
for returns in simple:
    try:
        answer(returns).read("Answer: 7")
    except Exception:
        pass
loaded = sorted({"pydantic", "typing_extensions"} & set(sys.modules))
print("pydantic" in loaded)
answer(dict[str, int])
print("pydantic" in sys.modules)
"""


def test_simple_types_do_not_load_pydantic() -> None:
    """Pydantic is imported when a structured type is first asked for, and never for the simple ones."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.split() == ["False", "True"]
