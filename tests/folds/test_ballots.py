"""What a voter said, as a ballot; and the record of a vote."""

import asyncio
import math
import pickle
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanfold.core.records import Arrival
from fanfold.errors import ConnectError, ParseError, StepTimeout
from fanfold.folds.ballots import Ballot, Said, VoteResult, ballot_of
from fanfold.folds.canonical import ballot_key
from tests.folds.reference import Case, No, arrival, result


def came(value: object = None, error: BaseException | None = None) -> Ballot:
    """The ballot of a voter called "judge", the third."""
    return ballot_of(Arrival(2, "judge", value, error, 0.0, 1.0))


def test_a_value_is_a_valid_ballot_that_keeps_its_text() -> None:
    """A ballot holds the value, and the whole reply it was read from."""
    ballot = came(Said("spam", "SPAM, because it sells pills."))
    assert ballot == Ballot("judge", 2, "valid", "spam", "SPAM, because it sells pills.")
    assert ballot.reason is None


@pytest.mark.parametrize("value", [False, 0, "", 0.0, []], ids=repr)
def test_a_falsy_value_is_a_valid_ballot(value: object) -> None:
    """Only None abstains: no, zero, and nothing found are answers."""
    assert came(Said(value, "text")).kind == "valid"
    assert came(value).value == value


def test_a_bare_value_is_a_valid_ballot_without_a_text() -> None:
    """A plain function's voter brings its value alone."""
    assert came("ham") == Ballot("judge", 2, "valid", "ham")


def test_a_voter_without_a_value_abstains() -> None:
    """None is an abstention, with its text where there is one, and never an error."""
    assert came(None) == Ballot("judge", 2, "abstained", reason="gave no answer")
    assert came(Said(None, "I cannot say.")) == Ballot(
        "judge", 2, "abstained", text="I cannot say.", reason="gave no answer"
    )


def test_a_reply_that_cannot_be_read_abstains_with_its_text() -> None:
    """A ParseError is an abstention: the model did answer, and what it said is kept."""
    ballot = came(error=ParseError("no choice found", text="Well, it depends."))
    assert ballot.kind == "abstained"
    assert ballot.text == "Well, it depends."
    assert ballot.reason == "ParseError: no choice found"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectError("connection refused"), "ConnectError: connection refused"),
        (StepTimeout("5 s are over", seconds=5.0), "StepTimeout: 5 s are over"),
        (ValueError("bad: really: "), "ValueError: bad: really"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_other_error_is_an_error_ballot(error: BaseException, reason: str) -> None:
    """An error ballot says which error it was and what it said; a cancellation by others is one, too."""
    assert came(error=error) == Ballot("judge", 2, "error", reason=reason)


def test_a_result_refuses_to_be_true_or_false() -> None:
    """`if result:` would be true for a vote that said no; it raises, and names the field to look at."""
    found = result(Case("any_of", (False,), (True,)))
    assert found.winner is False
    with pytest.raises(TypeError, match=r"look at \.winner"):
        bool(found)


def test_a_result_is_frozen() -> None:
    """Nobody changes the record of a vote after the vote."""
    found = result(Case("plurality", ("a", "b", "a")))
    with pytest.raises(AttributeError):
        found.winner = "b"
    with pytest.raises(AttributeError):
        found.ballots[0].value = "b"


def test_a_result_travels_between_processes() -> None:
    """A result survives pickling whole, its tally included."""
    found = result(Case("plurality", ("a", ["x"], "a", No.UNREADABLE, No.FAILS)), key=repr)
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.tally["a"] == 2
    assert hash(again.tally) == hash(found.tally)


def test_ballots_encode_as_json() -> None:
    """A ballot is plain data where its value is."""
    line = msgspec.json.encode(ballot_of(arrival(0, "spam", "Spam.")))
    assert msgspec.json.decode(line) == {
        "voter": "v0",
        "index": 0,
        "kind": "valid",
        "value": "spam",
        "text": "Spam.",
        "reason": None,
    }


def test_a_result_takes_its_fields_by_name_only() -> None:
    """Twelve fields by position would be twelve ways to mix them up."""
    by_position = ("spam", 1.0, (1.0, 1.0))
    with pytest.raises(TypeError):
        VoteResult(*by_position)


@pytest.mark.parametrize("nan", [Decimal("nan"), Decimal("-nan"), Decimal("snan"), math.nan])
def test_what_is_no_number_is_one_group(nan: Any) -> None:
    """Every NaN counts as every other, a decimal's too, though none is equal to itself."""
    assert ballot_key(nan) == ballot_key(float("nan"))
    assert hash(ballot_key([nan])) == hash(ballot_key([math.nan]))
