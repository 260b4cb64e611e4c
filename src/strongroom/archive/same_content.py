"""Whether two files hold the same bytes, and how much of them differs: from their chunk lists.

Equal lists are equal content. Different ones may still be, where a hole on one side is stored zeros
on the other, or where the chunks were cut by other parameters: then the bytes in question are read.
"""

from collections.abc import Callable

import msgspec

from strongroom.archive.entries import HOLE, Entry
from strongroom.ids import ChunkId

Chunks = list[tuple[ChunkId, int]]
Read = Callable[[ChunkId], memoryview]
"""A chunk's bytes. Raises `ChunkMissing`, `PackDamaged`, and the store's errors."""


class Modified(msgspec.Struct, frozen=True):
    """Bytes in chunks that only the new, or only the old content has; None where that is not known."""

    added: int | None
    removed: int | None


class ContentComparison:
    def __init__(self, read: Read, *, comparable: bool) -> None:
        """`comparable`: both sides were cut by the same parameters."""
        self._read = read
        self._comparable = comparable

    def compare(self, old: Entry, new: Entry) -> Modified | None:
        """Of two regular files; None if their content is the same."""
        if old.content == new.content and old.size == new.size and old.sizes == new.sizes:
            return None
        before, after = old.chunks(), new.chunks()
        if old.size == new.size and self._must_look(before, after) and same_bytes(before, after, self._read):
            return None
        if not self._comparable:
            return Modified(None, None)
        known, fresh = _keys(before), _keys(after)
        return Modified(
            sum(chunk[1] for chunk in after if _key(*chunk) not in known),
            sum(chunk[1] for chunk in before if _key(*chunk) not in fresh),
        )

    def _must_look(self, before: Chunks, after: Chunks) -> bool:
        return not self._comparable or any(chunk == HOLE for chunk, _ in (*before, *after))


def _key(chunk: ChunkId, size: int) -> tuple[ChunkId, int]:
    return chunk, size if chunk == HOLE else 0


def _keys(chunks: Chunks) -> set[tuple[ChunkId, int]]:
    return {_key(chunk, size) for chunk, size in chunks}


def same_bytes(one: Chunks, other: Chunks, read: Read) -> bool:
    """Of contents of the same length. What both have at the same place is not read."""
    left, right = _Cursor(one, read), _Cursor(other, read)
    while left.more and right.more:
        length = min(left.left, right.left)
        if left.chunk == right.chunk and (left.chunk == HOLE or left.at == right.at):
            pass
        elif HOLE in (left.chunk, right.chunk):
            data = (right if left.chunk == HOLE else left).bytes(length)
            if bytes(data).strip(b"\0"):
                return False
        elif left.bytes(length) != right.bytes(length):
            return False
        left.move(length)
        right.move(length)
    return not left.more and not right.more


class _Cursor:
    """A place in a content: `at` bytes into `chunk`, of which `left` are still to come."""

    def __init__(self, chunks: Chunks, read: Read) -> None:
        self._rest = iter(chunks)
        self._read = read
        self._data: memoryview | None = None
        self.more = True
        self.at = 0
        self._next()

    def _next(self) -> None:
        self.chunk, self.left = next(self._rest, (HOLE, 0))
        self.more = self.left > 0
        self.at, self._data = 0, None

    def bytes(self, length: int) -> memoryview:
        if self._data is None:
            self._data = self._read(self.chunk)
        return self._data[self.at : self.at + length]

    def move(self, length: int) -> None:
        self.at += length
        self.left -= length
        if not self.left:
            self._next()
