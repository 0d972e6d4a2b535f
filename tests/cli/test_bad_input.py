"""Bad input: one clear line that names cause and fix, the right exit code, and never a traceback."""

from pathlib import Path

import pytest

from fanfold.testing import ModelServer
from tests.cli.calling import Outcome, fanfold, file

VOTE = ("vote", "Is it spam? {input}", "--choices", "spam,ham")
FAKE = ("--model", "fake:")


def refused(done: Outcome, *words: str) -> None:
    """Nothing but one line, which says these words; nothing was run."""
    assert (done.code, done.out) == (2, "")
    assert done.told.startswith("fanfold: ")
    missing = [word for word in words if word not in done.told]
    assert not missing, f"{missing} not in {done.told!r}"


WRONG: list[tuple[list[str], list[str]]] = [
    ([*VOTE, "--model", "nope:x"], ["unknown provider 'nope'", "openai", "ollama"]),
    ([*VOTE, "--model", "gpt-4o"], ["'gpt-4o' names no provider", "'openai:gpt-4o'"]),
    ([*VOTE, "--model", "openai:gpt-4o"], ["no key for openai:gpt-4o", "set OPENAI_API_KEY"]),
    ([*VOTE, "--model", "recorded:none"], ["no recordings of 'none'", "gpt-35-turbo"]),
    ([*VOTE, *FAKE, "--model", "openai:gpt-4o"], ["no key for openai:gpt-4o", "set OPENAI_API_KEY"]),
    ([*VOTE], ["no model", "--model", "FANFOLD_MODEL", "fanfold models"]),
    ([*VOTE, *FAKE, "-n", "0"], ["n=0", "at least once"]),
    ([*VOTE, *FAKE, "-n", "-1"], ["n=-1", "at least once"]),
    ([*VOTE, *FAKE, "-n", "3", "--rule", "at-least:4:spam"], ["at_least(4, 'spam')", "3"]),
    ([*VOTE, *FAKE, "-n", "3", "--rule", "at-least:0:spam"], ["at_least()", "from 1 up"]),
    ([*VOTE, *FAKE, "--rule", "any:eggs"], ["eggs", "spam"]),
    ([*VOTE, *FAKE, "--rule", "most"], ["--rule 'most'", "plurality", "at-least:K:VALUE"]),
    ([*VOTE, *FAKE, "--rule", "any:"], ["--rule 'any:'", "any:VALUE"]),
    ([*VOTE, *FAKE, "--quorum", "9"], ["quorum=9", "5"]),
    ([*VOTE, *FAKE, "--quorum", "0"], ["quorum=0"]),
    ([*VOTE[:2], *FAKE, "--choices", "spam"], ["--choices 'spam'", "at least two"]),
    ([*VOTE[:2], *FAKE, "--choices", "spam, spam"], ["--choices 'spam, spam'", "at least two"]),
    ([*VOTE[:2], *FAKE, "--choices", "Spam,ham,spam."], ["'Spam' and 'spam.' as one answer"]),
    ([*VOTE, *FAKE, "--model", "fake:b", "-n", "3"], ["-n", "jury"]),
    ([*VOTE, *FAKE, *FAKE], ["twice", "-n"]),
    (["vote", "Is {this} spam?", *FAKE], ["{this}", "{input}", "{{this}}"]),
    ([*VOTE, *FAKE, "--timeout", "0"], ["timeout=0", "positive"]),
    ([*VOTE, *FAKE, "--max-in-flight", "0"], ["max_in_flight=0"]),
    ([*VOTE, *FAKE, "--base-url", "nonsense", "--model", "openai:m"], ["'nonsense' is not a URL"]),
    (
        [*VOTE, "--model", "openai:m", "--base-url", "http://model.invalid/v1"],
        ["http://model.invalid/v1 is plain HTTP to another machine", "https", "--allow-http"],
    ),
    (["sections", *FAKE], ["no sections", "--section NAME="]),
    (["sections", *FAKE, "--section", "tone"], ["--section 'tone'", "--section tone='"]),
    (["sections", *FAKE, "--section", "tone="], ["--section 'tone='", "--section tone='"]),
    (["sections", *FAKE, "--section", "=tone"], ["--section '=tone'", "--section tone='"]),
    (["sections", *FAKE, "--section", "a=x", "--section", "a=y"], ["'a'", "twice"]),
    (["sections", *FAKE, "--section", "a=x", "--section", "b=after {a}"], ["'b'", "{a}", "that is a chain"]),
    (["sections", *FAKE, "--section", "a=what of {this}"], ["'a'", "{this}", "{input}"]),
    (["sections", *FAKE, "--section", "a=x", "--merge", "{b}"], ["--merge", "{b}", "{a}"]),
    (["sections", *FAKE, "--section", "merge=x", "--merge", "{parts}"], ["'merge'"]),
    (["sections", *FAKE, "--section", "a=x", "--quorum", "2"], ["quorum=2"]),
    (["sections", "--section", "a=x"], ["no model", "--model"]),
    ([*VOTE, *FAKE, "@nowhere.txt"], ["nowhere.txt", "No such file"]),
    ([*VOTE, *FAKE, "@."], [".", "directory"]),
    ([*VOTE, *FAKE, "--input-json", "{not json"], ["not JSON", "--input-json"]),
    ([*VOTE, *FAKE, "--input-json", "9" * 5000], ["not JSON that can be read", "digits"]),
    ([*VOTE, *FAKE, "--input-json", "[" * 100_000], ["not JSON that can be read", "recursion"]),
    (["run", "nowhere.py"], ["nowhere.py is not there", "FILE.py:NAME"]),
    (["run", "."], ["is a directory"]),
]


@pytest.mark.parametrize(
    ("arguments", "words", "more"),
    [(arguments, words, [[], ["--json"], ["--quiet"]][at % 3]) for at, (arguments, words) in enumerate(WRONG)],
    ids=[" ".join(arguments) for arguments, _ in WRONG],
)
def test_wrong_usage(arguments: list[str], words: list[str], more: list[str]) -> None:
    """What cannot be is refused before anything is sent: one line with cause and fix, exit code 2."""
    refused(fanfold(*arguments, *more, stdin="x"), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vote"], ["Missing argument 'PROMPT'", "fanfold vote --help"]),
        (["vote", "x", "-n", "many"], ["-n", "fanfold vote --help"]),
        (["vote", "x", "--modle", "fake:"], ["--modle", "--model"]),
        (["sections", "--on-error", "ignore"], ["--on-error", "skip"]),
        (["rnu"], ["rnu", "fanfold --help"]),
    ],
)
def test_wrong_options(arguments: list[str], words: list[str]) -> None:
    """What is wrong with the arguments themselves comes out in the same way."""
    refused(fanfold(*arguments), *words)


def test_no_command_shows_the_help() -> None:
    """`fanfold` alone shows what there is."""
    done = fanfold()
    assert done.code == 2
    assert "Usage: fanfold" in done.out
    for command in ("demo", "vote", "sections", "run", "models", "mock"):
        assert f" {command} " in done.out


def test_help_is_no_error() -> None:
    """`--help` ends well."""
    done = fanfold("vote", "--help")
    assert (done.code, done.err) == (0, "")
    assert "--choices" in done.out


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("x = 1", "", ["defines no step"]),
        ("a = prompt('{input}')\nb = prompt('{input}')", "", ["several steps", "steps.py:a", "a, b"]),
        ("a = prompt('{input}')", ":b", ["does not define 'b'", "steps: a"]),
        ("a = prompt('{input}')\nb = 1", ":b", ["something else as 'b'", "steps: a"]),
        ("raise OSError('no luck\\ntoday')", "", ["cannot be loaded", "OSError", "no luck today (steps.py:4)"]),
        ("import json\njson.loads('')", "", ["cannot be loaded", "JSONDecodeError", "(steps.py:5)"]),
        ("def broken(:", "", ["cannot be loaded", "SyntaxError: invalid syntax (steps.py, line 4)"]),
        ("import sys\nsys.exit()", "", ["cannot be loaded", "SystemExit()", "__main__"]),
        ("import sys\nsys.exit('set MY_KEY first')", "", ["cannot be loaded", "set MY_KEY first"]),
        ("v = vote(prompt('{input}'), 0)", "", ["cannot be loaded", "n=0", "at least once"]),
    ],
)
def test_files(text: str, name: str, words: list[str], tmp_path: Path) -> None:
    """A file that does not define the step says what it does define, or why it cannot be loaded."""
    refused(fanfold("run", file(tmp_path, text) + name, *FAKE, "x"), *words)


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    """A text file is refused as such; so are bytes that call themselves Python."""
    (tmp_path / "notes.txt").write_text("Buy milk.")
    (tmp_path / "bytes.py").write_bytes(b"\0\1\2")
    refused(fanfold("run", str(tmp_path / "notes.txt"), "x"), "is not a Python file", "FILE.py:NAME")
    refused(fanfold("run", str(tmp_path / "bytes.py"), "x"), "cannot be loaded")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ('vote(prompt("{input} {that}", model="fake:"), 3)', ["{that}", "{input}"]),
        ('vote(prompt("{input}"), 3)', ["no model", "FANFOLD_MODEL"]),
        ('vote(prompt("{input}", model="openai:gpt-4o"), 3)', ["no key for openai:gpt-4o", "OPENAI_API_KEY"]),
        ('vote(prompt("{input}", model="nope:x"), 3)', ["unknown provider 'nope'"]),
        ('sections({"a": prompt("{input}", model="openai:gpt-4o")})', ["no key for openai:gpt-4o"]),
        ('sections({"a": prompt("x"), "b": prompt("{a}")})', ["that is a chain"]),
        ('prompt("{this}", model="fake:")', ["{this}"]),
    ],
)
def test_mistakes_in_a_file_s_step(step: str, words: list[str], tmp_path: Path) -> None:
    """A mistake that shows only when the step runs is told as one line too, however deep in a pattern it is."""
    refused(fanfold("run", file(tmp_path, f"main = {step}"), "x"), *words)


def test_an_input_that_is_not_text(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are refused, wherever they come from."""
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    refused(fanfold(*VOTE, *FAKE, stdin="Grüße".encode("latin-1")), "standard input is not UTF-8")
    refused(fanfold(*VOTE, *FAKE, f"@{tmp_path}/latin.txt"), "latin.txt is not UTF-8")
    refused(fanfold(*VOTE, *FAKE, "Gr\udcfc\udcdfe"), "is not UTF-8")


def test_no_input_at_a_terminal() -> None:
    """At a terminal the command does not wait for somebody to type."""
    refused(fanfold(*VOTE, *FAKE, stdin=None), "no input", "@FILE", "standard input")


# -- what shows only when it runs -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [VOTE, ("sections", "--section", "a={input}")])
def test_a_server_that_is_not_there(command: tuple[str, ...], nobody: str) -> None:
    """Exit code 1, and the line says where nobody answers and what to look at."""
    done = fanfold(*command, "--model", "openai:m", "--base-url", nobody, "x", "--quiet")
    assert (done.code, done.out) == (1, "")
    assert f"no server answers at {nobody.removesuffix('/v1')}" in done.told
    assert "is it running, is the URL right?" in done.told


def test_a_server_that_is_not_there_is_told_once(nobody: str) -> None:
    """Five voters that fail for one reason are one line, the reason said once."""
    done = fanfold(*VOTE, "--model", "openai:m", "--base-url", nobody, "x", "--quiet")
    assert done.told.count("no server answers") == 1
    assert "5 × ConnectError" in done.told


def test_answers_that_do_not_parse() -> None:
    """A vote of answers that cannot be read fails as a missed quorum, and shows what was said."""
    with ModelServer(["I could not possibly say."]) as server:
        done = fanfold(*VOTE, "-n", "3", "--model", "openai:m", "--base-url", server.url, "x", "--quiet")
    assert (done.code, done.out) == (1, "")
    assert done.told.startswith("fanfold: QuorumError: 0 of 3 ballots are valid")
    assert "3 abstained" in done.told
    assert "I could not possibly say." in done.told


def test_an_answer_that_does_not_parse(tmp_path: Path) -> None:
    """A prompt's answer that cannot be read is an error that shows it."""
    steps = file(tmp_path, 'count = prompt("{input}", returns=int, model=FakeModel(["no idea"]))')
    done = fanfold("run", steps, "x", "--quiet")
    assert (done.code, done.out) == (1, "")
    assert done.told.startswith("fanfold: ParseError: ")
    assert "no idea" in done.told


def test_what_was_never_recorded() -> None:
    """Recorded models say that they know only their own questions."""
    done = fanfold(*VOTE, "--model", "recorded:gpt-4", "x", "--quiet")
    assert done.code == 1
    assert "no recorded question occurs in this message" in done.told
