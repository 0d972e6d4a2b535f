"""Which digests may have been seen before: so that what is surely new is not looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BITS = 1 << 25
"""4 MB. Of a million digests one new in 6,000 is taken for one that was seen, of ten millions one in four."""


class Known:
    """A set of digests that never forgets one, and may take a new one for one that it has (Bloom, 1970).

    A digest is random enough by itself: four parts of it say which bits are its own.
    """

    def __init__(self) -> None:
        self._bits = bytearray(BITS // 8)

    def add(self, digest: bytes) -> None:
        """Take one more."""
        for bit in _own(digest):
            self._bits[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, digest: bytes) -> bool:
        return all(self._bits[bit >> 3] & 1 << (bit & 7) for bit in _own(digest))


def _own(digest: bytes) -> Iterator[int]:
    return (int.from_bytes(digest[at : at + 4]) % BITS for at in (0, 4, 8, 12))
