"""The timeline as a file: a page for a browser, or a trace for Perfetto.

The page is one file that asks for nothing else. What it runs is named by hash in its own policy, so that no name or
error of the run can bring a script along.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.errors import UsageError
from fanfold.runs.timeline import Timeline, timeline_of
from fanfold.runs.trace import trace

if TYPE_CHECKING:
    from fanfold.runs.run import Run

FIELD = re.compile(r"\{\{(\w+)\}\}")

SCRIPTS = ("tree.js", "geometry.js", "paint.js", "overview.js", "page.js")
"""The page's script, in the order in which its parts need one another."""

CLOSING = {code: f"\\u{code:04x}" for code in map(ord, "<>&\u2028\u2029")}
"""Characters with which text could end a script element; JSON may write them as escapes."""


def draw(run: Run[Any], path: str | Path) -> Path:
    """Write the timeline of `run`, as the suffix of `path` says.

    Raises `UsageError` for a suffix that says neither, and `OSError` where the file cannot be written.
    """
    target = checked(path)
    timeline = timeline_of(run)
    target.write_bytes(trace(timeline) if target.suffix.lower() == ".json" else page(timeline))
    return target


def checked(path: str | Path) -> Path:
    """The path, if its suffix says what to write; raises `UsageError`."""
    target = Path(path)
    if target.suffix.lower() not in {".html", ".htm", ".json"}:
        raise UsageError(
            f"timeline {str(path)!r}: end it in .html for a page that a browser shows, or in .json for a trace that "
            "Perfetto shows"
        )
    return target


def page(timeline: Timeline) -> bytes:
    """The page that shows a timeline."""
    style = _asset("page.css")
    script = "(() => {\n'use strict';\n" + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    fields = {
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "title": html.escape(f"{timeline.name} · fanfold timeline"),
        "summary": html.escape(timeline.summary),
        "data": msgspec.json.encode(timeline).decode().translate(CLOSING),
    }
    # One pass: what is filled in is never read for fields again.
    return FIELD.sub(lambda field: fields[field[1]], _asset("page.html")).encode()


def _asset(name: str) -> str:
    return files("fanfold.runs").joinpath("page", name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
