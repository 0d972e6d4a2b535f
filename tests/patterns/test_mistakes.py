"""Mistakes in what a pattern is made of: each is refused where it is written, by its name and with what to give."""

import re
from datetime import timedelta
from typing import Any

import pytest

from fanfold import (
    best_of,
    chain,
    check,
    criterion,
    evaluate,
    gate,
    guard,
    map_over,
    prompt,
    race,
    retry,
    route,
    rules,
    sample,
    sections,
    split,
    step,
    vote,
)
from fanfold.errors import TemplateError, UsageError
from tests.steps.running import Asked, echo, ran

ASK = prompt("{input}")
OTHER = prompt("other {input}")


async def pieces(text: str) -> Any:
    for word in text.split():
        yield word


def lines(text: Any) -> Any:
    yield from text


MISTAKES: dict[str, Any] = {
    "rule=<function plurality": lambda: vote(ASK, 3, rule=rules.plurality),
    "rule='majority' is none": lambda: vote(ASK, 3, rule="majority"),
    "stop=<function decided": lambda: vote(ASK, 3, stop=rules.decided),
    "ties='step': it is": lambda: vote(ASK, 2, ties="step"),
    "ties=['a']: it is": lambda: vote(ASK, 2, ties=["a"]),
    "n='3': say how often": lambda: vote(ASK, "3"),
    "n=2.5: say how often": lambda: vote(ASK, 2.5),
    "voters are a step": lambda: vote(None),
    "voters are a step, a list of them": lambda: vote("yes"),
    "voters are a step, a list of them, or a mapping of voter to step, not 'Spam?'": lambda: vote("Spam?", 5),
    "n='2': at least one": lambda: sample(ASK, "2"),
    "at_most='9'": lambda: sample(ASK, 2, at_most="9"),
    "n=True: say how many": lambda: best_of(ASK, True),
    "candidates are a step": lambda: best_of(5),
    "candidates are a step, a list of steps, or a mapping": lambda: best_of("A slogan for {input}", 5),
    "two candidates have the same name: 1, '1'": lambda: best_of({1: ASK, "1": OTHER}),
    "quorum='1'": lambda: sections({"a": ASK}, quorum="1"),
    "quorum=1.5": lambda: map_over(ASK, quorum=1.5),
    "merge_fits= is a number of tokens": lambda: map_over(ASK, merge=ASK, merge_fits="9"),
    "timeout='5': give a positive number of seconds": lambda: sections({"a": ASK}, timeout="5"),
    "timeout=datetime.timedelta(seconds=5)": lambda: prompt("x", timeout=timedelta(seconds=5)),
    "stagger='1': give a positive": lambda: race(ASK, stagger="1"),
    "weighted() takes a mapping of voter to weight, not [1, 2]": lambda: rules.weighted([1, 2]),
    "split(at_most='9')": lambda: split("9"),
    "name=5: a step is named by a text": lambda: prompt("x", name=5),
    "name='': a step is named by a text": lambda: vote(ASK, 3, name=""),
    "a message is a mapping, and needs a role and a content: 'hi'": lambda: prompt(messages=["hi"]),
    "temperature='hot': it is a number": lambda: prompt("x", temperature="hot"),
    "temperature=nan: it is a number": lambda: prompt("x", temperature=float("nan")),
    "retries='1'": lambda: prompt("x", retries="1"),
    "max_tokens=9.5": lambda: prompt("x", max_tokens=9.5),
    "retries=0.5": lambda: retry(ASK, retries=0.5),
    "retries=-1": lambda: gate(ASK, retries=-1),
    "a route's paths are a mapping of label to step, not 'abc'": lambda: route(ASK, "abc"),
    "the paths 'Billing' and 'billing'": lambda: route(ASK, {"Billing": ASK, "billing": OTHER}),
    "checks is a mapping of name to check, not list": lambda: guard(ASK, [OTHER]),
    "a check's name is a text, not 1": lambda: guard(ASK, {1: len}),
    "pieces() yields": lambda: step(pieces),
    "lines() yields": lambda: step(lines),
    "lines() yields, and": lambda: chain(ASK, lines),
    "lines() yields, and a": lambda: map_over(ASK, merge=lines),
    "pieces() yields, and a": lambda: sections({"a": ASK}, merge=pieces),
    "pieces() yields, and": lambda: chain(ASK, pieces),
    "5 is not a step": lambda: guard(ASK, {"a": len}, otherwise=5),
    "buffer='9'": lambda: guard(ASK, {"a": len}, buffer="9"),
    "merge= cannot be called with the list of the values": lambda: map_over(ASK, merge=lambda a, b: a + b),
    "merge has the parameters ['b', 'c']": lambda: sample(ASK, 2, merge=lambda b, c: b + c),
    "merge= cannot be called with the mapping of the branches": lambda: sample(ASK, 2, merge=lambda: 1),
    "merge=join would get a mapping of the branches by their numbers": lambda: sections([ASK, ASK], merge="+".join),
    "merge=max would get a mapping of the branches by their numbers": lambda: sample(ASK, 2, merge=max),
    "merge=list would get a mapping of the branches by their numbers": lambda: sections([ASK, ASK], merge=list),
    "merge=set would get a mapping of the branches by their numbers": lambda: vote(ASK, 3, merge=set),
    "merge=sorted would get a mapping of the branches by their numbers": lambda: sample(ASK, 2, merge=sorted),
    "merge= is a prompt that names no field": lambda: sections({"a": ASK}, merge=prompt("One summary, please.")),
    "merge= is a prompt that names no field, so": lambda: map_over(ASK, merge=prompt("One summary, please.")),
    "split() cuts a text, not dict": lambda: split(9)({"text": "a"}),
    "every='9'": lambda: check(len, on="stream", every="9"),
    "a criterion's name is a text, not 1": lambda: evaluate([1, 2]),
    "scale=10: give the lowest": lambda: evaluate(["a"], scale=10),
    "scale=(1, 2, 3): give": lambda: evaluate(["a"], scale=(1, 2, 3)),
    "scale=('1', '10'): give": lambda: evaluate(["a"], scale=("1", "10")),
    "scale=(0, inf): give": lambda: evaluate(["a"], scale=(0, float("inf"))),
    "scale=(0, 1000": lambda: evaluate(["a"], scale=(0, 10**400)),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_refused_by_its_name(words: str) -> None:
    """A wrong kind of value is a `UsageError` that begins with what was given, and no error of Python's own."""
    with pytest.raises(UsageError, match=f"^{re.escape(words)}"):
        MISTAKES[words]()


TYPO = prompt("{typo}", name="typo")
JUDGE = prompt("{typo}?", returns=bool)
TYPOS: dict[str, Any] = {
    "merge: ": lambda: sections({"a": ASK, "b": ASK}, merge=TYPO | str.strip),
    "merge: the template": lambda: sample(ASK, 3, merge=TYPO),
    "merge: the template names": lambda: map_over(ASK, items=str.split, merge=TYPO),
    "merge: the template names {typo}": lambda: map_over(ASK, items=str.split, merge=retry(TYPO), merge_fits=100),
    "branch 'b': ": lambda: sections({"a": ASK, "b": TYPO | gate(bool)}),
    "ties: ": lambda: vote([ASK, OTHER], ties=TYPO),
    "same= behind voter '0': ": lambda: vote(ASK, 3, same=TYPO),
    "judge= behind 'prompt': ": lambda: best_of(ASK, 2, judge=JUDGE),
    "criterion 'tone': ": lambda: evaluate({"tone": criterion(template="{rubrik}")}, on_error="skip"),
    "path 'b': ": lambda: route(ASK, {"a": ASK, "b": TYPO}),
    "the gate behind 'prompt': ": lambda: ASK | gate(JUDGE),
    "the gate's otherwise= behind 'prompt': ": lambda: ASK | gate(bool, otherwise=TYPO),
    "answer: ": lambda: guard(TYPO, {"long": str.isspace}),
    "check 'bad': ": lambda: guard(ASK, {"bad": check(JUDGE, on_error="pass")}),
    "check 'bad': the template": lambda: guard(ASK, {"bad": check(JUDGE, on_error="pass", on="answer")}),
    "check 'bad': the template names": lambda: guard(ASK, {"bad": check(JUDGE, on_error="pass", on="stream")}),
    "otherwise: ": lambda: guard(ASK, {"bad": str.isspace}, otherwise=TYPO),
}


@pytest.mark.parametrize("words", TYPOS)
def test_a_field_that_is_nowhere_costs_no_call(words: str) -> None:
    """A prompt that follows others, or judges them, and names a field that it will never find, is told before them."""
    model = Asked(echo)
    with pytest.raises(TemplateError, match=f"^{re.escape(words)}"):
        ran(TYPOS[words](), "a text", model)
    assert not model.requests


def test_fields_that_come_with_the_work_are_there() -> None:
    """What a pattern itself offers is no mistake: the tied values, the answer, its window, the parts, the original."""
    tie = vote({"a": ASK, "b": OTHER}, ties=prompt("{tied} {input}", returns=str) | (lambda _: "a text"))
    assert ran(tie, "a text").output == "a text"
    seen = check(prompt("{window} {answer} {input}", returns=bool), on="stream", on_error="pass")
    judged = check(prompt("{answer} {input}", returns=bool), on="answer", on_error="pass")
    assert ran(guard(ASK, {"seen": seen, "judged": judged}), "a text").output == "a text"
    assert ran(ASK | gate(prompt("yes\n{original} {input}", returns=bool)), "a text").output == "a text"
    assert ran(map_over(ASK, merge=prompt("{parts} of {input}")), ["b"]).output == "## 0\nb of - b"
    record = {"kind": "a", "title": "T"}
    paths = {"a": prompt("{title}"), "b": prompt("{body}")}
    assert ran(route(prompt("{kind}"), paths), record).output == "T"  # of a record, each path has fields of its own
