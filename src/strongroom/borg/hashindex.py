"""Borg's own index of a repository, `index.N`, read where it lies: nothing is loaded, no memory grows.

Borg 1.4 documentation, internals, "HashIndex": open addressing, little-endian. A header of 18 bytes
(magic, entries, buckets, size of keys and of values), then the buckets: a key of 32 bytes and two u32,
segment and offset. The first four bytes of a key, modulo the buckets, tell where a search begins. What
it says is a hint: whoever reads the entry compares its key.
"""

import mmap
import os
import struct
from collections.abc import Iterator

from strongroom.errors import Damaged

_HEADER = struct.Struct("<8siibb")
_MAGIC = b"BORG_IDX"
_BUCKET = struct.Struct("<32sII")
_FIRST = struct.Struct("<I")
_EMPTY, _DELETED = 0xFFFFFFFF, 0xFFFFFFFE


class HashIndex:
    """Any thread may look up."""

    def __init__(self, path: str) -> None:
        """Raises `Damaged`, OSError."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size < _HEADER.size:
                raise Damaged(f"{path} is cut off.")
            self._map = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        magic, self.entries, self._buckets, key_size, value_size = _HEADER.unpack_from(self._map)
        if (
            (magic, key_size, value_size) != (_MAGIC, 32, 8)
            or not 0 <= self.entries <= self._buckets
            or self._buckets <= 0
            or size != _HEADER.size + self._buckets * _BUCKET.size
        ):
            self._map.close()
            raise Damaged(f"{path} is no index of Borg 1.x.")

    def get(self, key: bytes) -> tuple[int, int] | None:
        """Segment and offset."""
        at = _FIRST.unpack_from(key)[0] % self._buckets
        for _ in range(self._buckets):
            known, segment, offset = _BUCKET.unpack_from(self._map, _HEADER.size + at * _BUCKET.size)
            if segment == _EMPTY:
                return None
            if known == key and segment != _DELETED:
                return segment, offset
            at = at + 1 if at + 1 < self._buckets else 0
        return None

    def items(self) -> Iterator[tuple[bytes, int, int]]:
        """Key, segment and offset of all entries, in no order."""
        for at in range(_HEADER.size, _HEADER.size + self._buckets * _BUCKET.size, _BUCKET.size):
            key, segment, offset = _BUCKET.unpack_from(self._map, at)
            if segment < _DELETED:
                yield key, segment, offset

    def close(self) -> None:
        self._map.close()
