"""What the tests of typed answers share: how to try a reply, and the dress in which models put an answer."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fanfold.errors import ParseError
from fanfold.steps.answers import answer


def read(returns: Any, text: str) -> Any:
    """What `text` is read as."""
    return answer(returns).read(text)


def refused(returns: Any, text: str) -> str:
    """The message of the error that `text` gets, which carries the text."""
    with pytest.raises(ParseError) as caught:
        answer(returns).read(text)
    assert caught.value.text == text
    return str(caught.value)


# Each takes the answer as the model would spell it, and what JSON has for it.
DRESS: dict[str, Callable[[str, Any], str]] = {
    "plain": lambda text, value: text,
    "spaced": lambda text, value: f"\n  {text} \n",
    "stopped": lambda text, value: f"{text}.",
    "bold": lambda text, value: f"**{text}**",
    "bold-stopped": lambda text, value: f"**{text}**.",
    "stopped-bold": lambda text, value: f"**{text}.**",
    "italic": lambda text, value: f"*{text}*",
    "underscored": lambda text, value: f"__{text}__",
    "code": lambda text, value: f"`{text}`",
    "quoted": lambda text, value: f'"{text}"',
    "curly-quoted": lambda text, value: f"\u201c{text}\u201d",
    "answer": lambda text, value: f"Answer: {text}",
    "answer-below": lambda text, value: f"Answer:\n\n{text}",
    "answer-bold": lambda text, value: f"**Answer:** {text}",
    "bold-answer": lambda text, value: f"**Answer: {text}**",
    "both-bold": lambda text, value: f"**Final answer**: **{text}**",
    "final": lambda text, value: f"Let me think about it.\n\nFinal answer: {text}",
    "sentence": lambda text, value: f"I weighed this up. The answer is {text}.",
    "call": lambda text, value: f'Thought: it is so.\nAction: Answer("{text}")',
    "boxed": lambda text, value: f"So we get $\\boxed{{{text}}}$.",
    "tagged": lambda text, value: f"<reasoning>hm</reasoning>\n<answer>{text}</answer>",
    "thought": lambda text, value: f"<think>\nAnswer: or is it?\n</think>\n\n{text}",
    "last-line": lambda text, value: f"I weighed this up.\n\n{text}",
    "json": lambda text, value: json.dumps({"answer": value}),
    "json-in-words": lambda text, value: f"Here you are: {json.dumps({'reasoning': 'so', 'answer': value})} Bye.",
    "json-fenced": lambda text, value: f"```json\n{json.dumps({'answer': value}, indent=2)}\n```",
    "json-half": lambda text, value: f'{{"answer": {json.dumps(value)}',
    "python-dict": lambda text, value: f"{{'answer': '{text}'}}",
}
