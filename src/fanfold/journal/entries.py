"""What stands in a journal: entries, what each kind of them says, and the checksum that each carries."""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Any, Literal, NamedTuple
from zlib import crc32

import msgspec

from fanfold.core.halves import spelled
from fanfold.core.records import Call, Reply
from fanfold.errors import JournalCorrupt

_json = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_length = struct.Struct(">Q").pack
_four = struct.Struct(">I").pack

Kind = Literal["run", "again", "end", "call", "bill", "fan", "value", "row"]

Content = Literal["full", "hash"]
"""Whether prompts and replies are kept, or their digests only."""


ADVICE = ": what it says cannot be trusted; restore the file, or let `fanfold journal verify` say what is left"


class Entry(NamedTuple):
    """One line of the log, as it stands in the database; `body` is JSON and `checksum` covers all the rest."""

    kind: str
    run: int
    place: str
    nth: int
    ordinal: int
    digest: bytes
    at: float
    body: str
    checksum: bytes = b""

    def signed(self) -> Entry:
        """The entry with its checksum."""
        return sealed(self[:-1])

    def check(self) -> Entry:
        """Itself; raises `JournalCorrupt` where it is not what was written, with the checksum of that time."""
        covered = self[:-1]
        if self.checksum != _checksum(covered) and self.checksum != _first_checksum(covered):
            raise JournalCorrupt(
                f"an entry of the journal is damaged ({self.kind} of run {self.run} at {self.place!r}){ADVICE}"
            )
        return self


def sealed(columns: tuple[Any, ...]) -> Entry:
    """The entry with these columns, and its checksum."""
    return Entry._make((*columns, _checksum(columns)))


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An entry before it is encoded, redacted and signed."""

    kind: Kind
    run: int
    place: str
    nth: int
    ordinal: int
    digest: bytes
    at: float
    content: Any


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The error of a call: its kind, its words, and what the kinds of the tree carry."""

    kind: str
    message: str
    status: int | None = None
    text: str | None = None
    seconds: float | None = None
    code: str = ""


class Begun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run: the fingerprint of its `step`, the digest of what was `given`, the secret that makes its `fences`.

    The run of a row with a key of its own says which `row` of which `map` it is.
    """

    name: str
    step: str
    given: str
    fences: str
    mode: str = ""
    row: int | None = None
    map: str = ""


class Again(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run that is taken up again, by a step with this fingerprint, for this `row`."""

    step: str
    row: int | None = None
    map: str = ""


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a run ended: ok, error or cancelled."""

    how: str
    error: str | None = None


NOTHING = msgspec.Raw(b"null")


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call: its record, and what was asked and answered; or `NOTHING`, and the digest of the answer.

    Where a cache answered it, `then` is the record of the call that was made, in another run.
    """

    call: Call
    request: msgspec.Raw
    reply: Reply | None = None
    failure: Failure | None = None
    replied: str | None = None
    then: Call | None = None

    def without_errors(self) -> bool:
        """Whether it holds no words of an error: all that was written in it are its request and its reply."""
        call = self.then or self.call
        return self.failure is None and call.error is None and all(one.error is None for one in call.attempts)


class Bill(msgspec.Struct, frozen=True):
    """The last record of a call whose reply was kept before."""

    call: Call


class Value(msgspec.Struct, frozen=True):
    """The result of a step that keeps its own."""

    value: msgspec.Raw


def body_of(content: Any) -> str:
    """The JSON of an entry's content; an error's words may be no text, and are spelled out."""
    try:
        return _json(content).decode()
    except UnicodeEncodeError:
        return _json(spelled(msgspec.to_builtins(content, enc_hook=_plain))).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    raise NotImplementedError(type(value).__name__)


def digest_of(*parts: bytes) -> bytes:
    """Sixteen bytes that name these parts for good; where one ends and the next begins matters."""
    return blake2b(b"".join([_length(len(part)) + part for part in parts]), digest_size=16).digest()


def _checksum(covered: tuple[Any, ...]) -> bytes:
    """A CRC-32, as logs carry it: it is there to find damage, and costs a tenth of a digest that withstands forgers."""
    return _four(crc32(_pack(covered)))


def _first_checksum(covered: tuple[Any, ...]) -> bytes:
    """That of the first schema."""
    return blake2b(_pack(covered), digest_size=16).digest()
