"""A file's content at any offset, for many readers at once."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Protocol

from strongroom.archive.entries import HOLE, Entry
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ChunkId

AHEAD_FROM = 256 * 1024  # bytes read one behind the other before more is fetched than was asked for
AHEAD_BYTES = 12 * 1024 * 1024  # at most so far ahead
_SLACK = 2 * 1024 * 1024  # bytes: parallel requests of one sequential reader arrive out of order


class Chunks(Protocol):
    def read(self, chunk: ChunkId) -> memoryview: ...

    def ahead(self, chunks: Iterator[ChunkId]) -> None:
        """These will be asked for soon, in this order."""


class FileContent:
    """Of one regular file. Safe to use from several threads if `chunks` is."""

    __slots__ = ("_ahead_to", "_chunks", "_content", "_expected", "_starts", "_streak", "size")

    def __init__(self, entry: Entry, chunks: Chunks) -> None:
        self.size = entry.size
        self._chunks = chunks
        self._content = entry.content
        # where each chunk begins, and the end
        self._starts = list(accumulate(entry.sizes or ([entry.size] if entry.content else []), initial=0))
        # Guesses, shared without a lock: what goes wrong is one bundle fetched early or late.
        self._expected = 0
        self._streak = 0
        self._ahead_to = 0

    def read_into(self, target: memoryview, offset: int) -> int:
        """Fill `target` with what is at `offset`; returns the bytes written, fewer only at the end.

        Raises `Damaged`, `ChunkMissing`, `RoleInsufficient`, and the store's errors.
        """
        wanted = min(len(target), self.size - offset)
        if wanted <= 0 or offset < 0:
            return 0
        number = bisect_right(self._starts, offset) - 1
        done = 0
        while done < wanted:
            start, end = self._starts[number], self._starts[number + 1]
            inside = offset + done - start
            piece = min(wanted - done, end - start - inside)
            chunk = self._id(number)
            if chunk == HOLE:
                target[done : done + piece] = bytes(piece)
            else:
                data = self._chunks.read(chunk)
                if len(data) != end - start:
                    raise Damaged(f"Chunk {chunk.hex()} has not the size that its file says.")
                target[done : done + piece] = data[inside : inside + piece]
            done += piece
            number += 1
        self._look_ahead(offset, done, number)
        return done

    def read(self, offset: int, size: int) -> bytes:
        """The same as bytes of its own."""
        out = bytearray(max(0, min(size, self.size - offset)))
        self.read_into(memoryview(out), offset)
        return bytes(out)

    def stored_size(self) -> int:
        """Bytes that are not in holes."""
        return sum(
            end - self._starts[number]
            for number, end in enumerate(self._starts[1:])
            if self._id(number) != HOLE
        )

    def seek_data(self, offset: int) -> int | None:
        """Where the next data begins, as lseek's SEEK_DATA says; None if there is none."""
        return self._seek(offset, hole=False)

    def seek_hole(self, offset: int) -> int | None:
        """Where the next hole begins; the end of a file is one. None behind the end."""
        found = self._seek(offset, hole=True)
        return self.size if found is None and offset < self.size else found

    def _seek(self, offset: int, *, hole: bool) -> int | None:
        if not 0 <= offset < self.size:
            return None
        for number in range(bisect_right(self._starts, offset) - 1, len(self._starts) - 1):
            if (self._id(number) == HOLE) == hole:
                return max(offset, self._starts[number])
        return None

    def _id(self, number: int) -> ChunkId:
        return ChunkId(self._content[number * ID_SIZE : (number + 1) * ID_SIZE])

    def _look_ahead(self, offset: int, size: int, number: int) -> None:
        """`number` is the first chunk that the reader has not touched."""
        if abs(offset - self._expected) <= _SLACK:
            self._streak += size
        else:
            self._streak, self._ahead_to = size, 0
        self._expected = offset + size
        if self._streak < AHEAD_FROM:
            return
        limit = offset + size + min(AHEAD_BYTES, 4 * self._streak)
        first = max(number, self._ahead_to)
        last = min(bisect_right(self._starts, limit), len(self._starts) - 1)
        if first < last:
            self._ahead_to = last
            self._chunks.ahead(chunk for chunk in map(self._id, range(first, last)) if chunk != HOLE)
