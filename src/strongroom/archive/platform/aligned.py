"""Writing past the page cache, where the file system is known to do it well.

A fresh page of the page cache has to be found, and often zeroed, copied into, and written later; a
direct write sends memory that is there already to the disk. Nothing is more durable by it: neither
the disk's own cache nor the file system's journal is flushed.
"""

import errno
import os
from functools import lru_cache
from pathlib import Path

from strongroom.repository.room import PAGE

_GOOD = frozenset({b"ext4", b"xfs"})
"""Others refuse direct writes, or lose by them: btrfs would not compress, networks would wait."""

_DIRECT = getattr(os, "O_DIRECT", 0)
_REFUSALS = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}


def open_direct(fd: int, folder: int, name: bytes) -> int:
    """A second descriptor for a regular file that is open already, for `write`; -1 if there can be none."""
    status = os.fstat(fd)
    if not _is_good(status.st_dev):
        return -1
    try:
        direct = os.open(
            name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | _DIRECT, dir_fd=folder
        )
    except OSError:
        return -1
    found = os.fstat(direct)
    if (found.st_dev, found.st_ino) != (status.st_dev, status.st_ino):  # somebody put another one there
        os.close(direct)
        return -1
    return direct


@lru_cache(maxsize=64)
def _is_good(device: int) -> bool:
    if not _DIRECT:
        return False
    number = b"%d:%d" % (os.major(device), os.minor(device))
    try:
        table = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return False
    for line in table.splitlines():
        left, _, right = line.partition(b" - ")
        if left.split(b" ")[2] == number:
            return right.split(b" ")[0] in _GOOD
    return False


def write(fd: int, direct: int, offset: int, data: memoryview) -> None:
    """`data` must lie in memory as in the file: its address is `offset`, modulo `PAGE`.

    Whole pages go through `direct`, what is before and behind them through `fd`. Raises OSError.
    """
    start = min(-offset % PAGE, len(data))
    end = start + (len(data) - start) // PAGE * PAGE
    at = start
    try:
        while at < end and not (at - start) % PAGE:
            at += os.pwrite(direct, data[at:end], offset + at)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
    _write_all(fd, offset, data[:start])
    _write_all(fd, offset + at, data[at:])


def _write_all(fd: int, offset: int, data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)
