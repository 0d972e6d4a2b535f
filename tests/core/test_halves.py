"""Half a surrogate pair, which no UTF-8 can hold."""

import os
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.core.halves import spelled

TEXTS = st.text(st.characters(exclude_categories=()))
PLAIN = st.recursive(
    TEXTS | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (os.fsdecode(b"caf\xe9.txt"), r"caf\udce9.txt"),
        ({"\ud800": ["a", "\udfff", 3]}, {r"\ud800": ["a", r"\udfff", 3]}),
        ("whole pairs stay: \U0001f4c4", "whole pairs stay: \U0001f4c4"),
    ],
)
def test_a_half_is_spelled_as_python_shows_it(value: Any, found: Any) -> None:
    """Anywhere in plain data, in the names of a mapping, too; all else stays."""
    assert spelled(value) == found


@given(PLAIN)
def test_what_is_spelled_can_be_written(value: Any) -> None:
    """Whatever it holds; and what could be written before is the same."""
    written = msgspec.json.encode(spelled(value))
    try:
        assert msgspec.json.encode(value) == written
    except UnicodeEncodeError:
        assert b"\\\\ud" in written
