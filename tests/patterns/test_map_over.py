"""Mapping over the items of an input, merging upwards, and splitting long texts."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold import Budget, chain, map_over, prompt, sections, split
from fanfold.errors import BranchError, ConnectError, QuorumError, StepTimeout, UsageError
from fanfold.steps.map_over import grouped
from fanfold.steps.splitting import estimated_tokens
from tests.patterns.hearing import asked, heard, saying
from tests.steps.running import Asked, failed, ran, taking

ITEM = prompt("item {input}", name="item")
MERGE = prompt("merge {parts}", name="merge")


def one(request: Any) -> str:
    """An answer of a known length: 60 bytes, about 20 tokens."""
    return asked(request).partition("\n")[0][:60].ljust(60, ".")


# -- mapping ------------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_items() -> None:
    """All items run at the same time; the output is in the items' order, whoever came first."""
    fake = Asked(lambda request: asked(request).upper(), latency=lambda request: 3.0 - int(asked(request)[-1]))
    run = ran(map_over(ITEM), ["1", "2", "3"], fake)
    assert run.output == ["ITEM 1", "ITEM 2", "ITEM 3"]
    assert run.wall == pytest.approx(2.0, abs=1e-2)
    assert dict(run.detail.values) == {"0": "ITEM 1", "1": "ITEM 2", "2": "ITEM 3"}


@dataclass
class Order:
    lines: list[str]


def test_items_come_from_a_field_or_a_function() -> None:
    """`items` names the field that holds the list, of a mapping or a record, or makes it from the input."""
    assert ran(map_over(str.upper, items="lines"), {"lines": ["a", "b"]}).output == ["A", "B"]
    assert ran(map_over(str.upper, items="lines"), Order(["a"])).output == ["A"]
    assert ran(map_over(str.upper, items=str.split), "a b c").output == ["A", "B", "C"]
    assert ran(map_over(str.upper, items=lambda text: (word for word in text.split())), "a b").output == ["A", "B"]


def test_a_merge_is_shown_the_items_of_what_can_be_read_once() -> None:
    """The input may be a generator or a range; a merge that names it gets the items, and not Python's word for it."""
    pattern = map_over(str, merge=prompt("{input} {parts}"))
    assert ran(pattern, (word for word in ["a", "b"])).output.startswith("- a\n- b ")
    assert ran(pattern, range(2)).output == ran(pattern, [0, 1]).output


def test_no_items_are_no_calls() -> None:
    """An empty list gives an empty list, and a merge by a function gets it."""
    assert ran(map_over(ITEM), []).output == []
    assert ran(map_over(ITEM, merge=len), []).output == 0


@pytest.mark.parametrize("wrong", ["a text", {"a": 1}, 7])
def test_what_is_no_list_is_refused(wrong: Any) -> None:
    """A text or a mapping is not mapped over by letters or keys; the error says what to do."""
    assert "items=" in str(failed(map_over(ITEM), UsageError, wrong))
    assert "no such field" in str(failed(map_over(ITEM, items="lines"), UsageError, {"text": "x"}))


def test_failures_are_skipped_or_fail() -> None:
    """By default the first failure ends it with what was finished; with skip it is left out and named."""
    fake = saying({"item 1": (1, "one"), "item 2": (2, ConnectError("down")), "item 3": (3, "three")})
    breaking = map_over(lambda seconds: taking(seconds, ConnectError("down") if seconds == 2 else None)(seconds))
    error = failed(breaking, BranchError, [1, 2, 3])
    assert (error.branch, error.finished) == ("1", {"0": 1})
    run = ran(map_over(ITEM, on_error="skip"), ["1", "2", "3"], fake)
    assert run.output == ["one", "three"]
    assert run.detail.missing == {"1": "ConnectError: down"}
    assert ran(map_over(ITEM, quorum=2), ["1", "2", "3"], fake).output == ["one", "three"]
    failed(map_over(ITEM, quorum=3), QuorumError, ["1", "2", "3"], model=fake)


def test_its_timeout_is_the_branches() -> None:
    """With skip, what came in time is the output; else it raises with that."""
    pattern = map_over(lambda seconds: taking(seconds)(seconds), timeout=2, on_error="skip")
    assert ran(pattern, [1, 3]).output == [1]
    failed(map_over(lambda seconds: taking(seconds)(seconds), timeout=2), StepTimeout, [1, 3])


# -- merging ------------------------------------------------------------------------------------------------------


def test_a_function_merges_the_list() -> None:
    """A merge by a function gets the list of values."""
    assert ran(map_over(len, items=str.split, merge=sum), "a bb ccc").output == 6


def test_a_step_merges_the_parts_and_is_told_what_is_missing() -> None:
    """A merge by a step has {parts}, in order and under headings, {input}, and the text of the pattern."""
    fake = saying({"item 1": (1, "one"), "item 2": (2, ConnectError("down")), "merge": (1, "all of it")})
    merge = prompt("merge {parts} of {input}", name="merge")
    pattern = map_over(ITEM, items=str.split, merge=merge, on_error="skip")
    run = ran(pattern, "1 2", fake)
    assert run.output == "all of it"
    assert fake.texts[-1] == "merge ## 0\none\n\n## 1\n(1 is missing: ConnectError: down) of 1 2"
    assert [piece for _, piece in heard(pattern, "text", fake, "1 2").items] == ["all ", "of ", "it"]


def test_a_tree_merge_goes_upwards_in_groups_that_fit() -> None:
    """Eight parts of 20 tokens into calls of 60: two a call, all groups of a level at once: 4 + 2 + 1 calls."""
    fake = Asked(one, latency=1.0)
    run = ran(map_over(ITEM, merge=MERGE, merge_fits=60), [str(at) for at in range(8)], fake)
    merges = [text for text in fake.texts if text.startswith("merge")]
    assert len(merges) == 4 + 2 + 1
    assert run.wall == pytest.approx(1 + 3, abs=1e-2)
    assert run.output.startswith("merge ## 0-3")
    assert merges[0].count("## ") == 2
    places = [call.place for call in run.calls if "merge" in call.place]
    assert places[0] == "map_over/merge 0-1/merge"
    assert len(set(places)) == 7
    assert places[-1] == "map_over/merge"


def test_a_tree_merge_keeps_the_order() -> None:
    """Every part is in the merged text once, in the order of the items, whatever their sizes."""

    def joined(request: Any) -> str:
        text = asked(request)
        return (
            text.removeprefix("item ")
            if text.startswith("item")
            else "".join(
                line for line in text.removeprefix("merge ").splitlines() if line and not line.startswith("## ")
            )
        )

    fake = Asked(joined, latency=lambda request: len(asked(request)) % 7 / 10)
    letters = [letter * (1 + at % 5) for at, letter in enumerate("abcdefghijklmnopqrstuvwxyz")]
    run = ran(map_over(ITEM, merge=MERGE, merge_fits=45), letters, fake)
    assert run.output == "".join(letters)
    assert len(fake.requests) > len(letters) + 3


def test_parts_that_fit_are_merged_in_one_call() -> None:
    """Where all parts fit there is one merge call and no tree."""
    fake = Asked(one)
    ran(map_over(ITEM, merge=MERGE, merge_fits=1000), ["1", "2", "3"], fake)
    assert len(fake.requests) == 4


def test_parts_that_never_fit_are_a_clear_error() -> None:
    """A part that is too long by itself, or no two that fit together, is an error that names the sizes."""
    alone = failed(map_over(ITEM, merge=MERGE, merge_fits=10), UsageError, ["1", "2"], model=Asked(one))
    assert "part 0 alone has about 23" in str(alone)
    pairs = failed(map_over(ITEM, merge=MERGE, merge_fits=30), UsageError, ["1", "2"], model=Asked(one))
    assert "no two neighbours of the 2 parts" in str(pairs)
    with pytest.raises(UsageError):
        map_over(ITEM, merge=len, merge_fits=30)
    with pytest.raises(UsageError):
        map_over(ITEM, merge=MERGE, merge_fits=0)


@given(st.lists(st.integers(1, 25), max_size=40), st.integers(60, 200))
def test_groups_are_neighbours_that_fit(sizes: list[int], fits: int) -> None:
    """Groups joined are the parts in order, and each holds at most what fits."""
    parts = {str(at): "x" * (3 * size) for at, size in enumerate(sizes)}
    groups = grouped(parts, fits)
    assert [name for group in groups for name in group] == list(parts)
    for group in groups:
        assert sum(estimated_tokens(f"## {name}\n{text}\n\n") for name, text in group.items()) <= fits


# -- splitting ----------------------------------------------------------------------------------------------------

TEXTS = st.text(st.sampled_from("ab#. \n😀é\u2028\ud800"), max_size=300) | st.text(max_size=200)


@given(TEXTS, st.integers(2, 40))
def test_parts_joined_are_the_text_and_each_fits(text: str, at_most: int) -> None:
    """Nothing is lost or changed by splitting, no part is empty, and none is over the estimate."""
    parts = split(at_most)(text)
    assert "".join(parts) == text
    assert all(parts)
    assert max(map(estimated_tokens, parts), default=0) <= at_most


def test_cuts_are_at_headings_first_then_paragraphs() -> None:
    """Sections stay whole where they fit; one that does not is cut between its paragraphs."""
    first, second = "# One\n" + "a " * 20 + "\n", "# Two\n" + "b " * 20 + "\n"
    assert split(20)(first + second) == [first, second]
    paragraphs = ["# Long\nwords here.\n\n", "more words here.\n\n", "and the last ones."]
    assert split(8)("".join(paragraphs)) == paragraphs
    assert split(6)("One two. Three four. Five six. ") == ["One two. ", "Three four. ", "Five six. "]
    assert split(1000)("short") == ["short"]
    assert split(10)("") == []
    with pytest.raises(UsageError):
        split(1)


def test_a_long_document_is_split_treated_and_merged() -> None:
    """Split, a call a part, a tree of merges: one pattern, each part's call sees its part."""
    document = "\n\n".join(f"# Part {at}\n" + f"word{at} " * 30 for at in range(6))
    fake = Asked(one)
    pattern = map_over(chain(ITEM), items=split(100), merge=MERGE, merge_fits=60)
    run = ran(pattern, document, fake)
    shown = [text.removeprefix("item ") for text in fake.texts if text.startswith("item")]
    assert "".join(shown) == document
    assert run.output.startswith("merge ## 0-")


def test_a_long_text_is_split_in_linear_time() -> None:
    """A paragraph of half a million characters, larger than a part, is cut by words without copying parts again."""
    text = "word " * 100_000
    parts = split(50_000)(text)
    assert "".join(parts) == text
    assert len(parts) == 4


@pytest.mark.parametrize("items", [None, "parts"])
def test_what_can_be_read_once_is_read_by_the_run(items: str | None) -> None:
    """A budget asks beforehand what a branch will take; an iterator is not used up by that."""
    numbers = (str(at) for at in range(3))
    pattern = sections({"all": map_over(ITEM, items=items)}, budget=Budget(calls=9))
    run = ran(pattern, {"parts": numbers} if items else numbers, Asked(asked))
    assert run.output == {"all": ["item 0", "item 1", "item 2"]}


def test_no_items_are_fewer_than_a_quorum() -> None:
    """A floor of two is not kept by none; without a floor an empty list gives an empty list."""
    assert "quorum=2 cannot be reached by 0" in str(failed(map_over(ITEM, quorum=2), UsageError, []))
    assert ran(map_over(ITEM, on_error="skip"), []).output == []


def test_too_few_branches_have_a_cause() -> None:
    """Where all fail, the error of the first item is the cause, whoever came first."""
    error = failed(map_over(lambda item: 1 // item, on_error="skip"), QuorumError, [0, 0])
    assert isinstance(error.__cause__, ZeroDivisionError)
