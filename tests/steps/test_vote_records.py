"""Votes whose answers are records: field by field where nothing else is said, and as a whole where it is."""

import json
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import pytest
from pydantic import BaseModel, model_validator

from fanfold import chain, prompt, rules, sections, step, vote
from fanfold.cli.reports import detail_fields, encoded, notes
from fanfold.errors import QuorumError, RecordError, TieError, UsageError
from fanfold.testing import FakeModel
from tests.steps.running import Asked, failed, ran, taking


class Report(BaseModel):
    """What the voters are asked for."""

    label: Literal["spam", "ham"]
    price: int
    tags: list[str]


class Parts(TypedDict):
    """A record that is no class of its own."""

    word: str
    count: int


@dataclass
class Pair:
    """The same as a class."""

    word: str
    count: int


@dataclass
class Note:
    """A record that a function gives."""

    text: str
    length: int


ASK = prompt("{input}", returns=Report)
LATENCIES = [1, 2, 3, 60, 60]


def reports(*replies: Any, latency: Any = 0.0) -> Asked:
    """A model that gives these as JSON, by ordinal."""
    records = [dict(zip(Report.model_fields, reply, strict=True)) for reply in replies]
    return Asked([json.dumps(record) for record in records], latency=latency)


def test_a_record_is_voted_on_field_by_field() -> None:
    """Without a rule: the label by plurality, the price by median, the tags by membership, each with its share."""
    run = ran(vote(ASK, n=3), model=reports(("spam", 5, ["a", "b"]), ("ham", 9, ["a"]), ("spam", 2, ["a", "c"])))
    assert run.output == Report(label="spam", price=5, tags=["a"])
    assert {name: one.share for name, one in run.detail.fields.items()} == {
        "label": pytest.approx(2 / 3),
        "price": None,
        "tags": pytest.approx(2 / 3),
    }
    assert run.detail.rule == "fields()"
    assert run.detail.share == pytest.approx(2 / 3)


def test_a_vote_by_fields_ends_when_every_field_is_certain() -> None:
    """Three agree in all fields: two more cannot change one of them, and are cancelled."""
    same = ("spam", 5, ["a"])
    model = reports(same, same, same, ("ham", 1, []), same, latency=lambda request: LATENCIES[request.draw.ordinal])
    run = ran(vote(ASK, n=5), model=model)
    assert run.output == Report(label="spam", price=5, tags=["a"])
    assert (run.wall, run.saved.cancelled) == (pytest.approx(3, abs=1e-3), 2)
    model = reports(same, ("spam", 7, ["a"]), same, same, same, latency=lambda request: LATENCIES[request.draw.ordinal])
    assert ran(vote(ASK, n=5), model=model).wall == pytest.approx(60, abs=1e-3)


def test_a_rule_that_is_given_is_taken() -> None:
    """`plurality()` still votes on whole records, and a field may have a rule of its own."""
    model = reports(("spam", 5, []), ("ham", 9, []), ("spam", 2, []), ("ham", 9, []))
    assert ran(vote(ASK, n=4, rule=rules.plurality()), model=model).output == Report(label="ham", price=9, tags=[])
    by = rules.fields({"price": rules.mean()})
    assert ran(vote(ASK, n=4, rule=by), model=model).output == Report(label="spam", price=6, tags=[])


def test_a_voter_whose_reply_does_not_validate_abstains() -> None:
    """As in any vote; and one failed voter is no ballot for any field."""
    run = ran(vote(ASK, n=3, stop=None), model=reports(("spam", 5, ["a"]), ("eggs", 9, ["a"]), ("spam", 7, ["b"])))
    assert run.output == Report(label="spam", price=5, tags=[])
    assert (run.detail.valid, run.detail.abstained) == (2, 1)
    failed(vote(ASK, n=2), QuorumError, model=Asked(["no idea"]))


class Span(BaseModel):
    """Two numbers that go together."""

    low: int
    high: int

    @model_validator(mode="after")
    def ordered(self) -> "Span":
        """The lower one is lower."""
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def test_a_record_that_cannot_be_is_an_error_of_the_vote() -> None:
    """Fields that won by themselves and break a rule between them: the error says so, and carries the run."""
    voters = vote(prompt("{input}", returns=Span), n=3, rule=rules.fields({"low": rules.mean()}))
    error = failed(
        voters, RecordError, model=Asked(['{"low": 1, "high": 2}', '{"low": 1, "high": 2}', '{"low": 91, "high": 91}'])
    )
    assert "make no Span: Value error, low is above high" in str(error)
    assert error.values == {"low": 31, "high": 2}
    assert len(error.run.calls) == 3


@pytest.mark.parametrize(
    "voter",
    [
        prompt("{input}", returns=Parts),
        prompt("{input}", returns=Pair | None),
        chain(prompt("{input}", name="first"), prompt("{input}", returns=Parts)),
        sections({"word": prompt("{input}"), "count": taking(0, 3)}, returns=Parts),
    ],
    ids=["prompt", "optional", "chain", "sections"],
)
def test_voters_declare_their_record(voter: Any) -> None:
    """A prompt does by `returns=`, with None or without, a chain by its last link, sections by their own `returns=`."""
    run = ran(vote(voter, n=3), model=FakeModel(lambda _: '{"word": "a", "count": 3}'))
    assert list(run.detail.fields) == ["word", "count"]
    assert run.detail.fields["count"].winner == 3


def test_functions_do_not_declare_one() -> None:
    """Their records count as a whole, unless the rule is told of their type."""

    @step
    async def note(given: str) -> Note:
        return Note(given, len(given))

    run = ran(vote(note, n=3))
    assert (run.output, dict(run.detail.fields), run.detail.rule) == (Note("q", 1), {}, "plurality()")
    run = ran(vote(note, n=3, rule=rules.fields(of=Note)))
    assert (run.output, list(run.detail.fields)) == (Note("q", 1), ["text", "length"])
    with pytest.raises(UsageError, match="say of=TheType"):
        vote(note, n=3, rule=rules.fields())


def test_voters_of_different_records_vote_on_wholes() -> None:
    """There are no fields that all of them have."""
    panel = [prompt("{input}", returns=Parts), prompt("{input}", returns=Report)]
    assert ran(vote(panel, stop=None), model=FakeModel()).detail.rule == "plurality()"
    with pytest.raises(UsageError, match="one and the same type"):
        vote(panel, rule=rules.fields())


def test_what_is_merged_is_voted_on_as_a_whole() -> None:
    """The merge makes the output, so no record is put together that its type might refuse."""
    run = ran(vote(ASK, n=3, merge=len), model=reports(("spam", 5, [])))
    assert (run.output, run.detail.rule) == (3, "plurality()")


def test_ties_of_fields() -> None:
    """By declared order, or an error that names the field; a step, or leaving it empty, has to fit the fields."""
    model = reports(("ham", 5, []), ("spam", 5, []))
    assert ran(vote(ASK, n=2), model=model).output.label == "spam"
    error = failed(vote(ASK, n=2, ties="error"), TieError, model=model)
    assert "label: 'spam' and 'ham' tied" in str(error)
    with pytest.raises(UsageError, match="cannot be: let its type say"):
        vote(ASK, n=2, ties="abstain")
    with pytest.raises(UsageError, match="each field ties by itself"):
        vote(ASK, n=2, ties=prompt("{tied}"))
    assert ran(vote(ASK, n=2, ties="abstain", rule=rules.plurality()), model=model).output is None


def test_the_command_shows_the_fields() -> None:
    """The document has how each field came about, and the line for people each winner with its share."""
    run = ran(vote(ASK, n=3, stop=None), model=reports(("spam", 5, ["a"]), ("spam", 5, ["a"]), ("ham", 9, ["a"])))
    shown = json.loads(encoded(detail_fields(run.detail)))
    assert shown["fields"]["label"]["tally"] == {"spam": 2, "ham": 1}
    assert shown["fields"]["price"]["winner"] == 5
    assert notes(run)[0].startswith("label 'spam' (67%), price 5, tags ['a'] (100%); ")
