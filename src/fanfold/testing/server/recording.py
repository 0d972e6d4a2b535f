"""A model that answers from a recording: a journal, or its exported lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fanfold.errors import JournalError, NotRecorded, UsageError
from fanfold.journal import moving
from fanfold.journal.entries import Kept
from fanfold.journal.redaction import Redactor

if TYPE_CHECKING:
    from fanfold.core.records import Rate, Reply, Request, Watch

SQLITE = b"SQLite format 3\0"


class RecordingModel:
    """Gives the replies of a recording, by a request's messages and its draw's ordinal: for ``ModelServer(answers=…)``.

    `n` samples are those from the draw's on, and one beyond those recorded is one of them again. What was not recorded
    is `NotRecorded`, a 404 over HTTP.
    """

    made_up = False
    structured = True
    given_rate: Rate | None = None

    def __init__(self, path: str) -> None:
        self.label = f"recording:{Path(path).stem}"
        self.replies: dict[str, dict[int, Reply]] = {}
        self._redactor = Redactor()
        try:
            self._load(Path(path))
        except (OSError, JournalError) as error:
            raise UsageError(f"--recording {path}: {error}") from None
        if not self.replies:
            raise UsageError(f"--recording {path} holds no replies: was it kept with content='hash'?")

    async def send(self, request: Request, watch: Watch) -> Reply:
        """The recorded reply; raises `NotRecorded`."""
        watch.sent()
        samples = self.replies.get(self._named(request.messages))
        if samples is None:
            raise NotRecorded("no such request was recorded; its messages have to be the same", model=self.label)
        known = sorted(samples)
        ordinals = range(request.draw.ordinal, request.draw.ordinal + request.n)
        taken = [samples.get(ordinal) or samples[known[ordinal % len(known)]] for ordinal in ordinals]
        reply = replace(taken[0], texts=tuple(one.text for one in taken))
        if request.stream:
            watch.text(reply.text)
        watch.done(reply)
        return reply

    def _load(self, path: Path) -> None:
        with path.open("rb") as file:
            exported = not file.read(len(SQLITE)).startswith(SQLITE)
        for entry in moving.read(path.read_bytes().splitlines() if exported else moving.export(path)):
            if entry.kind != "call":
                continue
            kept = msgspec.json.decode(entry.body, type=Kept)
            asked = msgspec.json.decode(kept.request)
            if asked is not None and kept.reply is not None:
                samples = self.replies.setdefault(self._named(asked["messages"]), {})
                for number, text in enumerate(kept.reply.texts):
                    # Its usage is that of all of them; the server has a count of its own.
                    samples[entry.ordinal + number] = replace(kept.reply, texts=(text,), usage=None)

    def _named(self, messages: object) -> str:
        """What stands for messages, without what a journal takes out of them: so one with a key in it is found."""
        return self._redactor.clean(msgspec.json.encode(msgspec.to_builtins(messages), order="sorted").decode())
