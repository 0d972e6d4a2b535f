"""`fanfold vote`: one model several times, or a jury of several."""

import json
import re
from pathlib import Path

import pytest

from fanfold.testing import ModelServer
from tests.cli.calling import fanfold, file

SPAM = "Is this email spam? Answer spam or ham.\n\n{input}"


def test_json_is_one_document_and_nothing_else() -> None:
    """With `--json` standard output is one document with winner, tally, ballots and usage, and the rest is silent."""
    done = fanfold(
        "vote", SPAM, "--choices", "spam,ham", "-n", "3", "--model", "fake:", "--json", stdin="Cheap pills!\n"
    )
    assert (done.code, done.err) == (0, "")
    said = done.document
    assert said["winner"] == said["output"] in {"spam", "ham"}
    assert sum(said["tally"].values()) == said["valid"] <= 3
    assert said["tally"][said["winner"]] == max(said["tally"].values())
    assert [ballot["voter"] for ballot in said["ballots"]] == sorted(ballot["voter"] for ballot in said["ballots"])
    assert all(ballot["value"] in {"spam", "ham"} and ballot["text"] for ballot in said["ballots"])
    assert said["usage"]["input_tokens"] > 0 < said["usage"]["output_tokens"]
    assert said["made_up"] is True
    assert said["cost"] == {"usd": None, "at_least": 0.0, "at_most": None}
    assert len(said["calls"]) == 3
    assert "error" not in said


def test_the_answer_alone_goes_to_standard_output() -> None:
    """Without a terminal there is a plain line for each ballot and the summary beside the answer, not on it."""
    with ModelServer(["spam", "ham", "spam"]) as server:
        done = fanfold(
            *("vote", SPAM, "--choices", "spam,ham", "-n", "3", "--all"),
            *("--model", "openai:any", "--base-url", server.url),
            stdin="Cheap pills!",
        )
    assert (done.code, done.out) == (0, "spam\n")
    lines = done.err.splitlines()
    ballots = sorted(re.sub(r"\(.*?\)", "(…)", line) for line in lines[:3])
    assert ballots == ["done      0 (…): spam", "done      1 (…): ham", "done      2 (…): spam"]
    assert lines[3] == "spam 2, ham 1; all 3 voters answered"
    assert re.match(r"3 calls, \d+ \+ \d+ tokens, made up, nothing was paid, × 3 of one call, ", lines[4])
    assert len(lines) == 5


def test_quiet_prints_only_the_answer() -> None:
    """`--quiet` prints the answer and nothing else."""
    done = fanfold("vote", SPAM, "--choices", "spam,ham", "--model", "fake:", "--quiet", "Cheap pills!")
    assert done.code == 0
    assert done.out in {"spam\n", "ham\n"}
    assert done.err == ""


def test_it_asks_five_times_unless_told() -> None:
    """The default is five."""
    assert fanfold("vote", SPAM, "--all", "--model", "fake:", "--json", "x").document["n"] == 5


def test_the_question_gets_the_input_at_its_end() -> None:
    """A question without a field is followed by the input; one that has {input} holds it there."""
    with ModelServer(["yes"]) as server:
        common = ("--model", "openai:any", "--base-url", server.url, "-n", "1", "--quiet")
        assert fanfold("vote", "Is it spam?", *common, stdin="Cheap pills!").code == 0
        assert fanfold("vote", "Is {input} spam?", *common, stdin="this").code == 0
        asked = [seen.body["messages"][-1]["content"] for seen in server.seen]
    assert asked == ["Is it spam?\n\nCheap pills!", "Is this spam?"]


def test_at_a_terminal_a_question_may_stand_alone() -> None:
    """Where nobody gives an input, a question that names none is asked as it is."""
    with ModelServer(["yes"]) as server:
        done = fanfold(
            "vote", "Is 17 prime?", "-n", "1", "--model", "openai:any", "--base-url", server.url, "-q", stdin=None
        )
        assert (done.code, done.out) == (0, "yes\n")
        assert server.seen[0].body["messages"][-1]["content"] == "Is 17 prime?"


def test_several_models_are_a_jury() -> None:
    """Each `--model` is a voter of its own name, asked once."""
    done = fanfold(
        *("vote", SPAM, "--choices", "spam,ham", "--all", "--json", "x"),
        *("--model", "fake:a", "--model", "fake:b", "--model", "fake:c"),
    )
    said = done.document
    assert [ballot["voter"] for ballot in said["ballots"]] == ["fake:a", "fake:b", "fake:c"]
    assert [call["model"] for call in said["calls"]] == ["fake:a", "fake:b", "fake:c"]


@pytest.mark.parametrize(
    ("rule", "answers", "winner"),
    [
        ("any:spam", ["ham", "spam", "ham"], "True"),
        ("any:spam", ["ham", "ham", "ham"], "False"),
        ("all:ham", ["ham", "spam", "ham"], "False"),
        ("all:ham", ["ham", "ham", "ham"], "True"),
        ("at-least:2:spam", ["spam", "ham", "spam"], "True"),
        ("at-least:2:spam", ["spam", "ham", "ham"], "False"),
        ("majority", ["spam", "ham", "spam"], "spam"),
        ("plurality", ["spam", "ham", "ham"], "ham"),
    ],
)
def test_rules(rule: str, answers: list[str], winner: str) -> None:
    """`--rule` says what the ballots decide."""
    with ModelServer(answers) as server:
        done = fanfold(
            *("vote", SPAM, "--choices", "spam,ham", "-n", "3", "--rule", rule, "--all", "-q", "x"),
            *("--model", "openai:any", "--base-url", server.url),
        )
    assert (done.code, done.out) == (0, f"{winner}\n")


def test_a_decided_vote_stops() -> None:
    """Three equal ballots of five decide; `--all` hears the rest."""
    with ModelServer(["spam"]) as server:
        common = (
            "vote",
            SPAM,
            "--choices",
            "spam,ham",
            "--json",
            "x",
            "--base-url",
            server.url,
            "--max-in-flight",
            "1",
        )
        early = fanfold(*common, "--model", "openai:any").document
        everyone = fanfold(*common, "--model", "openai:any", "--all").document
    assert early["outstanding"] == 2
    assert sum(early["saved"].values()) == 2
    assert "decided after 3 of 5" in early["why"]
    assert everyone["outstanding"] == 0


def test_the_temperature_is_sent() -> None:
    """`--temperature` goes into the request."""
    with ModelServer(["yes"]) as server:
        fanfold("vote", "?", "-n", "1", "--temperature", "0.3", "--model", "openai:m", "--base-url", server.url, "x")
        assert server.seen[0].body["temperature"] == pytest.approx(0.3)


def test_a_json_input_fills_its_names() -> None:
    """With `--input-json` the names of the object are the template's fields."""
    with ModelServer(["yes"]) as server:
        done = fanfold(
            *("vote", "Does {who} like {what}?", "-n", "1", "--input-json", "-q"),
            *("--model", "openai:any", "--base-url", server.url),
            stdin=json.dumps({"who": "Ann", "what": "tea"}),
        )
        assert done.code == 0
        assert server.seen[0].body["messages"][-1]["content"] == "Does Ann like tea?"


def test_a_failed_voter_is_named() -> None:
    """A voter that fails is told beside the answer, with its reason."""
    with ModelServer(lambda request: "spam" if request.draw.ordinal else RuntimeError("out of paper")) as server:
        done = fanfold("vote", SPAM, "-n", "3", "--all", "--model", "openai:any", "--base-url", server.url, "x")
    assert (done.code, done.out) == (0, "spam\n")
    assert "voter 0 failed: " in done.err
    assert "out of paper" in done.err


def test_too_few_valid_ballots_are_an_error() -> None:
    """`--quorum` is the least number of ballots that can be read; below it the run fails and says so."""
    with ModelServer(["spam", "who knows", "no idea"]) as server:
        done = fanfold(
            *("vote", SPAM, "--choices", "spam,ham", "-n", "3", "--quorum", "2", "x"),
            *("--model", "openai:any", "--base-url", server.url, "--quiet"),
        )
    assert (done.code, done.out) == (1, "")
    assert done.told.startswith("fanfold: QuorumError: 1 of 3 ballots are valid")
    assert "who knows" in done.told


def test_rates_pace_the_calls() -> None:
    """`--rpm 120` sends two at once and then two a second: a third voter waits half a second, without it none does."""
    with ModelServer(["spam"]) as server:
        took = []
        for rates in ((), ("--rpm", "120"), ("--tpm", "1e9")):
            common = ("vote", SPAM, "--choices", "spam,ham", "-n", "3", "--all", "--model", "openai:m", "x", "--json")
            done = fanfold(*common, "--base-url", server.url, *rates)
            assert done.code == 0
            took.append(done.document["wall"])
    assert took[1] >= 0.5
    assert max(took[0], took[2]) < 0.4


@pytest.mark.parametrize("option", ["--rpm", "--tpm"])
def test_a_rate_of_nothing_is_wrong_usage(option: str) -> None:
    """It names what is wrong, and sends nothing."""
    done = fanfold("vote", SPAM, "--choices", "spam,ham", "--model", "fake:", option, "0", "x")
    assert done.code == 2
    assert "above 0" in done.told


def test_a_tally_of_long_answers_is_short(tmp_path: Path) -> None:
    """The bug: a vote on free text wrote every whole answer twice beside its output."""
    said = "told = iter(range(3))\n@step\nasync def say(text): return f'{next(told)} ' + 'long ' * 999\n"
    done = fanfold("run", file(tmp_path, f"from fanfold import vote\n{said}main = vote(say, n=3)\n"), "x")
    (told,) = [line for line in done.err.splitlines() if " tied" in line]
    assert "… 1, 1 long" in told
    assert told.endswith("… tied, and voter order decides")
    assert len(told) < 500
