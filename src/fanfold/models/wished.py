"""The type that a prompt asks for in words, for the fake model: the sentences of `steps/answers/`, read backwards.

Where no JSON Schema is sent, as to a server that nobody knows, a typed prompt ends with a sentence that says what to
reply. Made-up answers are of the type asked for all the same.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fanfold.core.records import Request

_SCHEMA = re.compile(r"Reply with only JSON that matches this JSON Schema: (\{.*\})$")
_SCORE = re.compile(r"a line of the form: Score: N \(from (\S+) to (\S+)\)\.$")
_ARRAY = re.compile(r"Reply with only a JSON array (?:of strings|in which each item is (.+))$")
_ONE = re.compile(r"Reply with (?:exactly one word: |exactly (?=one of: )|only )(.+)$")
_CHOICE = re.compile(r'"(?:[^"\\]|\\.)*"|[^,\s][^,]*')
_LENGTH = re.compile(r"(shortest|longest) length: (\d{1,9})(?=[^()]*\)$)")
_FORMAT = re.compile(r"(format): ([\w-]+)\)$")
_BOUNDS = {"shortest": "minLength", "longest": "maxLength"}
_KINDS = {"yes or no": "boolean", "a whole number": "integer", "a number": "number", "the answer": "string"}


def wished(request: Request) -> dict[str, Any] | None:
    """The JSON Schema of what the last sentence of a request asks for; None where it is not one of fanfold's own."""
    content = request.messages[-1].content if request.messages else ""
    text = content if isinstance(content, str) else str(content[-1].get("text", "")) if content else ""
    said = text.rpartition("\n\n")[2].strip()
    if found := _SCHEMA.search(said):
        return _decoded(found[1])
    if found := _SCORE.search(said):
        return _score(found[1], found[2])
    said = said.removesuffix(".").removesuffix(", or with none if there is no answer")
    if found := _ARRAY.search(said):
        item = {"type": "string"} if found[1] is None else _kind(found[1].removesuffix(", or none"))
        return None if item is None else {"type": "array", "items": item}
    if said == "Reply with the answer":
        return {"type": "string"}
    found = _ONE.search(said)
    return None if found is None else _kind(found[1].removesuffix(", in digits"))


def noted(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a text with what strict servers refuse in it, which is told at the end of its description."""
    told = str(schema.get("description", ""))
    lengths = {_BOUNDS[word]: int(value) for word, value in _LENGTH.findall(told)}
    return {**lengths, **dict(_FORMAT.findall(told)), **schema}


def _kind(wanted: str) -> dict[str, Any] | None:
    if wanted in _KINDS:
        return {"type": _KINDS[wanted]}
    listed = wanted.removeprefix("one of").lstrip(":")
    if listed == wanted:
        return None
    try:
        choices = [json.loads(one) if one.startswith('"') else one for one in _CHOICE.findall(listed)]
    except json.JSONDecodeError:
        return None
    return {"enum": choices} if choices else None


def _score(low: str, high: str) -> dict[str, Any] | None:
    try:
        score = {"type": "number", "minimum": float(low), "maximum": float(high)}
    except ValueError:
        return None
    return {"type": "object", "properties": {"explanation": {"type": "string"}, "score": score}}


def _decoded(text: str) -> dict[str, Any] | None:
    try:
        schema: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:
        return None
    return schema
