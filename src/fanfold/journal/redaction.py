"""What is taken out of every text before it is written: keys that are known, and what has the shape of one.

A journal keeps prompts and replies, and people paste keys into prompts. What is found is replaced by ``[redacted]``,
in a reply too, so that a replay of a reply that quoted a key gives it redacted.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "[redacted]"

SHORTEST = 8
"""Characters from which on a known secret is looked for; shorter ones would blot out words."""

NAMED = re.compile(r"(?i)(?:api_?key|token|secret|password|passwd|credentials?)$")
"""Names of environment variables that hold secrets."""

# Each shape behind a text that must occur for it to be looked for: a search for plain text costs next to nothing.
# No shape reaches over a quote or a backslash, so that what it is cut out of stays JSON.
_SHAPES: tuple[tuple[str, str], ...] = (
    ("sk-", r"\bsk-(?=[\w-]*\d)[\w-]{16,}"),  # OpenAI, Anthropic, OpenRouter and others
    ("akia", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),  # AWS
    ("asia", r"\bASIA[0-9A-Z]{16}\b"),
    ("aiza", r"\bAIza[\w-]{30,}"),  # Google
    ("gh", r"\bgh[pousr]_\w{20,}"),  # GitHub
    ("github_pat_", r"\bgithub_pat_\w{20,}"),
    ("glpat-", r"\bglpat-(?=[\w-]*\d)[\w-]{16,}"),  # GitLab
    ("hf_", r"\bhf_(?=\w*\d)\w{20,}"),  # Hugging Face
    ("gsk_", r"\bgsk_(?=\w*\d)\w{20,}"),  # Groq
    ("xox", r"\bxox[abeoprs]-(?=[\w-]*\d)[\w-]{10,}"),  # Slack
    ("eyj", r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),  # a JSON Web Token
    ("bearer", r"(?i)(?<=bearer )(?=[\w.~+/=-]*\d)[\w.~+/=-]{12,}"),
    ("basic ", r"(?i)(?<=basic )(?=[\w+/]*[\d=])[\w+/=]{12,}"),
    ("://", r"(?<=://)[^\s/@\"\\:]*:[^\s/@\"\\]+(?=@)"),  # user and password of a URL
    (
        "private key-",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^\"\\-]|\\+[nr]|-(?!----END))*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    ),
)

_CALLED = ("key", "token", "secret", "passwd", "password")
_NAMES = tuple(f"{name}{mark}" for name in _CALLED for mark in "=:\"'\\ ")
_NAMED_VALUE = re.compile(
    r"(?i)((?:key|token|secret|passwd|password)(?:\\?[\"'])?\s*[=:]\s*(?:\\?[\"'])?)"
    r"(?=[\w.~+/-]*\d)(?=[\w.~+/-]*[A-Za-z])[\w.~+/-]{16,}"
)
"""What stands behind such a name in a setting, a query or a header, and mixes letters and digits, as keys do.

Prose does not: it has to be given back as it was.
"""


class Redactor:
    """Takes secrets out of texts; `secrets` are those that are known, the environment's are found."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.shapes = [(sign, re.compile(shape)) for sign, shape in _SHAPES]
        self.known: tuple[str, ...] = ()
        self.hide(value for name, value in os.environ.items() if NAMED.search(name))
        self.hide(secrets)

    def __repr__(self) -> str:
        return f"Redactor({len(self.known)} secrets)"

    def hide(self, secrets: Iterable[str]) -> None:
        """Take these out from now on, as they are and as JSON writes them."""
        found = set(self.known)
        for secret in secrets:
            if len(secret) >= SHORTEST:
                found |= {secret, msgspec.json.encode(secret).decode()[1:-1]}
        self.known = tuple(sorted(found, key=len, reverse=True))  # the longest first: one may hold another

    def clean(self, text: str) -> str:
        """The text without what is secret."""
        for secret in self.known:
            if secret in text:
                text = text.replace(secret, REDACTED)
        low = text.lower()
        for sign, shape in self.shapes:
            if sign in low:
                text = shape.sub(REDACTED, text)
        if any(name in low for name in _NAMES):
            text = _NAMED_VALUE.sub(rf"\1{REDACTED}", text)
        return text
