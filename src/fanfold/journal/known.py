"""Which digests may have been seen before: so that what is surely new is not looked for."""

from __future__ import annotations

import struct

BYTES = 1 << 22
"""4 MB. Of a million digests one new in 6,000 is taken for one that was seen, of ten millions one in four."""

MASK = BYTES - 1

_parts = struct.Struct(">4I").unpack


class Known:
    """A set of digests that never forgets one, and may take a new one for one that it has (Bloom, 1970).

    A digest is random enough by itself: four parts of it say which bits are its own.
    """

    def __init__(self) -> None:
        self._bits = bytearray(BYTES)

    def add(self, digest: bytes) -> bool:
        """Take one more, and say whether it may have been there."""
        bits = self._bits
        known = True
        for part in _parts(digest):
            at, mask = part >> 3 & MASK, 1 << (part & 7)
            if not bits[at] & mask:
                bits[at] |= mask
                known = False
        return known
