"""Segment files: the log that a Borg repository is. One entry behind the other, after a magic number.

Borg 1.4 documentation, internals, "Segments". An entry is CRC32, size and tag (9 bytes, little-endian),
then a key of 32 bytes but for a commit, then data for a put. The checksum covers all behind itself.
Nothing is opened for writing, and no time of access is changed where the system allows that.
"""

import os
import re
import stat
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from strongroom.borg.objects import MAX_OBJECT
from strongroom.errors import Damaged, StoreFailed, StoreRefused

MAGIC = b"BORG_SEG"
ATTIC_MAGIC = b"ATTICSEG"
PUT, DELETE, COMMIT = 0, 1, 2
_HEADER = struct.Struct("<IIB")
_KEY = 32
PUT_HEADER = _HEADER.size + _KEY
_COMMIT_ENTRY = struct.pack("<I", zlib.crc32(struct.pack("<IB", _HEADER.size, COMMIT))) + struct.pack(
    "<IB", _HEADER.size, COMMIT
)
_OPEN_FILES = 32
_AHEAD = 64 * 1024  # bytes read at once where entries are small
_NUMBER = re.compile(r"0|[1-9]\d{0,9}")
MAX_SEGMENT = (1 << 32) - 1

ADVICE = (
    "Nothing was changed. `borg check` tells what is damaged; `borg check --repair`, on a copy of the "
    "repository, saves the rest."
)


class LogEntry(NamedTuple):
    tag: int
    key: bytes  # empty for a commit
    offset: int
    size: int  # the header included


class Segments:
    """Of one repository's folder. Any thread may read."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, "data")
        self._paths = dict(sorted(self._find()))
        self._lock = threading.Lock()
        self._open: OrderedDict[int, int] = OrderedDict()

    def _find(self) -> Iterator[tuple[int, str]]:
        try:
            folders = [one for one in os.scandir(self._folder) if _NUMBER.fullmatch(one.name)]
            for folder in folders:
                for one in os.scandir(folder.path):
                    # Empty ones count as not there: what is left where a file could not be removed.
                    if _NUMBER.fullmatch(one.name) and one.stat().st_size and int(one.name) <= MAX_SEGMENT:
                        yield int(one.name), one.path
        except OSError as error:
            raise _translated(error, self._folder) from error

    def numbers(self) -> list[int]:
        """In their order, which is that of time."""
        return list(self._paths)

    def size(self, number: int) -> int:
        with self._lock:
            return os.fstat(self._fd(number)).st_size

    def last_commit(self) -> int | None:
        """The newest segment that ends with a commit: later ones belong to a transaction that broke off."""
        for number in reversed(self._paths):
            size = self.size(number)
            if size < len(MAGIC) + _HEADER.size:
                continue
            if self._pread(number, size - _HEADER.size, _HEADER.size) == _COMMIT_ENTRY:
                return number
        return None

    def magic(self) -> bytes:
        """Of the oldest segment; empty if there is none."""
        first = next(iter(self._paths), None)
        return b"" if first is None else self._pread(first, 0, len(MAGIC))

    def entries(self, number: int) -> Iterator[LogEntry]:
        """What a segment says, without a look at data: checksums are compared where there is none.

        Raises `Damaged` where it cannot be read on.
        """
        size = self.size(number)
        if self._pread(number, 0, len(MAGIC)) != MAGIC:
            raise Damaged(f"Segment {number} does not begin like one. {ADVICE}")
        at, window, start = len(MAGIC), b"", 0
        while at < size:
            if at + PUT_HEADER > start + len(window):
                start, window = at, self._pread(number, at, min(_AHEAD, size - at))
            entry = self._entry(number, window[at - start : at - start + PUT_HEADER], at, size)
            yield entry
            at += entry.size

    def _entry(self, number: int, header: bytes, at: int, end: int) -> LogEntry:
        where = f"Segment {number}, offset {at}"
        if len(header) < _HEADER.size:
            raise Damaged(f"{where}: the file is cut off. {ADVICE}")
        crc, size, tag = _HEADER.unpack_from(header)
        least = {PUT: PUT_HEADER, DELETE: PUT_HEADER, COMMIT: _HEADER.size}.get(tag)
        if least is None or not least <= size <= MAX_OBJECT or (tag != PUT and size != least):
            raise Damaged(f"{where}: the entry's header is damaged. {ADVICE}")
        if at + size > end:
            raise Damaged(f"{where}: the file is cut off. {ADVICE}")
        if tag != PUT and zlib.crc32(header[4:size]) != crc:
            raise Damaged(f"{where}: the entry's checksum does not fit. {ADVICE}")
        return LogEntry(tag, b"" if tag == COMMIT else header[_HEADER.size : PUT_HEADER], at, size)

    def read(self, number: int, offset: int, key: bytes) -> bytes:
        """The data of a put. Raises `Damaged`."""
        where = f"Segment {number}, offset {offset}"
        if number not in self._paths:
            raise Damaged(f"Segment {number} is missing. {ADVICE}")
        header = self._pread(number, offset, PUT_HEADER)
        if len(header) < PUT_HEADER:
            raise Damaged(f"{where}: the file is cut off. {ADVICE}")
        crc, size, tag = _HEADER.unpack_from(header)
        if tag != PUT or not PUT_HEADER <= size <= MAX_OBJECT or header[_HEADER.size :] != key:
            raise Damaged(f"{where}: the entry is not the one of {key.hex()}. {ADVICE}")
        data = self._pread(number, offset + PUT_HEADER, size - PUT_HEADER)
        if len(data) < size - PUT_HEADER:
            raise Damaged(f"{where}: the file is cut off. {ADVICE}")
        if zlib.crc32(data, zlib.crc32(header[4:])) != crc:
            raise Damaged(f"{where}: the entry's checksum does not fit. {ADVICE}")
        return data

    def stored_bytes(self) -> int:
        return sum(self.size(number) for number in self._paths)

    def _pread(self, number: int, offset: int, length: int) -> bytes:
        try:
            with self._lock:  # nobody closes the file meanwhile
                return os.pread(self._fd(number), length, offset)
        except OSError as error:
            raise _translated(error, self._paths[number]) from error

    def _fd(self, number: int) -> int:
        known = self._open.get(number)
        if known is not None:
            self._open.move_to_end(number)
            return known
        fd = self._open[number] = _open_quietly(self._paths[number])
        if len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def close(self) -> None:
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])


def _open_quietly(path: str) -> int:
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(path, flags | getattr(os, "O_NOATIME", 0))
        except PermissionError:  # O_NOATIME is for the file's owner
            fd = os.open(path, flags)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Damaged(f"{path} is no regular file. {ADVICE}")
    except OSError as error:
        raise _translated(error, path) from error
    return fd


def _translated(error: OSError, path: str) -> Damaged | StoreFailed | StoreRefused:
    if isinstance(error, FileNotFoundError):
        return Damaged(f"{path} is missing. {ADVICE}")
    if isinstance(error, PermissionError):
        return StoreRefused(f"Permission denied: {path}. Run this as the user who owns the repository.")
    return StoreFailed(f"{path} cannot be read: {error.strerror}. Check the disk.")
