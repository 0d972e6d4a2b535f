"""`fanfold demo jury`: what the juries found, against a count from the packaged file that uses nothing of fanfold."""

import asyncio
import json
import lzma
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanfold.cli import jury
from fanfold.cli.measuring import Progress
from fanfold.models import llmbar
from fanfold.testing import FakeModel, ModelServer
from fanfold.testing.server.book import Seen
from tests.cli.calling import fanfold
from tests.steps.running import ran

ROWS: list[dict[str, Any]] = json.loads(
    lzma.decompress(Path(llmbar.__file__).with_name("data").joinpath("llmbar.json.xz").read_bytes())
)
EVERY = 10
SUBSETS = ("Natural", "Neighbor", "GPTInst", "GPTOut", "Manual")


def sit(every: int) -> tuple[dict[str, Any], list[Seen], list[Progress]]:
    """All juries on every so manieth pair, over HTTP; with what the server saw."""

    async def run() -> tuple[dict[str, Any], list[Seen]]:
        async with ModelServer("recorded") as server:
            return await jury.run_juries(server.url, told.append, llmbar.pairs()[::every]), server.seen

    told: list[Progress] = []
    return *asyncio.run(run()), told


@pytest.fixture(scope="module")
def some() -> tuple[dict[str, Any], list[Seen], list[Progress]]:
    """One run of every tenth pair."""
    return sit(EVERY)


# -- an independent count ---------------------------------------------------------------------------------------


def outcome(row: dict[str, Any], judges: tuple[str, ...]) -> float:
    """1, 0 or ½ of one pair: the most judges that choose the same in both orders, a half where there are none."""
    firm = Counter(orders[0] for orders in (row["votes"][name] for name in judges) if orders[0] and len({*orders}) == 1)
    right, wrong = firm[str(row["gold"])], firm[str(3 - row["gold"])]
    return 0.5 if right == wrong else float(right > wrong)


def consistency(row: dict[str, Any], judges: tuple[str, ...]) -> float:
    """The share of the judges whose choice holds in both orders."""
    return sum(row["votes"][name] in (["1", "1"], ["2", "2"]) for name in judges) / len(judges)


def counted(rows: list[dict[str, Any]], judges: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Accuracy and order-consistency of each subset, straight from the file."""
    found = {}
    for subset in (*SUBSETS, "all adversarial"):
        there = [r for r in rows if r["subset"] == subset or (subset[0] == "a" and r["subset"] != "Natural")]
        scores = [outcome(row, judges) for row in there]
        agreed = [consistency(row, judges) for row in there]
        found[subset] = (sum(scores) / len(there), sum(agreed) / len(there))
    return found


def check(sittings: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Every figure of every row, against the count."""
    for row in jury.jury_rows(sittings):
        expected = counted(rows, jury.ROWS[row.title])
        assert row.subsets.keys() == expected.keys()
        for subset, (accuracy, consistent) in expected.items():
            figures = row.subsets[subset]
            assert figures.accuracy == pytest.approx(accuracy), (row.title, subset)
            assert figures.order_consistency == pytest.approx(consistent), (row.title, subset)
            assert figures.right + figures.wrong + figures.undecided == figures.pairs
            assert figures.accuracy == pytest.approx((figures.right + figures.undecided / 2) / figures.pairs)
        assert row.failed == 0
        assert row.sent == 2 * len(rows) * len(row.judges)


def test_accuracies_and_order_consistency_equal_a_count_from_the_file(some: Any) -> None:
    """Every subset and every row, over real HTTP through the real `best_of`."""
    check(some[0], ROWS[::EVERY])


@pytest.mark.long
def test_the_whole_file() -> None:
    """The same for all pairs; and five cheap judges are worse on the Neighbor pairs than the strong one alone."""
    sittings, _, _ = sit(1)
    check(sittings, ROWS)
    gains = {(gain.title, gain.against): gain for gain in jury.jury_gains(sittings)["Neighbor"]}
    assert gains["5 cheap", jury.STRONG].high < -0.2
    assert gains["5 cheap", jury.MEMBER].high < 0
    assert gains[jury.GUIDED, jury.STRONG].low > 0
    natural = {(gain.title, gain.against): gain for gain in jury.jury_gains(sittings)["Natural"]}
    assert natural["5 cheap", jury.MEMBER].low > 0


# -- the requests -----------------------------------------------------------------------------------------------


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Labels and texts of a judge's request."""
    for label, _, inside in re.findall(r"(?ms)^(\S+)\nBEGIN (\S+)\n(.*?)\nEND \2$", text):
        yield label, inside


def test_rendered_requests_carry_both_orders(some: Any) -> None:
    """Each judge is shown each pair twice: once in the given order, once swapped, under neutral labels."""
    _, seen, _ = some
    orders: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for one in seen:
        text = one.body["messages"][-1]["content"]
        (_, task), (label, first), (other, second) = sections(text)
        orders.setdefault((one.model, task), Counter())[first, second] += 1
        assert re.fullmatch(r"[A-Z]\d [A-Z]\d", f"{label} {other}"), "a label is a letter and a digit"
    by_task = {row["input"]: row for row in ROWS[::EVERY]}
    assert {task for _, task in orders} == by_task.keys()
    for (model, task), shown in orders.items():
        row = by_task[task]
        given = (row["output_1"], row["output_2"])
        assert shown.keys() == {given, given[::-1]}, (model, task)
        assert len(set(shown.values())) == 1


def test_labels_say_nothing_of_the_place(some: Any) -> None:
    """Labels differ from request to request, so none stands for the first output."""
    firsts = [[label for label, _ in sections(one.body["messages"][-1]["content"])][1] for one in some[1]]
    assert len(set(firsts)) > 50


# -- one pair ---------------------------------------------------------------------------------------------------


def judge(reply: Any) -> FakeModel:
    """A judge that says what `reply` makes of its request."""
    return FakeModel(lambda request: reply(request.messages[-1].content), structured=False)


def test_one_pair_by_hand() -> None:
    """Chosen in both orders it is decided; a judge that always takes the first shown is undecided, and scores half."""
    pair = llmbar.pairs()[0]
    better = judge(lambda text: f"Answer: {llmbar.shown(text).labels[pair.gold - 1]}")
    worse = judge(lambda text: f"Answer: {llmbar.shown(text).labels[2 - pair.gold]}")
    first = judge(lambda text: f"Answer: {[label for label, _ in sections(text)][1]}")
    mute = judge(lambda text: llmbar.NO_VERDICT)

    def judged(*judges: FakeModel) -> tuple[float, bool, float]:
        one = jury.Judged(pair, ran(jury.contest(pair, judges), pair.input))
        return one.score, one.right, one.consistent

    assert judged(better) == (1.0, True, 1.0)
    assert judged(worse) == (0.0, False, 1.0)
    assert judged(first) == (0.5, False, 0.0)
    assert judged(mute) == (0.5, False, 0.0)
    assert judged(better, worse) == (0.5, False, 1.0)
    assert judged(better, first, mute) == (1.0, True, pytest.approx(1 / 3))
    assert judged(worse, worse, better) == (0.0, False, 1.0)


# -- the command ------------------------------------------------------------------------------------------------


def test_gains_are_paired_over_the_pairs(some: Any) -> None:
    """A gain is the difference of two rows' accuracies; that against a member, of their mean."""
    sittings = some[0]
    rows = {row.title: row for row in jury.jury_rows(sittings)}
    for subset, gains in jury.jury_gains(sittings).items():
        for gain in gains:
            of = [rows[name].subsets[subset].accuracy for name in jury.CHEAP]
            against = sum(of) / 5 if gain.against == jury.MEMBER else rows[gain.against].subsets[subset].accuracy
            assert gain.gain == pytest.approx(rows[gain.title].subsets[subset].accuracy - against)
            assert gain.low <= gain.gain <= gain.high


def test_progress_is_told(some: Any) -> None:
    """Every row reports its pairs as they are judged."""
    last = {progress.title: progress for progress in some[2]}
    assert list(last) == list(jury.ROWS)
    assert {(one.done, one.total, one.things) for one in last.values()} == {(21, 21, "pairs")}


def test_as_json() -> None:
    """One document with the rows by subset and the differences."""
    done = fanfold("demo", "jury", "--quick", "--json")
    assert (done.code, done.err) == (0, "")
    assert [row["title"] for row in done.document["rows"]] == list(jury.ROWS)
    assert done.document["pairs"] == 21
    assert done.document["gains"].keys() == {*SUBSETS, jury.ADVERSARIAL}


def test_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table, the differences, and how to read them, in lines that fit; a subset without a pair is a dash."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("fanfold.cli.demo.QUICK", 60)
    done = fanfold("demo", "jury", "--quick")
    assert (done.code, done.err) == (0, "")
    for words in (
        "without any latency",
        "5 cheap, guided: 4 of 4 pairs,",
        "Right, by kind of pair",
        "Difference to one judge",
        "Every 60th recorded pair is judged",
        "The choices are recorded, the words of the replies are not.",
    ):
        assert words in " ".join(done.out.split()), words
    assert re.search(r"^ pairs .* - ", done.out, re.MULTILINE)
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80
