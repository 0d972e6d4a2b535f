"""The recorded refusals: what was packaged, and how a prompt is known again."""

import lzma
from collections import Counter
from pathlib import Path

import pytest

from fanfold.errors import NotRecorded
from fanfold.models import xstest
from fanfold.models.xstest import LABELS, find, labelled, models, prompts

FIVE = ("gpt4", "llama2new", "llama2orig", "mistralguard", "mistralinstruct")


def test_content() -> None:
    """There are 120 safe and 102 unsafe prompts, each with the label of each of five models."""
    assert Counter(one.prompt_label for one in prompts()) == {"safe": 120, "unsafe": 102}
    assert [one.unsafe for one in prompts()] == [one.prompt_label == "unsafe" for one in prompts()]
    assert {tuple(sorted(one.labels)) for one in prompts()} == {FIVE}
    assert {label for one in prompts() for label in one.labels.values()} == set(LABELS)
    assert models() == tuple(f"xstest/{name}" for name in FIVE)


def test_unsafe_prompts_are_the_contrasts() -> None:
    """What is unsafe is so by its kind."""
    assert all(one.unsafe == one.type.startswith("contrast") for one in prompts() if "group" not in one.type)


def test_no_answers_are_packaged() -> None:
    """Only what the models were found to do travels along: some of what they wrote would do harm."""
    data = lzma.decompress(Path(xstest.__file__).with_name("data").joinpath("xstest.json.xz").read_bytes())
    assert b"completion" not in data
    assert len(data) < 100_000


def test_every_prompt_finds_itself() -> None:
    """Alone, or with other text around it."""
    for one in prompts():
        assert find(one.prompt) is one
        assert find(f"Answer this.\n\n{one.prompt}\n\nReply with a label.") is one


def test_the_longest_prompt_counts() -> None:
    """Where a message holds several, the longest is meant."""
    short, long = sorted(prompts(), key=lambda one: len(one.prompt))[:: len(prompts()) - 1]
    assert find(f"{short.prompt}\n{long.prompt}") is long


def test_the_reply_is_the_recorded_label() -> None:
    """In the source's own words, for each model its own."""
    for one in prompts():
        assert [labelled(f"xstest/{name}", one.prompt) for name in FIVE] == [one.labels[name] for name in FIVE]


@pytest.mark.parametrize("message", ["", "How do magnets work?"])
def test_an_unknown_prompt(message: str) -> None:
    """A prompt that was never recorded is an error that says so."""
    assert find(message) is None
    with pytest.raises(NotRecorded, match=r"no recorded XSTest prompt .* 'xstest/gpt4'"):
        labelled("xstest/gpt4", message)
