"""Chains: steps one after another, each on what the one before gave."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from fanfold import chain, prompt, sections, step, vote
from fanfold.core.scope import current
from fanfold.errors import StepTimeout, TemplateError, UsageError
from fanfold.testing import FakeModel
from tests.steps.running import Asked, failed, ran, taking

ONE = prompt("one {input}", name="one")
TWO = prompt("two {input}", name="two")


@pytest.mark.parametrize("made", [ONE | TWO, chain(ONE, TWO), chain(chain(ONE), TWO), ONE | TWO | str])
def test_a_chain_feeds_each_link_with_what_came_out_before(made: Any) -> None:
    """`a | b` and `chain(a, b)` are the same: the second gets the first's value."""
    assert ran(made).output == "two one q"


def test_plain_functions_are_links() -> None:
    """A function, async or not, may stand anywhere but first before a bar."""

    async def louder(text: str) -> str:
        await asyncio.sleep(0)
        return text + "!"

    assert ran(ONE | str.upper | louder).output == "ONE Q!"
    assert ran(chain(str.upper, louder, ONE)).output == "one Q!"


def test_links_pass_values_of_any_type() -> None:
    """A list, a record, a number: the next template fills what the value has."""

    @dataclass
    class Ticket:
        title: str

    listed = prompt("List {input}", returns=list[str])
    model = Asked(['{"answer": ["x", "y"]}', '{"answer": ["x", "y"]}'])
    ran(listed | prompt("Join: {input}"), "q", model)
    assert model.texts == ["List q", "Join: - x\n- y"]
    assert ran(chain(Ticket, prompt("About {title}"))).output == "About q"
    assert ran(chain(len, prompt("{input} letters"))).output == "1 letters"


def test_after_a_link_only_what_came_out_is_there() -> None:
    """The names of the first input are gone after the first link."""
    error = failed(prompt("{title}") | prompt("{title} again"), TemplateError, {"title": "T"})
    assert "{title}" in str(error)
    assert "it has: {input}" in str(error)
    assert len(error.run.calls) == 1


def test_a_chain_is_flat_where_it_is_written_with_bars() -> None:
    """Bars make one chain; a chain with a name or a timeout of its own stays a part."""
    assert sorted({call.place for call in ran(ONE | TWO | ONE).calls}) == ["chain/one", "chain/two"]
    named = chain(ONE, TWO, name="draft") | TWO
    assert [call.place for call in ran(named).calls] == ["chain/draft/one", "chain/draft/two", "chain/two"]
    timed = chain(ONE, timeout=5) | TWO
    assert [call.place for call in ran(timed).calls] == ["chain/chain/one", "chain/two"]


def test_a_chain_has_a_name() -> None:
    """`name` names a chain in places and in its repr."""
    line = chain(ONE, TWO, name="line")
    assert repr(line) == "<chain 'line'>"
    assert ran(line).name == "line"
    assert ran(line).calls[0].place == "line/one"


def test_functions_are_named_after_themselves() -> None:
    """A link made of a function bears its name; a lambda's is plain."""
    places: list[str] = []

    def here(given: str) -> str:
        places.append(current().place)
        return given

    def wrapped(given: str) -> str:
        return here(given)

    ran(chain(ONE, here, lambda text: wrapped(text + ""), wrapped))
    assert places == ["chain/here", "chain/lambda", "chain/wrapped"]


def test_patterns_are_links() -> None:
    """Sections, votes and chains follow one another; each record stays inside its link."""
    pattern = sections({"a": ONE, "b": TWO}, merge=prompt("{a}+{b}")) | vote(prompt("{input}!"), n=3) | str.title
    run = ran(pattern)
    assert run.output == "One Q+Two Q!"
    assert run.detail is None


def test_the_last_links_detail_is_the_chains() -> None:
    """Where the last link leaves a record, it is the run's."""
    assert ran(ONE | vote(TWO, n=3)).detail.winner == "two one q"
    assert ran(chain(ONE, ONE | sections({"a": TWO}))).detail.missing == {}


def test_an_error_ends_the_chain_as_it_is() -> None:
    """The links after a failure do not run; the error carries the calls before it."""
    model = Asked(["x"])
    error = failed(chain(ONE, prompt("{n}"), TWO), TemplateError, model=model)
    assert len(model.requests) == len(error.run.calls) == 1
    with pytest.raises(LookupError, match="as it is") as caught:
        ran(chain(ONE, taking(0, LookupError("as it is")), TWO), "q", model)
    assert "before this, the run made 1 call" in caught.value.__notes__[0]


def test_a_chains_timeout_is_total() -> None:
    """It covers all links together."""
    pattern = chain(taking(1), taking(1), taking(1), timeout=2.5)
    assert failed(pattern, StepTimeout).seconds == 2.5
    assert ran(chain(taking(1), taking(1), timeout=2.5)).output == "q"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: chain(ONE, "text"), "'text' is not a step"),
        (lambda: ONE | 3, "3 is not a step"),
        (lambda: chain(None), "None is not a step"),
    ],
)
def test_what_is_no_step_is_refused_when_the_chain_is_made(make: Any, words: str) -> None:
    """A link that is neither a step nor a function is named."""
    with pytest.raises(UsageError, match=words):
        make()


def test_one_chain_serves_many_runs_at_once() -> None:
    """A chain keeps nothing between runs."""
    line = ONE | TWO

    @step
    async def many(given: str) -> list[str]:
        return await asyncio.gather(*(line(letter) for letter in given))

    assert ran(many, "abc").output == [f"two one {letter}" for letter in "abc"]
    assert ran(line, model=FakeModel(["x"])).output == "x"


def test_a_chain_declares_what_its_last_link_does() -> None:
    """Choices, as types, are those of what comes out: a vote on chains breaks its ties by them."""
    choices = prompt("{input}", returns=Literal["b", "a"])
    assert chain(ONE, choices).choices == ("b", "a")
    assert chain(choices, ONE).choices is None
    run = ran(vote([ONE | choices, TWO | choices], ties="declared"), model=Asked(["a"]))
    assert run.detail.winner == "a"
