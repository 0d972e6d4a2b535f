"""The timeline as a file: which one is written, that it stands alone, and that nothing in a run can break it."""

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fanfold.errors import UsageError
from fanfold.runs.picture import page
from fanfold.runs.timeline import timeline_of
from tests.runs.made import attempt, call, run_of, small

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "{{data}} {{script}}",
    "\u2028\u2029\x00",
    "\"'\\",
    "<img src=x onerror=alert(1)>",
    "\\u003c/script>",
]


class Parts(html.parser.HTMLParser):
    """The elements of a page, with what stands in its scripts and its title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open = True
        self.found.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.found[-1][0]][-1] += data


def parts(run: Any) -> Parts:
    return Parts(page(timeline_of(run)).decode())


@pytest.mark.parametrize("name", ["out.html", "OUT.HTM", "out.json"])
def test_the_suffix_says_what_is_written(name: str, tmp_path: Path) -> None:
    """.html and .htm give the page, .json the trace; the path is given back."""
    run = small()
    written = run.timeline(str(tmp_path / name))
    assert written == tmp_path / name
    text = written.read_text("utf-8")
    assert ("traceEvents" in json.loads(text)) if name.endswith("json") else text.startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["out.svg", "out", "out.html.gz", ".html"])
def test_another_suffix_is_an_error(name: str, tmp_path: Path) -> None:
    """Any other suffix is a `UsageError` that names the two, and nothing is written."""
    with pytest.raises(UsageError, match=r"\.html for a page .* \.json for a trace"):
        small().timeline(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    """A folder that is not there is the operating system's own error."""
    with pytest.raises(FileNotFoundError):
        small().timeline(tmp_path / "no" / "out.html")


def test_the_page_stands_alone() -> None:
    """It loads nothing: no address in it, no element that would fetch, and a policy that forbids it."""
    found = parts(small())
    text = page(timeline_of(small())).decode()
    assert not re.findall(r"https?://|//[a-z]+\.|@import|url\(", text)
    assert all("src" not in attrs for _, attrs in found.found)
    assert [attrs["href"] for tag, attrs in found.found if tag == "link"] == ["data:,"]
    policy = next(attrs["content"] for tag, attrs in found.found if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_only_its_own_script_may_run() -> None:
    """The policy names the hash of the script and of the style that the page has, whatever the run."""
    for run in (small(), run_of(name=HOSTILE[0])):
        found = parts(run)
        policy = next(attrs["content"] for tag, attrs in found.found if attrs.get("http-equiv"))
        for text in (found.texts["script"][1], found.texts["style"][0]):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_breaks_out(text: str) -> None:
    """A name, model or error that looks like HTML, a field or the end of a script stays data, to the letter."""
    error = f"StatusError: {text}"
    refused = attempt(0, "error", status=400, error=error)
    run = run_of(call(0, f"job/{text}", refused, state="error", error=error, model=text), name=text)
    found = parts(run)
    plain = parts(run_of(call(0, "job/x", attempt())))
    assert [tag for tag, _ in found.found] == [tag for tag, _ in plain.found]
    data = json.loads(found.texts["script"][0])
    assert data["name"] == text
    assert data["bars"][0]["model"] == text
    assert data["bars"][0]["error"] == error
    assert found.texts["script"][1] == plain.texts["script"][1]


def test_the_summary_is_there_without_a_script() -> None:
    """The line on calls, tokens, cost and time is in the page itself, and so is the run's name."""
    found = parts(small())
    assert small().summary() in "".join(found.texts["p"])
    assert found.texts["title"] == ["job · fanfold timeline"]


def test_every_sign_has_its_words() -> None:
    """What a screen reader and a keyboard need is there: a label on the chart, a name on every control."""
    found = parts(small())
    chart = next(attrs for tag, attrs in found.found if attrs.get("id") == "chart")
    assert (chart["tabindex"], bool(chart["aria-label"])) == ("0", True)
    assert [attrs for tag, attrs in found.found if tag == "input" and not attrs.get("aria-label")] == []
    assert any(attrs.get("aria-live") for _, attrs in found.found)
