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

_FRONT = r"(?:(?<![A-Za-z0-9_])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))"
"""Where a key may begin: behind no letter that it might be made of, but behind a line's end as JSON writes it.

And behind a letter of another script, which may put no space between words.
"""

# Each shape stands behind a text that must occur for it to be looked for, as a search for plain text costs little; and
# those behind one that is rare in prose and found quicker still. No shape reaches over a quote or a backslash, so that
# what it is cut out of stays JSON.
_SHAPES: tuple[tuple[str, str, str], ...] = (
    ("-", "sk-", _FRONT + r"sk-(?=[\w-]*\d)[\w-]{16,}"),  # OpenAI, Anthropic, OpenRouter and others
    ("-", "glpat-", _FRONT + r"glpat-(?=[\w-]*\d)[\w-]{16,}"),  # GitLab
    ("-", "xox", _FRONT + r"xox[abeoprs]-(?=[\w-]*\d)[\w-]{10,}"),  # Slack
    (
        "-",
        "PRIVATE KEY-----",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^\"\\-]|\\+[nr]|-(?!----END))*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    ),
    ("_", "ghp_", _FRONT + r"ghp_\w{20,}"),  # GitHub
    ("_", "gho_", _FRONT + r"gho_\w{20,}"),
    ("_", "ghs_", _FRONT + r"ghs_\w{20,}"),
    ("_", "ghu_", _FRONT + r"ghu_\w{20,}"),
    ("_", "github_pat_", _FRONT + r"github_pat_\w{20,}"),
    ("_", "hf_", _FRONT + r"hf_(?=\w*\d)\w{20,}"),  # Hugging Face
    ("_", "gsk_", _FRONT + r"gsk_(?=\w*\d)\w{20,}"),  # Groq
    ("", "AKIA", _FRONT + r"AKIA[0-9A-Z]{16}(?![A-Za-z0-9_])"),  # AWS
    ("", "ASIA", _FRONT + r"ASIA[0-9A-Z]{16}(?![A-Za-z0-9_])"),
    ("", "AIza", _FRONT + r"AIza[\w-]{30,}"),  # Google
    ("", "eyJ", _FRONT + r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),  # a JSON Web Token
    ("", "earer ", r"(?i)(?<=bearer )(?=[\w.~+/=-]*\d)[\w.~+/=-]{12,}"),
    ("", "asic ", r"(?i)(?<=basic )(?=[\w+/]*[\d=])[\w+/=]{12,}"),
    ("@", "://", r"(?<=://)[^\s/@\"\\:]*:[^\s/@\"\\]+(?=@)"),  # user and password of a URL
)

_CALLED = (b"key", b"token", b"secret", b"passw")
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

_LONG = b"w" * 12
"""All shapes but those of a URL and of a private key have so many of these in a row."""

_SIGN = re.compile(rb"sk-|glpat-|xox|gh[opsu]_|github_pat_|hf_|gsk_|AKIA|ASIA|AIza|eyJ")
"""What stands in such a row, or else one of these in it and one of those anywhere:"""

_MIXED = re.compile(rb"[\d=\x80-\xff]")
_BEFORE = (b"earer ", b"asic ")


class Redactor:
    """Takes secrets out of texts; `secrets` are those that are known, the environment's are found."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.shapes: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
        for rare, sign, shape in _SHAPES:
            self.shapes.setdefault(rare, []).append((sign, re.compile(shape)))
        self.known: tuple[str, ...] = ()
        self._plain: tuple[bytes, ...] = ()
        """Of the known ones those that have no sign of a shape."""
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
        self._plain = tuple(data for secret in self.known if not _signed(data := _bytes(secret))[0])

    def suspects(self, text: bytes) -> bool:
        """Whether something in a text (as UTF-8) may be secret: for most texts this says no, and costs little."""
        signed, mixed = _signed(text)
        found = text.find  # `in` raises an error and drops it before it looks for bytes, which costs more than to look
        if signed or found(b"KEY-----") >= 0 or (found(b"@") >= 0 and found(b"://") >= 0):
            return True
        if mixed and (found(_BEFORE[0]) >= 0 or found(_BEFORE[1]) >= 0 or _named(text.lower())):
            return True
        return any(found(secret) >= 0 for secret in self._plain) if self._plain else False

    def clean(self, text: str) -> str:
        """The text without what is secret."""
        return self._cut(text) if len(text) >= SHORTEST and self.suspects(_bytes(text)) else text

    def without_known(self, text: str) -> str:
        """The text without the secrets that are known; those that only have the shape of one stay."""
        for secret in self.known:
            if secret in text:
                text = text.replace(secret, REDACTED)
        return text

    def _cut(self, text: str) -> str:
        text = self.without_known(text)
        for rare, shapes in self.shapes.items():
            if rare in text:
                for sign, shape in shapes:
                    if sign in text:
                        text = shape.sub(REDACTED, text)
        return _NAMED_VALUE.sub(rf"\1{REDACTED}", text) if _named(_bytes(text.lower())) else text


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _signed(text: bytes) -> tuple[bool, bool]:
    """Whether a long row of what secrets are made of has the sign of a shape; and whether one is no mere word."""
    runs = text.translate(_PARTS)
    mixed = False
    at = runs.find(_LONG)
    while at >= 0:
        end = runs.find(b" ", at)
        if end < 0:
            end = len(runs)
        if _SIGN.search(text, at, end):
            return True, mixed
        mixed = mixed or _MIXED.search(text, at, end) is not None
        at = runs.find(_LONG, end)
    return False, mixed


def _named(text: bytes) -> bool:
    """Whether a name occurs as a singular: every call of ours says how many tokens it took."""
    for name in _CALLED:
        at = text.find(name)
        while at >= 0:
            at += len(name)
            if text[at : at + 1] != b"s":
                return True
            at = text.find(name, at)
    return False
