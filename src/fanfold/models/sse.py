"""Server-sent events, as far as model servers use them (WHATWG HTML, section 9.2): the data of each event.

It works on bytes, so that a character split between chunks is whole again before it is decoded.
"""

from __future__ import annotations

from codecs import BOM_UTF8


class EventData:
    """Feed it chunks of any size; it gives the data of every event that is complete."""

    __slots__ = ("_begun", "_buffer", "_data", "_returned")

    def __init__(self) -> None:
        self._begun = False
        self._buffer = b""
        self._data: list[bytes] = []
        self._returned = False
        """Whether the last line ended with a CR, to which an LF that comes next belongs."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes."""
        if self._returned and chunk:
            self._returned, chunk = False, chunk.removeprefix(b"\n")
        if b"\r" in chunk:  # a line ends with LF, CRLF or CR
            self._returned = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = (self._buffer + chunk).split(b"\n")
        self._buffer = lines.pop()
        if not self._begun and lines:
            self._begun = True
            lines[0] = lines[0].removeprefix(BOM_UTF8)  # with which a stream may begin
        whole: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                data = b"\n".join(self._data)
                self._data = []
                if data:  # without any it is no event
                    whole.append(data)
        return whole

    def rest(self) -> list[bytes]:
        """What was left when the stream ended without its closing blank line."""
        return self.feed(b"\n\n")
