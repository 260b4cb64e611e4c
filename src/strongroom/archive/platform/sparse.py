"""Holes: finding them in a file that is read, leaving them in one that is written."""

import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

BLOCK = 4096
"""Zeros are left out in aligned blocks of this size: the page and block size of common systems."""

_ZEROS = bytes(BLOCK)
_SEEK_DATA = getattr(os, "SEEK_DATA", None)
_SEEK_HOLE = getattr(os, "SEEK_HOLE", None)


class Extent(NamedTuple):
    offset: int
    length: int  # never 0
    is_hole: bool


def may_have_holes(status: os.stat_result) -> bool:
    """Whether asking is worth its system calls: less is allocated than the size needs.

    Compressing file systems say so of many files without holes.
    """
    return status.st_blocks * 512 < status.st_size


def data_between(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Offset and length of all that is no hole between two offsets of a regular file. Raises OSError."""
    at = start
    while at < end:
        data = _seek(fd, at, _SEEK_DATA)
        data = at if data is None else data
        if data == _PAST_END or data >= end:
            return
        hole = _seek(fd, data, _SEEK_HOLE)
        at = end if hole is None or hole <= data else min(hole, end)
        yield data, at - data


def data_extents(fd: int, size: int) -> Iterator[Extent]:
    """Where in the first `size` bytes of a regular file there is data, and where holes are.

    Extents follow each other without gaps from 0, up to `size` or to where the file ends now,
    whichever comes first. Where the file system cannot tell, all is data. Moves the descriptor's
    offset: read with `os.pread`. A file that changes meanwhile gives extents that were true when
    each was asked for; what was data by then is never called a hole. Raises OSError.
    """
    at = 0
    while at < size:
        data = _seek(fd, at, _SEEK_DATA)
        if data is None:
            yield Extent(at, size - at, False)
            return
        if data == _PAST_END:  # nothing but a hole from here on, or the file has shrunk
            end = min(size, os.fstat(fd).st_size)
            if end > at:
                yield Extent(at, end - at, True)
            return
        data = min(data, size)
        if data > at:
            yield Extent(at, data - at, True)
        if data == size:
            return
        hole = _seek(fd, data, _SEEK_HOLE)
        if hole is None or hole == data:  # punched since: let the reader find the zeros
            hole = size
        elif hole == _PAST_END:  # cut off since
            return
        hole = min(hole, size)
        yield Extent(data, hole - data, False)
        at = hole


_PAST_END = -1


def _seek(fd: int, offset: int, whence: int | None) -> int | None:
    """The offset found, `_PAST_END`, or None where the file system cannot tell."""
    if whence is None:
        return None
    try:
        return os.lseek(fd, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return _PAST_END
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.ENOTTY):
            return None
        raise


def write_sparse(fd: int, offset: int, data: bytes | bytearray) -> int:
    """Write `data` at `offset` of a new file, without its blocks of zeros; bytes written.

    Whoever writes the last piece must set the size (`os.ftruncate`): trailing zeros leave no trace.
    Does not move the descriptor's offset. Raises OSError.
    """
    written = 0
    end = len(data)
    start = at = 0  # data[start:at] waits to be written
    with memoryview(data) as view:
        while at < end:
            stop = min(end, at + BLOCK - (offset + at) % BLOCK)
            if data.startswith(_ZEROS[: stop - at], at):
                written += _write(fd, offset + start, view[start:at])
                start = stop
            at = stop
        return written + _write(fd, offset + start, view[start:end])


def _write(fd: int, offset: int, data: memoryview) -> int:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)
    return done
