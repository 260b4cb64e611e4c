"""A file's content from its beginning to its end, piece by piece."""

from collections.abc import Callable, Iterator
from typing import Protocol

from strongroom.archive.entries import HOLE, Entry
from strongroom.errors import Damaged
from strongroom.ids import ChunkId

_ZEROS = memoryview(bytes(1 << 20))


class Out(Protocol):
    def write(self, data: bytes | memoryview, /) -> object: ...


def pieces(entry: Entry, read: Callable[[ChunkId], memoryview]) -> Iterator[memoryview]:
    """Of a regular file; holes are zeros. Raises `Damaged` and what `read` raises."""
    for chunk, size in entry.chunks():
        if chunk == HOLE:
            for at in range(0, size, len(_ZEROS)):
                yield _ZEROS[: size - at]
            continue
        data = read(chunk)
        if len(data) != size:
            raise Damaged(f"Chunk {chunk.hex()} has not the size that its file says.")
        yield data
