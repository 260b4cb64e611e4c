"""Writing and reading past the page cache: a pack is not needed again soon, and new pages for it cost more
than the disk.

The system wants file offset, length and memory in whole blocks. Where it refuses, for these or because the
file system cannot, whoever asked writes or reads as usual.
"""

import errno
import fcntl
import mmap
import os
from functools import lru_cache
from pathlib import Path

BLOCK = 4096  # bytes; a multiple of every disk's logical block
LEAST = 1 << 20  # bytes that are worth the calls
_LEAST_READ = 128 << 10
_SUITED = frozenset({b"ext4", b"xfs"})
O_DIRECT: int = getattr(os, "O_DIRECT", 0)  # not on macOS
REFUSED = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EPERM}


def pages(size: int) -> mmap.mmap:
    """Memory that begins with a page, as disks want it, and goes back to the system when it is dropped."""
    found = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        found.madvise(mmap.MADV_HUGEPAGE)
    return found


def write_direct(fd: int, view: memoryview, offset: int) -> int:
    """Append whole blocks of `view` to the file, which ends at `offset`; returns how many bytes.

    Less than the whole where the file system refuses, 0 if it never took any. Raises OSError.
    """
    whole = len(view) // BLOCK * BLOCK
    if not O_DIRECT or whole < LEAST or offset % BLOCK or not _set(fd, on=True):
        return 0
    done = 0
    try:
        while done < whole and not done % BLOCK:
            done += os.writev(fd, [view[done:whole]])
    except OSError as error:
        if error.errno not in REFUSED:
            raise
    finally:
        _set(fd, on=False)
    return done


def read_direct(fd: int, offset: int, length: int, space: memoryview) -> memoryview | None:
    """A part of a file, somewhere in `space`, which begins with a page and is two blocks larger.

    None where that is refused or not worth it, as when the page cache has the part already. The page that
    tells stays there, so that what is read a second time is kept. Raises OSError.
    """
    if length < _LEAST_READ or not is_suited(os.fstat(fd).st_dev) or _is_cached(fd, offset + length // 2):
        return None
    before = offset % BLOCK
    wanted = before + length
    whole = -(-wanted // BLOCK) * BLOCK
    if not _set(fd, on=True):
        return None
    done = 0
    try:
        while done < wanted and not done % BLOCK:
            got = os.preadv(fd, [space[done:whole]], offset - before + done)
            if not got:
                break
            done += got
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return None
    finally:
        _set(fd, on=False)
    return space[before : min(done, wanted)]


def _is_cached(fd: int, offset: int) -> bool:
    """Whether the page cache has this byte; True where nobody knows. Raises OSError."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # else asking makes the kernel read ahead
    try:
        os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in REFUSED:
            raise
    finally:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_NORMAL)
    return True


@lru_cache(maxsize=64)
def is_suited(device: int) -> bool:
    """Whether the file system with this `st_dev` is known to gain by it.

    Others refuse, or lose: btrfs would not compress, a network would wait.
    """
    if not O_DIRECT or not hasattr(os, "RWF_NOWAIT"):
        return False
    number = b"%d:%d" % (os.major(device), os.minor(device))
    try:
        table = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return False
    for line in table.splitlines():
        left, _, right = line.partition(b" - ")
        if left.split(b" ")[2] == number:
            return right.split(b" ")[0] in _SUITED
    return False


def _set(fd: int, *, on: bool) -> bool:
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | O_DIRECT if on else flags & ~O_DIRECT)
    except OSError as error:
        if not on or error.errno not in REFUSED:
            raise
        return False
    return True
