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
"""Characters from which on a known secret is looked for; shorter ones would blot out words. No shape is shorter."""

NAMED = re.compile(r"(?i)(?:api_?key|token|secret|password|passwd|credentials?)$")
"""Names of environment variables that hold secrets."""

# Each shape stands behind a text that must occur for it to be looked for, as a search for plain text costs little; and
# those behind one that is rare in prose and found quicker still. No shape reaches over a quote or a backslash, so that
# what it is cut out of stays JSON.
_SHAPES: tuple[tuple[str, str, str], ...] = (
    ("-", "sk-", r"\bsk-(?=[\w-]*\d)[\w-]{16,}"),  # OpenAI, Anthropic, OpenRouter and others
    ("-", "glpat-", r"\bglpat-(?=[\w-]*\d)[\w-]{16,}"),  # GitLab
    ("-", "xox", r"\bxox[abeoprs]-(?=[\w-]*\d)[\w-]{10,}"),  # Slack
    (
        "-",
        "PRIVATE KEY-----",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^\"\\-]|\\+[nr]|-(?!----END))*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    ),
    ("_", "ghp_", r"\bghp_\w{20,}"),  # GitHub
    ("_", "gho_", r"\bgho_\w{20,}"),
    ("_", "ghs_", r"\bghs_\w{20,}"),
    ("_", "ghu_", r"\bghu_\w{20,}"),
    ("_", "github_pat_", r"\bgithub_pat_\w{20,}"),
    ("_", "hf_", r"\bhf_(?=\w*\d)\w{20,}"),  # Hugging Face
    ("_", "gsk_", r"\bgsk_(?=\w*\d)\w{20,}"),  # Groq
    ("", "AKIA", r"\bAKIA[0-9A-Z]{16}\b"),  # AWS
    ("", "ASIA", r"\bASIA[0-9A-Z]{16}\b"),
    ("", "AIza", r"\bAIza[\w-]{30,}"),  # Google
    ("", "eyJ", r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),  # a JSON Web Token
    ("", "earer ", r"(?i)(?<=bearer )(?=[\w.~+/=-]*\d)[\w.~+/=-]{12,}"),
    ("", "asic ", r"(?i)(?<=basic )(?=[\w+/]*[\d=])[\w+/=]{12,}"),
    ("@", "://", r"(?<=://)[^\s/@\"\\:]*:[^\s/@\"\\]+(?=@)"),  # user and password of a URL
)

_CALLED = ("key", "token", "secret", "passw")
_NAMED_VALUE = re.compile(
    r"(?i)((?:key|token|secret|passwd|password)(?:\\*[\"'])?\s*[=:]\s*(?:\\*[\"'])?)"
    r"(?=[\w.~+/-]*\d)(?=[\w.~+/-]*[A-Za-z])[\w.~+/-]{16,}"
)
"""What stands behind such a name in a setting, a query or a header, and mixes letters and digits, as keys do.

Prose does not: it has to be given back as it was.
"""


_PARTS = bytes(
    ord("w") if byte >= 0x80 or chr(byte).isalnum() or chr(byte) in "_.~+/=-" else ord(" ") for byte in range(256)
)
"""To `bytes.translate` by: of what a secret is made of becomes a w, all else a space."""

_LONG, _LONGER = b"w" * 12, b"w" * 15
"""Every shape but two holds so many of these in a row: the first behind *bearer* and *basic*, else the second."""


class Redactor:
    """Takes secrets out of texts; `secrets` are those that are known, the environment's are found."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.shapes: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
        for rare, sign, shape in _SHAPES:
            self.shapes.setdefault(rare, []).append((sign, re.compile(shape)))
        self.known: tuple[str, ...] = ()
        self._odd: tuple[bytes, ...] = ()
        """Of the known ones those that are not as long."""
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
        self._odd = tuple(data for secret in self.known if _LONGER not in (data := _bytes(secret)).translate(_PARTS))

    def suspects(self, text: bytes) -> bool:
        """Whether something in a text (as UTF-8) may be secret: for most texts this says no, and costs little."""
        runs = text.translate(_PARTS)
        if _LONG in runs and (_LONGER in runs or b"earer " in text or b"asic " in text):
            return True
        if b"KEY-----" in text or (b"@" in text and b"://" in text):
            return True
        return bool(self._odd) and any(secret in text for secret in self._odd)

    def clean(self, text: str) -> str:
        """The text without what is secret."""
        return self._cut(text) if len(text) >= SHORTEST and self.suspects(_bytes(text)) else text

    def _cut(self, text: str) -> str:
        for secret in self.known:
            if secret in text:
                text = text.replace(secret, REDACTED)
        for rare, shapes in self.shapes.items():
            if rare in text:
                for sign, shape in shapes:
                    if sign in text:
                        text = shape.sub(REDACTED, text)
        low = text.lower()
        if any(_occurs(name, low) for name in _CALLED):
            text = _NAMED_VALUE.sub(rf"\1{REDACTED}", text)
        return text


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _occurs(name: str, text: str) -> bool:
    """Whether a name occurs as a singular: every call of ours says how many tokens it took."""
    at = text.find(name)
    while at >= 0:
        at += len(name)
        if text[at : at + 1] != "s":
            return True
        at = text.find(name, at)
    return False
