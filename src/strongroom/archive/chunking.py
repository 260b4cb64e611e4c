"""Cutting content into chunks where the content says so, and handing them to the pipeline.

FastCDC: Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based
Storage Systems", IEEE TPDS 31(9), 2020; with the repository's secret seed XORed into the gear
table, so that published chunk lengths of a file are not its lengths here. What that does not hide
is in docs/security.md.
"""

import os
import threading
from collections.abc import Callable

import msgspec
from pyfastcdc import FastCDC

from strongroom.archive.entries import HOLE
from strongroom.archive.pipeline import ALONE, Pipeline
from strongroom.archive.platform.sparse import data_extents
from strongroom.crypto.sealing import DATA
from strongroom.ids import ChunkId

MINIMUM, AVERAGE, MAXIMUM = 256 * 1024, 1024 * 1024, 4 * 1024 * 1024  # bytes
_BUFFER = 6 * 1024 * 1024
_BUFFERS = 3
_SOME_ZEROS = bytes(64)

Read = Callable[[memoryview], int]
"""Fills the buffer from its start, returns how many bytes; 0 at the end."""


class Content(msgspec.Struct):
    """A file's content as chunks: what an `Entry` stores of it."""

    ids: list[ChunkId] = []
    sizes: list[int] = []

    def add(self, chunk: ChunkId, size: int) -> None:
        self.ids.append(chunk)
        self.sizes.append(size)

    @property
    def size(self) -> int:
        return sum(self.sizes)

    def joined(self) -> bytes:
        return b"".join(self.ids)

    def sizes_if_needed(self) -> list[int] | None:
        """None where the file's size tells it: no chunk, or one that is no hole."""
        if len(self.ids) > 1 or (self.ids and self.ids[0] == HOLE):
            return self.sizes
        return None


def is_fast() -> bool:
    """False where only the slow pure-Python chunker is installed."""
    return ".cy." in FastCDC.__module__


class _SharedBuffer:
    """A read buffer that returns to its pool when the last chunk in it has been compressed."""

    def __init__(self, pool: "_BufferPool") -> None:
        self.data = bytearray(_BUFFER)
        self._pool = pool
        self._uses = 0

    def use(self) -> None:
        with self._pool.changed:
            self._uses += 1

    def done(self) -> None:
        with self._pool.changed:
            self._uses -= 1
            if not self._uses:
                self._pool.free.append(self)
                self._pool.changed.notify()


class _BufferPool:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.free: list[_SharedBuffer] = []
        self._made = 0

    def take(self) -> _SharedBuffer:
        """Held by the caller until its own `done`."""
        with self.changed:
            while not self.free and self._made == _BUFFERS:
                self.changed.wait()
            if self.free:
                buffer = self.free.pop()
            else:
                buffer = _SharedBuffer(self)
                self._made += 1
        buffer.use()
        return buffer


class ChunkedReader:
    """Turns streams into chunks in the pipeline. For one thread."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self._pipeline = pipeline
        self._cutter = FastCDC(AVERAGE, min_size=MINIMUM, max_size=MAXIMUM, seed=seed)
        self._pool = _BufferPool()
        self._zeros = b""
        self._zeros_id: ChunkId | None = None

    def add_small(self, data: bytes) -> Content:
        """Content that is at hand, of at most `MINIMUM` bytes: one chunk, or none if empty."""
        content = Content()
        if data:
            content.add(self._pipeline.add(DATA, data), len(data))
        return content

    def add_file(self, fd: int, size: int, *, sparse: bool, progress: Callable[[int], None]) -> Content:
        """An open regular file from its start to its end. Raises OSError."""
        content = Content()
        if not sparse:
            self.add_stream(lambda view: os.readv(fd, [view]), content, progress)
            return content
        end = 0
        for extent in data_extents(fd, size):
            end = extent.offset + extent.length
            if extent.is_hole:
                content.add(HOLE, extent.length)
                progress(extent.length)
            else:
                self.add_stream(_extent_reader(fd, extent.offset, end), content, progress)
        # what has grown behind the size that was known
        self.add_stream(_extent_reader(fd, end, None), content, progress)
        return content

    def add_stream(self, read: Read, content: Content, progress: Callable[[int], None]) -> None:
        """Everything that `read` gives, appended to `content`."""
        buffer = self._pool.take()
        try:
            filled, ended = 0, False
            while True:
                view = memoryview(buffer.data)
                while filled < _BUFFER and not ended:
                    count = read(view[filled:])
                    ended = count == 0
                    filled += count
                    progress(count)
                used = self._cut(buffer, view[:filled], ended, content)
                if ended:
                    return
                following = self._pool.take()
                rest = filled - used
                following.data[:rest] = view[used:filled]
                buffer.done()
                buffer, filled = following, rest
        finally:
            buffer.done()

    def _cut(self, buffer: _SharedBuffer, view: memoryview, ended: bool, content: Content) -> int:
        """Chunks up to the last cut that more content cannot move; returns how far that is."""
        used, cuts = 0, None
        while used < len(view):
            if self._has_zeros(buffer, used, len(view)):
                content.add(self._add_zeros(), len(self._zeros))
                used, cuts = used + len(self._zeros), None
                continue
            if cuts is None:
                cuts = iter(self._cutter.cut_buf(view[used:]))
            end = used + next(cuts).length
            if end == len(view) and not ended:
                break
            data = view[used:end]
            if len(data) >= ALONE:
                buffer.use()
                content.add(self._pipeline.add(DATA, data, buffer.done), len(data))
            else:
                content.add(self._pipeline.add(DATA, bytes(data)), len(data))
            used = end
        return used

    def _has_zeros(self, buffer: _SharedBuffer, start: int, end: int) -> bool:
        """Whether the next chunk is the one of zeros: most of many a disk image, and not to be cut and hashed
        each time. A chunk depends on nothing but its own bytes."""
        if not buffer.data.startswith(_SOME_ZEROS, start, end):
            return False
        if not self._zeros:
            self._zeros = bytes(next(iter(self._cutter.cut_buf(bytes(MAXIMUM)))).length)
        return buffer.data.startswith(self._zeros, start, end)

    def _add_zeros(self) -> ChunkId:
        if self._zeros_id is None:
            self._zeros_id = self._pipeline.add(DATA, self._zeros)
        return self._zeros_id


def _extent_reader(fd: int, start: int, end: int | None) -> Read:
    at = start

    def read(view: memoryview) -> int:
        nonlocal at
        if end is not None:
            view = view[: end - at]
        count = os.preadv(fd, [view], at) if len(view) else 0
        at += count
        return count

    return read
