"""A step's digest: the same for the same step, another where a prompt, a type, a model or a function changed."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from fanfold import OpenAI, best_of, chain, gather, guard, map_over, prompt, route, rules, sections, step, vote
from fanfold.steps.fingerprints import fingerprint
from fanfold.steps.step import Step

WORD = "tea"
ASKED = prompt("About {input}")


class Verdict(BaseModel):
    label: str


class Stricter(BaseModel):
    label: Literal["a", "b"]


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


@step
async def outer(text: str) -> list[Any]:
    """Uses a prompt and a word of its file."""
    first, _ = await gather(ASKED(text), ASKED(WORD))
    return [first]


MAKERS: dict[str, Callable[[], Step[Any, Any]]] = {
    "a prompt": lambda: prompt("{input}"),
    "another text": lambda: prompt("{input}!"),
    "a system": lambda: prompt("{input}", system="Be kind."),
    "a type": lambda: prompt("{input}", returns=int),
    "a choice": lambda: prompt("{input}", returns=Literal["a", "b"]),
    "another choice": lambda: prompt("{input}", returns=Literal["a", "c"]),
    "a record": lambda: prompt("{input}", returns=Verdict),
    "another record": lambda: prompt("{input}", returns=Stricter),
    "an enum": lambda: prompt("{input}", returns=Color),
    "a dataclass": lambda: prompt("{input}", returns=Point),
    "a model": lambda: prompt("{input}", model="openai:a"),
    "another model": lambda: prompt("{input}", model="openai:b"),
    "a model object": lambda: prompt("{input}", model=OpenAI(name="a", base_url="http://127.0.0.1:1/v1", api_key="k")),
    "a temperature": lambda: prompt("{input}", temperature=0.5),
    "a vote": lambda: vote(prompt("{input}"), 3),
    "a larger vote": lambda: vote(prompt("{input}"), 5),
    "a majority": lambda: vote(prompt("{input}"), 3, rule=rules.majority()),
    "sections": lambda: sections({"a": prompt("{input}"), "b": prompt("x {input}")}),
    "sections in another order": lambda: sections({"b": prompt("x {input}"), "a": prompt("{input}")}),
    "a chain": lambda: prompt("{input}") | str.upper,
    "another chain": lambda: prompt("{input}") | str.lower,
    "a lambda": lambda: chain(prompt("{input}"), lambda text: text + "x"),
    "another lambda": lambda: chain(prompt("{input}"), lambda text: text + "y"),
    "a route": lambda: route(prompt("{input}", returns=Literal["a"]), {"a": prompt("{input}")}),
    "a guard": lambda: guard(prompt("{input}"), checks={"harm": prompt("{input}", returns=bool)}),
    "best of": lambda: best_of(prompt("{input}"), n=3),
    "a map": lambda: map_over(prompt("{input}")),
    "a function": lambda: outer,
}


def test_equal_steps_are_equal_and_others_are_not() -> None:
    """Made twice, a step has one digest; no two of these have the same."""
    digests = {name: fingerprint(make()) for name, make in MAKERS.items()}
    assert {name: fingerprint(make()) for name, make in MAKERS.items()} == digests
    assert len(set(digests.values())) == len(digests)


def test_a_key_is_no_part_of_it() -> None:
    """A new API key makes no other step."""
    keyed = [prompt("{input}", model=OpenAI(name="a", base_url="http://127.0.0.1:1/v1", api_key=key)) for key in "ab"]
    assert fingerprint(keyed[0]) == fingerprint(keyed[1])


def test_what_a_function_names_is_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt or a word of the function's file that changes makes another step; what it does not name does not."""
    before = fingerprint(outer)
    monkeypatch.setitem(globals(), "Unused", 5)
    assert fingerprint(outer) == before
    monkeypatch.setitem(globals(), "WORD", "coffee")
    changed = fingerprint(outer)
    assert changed != before
    monkeypatch.setitem(globals(), "ASKED", prompt("On {input}"))
    assert fingerprint(outer) not in {before, changed}


def test_steps_that_name_each_other() -> None:
    """A function that calls itself has an end."""
    assert fingerprint(looped) == fingerprint(looped)


@step
async def looped(count: int) -> int:
    """Calls itself."""
    return 0 if not count else await looped(count - 1)


FILE = """
from fanfold import *
from fanfold.steps.fingerprints import fingerprint
from enum import Enum
NAMES = {"b", "a", "c"}
%s
class Color(Enum):
    RED = 1
@step
async def main(row):
    %s
    class Row:
        %s
        size: int = 3
        def width(self):
            self.w = self.size
    if row["name"] in {"x", "y", "z"}:
        return await vote(prompt("{name}", returns=Color, max_tokens=5), 3)(row)
    return NAMES
print(fingerprint(main))
"""


def digest(folder: Path, before: str = "", inside: str = "", seed: str = "0") -> str:
    path = folder / "steps.py"
    path.write_text(FILE % (before, inside, inside), encoding="utf-8")
    environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
    return subprocess.check_output([sys.executable, str(path)], text=True, env=environment)


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Sets have another order in every process, and a comment or a docstring is no change; a word in a prompt is."""
    first = digest(tmp_path)
    assert digest(tmp_path, seed="1") == first
    assert digest(tmp_path, "# a comment", '"""What it does."""', seed="2") == first
    assert digest(tmp_path, "NAMES = {'d'}") != first
    assert digest(tmp_path, inside="deep = 1") != first
