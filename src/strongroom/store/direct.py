"""Writing past the page cache: a pack is not read again soon, and new pages for it cost more than the disk.

The system wants file offset, length and memory in whole blocks. Where it refuses, for these or because the
file system cannot, whoever asked writes as usual.
"""

import errno
import fcntl
import os

BLOCK = 4096  # bytes; a multiple of every disk's logical block
LEAST = 1 << 20  # bytes that are worth the calls
_DIRECT: int = getattr(os, "O_DIRECT", 0)  # not on macOS
_REFUSED = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EPERM}


def write_direct(fd: int, view: memoryview, offset: int) -> int:
    """Append whole blocks of `view` to the file, which ends at `offset`; returns how many bytes.

    Less than the whole where the file system refuses, 0 if it never took any. Raises OSError.
    """
    whole = len(view) // BLOCK * BLOCK
    if not _DIRECT or whole < LEAST or offset % BLOCK or not _set(fd, on=True):
        return 0
    done = 0
    try:
        while done < whole and not done % BLOCK:
            done += os.writev(fd, [view[done:whole]])
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
    finally:
        _set(fd, on=False)
    return done


def _set(fd: int, *, on: bool) -> bool:
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | _DIRECT if on else flags & ~_DIRECT)
    except OSError as error:
        if not on or error.errno not in _REFUSED:
            raise
        return False
    return True
