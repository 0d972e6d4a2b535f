"""`fanfold sections`: different prompts on one input."""

import json

from fanfold.errors import StatusError
from fanfold.testing import ModelServer
from tests.cli.calling import fanfold

TONE = ("--section", "tone=The tone of: {input}")
FACTS = ("--section", "facts=The facts in: {input}")


def answer(request: object) -> str | Exception:
    """An answer that shows what was asked; "broken" is refused."""
    asked = request.messages[-1].content
    if "broken" in asked:
        return StatusError("no such luck", status=500)
    return f"<{asked}>"


def test_the_branches_are_the_output() -> None:
    """Without a merge the answer is every branch by its name, in their order."""
    with ModelServer(answer) as server:
        done = fanfold("sections", *TONE, *FACTS, "--model", "openai:m", "--base-url", server.url, "a letter")
    assert done.code == 0
    assert json.loads(done.out) == {"tone": "<The tone of: a letter>", "facts": "<The facts in: a letter>"}
    assert list(json.loads(done.out)) == ["tone", "facts"]
    assert sorted(line.split()[1] for line in done.err.splitlines()[:2]) == ["facts", "tone"]


def test_a_merge_makes_one_answer() -> None:
    """`--merge` sees the branches by name, all of them as {parts}, and the input."""
    with ModelServer(answer) as server:
        common = ("sections", *TONE, *FACTS, "--model", "openai:m", "--base-url", server.url, "-q", "a letter")
        named = fanfold(*common, "--merge", "{input}|{tone}|{facts}")
        parts = fanfold(*common, "--merge", "all: {parts}")
    assert named.out == "<a letter|<The tone of: a letter>|<The facts in: a letter>>\n"
    assert "## tone\n<The tone of: a letter>" in parts.out
    assert named.err == parts.err == ""


def test_a_merge_without_a_field_gets_all_branches_at_its_end() -> None:
    """A merge that names nothing is followed by what it is to merge: it would else be asked about nothing."""
    with ModelServer(answer) as server:
        common = ("--model", "openai:m", "--base-url", server.url, "-q", "Hi")
        done = fanfold("sections", *TONE, *FACTS, "--merge", "One report.", *common)
    assert done.out == "<One report.\n\n## tone\n<The tone of: Hi>\n\n## facts\n<The facts in: Hi>>\n"


def test_a_prompt_without_a_field_gets_the_input_at_its_end() -> None:
    """A branch that names no field is followed by the input."""
    with ModelServer(answer) as server:
        done = fanfold(
            "sections", "--section", "tone=Which tone?", "--model", "openai:m", "--base-url", server.url, "-q", "Hi"
        )
    assert json.loads(done.out) == {"tone": "<Which tone?\n\nHi>"}


def test_json_holds_the_branches() -> None:
    """With `--json` the document has the output, the values and what is missing."""
    done = fanfold("sections", *TONE, *FACTS, "--model", "fake:", "--json", "a letter")
    assert (done.code, done.err) == (0, "")
    said = done.document
    assert said["values"] == said["output"]
    assert list(said["values"]) == ["tone", "facts"]
    assert said["missing"] == {}
    assert said["usage"]["output_tokens"] > 0


def test_a_failed_branch_fails_the_run() -> None:
    """The error names the branch, its cause and the way to go on; what had finished is printed with its cost."""
    with ModelServer(answer) as server:
        done = fanfold(
            *("sections", *TONE, "--section", "broken=broken {input}", "--model", "openai:m", "a letter"),
            *("--base-url", server.url, "--max-in-flight", "1"),
        )
    assert (done.code, done.out) == (1, "")
    told = [line for line in done.err.splitlines() if line.startswith("fanfold: ")]
    assert len(told) == 1
    assert told[0].startswith("fanfold: branch 'broken' failed: StatusError: openai:m answered 500: no such luck")
    assert "on_error skip" in told[0]
    assert "finished tone: <The tone of: a letter>" in done.err
    assert "until then: 1 of 2 calls answered" in done.err


def test_a_failed_run_is_a_document_too() -> None:
    """With `--json` a run that fails prints one document with the error and what had finished."""
    with ModelServer(answer) as server:
        done = fanfold(
            *("sections", *TONE, "--section", "broken=broken {input}", "--model", "openai:m", "a letter", "--json"),
            *("--base-url", server.url, "--max-in-flight", "1"),
        )
    assert done.code == 1
    said = done.document
    assert said["output"] is None
    assert said["error"]["type"] == "BranchError"
    assert "no such luck" in said["error"]["message"]
    assert said["finished"] == {"tone": "<The tone of: a letter>"}
    assert [call["state"] for call in said["calls"]] == ["ok", "error"]
    assert done.told.startswith("fanfold: branch 'broken' failed")


def test_a_failed_branch_may_be_left_out() -> None:
    """With `--on-error skip`, or a quorum that the others meet, the branch is missing, and it is said why."""
    with ModelServer(answer) as server:
        common = ("sections", *TONE, "--section", "broken=broken {input}", "--base-url", server.url, "a letter")
        skipped = fanfold(*common, "--model", "openai:m", "--on-error", "skip")
        enough = fanfold(*common, "--model", "openai:m", "--quorum", "1")
        short = fanfold(*common, "--model", "openai:m", "--quorum", "2", "--quiet")
    for done in (skipped, enough):
        assert done.code == 0
        assert json.loads(done.out) == {"tone": "<The tone of: a letter>"}
        assert "broken is missing: StatusError: " in done.err
    assert short.code == 1
    assert short.told.startswith("fanfold: QuorumError: 1 of 2 branches succeeded and quorum=2: broken: StatusError")
