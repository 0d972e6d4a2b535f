"""How an entry is made of what happened: encoded, without secrets, with its checksum.

In the loop, not on the writer's thread: where that ran Python the loop would have to wait for the interpreter's lock at
each of its system calls. So it has nothing to do but to write.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from fanfold.journal.entries import Again, Begun, Draft, Ended, Entry, Kept, body_of, sealed
from fanfold.journal.redaction import REDACTED

if TYPE_CHECKING:
    from fanfold.journal.redaction import Redactor

_STRING = r'"(?:[^"\\]|\\.)*"'

_PART = re.compile(rf"{_STRING}(?::{_STRING})?|-?\d[\d.eE+-]*")
"""A text in JSON, with what it names where that is a text too; or a number."""


def entry_of(draft: Draft, redactor: Redactor) -> Entry:
    """The entry as it is written."""
    place = redactor.clean(draft.place)
    body = _body(draft.content, redactor, named=place != draft.place)
    return sealed((draft.kind, draft.run, place, draft.nth, draft.ordinal, draft.digest, draft.at, body))


def _body(content: Any, redactor: Redactor, *, named: bool) -> str:
    """The JSON of a content. Where one can tell what people and servers wrote in it, only that is looked through.

    A place that is `named` by a secret stands in the records of its calls, too.
    """
    match content:
        case Kept() if not named and content.without_errors():
            return body_of(_answered(content, redactor))
        case Begun(name=name, map=rows) if redactor.clean(name) == name and redactor.clean(rows) == rows:
            return body_of(content)
        case Again(map="") | Ended(error=None):
            return body_of(content)
    return _cleaned(body_of(content), redactor)


def _answered(kept: Kept, redactor: Redactor) -> Kept:
    """An answered call without secrets: in its request and its reply."""
    reply = kept.reply
    if reply is None:
        return kept  # its request is not kept either
    names = f"{reply.model}\n{reply.id}\n{reply.finish}".encode(errors="surrogatepass")
    if not redactor.suspects(b"\n".join((kept.request, names, *[text.encode() for text in reply.texts]))):
        return kept
    request = _cleaned(bytes(kept.request).decode(), redactor)
    texts = tuple(map(redactor.clean, reply.texts))
    model, name, finish = map(redactor.clean, (reply.model, reply.id, reply.finish))
    made = replace(reply, texts=texts, model=model, id=name, finish=finish)
    return replace(kept, request=msgspec.Raw(request.encode()), reply=made)


def _cleaned(text: str, redactor: Redactor) -> str:
    """JSON without secrets, which is JSON still: part by part, where a number was cut as if it were text."""
    made = redactor.clean(text)
    if made == text:
        return text
    try:
        msgspec.json.decode(made)
    except msgspec.DecodeError:
        return _PART.sub(lambda part: _part(part[0], redactor), text)
    return made


def _part(part: str, redactor: Redactor) -> str:
    if part.startswith('"'):
        return redactor.clean(part)
    return part if redactor.without_known(part) == part else f'"{REDACTED}"'
