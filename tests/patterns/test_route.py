"""Routing: a step says which path the input takes."""

from enum import Enum, StrEnum
from typing import Any, Literal

import pytest

from fanfold import chain, prompt, route, vote
from fanfold.errors import ParseError, RouteError, StepTimeout, UsageError
from fanfold.steps.route import Routed
from fanfold.testing import FakeModel
from tests.patterns.hearing import ask, heard, saying
from tests.steps.running import failed, ran, taking


class Desk(Enum):
    MONEY = "billing desk"
    WIRES = 7


PATHS = {"billing": ask("billing"), "Technical Support": ask("tech")}
BY = ask("label")


def model(label: str) -> Any:
    answers = {"label": label, "billing": "about money now", "tech": "about wires", "other": "something else"}
    return saying({start: (0.1, text) for start, text in answers.items()}, structured=False)


@pytest.mark.parametrize(
    ("said", "output"),
    [
        ("billing", "about money now"),
        ("**Billing**.", "about money now"),
        ("technical support", "about wires"),
        ("Answer: Technical  Support", "about wires"),
    ],
)
def test_labels_are_compared_as_ballots_are(said: str, output: str) -> None:
    """Case, markdown, white space and punctuation of a label play no part."""
    assert ran(route(BY, PATHS), model=model(said)).output == output


def test_bools_are_labels() -> None:
    """True and False take the paths "true" and "false"."""
    pattern = route(lambda text: text == "x", {"true": taking(0, 1), "false": taking(0, 2)})
    assert ran(pattern, "x").output == 1
    assert ran(pattern, "y").output == 2


def test_members_of_an_enum_are_labels() -> None:
    """Who lets a prompt return an Enum names the paths by its members; the labels are their values."""
    pattern = route(prompt("label {input}", returns=Desk), {Desk.MONEY: ask("billing"), Desk.WIRES: ask("tech")})
    run = ran(pattern, model=model("MONEY"))
    assert (run.output, run.detail.label) == ("about money now", "billing desk")


def test_an_unknown_label_is_a_clear_error() -> None:
    """It names what was said, the paths there are, and the remedy; no path is taken."""
    error = failed(route(BY, PATHS), RouteError, model=model("poetry"))
    assert (error.label, error.known) == ("poetry", ("billing", "Technical Support"))
    assert "otherwise=" in str(error)
    assert error.run.times_one_call == 1
    assert len(str(failed(route(BY, PATHS), RouteError, model=model("poetry " * 900)))) < 300


def test_an_unknown_label_takes_otherwise() -> None:
    """With `otherwise` it takes that; the detail's label is None."""
    run = ran(route(BY, PATHS, otherwise=ask("other")), model=model("poetry"))
    assert run.output == "something else"
    assert run.detail == Routed(None, "poetry", None)


def test_a_path_gets_the_input_and_its_detail_is_kept() -> None:
    """The chosen path gets what the route got; `run.detail` is the `Routed` with the path's own detail."""
    fake = model("billing")
    run = ran(route(BY, {"billing": vote(ask("billing"), n=3)}), "my bill", fake)
    assert (run.detail.label, run.detail.said) == ("billing", "billing")
    assert run.detail.detail.winner == "about money now"
    assert fake.texts[-1] == "billing: my bill"
    with pytest.raises(TypeError):
        bool(run.detail)


def test_the_chosen_paths_text_streams_and_the_label_does_not() -> None:
    """The text of a route is its path's, piece by piece."""
    found = heard(chain(str.strip, route(BY, PATHS)), "text", model("billing"))
    assert [piece for _, piece in found.items] == ["about ", "money ", "now"]
    assert len({at for at, _ in found.items}) == 3


def test_declared_choices_need_a_path_each() -> None:
    """Where the deciding step declares its choices, a missing path or one never taken is refused when it is made."""
    by = prompt("Which? {input}", returns=Literal["billing", "legal"])
    with pytest.raises(UsageError, match="'legal' has no path"):
        route(by, {"billing": BY})
    with pytest.raises(UsageError, match="'sales' can never be taken"):
        route(by, {"billing": BY, "legal": BY, "sales": BY})
    route(by, {"billing": BY}, otherwise=BY)
    with pytest.raises(UsageError, match="at least one path"):
        route(by, {})


def test_declared_choices_and_paths_are_compared_as_ballots_are() -> None:
    """Case and punctuation tell no path from its choice; what is never said of True and False is refused."""
    by = prompt("Which? {input}", returns=Literal["Billing", "Technical"])
    found = ran(route(by, {"billing": taking(0, "paid"), "**TECHNICAL**": taking(0)}), model=FakeModel(["Billing"]))
    assert found.output == "paid"
    flag = prompt("Is it? {input}", returns=bool)
    route(flag, {True: BY})
    with pytest.raises(UsageError, match="'no' can never be taken: the choices are false, true"):
        route(flag, {"yes": BY, "no": BY}, otherwise=BY)


class Kind(StrEnum):
    """What a prompt may return, each member a text, too."""

    MONEY = "billing"
    TOOLS = "technical"


@pytest.mark.parametrize("labels", [("billing", "technical"), (Kind.MONEY, Kind.TOOLS)])
def test_an_enum_of_texts_has_the_labels_of_its_values(labels: tuple[str, str]) -> None:
    """The bug: its members were compared with the labels as members, which no text is."""
    by = prompt("Which? {input}", returns=Kind)
    found = ran(route(by, dict.fromkeys(labels, taking(0, "paid"))), model=FakeModel(["billing"]))
    assert found.output == "paid"
    assert found.detail.label == "billing"


def test_errors_and_timeouts_pass() -> None:
    """What the deciding step raises is raised; `timeout` covers decision and path."""
    failed(route(ask("label", returns=bool), {"true": BY, "false": BY}), ParseError, model=model("perhaps"))
    slow = route(taking(0.6, "a"), {"a": taking(0.6)}, timeout=1)
    error = failed(slow, StepTimeout)
    assert error.run.wall == pytest.approx(1.0, abs=1e-2)
