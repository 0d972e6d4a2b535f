"""The book of one run: what was recorded of it, and the way of what happens in it to the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fanfold.core.clock import wall
from fanfold.core.journaling import Folded, Found
from fanfold.core.records import Cost
from fanfold.errors import FatalError, JournalError, ReplayMiss, UsageError, described
from fanfold.journal.entries import NOTHING, Again, Begun, Bill, Draft, Ended, Entry, Kept, Value, digest_of
from fanfold.journal.failures import error_of, failure_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from fanfold.core.records import Call, Draw, Reply
    from fanfold.journal.entries import Kind
    from fanfold.journal.journal import Journal

_begun = msgspec.json.Decoder(Begun).decode
_again = msgspec.json.Decoder(Again).decode
_ended = msgspec.json.Decoder(Ended).decode
_kept = msgspec.json.Decoder(Kept).decode
_bill = msgspec.json.Decoder(Bill).decode
_folded = msgspec.json.Decoder(Folded).decode
_value = msgspec.json.Decoder(Value).decode


class History:
    """What a journal holds of one run, by what it is looked up by.

    `step` is the fingerprint of the step that runs now: what an earlier version of it folded is left out, for another
    rule would have folded something else. `changed` says that the last one to run was another, and `ended` that this
    one ended well, `over` that it ended by itself, well or not. `row` and `map` say which row it was begun for.
    """

    def __init__(self, entries: Iterable[Entry], step: str) -> None:
        self.secret = b""
        self.calls: dict[tuple[str, int, bytes], Entry] = {}
        self.bills: dict[tuple[str, int, bytes], Entry] = {}
        self.fans: dict[tuple[str, int], Entry] = {}
        self.values: dict[tuple[str, int, bytes], Entry] = {}
        self.changed = self.ended = self.over = False
        self.row: int | None = None
        self.map = ""
        for entry in entries:
            if entry.kind in {"run", "again"}:
                self._begin(entry, step)
            elif entry.kind == "end":
                how = _ended(entry.body).how
                self.ended, self.over = not self.changed and how == "ok", how != "cancelled"
            else:
                self._add(entry)

    def _begin(self, entry: Entry, step: str) -> None:
        if entry.kind == "run":
            self.secret = bytes.fromhex(_begun(entry.body).fences)
        begun = _again(entry.body)
        self.changed = begun.step != step
        self.over = False
        self.row, self.map = begun.row, begun.map
        self.ended = self.ended and not self.changed

    def _add(self, entry: Entry) -> None:
        key = (entry.place, entry.nth, entry.digest)
        if entry.kind == "call":
            self.calls[key] = entry
            self.bills.pop(key, None)
        elif entry.kind == "bill":
            self.bills[key] = entry
        elif entry.kind == "fan" and not self.changed:
            self.fans[entry.place, entry.nth] = entry
        elif entry.kind == "value" and not self.changed:
            self.values[key] = entry

    def call(self, key: tuple[str, int, bytes]) -> Found | None:
        """A call, taken out: each is given once; raises `JournalError` where its answer is there as a digest only."""
        entry = self.calls.pop(key, None)
        if entry is None:
            return None
        found = found_in(entry, self.bills.pop(key, None))
        if found is None:
            raise JournalError(
                f"run {entry.run} was kept with content='hash', so its replies are not there to be given back: use "
                "mode='record' with this journal, or resume and replay from one that keeps them"
            )
        return found


def found_in(entry: Entry, bill: Entry | None = None) -> Found | None:
    """A call's entry as what a call finds; None where only a digest of its answer was kept."""
    kept = _kept(entry.body)
    if kept.replied is not None:
        return None
    call = (kept.then or kept.call) if bill is None else _bill(bill.body).call
    error = None if kept.failure is None else error_of(kept.failure, model=call.model)
    return Found(call, kept.reply, error, entry.at)


class RunBook:
    """One run in a journal; see `Book` in `core/journaling.py`, whose words these are."""

    __slots__ = ("history", "journal", "key", "new", "replays", "run", "secret", "settled")

    def __init__(
        self, journal: Journal, run: int, secret: bytes, history: History | None, *, key: str | None, replays: bool
    ) -> None:
        self.journal = journal
        self.run = run
        self.secret = secret
        self.history = history
        self.key = key
        self.replays = replays
        self.new = history is None and not replays and journal.mode != "cache"
        self.settled = replays or (history is not None and history.ended)

    def digest(self, model: str, key: bytes) -> bytes:
        """Name a request to a model for good."""
        return digest_of(model.encode(), key)

    def found(self, digest: bytes, draw: Draw, *, settled: bool) -> Found | None:
        """The call as it was made before; an error of then is given only where all is `settled`."""
        if self.history is None:
            return None
        found = self.history.call((self.journal.clean(draw.place), draw.nth, digest))
        if self.replays and found is None:
            why = "its step has changed since" if self.history.changed else "a model, a prompt or an input is another"
            raise ReplayMiss(
                f"no such call was recorded at {draw.place!r} (request {digest.hex()[:8]}, number {draw.nth}): {why}; "
                "nothing was sent; record it again"
            )
        cut = found is not None and found.reply is None and found.error is None
        if self.replays and cut and not self.history.over:
            raise ReplayMiss(
                f"the call at {draw.place!r} was cut off, as its run was, and nothing would cut it off again: resume "
                "the run to its end first"
            )
        if found is not None and found.reply is None and not settled:
            return None  # it failed or was cut off: asked again
        if found is not None:
            self.journal.found_one()
        return found

    async def shared(self, digest: bytes, draw: Draw) -> Found | None:
        """The newest answer to the same request and ordinal, whichever run asked; None where that is too old."""
        found = await self.journal.cached(digest, draw.ordinal)
        if found is not None:
            self.journal.check()
        return found

    def keep_shared(self, digest: bytes, key: bytes, call: Call, found: Found) -> None:
        """Keep what another run was answered: this one is shown and replayed by it, even where that is forgotten.

        It costs nothing here, for who adds up the runs counts it where it was paid; and it is as old as it was there.
        """
        made = msgspec.structs.replace(call, usage=None, cost=Cost(), attempts=())
        kept = Kept(made, msgspec.Raw(key), found.reply, then=found.call)
        self._tell(msgspec.structs.replace(self._of_call("call", digest, call, kept), at=found.at))

    def check(self) -> None:
        """Raise `JournalError` where the journal has stopped."""
        if not self.replays:
            self.journal.check()

    def keep(self, digest: bytes, key: bytes, call: Call, reply: Reply) -> asyncio.Future[None]:
        """Keep a reply; no await lies between the wire's last byte and the writer's queue."""
        full = self.journal.content == "full"
        kept = Kept(
            call,
            msgspec.Raw(key) if full else NOTHING,
            reply if full else None,
            replied=None if full else digest_of(*(text.encode() for text in reply.texts)).hex(),
        )
        return self.journal.write(self._of_call("call", digest, call, kept))

    def note(self, digest: bytes, key: bytes, call: Call, error: BaseException | None) -> None:
        """Keep how a call ended without a reply; what ends the run, as a wrong key, is not an outcome to replay."""
        full = self.journal.content == "full"
        failure = None
        if isinstance(error, Exception) and not isinstance(error, FatalError):
            failure = failure_of(error, full=full)
        if not full:
            call = msgspec.structs.replace(call, error=call.error and call.error.partition(":")[0])
        kept = Kept(call, msgspec.Raw(key) if full else NOTHING, None, failure)
        self._tell(self._of_call("call", digest, call, kept))

    def bill(self, digest: bytes, call: Call) -> None:
        """Keep a call's last record."""
        self._tell(self._of_call("bill", digest, call, Bill(call)))

    def folded(self, place: str, nth: int, branches: int, *, settled: bool) -> Folded | None:
        """How a fan ended then; one that failed begins anew, unless all around it is settled."""
        entry = None if self.history is None else self.history.fans.get((self.journal.clean(place), nth))
        folded = None if entry is None else _folded(entry.body)
        if folded is None or folded.branches != branches or (folded.failed and not settled):
            return None
        return folded

    def keep_fan(self, place: str, nth: int, folded: Folded) -> None:
        """Keep how a fan ended; raises `JournalError`."""
        if self.replays:
            return
        # Not waited for: what follows stands behind it in the queue.
        self.journal.tell(self._of("fan", place, nth, folded), soon=True)

    def value(self, place: str, nth: int, digest: bytes) -> msgspec.Raw | None:
        """What a value was."""
        if self.history is None:
            return None
        entry = self.history.values.get((self.journal.clean(place), nth, digest))
        return None if entry is None else _value(entry.body).value

    def keep_value(self, place: str, nth: int, digest: bytes, value: Any) -> asyncio.Future[None] | None:
        """Keep a value; raises `UsageError` where it is no plain data, for then it could not be given back."""
        if self.replays or self.journal.content != "full":
            return None
        try:
            data = msgspec.json.encode(value)
            same = msgspec.json.decode(data) == value
        except (TypeError, ValueError, msgspec.MsgspecError):
            same = False
        if not same:
            raise UsageError(
                f"the step at {place!r} keeps its result in the journal, and gave a {type(value).__name__} that JSON "
                "cannot give back as it is: let it return text, numbers, lists and dicts, or leave out journal=True"
            )
        return self.journal.write(self._of("value", place, nth, Value(msgspec.Raw(data)), digest))

    def end(self, error: BaseException | None) -> None:
        """The run is over; a journal that fails here has failed its calls before."""
        self.journal.ended(self)
        self.keep_end(error)

    def keep_end(self, error: BaseException | None) -> None:
        """Keep how it ended."""
        how = "ok" if error is None else "error" if isinstance(error, Exception) else "cancelled"
        said = None
        if isinstance(error, Exception):
            said = described(error) if self.journal.content == "full" else type(error).__name__
        self._tell(self._of("end", self.key or "", 0, Ended(how, said)))

    def _of_call(self, kind: Kind, digest: bytes, call: Call, content: Any) -> Draft:
        draw = call.draw
        return Draft(kind, self.run, draw.place, draw.nth, draw.ordinal, digest, wall(), content)

    def _of(self, kind: Kind, place: str, nth: int, content: Any, digest: bytes = b"") -> Draft:
        return Draft(kind, self.run, place, nth, 0, digest, wall(), content)

    def _tell(self, draft: Draft) -> None:
        """Write where nobody could be told that it cannot be: the next call is."""
        try:
            self.journal.tell(draft)
        except JournalError:
            return
