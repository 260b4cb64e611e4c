"""What an earlier, interrupted restore has left of a file: the part that need not be restored again."""

import os
import stat
from collections.abc import Callable

import msgspec

from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.platform import sparse
from strongroom.archive.platform.owners import Owners
from strongroom.crypto import hashing
from strongroom.ids import ChunkId

_PIECE = 1024 * 1024
_ZEROS = bytes(_PIECE)
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Remains(msgspec.Struct, frozen=True):
    """A file that is kept. `fd` is open for writing unless everything is there."""

    fd: int
    sound: frozenset[int]  # positions of the chunks that need not come again


class Inspector:
    """Compares files that are there with their entries, by content. For one thread."""

    def __init__(self, chunk_id: Callable[[bytes], ChunkId], owners: Owners) -> None:
        self._chunk_id = chunk_id
        self._owners = owners

    def remains(self, folder: int, name: bytes, entry: Entry) -> Remains | None:
        """None if there is nothing worth keeping, or nothing that may be written to: a link, somebody
        else's file, or one that has other names, which would change with it. Raises OSError."""
        try:
            before = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not self._is_ours(before, entry):
            return None
        fd, writable = _open(folder, name)
        if fd < 0:
            return None
        try:
            status = os.fstat(fd)
            if not self._is_ours(status, entry):
                kept = None
            else:
                sound = self._sound(fd, status.st_size, entry)
                whole = len(sound) == len(entry.chunks()) and status.st_size == entry.size
                in_part = writable and sound and status.st_nlink == 1
                kept = Remains(fd, sound) if whole or in_part else None
        except BaseException:
            os.close(fd)
            raise
        if kept is None:
            os.close(fd)
        return kept

    def _is_ours(self, status: os.stat_result, entry: Entry) -> bool:
        owners = {os.geteuid(), entry.uid, self._owners.uid(entry.user) if entry.user else None}
        names = 1 if entry.link is None else status.st_nlink
        return stat.S_ISREG(status.st_mode) and status.st_uid in owners and status.st_nlink == names

    def _sound(self, fd: int, size: int, entry: Entry) -> frozenset[int]:
        sound = set()
        offset = 0
        for position, (chunk, length) in enumerate(entry.chunks()):
            if chunk == HOLE:
                if not _is_zero(fd, offset, min(length, size - offset)):
                    return frozenset()  # nothing would write zeros over it
                sound.add(position)
            elif offset + length <= size and hashing.same(self._chunk_id(_read(fd, offset, length)), chunk):
                sound.add(position)
            offset += length
        return frozenset(sound)


def _open(folder: int, name: bytes) -> tuple[int, bool]:
    """Descriptor (-1: none) and whether it can be written to."""
    for flags, writable in ((os.O_RDWR, True), (os.O_RDONLY, False)):
        try:
            return os.open(name, flags | _SAFE, dir_fd=folder), writable
        except PermissionError:
            continue
        except FileNotFoundError:
            break
    return -1, False


def _read(fd: int, offset: int, length: int) -> bytes:
    parts = []
    while length and (part := os.pread(fd, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _is_zero(fd: int, offset: int, length: int) -> bool:
    for start, extent in sparse.data_between(fd, offset, offset + length):
        for at in range(start, start + extent, _PIECE):
            part = _read(fd, at, min(_PIECE, start + extent - at))
            if part != _ZEROS[: len(part)]:
                return False
    return True
