"""Memory that is used again for bundle after bundle: fresh pages cost more than what is done to the bytes.

A bundle passes through three spaces: as stored, decrypted, decompressed. Its chunks are views into
the last one that it needed, and lie in memory as they will lie in the file, so that the file can be
written from there without a copy and past the page cache (O_DIRECT wants page on page).
"""

from strongroom.store.direct import BLOCK, pages

SIZE = 5 << 20
"""Of a space: the largest chunk of the default chunker, padded, and room to shift it."""

_HEADER = 16 + 4  # a bundle's header, and the length of its only chunk; docs/format.md
_MAX_BUNDLE = SIZE - 2 * BLOCK


class Space:
    """Reused memory, aligned to pages."""

    __slots__ = ("map", "view")

    def __init__(self) -> None:
        self.map = pages(SIZE)
        self.view = memoryview(self.map)


class Room:
    """The three spaces of one thread. What was opened in it holds until it is used again."""

    def __init__(self) -> None:
        self._stored, self._plain, self._raw = Space(), Space(), Space()
        self.phase = 0
        """Where the chunk of a bundle that has only one is to lie, modulo `BLOCK`."""

    @staticmethod
    def has_space_for(length: int) -> bool:
        """Whether a bundle of this length fits, decrypted; what it decompresses to may still not."""
        return length <= _MAX_BUNDLE

    @property
    def stored(self) -> memoryview:
        return self._stored.view

    def plain(self, length: int) -> memoryview:
        return self._part(self._plain, length, _HEADER)

    def raw(self, length: int) -> memoryview | None:
        """None if it does not fit."""
        return self._part(self._raw, length, 4) if length <= _MAX_BUNDLE else None

    def _part(self, space: Space, length: int, before: int) -> memoryview:
        """`before` bytes precede the only chunk."""
        start = (self.phase - before) % BLOCK
        return space.view[start : start + length]

    def replace(self, chunk: memoryview, spare: Space) -> Space | None:
        """Give away the space that a chunk lies in, and take `spare` instead; None if it lies elsewhere."""
        for name in ("_plain", "_raw"):
            space: Space = getattr(self, name)
            if chunk.obj is space.map:
                setattr(self, name, spare)
                return space
        return None


class Passage(Room):
    """A room through which bundles pass whose chunks are to last: those get memory of their own."""

    def __init__(self) -> None:
        # Not the parent's: its other two spaces would never be used.
        self._stored = Space()
        self._decrypted: bytearray | None = None

    def plain(self, length: int) -> memoryview:
        if self._decrypted is None or len(self._decrypted) < length:
            self._decrypted = bytearray(length)
        return memoryview(self._decrypted)[:length]

    def raw(self, length: int) -> None:
        """None: what is decompressed is there to stay."""

    def kept(self, chunks: list[memoryview]) -> list[memoryview]:
        """The chunks that were opened here, for as long as anybody holds them."""
        if any(one.obj is self._decrypted for one in chunks):
            self._decrypted = None  # it is theirs now
        stored = self._stored.map
        return [memoryview(bytes(one)) if one.obj is stored else one for one in chunks]
