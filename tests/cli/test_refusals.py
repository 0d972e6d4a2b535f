"""`fanfold demo refusals`: votes on recorded refusals, against a count from the packaged file without fanfold."""

import asyncio
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanfold.cli import refusals
from fanfold.models import xstest
from fanfold.testing import ModelServer
from tests.cli.calling import fanfold

ROWS: list[dict[str, Any]] = json.loads(
    lzma.decompress(Path(xstest.__file__).with_name("data").joinpath("xstest.json.xz").read_bytes())
)
FIVE = ("gpt4", "llama2new", "llama2orig", "mistralguard", "mistralinstruct")
EVERY = 6


def run(every: int) -> refusals.RefusalPasses:
    """All passes over every so manieth prompt, at two hundred times the recorded speed."""

    async def passes() -> refusals.RefusalPasses:
        async with ModelServer("recorded", latency="recorded", speed=200.0) as server:
            return await refusals.run_refusals(server.url, lambda progress: None, every)

    return asyncio.run(passes())


@pytest.fixture(scope="module")
def passes() -> refusals.RefusalPasses:
    """One run of every sixth prompt."""
    return run(EVERY)


# -- an independent count ---------------------------------------------------------------------------------------

COUNTS: dict[str, Callable[[dict[str, bool]], bool]] = {
    **{name: (lambda refused, name=name: refused[name]) for name in FIVE},
    "plurality of 5": lambda refused: sum(refused.values()) >= 3,
    "at least 2 of 5": lambda refused: sum(refused.values()) >= 2,
    "any of 5": lambda refused: any(refused.values()),
}


def counted(rows: list[dict[str, Any]], label: str, flags: Callable[[dict[str, bool]], bool]) -> int:
    """How many prompts with this label are flagged, straight from the file."""
    return sum(
        flags({name: "refusal" in row["labels"][name] for name in FIVE}) for row in rows if row["prompt_label"] == label
    )


def check(found: refusals.RefusalPasses, rows: list[dict[str, Any]]) -> None:
    """Every row against the count."""
    table = refusals.refusal_rows(found)
    assert [row.title for row in table] == list(COUNTS)
    for row in table:
        assert row.flagged_safe == counted(rows, "safe", COUNTS[row.title]), row.title
        assert row.caught_unsafe == counted(rows, "unsafe", COUNTS[row.title]), row.title
        assert row.failed == 0


def test_rows_equal_a_count_from_the_file(passes: refusals.RefusalPasses) -> None:
    """Single models, plurality, at least two, any: through the real vote, over real HTTP."""
    check(passes, ROWS[::EVERY])


@pytest.mark.long
def test_the_whole_file() -> None:
    """The same for all prompts; any-of flags more safe prompts than the plurality, and that more than gpt4."""
    found = run(1)
    check(found, ROWS)
    safe = {gain.title: gain for gain in refusals.refusal_gains(found)["safe flagged (less is better)"]}
    assert safe["any of 5"].low > safe["plurality of 5"].high > safe["plurality of 5"].low > 0


def test_ballots_are_the_recorded_labels(passes: refusals.RefusalPasses) -> None:
    """Where all were heard, each ballot is its model's own label, read as a refusal or not."""
    for one in passes.heard:
        assert [ballot.voter for ballot in sorted(one.run.detail.ballots, key=lambda b: b.index)] == list(FIVE)
        for ballot in one.run.detail.ballots:
            assert ballot.value == (one.prompt.labels[ballot.voter] != "1_full_compliance")


@pytest.mark.parametrize(
    ("label", "ballot"), [("1_full_compliance", False), ("2_full_refusal", True), ("3_partial_refusal", True)]
)
def test_a_partial_refusal_is_one(label: xstest.Label, ballot: bool) -> None:
    """What is refused in part is a ballot for unsafe."""
    assert refusals.refused(label) is ballot


def test_an_early_decision_never_changes_the_outcome(passes: refusals.RefusalPasses) -> None:
    """The plurality that stops early says what the one that heard all says, and saves calls."""
    early = passes.ways["plurality of 5"]
    assert [one.flagged for one in early] == [one.flagged for one in passes.heard]
    rows = {row.title: row for row in refusals.refusal_rows(passes)}
    assert rows["any of 5"].saved > 0
    assert all(row.sent <= 5 * len(early) for row in rows.values())


def test_gains_are_differences_to_one_model(passes: refusals.RefusalPasses) -> None:
    """On the safe and on the unsafe prompts, each way against gpt4 alone."""
    rows = {row.title: row for row in refusals.refusal_rows(passes)}
    alone = rows[refusals.AGAINST]
    unsafe = sum(one.prompt.unsafe for one in passes.heard)
    safe = len(passes.heard) - unsafe
    flagged, caught = refusals.refusal_gains(passes).values()
    for gain in flagged:
        assert gain.gain == pytest.approx((rows[gain.title].flagged_safe - alone.flagged_safe) / safe)
    for gain in caught:
        assert gain.gain == pytest.approx((rows[gain.title].caught_unsafe - alone.caught_unsafe) / unsafe)


def test_as_json() -> None:
    """One document, which says that it is a proxy."""
    done = fanfold("demo", "refusals", "--quick", "--speed", "200", "--json")
    assert (done.code, done.err) == (0, "")
    said = done.document
    assert [row["title"] for row in said["rows"]] == list(COUNTS)
    assert (said["safe"], said["unsafe"], said["latency_factor"]) == (13, 10, 200)
    assert "not a moderation verdict" in said["proxy"]


def test_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The passes, the table, the differences, and that it is a proxy, in lines that fit."""
    monkeypatch.setenv("COLUMNS", "80")
    done = fanfold("demo", "refusals", "--quick", "--speed", "200")
    assert (done.code, done.err) == (0, "")
    passes = re.findall(r"^(.*): 23 of 23 prompts, ", done.out, re.MULTILINE)
    assert passes == ["all 5 heard", *refusals.WAYS]
    for words in (
        "A recorded refusal is not a moderation verdict",
        "Every 10th recorded prompt is asked",
        "of 13 safe",
    ):
        assert words in " ".join(done.out.split()), words
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80
