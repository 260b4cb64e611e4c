"""Writing past the page cache, where the file system is known to do it well.

A fresh page of the page cache has to be found, and often zeroed, copied into, and written later; a
direct write sends memory that is there already to the disk. Nothing is more durable by it: neither
the disk's own cache nor the file system's journal is flushed.
"""

import os

from strongroom.store.direct import BLOCK, O_DIRECT, REFUSED, is_suited


def open_direct(fd: int, folder: int, name: bytes) -> int:
    """A second descriptor for a regular file that is open already, for `write`; -1 if there can be none."""
    status = os.fstat(fd)
    if not is_suited(status.st_dev):
        return -1
    try:
        direct = os.open(
            name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | O_DIRECT, dir_fd=folder
        )
    except OSError:
        return -1
    found = os.fstat(direct)
    if (found.st_dev, found.st_ino) != (status.st_dev, status.st_ino):  # somebody put another one there
        os.close(direct)
        return -1
    return direct


def write(fd: int, direct: int, offset: int, data: memoryview) -> None:
    """`data` must lie in memory as in the file: its address is `offset`, modulo `BLOCK`.

    Whole blocks go through `direct`, what is before and behind them through `fd`. Raises OSError.
    """
    start = min(-offset % BLOCK, len(data))
    end = start + (len(data) - start) // BLOCK * BLOCK
    at = start
    try:
        while at < end and not (at - start) % BLOCK:
            at += os.pwrite(direct, data[at:end], offset + at)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
    _write_all(fd, offset, data[:start])
    _write_all(fd, offset + at, data[at:])


def _write_all(fd: int, offset: int, data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)
