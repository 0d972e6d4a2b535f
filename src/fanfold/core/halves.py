"""Half a surrogate pair: Python's text may hold one (a file name with a wrong byte is enough), and no UTF-8 can."""

from __future__ import annotations

import re
from typing import Any

HALF = re.compile("[\ud800-\udfff]")
"""Whole pairs are one character of Python's."""


def spelled(value: Any) -> Any:
    """Plain data with its half pairs spelled out, as Python shows them: few can read them as escapes of JSON."""
    if isinstance(value, str):
        return HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", value)
    if isinstance(value, dict):
        return {spelled(name): spelled(one) for name, one in value.items()}
    return [spelled(one) for one in value] if isinstance(value, list | tuple) else value
