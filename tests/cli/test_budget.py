"""`--budget` and `--dry-run`: what a command may cost, and what it would."""

from pathlib import Path

import pytest

from fanfold.calls.amounts import Budget
from fanfold.calls.estimates import Estimate, total
from fanfold.cli.reports import estimate_lines
from fanfold.core.records import Cost
from fanfold.testing import ModelServer
from tests.cli.calling import fanfold, file

VOTE = ("vote", "Is this spam?", "Cheap pills!", "--choices", "spam,ham", "-n", "3")
MODEL = ("--model", "openai:gpt-4o-mini")


def test_a_dry_run_sends_nothing_and_prints_the_estimate() -> None:
    """On standard output, with no key and no server."""
    done = fanfold(*VOTE, *MODEL, "--dry-run", "--budget", "0.5")
    assert (done.code, done.err) == (0, "")
    estimate, verdict = done.out.splitlines()
    assert estimate.startswith("2 to 3 calls, 2 to ")
    assert " tokens, cost $0.000000 to $0.00" in estimate
    assert verdict == "the budget of $0.500000 covers it"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--budget", "0.0001"), "the budget of $0.000100 does not cover the most"),
        ((), "no upper bound: a prompt has no max_tokens (a --budget gives it one), or what it reads is not known"),
        (("--model", "ollama:nobody", "--budget", "1"), "the price of ollama:nobody is not known"),
    ],
)
def test_a_dry_run_says_what_to_make_of_it(options: tuple[str, ...], said: str) -> None:
    """Whether the budget covers it, and why something is not known."""
    model = () if "--model" in options else MODEL
    assert said in fanfold(*VOTE, *model, *options, "--dry-run").out.splitlines()


def test_a_budget_of_just_the_most_covers_it() -> None:
    """What floating point makes of a sum is no part of it: the run itself counts whole picodollars."""
    three = total([Estimate(usd=Cost(0.0, 0.1))] * 3)
    assert estimate_lines(three, Budget(usd=0.3))[-1] == "the budget of $0.300000 covers it"
    assert estimate_lines(three, Budget(usd=0.299999))[-1] == "the budget of $0.299999 does not cover the most"


def test_a_dry_run_as_json_is_one_document() -> None:
    """With the bounds of each unit, and null where there is none."""
    done = fanfold(*VOTE, *MODEL, "--dry-run", "--json", "--budget", "0.5")
    said = done.document
    assert said["estimate"]["calls"] == {"at_least": 2, "at_most": 3}
    assert 0 < said["estimate"]["usd"]["at_most"] < 0.5
    assert (said["budget"], said["covered"], said["unpriced"]) == (0.5, True, [])
    none = fanfold(*VOTE, *MODEL, "--dry-run", "--json").document
    assert none["estimate"]["tokens"]["at_most"] is None
    assert (none["budget"], none["covered"]) == (None, None)
    over = fanfold(*VOTE, *MODEL, "--dry-run", "--json", "--budget", "0.00001").document
    assert over["covered"] is False


def test_every_command_that_asks_models_can_foretell(tmp_path: Path) -> None:
    """`sections` and `run`, too; a merge reads what nobody knows yet."""
    sections = ("sections", "text", "--section", "a=A: {input}", "--section", "b=B: {input}", *MODEL)
    assert fanfold(*sections, "--dry-run").out.startswith("2 calls, ")
    merged = fanfold(*sections, "--merge", "{a} {b}", "--dry-run", "--budget", "1")
    assert merged.out == "3 calls, at least 3 tokens, cost unknown\nthe budget of $1.000000 may not cover it\n"
    path = file(tmp_path, "ask = prompt('{input}', max_tokens=9, model='openai:gpt-4o-mini')\n")
    assert fanfold("run", path, "text", "--dry-run").out.startswith("1 call, 1 to ")


def test_a_budget_that_does_not_cover_it_sends_nothing() -> None:
    """The command fails, and says what would have been affordable."""
    with ModelServer("fake") as server:
        done = fanfold(*VOTE, *MODEL, "--base-url", server.url, "--budget", "0.0001", "--quiet")
        assert server.seen == []
    assert done.code == 1
    assert "BudgetError: the budget of $0.000100 cannot cover vote 'vote'" in done.told
    assert "affordable: 0 of 3 branches" in done.told


def test_a_budget_that_covers_it_changes_nothing() -> None:
    """But for the ceiling that the calls get."""
    with ModelServer(["spam"]) as server:
        done = fanfold(*VOTE, *MODEL, "--base-url", server.url, "--budget", "0.5", "--quiet")
    assert (done.code, done.out) == (0, "spam\n")


def test_a_budget_is_above_nothing() -> None:
    """Anything else is a mistake in the command."""
    done = fanfold(*VOTE, *MODEL, "--budget", "0")
    assert done.code == 2
    assert "Budget(usd=0.0): a limit is a number above 0" in done.told
