"""`fanfold compare`: steps on rows with right answers; and that its figures are those of the demo."""

import asyncio
import re
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from fanfold import Session, prompt, vote
from fanfold.cli.measuring import QUESTION, VOTER, run_passes, single_row, vote_row
from fanfold.data.choosing import Choice
from fanfold.data.compare import Gold, answer_of, compare, same_answer
from fanfold.models.recordings import Recording, recordings
from fanfold.testing import ModelServer
from tests.cli.calling import Outcome, fanfold, file
from tests.data.tables import write_rows

STEPS = r"""
import asyncio, os, signal
from fanfold.errors import AccessError

def said(request):
    number = int(str(request.messages[-1].content).split()[-1])
    return "B" if number in (2, 5) or request.draw.ordinal else "A"

one = prompt("{input} {n}", model=FakeModel(said))
best = prompt("Question {n}", model=FakeModel(["A"]))
worst = prompt("Question {n}", model=FakeModel(["C"]))
three = vote(one, 3, stop=None)

@step
async def broken(row):
    raise ValueError("no")

@step
async def twice(row):
    if row["n"] in (3, 5):
        raise ValueError(f"not {row['n']}")
    return "A"

@step
async def denied(row):
    raise AccessError("the key was withdrawn")

@step
async def modelless(row):
    return await prompt("{n}")(row)

@step
async def interrupted(row):
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(30)

@step
async def odd(row):
    held = []
    held.append(held)
    return [held, {"half": "\ud800"}, {(1, 2): 3}, object(), "A"][row["n"] % 5]

@step
async def deep(row):
    held = "A"
    for _ in range(3000):
        held = [held]
    return held if row["n"] else "A"

@step
async def half(row):
    return "A" if row["n"] else "\ud800"

@step
async def sees(row):
    return "A" if set(row) == {"n", "input"} else str(row)
"""


class Stars(Enum):
    """An answer that a file holds as a number."""

    ONE = 1
    TWO = 2


class Mood(Enum):
    """An answer that a file holds as a text."""

    GOOD = "good"
    BAD = "bad"


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "gold.jsonl", ({"n": n, "input": "Question", "answer": "a."} for n in range(8)))


def compared(gold: Path, *steps: str, options: tuple[str, ...] = ()) -> Outcome:
    path = file(gold.parent, STEPS)
    return fanfold(
        "compare",
        *(step.replace("@", f"{path}:") for step in steps),
        "--gold",
        str(gold),
        "--answer",
        "answer",
        *options,
    )


def test_accuracy_side_by_side(gold: Path) -> None:
    """How often each was right, with the difference to the first and what that takes."""
    done = compared(gold, "@one", "@best", "three=@three", options=("--json",))
    assert done.code == 0
    found = done.document
    assert found["rows"] == 8
    assert [(way["name"], way["right"], way["accuracy"], way["calls"]) for way in found["steps"]] == [
        ("one", 6, 0.75, 8),
        ("best", 8, 1.0, 8),
        ("three", 0, 0.0, 24),
    ]
    best, three = found["against_first"]
    assert (best["name"], best["gain"], best["more_right"]) == ("best", 0.25, 2)
    assert best["low"] < 0.25 < best["high"]
    assert (three["gain"], three["more_right"], three["per_right"]) == (-0.75, -6, None)
    assert found["disagreements"] == 8
    assert found["shown"] == []


def test_as_text(gold: Path) -> None:
    """A table, the differences with their intervals, and the rows they did not agree on."""
    done = compared(gold, "@one", "@best", options=("--show", "1"))
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert any(line.startswith("one 75.0% 8 ") and "made up" in line for line in lines)
    assert any(line.startswith("best 100.0% 8 ") for line in lines)
    assert any(re.match(r"best one \+25.0 -\d.* to \+5\d.* may be chance", line) for line in lines)
    assert "best: 2 right answers more than one, at a price that is not known" in lines
    assert 'row 2: { "n": 2, "input": "Question", "answer": "a." }' in lines
    assert "wrong one: B" in lines
    assert "right best: A" in lines
    assert "1 more row that some got right and others wrong." in lines
    assert done.err == "one: 8 of 8 rows\nbest: 8 of 8 rows\n"
    assert compared(gold, "@one", options=("--quiet",)).err == ""


def test_a_failed_row_is_wrong(gold: Path) -> None:
    """And said to have failed, with the reason; a step of which every row failed was not compared: exit code 1."""
    done = compared(gold, "@best", "@broken")
    assert done.code == 1
    assert "8 rows of broken failed, and count as wrong; the first, row 0: ValueError: no" in done.out
    document = compared(gold, "@best", "@broken", options=("--json",)).document
    assert [way["first_failure"] for way in document["steps"]] == [None, "row 0: ValueError: no"]
    some = compared(gold, "@twice")
    assert some.code == 0
    assert "2 rows of twice failed, and count as wrong; the first, row 3: ValueError: not 3" in some.out
    assert "broken: 8 right answers fewer than best, " in done.out


@pytest.mark.parametrize(
    ("stops", "code", "why"),
    [
        ("denied", 1, "AccessError: the key was withdrawn"),
        ("modelless", 2, "no model: "),
        ("interrupted", 130, "interrupted"),
    ],
)
def test_what_ends_it_is_one_line(gold: Path, stops: str, code: int, why: str) -> None:
    """A wrong key, say, no model, or Ctrl-C: why, what the steps that were done had come to, and the exit code."""
    done = compared(gold, "@best", f"@{stops}")
    assert (done.code, done.out) == (code, "")
    _, said, best = done.err.splitlines()
    assert said.startswith(f"fanfold: {why}")
    assert best == "best was done: 100.0% right, 8 calls, cost made up"
    done = compared(gold, "@best", f"@{stops}", options=("--json",))
    assert (done.code, done.told) == (code, said)
    assert [way["right"] for way in done.document["steps"]] == [8]
    assert f"fanfold: {done.document['error']['message']}" == said


@pytest.mark.parametrize(("step", "right"), [("odd", 1), ("deep", 1), ("half", 7)])
def test_an_output_that_json_cannot_say_is_wrong(gold: Path, step: str, right: int) -> None:
    """It ends nothing, and the document has the shape that it always has."""
    done = compared(gold, "@best", f"@{step}", options=("--json", "--show", "8"))
    assert (done.code, done.err) == (0, "")
    assert [way["right"] for way in done.document["steps"]] == [8, right]
    assert [row["right"]["best"] for row in done.document["shown"]] == [True] * (8 - right)
    assert compared(gold, "@best", f"@{step}", options=("--show", "8")).code == 0


def test_no_step_sees_the_answer(gold: Path) -> None:
    """The column of the answer is no part of the input."""
    assert compared(gold, "@sees", options=("--json",)).document["steps"][0]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("steps", "options", "message"),
    [
        (["@one", "@one"], [], "two steps are called 'one'"),
        (["@none"], [], "does not define 'none'"),
        (["@one"], ["--answer", "letter"], "row 0 has no 'letter', the column of --answer"),
        (["@one"], ["--gold", "no.csv"], "no.csv cannot be read"),
        (["@one"], ["--input", "body"], "row 0 has no column 'body'"),
        (["@one"], ["--show", "-1"], "Invalid value for '--show'"),
    ],
)
def test_wrong_options(gold: Path, steps: list[str], options: list[str], message: str) -> None:
    """Exit code 2, and the reason."""
    done = compared(gold, *steps, options=tuple(options))
    assert done.code == 2
    assert message in done.told


def test_a_narrow_terminal_cuts_names_and_no_figures(gold: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug: under fifty characters the figures were cut, too, to "6…" and "+3…"; lines may be longer than that."""
    said = []
    for width in ("10", "30", "49", "200"):
        monkeypatch.setenv("COLUMNS", width)
        done = compared(gold, "a-name-of-many-characters=@one", "@three", options=("--quiet",))
        assert done.code == 0
        said.append(
            re.findall(r" ([\d.]+%) +(\d+) +([\d,]+) .* made up  made up |([+-][\d.]+ to [+-][\d.]+)", done.out)
        )
        cut = re.search(r"^ a-name-of-many-characters ", done.out, re.MULTILINE) is None
        assert cut == (width != "200")
    assert len(said[0]) == 3
    assert said == [said[0]] * 4


def test_a_table_without_rows(gold: Path) -> None:
    """There is nothing to compare."""
    gold.write_text("")
    assert "has no rows" in compared(gold, "@one").told


@pytest.mark.parametrize(
    ("output", "answer", "same"),
    [
        ("**Spam**.", "spam", True),
        ("Spam", "ham", False),
        (5, "5", True),
        (5.0, 5, True),
        (True, "true", True),
        (False, "true", False),
        (["a", "b"], ["a", "b"], True),
        (None, "none", True),
        ("5 ", 5, True),
        ("**5.0**.", 5, True),
        ("The answer is 05", 5, True),
        ("5.5", 5, False),
        ("five", 5, False),
        ("5", "5.0", False),
        ("05", "5", False),
        ("True.", True, True),
        ("1", True, False),
        ("true", 1, False),
        (7.0, "7", True),
        (5, "5.0", True),
        (0.5, ".50", True),
        (1000.0, "1e3", True),
        (10**17, "100000000000000001", False),
        (Decimal("0.1"), "0.10", True),
        (1.0, "true", False),
        (True, "1", False),
        (5.0, "five", False),
        (Stars.TWO, 2, True),
        (Stars.TWO, 1, False),
        (Stars.TWO, "2.0", True),
        (Mood.GOOD, "Good.", True),
        ([Mood.GOOD, Mood.BAD], ["good", "bad"], True),
        ({"mood": Mood.GOOD}, {"mood": "good"}, True),
        (["a", "b"], '["A", "b"]', True),
        (["a", "b"], '["b", "a"]', False),
        ([1, 2.0], "[1.0, 2]", True),
        ({"a": [1, True]}, '{"a": [1, true]}', True),
        ({"a": [1, True]}, '{"a": [1, 1]}', False),
        ('{"b": 2, "a": 1}', {"a": 1, "b": 2}, True),
        (["a"], "[a", False),
        (None, "null", True),
        ({"a", "b", "c", "d"}, ["d", "c", "b", "a"], True),
        ({"a", "b"}, '["b", "a"]', True),
        ({"a", "b"}, ["a", "c"], False),
        ("2024-05-01", date(2024, 5, 1), True),
        (date(2024, 5, 1), "2024-05-01", True),
        (date(2024, 5, 1), date(2024, 5, 2), False),
        (0.1, Decimal("0.10"), True),
        ("0.1", Decimal("0.10"), True),
        (bytearray(b"a"), "b", False),
        ("\ud800", 5, False),
        ("\ud800", ["a"], False),
    ],
)
def test_answers_are_compared_as_ballots(output: Any, answer: Any, same: bool) -> None:
    """Dress and case are nothing; a text beside a number, a truth value or a list may write it, and no other text."""
    assert same_answer(output, answer) is same


def test_of_a_record_the_field_is_compared() -> None:
    """Where it has one of that name."""
    assert answer_of({"label": "spam", "sure": True}, "label") == "spam"
    assert answer_of({"label": "spam"}, "answer") == {"label": "spam"}
    assert answer_of("spam", "label") == "spam"


# -- the demo's figures ---------------------------------------------------------------------------------------------


def exam_row(recording: Recording) -> dict[str, str]:
    return {"question": recording.question, "letter": recording.gold}


def test_its_figures_are_those_of_the_demo(tmp_path: Path) -> None:
    """A vote of five against one call on recorded questions: the demo's accuracy, calls, tokens and price."""
    every = 10
    asked = recordings("samples")[::every]
    path = write_rows(tmp_path / "exam.jsonl", map(exam_row, asked))

    async def main() -> None:
        async with ModelServer("recorded") as server:
            passes = await run_passes(server.url, lambda _: None, every=every)
        theirs = vote_row(passes.full, ""), single_row(passes.full, VOTER, "", "0")
        letters = Literal["A", "B", "C", "D", "E"]
        single = prompt(QUESTION.replace("{input}", "{question}"), returns=letters, model=f"recorded:{VOTER}")
        async with Session() as session:
            found = await compare(
                {"five": vote(single, 5, stop=None), "one": single}, Gold(path, "letter"), session, lambda *_: None
            )
        for way, row in zip(found.ways, theirs, strict=True):
            assert way.accuracy == pytest.approx(row.accuracy)
            assert way.spent.calls == row.sent
            assert way.spent.usage.total_tokens == row.tokens
            assert way.spent.cost.usd == pytest.approx(row.cost)
        against = found.against()[0]
        singles = [
            pass_.right - one_.share_right("0")
            for pass_, one_ in zip(passes.full.answers, passes.full.answers, strict=True)
        ]
        assert -against.gain == pytest.approx(sum(singles) / len(singles))

    asyncio.run(main())


def test_the_price_of_a_right_answer(tmp_path: Path) -> None:
    """What the others cost more, for each answer that they got right more."""
    path = write_rows(tmp_path / "exam.jsonl", map(exam_row, recordings("samples")))
    steps = file(tmp_path, 'one = prompt("{question}", returns=Literal["A", "B", "C", "D", "E"])\nfive = vote(one, 5)')
    command = ["compare", f"{steps}:one", f"{steps}:five", "--gold", str(path), "--answer", "letter"]
    found = fanfold(*command, "--model", "recorded:gpt-35-turbo", "--json").document
    one, five = found["steps"]
    (against,) = found["against_first"]
    assert against["more_right"] == five["right"] - one["right"] > 0
    extra = five["cost"]["usd"] - one["cost"]["usd"]
    assert against["per_right"] == pytest.approx(extra / against["more_right"])


def test_only_some_rows(tmp_path: Path) -> None:
    """A sample of the rows."""
    path = write_rows(tmp_path / "gold.jsonl", ({"n": n, "answer": "a"} for n in range(20)))
    assert len(Gold(path, "answer", choice=Choice(sample=5)).items()) == 5
