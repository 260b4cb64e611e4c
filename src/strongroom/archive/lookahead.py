"""Files in the order of a walk, of which the content is opened ahead of whoever reads it."""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from strongroom.archive.entries import HOLE, Entry
from strongroom.errors import StrongroomError
from strongroom.ids import ChunkId

_BUNDLES = 16  # opened and not yet read; of at most 1 MiB, but for chunks that are alone
_BYTES = 16 * 1024 * 1024  # of content so far ahead: with the bundles, it must fit what is kept open
_ENTRIES = 4096  # of the walk so far ahead, where they have little content

Walk = Iterator[tuple[bytes, Entry]]


class Chunks(Protocol):
    def read(self, chunk: ChunkId) -> memoryview: ...

    def opens(self, chunk: ChunkId) -> bool: ...


class Lookahead:
    """Iterate over it, and `read` what each file has. For one thread."""

    def __init__(self, walk: Walk, chunks: Chunks) -> None:
        """`walk`: no more than what will be read, as it is gone through ahead of that."""
        self._walk = walk
        self._chunks = chunks
        self._passed: deque[tuple[bytes, Entry]] = deque()
        self._failure: StrongroomError | None = None
        self._coming = self._content()
        self._ahead: deque[tuple[ChunkId, int, bool]] = deque()  # with size, and whether it opens a bundle
        self._bytes = 0
        self._bundles = 0

    def __iter__(self) -> Walk:
        """Raises what the walk raises, after all that came before it."""
        while True:
            self._look_ahead()
            while not self._passed and next(self._coming, None):
                pass
            if self._passed:
                yield self._passed.popleft()
            elif self._failure is not None:
                raise self._failure
            else:
                return

    def read(self, chunk: ChunkId) -> memoryview:
        """The next chunk of the file that the iteration is at. Raises what `chunks` raises."""
        found = False
        while self._ahead and not found:
            one, size, opens = self._ahead.popleft()
            self._bytes -= size
            self._bundles -= opens
            found = one == chunk
        self._look_ahead()
        return self._chunks.read(chunk)

    def _content(self) -> Iterator[tuple[ChunkId, int]]:
        try:
            for path, entry in self._walk:
                self._passed.append((path, entry))
                yield HOLE, 0  # a step of its own: there may be millions without content
                if entry.is_regular:
                    yield from entry.chunks()
        except StrongroomError as error:
            self._failure = error

    def _look_ahead(self) -> None:
        while (
            self._bytes < _BYTES
            and self._bundles < _BUNDLES
            and len(self._passed) < _ENTRIES
            and (coming := next(self._coming, None))
        ):
            chunk, size = coming
            if chunk == HOLE:
                continue
            opens = self._chunks.opens(chunk)
            self._ahead.append((chunk, size, opens))
            self._bytes += size
            self._bundles += opens
