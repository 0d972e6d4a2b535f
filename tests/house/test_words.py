"""What the files of the project may not say."""

import re

from tests.house.tree import ROOT, files, python

EVERYWHERE = ("src", "tests", "examples", "benchmarks", "scripts")

SUPPRESSION = re.compile(
    r"#\s*(?:noqa|ruff:\s*noqa|type:\s*ignore|mypy:|pyright:|pragma:\s*no\s*(?:cover|branch)|fmt:\s*(?:off|skip))"
)
REASON = re.compile(r"#[^#]*#\s*\w+\s+\w+")
MOST = 15

# Both written so that this file does not hold what it looks for.
MACHINE = re.compile(r"(?<![\w.~-])/(?:home|opt|root|Users|work)/")
INDEXES = ("pypi" + ".org", "python" + "hosted.org", "npmjs" + ".org", "deb.debian" + ".org")

LOCK_LINE = re.compile(
    r"""
    \ *\#(?!.*://).*                           # by whom it is wanted
    | [\w.-]+==[\w.+!]+(?:\ ;\ [^/]+)?\ \\    # what
    | \ {4}--hash=sha256:[0-9a-f]{64}(?:\ \\)?
    """,
    re.VERBOSE,
)


def test_suppressions_are_few_and_argued() -> None:
    """A suppression carries its reason on the same line, and there are at most 15 of them."""
    found = [
        (f"{module.shown}:{line} {comment}", comment)
        for module in python(*EVERYWHERE)
        for line, comment in module.comments()
        if SUPPRESSION.search(comment)
    ]
    bare = [shown for shown, comment in found if not REASON.search(comment)]
    assert not bare, "\n".join(["give the reason after a second #:", *bare])
    assert len(found) <= MOST, "\n".join(shown for shown, _ in found)


def test_no_file_names_a_machine_or_an_index() -> None:
    """No file holds a path of somebody's machine or the address of a package index."""
    wrong = []
    for path in files():
        text = path.read_bytes().decode("utf-8", "replace")
        if "\0" in text:
            continue  # not text
        found = MACHINE.findall(text) + [index for index in INDEXES if index in text]
        wrong += [f"{path.relative_to(ROOT)}: {what}" for what in found]
    assert not wrong, "\n".join(wrong)


def test_locks_name_no_place() -> None:
    """A lock says what to install and its hashes, never from where."""
    for lock in (ROOT / "requirements").glob("*.txt"):
        wrong = [line for line in lock.read_text("utf-8").splitlines() if not LOCK_LINE.fullmatch(line)]
        assert not wrong, f"{lock.name}: {wrong}"
