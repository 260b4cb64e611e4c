"""Whether a file on this machine holds what an archive says: its bytes hashed, nothing fetched."""

import bisect
import itertools
import os
from collections.abc import Callable
from functools import cached_property

from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.platform.sparse import data_extents
from strongroom.ids import ChunkId
from strongroom.repository.compression import MAX_RAW

_BLOCK = 1024 * 1024


class LocalContent:
    """An open regular file, hashed by the chunks of the entries that it is compared with.

    Each stretch is read once however many entries have a chunk there. Methods raise OSError.
    """

    def __init__(self, fd: int, chunk_id: Callable[[bytes], ChunkId]) -> None:
        self.size = os.fstat(fd).st_size
        self._fd = fd
        self._chunk_id = chunk_id
        self._known: dict[tuple[int, int], ChunkId] = {}
        self._zeros: dict[tuple[int, int], bool] = {}

    def is_content_of(self, entry: Entry) -> bool:
        if not entry.is_regular or entry.size != self.size:
            return False
        at = 0
        for chunk, size in entry.chunks():
            if not (self._is_zero(at, size) if chunk == HOLE else self._id(at, size) == chunk):
                return False
            at += size
        return True

    def _id(self, at: int, size: int) -> ChunkId | None:
        """None where no chunk can be."""
        if size > MAX_RAW:
            return None
        found = self._known.get((at, size))
        if found is None:
            data = os.pread(self._fd, size, at)
            if len(data) != size:
                return None  # it shrinks under our hands
            found = self._known[at, size] = self._chunk_id(data)
        return found

    def _is_zero(self, at: int, size: int) -> bool:
        found = self._zeros.get((at, size))
        if found is None:
            found = self._zeros[at, size] = self._read_zeros(at, at + size)
        return found

    @cached_property
    def _data(self) -> list[tuple[int, int]]:
        """Where there may be anything but zeros, as (start, end)."""
        found = data_extents(self._fd, self.size)
        return [(one.offset, one.offset + one.length) for one in found if not one.is_hole]

    def _read_zeros(self, start: int, end: int) -> bool:
        first = bisect.bisect_right(self._data, start, key=lambda one: one[1])
        for data_start, data_end in itertools.islice(self._data, first, None):
            if data_start >= end:
                break
            stop = min(end, data_end)
            for at in range(max(start, data_start), stop, _BLOCK):
                if os.pread(self._fd, min(_BLOCK, stop - at), at).strip(b"\0"):
                    return False
        return True
